"""The service `drive`: follows events, and brings their photos in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio

from syncd.catalogue import drive as drive_queries
from syncd.catalogue import event_photos as photo_queries
from syncd.catalogue import events as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.event_photos import PhotoJob
from syncd.catalogue.events import EventRow
from syncd.config import Config
from syncd.control import schema
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.flows.event_homes import Homes
from syncd.flows.event_photos import PhotoWork, Pool, Storage
from syncd.flows.events import Accounts, Follower
from syncd.flows.events_push import Push
from syncd.flows.faces_service import FacesService
from syncd.flows.notices import Trouble
from syncd.pollers.poller import Health, Poller
from syncd.remotes.drive_errors import QuotaExceeded
from syncd.supervisor import ServiceHandle
from syncd.text import rfc3339

Emit = Callable[[str, str, str, str, dict[str, Any] | None], object]
"""activity.emit: kind, service, subject, message, data."""

_PHOTOS_AT_ONCE = 6
_LOOK_S = 2.0
_TELL_S = 2.0
_LONGEST_WAIT_S = 5.0


class DriveService:
    """Follows every event that is enabled: one poller an account, at the shortest interval of its events."""

    name = "drive"

    def __init__(
        self,
        *,
        accounts: Accounts,
        catalogue: Catalogue,
        pool: Pool,
        storage: Storage,
        faces: FacesService,
        config: Callable[[], Config],
        emit: Emit,
    ) -> None:
        self._accounts = accounts
        self._catalogue = catalogue
        self._storage = storage
        self._faces = faces
        self._config = config
        self._emit = emit
        self.work = PhotoWork(
            accounts=accounts,
            catalogue=catalogue,
            pool=pool,
            storage=storage,
            config=config,
            faces_on=lambda: faces.on,
            park=self._park,
        )
        self.push = Push(accounts=accounts, catalogue=catalogue, config=config, hint=self._hinted)
        faces.on_work = self.wake
        self.is_running = False
        self._followers: dict[str, Follower] = {}
        self._pollers: dict[str, Poller] = {}
        self._intervals_s: dict[str, float] = {}
        self._busy: set[str] = set()
        self._work_wake = anyio.Event()
        self._look_wake = anyio.Event()
        self._withdraw_wake = anyio.Event()
        self._homes = Homes(
            accounts=accounts,
            catalogue=catalogue,
            emit=lambda event_id, message: emit("blocked", self.name, event_id, message, None),
            on_news=lambda: self._look_wake.set(),
        )
        self._trouble: dict[str, str] = {}

    # --- what others ask ----------------------------------------------------------------------------

    def wake(self) -> None:
        """Photos may have been given jobs, or objects may have to be taken out of storage."""
        self._work_wake.set()
        self._withdraw_wake.set()

    def look(self, account: str | None = None, *, poll: bool = True) -> None:
        """Events were changed by a person: look at them, and poll this account (None: every one) soon."""
        self._homes.look_again()
        for name, poller in self._pollers.items():
            if poll and account in (None, name):
                poller.refresh()
            else:
                poller.look()
        self._look_wake.set()
        self.wake()

    def signed_in(self, account: str) -> None:
        """Somebody signed in to this account: what waited for that goes on at once."""
        if account in self._pollers:
            self._pollers[account].refresh(at_once=True)
        self.look(account)

    def health(self, account: str) -> Health:
        """How the account was when it was last asked."""
        poller = self._pollers.get(account)
        return Health() if poller is None else poller.health

    def health_of(self, event: EventRow) -> Health:
        """The same of the event's account, or of all where none was found for it yet."""
        if event.account is None:
            return self._homes.health(event.event_id)
        return self.health(event.account)

    def next_sync_at(self, account: str | None) -> str | None:
        """When the account is asked next, RFC 3339; None while it is not."""
        poller = self._pollers.get(account or "")
        wait_s = None if poller is None or not self.is_running else poller.next_in_s
        if wait_s is None:
            return None
        at = datetime.now(UTC) + timedelta(seconds=wait_s)
        return rfc3339(at)

    def source(self) -> schema.SourceStatus:
        """Google Drive as a source of photos, and when all that was asked of it was last heard."""
        heard = [follower.last_success_at for follower in self._followers.values()]
        state = "running" if self.is_running else "stopped"
        for account in sorted(self._intervals_s):
            if (health := self._pollers[account].health).state != "running":
                state = health.state
        return schema.SourceStatus(
            name=self.name, state=state, last_success_at=max((at for at in heard if at), default=None)
        )

    def troubles(self) -> dict[str, Trouble]:
        """The accounts in use that somebody has to sign in to again."""
        used = {name: self._pollers[name].health for name in self._intervals_s if name in self._pollers}
        return {
            f"{self.name} {name}": Trouble(health.state, f"{health.reason} ({health.hint})")
            for name, health in used.items()
            if health.state == "needs_auth"
        }

    def try_again(self) -> None:
        """A person wants what waits for a sign-in or a quota to be tried."""
        for account, poller in self._pollers.items():
            if poller.health.state in ("needs_auth", "quota"):
                self._accounts.accept(account)
                self.signed_in(account)
        self.look(poll=False)

    def is_listing(self, event_id: str) -> bool:
        """Whether the event's folder is being listed at this moment."""
        return any(event_id in follower.listing for follower in self._followers.values())

    async def index(self, event_id: str) -> None:
        """A person wants the event whole: faces that nobody looked for are looked for, if they are at all."""
        if self._faces.on:
            await self._catalogue.write(lambda db: photo_queries.queue_unindexed(db, event_id))

    def interval_minutes(self, event: EventRow) -> float:
        """The event's own interval, or the setting."""
        return event.sync_interval_minutes or self._config().drive.default_interval_minutes

    @property
    def waiting(self) -> tuple[int, int]:
        """Photos that are being done, and pollers that wait for an account."""
        return len(self._busy), sum(poller.parked for poller in self._pollers.values())

    # --- running ------------------------------------------------------------------------------------

    async def run(self, handle: ServiceHandle) -> None:
        self._busy.clear()
        self.is_running = True
        storage_id = self._storage.storage_id
        await self._catalogue.write(photo_queries.interrupted)
        await self._catalogue.write(lambda db: photo_queries.queue_unpublished(db, storage_id))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._bring_photos)
                tasks.start_soon(self._withdraw)
                tasks.start_soon(self._tell_arrivals)
                tasks.start_soon(self.push.run)
                tasks.start_soon(self._homes.run)
                started: set[str] = set()
                while True:
                    self._look_wake = anyio.Event()
                    await self._look_at_events()
                    for account in self._intervals_s.keys() - started:
                        tasks.start_soon(self._pollers[account].run)
                        started.add(account)
                    self._say(handle)
                    with anyio.move_on_after(_LOOK_S):
                        await self._look_wake.wait()
        finally:
            self.is_running = False

    async def _look_at_events(self) -> None:
        """Which accounts have to be asked, and how often. A person may have edited the catalogue."""
        async with self._catalogue.reader() as db:
            active = await queries.active(db)
            known = await drive_queries.accounts(db)
        await self._homes.note([event for event in active if event.account is None])
        intervals_s: dict[str, float] = {}
        for event in active:
            if event.account is None:
                continue
            interval_s = self.interval_minutes(event) * 60 if event.enabled else float("inf")
            intervals_s[event.account] = min(interval_s, intervals_s.get(event.account, float("inf")))
        self._intervals_s = intervals_s
        for account in intervals_s:
            if account not in self._pollers:
                self._add(account, known.get(account))
        for event in active:
            if event.listing_due and event.account and not self.is_listing(event.event_id):
                poller = self._pollers[event.account]
                wait_s = poller.next_in_s
                if poller.health.state == "running" and (wait_s is None or wait_s > _LOOK_S):
                    poller.refresh()
        for poller in self._pollers.values():
            poller.look()

    def _add(self, account: str, known: drive_queries.AccountRow | None) -> None:
        def emit(kind: str, subject: str, message: str, data: dict[str, Any]) -> None:
            self._emit(kind, self.name, subject, message, data)

        follower = Follower(
            account,
            accounts=self._accounts,
            catalogue=self._catalogue,
            config=self._config,
            emit=emit,
            on_work=self.wake,
        )

        def interval_s() -> float | None:
            found = self._intervals_s.get(account)
            return None if found is None or found == float("inf") else found

        poller = Poller(
            f"drive {account}",
            follower.poll,
            interval_s,
            on_change=partial(self._changed, account),
            is_quota=lambda error: isinstance(error, QuotaExceeded),
        )
        if known is not None and known.state == "quota":
            kept = Health.kept("quota", known.reason, known.resume_at)
            if kept is not None:
                poller.resume_later(kept)
        self._followers[account] = follower
        self._pollers[account] = poller

    async def _changed(self, account: str, health: Health, is_news: bool) -> None:
        await self._catalogue.write(
            lambda db: drive_queries.set_account(db, account, health.state, health.reason, health.resume_at)
        )
        if not is_news:
            return
        words = f"{account}: {health.reason}" if health.reason else f"{account} goes on"
        if health.hint:
            words += f" ({health.hint})"
        self._emit(
            "account", self.name, account, words, {"state": health.state, "resume_at": health.resume_at}
        )
        self._look_wake.set()
        if health.state == "running":
            self.wake()

    async def _park(self, account: str, error: SyncdError) -> None:
        if account in self._pollers:
            await self._pollers[account].note(error)

    def _say(self, handle: ServiceHandle) -> None:
        """The service is as its worst account in use; the rest goes on."""
        if nobody := self._homes.nobody:
            handle.set_state("needs_auth", f"{nobody.reason}: {nobody.hint}")
            return
        used = [(name, self._pollers[name].health) for name in sorted(self._intervals_s)]
        used += self._homes.troubles
        for state in ("needs_auth", "quota", "backing_off"):
            for name, health in used:
                if health.state == state:
                    words = f"{name}: {health.reason}" + (f" ({health.hint})" if health.hint else "")
                    handle.set_state("needs_auth" if state == "needs_auth" else "backing_off", words)
                    return
        if self._trouble:
            handle.set_state("backing_off", next(iter(self._trouble.values())))
            return
        handle.set_state("running")

    def _hinted(self, account: str) -> None:
        """Google says that there may be something new: that is looked at now, not at the next interval."""
        if account in self._intervals_s and account in self._pollers:
            self._pollers[account].refresh()

    # --- photos -------------------------------------------------------------------------------------

    async def _bring_photos(self) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                self._work_wake = anyio.Event()
                wait_s = _LONGEST_WAIT_S
                if len(self._busy) < _PHOTOS_AT_ONCE:
                    for job in await self._due(_PHOTOS_AT_ONCE - len(self._busy)):
                        self._busy.add(job.photo_id)
                        tasks.start_soon(self._one, job)
                    async with self._catalogue.reader() as db:
                        due_s = await photo_queries.next_due_in_s(db)
                    wait_s = min(wait_s, max(0.05, due_s)) if due_s is not None else wait_s
                with anyio.move_on_after(wait_s):
                    await self._work_wake.wait()

    async def _due(self, limit: int) -> list[PhotoJob]:
        parked = [name for name, poller in self._pollers.items() if poller.parked]
        async with self._catalogue.reader() as db:
            return await photo_queries.due_photos(db, limit=limit, busy=self._busy, parked=parked)

    async def _one(self, job: PhotoJob) -> None:
        try:
            await self.work.do(job)
        finally:
            self._busy.discard(job.photo_id)
            self._work_wake.set()
        if not self._busy:
            await self._catalogue.write(queries.note_complete)

    async def _withdraw(self) -> None:
        """Takes objects of photos that left out of storage; tried again until it is done."""
        failures = 0
        while True:
            self._withdraw_wake = anyio.Event()
            wait_s = 60.0
            try:
                await self.work.withdraw()
                failures = 0
                self._trouble.pop("storage", None)
            except (Transient, AuthRejected, Refused) as error:
                failures += 1
                wait_s = min(300.0, 2.0**failures)
                self._trouble["storage"] = f"storage: {error}"
                await anyio.sleep(wait_s)
                continue
            with anyio.move_on_after(wait_s):
                await self._withdraw_wake.wait()

    async def _tell_arrivals(self) -> None:
        """New photos are told of in groups, never one by one."""
        while True:
            try:
                await anyio.sleep(_TELL_S)
            finally:
                self._tell_of_arrived()

    def _tell_of_arrived(self) -> None:
        arrived, self.work.arrived = self.work.arrived, type(self.work.arrived)()
        for event_id, count in arrived.items():
            words = f"{count:,} new photos in {event_id}" if count != 1 else f"a new photo in {event_id}"
            self._emit("photos", self.name, event_id, words, {"count": count})
