"""The one place where the parts of the daemon are made and joined."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from typing import Any, Self

from syncd.activity_log import kept_activity
from syncd.api import DaemonApi
from syncd.api_accounts import AccountsAnswers, DriveAccess, LargePictures, SmugmugAccess
from syncd.api_exchange import ExchangeAnswers
from syncd.api_library import LibraryAnswers
from syncd.api_metadata import MetadataAnswers
from syncd.api_names import NamesAnswers
from syncd.catalogue import log
from syncd.catalogue.database import Catalogue
from syncd.config import Config
from syncd.control import schema
from syncd.flows.batches_service import BatchesService
from syncd.flows.describe_service import DescribeService
from syncd.flows.events_api import Events
from syncd.flows.events_service import DriveService
from syncd.flows.exchange_service import ExchangeService
from syncd.flows.faces_service import FacesService
from syncd.flows.jobs import JobRunner
from syncd.flows.library_pictures import LibraryPictures
from syncd.flows.library_service import LibraryService
from syncd.flows.mirror_service import MirrorService
from syncd.flows.names import Names
from syncd.flows.names_service import NamesService
from syncd.flows.notices import Notices
from syncd.flows.previews import Previews
from syncd.flows.site import Site
from syncd.flows.site_jobs import site_handlers
from syncd.flows.site_service import SiteService
from syncd.imaging.pool import ImagingPool
from syncd.metrics import Metrics
from syncd.remotes.tokens import TokenStore
from syncd.state_dir import empty_staging
from syncd.supervisor import Service, Supervisor


class Parts:
    """Everything that a daemon is made of but its control server. A context manager; `config` gives the
    settings in force, `supervisor` is asked for once the services run."""

    def __init__(self, config: Callable[[], Config], supervisor: Callable[[], Supervisor]) -> None:
        self.config = config
        self._supervisor = supervisor
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:  # what is made is taken down, too, when a later part fails
            await self._make_ground(stack)
            await self._make_site(stack)
            await self._make_events(stack)
            await self._make_library(stack)
            await self._make_names(stack)
            await self._make_accounts(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        return await self._stack.__aexit__(*exc)

    async def _make_ground(self, stack: AsyncExitStack) -> None:
        config = self.config().daemon
        self.catalogue = await stack.enter_async_context(Catalogue.open(config.state_dir / "catalogue.db"))
        await self.catalogue.write(log.fail_interrupted)
        self.activity = await stack.enter_async_context(kept_activity(self.catalogue))
        self._staging_dir = config.state_dir / "staging"
        empty_staging(self._staging_dir)
        pool = ImagingPool(config.worker_count, self._staging_dir, niceness=5)
        self._pool = await stack.enter_async_context(pool)
        pool.start()  # so that the first photo does not wait for it
        self._previews = Previews(self.catalogue, pool, config.state_dir / "previews")
        self._store = await TokenStore.open(config.state_dir)

    async def _make_site(self, stack: AsyncExitStack) -> None:
        def emit(kind: str, subject: str, message: str) -> None:
            self.activity.emit(kind, "site", subject, message)

        site = Site(self.config(), self.catalogue, self._pool, emit)
        self._site = await stack.enter_async_context(site)
        self._site_service = service = SiteService(site)
        self._handlers = site_handlers(service, lambda: self._drive.wake())
        self._jobs = service.jobs = JobRunner(self.catalogue, self._handlers)
        self._batches = BatchesService(self.config, self.catalogue, service.nudge)
        site.listing_took = self._batches.listing_took
        service.on_blocked = self._batches.block

    async def _make_events(self, stack: AsyncExitStack) -> None:
        self._google = await stack.enter_async_context(DriveAccess(self.config, self._store))
        self._faces = FacesService(self.catalogue, self.config, lambda: self._pool.start(faces=True))
        self._drive = DriveService(
            accounts=self._google,
            catalogue=self.catalogue,
            pool=self._pool,
            storage=self._site,
            faces=self._faces,
            config=self.config,
            emit=self.activity.emit,
        )
        self._events = Events(
            catalogue=self.catalogue,
            site=self._site,
            accounts=self._google,
            service=self._drive,
            jobs=self._jobs,
            previews=self._previews,
            config=self.config,
            emit=self.activity.emit,
        )
        self._handlers.update(self._events.handlers)

    async def _make_library(self, stack: AsyncExitStack) -> None:
        self._smugmug = await stack.enter_async_context(SmugmugAccess(self.config, self._store))
        describe = DescribeService(
            catalogue=self.catalogue,
            library=LargePictures(self._smugmug),
            pool=self._pool,
            config=self.config,
            emit=self.activity.emit,
        )
        self._describe = await stack.enter_async_context(describe)
        self._library = LibraryService(
            access=self._smugmug,
            catalogue=self.catalogue,
            pool=self._pool,
            config=self.config,
            emit=self.activity.emit,
        )
        self._library.on_photos = describe.wake

    async def _make_names(self, stack: AsyncExitStack) -> None:
        self._mirror = mirror = MirrorService(
            catalogue=self.catalogue, config=self.config, emit=self.activity.emit
        )
        stack.push_async_callback(mirror.close)
        names = Names(
            catalogue=self.catalogue,
            smugmug=self._smugmug.client,
            mirror=lambda: mirror.sink,
            config=self.config,
            emit=self.activity.emit,
        )
        self._names = NamesService(names, self.config, self.activity.emit)
        self._named = NamesAnswers(names=names, service=self._names, jobs=self._jobs, config=self.config)
        self._handlers.update(self._named.handlers)
        self._exchange = ExchangeService(self.catalogue, self.config, self.activity.emit)

    async def _make_accounts(self, stack: AsyncExitStack) -> None:
        def smugmug_signed_in(account: str) -> None:
            self._library.signed_in(account)
            self._names.look()

        signed_in = {"drive": self._drive.signed_in, "smugmug": smugmug_signed_in}
        accounts = AccountsAnswers(self._store, self._google, self._smugmug, signed_in)
        self._accounts = await stack.enter_async_context(accounts)
        self.notices = Notices(
            catalogue=self.catalogue,
            config=self.config,
            services=lambda: self._supervisor().status(),
            sources=[self._drive.troubles, self._names.troubles],
        )

    # --- what the daemon asks -----------------------------------------------------------------------

    @property
    def services(self) -> list[Service]:
        """In the order in which people see them."""
        return [
            self._batches, self._site_service, self._drive, self._faces, self._library, self._describe,
            self._mirror, self._names, self._exchange,
        ]  # fmt: skip

    def api(self, reload: Callable[[], Awaitable[schema.ReloadReply]]) -> DaemonApi:
        """What the control server asks; its `supervisor` is still to be set."""
        api = DaemonApi(
            config=self.config,
            activity=self.activity,
            site=self._site_service,
            batches=self._batches,
            jobs=self._jobs,
            previews=self._previews,
            drive=self._drive,
            events=self._events,
            exchange=ExchangeAnswers(self._exchange, self._previews, self._pool),
            accounts=self._accounts,
            metadata=MetadataAnswers(
                self.catalogue, self._describe, self.config, self.activity.emit, self._mirror.wake
            ),
            names=self._named,
            mirror=self._mirror,
            library=LibraryAnswers(
                catalogue=self.catalogue,
                access=self._smugmug,
                service=self._library,
                pictures=LibraryPictures(
                    self._smugmug.client, self.catalogue, self._pool, self._previews, self._staging_dir
                ),
                config=self.config,
            ),
            metrics=Metrics(),
            reload=reload,
        )
        api.notices = self.notices
        return api

    async def renew(self, sections: Collection[str]) -> None:
        """Takes up the settings of these sections of the file, which changed."""
        self._site.config = self.config()
        # What was turned down before may be right now.
        if "smugmug" in sections:
            await self._smugmug.renew()
            self._library.signed_in("")
        if "drive" in sections:
            await self._google.renew()
            for account in await self._google.names():
                self._drive.signed_in(account)

    async def look_again(self) -> None:
        """Has every service look at what there is, under the settings in force."""
        self._site_service.hint(None)
        self._drive.look()
        self._describe.wake()
        await self._mirror.wake(again=True)
        self._names.look()
        self.notices.wake()
