"""Pictures side by side, each with a heading and a few lines below."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.message import Message
from textual.strip import Strip

from tui.widgets.lines import Toned, fit
from tui.widgets.stages import Pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.timer import Timer

    from tui.look import Line
    from tui.widgets.picture import LibraryWant, SharedWant

REST_S = 0.12
"""A picture is asked for once the cursor has rested so long."""


class Frame(NamedTuple):
    """`photo_id` is one of the library; `file` is (list, file, of) of the exchange; neither: no picture."""

    heading: str
    photo_id: str = ""
    file: tuple[str, int, str] | None = None
    facts: tuple[Line, ...] = ()

    def want(self, columns: int, rows: int) -> LibraryWant | SharedWant | None:
        from tui.widgets.picture import LibraryWant, SharedWant

        if columns < 2 or rows < 1:
            return None
        if self.photo_id:
            return LibraryWant(self.photo_id, columns, rows)
        return SharedWant(*self.file, columns, rows) if self.file is not None else None


class Frames(Toned):
    """As many columns as frames; the pictures come when the cursor has rested."""

    class Wanted(Message):
        """Pictures are missing that are seen."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.frames: tuple[Frame, ...] = ()
        self.pictures = Pictures()
        self.with_pictures = True
        self._rest: Timer | None = None

    def show(self, frames: Sequence[Frame]) -> None:
        """Shows these from now on."""
        new = tuple(frames)
        if new != self.frames:
            self.frames = new
            self.refresh()
        self.ask_soon()

    def on_resize(self) -> None:
        self.ask_soon()

    def ask_soon(self) -> None:
        if self._rest is not None:
            self._rest.stop()
            self._rest = None
        if self.wants():
            self._rest = self.set_timer(REST_S, lambda: self.post_message(self.Wanted()))

    @property
    def column(self) -> int:
        """Cells of a column, the gap after it included."""
        return self.size.width // max(1, len(self.frames))

    def _rows(self, frame: Frame) -> int:
        return max(0, self.size.height - 1 - len(frame.facts))

    def wants(self) -> list[LibraryWant | SharedWant]:
        """The pictures that are seen and not at hand."""
        if not self.with_pictures:
            return []
        wants = [frame.want(self.column - 2, self._rows(frame)) for frame in self.frames]
        return [want for want in wants if want is not None and self.pictures.lacks(want)]

    def render_line(self, y: int) -> Strip:
        gap = self.strip((), 2)
        parts = [part for frame in self.frames for part in (self._cell(frame, y), gap)]
        return Strip.join(parts).adjust_cell_length(self.size.width, self.tone(""))

    def _cell(self, frame: Frame, y: int) -> Strip:
        width, rows = max(0, self.column - 2), self._rows(frame)
        if y == 0:
            return self.strip(((fit(frame.heading, width, more=self.glyphs.more), "head"),), width)
        if y > rows:
            line = y - rows - 1
            return self.strip(frame.facts[line] if line < len(frame.facts) else (), width)
        want = frame.want(width, rows) if self.with_pictures else None
        if want is None:
            return self.strip((), width)
        picture = self.pictures.get(want)
        if isinstance(picture, list):
            strip = picture[y - 1] if y <= len(picture) else self.strip((), width)
            return strip.adjust_cell_length(width, self.tone(""))
        text = (picture, "dim") if picture else (self.glyphs.more, "dim")
        return self.strip((text,) if y == 1 else (), width)
