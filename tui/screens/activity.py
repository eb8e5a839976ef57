"""What happens, as it happens. Scrolling up stops following; `G` follows again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.widgets import Input

from tui import look
from tui.screens.activity_line import said, told, tone_of
from tui.screens.base import bindings
from tui.screens.lists import ListScreen
from tui.state import Keyed, Listing
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.binding import BindingType

    from syncd.control import schema
    from tui.look import Line
    from tui.state import Part
    from tui.widgets.table import Cells, VirtualTable


class Activity(ListScreen):
    mode = "activity"
    heading = "Activity"
    TICKS: ClassVar[bool] = False
    PARTS: ClassVar[frozenset[Part]] = frozenset({"activity"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("activity")
    columns: ClassVar[Sequence[Column]] = (
        Column("Time", 8),
        Column("Service", 8, drop=1),
        Column("Kind", 11),
        Column("Subject", 32, flex=2, drop=2),
        Column("Message", 40, flex=3),
    )

    def __init__(self) -> None:
        super().__init__()
        self.following = True
        self._held_at = 0
        self._keyed: tuple[tuple[Keyed[Any], ...], object] = ((), None)

    def listing(self) -> Listing[schema.ActivityItem]:
        """The log as a listing; rows of ids that were seen before are the same objects."""
        items = self.state.activity
        if self._keyed[1] is not items:
            known = {row.key: row for row in self._keyed[0]}
            rows = tuple(known.get(str(item.id)) or Keyed(str(item.id), item) for item in items)
            self._keyed = (rows, items)
        at = None if self.state.status is None else self.state.status_at
        return Listing(self._keyed[0], at)

    def clock_key(self) -> object:
        return None

    def cells(self, value: schema.ActivityItem) -> Cells:
        return (
            (look.clock(value.at, self.dashboard.zone), "dim"),
            (value.service, "dim"),
            (value.kind, tone_of(value.kind)),
            (value.subject, ""),
            (said(value) if self._has_subject() else told(value), ""),
        )

    def _has_subject(self) -> bool:
        """Whether there is room for a column of its own for the subject."""
        shown = self.table.layout_columns(self.table.size.width)
        return any(column.title == "Subject" for _, column in shown)

    def haystack(self, value: schema.ActivityItem) -> str:
        return f"{value.service} {value.kind} {value.subject} {value.message}"

    def empty(self) -> Sequence[Line]:
        return ((("  Nothing has happened yet.", ""),), (("  Add a photo to images/ and watch.", "dim"),))

    def subtitle(self) -> str:
        if self.following:
            return "following"
        new = self.state.last_id - self._held_at
        return (
            f"{self.glyphs.hold} held, {new:,} new below; G follows"
            if new > 0
            else f"{self.glyphs.hold} held; G follows"
        )

    def render_body(self, dirty: frozenset[Part]) -> None:
        super().render_body(dirty)
        if self.following and self.table.rows:
            self.call_after_refresh(self._to_end)

    def _to_end(self) -> None:
        if self.ready and self.following and self.table.rows:
            self.table.move_to(len(self.table.rows) - 1)

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        """The cursor on the last line follows; anywhere else it holds."""
        table = message.table
        at_end = table.cursor is not None and table.position >= len(table.rows) - 1
        if at_end != self.following and (at_end or (table.rows[-1:] and table.cursor is not None)):
            self._set_following(at_end)
        super().on_virtual_table_moved(message)

    def _set_following(self, following: bool) -> None:
        self.following = following
        self._held_at = self.state.last_id
        if not self.ready:
            return
        super().render_body(frozenset())

    def target(self, subject: str) -> None:
        """Shows only lines with these words."""
        words = self.query_one("#words", Input)
        words.display = True
        words.value = subject

    # --- keys -------------------------------------------------------------------------------------

    def do_pause(self) -> None:
        self._set_following(not self.following)
        self._to_end()

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            item = row.value
            self.dashboard.copy(f"{item.at} {item.service} {item.kind} {item.subject} {item.message}")
