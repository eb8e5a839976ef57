"""One table for every list: draws only the lines that are seen, and holds its place by identity.

Cursor and marks are row keys. When the row under the cursor goes away the cursor holds nothing, though it
stays where it was to the eye: no action can then reach a row that nobody chose; the next move picks one up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.keys import KEYS
from tui.widgets.lines import Toned, fit, fit_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual import events

    from tui.look import Line, Span
    from tui.state import Keyed


class Column(NamedTuple):
    """`width` in cells (the least, where `flex` says that it shares what is left over); a column with a
    higher `drop` goes first when there is no room, 0 never goes."""

    title: str
    width: int
    align: str = "left"
    flex: int = 0
    drop: int = 0


Cells = tuple["Span | Line", ...]
"""One for each column: a text with its tone, or several."""


class VirtualTable(Toned, ScrollView, can_focus=True):
    """Rows that are drawn when seen. `cells(value)` gives one span a column; `rows` never move the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key.keys, key.action, key.help, show=False, id=f"move.{key.action}")
        for key in KEYS
        if key.scope == "move"
    ]

    class Moved(Message):
        """The cursor holds another row."""

        def __init__(self, table: VirtualTable) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> VirtualTable:
            return self.table

    class Opened(Message):
        """A row was clicked twice."""

        def __init__(self, table: VirtualTable) -> None:
            super().__init__()
            self.table = table

    def __init__(
        self,
        columns: Sequence[Column],
        cells: Callable[[Any], Cells],
        *,
        header: bool = True,
        empty: Sequence[Line] = (),
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.cells = cells
        self.header = header
        self.empty: tuple[Line, ...] = tuple(empty)
        self.rows: tuple[Keyed[Any], ...] = ()
        self.cursor: str | None = None
        self.marks: frozenset[str] = frozenset()
        self.busy: frozenset[str] = frozenset()
        self.ordered_by = ""
        self.is_sent_last = False
        """Whether the last move was to the last row."""
        self._at = 0
        self._index: dict[str, int] | None = None
        self._cache: dict[str, tuple[object, Strip]] = {}
        self._clock: object = None

    # --- rows and cursor --------------------------------------------------------------------------

    def show(
        self, rows: tuple[Keyed[Any], ...], clock: object = None, busy: frozenset[str] = frozenset()
    ) -> None:
        """Shows these rows. `clock` is anything that lines depend on besides their row."""
        if rows is self.rows and clock == self._clock and busy == self.busy:
            return
        fresh = rows is not self.rows
        self.rows, self._clock, self.busy = rows, clock, busy
        if fresh:
            self._index = None
            self._hold_place()
            self._measure()
        self.refresh()

    def _hold_place(self) -> None:
        """Finds the cursor's row among the new ones, keeping it on the same line of the screen."""
        if self.marks:
            self.marks &= self.index.keys()
        if not self.rows:
            self.cursor, self._at = None, 0
            return
        if self.cursor is None and self._at == 0 and not self._was_shown:
            self._pick(0)
            return
        position = self.index.get(self.cursor) if self.cursor is not None else None
        if position is None:
            lost = self.cursor is not None
            self.cursor, self._at = None, min(self._at, len(self.rows) - 1)
            if lost:
                self.post_message(self.Moved(self))
            return
        drift, self._at = position - self._at, position
        if drift and self.scroll_offset.y:
            self.call_after_refresh(self._follow, drift)

    def _follow(self, drift: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + drift, animate=False, force=True)

    _was_shown = False

    @property
    def index(self) -> dict[str, int]:
        if self._index is None:
            self._index = {row.key: number for number, row in enumerate(self.rows)}
        return self._index

    @property
    def position(self) -> int:
        """Where the cursor is, or was."""
        return self._at

    @property
    def selected(self) -> Keyed[Any] | None:
        """The row that the cursor holds."""
        if self.cursor is None:
            return None
        position = self.index.get(self.cursor)
        return None if position is None else self.rows[position]

    def _pick(self, position: int) -> None:
        position = max(0, min(position, len(self.rows) - 1))
        self._was_shown = True
        self.is_sent_last = False
        self._at = position
        if self.cursor != self.rows[position].key:
            self.cursor = self.rows[position].key
            self.post_message(self.Moved(self))

    def move_to(self, position: int) -> None:
        """Puts the cursor on the row at `position` and into view."""
        if not self.rows:
            return
        before = self._at
        self._pick(position)
        top, height = self.scroll_offset.y, self.page
        if self._at < top:
            self.scroll_to(y=self._at, animate=False, force=True)
        elif self._at >= top + height:
            self.scroll_to(y=self._at - height + 1, animate=False, force=True)
        for line in {before, self._at}:
            self.refresh(Region(0, line - self.scroll_offset.y + self.header, self.size.width, 1))

    def select(self, key: str) -> bool:
        """Puts the cursor on the row with this key; False when there is none."""
        position = self.index.get(key)
        if position is not None:
            self.move_to(position)
        return position is not None

    def begin_anew(self) -> None:
        """Other rows come: the cursor will be on the first of them, and nothing is marked."""
        self.cursor, self._at, self._was_shown, self.marks = None, 0, False, frozenset()
        self.scroll_to(y=0, animate=False, force=True)
        self.post_message(self.Moved(self))

    def toggle_mark(self) -> None:
        """Marks the row under the cursor, or takes its mark away, and moves on."""
        if self.cursor is not None:
            self.marks ^= {self.cursor}
            self.move_to(self._at + 1)
            self.refresh()

    def clear_marks(self) -> None:
        self.marks = frozenset()
        self.refresh()

    @property
    def page(self) -> int:
        return max(1, self.size.height - self.header)

    def action_cursor_up(self) -> None:
        self.move_to(self._at - 1 if self.cursor is not None else self._at)

    def action_cursor_down(self) -> None:
        self.move_to(self._at + 1 if self.cursor is not None else self._at)

    def action_page_up(self) -> None:
        self.move_to(self._at - self.page)

    def action_page_down(self) -> None:
        self.move_to(self._at + self.page)

    def action_first(self) -> None:
        self.move_to(0)

    def action_last(self) -> None:
        self.move_to(len(self.rows) - 1)
        self.is_sent_last = True

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self.header:
            return
        position = offset.y - self.header + self.scroll_offset.y
        if position < len(self.rows):
            self.move_to(position)
            if event.chain == 2:
                self.post_message(self.Opened(self))

    # --- drawing ----------------------------------------------------------------------------------

    def _measure(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.rows) + self.header)
        self._refresh_scrollbars()

    def on_resize(self) -> None:
        self._cache.clear()
        self._measure()
        if self.rows and not self.scroll_offset.y <= self._at < self.scroll_offset.y + self.page:
            self.scroll_to(y=max(0, self._at - self.page + 1), animate=False, force=True)

    def notify_style_update(self) -> None:
        self._cache.clear()
        super().notify_style_update()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(len(self.rows), len(self.empty), 1) + self.header

    def watch_has_focus(self, focused: bool) -> None:
        super().watch_has_focus(focused)
        self.refresh()

    def layout_columns(self, width: int) -> list[tuple[int, Column]]:
        """(index, column with its width) of those that fit, two apart, after two for cursor and mark."""
        shown = list(enumerate(self.columns))
        while len(shown) > 1:
            least = sum(column.width + 2 for _, column in shown) + 1
            if least <= width:
                break
            worst = max(shown, key=lambda pair: (pair[1].drop, pair[0]))
            if worst[1].drop == 0:
                break
            shown.remove(worst)
        left = max(0, width - 1 - sum(column.width + 2 for _, column in shown))
        parts = sum(column.flex for _, column in shown)
        return [
            (
                number,
                column._replace(width=column.width + left * column.flex // parts if parts else column.width),
            )
            for number, column in shown
        ]

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self.header and y == 0:
            return self._header(width)
        number = y - self.header + self.scroll_offset.y
        if not self.rows:
            line = y - self.header
            return self.strip(self.empty[line] if line < len(self.empty) else (), width)
        if number >= len(self.rows):
            return Strip.blank(width, self.tone(""))
        row = self.rows[number]
        state = (
            row.value, width, row.key == self.cursor, number == self._at, row.key in self.marks,
            row.key in self.busy, self.has_focus, self._clock,
        )  # fmt: skip
        cached = self._cache.get(row.key)
        if cached is not None and _same(cached[0], state):
            return cached[1]
        strip = self._row(row, width, number == self._at)
        if len(self._cache) > 500:
            self._cache.clear()
        self._cache[row.key] = (state, strip)
        return strip

    def _header(self, width: int) -> Strip:
        more = self.glyphs.more
        spans: list[Span] = [("  ", "head")]
        for _, column in self.layout_columns(width):
            tone = "key" if column.title and column.title == self.ordered_by else "head"
            spans += [(fit(column.title, column.width, column.align, more), tone), ("  ", "head")]
        return self.strip(spans, width)

    def _row(self, row: Keyed[Any], width: int, here: bool) -> Strip:
        glyphs = self.glyphs
        holds = row.key == self.cursor
        spans: list[Span] = [
            (
                glyphs.cursor if holds and self.has_focus else glyphs.dot if here and not holds else " ",
                "accent",
            ),
            (glyphs.more if row.key in self.busy else glyphs.mark if row.key in self.marks else " ", "key"),
        ]
        cells = self.cells(row.value)
        for number, column in self.layout_columns(width):
            cell = cells[number]
            if cell and isinstance(cell[0], str):
                text, tone = cell
                spans += [(fit(text, column.width, column.align, glyphs.more), tone), ("  ", "")]
            else:
                spans += [*fit_spans(cell, column.width, glyphs.more), ("  ", "")]
        under = ("cursor" if self.has_focus else "cursor-blurred") if holds else ""
        return self.strip(spans, width, under)


def _same(old: object, new: tuple[object, ...]) -> bool:
    """Equal, where the row's value must be the very same object."""
    return isinstance(old, tuple) and old[0] is new[0] and old[1:] == new[1:]
