"""The daemon: the one place where the parts are made and joined, and where signals and exit codes live."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from syncd import __version__
from syncd.activity import Activity, Entry
from syncd.api import DaemonApi
from syncd.api_accounts import AccountsAnswers, DriveAccess, LargePictures, SmugmugAccess
from syncd.api_exchange import ExchangeAnswers
from syncd.api_library import LibraryAnswers
from syncd.api_metadata import MetadataAnswers
from syncd.api_names import NamesAnswers
from syncd.catalogue import activity as activity_queries
from syncd.catalogue import log
from syncd.catalogue.activity import ActivityRow
from syncd.catalogue.database import Catalogue
from syncd.catalogue.jobs import JobRow
from syncd.config import RELOADABLE, Config, difference, secret_values
from syncd.config_file import load_config
from syncd.control import schema
from syncd.control.server import ControlServer
from syncd.control.socket_path import default_socket_path
from syncd.errors import ExitCode, Fatal, SyncdError
from syncd.flows.batches_service import BatchesService
from syncd.flows.describe_service import DescribeService
from syncd.flows.events_api import Events
from syncd.flows.events_service import DriveService
from syncd.flows.exchange_service import ExchangeService
from syncd.flows.faces_service import FacesService
from syncd.flows.jobs import JobRunner, Outcome, Progress
from syncd.flows.library_pictures import LibraryPictures
from syncd.flows.library_service import LibraryService
from syncd.flows.mirror_service import MirrorService
from syncd.flows.names import Names
from syncd.flows.names_service import NamesService
from syncd.flows.notices import Notices
from syncd.flows.previews import Previews
from syncd.flows.pull import pull
from syncd.flows.report import SyncOptions, SyncRun
from syncd.flows.site import Site
from syncd.flows.site_service import SiteService
from syncd.flows.verify import verify
from syncd.imaging.pool import ImagingPool
from syncd.lock import acquire_lock
from syncd.log import configure_logging, get_logger, register_secret
from syncd.metrics import Metrics
from syncd.notify import Notifier
from syncd.remotes.tokens import TokenStore
from syncd.signals import heed_signals
from syncd.state_dir import empty_staging, prepare_state_dir
from syncd.supervisor import Service, Supervisor, find

_log = get_logger("daemon")

_ACTIONS_KEPT = 5_000
_STOP_S = 8.0
"""Within this time everything ends; systemd and a person at a terminal wait a little longer."""


def run_daemon(config: Config, config_path: Path | None) -> int:
    """Runs until SIGTERM or SIGINT; the exit code. Raises Fatal when it cannot start."""
    configure_logging(config.daemon.log_level)
    for secret in secret_values(config):
        register_secret(secret)
    prepare_state_dir(config.daemon.state_dir)
    with acquire_lock(config.daemon.state_dir):
        daemon = Daemon(config, config_path)
        anyio.run(daemon.run, backend_options={"use_uvloop": True})
    return ExitCode.DONE


class Daemon:
    """One run of the daemon. The lock on its state folder is held by the caller."""

    def __init__(self, config: Config, config_path: Path | None) -> None:
        self.config = config
        self._config_path = config_path
        self._notifier = Notifier()

    async def run(self) -> None:
        """Makes the parts, keeps them running, takes them down. Raises Fatal unwrapped."""
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack)
        except BaseExceptionGroup as errors:
            fatal = find(errors, Fatal)
            if fatal is not None:
                raise fatal from errors
            raise

    async def _run(self, stack: AsyncExitStack) -> None:
        config = self.config
        state_dir = config.daemon.state_dir
        catalogue = await stack.enter_async_context(Catalogue.open(state_dir / "catalogue.db"))
        await catalogue.write(log.fail_interrupted)
        activity = await stack.enter_async_context(_activity(catalogue))
        staging_dir = state_dir / "staging"
        empty_staging(staging_dir)
        pool = await stack.enter_async_context(
            ImagingPool(config.daemon.worker_count, staging_dir, niceness=5)
        )

        def emit(kind: str, subject: str, message: str) -> None:
            activity.emit(kind, "site", subject, message)

        site = await stack.enter_async_context(Site(config, catalogue, pool, emit))
        self._site = site
        service = SiteService(site)
        self._service = service
        handlers = _handlers(service, lambda: self._drive.wake())
        jobs = JobRunner(catalogue, handlers)
        service.jobs = jobs
        batches = BatchesService(lambda: self.config, catalogue, service.nudge)

        def on_change(name: str, state: str, reason: str | None) -> None:
            words = f"{name} is {state}" + (f": {reason}" if reason else "")
            activity.emit("service", name, name, words, {"state": state, "reason": reason})
            (_log.warning if reason else _log.info)("service", service=name, state=state, reason=reason)

        store = await TokenStore.open(state_dir)
        self._access = access = await stack.enter_async_context(DriveAccess(lambda: self.config, store))
        self._smugmug = smugmug = await stack.enter_async_context(SmugmugAccess(lambda: self.config, store))
        faces = FacesService(catalogue, lambda: self.config)
        drive = DriveService(
            accounts=access,
            catalogue=catalogue,
            pool=pool,
            storage=site,
            faces=faces,
            config=lambda: self.config,
            emit=activity.emit,
        )
        self._drive = drive
        self._mirror = mirror = MirrorService(
            catalogue=catalogue, config=lambda: self.config, emit=activity.emit
        )
        stack.push_async_callback(mirror.close)
        names = Names(
            catalogue=catalogue,
            smugmug=smugmug.client,
            mirror=lambda: mirror.sink,
            config=lambda: self.config,
            emit=activity.emit,
        )
        self._names = renaming = NamesService(names, lambda: self.config, activity.emit)
        named = NamesAnswers(names=names, service=renaming, jobs=jobs, config=lambda: self.config)
        handlers.update(named.handlers)
        notices = Notices(
            catalogue=catalogue,
            config=lambda: self.config,
            services=lambda: self._supervisor.status(),
            sources=[drive.troubles, renaming.troubles],
        )
        self._notices = notices
        previews = Previews(catalogue, pool, state_dir / "previews")
        events = Events(
            catalogue=catalogue,
            site=site,
            accounts=access,
            service=drive,
            jobs=jobs,
            previews=previews,
            config=lambda: self.config,
            emit=activity.emit,
        )
        handlers.update(events.handlers)
        exchange = ExchangeService(catalogue, lambda: self.config, activity.emit)
        describe = DescribeService(
            catalogue=catalogue,
            library=LargePictures(smugmug),
            pool=pool,
            config=lambda: self.config,
            emit=activity.emit,
        )
        self._describe = await stack.enter_async_context(describe)
        library = LibraryService(
            access=smugmug,
            catalogue=catalogue,
            pool=pool,
            config=lambda: self.config,
            emit=activity.emit,
        )
        library.on_photos = describe.wake
        self._library = library

        def smugmug_signed_in(account: str) -> None:
            library.signed_in(account)
            renaming.look()

        signed_in = {"drive": drive.signed_in, "smugmug": smugmug_signed_in}
        accounts = await stack.enter_async_context(AccountsAnswers(store, access, smugmug, signed_in))
        site.listing_took = batches.listing_took
        service.on_blocked = batches.block
        api = DaemonApi(
            config=lambda: self.config,
            activity=activity,
            site=service,
            batches=batches,
            jobs=jobs,
            previews=previews,
            drive=drive,
            events=events,
            exchange=ExchangeAnswers(exchange, previews, pool),
            accounts=accounts,
            metadata=MetadataAnswers(catalogue, describe, lambda: self.config, activity.emit, mirror.wake),
            names=named,
            mirror=mirror,
            library=LibraryAnswers(
                catalogue=catalogue,
                access=smugmug,
                service=library,
                pictures=LibraryPictures(smugmug.client, catalogue, pool, previews, staging_dir),
                config=lambda: self.config,
            ),
            metrics=Metrics(),
            reload=self.reload,
        )
        control = ControlServer(api, default_socket_path(config), config.daemon.socket_group)
        control.open()
        services: list[Service] = [
            batches,
            service,
            drive,
            faces,
            library,
            describe,
            mirror,
            renaming,
            exchange,
            control,
        ]
        supervisor = Supervisor(services, on_change, stop_timeout_s=_STOP_S, on_stuck=_give_up)
        self._supervisor = api.supervisor = supervisor
        api.notices = notices
        await self._supervise(supervisor, activity)

    async def _supervise(self, supervisor: Supervisor, activity: Activity) -> None:
        async with anyio.create_task_group() as tasks:

            def stop(signal: str) -> None:
                _log.info("stopping", signal=signal)
                self._notifier.stopping()
                supervisor.stop()

            def reload() -> None:
                tasks.start_soon(self._reload_quietly)

            tasks.start_soon(heed_signals, stop, reload, _hurry)
            tasks.start_soon(self._notifier.watchdog)
            tasks.start_soon(self._announce, supervisor)
            # Apart from the services, of which it tells, and which people hold and release.
            tasks.start_soon(Supervisor([self._notices], _log_trouble).run)
            activity.emit("daemon", "control", "syncd", f"syncd {__version__} started")
            await supervisor.run()
            activity.emit("daemon", "control", "syncd", "syncd is stopping")
            tasks.cancel_scope.cancel()

    async def _announce(self, supervisor: Supervisor) -> None:
        await supervisor.started.wait()
        # What is there now stays. Looked through again with everything that comes, it would hold the event
        # loop for tens of milliseconds each time.
        gc.freeze()
        socket = default_socket_path(self.config)
        self._notifier.ready(f"serving {socket}")
        _log.info("ready", socket=str(socket), state_dir=str(self.config.daemon.state_dir))

    # --- settings -----------------------------------------------------------------------------------

    async def _reload_quietly(self) -> None:
        """On SIGHUP there is nobody to answer but the log."""
        self._notifier.reloading()
        try:
            reply = await self.reload()
            _log.info("reloaded", applied=reply.applied, needs_restart=reply.needs_restart)
        except SyncdError as error:
            _log.error("settings not reloaded", reason=str(error))
        self._notifier.ready()

    async def reload(self) -> schema.ReloadReply:
        """Reads the settings again. What can change without a restart does; wrong settings change nothing.
        Raises Refused-like errors with what is wrong."""
        from syncd.control.api import Invalid

        try:
            fresh = load_config(self._config_path or self.config.path)
        except Fatal as error:
            raise Invalid(error.message, hint=error.hint) from error
        changed = difference(self.config, fresh)
        waiting = [name for name in changed if name not in RELOADABLE]
        applied = [name for name in changed if name in RELOADABLE]
        self.config = _with_old(self.config, fresh, waiting)
        self._site.config = self.config
        for secret in secret_values(self.config):
            register_secret(secret)
        configure_logging(self.config.daemon.log_level)
        if any(name.startswith("batches.") for name in applied):
            self._supervisor.restart("batches")
        if any(name.startswith("smugmug.") for name in applied):
            await self._smugmug.renew()
            self._supervisor.restart("smugmug")
            self._library.signed_in("")  # what was turned down before may be right now
        if any(name.startswith("drive.") for name in applied):
            await self._access.renew()
            self._supervisor.restart("drive")
            for account in await self._access.names():
                self._drive.signed_in(account)  # what was turned down before may be right now
        if applied:
            self._service.hint(None)
            self._drive.look()
            self._describe.wake()
            await self._mirror.wake(again=True)
            self._names.look()
            self._notices.wake()
        self._supervisor.retry()
        return schema.ReloadReply(applied=applied, needs_restart=waiting, warnings=list(fresh.warnings))


def _with_old(old: Config, fresh: Config, names: list[str]) -> Config:
    """`fresh`, with the settings of these dotted names as they were."""
    from dataclasses import replace

    for name in names:
        section, _, key = name.partition(".")
        part = replace(getattr(fresh, section), **{key: getattr(getattr(old, section), key)})
        fresh = replace(fresh, **{section: part})
    return fresh


@asynccontextmanager
async def _activity(catalogue: Catalogue) -> AsyncIterator[Activity]:
    """The log of activity with its own task, which outlives every service and stores the last entries."""
    async with catalogue.reader() as db:
        last_id = await activity_queries.last_id(db)

    async def append(entries: list[Entry]) -> None:
        rows = [ActivityRow(e.id, e.at, e.kind, e.service, e.subject, e.message, e.data) for e in entries]
        await catalogue.write(lambda db: activity_queries.append(db, rows))
        if entries[-1].id // 1000 != (entries[0].id - 1) // 1000:
            await catalogue.write(activity_queries.prune)

    async def load(since: int, limit: int) -> list[Entry]:
        async with catalogue.reader() as db:
            rows = await activity_queries.page(db, since, limit)
        return [Entry(r.id, r.at, r.kind, r.service, r.subject, r.message, r.data) for r in rows]

    activity = Activity(append, last_id, load)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(activity.run)
        try:
            yield activity
        finally:
            tasks.cancel_scope.cancel()


def _handlers(service: SiteService, wake_drive: Callable[[], None]) -> dict[str, Any]:
    """What the kinds of jobs do. Payloads are the requests of the control API."""

    async def sync(job: JobRow, progress: Progress) -> Outcome:
        wanted = job.payload.get("batch_filter") or None
        options = SyncOptions(
            frozenset(wanted) if wanted else None,
            db_only=job.payload.get("db_only", False),
            images_only=job.payload.get("images_only", False),
        )
        run = SyncRun(options, job_id=job.id)
        async with anyio.create_task_group() as tasks:

            async def show() -> None:
                while True:
                    progress(run.done_steps, run.total)
                    await anyio.sleep(0.2)

            tasks.start_soon(show)
            await service.sync(run, whole=True)
            tasks.cancel_scope.cancel()
        progress(run.done_steps, run.total)
        # The activity has them all; a job's row stays small.
        shape = run.as_dict(with_actions=len(run.actions) <= _ACTIONS_KEPT)
        return Outcome(run.state, shape, shape["error"])

    async def pull_scenes(job: JobRow, progress: Progress) -> Outcome:
        request = job.payload
        result = await pull(
            service.site,
            Path(request["to"]),
            scene_ids=request.get("scene_ids"),
            batch=request.get("batch"),
            progress=progress,
        )
        return Outcome("partial" if result.failed else "done", result.as_dict())

    async def verify_storage(job: JobRow, progress: Progress) -> Outcome:
        request = job.payload
        found = await verify(
            service.site,
            sample=request.get("sample", 100),
            deep=request.get("deep", False),
            repair=request.get("repair", False),
            progress=progress,
            wake=wake_drive,
        )
        shape = found.as_dict()
        wrong = shape["missing"] or shape["wrong"] or shape["orphaned"]
        return Outcome("refused" if found.guard_id else "partial" if wrong else "done", shape)

    return {"sync": sync, "pull": pull_scenes, "verify": verify_storage}


def _log_trouble(name: str, state: str, reason: str | None) -> None:
    if reason:
        _log.warning("service", service=name, state=state, reason=reason)


def _give_up(names: object) -> None:
    """Services that do not end would keep the daemon for ever; nothing half done is recorded as done."""
    _log.error("services did not stop in time", services=names)
    os._exit(ExitCode.FAILED)


def _hurry(signal: str) -> None:
    os._exit(ExitCode.FAILED)
