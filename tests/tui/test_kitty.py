"""Real pictures: what is sent to the terminal, and what stands in the cells."""

from __future__ import annotations

import base64
import re
import zlib

import pytest
from rich.cells import cell_len

from tests.tui.running import running
from tui.screens.picture import Canvas
from tui.widgets.kitty import ACCENTS, PICTURES_KEPT, PLACEHOLDER, KittyPictures, speaks_kitty
from tui.widgets.picture import Pixels

COMMAND = re.compile("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\")


def read(written: str) -> tuple[dict[str, str], bytes]:
    """The control data of the first command, and the payload of all."""
    commands = COMMAND.findall(written)
    assert "".join(f"\x1b_G{control};{payload}\x1b\\" for control, payload in commands) == written
    assert all(len(payload) <= 4096 for _, payload in commands)
    controls = [dict(part.split("=") for part in control.split(",")) for control, _ in commands]
    assert [control["m"] for control in controls] == ["1"] * (len(controls) - 1) + ["0"]
    assert all(control["q"] == "2" for control in controls), "the terminal must not answer into the keyboard"
    return controls[0], base64.b64decode("".join(payload for _, payload in commands))


def noise(width: int, height: int) -> Pixels:
    return Pixels(width, height, bytes((x * x * 7 + x // 3) % 256 for x in range(width * height * 3)))


def test_a_picture_is_sent_whole_and_shown_by_its_number() -> None:
    written: list[str] = []
    pixels = noise(203, 81)
    strips = KittyPictures(written.append).show(pixels)
    (text,) = written
    control, payload = read(text)
    assert (control["a"], control["U"]) == ("T", "1")
    assert (control["s"], control["v"], control["f"], control["o"]) == ("203", "81", "24", "z")
    assert zlib.decompress(payload) == pixels.data
    assert (int(control["c"]), int(control["r"])) == (20, 4) == (strips[0].cell_length, len(strips))
    for row, strip in enumerate(strips):
        (segment,) = strip
        assert segment.style is not None and segment.style.color is not None
        assert tuple(segment.style.color.get_truecolor()) == (0, 0, int(control["i"]))
        assert cell_len(segment.text) == 20
        cells = [segment.text[at : at + 3] for at in range(0, len(segment.text), 3)]
        assert cells == [PLACEHOLDER + ACCENTS[row] + ACCENTS[column] for column in range(20)]


def test_old_pictures_are_given_back_and_all_at_the_end() -> None:
    written: list[str] = []
    pictures = KittyPictures(written.append)
    for _ in range(PICTURES_KEPT + 2):
        pictures.show(noise(4, 4))
    deleted = [text for text in written if "a=d" in text]
    assert deleted == ["\x1b_Ga=d,d=I,i=1,q=2;\x1b\\", "\x1b_Ga=d,d=I,i=2,q=2;\x1b\\"]
    pictures.clear()
    assert len([text for text in written if "a=d" in text]) == PICTURES_KEPT + 2


@pytest.mark.parametrize(
    ("environ", "answer", "shows"),
    [
        ({"TERM": "xterm-kitty"}, "\x1bP>|kitty(0.28.1)\x1b\\\x1b[?62;c", True),
        ({"TERM": "xterm-kitty"}, "\x1bP>|kitty(1.2.0)\x1b\\\x1b[?62;c", True),
        ({"TERM": "xterm-kitty"}, "\x1bP>|kitty(0.26.5)\x1b\\\x1b[?62;c", False),
        ({"TERM": "xterm-kitty"}, "", False),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, "\x1bP>|kitty(0.30.0)\x1b\\", False),
        ({"TERM": "xterm-ghostty"}, "", True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "", True),
        ({"TERM": "xterm-256color"}, "\x1bP>|kitty(0.30.0)\x1b\\", False),
    ],
)
def test_only_terminals_that_can_are_sent_pictures(environ: dict[str, str], answer: str, shows: bool) -> None:
    assert speaks_kitty(environ, lambda: answer) is shows


async def test_an_enlarged_picture_is_a_real_one() -> None:
    async with running(kitty=True) as dashboard:
        assert dashboard.app.kitty is not None
        await dashboard.press("3", "enter")
        picture = dashboard.app.screen.query_one(Canvas).picture
        assert not isinstance(picture, str)
        assert all(PLACEHOLDER in strip.text for strip in picture)
        assert PLACEHOLDER in dashboard.text()
