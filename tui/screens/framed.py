"""A list beside the pictures of its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.screens.lists import ListScreen
from tui.widgets.frames import Frames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from tui.state import Part


class FramedList(ListScreen):
    """What is in the frames, `paint_pane` says."""

    def pane(self) -> Iterable[Widget]:
        frames = Frames(id="frames", classes="panel")
        frames.with_pictures = self.dashboard.pictures
        yield frames

    def render_body(self, dirty: frozenset[Part]) -> None:
        if dirty & (self.PARTS | {"link"}):
            self.query_one("#frames", Frames).pictures.doubt()
        super().render_body(dirty)

    def on_frames_wanted(self) -> None:
        if self.ready and self.state.live:
            self.run_worker(self._load(), group="pictures", exclusive=True)

    async def _load(self) -> None:
        frames = self.query_one("#frames", Frames)
        for want in frames.wants():
            frames.pictures.put(want, await self.dashboard.picture(want))
            frames.refresh()

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        if action == "open" and not self.dashboard.pictures:
            return "pictures are off (--pictures blocks shows them)"
        return None
