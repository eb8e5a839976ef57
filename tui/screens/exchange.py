"""The exchange with other archives: lists of files that one asks of the other, and how far each is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.content import Content

from syncd.text import human_count, human_size
from tui import look
from tui.asks import AskFailed, Interest
from tui.asks_exchange import Analyze, CleanList, Export, Import, VerifyList
from tui.screens.base import bindings
from tui.screens.jobs import wrapped
from tui.screens.lists import ListScreen, Order
from tui.screens.people import path_of
from tui.widgets.lines import Lines
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from textual.binding import BindingType
    from textual.widget import Widget

    from syncd.control import schema
    from tui.asks_exchange import Trial
    from tui.look import Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells

STATUS: dict[str, tuple[str, str]] = {
    "pending": ("off", "dim"),
    "running": ("busy", "info"),
    "partial": ("hold", "warn"),
    "completed": ("ok", "ok"),
    "verified": ("done", "ok"),
    "failed": ("bad", "bad"),
}
ROLE = {"asks": "ask", "gives": "give"}
BAR = 8


class Exchange(ListScreen):
    mode = "exchange"
    heading = "Exchange"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"exchanges", "jobs"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("exchange")
    WRITES: ClassVar[frozenset[str]] = frozenset({"analyze", "import", "export", "verify", "clean"})
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"open", "import", "verify", "clean"})
    columns: ClassVar[Sequence[Column]] = (
        Column("List", 16),
        Column("You", 4),
        Column("With", 14, flex=1, drop=1),
        Column("Files", 7, "right"),
        Column("Size", 8, "right", drop=2),
        Column("Done", 13),
        Column("Status", 11),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order("newest", "List", lambda one: one.created_at, reverse=True),
        Order("status", "Status", lambda one: (one.status, one.list_id)),
        Order("files", "Files", lambda one: one.total_files, reverse=True),
    )

    def listing(self) -> Listing[schema.ExchangeList]:
        return self.state.exchanges

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"exchanges", "jobs"}))

    def haystack(self, value: schema.ExchangeList) -> str:
        return f"{value.list_id} {value.remote} {value.status} {ROLE[value.role]} {value.list_file or ''}"

    # --- painting ---------------------------------------------------------------------------------

    def cells(self, value: schema.ExchangeList) -> Cells:
        glyphs, total = self.glyphs, value.total_files
        glyph, tone = look.sign(glyphs, STATUS, value.status)
        percent = f" {100 * value.processed_files // total:>3}%" if total else ""
        return (
            (value.list_id, ""),
            (ROLE[value.role], "dim"),
            (value.remote, ""),
            (human_count(total), ""),
            (glyphs.dash if value.total_bytes is None else human_size(value.total_bytes), "dim"),
            (*look.bar(value.processed_files, total, BAR, glyphs), (percent, "dim")),
            (f"{glyph} {value.status}", tone),
        )

    def subtitle(self) -> str:
        running = sum(row.value.status == "running" for row in self.state.exchanges.items)
        return f"{running:,} running" if running else ""

    def empty(self) -> Sequence[Line]:
        return (
            (("  No lists yet. A list says what another collector has and you lack:", ""),),
            (),
            (("    n", "key"), ("                                       compare with their database", "dim")),
            (("    syncctl exchange analyze --remote-db F", "accent"), ("  the same in a script", "dim")),
            (),
            (("  They export what it asks for (", "dim"), ("x", "key"), ("), you import it (", "dim"),
             ("i", "key"), (").", "dim")),
            (("  Nobody writes to the other's database.", "dim"),),
        )  # fmt: skip

    def pane(self) -> Iterable[Widget]:
        detail = Lines(id="detail", classes="panel")
        detail.border_title = "List"
        yield detail

    def paint_pane(self) -> None:
        detail, row = self.query_one("#detail", Lines), self.selected
        width = max(20, detail.content_size.width)
        detail.border_title = Content(row.value.list_id if row is not None else "List")
        lines = self._jobs(width)
        if row is not None:
            lines += self._facts(row.value, width)
        elif self.table.rows:
            lines.append((("no list is selected", "dim"),))
        detail.show(lines[:7])

    def _jobs(self, width: int) -> list[Line]:
        """Work of the exchange that goes on now."""
        running = [
            row.value
            for row in self.state.jobs.items
            if row.value.kind.startswith("exchange") and row.value.state == "running"
        ]
        lines: list[Line] = []
        for job in running[:2]:
            done = job.progress
            numbers = f" {human_count(done.done)}/{human_count(done.total)}"
            words = f"{job.kind.removeprefix('exchange').strip('_ ') or job.kind} {job.subject} "
            bar = look.bar(done.done, done.total, max(8, width - len(words) - len(numbers)), self.glyphs)
            lines.append(((words, "info"), *bar, (numbers, "")))
        return lines

    def _facts(self, one: schema.ExchangeList, width: int) -> list[Line]:
        glyphs, now, zone = self.glyphs, self.now(), self.dashboard.zone
        what = "theirs that you lack" if one.role == "asks" else "yours that they lack"
        numbers = [f"{human_count(one.hash_files)} {what}"]
        if one.url_files:
            numbers.append(f"{human_count(one.url_files)} known by address only")
        if one.near_matches:
            numbers.append(f"{human_count(one.near_matches)} look like yours")
        if one.only_here:
            numbers.append(f"{human_count(one.only_here)} are only here")
        done = f"{human_count(one.processed_files)} of {human_count(one.total_files)} done"
        lines: list[Line] = [
            ((done, "ok" if one.processed_files else "dim"),
             (f"  {human_count(one.error_count)} in error" if one.error_count else "", "bad"),
             (f"  made {look.ago(one.created_at, now, glyphs, zone)}, with {one.remote}", "dim")),
            *(((part, ""),) for part in wrapped(", ".join(numbers), width)[:2]),
        ]  # fmt: skip
        lines += [((part, "bad"),) for part in wrapped(one.error or "", width)[:2]]
        if one.list_file:
            lines.append(
                (("send ", "dim"), (one.list_file, "")) if one.role == "asks" else ((one.list_file, ""),)
            )
        if one.folder:
            lines.append((("folder ", "dim"), (one.folder, "")))
        return lines

    # --- keys -------------------------------------------------------------------------------------

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        row = self.selected
        if action in ("import", "verify") and row is not None and row.value.role != "asks":
            return "you give this list: who asked for it imports"
        if action == "verify" and row is not None and not row.value.processed_files:
            return "nothing of it was imported yet"
        return None

    def do_open(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.go("files", row.key)

    def do_analyze(self) -> None:
        self.run_worker(self._analyze(), group="dialog", exclusive=True)

    async def _analyze(self) -> None:
        await self._try(
            "Compare with another archive", "Their database, on the daemon's machine; it is only read.",
            "/media/disk/indafoto.db", Analyze, "Make a list", "compare",
        )  # fmt: skip

    def do_import(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._import(row.key), group="dialog", exclusive=True)

    async def _import(self, list_id: str) -> None:
        await self._try(
            f"Import {list_id}", "The folder that came, on the daemon's machine; each file is checked first.",
            "/media/disk/for-you", lambda path: Import(list_id, path), "Import", "check",
        )  # fmt: skip

    def do_export(self) -> None:
        row = self.selected
        mine = row.value.list_file if row is not None and row.value.role == "gives" else ""
        self.run_worker(self._export(mine or ""), group="dialog", exclusive=True)

    async def _export(self, list_file: str) -> None:
        from tui.screens.questions import WhichWords

        which = WhichWords(
            "Export for a list", hint="The list that they sent, on the daemon's machine.",
            example="/media/disk/list.json", does="go on", text=list_file,
        )  # fmt: skip
        if (path := await self.app.push_screen_wait(which)) is None:
            return
        await self._try(
            "Export for a list", "The folder to gather the files in; an export that broke off goes on there.",
            "/media/disk/for-them", lambda folder: Export(absolute(path), folder), "Export", "count",
        )  # fmt: skip

    async def _try(
        self, headline: str, hint: str, example: str, make: Callable[[str], Trial], yes: str, does: str
    ) -> None:
        """Asks for a path, tries, says what would be, and does it when that is wanted."""
        from tui.screens.questions import Question, WhichWords

        text, wrong = "", AskFailed("")
        while True:
            which = WhichWords(headline, hint=hint, example=example, does=does, text=text, wrong=wrong)
            if (typed := await self.app.push_screen_wait(which)) is None:
                return
            text, ask = typed, make(absolute(typed))
            self.dashboard.flash(f"trying, nothing is changed {self.glyphs.more}")
            try:
                would = await self.dashboard.feed.try_exchange(ask)
                break
            except AskFailed as failure:
                wrong = failure
            finally:
                self.dashboard.unflash()
        agreed = await self.app.push_screen_wait(Question(f"{yes}?", f"{would[:1].upper()}{would[1:]}.", yes))
        if agreed:
            self.dashboard.flash(f"{yes.lower()}: on its way {self.glyphs.more}")
            self.dashboard.ask(ask, getattr(ask, "list_id", "exchange"))

    def do_verify(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.ask(VerifyList(row.key), row.key)

    def do_clean(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._clean(row.key), group="dialog", exclusive=True)

    async def _clean(self, list_id: str) -> None:
        from tui.screens.questions import Question

        text = "What was only staged for this list is removed. What arrived stays, and so does the list."
        agreed = await self.app.push_screen_wait(Question(f"Clean {list_id}?", text, "Clean"))
        if agreed:
            self.dashboard.ask(CleanList(list_id), list_id)

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(row.value.list_file or row.key)


def absolute(typed: str) -> str:
    """The path that is meant, as it is typed here or as terminals paste it."""
    return str(path_of(typed).absolute())
