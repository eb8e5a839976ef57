"""The daemon's answers: what the control socket asks, told from the catalogue and the running parts."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from anyio import to_thread

from syncd.activity import Activity
from syncd.api_exchange import ExchangeAnswers
from syncd.api_library import LibraryAnswers
from syncd.api_metadata import MetadataAnswers
from syncd.api_names import NamesAnswers
from syncd.api_site import SiteAnswers
from syncd.api_status import StatusView, service_status
from syncd.catalogue import guards
from syncd.catalogue import jobs as job_queries
from syncd.catalogue.jobs import JobRow
from syncd.config import Config
from syncd.control import schema
from syncd.control.api import AccountsApi, Invalid, NotFound
from syncd.errors import Refused
from syncd.flows.batches_service import BatchesService
from syncd.flows.events_api import Events
from syncd.flows.events_service import DriveService
from syncd.flows.jobs import JobRunner
from syncd.flows.mirror_service import MirrorService
from syncd.flows.notices import Notices
from syncd.flows.previews import Previews
from syncd.flows.report import SyncOptions, SyncRun
from syncd.flows.site_service import SiteService
from syncd.metrics import Metrics
from syncd.supervisor import Supervisor

Shape = TypeVar("Shape", bound=schema.Reply)


class DaemonApi(SiteAnswers):
    """Implements `syncd.control.api.Api`. `supervisor` is set once there is one: it runs the server that
    asks here."""

    supervisor: Supervisor
    notices: Notices | None = None

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        activity: Activity,
        site: SiteService,
        batches: BatchesService,
        jobs: JobRunner,
        previews: Previews,
        drive: DriveService,
        events: Events,
        exchange: ExchangeAnswers,
        accounts: AccountsApi,
        metadata: MetadataAnswers,
        names: NamesAnswers,
        library: LibraryAnswers,
        mirror: MirrorService,
        metrics: Metrics,
        reload: Callable[[], Awaitable[schema.ReloadReply]],
    ) -> None:
        super().__init__(config, activity, site, previews, library)
        self._batches = batches
        self._jobs = jobs
        self._drive = drive
        self.events = events
        self.exchange = exchange
        self.accounts = accounts
        self.metadata = metadata
        self.names = names
        self._mirror = mirror
        self._metrics = metrics
        self._reload = reload
        self._status = StatusView(config, activity, site, batches, drive, metadata, library, mirror)

    # --- state --------------------------------------------------------------------------------------

    async def ready(self) -> bool:
        return self.supervisor.started.is_set()

    async def status(self) -> schema.Status:
        found = await self._status.now(self.supervisor.status())
        waits = self.names.blocked()
        if mail := self.notices and self.notices.trouble:
            waits.append(schema.Blocked(what="mail", reason=mail.reason, since=mail.since))
        return msgspec.structs.replace(found, blocked=[*found.blocked, *waits])

    async def activity(self, since: int, limit: int) -> schema.ActivityPage:
        entries, last_id = await self._activity.page(since, limit)
        items = [msgspec.convert(entry, schema.ActivityItem, from_attributes=True) for entry in entries]
        return schema.ActivityPage(items=items, last_id=last_id)

    async def follow_activity(self, since: int) -> AsyncIterator[schema.ActivityItem]:
        async for entry in self._activity.follow(since):
            yield msgspec.convert(entry, schema.ActivityItem, from_attributes=True)

    async def metrics(self) -> bytes:
        return self._metrics.render(await self.status())

    # --- sync and jobs ------------------------------------------------------------------------------

    async def sync(self, request: schema.SyncRequest) -> schema.JobAccepted | schema.SyncReport:
        if request.db_only and request.images_only:
            raise Invalid("db_only and images_only exclude each other")
        wanted = frozenset(request.batches) or None
        if wanted is not None:
            known = await self._service.site.batch_names()
            for name in sorted(wanted - known):
                raise NotFound(f"there is no batch {name!r}", hint="`syncctl batches list` shows them")
        if request.dry_run:
            options = SyncOptions(wanted, True, request.db_only, request.images_only)
            return report(await self._service.sync(SyncRun(options), whole=True))
        subject = ", ".join(sorted(wanted)) if wanted else "all batches"
        job = await self._jobs.submit("sync", subject, msgspec.to_builtins(request))
        return schema.JobAccepted(job_id=job.id)

    async def sync_status(self, job_id: str | None = None) -> schema.SyncReport:
        if job_id is not None:
            return await self._sync_of(job_id)
        run = self._service.newest
        if run is None:
            return schema.SyncReport(state="done")
        # Asked for again and again while it runs: what was done is in the activity.
        return report(run, with_actions=False)

    async def _sync_of(self, job_id: str) -> schema.SyncReport:
        for run in self._service.running:
            if run.job_id == job_id:
                return report(run)
        row = await self._job_row(job_id)
        if row.kind != "sync":
            raise NotFound(f"job {job_id} is no sync but a {row.kind}")
        if row.result is not None:
            return msgspec.convert(row.result, schema.SyncReport)
        return schema.SyncReport(job_id=job_id, state=row.state, error=row.error)  # type: ignore[arg-type]

    async def jobs(
        self, state: str | None, kind: str | None, limit: int, cursor: str | None
    ) -> schema.JobPage:
        if cursor is not None and not re.fullmatch(r"j-[0-9]{1,18}", cursor):
            raise Invalid(f"{cursor!r} is no cursor of this list", hint="pass next_cursor of the page before")
        async with self._catalogue.reader() as db:
            rows, next_cursor = await job_queries.page(db, state=state, kind=kind, limit=limit, cursor=cursor)
        return schema.JobPage(items=[self._job(row) for row in rows], next_cursor=next_cursor)

    async def job(self, job_id: str) -> schema.Job:
        return self._job(await self._job_row(job_id))

    def _runner(self, job: JobRow) -> JobRunner:
        """Who runs jobs of its kind: those of the exchange rest while that is paused."""
        return self.exchange.jobs if job.kind.startswith("exchange_") else self._jobs

    async def _job_row(self, job_id: str) -> JobRow:
        async with self._catalogue.reader() as db:
            row = await job_queries.get(db, job_id)
        if row is None:
            raise NotFound(f"there is no job {job_id!r}", hint="`syncctl jobs list` shows them")
        return row

    async def retry_job(self, job_id: str) -> schema.Job:
        row = await self._job_row(job_id)
        if row.kind == job_queries.PHOTO:
            self._service.look_again(row.subject)
        elif not await self._runner(row).retry(job_id):
            raise Refused(f"job {job_id} is {row.state} already")
        self._drive.wake()
        self.metadata.retried(row.kind)
        self.library.retried(row.kind)
        return await self.job(job_id)

    async def retry_failed_jobs(self) -> int:
        async with self._catalogue.reader() as db:
            rows, _ = await job_queries.page(db, state="failed", limit=100_000)
        for row in rows:
            if row.kind == job_queries.PHOTO:
                self._service.look_again(row.subject)
            else:
                await self._runner(row).retry(row.id)
        self._drive.wake()
        for kind in {row.kind for row in rows}:
            self.metadata.retried(kind)
            self.library.retried(kind)
        return len(rows)

    async def cancel_job(self, job_id: str) -> schema.Job:
        row = await self._job_row(job_id)
        if not await self._runner(row).cancel(job_id):
            raise Refused(f"job {job_id} is {row.state} already")
        return await self.job(job_id)

    # --- pull, verify, guards -----------------------------------------------------------------------

    async def pull(self, request: schema.PullRequest) -> schema.PullReport:
        if (request.scene_ids is None) == (request.batch is None):
            raise Invalid("name either scene_ids or a batch")
        if not Path(request.to).is_absolute():
            raise Invalid("`to` must be an absolute folder", hint="syncctl pull --to resolves it for you")
        if "\0" in request.to:
            raise Invalid("`to` has a NUL character in it")
        if await to_thread.run_sync(_is_within, request.to, self._config().batches.images_dir):
            raise Invalid(
                f"{request.to} lies inside images_dir, which is never written to",
                hint="name a folder somewhere else",
            )
        if request.batch is not None and request.batch not in await self._service.site.batch_names():
            raise NotFound(f"there is no batch {request.batch!r}", hint="`syncctl batches list` shows them")
        return await self._as_job("pull", request.batch or "scenes", request, schema.PullReport)

    async def verify(self, request: schema.VerifyRequest) -> schema.VerifyReport:
        return await self._as_job("verify", "storage", request, schema.VerifyReport)

    async def _as_job(self, kind: str, subject: str, request: schema.Request, shape: type[Shape]) -> Shape:
        """Long work is a job, so that it shows, can be cancelled, and outlives whoever asked for it."""
        job = await self._jobs.submit(kind, subject, msgspec.to_builtins(request))
        row = await self._jobs.outcome(job.id)
        if row.result is None:
            raise Refused(row.error or f"{kind} was {row.state}", hint=f"`syncctl jobs retry {row.id}`")
        return msgspec.convert(row.result, shape)

    async def guards(self) -> schema.GuardPage:
        async with self._catalogue.reader() as db:
            rows = await guards.listed(db)
        return schema.GuardPage(
            items=[
                schema.Guard(
                    id=row.id,
                    kind=row.kind,
                    reason=row.reason,
                    created_at=row.created_at,
                    count=len(row.actions),
                    actions=[msgspec.convert(a._asdict(), schema.SyncAction) for a in row.actions],
                    of=row.live,
                )
                for row in rows
            ]
        )

    async def approve(self, guard_id: str) -> schema.GuardApproved:
        row = await self._catalogue.write(lambda db: guards.approve(db, guard_id))
        if row is None:
            raise NotFound(f"there is no open guard {guard_id!r}", hint="`syncctl guards` shows them")
        self._activity.emit("approved", "site", guard_id, f"approved {guard_id}: {row.reason}")
        accepted = await self.events.approved(row.kind) or await self.library.approved(row.kind)
        if accepted is not None:
            return schema.GuardApproved(id=guard_id, job_id=accepted.job_id, count=len(row.actions))
        kind, payload = ("sync", {}) if row.kind == "removals" else ("verify", {"repair": True})
        job = await self._jobs.submit(kind, f"approved {guard_id}", payload)
        return schema.GuardApproved(id=guard_id, job_id=job.id, count=len(row.actions))

    # --- services -----------------------------------------------------------------------------------

    async def pause(self, service: str | None) -> schema.ServicesReply:
        self.supervisor.pause(self._known(service))
        return self._services()

    async def resume(self, service: str | None) -> schema.ServicesReply:
        self.supervisor.resume(self._known(service))
        if service in (None, "drive"):
            self._drive.try_again()
        if service in (None, "smugmug"):
            self.library.try_again()
        if service in (None, "describe"):
            self.metadata.retried("describe")
        if service in (None, "mirror"):
            await self._mirror.wake(again=True)
        if service in (None, "names"):
            self.names.try_again()
        return self._services()

    def _known(self, service: str | None) -> str | None:
        names = [info.name for info in self.supervisor.status()]
        if service is not None and service not in names:
            raise NotFound(f"there is no service {service!r}", hint=f"services are: {', '.join(names)}")
        if service == "control":
            raise Invalid("`control` answers this call; it cannot be paused", hint="stop the daemon instead")
        return service

    def _services(self) -> schema.ServicesReply:
        return schema.ServicesReply(services=[service_status(info) for info in self.supervisor.status()])

    async def reload(self) -> schema.ReloadReply:
        return await self._reload()

    async def show_config(self) -> schema.ConfigReply:
        from syncd.config import redacted

        config = self._config()
        return schema.ConfigReply(path=str(config.path) if config.path else None, settings=redacted(config))

    def _job(self, row: JobRow) -> schema.Job:
        done, total = self._runner(row).progress_of(row.id) or (row.progress_done, row.progress_total)
        return schema.Job(
            id=row.id,
            kind=row.kind,
            subject=row.subject,
            state=row.state,  # type: ignore[arg-type]
            attempts=row.attempts,
            created_at=row.created_at,
            next_attempt_at=row.next_attempt_at,
            error=row.error,
            progress=schema.Progress(done=done, total=total),
            updated_at=row.updated_at,
        )


def report(run: SyncRun, *, with_actions: bool = True) -> schema.SyncReport:
    """The run as the API's reply."""
    return msgspec.convert(run.as_dict(with_actions=with_actions), schema.SyncReport)


def _is_within(path: str, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
