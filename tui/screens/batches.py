"""The batch manager: what each batch has, and whether the public sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from syncd.text import human_count
from tui import look
from tui.asks import AskFailed, Interest, SetPublic, SetSource, StartSync
from tui.screens.base import bindings
from tui.screens.lists import ListScreen, Order
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.binding import BindingType

    from syncd.control import schema
    from tui.look import Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells


class Batches(ListScreen):
    mode = "batches"
    heading = "Batches"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"batches"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("batches")
    WRITES: ClassVar[frozenset[str]] = frozenset({"public", "source", "sync"})
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"open", "public", "source", "sync", "dry_run"})
    columns: ClassVar[Sequence[Column]] = (
        Column("Batch", 20, flex=2),
        Column("Site", 9),
        Column("Scenes", 7, "right"),
        Column("Live", 7, "right"),
        Column("Failed", 6, "right"),
        Column("Versions", 8, "right", drop=2),
        Column("Stage", 12, flex=1, drop=1),
        Column("Synced", 12, drop=3),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order("name", "Batch", lambda batch: batch.name.casefold()),
        Order("failed", "Failed", lambda batch: (-batch.failed, batch.name.casefold())),
        Order("not yet live", "Live", lambda batch: (batch.live - batch.scenes, batch.name.casefold())),
        Order("last synced", "Synced", lambda batch: batch.last_synced_at or "", reverse=True),
    )

    def listing(self) -> Listing[schema.Batch]:
        return self.state.batches

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"batches"}))

    def cells(self, value: schema.Batch) -> Cells:
        glyphs, batch = self.glyphs, value
        site = (f"{glyphs.ok} public", "ok") if batch.is_public else (f"{glyphs.off} private", "dim")
        behind = batch.is_public and batch.live < batch.scenes
        return (
            (batch.name, ""),
            site,
            (human_count(batch.scenes), ""),
            (human_count(batch.live), "warn" if behind else "" if batch.live else "dim"),
            (human_count(batch.failed) if batch.failed else glyphs.dash, "bad" if batch.failed else "dim"),
            (human_count(batch.versions), "dim"),
            (batch.source_directory or "best present", "" if batch.source_directory else "dim"),
            (look.ago(batch.last_synced_at, self.now(), glyphs, self.dashboard.zone), "dim"),
        )

    def haystack(self, value: schema.Batch) -> str:
        return f"{value.name} {'public' if value.is_public else 'private'} {value.source_directory or ''}"

    def subtitle(self) -> str:
        items = self.state.batches.items
        return f"{sum(row.value.is_public for row in items):,} public" if items else ""

    def empty(self) -> Sequence[Line]:
        return (
            (("  No batches yet.", ""),),
            (("  Put scans into images/<batch>/<stage>/ and they appear here by themselves.", "dim"),),
        )

    # --- keys -------------------------------------------------------------------------------------

    def do_open(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.go("scenes", row.key)

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(row.value.name)

    def do_sync(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.ask(StartSync(row.key), row.key)

    def do_public(self) -> None:
        """Publishing is at once; a withdrawal first shows what goes."""
        row = self.selected
        if row is None:
            return
        if row.value.is_public:
            self.run_worker(self._withdraw(row.key, row.value), group="dialog", exclusive=True)
        else:
            self.dashboard.ask(SetPublic(row.key, True), row.key)

    async def _withdraw(self, key: str, batch: schema.Batch) -> None:
        from tui.screens.dialogs import Withdrawal

        try:
            page = await self.dashboard.feed.live_scenes(key)
        except AskFailed as failure:
            self.dashboard.flash_failure(failure)
            return
        if await self.app.push_screen_wait(Withdrawal(batch, page)):
            self.dashboard.ask(SetPublic(key, False), key)

    def do_source(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._source(row.key, row.value), group="dialog", exclusive=True)

    async def _source(self, key: str, batch: schema.Batch) -> None:
        from tui.screens.dialogs import StageChoice

        try:
            stages = await self.dashboard.feed.stages(key)
        except AskFailed as failure:
            self.dashboard.flash_failure(failure)
            return
        chosen = await self.app.push_screen_wait(StageChoice(batch, stages))
        if chosen is not None and chosen.value != (batch.source_directory or ""):
            self.dashboard.ask(SetSource(key, chosen.key or None), key)

    def do_dry_run(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._dry_run(row.key, row.value.name), group="dialog", exclusive=True)

    async def _dry_run(self, key: str, name: str) -> None:
        from tui.screens.dialogs import PlanView

        self.dashboard.flash(f"planning {name} {self.glyphs.more}")
        try:
            report = await self.dashboard.feed.plan(key)
        except AskFailed as failure:
            self.dashboard.flash_failure(failure)
            return
        await self.app.push_screen_wait(PlanView(name, report))
