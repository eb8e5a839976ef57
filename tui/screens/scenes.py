"""The scenes of a batch, and the stages of the one under the cursor side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.content import Content

from syncd.text import human_size
from tui.asks import Interest
from tui.screens.base import bindings
from tui.screens.lists import ListScreen
from tui.widgets.stages import Stages, stages_of
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.binding import BindingType
    from textual.timer import Timer
    from textual.widget import Widget

    from syncd.control import schema
    from tui.look import Line
    from tui.state import Keyed, Listing, Part
    from tui.widgets.table import Cells, VirtualTable

AHEAD, STEP = 400, 100
"""So many rows beyond the cursor are at hand; what is looked at is said anew every so many rows."""
EVERYTHING = 1_000_000
"""All rows are wanted once somebody went to the last one."""
REST_S = 0.12
"""A picture is asked for once the cursor has rested so long."""


class Scenes(ListScreen):
    mode = "scenes"
    heading = "Scenes"
    TICKS: ClassVar[bool] = False
    PARTS: ClassVar[frozenset[Part]] = frozenset({"scenes", "batches"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("scenes")
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"open", "stage_next", "stage_previous"})
    columns: ClassVar[Sequence[Column]] = (
        Column("Scene", 32, flex=1),
        Column("Site", 10),
        Column("Shows", 23, drop=2),
        Column("Taken", 16, drop=1),
        Column("Size", 7, "right", drop=3),
    )

    def __init__(self) -> None:
        super().__init__()
        self.shown_batch = ""
        self.live_only = False
        self.stage = 0
        self._for: str | None = None
        self._rest: Timer | None = None
        self._place = 0
        self._to_the_end = False

    # --- what is asked for ------------------------------------------------------------------------

    def target(self, batch: str) -> None:
        """Shows this batch's scenes."""
        if batch != self.shown_batch:
            self.shown_batch, self.words, self.live_only = batch, "", False
            self._place, self._to_the_end = 0, False
            if self.ready:
                self.table.cursor = None
                self.table.move_to(0)
            self.look_again()

    def interest(self) -> Interest:
        place = self._place * STEP
        return Interest(
            lists=frozenset({"scenes", "batches"}), scenes=(self.shown_batch, self.words),
            live_only=self.live_only, wanted=EVERYTHING if self._to_the_end else place + AHEAD, place=place,
        )  # fmt: skip

    def look_again(self) -> None:
        self.dashboard.look(self.interest())

    def filtered(self) -> None:
        self.set_timer(0.2, self.look_again)
        super().filtered()

    def listing(self) -> Listing[schema.Scene]:
        return self.state.scenes

    def _arrange(self, items: tuple[Keyed[schema.Scene], ...]) -> tuple[Keyed[schema.Scene], ...]:
        return items  # the daemon has filtered and ordered them

    # --- painting ---------------------------------------------------------------------------------

    def pane(self) -> Iterable[Widget]:
        stages = Stages(id="stages", classes="panel")
        stages.border_title = "Stages"
        stages.with_pictures = self.dashboard.pictures
        yield stages

    def cells(self, value: schema.Scene) -> Cells:
        glyphs, scene = self.glyphs, value
        current = next((version for version in scene.versions if version.is_current), None)
        failure = next((v.failure for v in scene.versions if v.is_current and v.failure), None)
        if failure:
            site = (f"{glyphs.bad} failed", "bad")
        elif scene.live:
            site = (f"{glyphs.ok} live", "ok")
        else:
            site = (f"{glyphs.off} not live", "dim")
        taken = (scene.capture_date or "").replace("T", " ")[:16]
        return (
            (scene.base_filename if self.shown_batch else scene.scene_id, ""),
            site,
            (current.version_type if current else "no version", "" if current else "warn"),
            (taken or glyphs.dash, "dim"),
            (human_size(current.size_bytes) if current else glyphs.dash, "dim"),
        )

    def subtitle(self) -> str:
        batch = self.state.batches.find(self.shown_batch)
        name = batch.name if batch else self.state.scenes.items[0].value.batch_name if self._has_one() else ""
        of = f"of {name}" if self.shown_batch and name else "of every batch"
        if batch is not None:
            of += f"  {batch.scenes:,} scenes, {batch.live:,} live"
        return f"{of}{'  live only' if self.live_only else ''}"

    def _has_one(self) -> bool:
        return bool(self.shown_batch and self.state.scenes.items)

    def empty(self) -> Sequence[Line]:
        if self.live_only:
            return ((("  None of them is live.", ""),), (("  L shows all again.", "dim"),))
        what = "This batch has no scenes." if self.shown_batch else "There are no scenes yet."
        return (((f"  {what}", ""),), (("  esc goes back to the batches.", "dim"),))

    def render_body(self, dirty: frozenset[Part]) -> None:
        if dirty & (self.PARTS | {"link"}):
            self.query_one("#stages", Stages).pictures.doubt()
        super().render_body(dirty)
        if self.table.is_sent_last and not self.state.scenes.more and self.table.rows:
            # `G` went to the last row that was at hand then; now the very last one is.
            self.table.action_last()
            self.table.is_sent_last = False

    def paint_pane(self) -> None:
        row, stages = self.selected, self.query_one("#stages", Stages)
        versions = stages_of(row.value if row is not None else None)
        if row is not None and row.key != self._for:
            self._for = row.key
            shown = [number for number, version in enumerate(versions) if version.is_current]
            self.stage = shown[0] if shown else 0
        self.stage = min(self.stage, max(0, len(versions) - 1))
        stages.border_title = Content(row.value.scene_id if row is not None else "Stages")
        stages.show(versions, self.stage)
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._ask_pictures)

    def _ask_pictures(self) -> None:
        if self.ready and self.state.live and self.query_one("#stages", Stages).wants():
            self.run_worker(self._load(), group="pictures", exclusive=True)

    async def _load(self) -> None:
        stages = self.query_one("#stages", Stages)
        for want in stages.wants():
            stages.pictures.put(want, await self.dashboard.picture(want))
            stages.refresh()

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        super().on_virtual_table_moved(message)
        place = self.table.position // STEP
        to_the_end = self.state.scenes.more and self.table.position >= len(self.table.rows) - 1
        if place != self._place or to_the_end > self._to_the_end:
            self._place, self._to_the_end = place, self._to_the_end or to_the_end
            self.look_again()

    # --- keys -------------------------------------------------------------------------------------

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        versions = self.query_one("#stages", Stages).versions
        if action.startswith("stage_") and len(versions) < 2:
            return "this scene has one stage"
        if action == "open" and not self.dashboard.pictures:
            return "pictures are off (--pictures blocks shows them)"
        return None

    def _step(self, by: int) -> None:
        self.stage = (self.stage + by) % len(self.query_one("#stages", Stages).versions)
        self.paint_pane()

    def do_stage_next(self) -> None:
        self._step(1)

    def do_stage_previous(self) -> None:
        self._step(-1)

    def on_stages_chosen(self, message: Stages.Chosen) -> None:
        self.stage = message.number
        self.paint_pane()

    def do_live_only(self) -> None:
        self.live_only = not self.live_only
        self.look_again()

    def _version(self) -> schema.Version | None:
        versions = self.query_one("#stages", Stages).versions
        return versions[self.stage] if versions else None

    def do_copy(self) -> None:
        if (version := self._version()) is not None:
            self.dashboard.copy(version.url or version.local_path)

    def do_open(self) -> None:
        from tui.screens.picture import VersionPicture

        if (version := self._version()) is not None:
            self.app.push_screen(VersionPicture(version))

    def leave(self) -> None:
        self.dashboard.go("batches")
