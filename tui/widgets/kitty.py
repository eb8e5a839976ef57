"""Real pictures, in terminals that speak kitty's graphics protocol (kitty, Ghostty).

A picture is sent once, under a number; where it is to be seen stand placeholder characters whose colour is
that number and whose accents are their row and column, so that it scrolls, is covered and is cleared like any
text: https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders
"""

from __future__ import annotations

import base64
import os
import re
import sys
import zlib
from collections import deque
from typing import TYPE_CHECKING, Final

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tui.widgets.picture import Pixels

PLACEHOLDER: Final = "\U0010eeee"
CHUNK: Final = 4096
PICTURES_KEPT: Final = 192
"""More than the screens remember, so that what they show again is still there."""

# The beginning of kitty's rowcolumn-diacritics.txt: code points in order, enough for every row and column.
_RANGES: Final = (
    "305 30D-30E 310 312 33D-33F 346 34A-34C 350-352 357 35B 363-36F 483-487 592-595 597-599 59C-5A1 "
    "5A8-5A9 5AB-5AC 5AF 5C4 610-617 657-65B 65D-65E 6D6-6DC 6DF-6E2 6E4 6E7-6E8 6EB-6EC 730 732-733 "
    "735-736 73A 73D 73F-741 743 745 747 749-74A 7EB-7F1 7F3 816-819 81B-823 825-827 829-82D 951 "
    "953-954 F82-F83 F86-F87 135D-135F 17DD 193A 1A17 1A75-1A7C 1B6B 1B6D-1B73 1CD0-1CD2 1CDA-1CDB "
    "1CE0 1DC0-1DC1 1DC3-1DC9 1DCB-1DCC 1DD1-1DE6 1DFE"
)
ACCENTS: Final = tuple(
    chr(code)
    for first, _, last in (part.partition("-") for part in _RANGES.split())
    for code in range(int(first, 16), int(last or first, 16) + 1)
)


def speaks_kitty(environ: Mapping[str, str], ask: Callable[[], str]) -> bool:
    """Whether the terminal shows pictures by placeholders: Ghostty does, kitty since 0.28. Only who calls
    itself one of them is asked (`ask` returns the answer to XTVERSION); inside tmux and screen none does."""
    if environ.get("TMUX") or environ.get("STY"):
        return False
    if environ.get("TERM") == "xterm-ghostty" or environ.get("TERM_PROGRAM", "").lower() == "ghostty":
        return True
    if environ.get("TERM") != "xterm-kitty":
        return False
    found = re.search(r"kitty\((\d+)\.(\d+)", ask())
    return found is not None and (int(found[1]), int(found[2])) >= (0, 28)


def ask_version(within_s: float = 0.2) -> str:
    """The terminal's answer to "who are you" (XTVERSION), `""` where there is none in time. Before Textual
    takes the terminal over."""
    import select
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    answer = b""
    try:
        tty.setcbreak(terminal)
        # The second question is one that every terminal answers: nobody is waited for.
        os.write(sys.stdout.fileno(), b"\x1b[>q\x1b[c")
        while not answer.endswith(b"c") and select.select([terminal], [], [], within_s)[0]:
            answer += os.read(terminal, 256)
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
    return answer.decode("latin-1")


class KittyPictures:
    """Sends pictures through `write` and remembers which the terminal has. `cell` is how many pixels a cell
    is taken to have; the terminal scales to what it really has."""

    cell = (10, 20)

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._sent: deque[int] = deque()
        self._last = 0

    def show(self, pixels: Pixels) -> list[Strip]:
        """Sends the picture; the strips that stand for it. For a thread: it is compressed here."""
        columns = min(len(ACCENTS), max(1, round(pixels.width / self.cell[0])))
        rows = min(len(ACCENTS), max(1, round(pixels.height / self.cell[1])))
        self._last = number = self._last % 0xFFFFFF + 1
        data = base64.standard_b64encode(zlib.compress(pixels.data, 1)).decode()
        about = f"a=T,q=2,f=24,o=z,s={pixels.width},v={pixels.height},i={number},U=1,c={columns},r={rows}"
        pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        commands = []
        for index, piece in enumerate(pieces):
            more = int(index + 1 < len(pieces))
            commands.append(_command(f"{about},m={more}" if index == 0 else f"q=2,m={more}", piece))
        # In one piece: nothing else may come between the parts of a picture.
        self._write("".join(commands))
        self._sent.append(number)
        if len(self._sent) > PICTURES_KEPT:
            self._forget(self._sent.popleft())
        return placeholders(number, columns, rows)

    def clear(self) -> None:
        """The terminal need not keep them any more."""
        while self._sent:
            self._forget(self._sent.popleft())

    def _forget(self, number: int) -> None:
        self._write(_command(f"a=d,d=I,i={number},q=2", ""))


def placeholders(number: int, columns: int, rows: int) -> list[Strip]:
    """The cells that picture `number` (24 bits) is seen in."""
    style = Style(color=Color.from_rgb(number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF))
    return [
        Strip(
            [Segment("".join(PLACEHOLDER + ACCENTS[row] + accent for accent in ACCENTS[:columns]), style)],
            columns,
        )
        for row in range(rows)
    ]


def _command(control: str, payload: str) -> str:
    return f"\x1b_G{control};{payload}\x1b\\"
