"""The service `site`: takes hints, lets them gather, and syncs the batches that they name."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields

import aiosqlite
import anyio

from syncd.catalogue import log
from syncd.errors import AuthRejected, SyncdError
from syncd.flows.jobs import JobRunner
from syncd.flows.report import SyncOptions, SyncRun
from syncd.flows.site import RootBlocked, Site
from syncd.supervisor import ServiceHandle

_CATALOGUE_LOOK_S = 1.0
"""How often somebody else's edits of the catalogue are looked for."""
_ROOT_LOOK_S = 5.0
_STORAGE_LOOK_S = 1.0
_LONGEST_BACK_OFF_S = 30.0
_RUNS_AT_ONCE = 4
_REST_SHARE = 4.0
"""A batch rests this many times as long as it took to look at it."""
_LONGEST_REST_S = 10.0
_PATIENCE_S = 60.0
"""How long a sync that somebody waits for waits for files that are still being written."""


class Inbox:
    """Which batches are to be looked at, and when. None stands for all of them."""

    def __init__(self, clock: Callable[[], float] = anyio.current_time) -> None:
        self._due: dict[str | None, float] = {}
        self._clock = clock
        self._wake = anyio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def put(self, batch_name: str | None, wait_s: float = 0.0) -> None:
        """Asks for a look in `wait_s` seconds; an earlier request for the same stands."""
        due = self._clock() + wait_s
        self._due[batch_name] = min(due, self._due.get(batch_name, due))
        self._wake.set()

    def take(self) -> frozenset[str] | bool | None:
        """The batches that are due, None for all of them, False for none."""
        now = self._clock()
        due = [name for name, at in self._due.items() if at <= now]
        if not due:
            return False
        if None in due:
            self._due = {name: at for name, at in self._due.items() if at > now}
            return None
        for name in due:
            del self._due[name]
        return frozenset(name for name in due if name is not None)

    async def wait(self) -> None:
        """Returns when something is due, or may be."""
        self._wake = anyio.Event()
        wait_s = min(self._due.values(), default=float("inf")) - self._clock()
        if wait_s > 0:
            with anyio.move_on_after(wait_s):
                await self._wake.wait()


class SiteService:
    """Runs syncs, several at once as long as they are about different batches."""

    name = "site"

    def __init__(self, site: Site) -> None:
        self.site = site
        self.running: list[SyncRun] = []
        self.last: SyncRun | None = None
        self.totals = {"uploaded": 0, "uploaded_bytes": 0}
        self._inbox = Inbox()
        self._limiter = anyio.Semaphore(_RUNS_AT_ONCE)
        self._failures = 0
        self._handle: ServiceHandle | None = None
        self._again: set[str] = set()
        self.on_blocked: Callable[[str], None] = lambda reason: None
        """Told why the images folder could not be believed."""
        self._rested_at: dict[str | None, float] = {}
        """Until when file events of a batch wait: while a large one is being filled, looking at it each time
        would be all that is done."""
        self.jobs: JobRunner | None = None
        """Runs while the service does: a paused site does no jobs."""

    @property
    def newest(self) -> SyncRun | None:
        """The sync that runs, the largest where there are several; else the last one."""
        return max(self.running, key=lambda run: (run.job_id is not None, run.total), default=self.last)

    def look_again(self, relative_path: str) -> None:
        """Read this file anew though nothing about it changed."""
        self._again.add(relative_path)
        self.hint(relative_path.partition("/")[0])

    def hint(self, batch_name: str | None, wait_s: float = 0.0) -> None:
        """Look at this batch (None: at all of them), in `wait_s` seconds or sooner."""
        self._inbox.put(batch_name, wait_s)

    def nudge(self, batch_name: str | None) -> None:
        """A file event: look at this batch (None: at all of them), but not all the time."""
        self.hint(batch_name, max(0.0, self._rested_at.get(batch_name, 0.0) - anyio.current_time()))

    @property
    def is_idle(self) -> bool:
        return not self.running and not self._inbox

    @property
    def waiting(self) -> int:
        """Steps foreseen and not done, and batches that were not looked at yet."""
        return len(self._inbox) + sum(max(0, run.total - run.done_steps) for run in self.running)

    async def run(self, handle: ServiceHandle) -> None:
        self._handle = handle
        self.hint(None)
        handle.ready()
        # A task that was cancelled before its first step could not give back what was taken for it.
        self._limiter = anyio.Semaphore(_RUNS_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_catalogue)
            tasks.start_soon(self._watch_storage)
            tasks.start_soon(self._open_storage)
            if self.jobs is not None:
                tasks.start_soon(self.jobs.run)
            while True:
                await self._inbox.wait()
                due = self._inbox.take()
                if not isinstance(due, bool):
                    await self._limiter.acquire()
                    tasks.start_soon(self._one, due)

    async def _watch_catalogue(self) -> None:
        """A person's edit with sqlite3 takes effect like one through the API."""
        seen = await self.site.catalogue.external_changes()
        while True:
            await anyio.sleep(_CATALOGUE_LOOK_S)
            now = await self.site.catalogue.external_changes()
            if now != seen:
                seen = now
                self.site.forget()
                self.hint(None)

    async def _watch_storage(self) -> None:
        """A run that keeps asking storage which does not answer says so before it gives up."""
        told = False
        while True:
            await anyio.sleep(_STORAGE_LOOK_S)
            trouble = self.site.storage_trouble if self.running else None
            if trouble is not None:
                self._say("backing_off", trouble)
            elif told and self.running and not self._failures:
                self._say("running")
            told = trouble is not None

    async def _open_storage(self) -> None:
        """So that the first photo does not wait for what storage needs; a moment after the start, which has
        enough to load. What is wrong with storage, the run says that needs it."""
        await anyio.sleep(_STORAGE_LOOK_S)
        with suppress(SyncdError):
            await self.site.sink()

    async def _one(self, batches: frozenset[str] | None) -> None:
        again = {path for path in self._again if batches is None or path.partition("/")[0] in batches}
        self._again -= again
        try:
            await self.sync(SyncRun(SyncOptions(batches=batches, look_again=frozenset(again))))
        finally:
            self._limiter.release()

    async def sync(self, run: SyncRun, *, whole: bool = False) -> SyncRun:
        """One sync, whoever asked for it: logged, counted, and looked after where something is left. A
        `whole` one waits for files that are being written, and is logged though nothing was done."""
        self.running.append(run)
        row = None
        try:
            if whole and not run.options.dry_run:
                row = await self.site.catalogue.write(lambda db: log.start(db, job_id=run.job_id))
            await (sync_until_settled(self.site, run) if whole else self.site.sync(run))
        except BaseException as error:
            run.break_off(error)
            if row is not None:
                with anyio.CancelScope(shield=True):
                    await log_run(self.site, run, row)
            raise
        finally:
            self.running.remove(run)
            if not run.options.dry_run and (whole or run.did_something or self.last is None):
                self.last = run
        if not run.options.dry_run:
            if row is not None or run.did_something:
                await log_run(self.site, run, row)
            self._look_after(run)
        return run

    def _look_after(self, run: SyncRun) -> None:
        self.totals["uploaded"] += run.uploaded
        self.totals["uploaded_bytes"] += run.bytes
        rested_at = anyio.current_time() + min(_LONGEST_REST_S, run.look_s * _REST_SHARE)
        self._rested_at = {
            name: at for name, at in self._rested_at.items() if at > rested_at - _LONGEST_REST_S
        }
        self._rested_at.update(dict.fromkeys(run.options.batches or {None}, rested_at))
        for name, wait_s in run.again_s.items():
            self.hint(name, wait_s)
        if run.error is None:
            self._failures = 0
            self._say("running")
            return
        if isinstance(run.error, RootBlocked):
            self._retry(run, _ROOT_LOOK_S)
            self._say("blocked", run.error)
            self.on_blocked(str(run.error))
            return
        self._failures += 1
        wait_s = min(_LONGEST_BACK_OFF_S, 2.0 ** (self._failures - 1)) * random.uniform(0.75, 1.25)
        self._retry(run, max(wait_s, getattr(run.error, "retry_after_s", None) or 0.0))
        self._say("needs_auth" if isinstance(run.error, AuthRejected) else "backing_off", run.error)

    def _retry(self, run: SyncRun, wait_s: float) -> None:
        if run.options.batches is None:
            self.hint(None, wait_s)
        for name in run.options.batches or ():
            self.hint(name, wait_s)

    def _say(self, state: str, error: SyncdError | None = None) -> None:
        if self._handle is not None:
            self._handle.set_state(state, str(error) if error else None)  # type: ignore[arg-type]


async def sync_until_settled(site: Site, run: SyncRun) -> SyncRun:
    """One sync, with further passes over batches in which files were still being written, for a minute at
    the most; `run.again_s` says where some still are."""
    deadline = anyio.current_time() + _PATIENCE_S
    await site.sync(run)
    while run.again_s and run.error is None and anyio.current_time() < deadline:
        again, run.again_s = run.again_s, {}
        run.state = "running"  # each pass ends as if it were the last
        await anyio.sleep(min(again.values()))
        await site.sync(run, frozenset(again))
    return run


async def log_run(site: Site, run: SyncRun, row: int | None = None) -> None:
    """Writes the run into sync_log, into the row begun for it or a new one."""
    shape = run.as_dict(with_actions=False)
    lists = {"skipped", "failed"}
    counts = log.SyncCounts(
        **{f.name: len(shape[f.name]) if f.name in lists else shape[f.name] for f in fields(log.SyncCounts)}
    )
    error = str(run.error) if run.error else None

    async def write(db: aiosqlite.Connection) -> None:
        number = row if row is not None else await log.start(db, run.job_id, run.started_at)
        await log.finish(db, number, run.state, counts, error)

    await site.catalogue.write(write)
