"""Guards: removals that wait for a person, with everything that would go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.containers import Container
from textual.content import Content

from syncd.text import human_count
from tui import look
from tui.asks import Approve, Interest
from tui.screens.base import bindings
from tui.screens.jobs import wrapped
from tui.screens.lists import ListScreen
from tui.state import Keyed
from tui.widgets.lines import Lines
from tui.widgets.table import Column, VirtualTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.binding import BindingType
    from textual.widget import Widget

    from syncd.control import schema
    from tui.look import Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells

PLAN_COLUMNS = (
    Column("Action", 8),
    Column("Scene", 32, flex=2),
    Column("Stage", 14, flex=1, drop=1),
    Column("Key", 24, flex=2, drop=2),
)
_ACTION_TONES = {"remove": "bad", "upload": "ok", "record": "info"}


def action_cells(action: schema.SyncAction) -> Cells:
    """One action of a plan as a row."""
    return (
        (action.action, _ACTION_TONES.get(action.action, "")),
        (action.scene_id, ""),
        (action.version_type, "dim"),
        (action.key or "", "dim"),
    )


def action_rows(actions: Sequence[schema.SyncAction]) -> tuple[Keyed[schema.SyncAction], ...]:
    """Actions as rows of a table."""
    return tuple(Keyed(str(number), action) for number, action in enumerate(actions))


class Guards(ListScreen):
    mode = "guards"
    heading = "Guards"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"guards"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("guards")
    WRITES: ClassVar[frozenset[str]] = frozenset({"open"})
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"open", "read_down", "read_up"})
    columns: ClassVar[Sequence[Column]] = (
        Column("Guard", 10),
        Column("Removes", 16, "right"),
        Column("Share", 5, "right", drop=2),
        Column("Since", 12, drop=1),
        Column("Reason", 20, flex=1),
    )

    def __init__(self) -> None:
        super().__init__()
        self._shown: object = self

    def listing(self) -> Listing[schema.Guard]:
        return self.state.guards

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"guards"}))

    def cells(self, value: schema.Guard) -> Cells:
        of = f" of {human_count(value.of)}" if value.of else ""
        return (
            (f"{self.glyphs.warn} {value.id}", "warn"),
            (f"{human_count(value.count)}{of}", "bold"),
            (share(value) or self.glyphs.dash, ""),
            (look.ago(value.created_at, self.now(), self.glyphs, self.dashboard.zone), "dim"),
            (value.reason, ""),
        )

    def haystack(self, value: schema.Guard) -> str:
        return f"{value.id} {value.kind} {value.reason}"

    def empty(self) -> Sequence[Line]:
        return (
            ((f"  {self.glyphs.done} No guard holds anything back.", "ok"),),
            (("  A removal that is unusually large, and that nobody asked for,", "dim"),),
            (("  waits here for you.", "dim"),),
        )

    def pane(self) -> Iterable[Widget]:
        reason = Lines(id="reason")
        plan = VirtualTable(PLAN_COLUMNS, action_cells, id="plan")
        box = Container(reason, plan, id="going", classes="panel")
        box.border_title = "What would go"
        yield box

    def paint_pane(self) -> None:
        row = self.selected
        guard = row.value if row is not None else None
        if guard is self._shown:
            return
        self._shown = guard
        box, plan = self.query_one("#going"), self.query_one("#plan", VirtualTable)
        box.display = guard is not None
        if guard is None:
            return
        width = max(20, self.size.width - 4)
        of = f" of {human_count(guard.of)}" if guard.of else ""
        percent = f", {share(guard)}" if share(guard) else ""
        lines: list[Line] = [((part, ""),) for part in wrapped(guard.reason, width)[:2]]
        lines.append(
            ((f"removes {human_count(guard.count)}{of}{percent} from the site; local files stay", "dim"),)
        )
        self.query_one("#reason", Lines).show(lines)
        box.border_title = Content(f"What would go: {guard.id}")
        plan.show(action_rows(guard.actions))

    # --- keys -------------------------------------------------------------------------------------

    def do_read_down(self) -> None:
        self.query_one("#plan", VirtualTable).action_page_down()

    def do_read_up(self) -> None:
        self.query_one("#plan", VirtualTable).action_page_up()

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(f"syncctl approve {row.value.id}")

    def do_open(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._approve(row.key), group="dialog", exclusive=True)

    async def _approve(self, key: str) -> None:
        from tui.screens.dialogs import Approval

        while (guard := self.state.guards.find(key)) is not None:
            answer = await self.app.push_screen_wait(Approval(key, guard))
            if answer == "approved":
                self.dashboard.ask(Approve(key), key)
            if answer != "changed":
                return
        self.dashboard.flash("this guard is gone: its cause is", "info")


def share(guard: schema.Guard) -> str:
    """`11%` of what was live; "" where that is not known."""
    return f"{guard.count / guard.of:.0%}" if guard.of else ""
