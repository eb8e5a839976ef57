"""What was renamed, when and by whom; each change can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.content import Content

from syncd.text import human_count
from tui import look
from tui.asks import Interest
from tui.asks_library import UndoNames
from tui.screens.base import bindings
from tui.screens.jobs import wrapped
from tui.screens.lists import ListScreen, Order
from tui.screens.names import PLAN_COLUMNS, both_names
from tui.state import Keyed
from tui.widgets.lines import Lines
from tui.widgets.table import Column
from tui.words import marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.binding import BindingType
    from textual.widget import Widget

    from syncd.control import schema
    from tui.look import Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells

STATE = {"begun": ("busy", "info"), "confirmed": ("done", "ok"), "failed": ("bad", "bad")}


class Changes(ListScreen):
    mode = "changes"
    heading = "Names › Log"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"changes"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("changes")
    WRITES: ClassVar[frozenset[str]] = frozenset({"undo"})
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"mark", "undo"})
    columns: ClassVar[Sequence[Column]] = (
        Column("When", 12),
        Column("Was", 24, flex=1),
        Column("Is", 24, flex=1),
        Column("State", 11, drop=1),
        Column("By", 10, drop=2),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order("newest", "When", lambda change: change.id, reverse=True),
        Order("name", "Was", lambda change: change.old_name.casefold()),
    )

    def listing(self) -> Listing[schema.NameChange]:
        return self.state.changes

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"changes"}))

    def haystack(self, value: schema.NameChange) -> str:
        return f"{value.old_name} {value.new_name} {value.changed_by} {value.source} {value.album_key}"

    def cells(self, value: schema.NameChange) -> Cells:
        sign, tone = STATE.get(value.state, ("off", "dim"))
        old, new = marked(value.old_name, value.new_name)
        return (
            (look.ago(value.changed_at, self.now(), self.glyphs, self.dashboard.zone), "dim"),
            old,
            new,
            (f"{getattr(self.glyphs, sign)} {value.state}", tone),
            (value.changed_by, "dim"),
        )

    def empty(self) -> Sequence[Line]:
        return ((("  Nothing was renamed yet.", ""),), (("  esc goes back to the names.", "dim"),))

    def pane(self) -> Iterable[Widget]:
        detail = Lines(id="detail", classes="panel")
        detail.border_title = "Change"
        yield detail

    def paint_pane(self) -> None:
        detail, row = self.query_one("#detail", Lines), self.selected
        detail.border_title = Content(f"Change {row.value.id}" if row is not None else "Change")
        if row is None:
            detail.show([(("no change is selected", "dim"),)] if self.table.rows else [])
            return
        change, width = row.value, max(20, detail.content_size.width)
        mirror = {None: "", True: "  the mirror has it", False: "  the mirror is still to get it"}[
            change.mirrored
        ]
        lines: list[Line] = [
            *both_names(change.old_name, change.new_name, width),
            ((f"{change.source} by {change.changed_by}  {change.album_key}", "dim"), (mirror, "dim")),
        ]
        lines += [((part, "bad"),) for part in wrapped(change.error or "", width)[:2]]
        detail.show(lines)

    # --- keys -------------------------------------------------------------------------------------

    def _chosen(self) -> list[schema.NameChange]:
        if self.table.marks:
            return [row.value for row in self.rows() if row.key in self.table.marks]
        return [self.selected.value] if self.selected is not None else []

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        if action == "undo" and all(change.state == "failed" for change in self._chosen()):
            return "it never was renamed: there is nothing to undo"
        return None

    def do_undo(self) -> None:
        self.run_worker(self._undo(), group="dialog", exclusive=True)

    async def _undo(self) -> None:
        from tui.screens.questions import Question

        changes = [change for change in self._chosen() if change.state != "failed"]
        number, word = human_count(len(changes)), "change" if len(changes) == 1 else "changes"
        question = Question(
            f"Undo {number} {word}?", "These albums get the names from before, on SmugMug and in the mirror.",
            f"Undo {number}", more="One that was renamed by somebody since is left alone, and named.",
            columns=PLAN_COLUMNS, cells=_back, rows=tuple(Keyed(str(c.id), c) for c in changes),
        )  # fmt: skip
        agreed = await self.app.push_screen_wait(question)
        if agreed:
            self.table.clear_marks()
            self.dashboard.ask(UndoNames(tuple(c.id for c in changes)), *(str(c.id) for c in changes))

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(row.value.old_name)

    def leave(self) -> None:
        self.dashboard.go("names")


def _back(change: schema.NameChange) -> Cells:
    return marked(change.new_name, change.old_name)
