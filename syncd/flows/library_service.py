"""The service `smugmug`: keeps the catalogue's copy of the library current, at an interval and when asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import anyio

from syncd.catalogue import jobs as job_queries
from syncd.catalogue import library, library_browse
from syncd.catalogue.database import Catalogue
from syncd.catalogue.jobs import JobRow
from syncd.config import Config
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.flows.library import Cancelled, LibrarySync, SmugMugClient, Wanted
from syncd.flows.library_hashes import PictureSource, Pool, ThumbnailHashes
from syncd.pollers.poller import Health, Poller
from syncd.supervisor import ServiceHandle
from syncd.text import rfc3339

SMUGMUG = "smugmug"
"""The service, its jobs and its queue."""
_LOOK_S = 2.0

Emit = Callable[[str, str, str, str, dict[str, Any] | None], object]
"""activity.emit: kind, service, subject, message, data."""


class LibraryClient(SmugMugClient, PictureSource, Protocol):
    """All that the service asks SmugMug for."""


class Access(Protocol):
    """The SmugMug account that somebody signed in to; api_accounts.py has it."""

    async def account(self) -> str | None: ...
    async def client(self) -> LibraryClient: ...


class LibraryService:
    """One sync at a time: what people asked for is done together, and whatever is due with it."""

    name = SMUGMUG

    def __init__(
        self,
        *,
        access: Access,
        catalogue: Catalogue,
        pool: Pool,
        config: Callable[[], Config],
        emit: Emit,
    ) -> None:
        self._access = access
        self._catalogue = catalogue
        self._config = config
        self._emit = emit
        self.is_running = False
        self.current: LibrarySync | None = None
        """The sync that runs."""
        self.on_photos: Callable[[], None] = lambda: None
        """Called when photos may have come, or changed."""
        self.hashes = ThumbnailHashes(
            access.client, catalogue, pool, is_busy=lambda: self.current is not None
        )
        self._last_whole_s: float | None = None
        self._look = anyio.Event()
        self._poller = self._new_poller()

    # --- what others ask ----------------------------------------------------------------------------

    @property
    def is_set_up(self) -> bool:
        """Whether the settings name an application of SmugMug."""
        return bool(self._config().smugmug.api_key)

    @property
    def health(self) -> Health:
        """How SmugMug was when it was last asked; a sync that comes on says that it is well."""
        return Health() if self.current is not None and self.current.pages else self._poller.health

    @property
    def next_sync_at(self) -> str | None:
        """When the library is looked at next, RFC 3339; None while it is not."""
        wait_s = self._poller.next_in_s if self.is_running and self.current is None else None
        return None if wait_s is None else rfc3339(datetime.now(UTC) + timedelta(seconds=wait_s))

    @property
    def is_due(self) -> bool:
        """Whether something is to be done this moment."""
        wait_s = self._poller.next_in_s
        return wait_s is not None and wait_s < _LOOK_S

    async def submit(self, subject: str, payload: dict[str, Any]) -> JobRow:
        """A job, on disk when this returns. One that asks for the same and has not begun is that job. What a
        sync that is under way has read needs no second reading."""
        since = self.current.began_at if self.current is not None and self.current.wanted.whole else None

        async def write(db: Any) -> JobRow:
            for job in await job_queries.open_of(db, SMUGMUG):
                if job.state != "running" and payload.items() <= job.payload.items():
                    return job
            return await job_queries.create(db, SMUGMUG, subject, {**payload, "since": since})

        job = await self._catalogue.write(write)
        self._poller.refresh()
        return job

    def wake(self) -> None:
        """Jobs may have been queued again, or settings changed."""
        self._poller.look()
        if self.is_running:
            self._poller.refresh()

    def signed_in(self, account: str) -> None:
        """Somebody signed in: what waited for that goes on at once. Who is to leave SmugMug alone for a while
        still does."""
        self._last_whole_s = None
        self.try_again()
        self.hashes.wake()

    def try_again(self) -> None:
        """Somebody may have put right what SmugMug turned down."""
        self._poller.refresh(at_once=self._poller.health.state == "needs_auth")

    # --- running ------------------------------------------------------------------------------------

    async def run(self, handle: ServiceHandle) -> None:
        async with self._catalogue.reader() as db:
            known = await library.account(db)
        await self._catalogue.write(lambda db: job_queries.requeue_interrupted(db, (SMUGMUG,)))
        self._resume(known)
        self.current = None
        self.is_running = True
        self.try_again()  # a sync that was held in its midst is not to wait for the interval
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._poller.run)
                tasks.start_soon(self.hashes.run)
                handle.ready()
                while True:
                    self._look = anyio.Event()
                    self._say(handle)
                    with anyio.move_on_after(_LOOK_S):
                        await self._look.wait()
        finally:
            self.is_running = False
            self.current = None
            with anyio.CancelScope(shield=True):
                await self._catalogue.write(lambda db: job_queries.requeue_interrupted(db, (SMUGMUG,)))

    def _new_poller(self) -> Poller:
        def interval_s() -> float | None:
            return self._config().smugmug.interval_minutes * 60 if self.is_set_up else None

        return Poller(SMUGMUG, self._poll, interval_s, on_change=self._changed)

    def _resume(self, known: library.AccountRow) -> None:
        """A wait that SmugMug asked for holds over a restart."""
        kept = Health.kept("backing_off", known.reason, known.resume_at, at_most_s=86_400)
        if known.state == "backing_off" and kept is not None:
            self._poller.resume_later(kept)

    def _say(self, handle: ServiceHandle) -> None:
        health = self.health
        if health.state == "running" or not self.is_set_up:
            handle.set_state("running")
            return
        words = f"{health.reason}" + (f" ({health.hint})" if health.hint else "")
        handle.set_state("needs_auth" if health.state == "needs_auth" else "backing_off", words)

    async def _changed(self, health: Health, is_news: bool) -> None:
        await self._catalogue.write(
            lambda db: library.set_health(db, health.state, health.reason, health.resume_at)
        )
        if not is_news:
            return
        words = health.reason or "SmugMug answers again"
        if health.hint:
            words += f" ({health.hint})"
        data = {"state": health.state, "resume_at": health.resume_at}
        self._emit("account", SMUGMUG, SMUGMUG, words, data)
        self._look.set()

    # --- one sync -----------------------------------------------------------------------------------

    async def _poll(self) -> None:
        """Does what is asked for and what is due. Raises what keeps SmugMug from answering."""
        if not self.is_set_up:
            async with self._catalogue.reader() as db:
                if not await job_queries.open_of(db, SMUGMUG):
                    return  # nobody wants anything of SmugMug
        client = await self._access_client()
        jobs = await self._start_jobs()
        wanted = self._wanted(jobs)
        if not wanted.whole and not wanted.album_keys:
            return

        def emit(kind: str, subject: str, message: str, data: dict[str, Any]) -> None:
            self._emit(kind, SMUGMUG, subject, message, data)

        self.current = sync = LibrarySync(client, self._catalogue, self._config(), wanted, emit)
        try:
            await sync.run()
            if wanted.whole:
                self._last_whole_s = anyio.current_time()
            await self._finish(jobs, sync)
        except Cancelled:
            pass
        except Transient as error:
            await self._wait(jobs, error)
            raise
        except (AuthRejected, Refused) as error:
            await self._fail(jobs, error)
            raise
        finally:
            self.current = None
            self.on_photos()
            self.hashes.wake()

    async def _access_client(self) -> LibraryClient:
        try:
            return await self._access.client()
        except (AuthRejected, Refused) as error:
            await self._fail(await self._start_jobs(), error)
            raise

    def _wanted(self, jobs: list[JobRow]) -> Wanted:
        last_s, interval_s = self._last_whole_s, self._config().smugmug.interval_minutes * 60
        # A poll comes a little sooner than the interval; only those after it are for the jobs alone.
        is_due = last_s is None or anyio.current_time() - last_s >= interval_s * 0.85
        keys = [str(job.payload["album_key"]) for job in jobs if job.payload.get("album_key")]
        full = [str(job.payload.get("since") or job.created_at) for job in jobs if job.payload.get("full")]
        asked = [job.created_at for job in jobs if job.payload.get("album_key")]
        return Wanted(
            whole=is_due or len(keys) < len(jobs),
            full_since=max(full, default=None),
            sweep=is_due,
            album_keys=tuple(dict.fromkeys(keys)),
            asked_at=max([*full, *asked], default=None),
            job_ids=tuple(job.id for job in jobs),
            due=is_due,
        )

    async def _start_jobs(self) -> list[JobRow]:
        async def write(db: Any) -> list[JobRow]:
            jobs = await job_queries.open_of(db, SMUGMUG)
            for job in jobs:
                await job_queries.start(db, job.id)
            if any(job.payload.get("full") for job in jobs):
                await library_browse.forget_hash_errors(db)
            return jobs

        return await self._catalogue.write(write)

    async def _finish(self, jobs: list[JobRow], sync: LibrarySync) -> None:
        async def write(db: Any) -> None:
            present = await library.known_albums(db)
            for job in await _running(db, jobs):
                key = job.payload.get("album_key")
                failed = {key: sync.failed[key]} if key in sync.failed else {} if key else sync.failed
                error = next(iter(failed.values()), None)
                state = "partial" if failed else "done"
                if key and key in failed:
                    state = "failed"
                if key and key not in present:
                    state, error = "failed", f"there is no album {key!r} any more"
                elif sync.held and not key:
                    state, error = "refused", sync.held
                result = {"photos": sync.photos, "pages": sync.pages, "failed": failed}
                await job_queries.report(db, [job.id], sync.photos, max(sync.photos, sync.to_read))
                await job_queries.finish(db, job.id, state, result=result, error=error)

        await self._catalogue.write(write)

    async def _wait(self, jobs: list[JobRow], error: Transient) -> None:
        """The jobs go on by themselves when SmugMug may be asked again."""
        at = rfc3339(datetime.now(UTC) + timedelta(seconds=error.retry_after_s or 1.0))

        async def write(db: Any) -> None:
            for job in await _running(db, jobs):
                await job_queries.fail(db, job.id, str(error), next_attempt_at=at)

        await self._catalogue.write(write)

    async def _fail(self, jobs: list[JobRow], error: SyncdError) -> None:
        async def write(db: Any) -> None:
            for job in await _running(db, jobs):
                await job_queries.finish(db, job.id, "failed", error=str(error))

        await self._catalogue.write(write)


async def _running(db: Any, jobs: list[JobRow]) -> list[JobRow]:
    """Without those that a person has cancelled meanwhile."""
    now = [await job_queries.get(db, job.id) for job in jobs]
    return [job for job in now if job is not None and job.state == "running"]
