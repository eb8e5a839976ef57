"""Screens that are one list: filter, order, and the line that says how much of it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual.widgets import Input

from tui.screens.base import ModeScreen
from tui.widgets.lines import Lines, spread
from tui.widgets.table import Column, VirtualTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from textual import events
    from textual.widget import Widget

    from tui.look import Line
    from tui.state import Keyed, Listing, Part
    from tui.widgets.table import Cells


class Order(NamedTuple):
    """A way to order rows. `column` is the title that is highlighted."""

    name: str
    column: str
    by: Callable[[Any], Any]
    reverse: bool = False


class ListScreen(ModeScreen):
    """A list with a title line above, an optional pane below (or beside, where there is room)."""

    heading: ClassVar[str]
    columns: ClassVar[Sequence[Column]]
    orders: ClassVar[Sequence[Order]] = ()
    TICKS: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        self.order = 0
        self._rows_of: tuple[object, ...] = ()
        self._rows: tuple[Keyed[Any], ...] = ()
        self._aim = ""

    # --- to be said by the screen -----------------------------------------------------------------

    def listing(self) -> Listing[Any]:
        raise NotImplementedError

    def cells(self, value: Any) -> Cells:
        raise NotImplementedError

    def haystack(self, value: Any) -> str:
        """Where the filter looks."""
        raise NotImplementedError

    def all_orders(self) -> Sequence[Order]:
        """The ways to order what it shows now, its own first."""
        return self.orders

    def empty(self) -> Sequence[Line]:
        """What stands in the place of rows when there are none."""
        raise NotImplementedError

    def subtitle(self) -> str:
        """What the title line adds."""
        return ""

    def pane(self) -> Iterable[Widget]:
        """What stands below or beside the list."""
        return ()

    def paint_pane(self) -> None:
        """Shows what belongs to the row under the cursor."""

    # --- frame ------------------------------------------------------------------------------------

    def body(self) -> Iterable[Widget]:
        yield Lines(id="title")
        yield Input(placeholder="words to look for; enter keeps, esc clears", id="words", compact=True)
        yield VirtualTable(self.columns, self.cells, id="table")
        yield from self.pane()

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#table", VirtualTable)

    @property
    def selected(self) -> Keyed[Any] | None:
        return self.table.selected if self.ready else None

    def main(self) -> Widget | None:
        return self.table

    def target(self, subject: str) -> None:
        """Puts the cursor on this row, now or when it arrives."""
        self._aim = subject
        self.render_body(frozenset())

    # --- painting ---------------------------------------------------------------------------------

    def render_body(self, dirty: frozenset[Part]) -> None:
        table = self.table
        rows = self.rows()
        if not rows:
            table.empty = tuple(self._empty())
            table.refresh()
        table.ordered_by = self.all_orders()[self.order].column if self.all_orders() else ""
        table.show(rows, clock=self.clock_key(), busy=self.state.busy)
        if self._aim and table.select(self._aim):
            self._aim = ""
        self._paint_title(len(rows))
        self.paint_pane()

    def clock_key(self) -> object:
        """What lines depend on besides their rows: they are painted again when it differs."""
        return int(self.now()) // 10

    def rows(self) -> tuple[Keyed[Any], ...]:
        """The listing's rows, filtered and in order; the same tuple while nothing differs."""
        listing = self.listing()
        key = (id(listing.items), self.words, self.order)
        if self._rows_of[:3] != key:
            self._rows = self._arrange(listing.items)
            self._rows_of = (*key, listing.items)
        return self._rows

    def _arrange(self, items: tuple[Keyed[Any], ...]) -> tuple[Keyed[Any], ...]:
        words = self.words.casefold().split()
        rows: Sequence[Keyed[Any]] = items
        if words:
            rows = [row for row in rows if _has(self.haystack(row.value), words)]
        if self.all_orders():
            order = self.all_orders()[self.order]
            rows = sorted(rows, key=lambda row: order.by(row.value), reverse=order.reverse)
        return tuple(rows)

    def _empty(self) -> Sequence[Line]:
        listing = self.listing()
        if listing.error and listing.at is None:
            return ((), ((f"  {self.glyphs.bad} {listing.error}", "bad"),), (("  r asks again", "dim"),))
        if listing.at is None:
            return ((), ((f"  {self.glyphs.more}", "dim"),))
        if self.words:
            return ((), ((f'  nothing has "{self.words}"', ""),), (("  esc clears the filter", "dim"),))
        return ((), *self.empty())

    def _paint_title(self, shown: int) -> None:
        listing = self.listing()
        total = len(listing.items)
        more = "more than " if listing.more else ""
        numbers = f"{shown:,} of {more}{total:,}" if self.words or listing.more else f"{total:,}"
        left: Line = ((f"{self.heading} ", "bold"), (numbers if listing.at is not None else "", "dim"))
        if self.words:
            left = (*left, (f'  with "{self.words}"', "warn"))
        if extra := self.subtitle():
            left = (*left, (f"  {extra}", "dim"))
        right: Line = ()
        if marks := len(self.table.marks):
            right = ((f"{marks:,} marked  ", "key"),)
        if listing.error and listing.at is not None:
            right = ((f"{self.glyphs.bad} {listing.error}", "bad"),)
        elif self.all_orders():
            right = (*right, (f"by {self.all_orders()[self.order].name}", "dim"))
        title = self.query_one("#title", Lines)
        title.show([spread(left, right, max(1, title.size.width))])

    def on_virtual_table_moved(self, _message: VirtualTable.Moved) -> None:
        if self.ready:
            self.paint_pane()
            self.paint_footer()

    def on_virtual_table_opened(self, _message: VirtualTable.Opened) -> None:
        self.action_do("open")

    # --- keys -------------------------------------------------------------------------------------

    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset()
    """Actions on the row under the cursor."""

    def why_not(self, action: str) -> str | None:
        if action in {"copy", *self.NEEDS_ROW} and self.selected is None:
            if self.listing().at is None:
                return "it is still being asked for"
            return "no row is selected" if self.table.rows else "there is nothing here"
        if action == "order" and len(self.all_orders()) < 2:
            return "this list has one order"
        return super().why_not(action)

    def do_filter(self) -> None:
        words = self.query_one("#words", Input)
        words.display = True
        words.value = self.words
        words.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        self.words = message.value
        self.filtered()

    def filtered(self) -> None:
        """The filter changed."""
        self.render_body(frozenset())

    def on_input_submitted(self, _message: Input.Submitted) -> None:
        words = self.query_one("#words", Input)
        words.display = bool(words.value)
        self.table.focus()

    def do_order(self) -> None:
        self.order = (self.order + 1) % len(self.all_orders())
        self.render_body(frozenset())

    def do_back(self) -> None:
        words = self.query_one("#words", Input)
        if words.display or self.words:
            words.value = self.words = ""
            words.display = False
            self.table.focus()
            self.filtered()
        elif self.table.marks:
            self.table.clear_marks()
            self.render_body(frozenset())
        else:
            self.leave()

    def leave(self) -> None:
        """Where `esc` leads when there is nothing left to clear."""
        super().do_back()

    def do_mark(self) -> None:
        self.table.toggle_mark()
        self.render_body(frozenset())

    def on_key(self, event: events.Key) -> None:
        """Down from the filter leads into the list."""
        if event.key == "down" and self.focused is self.query_one("#words", Input):
            event.stop()
            self.table.focus()


def _has(haystack: str, words: list[str]) -> bool:
    haystack = haystack.casefold()
    return all(word in haystack for word in words)
