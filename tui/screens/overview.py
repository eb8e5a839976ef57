"""The overview: what needs you first, then what goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.containers import Container

from syncd.text import human_count, human_size
from tui import look
from tui.arrivals import arrivals
from tui.asks import Interest, Pause, Resume, StartSync
from tui.needs import Need, need_rows
from tui.screens.activity_line import activity_line
from tui.screens.base import ModeScreen, bindings
from tui.state import Keyed, reuse
from tui.widgets.lines import Lines, fit
from tui.widgets.table import Column, VirtualTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.binding import BindingType
    from textual.widget import Widget

    from syncd.control import schema
    from tui.look import Line, Span
    from tui.state import Part
    from tui.widgets.table import Cells


class Overview(ModeScreen):
    mode = "overview"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"status", "sync", "activity", "guards"})
    TICKS: ClassVar[bool] = True
    WRITES: ClassVar[frozenset[str]] = frozenset({"pause", "sync"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("overview")

    def body(self) -> Iterable[Widget]:
        needs = VirtualTable(
            (Column("", 1), Column("", 14), Column("", 20, flex=1), Column("", 1), Column("", 12)),
            self._need, header=False, id="needs",
        )  # fmt: skip
        services = VirtualTable(
            (
                Column("", 1), Column("", 8), Column("", 11), Column("", 3, drop=1),
                Column("", 7, flex=1, drop=2),
            ),
            self._service, header=False, id="services",
        )  # fmt: skip
        sync, queues, files = Lines(id="sync"), Lines(id="queues"), Lines(id="files")
        totals, sources, activity = Lines(id="totals"), Lines(id="sources"), Lines(id="recent")
        arrivals = Lines(id="arrivals")
        titles = {
            needs: "Needs you", services: "Services", sync: "Sync", queues: "Queues", files: "Throughput",
            totals: "Totals", sources: "Sources", activity: "Activity",
            arrivals: "New in events, last hour",
        }  # fmt: skip
        for widget, title in titles.items():
            widget.border_title = title
            widget.add_class("panel")
        sums = Container(totals, sources, id="sums")
        yield Container(needs, sync, Container(services, sums, id="pair"), queues, arrivals, files, id="left")
        yield Container(activity, id="right")

    def main(self) -> Widget | None:
        return self.query_one("#needs")

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"guards"}), sync=True)

    # --- painting ---------------------------------------------------------------------------------

    def render_body(self, dirty: frozenset[Part]) -> None:
        """Only the panels that depend on what changed; ages in any case."""
        if dirty & {"status", "guards", "link"}:
            self._paint_needs()
            self.query_one("#totals", Lines).show(self._totals())
            self.query_one("#queues", Lines).show(self._queues())
            self._paint_files()
        if dirty & {"sync", "link"}:
            self.query_one("#sync", Lines).show([self._sync()])
        if "activity" in dirty:
            self._paint_activity()
        self._paint_arrivals()
        self._paint_services()
        self.query_one("#sources", Lines).show(self._sources())

    def _paint_needs(self) -> None:
        state, glyphs = self.state, self.glyphs
        needs = self.query_one("#needs", VirtualTable)
        rows = need_rows(state)
        if not rows:
            calm = state.status is not None and state.live
            word: Span = (f"  {glyphs.done} nothing needs you", "ok") if calm else (f"  {glyphs.dash}", "dim")
            needs.empty = ((word,),)
            needs.refresh()
        needs.styles.height = 1 + min(max(1, len(rows)), 6 if self.size.height >= 40 else 3)
        needs.show(reuse(needs.rows, rows))

    def _need(self, need: Need) -> Cells:
        return (
            (getattr(self.glyphs, need.sign), need.tone), (need.what, "bold"), (need.text, ""),
            (need.press, "key"), (need.does, "dim"),
        )  # fmt: skip

    def _paint_services(self) -> None:
        services = self.query_one("#services", VirtualTable)
        status = self.state.status
        if status is None:
            services.empty = (((f"  {self.glyphs.dash}", "dim"),),)
        # What is not running comes first: where there is little room, the others are below.
        told = sorted(status.services, key=lambda service: service.state == "running") if status else []
        rows = tuple(Keyed(service.name, service) for service in told)
        ages = tuple(self._age(row.value) for row in rows)
        services.show(reuse(services.rows, rows), clock=ages, busy=self.state.busy)
        # As high as what stands beside it, in any case.
        beside = len(self._totals()) + len(self._sources()) + 1
        seen = max(1, min(len(rows), max(beside, self.size.height - 18)))
        services.styles.height = seen + 1
        title = "Services" if seen >= len(rows) else f"Services, {seen} of {len(rows)}"
        if services.border_title != title:
            services.border_title = title

    def _service(self, service: schema.ServiceStatus) -> Cells:
        glyph, tone = look.sign(self.glyphs, look.SERVICE, service.state)
        restarts = f"{self.glyphs.times}{service.restarts}" if service.restarts else ""
        age = (self._age(service), "dim")
        return (glyph, tone), (service.name, ""), (service.state, tone), (restarts, "warn"), age

    def _age(self, service: schema.ServiceStatus) -> str:
        began = look.moment(service.since)
        return look.duration(self.now() - began) if began is not None else self.glyphs.dash

    def _sync(self) -> Line:
        report, glyphs = self.state.sync, self.glyphs
        width = max(20, self.query_one("#sync").content_size.width)
        if report is None or (report.job_id is None and not report.scanned):
            return (
                (("no sync yet", "dim"), ("  S looks at every batch now", "dim"))
                if report
                else ((glyphs.dash, "dim"),)
            )
        failed: Line = ((f"  {len(report.failed):,} failed", "bad"),) if report.failed else ()
        if report.state in ("running", "queued"):
            progress = self.state.progress
            tail = f" {human_count(report.done_steps)}/{human_count(report.total)}  "
            known = progress.samples > 2 and self.state.live
            tail += f"{look.rate(progress.per_second)}  " if known else f"{glyphs.dash}  "
            tail += look.eta(progress.eta_s(report) if known else None, glyphs)
            room = width - len(tail) - 10 - sum(len(text) for text, _ in failed)
            return (
                (f"{report.state}  ", "info"),
                *look.bar(report.done_steps, report.total, max(8, room), glyphs), (tail, ""), *failed,
            )  # fmt: skip
        glyph, tone = look.sign(glyphs, look.JOB, report.state)
        parts = [
            f"uploaded {human_count(report.uploaded)}", f"removed {human_count(report.removed)}",
            f"unchanged {human_count(report.unchanged)}", human_size(report.bytes),
            look.duration(report.duration_s),
        ]  # fmt: skip
        return ((f"{glyph} {report.state}", tone), ("  " + "  ".join(parts), ""), *failed)

    def _totals(self) -> list[Line]:
        status, glyphs = self.state.status, self.glyphs
        counts = status.counts if status else None

        def cell(name: str, value: int | None) -> Line:
            return (
                (fit(name, 8), "dim"),
                (fit(human_count(value) if value is not None else glyphs.dash, 7, "right"), ""),
            )

        gap: Span = ("   ", "")
        lines: list[Line] = [
            (
                *cell("batches", counts.batches if counts else None),
                gap,
                *cell("public", counts.public_batches if counts else None),
            ),
            (
                *cell("scenes", counts.scenes if counts else None),
                gap,
                *cell("live", counts.live if counts else None),
            ),
            (*cell("versions", counts.versions if counts else None),),
        ]
        if counts is not None and counts.events:
            lines.append((*cell("events", counts.events), gap, *cell("photos", counts.event_photos)))
        if counts is not None and counts.albums:
            lines.append((*cell("albums", counts.albums), gap, *cell("photos", counts.library_photos)))
        return lines

    def _sources(self) -> list[Line]:
        status, glyphs = self.state.status, self.glyphs
        if status is None or not status.sources:
            return [((glyphs.dash, "dim"),)]
        lines: list[Line] = []
        for source in status.sources[:3]:
            glyph, tone = look.sign(glyphs, {**look.SERVICE, "ok": ("ok", "ok")}, source.state)
            seen = look.ago(source.last_success_at, self.now(), glyphs, self.dashboard.zone)
            lines.append(
                (
                    (f"{glyph} ", tone),
                    (f"{fit(source.name, 7, more=glyphs.more)} ", ""),
                    (fit(source.state, 12), tone),
                    (seen, "dim"),
                )
            )
        return lines

    def _queues(self) -> list[Line]:
        """Those with work or failures; all of them while they are few."""
        status = self.state.status
        queues = sorted(status.queues.items()) if status else []
        if len(queues) > 3:
            some = [(name, queue) for name, queue in queues if queue.waiting or queue.running or queue.failed]
            queues = sorted(some, key=lambda pair: not pair[1].failed)[: max(2, self.size.height - 21)]
            if not queues:
                return [(("nothing waits", "dim"),)]
        lines: list[Line] = [
            (
                (fit(name, 12), ""),
                (f"{human_count(queue.waiting):>7} waiting", "info" if queue.waiting else "dim"),
                (f"{human_count(queue.running):>6} running", "info" if queue.running else "dim"),
                (f"{human_count(queue.failed):>6} failed", "bad" if queue.failed else "dim"),
            )
            for name, queue in queues
        ]
        return lines or [((self.glyphs.dash, "dim"),)]

    def _paint_files(self) -> None:
        """Files a second: one row of bars beside the rates, or a chart where there is room."""
        files, glyphs, rates = self.query_one("#files", Lines), self.glyphs, self.state.rates
        width, height = max(40, files.content_size.width), files.content_size.height
        stalled = rates.stalled(self.now()) or not self.state.live
        tone = "rule" if stalled else "accent"
        speed = rates.per_second
        reads = glyphs.dash if stalled else look.rate(speed.inspected)
        uploads = glyphs.dash
        if not stalled:
            uploads = f"{look.rate(speed.uploaded)}  {human_size(speed.uploaded_bytes)}/s"
        said: Line = (("read ", "dim"), (reads, ""), ("  uploaded ", "dim"), (uploads, ""))
        if height < 3:
            bars = look.spark(rates.history, max(10, width - 42), glyphs)
            files.show([((bars, tone), ("  ", ""), *said)])
            return
        rows = look.chart(rates.history, width, height - 1, glyphs)
        files.show([said, *(((row, tone),) for row in rows)])

    def _paint_arrivals(self) -> None:
        """Photos that came into events in the last hour: a bar a minute, and how many into which."""
        panel, status, glyphs = self.query_one("#arrivals", Lines), self.state.status, self.glyphs
        panel.display = status is not None and status.counts.events > 0 and self.size.height >= 30
        if not panel.display:
            return
        width = self.query_one("#queues", Lines).content_size.width  # this one has none before it is seen
        came = arrivals(self.state.activity, self.now())
        bars = look.spark(came.minutes, min(60, max(10, width - 30)), glyphs)
        words = ", ".join(f"{event} {human_count(count)}" for event, count in came.events) or "nothing new"
        panel.show(
            [((bars, "accent" if came.photos else "rule"), (f"  {words}", "" if came.photos else "dim"))]
        )

    def _paint_activity(self) -> None:
        recent = self.query_one("#recent", Lines)
        rows = max(1, recent.content_size.height)
        width = max(20, recent.content_size.width)
        items = self.state.activity[-rows:][::-1]
        lines = [activity_line(item, self.dashboard.zone, width, self.glyphs) for item in items]
        recent.show(lines or [((self.glyphs.dash, "dim"),)])

    # --- keys -------------------------------------------------------------------------------------

    def _focused(self, name: str) -> Keyed[Any] | None:
        table = self.query_one(f"#{name}", VirtualTable)
        return table.selected if self.focused is table else None

    def why_not(self, action: str) -> str | None:
        if action == "pause":
            service = self._focused("services")
            if service is None:
                return "select a service first: tab goes there"
            if service.value.name == "control":
                return "control cannot be paused: it is what you are talking to"
        if (
            action in ("open", "copy")
            and self._focused("needs") is None
            and self._focused("services") is None
        ):
            return "nothing is selected"
        return super().why_not(action)

    def do_open(self) -> None:
        if (row := self._focused("needs")) is not None:
            need: Need = row.value
            if need.mode:
                self.dashboard.go(need.mode, need.subject)
            else:
                self.dashboard.copy(need.copy)
        elif (row := self._focused("services")) is not None:
            self.dashboard.go("activity", row.key)

    def do_copy(self) -> None:
        if (row := self._focused("needs")) is not None:
            self.dashboard.copy(row.value.copy or row.value.text)
        elif (row := self._focused("services")) is not None:
            self.dashboard.copy(row.value.last_error or f"{row.value.name} {row.value.state}")

    def do_pause(self) -> None:
        row = self._focused("services")
        if row is not None:
            paused = row.value.state == "paused"
            self.dashboard.ask(Resume(row.key) if paused else Pause(row.key), row.key)

    def do_sync(self) -> None:
        self.dashboard.ask(StartSync(), "sync")

    def on_virtual_table_moved(self, _message: VirtualTable.Moved) -> None:
        if self.ready:
            self.paint_footer()

    def on_virtual_table_opened(self, _message: VirtualTable.Opened) -> None:
        self.action_do("open")
