"""Every screen as a grid of text, at both sizes, full, empty, without a daemon, and after losing it.

SYNCD_UPDATE_GOLDEN=1 writes what the screens show now; look at the difference before keeping it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.tui.fake_feed import NOW, FakeFeed
from tests.tui.fake_library import FOREIGN
from tests.tui.running import running
from tui import keys
from tui.state import ListArrived

# About three seconds each; the limit is for machines that do much else.
pytestmark = pytest.mark.timeout(60)

GOLDEN = Path(__file__).parent / "golden"
SIZES = {"80x24": (80, 24), "160x50": (160, 50)}


def hold_to(name: str, text: str) -> None:
    """The text is what the golden file says."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("SYNCD_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs"


@pytest.mark.parametrize("kind", ["full", "empty", "error", "stale"])
@pytest.mark.parametrize("size", list(SIZES))
async def test_screens_look_as_they_did(size: str, kind: str) -> None:
    async with running(kind, SIZES[size]) as dashboard:
        for mode in keys.MODES:
            await dashboard.press(mode.key)
            assert dashboard.app.current_mode == mode.name
            hold_to(f"{mode.name}-{size}-{kind}", dashboard.text())


@pytest.mark.parametrize(
    ("name", "presses"),
    [
        ("help", ("2", "question_mark")),
        ("withdraw", ("2", "j", "space")),
        ("approve", ("9", "enter")),
        ("stage", ("2", "s")),
        ("plan", ("2", "d")),
        ("picture", ("3", "enter")),
        ("photos", ("4", "j", "enter", "j")),
        ("which", ("4", "f", "x", "enter")),
        ("filter", ("2", "slash", "f", "i", "n")),
    ],
)
async def test_dialogs_look_as_they_did(name: str, presses: tuple[str, ...]) -> None:
    async with running() as dashboard:
        await dashboard.press(*presses)
        hold_to(f"dialog-{name}", dashboard.text())


async def test_ascii_draws_with_ascii_only() -> None:
    async with running(ascii=True) as dashboard:
        for mode in keys.MODES:
            await dashboard.press(mode.key)
            assert not {c for c in dashboard.text() if not c.isascii()} - FOREIGN
        await dashboard.press("9", "enter")
        assert dashboard.text().isascii()
        await dashboard.press("escape", "1")
        hold_to("overview-80x24-ascii", dashboard.text())


@pytest.mark.parametrize("theme", ["light", "dark", "textual-light", "nord", "ansi-dark", "no-such-theme"])
async def test_every_theme_draws_the_same_text(theme: str) -> None:
    async with running(theme=theme) as dashboard:
        hold_to("overview-80x24-full", dashboard.text())


async def test_colours_come_from_the_theme() -> None:
    async with running(theme="dark") as dashboard:
        dark = dashboard.app.screen.query_one("#header").background_colors[1]
        await dashboard.press("ctrl+t")
        assert dashboard.app.theme == "syncd-light"
        light = dashboard.app.screen.query_one("#header").background_colors[1]
        assert dark.brightness < 0.5 < light.brightness


async def test_without_colour_the_text_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running() as dashboard:
        hold_to("overview-80x24-full", dashboard.text())


async def test_a_daemon_that_says_nothing_is_not_called_live() -> None:
    now = NOW
    async with running(clock=lambda: now) as dashboard:
        assert "● live" in dashboard.text()
        now += 40
        dashboard.app._tick()
        await dashboard.settled()
        assert "live" not in dashboard.text().partition("\n")[0]
        assert "no answer for 42s" in dashboard.text()


async def test_the_last_key_goes_to_the_very_last_scene_once_it_is_there() -> None:
    feed = FakeFeed()
    scenes = feed.lists["scenes"]
    feed.lists["scenes"] = scenes[:20]
    async with running(feed=feed) as dashboard:
        await dashboard.press("3")
        feed.send(ListArrived("scenes", NOW, scenes[:20], ("", ""), more=True))
        await dashboard.settled()
        feed.lists["scenes"] = scenes  # what the daemon answers to who wants them all
        await dashboard.press("G")
        table: Any = dashboard.app.screen.query_one("#table")
        assert table.cursor == scenes[-1].key
        await dashboard.press("k")
        feed.send(ListArrived("scenes", NOW, scenes[:-1], ("", "")))
        await dashboard.settled()
        assert table.cursor == scenes[-2].key


@pytest.mark.parametrize("size", [(40, 10), (20, 5), (200, 60)])
async def test_odd_sizes_break_nothing(size: tuple[int, int]) -> None:
    async with running(size=size) as dashboard:
        for mode in keys.MODES:
            await dashboard.press(mode.key)
        await dashboard.press("9", "enter", "escape")
        await dashboard.pilot.resize_terminal(80, 24)
        await dashboard.press("1")
        assert "Needs you" in dashboard.text()
