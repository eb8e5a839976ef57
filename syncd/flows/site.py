"""The site: local batches become objects in public storage. Read from top to bottom: look, plan, do.

Everything is level-triggered: `Site.sync` compares what is there with what the catalogue knows and makes
up the difference, so it may be called at any time, for any batches, and twice does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import aiosqlite
import anyio
import anyio.to_thread

from syncd.catalogue import guards, jobs
from syncd.catalogue import site as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.uploads import CatalogueUploads
from syncd.config import Config, StorageConfig
from syncd.errors import AuthRejected, Refused, Transient
from syncd.flows import loose_objects
from syncd.flows.batching import Coalescer, Turns
from syncd.flows.removal_guard import RemovalGuard, Verdict, removal_limit, removal_reason
from syncd.flows.report import SyncOptions, SyncRun
from syncd.flows.scene_work import SceneWork
from syncd.flows.site_look import Look, Looker
from syncd.flows.site_plan import BatchPlan, SiteRules, actions_of
from syncd.imaging.pool import ImagingPool
from syncd.model import Action
from syncd.sinks import open_sink, storage_id_of
from syncd.sinks.sink import Sink
from syncd.watchers.listing import list_batches
from syncd.watchers.roots import check_root

if TYPE_CHECKING:
    from syncd.sinks.guarded import GuardedSink

Emit = Callable[[str, str, str], None]
T = TypeVar("T")

# So few scenes at work are the last ones: there is nobody to gather with.
_LAST_SCENES = 8

REMOVALS = "removals"
"""The kind of guard that holds back removals which nobody asked for."""


class RootBlocked(Transient):
    """The images folder is not as it should be; nothing may be concluded from what is not there."""


@dataclass(slots=True)
class _Writer:
    """One coalescing queue for each kind of record that scene work makes."""

    scenes: Coalescer[queries.SceneRecord, dict[str, int]]
    uploads: Coalescer[queries.ConfirmedUpload, None]
    removals: Coalescer[queries.RemovedObject, None]
    loose: Coalescer[tuple[str, str], None]

    @classmethod
    def on(cls, catalogue: Catalogue, more: Callable[[], bool]) -> Self:
        async def scenes(items: list[queries.SceneRecord]) -> list[dict[str, int]]:
            async def write(db: aiosqlite.Connection) -> dict[str, int]:
                return await queries.record_scenes(db, items)

            ids = await catalogue.write(write)
            return [ids] * len(items)

        def quiet(query: Callable[[aiosqlite.Connection, list[T]], object]) -> Coalescer[T, None]:
            async def apply(items: list[T]) -> list[None]:
                async def write(db: aiosqlite.Connection) -> None:
                    await query(db, items)  # type: ignore[misc]

                await catalogue.write(write)
                return [None] * len(items)

            return Coalescer(apply, more=more)

        return cls(
            Coalescer(scenes, more=more),
            quiet(queries.confirm_uploads),
            quiet(queries.confirm_removals),
            quiet(queries.note_loose),
        )


class Site:
    """Everything a sync needs, opened once: `async with Site(config, catalogue, pool) as site`.

    Storage is opened when it is first needed, so that a run with nothing to do stays cheap.
    """

    def __init__(
        self, config: Config, catalogue: Catalogue, pool: ImagingPool, emit: Emit | None = None
    ) -> None:
        self.config = config
        self.catalogue = catalogue
        self.pool = pool
        self.guard = RemovalGuard()
        self.turns = Turns()
        self.in_flight: set[str] = set()
        self.listing_took: Callable[[float], None] = lambda duration_s: None
        """Told how long listing everything took, in seconds: who polls leaves room for it."""
        self._emit: Emit = emit or (lambda kind, subject, message: None)
        self._at_work = 0
        self._writer = _Writer.on(catalogue, more=lambda: self._at_work > _LAST_SCENES)
        self._looker = Looker(catalogue)
        self._stack = AsyncExitStack()
        self._sinks: dict[StorageConfig, GuardedSink] = {}
        self._swept: set[str] = set()
        self._opening = anyio.Lock()
        self._has_seen_all = False

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.__aexit__(None, None, None)

    @property
    def staging_dir(self) -> Path:
        return self.config.daemon.state_dir / "staging"

    @property
    def storage_id(self) -> str:
        return storage_id_of(self.config.storage)

    async def sink(self, storage_id: str | None = None) -> Sink:
        """The storage of the present configuration, opened once and kept. Work that began on the storage
        `storage_id` is given that one as long as it is open, whatever the settings say by now; raises
        Transient where it is not."""
        async with self._opening:
            settings = self.config.storage  # new credentials open the same storage anew
            if storage_id not in (None, storage_id_of(settings)):
                return self._former_sink(storage_id)
            if settings not in self._sinks:
                sink = open_sink(settings, CatalogueUploads(self.catalogue))
                self._sinks[settings] = await self._stack.enter_async_context(sink)
            opened = self._sinks[settings]
            if opened.storage_id not in self._swept:
                await opened.abort_unfinished()
                self._swept.add(opened.storage_id)
            return opened

    def _former_sink(self, storage_id: str | None) -> Sink:
        for sink in reversed(self._sinks.values()):
            if sink.storage_id == storage_id:
                return sink
        raise Transient("[storage] was changed meanwhile", hint="what is left is done with the new settings")

    @property
    def storage_trouble(self) -> Transient | None:
        """Why storage is asked again and again at this moment, None while it answers."""
        sink = self._sinks.get(self.config.storage)
        return sink.trouble if sink else None

    # --- one sync -----------------------------------------------------------------------------------

    async def sync(self, run: SyncRun, only: frozenset[str] | None = None) -> SyncRun:
        """Looks at the batches of `run.options`, plans, and does it (or, in a dry run, only says it).

        With `only`, a further pass of the same run over those of its batches. Failures of single photos
        are in `run.failed`; what stops the whole run is in `run.error`. Only Fatal is raised. The run's
        state is final afterwards.
        """
        try:
            names = await self._names(run.options) if only is None else only
            async with self.turns.hold(names) as release:
                await self._sync(run, names, release, is_full=only is None and run.options.batches is None)
        except (Transient, AuthRejected, Refused) as error:
            run.error = error
        run.finish()
        return run

    async def _names(self, options: SyncOptions) -> frozenset[str]:
        """The batches to look at: those on disk and those known, or those asked for."""
        root = self.config.batches.images_dir
        every = await self.batch_names()
        async with self.catalogue.reader() as db:
            with_files = await queries.load_batch_names(db, with_files=True)
        reason = await anyio.to_thread.run_sync(check_root, root, with_files)
        if reason is not None:
            raise RootBlocked(reason, hint="nothing was changed; the sync goes on when the folder is back")
        if options.batches is None:
            return every
        unknown = sorted(options.batches - every)
        if unknown:
            raise Refused(f"there is no batch {unknown[0]!r} in {root}", hint=_nearest(unknown[0], every))
        return options.batches

    async def batch_names(self) -> frozenset[str]:
        """Batches that are on disk or known."""
        root = self.config.batches.images_dir
        try:
            on_disk = await anyio.to_thread.run_sync(list_batches, root)
        except Transient:
            on_disk = []
        async with self.catalogue.reader() as db:
            return frozenset(on_disk) | await queries.load_batch_names(db)

    async def conflicts(self) -> list[str]:
        """Scenes whose plain id another batch's scene held first, for people."""
        return await self._looker.conflicts()

    def forget(self) -> None:
        """Somebody else changed the catalogue."""
        self._looker.forget()

    async def _sync(
        self, run: SyncRun, names: frozenset[str], release: Callable[[str], None], *, is_full: bool
    ) -> None:
        if not (run.options.dry_run or run.options.db_only):
            await loose_objects.doubt(self, names)
        rules = self.rules(run.options)  # once: the settings may change while this runs
        look = await self._look(run, names, rules)
        plans = look.plans
        verdict = await self._guarded(run, plans, is_full=is_full)
        held = frozenset(action.key for action in verdict.held if action.key is not None)
        actions = [a for plan in plans for a in actions_of(plan) if a.action != "remove" or a.key not in held]
        if run.options.dry_run:
            folders = tuple(f"{self.config.batches.images_dir}/{name}/" for name in names)
            run.actions = [a for a in run.actions if not a.local_path.startswith(folders)] + actions
            run.recorded = {action.local_path for action in run.actions if action.action == "record"}
            return
        run.total = run.done_steps + len(actions)
        if is_full and not run.options.db_only:
            await loose_objects.settle(self, run, plans)
        for plan in plans:
            if plan.is_empty:
                release(plan.batch_name)
        await self._do(
            run, rules, plans, held, release, needs_storage=any(a.action != "record" for a in actions)
        )
        self.guard.removed(len(verdict.unasked.intersection(run.actions)))
        await self._close_run(run, look, is_full=is_full)

    # --- look and plan ------------------------------------------------------------------------------

    def rules(self, options: SyncOptions) -> SiteRules:
        batches = self.config.batches
        return SiteRules(
            stages=batches.stages,
            suffixes=batches.suffixes,
            prefix=self.config.storage.prefix,
            storage_id=self.storage_id,
            withdraw_missing=batches.on_missing == "withdraw",
            db_only=options.db_only,
            images_only=options.images_only,
        )

    async def _look(self, run: SyncRun, names: frozenset[str], rules: SiteRules) -> Look:
        began_s = time.monotonic()
        look = await self._looker.look(self.config.batches, rules, run.options, names)
        run.look_s = time.monotonic() - began_s
        if run.options.batches is None:
            self.listing_took(run.look_s)
        for name, wait_s in look.unsettled_s.items():
            run.look_again_in(name, wait_s)
        for plan in look.plans:
            run.look_at(plan, str(self.config.batches.images_dir))
        return look

    async def _guarded(self, run: SyncRun, plans: Sequence[BatchPlan], *, is_full: bool) -> Verdict:
        """Lets unasked removals through or holds them back, and keeps the guard's row as it should be."""
        called_for = {plan.batch_name: _unasked(plan) for plan in plans if plan.error is None}
        async with self.catalogue.reader() as db:
            live = await queries.count_live(db)
            approved = await guards.approved_actions(db, REMOVALS)
            is_open = any(guard.kind == REMOVALS for guard in await guards.listed(db))
        limit = removal_limit(self.config.guard.max_delete, self.config.guard.max_delete_percent, live)
        guard = RemovalGuard() if run.options.dry_run else self.guard
        verdict = guard.check(called_for, limit=limit, approved=approved)
        if run.options.dry_run:
            if verdict.held:
                run.guard_id = ""  # the run itself would raise one
            return verdict
        waiting = guard.held
        if waiting:
            reason = removal_reason(len(waiting), limit)
            row = await self.catalogue.write(
                lambda db: guards.raise_guard(db, REMOVALS, reason, waiting, live)
            )
            if verdict.held:
                run.guard_id = row.id
                self._emit("guard", row.id, reason)
        elif is_open and (is_full or self._has_seen_all):
            await self.catalogue.write(lambda db: guards.gone(db, kind=REMOVALS, state="open"))
        self._has_seen_all = self._has_seen_all or is_full
        return verdict

    # --- do -----------------------------------------------------------------------------------------

    async def _do(
        self,
        run: SyncRun,
        rules: SiteRules,
        plans: Sequence[BatchPlan],
        held: frozenset[str],
        release: Callable[[str], None],
        *,
        needs_storage: bool,
    ) -> None:
        new = [plan.batch_name for plan in plans if plan.is_new]
        if new:
            is_public = self.config.batches.default_public
            await self.catalogue.write(lambda db: queries.add_batches(db, new, is_public))
        work = [plan for plan in plans if plan.scenes]
        if not work:
            return
        async with anyio.create_task_group() as tasks:
            if any(scene.records for plan in work for scene in plan.scenes):
                self.pool.start()
            if needs_storage:
                # Opening takes a while, in which photos can be read already.
                tasks.start_soon(self._open_early, run, rules.storage_id)
            scene_work = SceneWork(
                run,
                rules,
                root=str(self.config.batches.images_dir),
                pool=self.pool,
                sink=partial(self._usable_sink, rules.storage_id),
                writer=self._writer,
                staging_dir=self.staging_dir,
                emit=self._emit,
            )
            await self._work_through(scene_work, work, held, release)

    async def _usable_sink(self, storage_id: str) -> Sink:
        """The storage; that it cannot be opened is no single photo's fault."""
        try:
            return await self.sink(storage_id)
        except Refused as error:
            raise Transient(error.message, hint=error.hint) from error

    async def _open_early(self, run: SyncRun, storage_id: str) -> None:
        try:
            await self._usable_sink(storage_id)
        except (Transient, AuthRejected) as error:
            run.error = run.error or error

    async def _work_through(
        self,
        scene_work: SceneWork,
        plans: Sequence[BatchPlan],
        held: frozenset[str],
        release: Callable[[str], None],
    ) -> None:
        """So many scenes at once that neither workers nor storage wait for the other where one of them stops
        for a moment; batch after batch, and a batch is given back with its last scene."""
        left = {plan.batch_name: len(plan.scenes) for plan in plans}
        queue = iter([(plan, scene) for plan in plans for scene in plan.scenes])

        async def worker() -> None:
            for plan, scene in queue:
                keys = {removal.key for removal in scene.removals}
                if scene.upload_key:
                    keys.add(scene.upload_key)
                self.in_flight |= keys
                self._at_work += 1
                try:
                    await scene_work.do(plan, scene, held)
                finally:
                    self._at_work -= 1
                    self.in_flight -= keys
                left[plan.batch_name] -= 1
                if not left[plan.batch_name] and not plan.gone and not plan.back:
                    release(plan.batch_name)

        async with anyio.create_task_group() as tasks:
            for _ in range(min(sum(left.values()), self.config.storage.concurrency * 12 + 8)):
                tasks.start_soon(worker)

    async def _close_run(self, run: SyncRun, look: Look, *, is_full: bool) -> None:
        """Records what is gone, which photos fail, and that the batches were looked at."""
        run.done_steps = run.total
        looked_at = [plan for plan in look.plans if plan.error is None]
        gone = [version_id for plan in looked_at for version_id in plan.gone]
        back = [version_id for plan in looked_at for version_id in plan.back]
        settled = [plan.batch_name for plan in looked_at if is_full or not plan.is_empty]
        folders = tuple(f"{plan.batch_name}/" for plan in looked_at)
        memos = {} if run.options.db_only or run.options.images_only else look.memos
        root = f"{self.config.batches.images_dir}/"
        failed = {path.removeprefix(root): reason for path, reason in run.failed.items()}

        async def write(db: aiosqlite.Connection) -> None:
            if gone or back:
                await queries.mark_gone(db, gone, back)
            earlier = {job.subject: job.error for job in await jobs.photo_failures(db)}
            cured = [path for path in earlier if f"{path}/".startswith(folders) and path not in failed]
            if cured:
                await jobs.clear_photo_failures(db, cured)
            for path, reason in failed.items():
                if earlier.get(path) != reason or path in run.options.look_again:
                    await jobs.note_photo_failure(db, path, reason)
            if run.error is None:
                await queries.note_synced(db, settled)
                await queries.note_memos(db, memos)
                if is_full:
                    # What a person approved is done now; the same things vanishing again are a new case.
                    await guards.gone(db, kind=REMOVALS, state="approved")

        await self.catalogue.write(write)


def _unasked(plan: BatchPlan) -> list[Action]:
    return [
        Action("remove", scene.scene_id, removal.version.stage, removal.version.local_path, removal.key)
        for scene in plan.scenes
        for removal in scene.removals
        if not removal.asked
    ]


def _nearest(name: str, names: Collection[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=1, cutoff=0)
    return f"did you mean {close[0]!r}?" if close else "there are no batches yet"
