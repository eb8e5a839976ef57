"""The names of albums: as they are, as they would be, and how far one is from the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.content import Content

from syncd.text import human_count
from tui import look
from tui.asks import AskFailed, Interest
from tui.asks_library import ApplyNames, HintName
from tui.needs import AUTH_COMMANDS
from tui.screens.base import bindings
from tui.screens.jobs import wrapped
from tui.screens.lists import ListScreen, Order
from tui.state import Keyed
from tui.widgets.lines import Lines, folded
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

BAR = 6
ACTION: dict[str, tuple[str, str]] = {
    "rename": ("arrow", "warn"),
    "keep": ("done", "ok"),
    "skip": ("off", "dim"),
}
_FIRST = {"rename": 0, "keep": 1, "skip": 2}
PLAN_COLUMNS = (Column("Now", 20, flex=1), Column("Then", 20, flex=1))


class Names(ListScreen):
    mode = "names"
    heading = "Names"
    TICKS: ClassVar[bool] = False
    PARTS: ClassVar[frozenset[Part]] = frozenset({"names", "status"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("names")
    WRITES: ClassVar[frozenset[str]] = frozenset({"apply", "apply_all", "hint"})
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"mark", "apply", "hint"})
    columns: ClassVar[Sequence[Column]] = (
        Column("Drift", 10),
        Column("Now", 20, flex=1),
        Column("Would be", 20, flex=1),
        Column("", 8, drop=2),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order(
            "drift", "Drift", lambda item: (_FIRST[item.action], -item.drift_score, item.old_name.casefold())
        ),
        Order("name", "Now", lambda item: item.old_name.casefold()),
        Order("new name", "Would be", lambda item: item.new_name.casefold()),
    )

    def listing(self) -> Listing[schema.NameItem]:
        return self.state.names

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"names"}))

    def haystack(self, value: schema.NameItem) -> str:
        return f"{value.old_name} {value.new_name} {value.action} {value.album_key}"

    # --- painting ---------------------------------------------------------------------------------

    def drift(self, item: schema.NameItem) -> Line:
        """A bar and the score."""
        if not item.drift_score:
            return ((self.glyphs.dash, "dim"),)
        tone = "warn" if item.action == "rename" else "dim"
        (full, _), track = look.bar(item.drift_score, 100, BAR, self.glyphs)
        return (full, tone), track, (f" {item.drift_score:>3}", tone)

    def cells(self, value: schema.NameItem) -> Cells:
        sign, tone = ACTION[value.action]
        action = (f"{getattr(self.glyphs, sign)} {value.action}", tone)
        if value.old_name == value.new_name:
            return self.drift(value), (value.old_name, "dim"), ("", ""), action
        old, new = marked(value.old_name, value.new_name)
        if value.action != "rename":
            return self.drift(value), (value.old_name, ""), (value.new_name, "dim"), action
        return self.drift(value), old, new, action

    def subtitle(self) -> str:
        drifted = sum(row.value.action == "rename" for row in self.state.names.items)
        return f"{human_count(drifted)} would be renamed" if drifted else ""

    def empty(self) -> Sequence[Line]:
        return (
            (("  No albums yet, so there is nothing to name.", ""),),
            (),
            ((f"    {AUTH_COMMANDS['smugmug']}", "accent"), ("      sign in, once", "dim")),
            (),
            (("  Names are made of what the photos show and when they were taken.", "dim"),),
            (("  Nothing is renamed before you saw how.", "dim"),),
        )

    def pane(self) -> Iterable[Widget]:
        detail = Lines(id="detail", classes="panel")
        detail.border_title = "Album"
        yield detail

    def paint_pane(self) -> None:
        detail, row = self.query_one("#detail", Lines), self.selected
        detail.border_title = Content(row.value.old_name if row is not None else "Album")
        if row is None:
            detail.show([(("no album is selected", "dim"),)] if self.table.rows else [])
            return
        item, width = row.value, max(20, detail.content_size.width)
        lines: list[Line]
        if item.old_name == item.new_name:
            lines = [((item.old_name, ""),)]
        else:
            lines = both_names(item.old_name, item.new_name, width)
        lines += [((part, "dim"),) for part in wrapped(item.reason, width)[:2]]
        lines.append(((f"drift {item.drift_score} of 100  {item.album_key}", "dim"),))
        detail.show(lines)

    # --- keys -------------------------------------------------------------------------------------

    def _chosen(self) -> tuple[str, ...]:
        if self.table.marks:
            return tuple(row.key for row in self.rows() if row.key in self.table.marks)
        return (self.selected.key,) if self.selected is not None else ()

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        rows = {row.key: row.value for row in self.state.names.items}
        if action == "apply":
            items = [rows[key] for key in self._chosen() if key in rows]
            if all(item.old_name == item.new_name for item in items):
                return "it has its name already"
        if action == "apply_all" and not any(item.action == "rename" for item in rows.values()):
            return "no name drifted"
        return None

    def do_apply(self) -> None:
        self.run_worker(self._apply(self._chosen()), group="dialog", exclusive=True)

    def do_apply_all(self) -> None:
        self.run_worker(self._apply(None), group="dialog", exclusive=True)

    async def _apply(self, album_keys: tuple[str, ...] | None) -> None:
        """Shows what would be done, and then does just that."""
        from tui.screens.questions import Question

        self.dashboard.flash(f"asking what would be renamed {self.glyphs.more}")
        try:
            report = await self.dashboard.feed.names_dry_run(album_keys)
        except AskFailed as failure:
            self.dashboard.flash_failure(failure)
            return
        self.dashboard.unflash()
        going = [item for item in report.items if item.action == "rename"]
        keys = tuple(item.album_key for item in going)
        number, word = human_count(len(keys)), "album" if len(keys) == 1 else "albums"
        text = (
            f"{number} {word} would be renamed on SmugMug, then in the mirror."
            if keys
            else "Nothing would change."
        )
        more = "l shows what was renamed, and z there gives the old name back." if keys else ""
        if report.failed:
            text += f" {human_count(len(report.failed))} cannot be: {report.failed[0].reason}."
        question = Question(
            f"Rename {number} {word}?", text, f"Rename {number}" if keys else "", more=more,
            columns=PLAN_COLUMNS, cells=_plan_cells,
            rows=tuple(Keyed(item.album_key, item) for item in going),
        )  # fmt: skip
        agreed = await self.app.push_screen_wait(question)
        if agreed and keys:
            self.table.clear_marks()
            self.dashboard.ask(ApplyNames(keys), *keys)

    def do_hint(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._hint(row.key, row.value), group="dialog", exclusive=True)

    async def _hint(self, key: str, item: schema.NameItem) -> None:
        from tui.screens.questions import EditWords, listed

        about: list[Line] = [(("This wins over what the model saw; all empty takes the hint back.", "dim"),)]
        fields = (
            ("teams, with commas", "", "Lions, Tigers"),
            ("event, where there are no teams", "", "Summer Gala"),
            ("sport", "", "football"),
        )
        said = await self.app.push_screen_wait(EditWords(f"What {item.old_name} shows", about, fields))
        if said is not None:
            self.dashboard.ask(HintName(key, listed(said[0]), said[1].strip(), said[2].strip()), key)

    def do_changes(self) -> None:
        self.dashboard.go("changes")

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(row.value.new_name)


def both_names(before: str, after: str, width: int) -> list[Line]:
    """The two names below each other in at most two lines each, with the words that differ marked."""
    old, new = marked(before, after)
    return [
        *folded((("- ", "bad"), *old), width, indent="  ")[:2],
        *folded((("+ ", "ok"), *new), width, indent="  ")[:2],
    ]


def _plan_cells(item: schema.NameItem) -> Cells:
    return marked(item.old_name, item.new_name)
