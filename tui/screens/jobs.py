"""The durable jobs: failed ones first, with their reason, to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from syncd.text import human_count
from tui import look
from tui.asks import CancelJob, Interest, RetryFailed, RetryJobs
from tui.screens.base import bindings
from tui.screens.lists import ListScreen, Order
from tui.widgets.lines import Lines
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.binding import BindingType
    from textual.widget import Widget

    from syncd.control import schema
    from tui.look import Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells

_FIRST = {"failed": 0, "refused": 1, "partial": 2, "running": 3, "waiting": 4, "queued": 5}
RETRYABLE = frozenset({"failed", "refused", "partial", "cancelled"})
CANCELLABLE = frozenset({"queued", "running", "waiting"})


def _pressing(job: schema.Job) -> tuple[int, float]:
    """Failed first, within a state the newest first."""
    return _FIRST.get(job.state, 9), -(look.moment(job.updated_at or job.created_at) or 0)


class Jobs(ListScreen):
    mode = "jobs"
    heading = "Jobs"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"jobs"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("jobs")
    WRITES: ClassVar[frozenset[str]] = frozenset({"retry", "retry_all", "cancel"})
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"mark", "cancel"})
    columns: ClassVar[Sequence[Column]] = (
        Column("State", 11),
        Column("Kind", 8, drop=2),
        Column("Subject", 30, flex=2),
        Column("Done", 9, "right", drop=4),
        Column("Tries", 5, "right", drop=3),
        Column("When", 12, drop=1),
        Column("Reason", 24, flex=3),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order("failed first", "State", _pressing),
        Order("newest", "When", lambda job: job.updated_at or job.created_at, reverse=True),
        Order("subject", "Subject", lambda job: job.subject.casefold()),
    )

    def listing(self) -> Listing[schema.Job]:
        return self.state.jobs

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"jobs"}))

    def cells(self, value: schema.Job) -> Cells:
        glyphs, job = self.glyphs, value
        glyph, tone = look.sign(glyphs, look.JOB, job.state)
        progress = job.progress
        done = (
            f"{human_count(progress.done)}/{human_count(progress.total)}" if progress.total else glyphs.dash
        )
        when = look.ago(job.updated_at or job.created_at, self.now(), glyphs, self.dashboard.zone)
        return (
            (f"{glyph} {job.state}", tone),
            (job.kind, "dim"),
            (job.subject, ""),
            (done, "dim"),
            (str(job.attempts), "dim"),
            (when, "dim"),
            (job.error or "", "bad" if job.state in ("failed", "refused") else "dim"),
        )

    def haystack(self, value: schema.Job) -> str:
        return f"{value.state} {value.kind} {value.subject} {value.error or ''} {value.id}"

    def subtitle(self) -> str:
        failed = sum(row.value.state in ("failed", "refused") for row in self.state.jobs.items)
        return f"{failed:,} failed" if failed else ""

    def empty(self) -> Sequence[Line]:
        return (
            (("  No jobs.", ""),),
            (("  Work that must outlive a restart stands here;", "dim"),),
            (("  what failed stays, with its reason, until it is done.", "dim"),),
        )

    def pane(self) -> Iterable[Widget]:
        detail = Lines(id="detail", classes="panel")
        detail.border_title = "Job"
        yield detail

    def paint_pane(self) -> None:
        row, detail = self.selected, self.query_one("#detail", Lines)
        if row is None:
            detail.show([(("no job is selected", "dim"),)])
            return
        job, width = row.value, max(20, detail.content_size.width)
        zone, now, glyphs = self.dashboard.zone, self.now(), self.glyphs
        glyph, tone = look.sign(glyphs, look.JOB, job.state)
        tries = "1 try" if job.attempts == 1 else f"{job.attempts} tries"
        lines: list[Line] = [
            ((f"{glyph} {job.state}  ", tone), (f"{job.kind}  ", ""), (tries, "dim")),
            *(((part, ""),) for part in wrapped(job.subject, width)[:2]),
            ((f"{job.id}  made {look.ago(job.created_at, now, glyphs, zone)}", "dim"),),
        ]
        if job.next_attempt_at:
            lines[-1] = (*lines[-1], (f"  next try {look.clock(job.next_attempt_at, zone)}", "dim"))
        lines += [((part, "bad"),) for part in wrapped(job.error or "", width)[: 6 - len(lines)]]
        detail.show(lines)

    # --- keys -------------------------------------------------------------------------------------

    def _chosen(self) -> list[schema.Job]:
        rows = self.state.jobs.items
        marked = self.table.marks
        if marked:
            return [row.value for row in rows if row.key in marked]
        return [self.selected.value] if self.selected is not None else []

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        if action == "retry":
            chosen = self._chosen()
            if not chosen:
                return "no job is selected"
            if not any(job.state in RETRYABLE for job in chosen):
                return f"it is {chosen[0].state}: there is nothing to try again"
        if action == "retry_all" and not any(row.value.state in RETRYABLE for row in self.state.jobs.items):
            return "no job has failed"
        if action == "cancel" and self.selected is not None and self.selected.value.state not in CANCELLABLE:
            return f"it is {self.selected.value.state}: there is nothing to cancel"
        return None

    def do_retry(self) -> None:
        ids = tuple(job.id for job in self._chosen() if job.state in RETRYABLE)
        self.dashboard.ask(RetryJobs(ids), *ids)
        self.table.clear_marks()

    def do_retry_all(self) -> None:
        failed = [row.key for row in self.state.jobs.items if row.value.state in RETRYABLE]
        self.dashboard.ask(RetryFailed(), *failed)

    def do_cancel(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.ask(CancelJob(row.key), row.key)

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(row.value.error or row.value.id)


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells."""
    from rich.cells import cell_len, chop_cells

    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        for piece in chop_cells(word, width) or [""]:
            if line and cell_len(line) + 1 + cell_len(piece) > width:
                lines.append(line)
                line = piece
            else:
                line = f"{line} {piece}" if line else piece
    return [*lines, line] if line else lines
