"""The dashboard under a pilot, on a frozen clock, and what it shows as plain text."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from tests.tui.fake_feed import NOW, FakeFeed
from tui.app import Dashboard
from tui.screens.photos import FoundView, PhotosView
from tui.screens.picture import Canvas
from tui.screens.scenes import Scenes
from tui.widgets.frames import Frames
from tui.widgets.stages import Stages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.pilot import Pilot


class Running(NamedTuple):
    app: Dashboard
    feed: Any
    pilot: Pilot[None]

    async def press(self, *names: str) -> None:
        """Presses keys, each with its consequences."""
        for name in names:
            await self.pilot.press(name)
            await settled(self.app, self.pilot)

    async def settled(self) -> None:
        await settled(self.app, self.pilot)

    def text(self) -> str:
        return grid(self.app)


async def settled(app: Dashboard, pilot: Pilot[None]) -> None:
    """Until everything that was set off is done and painted, without waiting for the flush's own timer."""
    for _ in range(2):
        await pilot.pause()
        app.flush()
    await pilot.pause()
    screen = app.current
    if isinstance(screen, Scenes) and app.screen is screen and app.pictures and app.state.live:
        stages = screen.query_one(Stages)
        with anyio.fail_after(5):
            while stages.wants():
                await anyio.sleep(0.01)
        await pilot.pause()
    frames = next(iter(screen.query(Frames)), None) if screen is not None else None
    if frames is not None and app.screen is screen and app.pictures and app.state.live:
        with anyio.fail_after(5):
            while frames.wants():
                await anyio.sleep(0.01)
        await pilot.pause()
    view = app.screen
    if isinstance(view, PhotosView | FoundView) and app.pictures:
        with anyio.fail_after(5):
            while view.table.selected is not None and not view.query_one(Canvas).picture:
                await anyio.sleep(0.01)
        await pilot.pause()


@asynccontextmanager
async def running(
    kind: str = "full", size: tuple[int, int] = (80, 24), feed: Any = None, **options: Any
) -> AsyncIterator[Running]:
    """A dashboard on `feed` (a FakeFeed of this kind), settled on the overview."""
    feed = feed or FakeFeed(kind)
    options = {"clock": lambda: NOW, "zone": UTC, "theme": "dark", **options}
    app = Dashboard(lambda: feed, **options)
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        yield Running(app, feed, pilot)


def grid(app: Dashboard) -> str:
    """The screen that is in front, as lines of text without their colours."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"
