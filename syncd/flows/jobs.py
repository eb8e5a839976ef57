"""Durable jobs: work that a person asked for, kept in the catalogue until it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from syncd.catalogue import jobs as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.jobs import JobRow
from syncd.errors import Refused, SyncdError

Progress = Callable[[int, int], None]

_AT_ONCE = 4
_SAVE_PROGRESS_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: a final state of the contract, its reply, and what to say where it failed."""

    state: str
    result: dict[str, Any] | None = None
    error: str | None = None


Handler = Callable[[JobRow, Progress], Awaitable[Outcome]]


class JobRunner:
    """Runs jobs of the kinds that have a handler. A job that a killed daemon left running starts again,
    so handlers do no harm when done twice."""

    def __init__(self, catalogue: Catalogue, handlers: Mapping[str, Handler]) -> None:
        self._catalogue = catalogue
        self._handlers = handlers
        self._wake = anyio.Event()
        self._limiter = anyio.Semaphore(_AT_ONCE)
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._progress: dict[str, tuple[int, int]] = {}
        self._ended: dict[str, anyio.Event] = {}

    @property
    def running(self) -> int:
        return len(self._scopes)

    def progress_of(self, job_id: str) -> tuple[int, int] | None:
        """(done, total) of a running job, newer than what the catalogue has."""
        return self._progress.get(job_id)

    async def submit(self, kind: str, subject: str, payload: Mapping[str, Any]) -> JobRow:
        """A new job, on disk when this returns."""
        job = await self._catalogue.write(lambda db: queries.create(db, kind, subject, payload))
        self._wake.set()
        return job

    async def outcome(self, job_id: str) -> JobRow:
        """The job once it is over."""
        ended = self._ended.setdefault(job_id, anyio.Event())
        job = await self._load(job_id)
        if job.state in queries.OPEN_STATES:
            await ended.wait()
            job = await self._load(job_id)
        return job

    async def retry(self, job_id: str) -> bool:
        """The job is done again; False when it runs or waits already."""
        requeued = await self._catalogue.write(lambda db: queries.requeue(db, job_id))
        self._wake.set()
        return requeued

    async def cancel(self, job_id: str) -> bool:
        """Ends the job, wherever it is; what it has done stays done. False when it was over."""
        cancelled = await self._catalogue.write(lambda db: queries.cancel(db, job_id))
        scope = self._scopes.get(job_id)
        if scope is not None:
            scope.cancel()
        elif cancelled:
            self._end(job_id)
        return cancelled

    async def run(self) -> None:
        """Runs jobs until cancelled; those that were interrupted go back to the queue."""
        await self._catalogue.write(lambda db: queries.requeue_interrupted(db, self._handlers))
        # A task that was cancelled before its first step could not give back what was taken for it.
        self._limiter = anyio.Semaphore(_AT_ONCE)
        self._scopes.clear()
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    self._wake = anyio.Event()
                    async with self._catalogue.reader() as db:
                        due = await queries.due(db, self._handlers)
                    for job in due:
                        if job.id not in self._scopes:
                            await self._limiter.acquire()
                            self._scopes[job.id] = anyio.CancelScope()
                            tasks.start_soon(self._run_one, job)
                    with anyio.move_on_after(5.0 if due else 30.0):
                        await self._wake.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await self._catalogue.write(lambda db: queries.requeue_interrupted(db, self._handlers))

    async def _run_one(self, job: JobRow) -> None:
        try:
            if await self._catalogue.write(lambda db: queries.start(db, job.id)):
                with self._scopes[job.id]:
                    outcome = await self._attempt(job)
                    await self._catalogue.write(
                        lambda db: queries.finish(
                            db, job.id, outcome.state, result=outcome.result, error=outcome.error
                        )
                    )
        finally:
            self._scopes.pop(job.id, None)
            self._progress.pop(job.id, None)
            self._limiter.release()
            self._end(job.id)

    async def _attempt(self, job: JobRow) -> Outcome:

        def progress(done: int, total: int) -> None:
            self._progress[job.id] = (done, total)

        async def save() -> None:
            while True:
                await anyio.sleep(_SAVE_PROGRESS_S)
                await self._save_progress(job.id)

        outcome = Outcome("failed", error="ended without an outcome")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(save)
            try:
                outcome = await self._handlers[job.kind](job, progress)
            except SyncdError as error:
                outcome = Outcome("failed", error=str(error))
            tasks.cancel_scope.cancel()
        await self._save_progress(job.id)
        return outcome

    async def _save_progress(self, job_id: str) -> None:
        done, total = self._progress.get(job_id, (0, 0))
        await self._catalogue.write(lambda db: queries.progress(db, job_id, done, total))

    def _end(self, job_id: str) -> None:
        ended = self._ended.pop(job_id, None)
        if ended is not None:
            ended.set()

    async def _load(self, job_id: str) -> JobRow:
        async with self._catalogue.reader() as db:
            job = await queries.get(db, job_id)
        if job is None:
            raise Refused(f"there is no job {job_id!r}")
        return job
