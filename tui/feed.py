"""All that talks to the daemon: a snapshot, then the stream, and asking for what is seen."""

from __future__ import annotations

import random
import time
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import anyio
import msgspec

from syncd.control import schema
from syncd.control.client import ApiError, ControlClient, DaemonUnavailable
from syncd.errors import SyncdError
from syncd.text import human_count, printable
from tui import asks
from tui.asks import Interest
from tui.asks_exchange import Analyze, CleanList, Export, Import, VerifyList
from tui.asks_library import (
    ApplyNames,
    ApproveShots,
    EditShot,
    HintName,
    SetStatus,
    SyncAlbum,
    SyncLibrary,
    UndoNames,
)
from tui.clean import asking, clean
from tui.feed_events import EventFeed
from tui.feed_exchange import ExchangeFeed
from tui.feed_library import LibraryFeed
from tui.feed_names import NamesFeed
from tui.paging import PAGE, pages
from tui.state import (
    ActivityArrived,
    ActivitySnapshot,
    Connected,
    Connecting,
    Keyed,
    ListArrived,
    ListAsked,
    ListFailed,
    Lost,
    StatusArrived,
    SyncArrived,
    gap,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tui.asks import Ask, OwnAsk
    from tui.state import Event, ListName

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 5.0
STATUS_EVERY_S, LISTS_EVERY_S, SLOW_EVERY_S = 2.0, 5.0, 15.0
SLOW = frozenset({"photos", "review", "names", "changes", "files"})
"""Lists that take long to make, and change when somebody does something to them."""
SETTLE_S = 0.3
"""After activity, what is seen is asked for again once it has been so long quiet, at most a second later."""
BACKLOG = 500
SCENES_PAGE = 200
MOST_ROWS = 2000
"""Jobs and batches beyond this many are not fetched; the list says that there are more."""


class DaemonFeed(EventFeed, LibraryFeed, NamesFeed, ExchangeFeed):
    """Follows the daemon at `socket_path`. `clock` gives seconds since the epoch."""

    def __init__(self, socket_path: Path, clock: Callable[[], float] = time.time) -> None:
        self.where = printable(str(socket_path))
        self._client = ControlClient(socket_path)
        self._clock = clock
        self._interest = Interest()
        self._asked: Interest | None = None
        self._wake = anyio.Event()
        self._last_id = 0
        self._known = False
        self._hot = False
        self._held = _Held(("", ""))
        self._slow_at: dict[ListName, float] = {}

    # --- the seam ---------------------------------------------------------------------------------

    def look(self, interest: Interest) -> None:
        if interest != self._interest:
            self._interest = interest
            self._wake.set()

    def refresh(self) -> None:
        self._asked = None
        self._wake.set()

    async def run(self, send: Callable[[Event], None]) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            send(Connecting(self._clock(), self.where))
            began = self._clock()
            error = await self._follow(send)
            if self._clock() - began > LONGEST_WAIT_S:
                wait_s = FIRST_WAIT_S
            pause_s = wait_s * random.uniform(0.75, 1.25)
            hint = printable(error.hint or "")
            send(Lost(self._clock(), printable(error.message), hint, self._clock() + pause_s))
            self._wake = anyio.Event()
            with anyio.move_on_after(pause_s):
                await self._wake.wait()
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)

    async def do(self, ask: Ask) -> str:
        return await asking(self._do(ask))

    async def plan(self, batch: str) -> schema.SyncReport:
        report = await asking(self._client.sync(_sync_request(batch, dry_run=True)))
        return clean(cast("schema.SyncReport", report))

    async def live_scenes(self, batch: str) -> schema.ScenePage:
        return clean(await asking(self._client.scenes(batch, live=True, limit=PAGE)))

    async def stages(self, batch: str) -> list[Keyed[str]]:
        page = await asking(self._client.scenes(batch, limit=PAGE))
        names = {version.version_type for scene in page.items for version in scene.versions}
        return [Keyed(name, printable(name)) for name in sorted(names)]

    async def preview(self, version_id: int, width: int, height: int) -> bytes:
        return await asking(self._client.preview(version_id, width, height, image_format="rgb"))

    # --- following --------------------------------------------------------------------------------

    async def _follow(self, send: Callable[[Event], None]) -> SyncdError:
        """Follows until the daemon is lost, and returns why."""
        lost: SyncdError | None = None
        try:
            status = await self._client.status()
            await self._catch_up(send, status.last_activity_id)
            send(Connected(self._clock()))
            send(StatusArrived(self._clock(), clean(status)))
            self._asked = None
            async with anyio.create_task_group() as group:
                group.start_soon(self._stream, send)
                group.start_soon(self._poll, send)
        except* SyncdError as errors:
            lost = _first(errors)
        return lost or DaemonUnavailable(self._client.socket_path, "it ended the connection")

    async def _catch_up(self, send: Callable[[Event], None], newest: int) -> None:
        """The backlog at first; after a loss only what the stream cannot give."""
        if self._known and newest >= self._last_id:
            return
        page = await self._client.activity(since=max(0, newest - BACKLOG), limit=1000)
        self._snapshot(send, page)

    def _snapshot(self, send: Callable[[Event], None], page: schema.ActivityPage, missed: int = 0) -> None:
        self._known = True
        self._last_id = max(page.last_id, page.items[-1].id if page.items else 0)
        send(ActivitySnapshot(tuple(clean(item) for item in page.items), page.last_id, missed))

    async def _stream(self, send: Callable[[Event], None]) -> None:
        while True:
            async with aclosing(cast("Any", self._client.follow_activity(self._last_id))) as items:
                async for item in items:
                    missed = gap(self._last_id, (item,))
                    if missed or item.id <= self._last_id:
                        break
                    self._last_id = item.id
                    send(ActivityArrived((clean(item),)))
                    self._hot = True
                    self._wake.set()
            page = await self._client.activity(since=max(0, item.id - BACKLOG), limit=1000)
            self._snapshot(send, page, missed)

    async def _poll(self, send: Callable[[Event], None]) -> None:
        """Asks for the status every `STATUS_EVERY_S` and for the lists that are seen more rarely, sooner
        when something happened or another screen is shown."""
        status_at, lists_at = time.monotonic(), 0.0
        while True:
            self._wake = anyio.Event()
            now = time.monotonic()
            changed = self._asked != self._interest
            if changed or self._hot or now - lists_at >= LISTS_EVERY_S:
                if changed:
                    self._slow_at.clear()
                self._asked, self._hot, lists_at = self._interest, False, now
                await self._ask_lists(send, self._interest)
            if changed or now - status_at >= STATUS_EVERY_S:
                status_at = now
                await self._ask_status(send)
            with anyio.move_on_after(max(0.05, status_at + STATUS_EVERY_S - time.monotonic())):
                await self._wake.wait()
            if self._hot and self._asked == self._interest:
                await anyio.sleep(SETTLE_S)

    async def _ask_status(self, send: Callable[[Event], None]) -> None:
        send(StatusArrived(self._clock(), clean(await self._client.status())))
        if self._interest.sync:
            report = await self._client.sync_status()
            # The steps of a long sync are many, and nothing here shows them one by one.
            send(SyncArrived(self._clock(), clean(msgspec.structs.replace(report, actions=[]))))
        if self._interest.library:
            send(await self._library())

    # --- lists ------------------------------------------------------------------------------------

    async def _ask_lists(self, send: Callable[[Event], None], interest: Interest) -> None:
        asks_for: dict[ListName, Callable[[], Awaitable[ListArrived]]] = {
            "batches": self._batches,
            "events": self._events,
            "jobs": self._jobs,
            "guards": self._guards,
            "scenes": partial(self._scenes, interest),
            "albums": self._albums,
            "photos": partial(self._photos, interest),
            "review": partial(self._review, interest),
            "names": self._names,
            "changes": self._changes,
            "exchanges": self._exchanges,
            "files": partial(self._files, interest),
        }
        subjects: dict[ListName, tuple[str, str]] = {
            "scenes": _subject(interest), "photos": interest.photos, "review": interest.review,
            "files": interest.files,
        }  # fmt: skip
        for name in sorted(interest.lists):
            if name in subjects:
                send(ListAsked(name, subjects[name]))
            now = time.monotonic()
            if name in SLOW and now - self._slow_at.get(name, -SLOW_EVERY_S) < SLOW_EVERY_S:
                continue
            self._slow_at[name] = now
            try:
                send(await asks_for[name]())
            except ApiError as error:
                send(ListFailed(name, printable(error.message)))

    async def _batches(self) -> ListArrived:
        items, more = await pages(lambda cursor: self._client.batches(PAGE, cursor), MOST_ROWS)
        rows = tuple(Keyed(batch.name, clean(batch)) for batch in items)
        return ListArrived("batches", self._clock(), rows, more=more)

    async def _events(self) -> ListArrived:
        items, more = await pages(lambda cursor: self._client.events(PAGE, cursor), MOST_ROWS)
        rows = tuple(Keyed(event.event_id, clean(event)) for event in items)
        return ListArrived("events", self._clock(), rows, more=more)

    async def _jobs(self) -> ListArrived:
        failed, _ = await pages(
            lambda cursor: self._client.jobs(state="failed", limit=PAGE, cursor=cursor), MOST_ROWS
        )
        others, more = await pages(lambda cursor: self._client.jobs(limit=PAGE, cursor=cursor), PAGE)
        jobs = {job.id: job for job in (*failed, *others)}
        rows = tuple(Keyed(job.id, clean(job)) for job in jobs.values())
        return ListArrived("jobs", self._clock(), rows, more=more)

    async def _guards(self) -> ListArrived:
        page = await self._client.guards()
        return ListArrived(
            "guards", self._clock(), tuple(Keyed(guard.id, clean(guard)) for guard in page.items)
        )

    async def _scenes(self, interest: Interest) -> ListArrived:
        """As many pages as are wanted. Of those at hand only the one that is looked at is fetched again."""
        subject = _subject(interest)
        held = self._held if self._held.subject == subject else _Held(subject)
        self._held = held
        looked_at = interest.place // SCENES_PAGE
        while (
            not held.pages or len(held.pages) * SCENES_PAGE < interest.wanted or looked_at < len(held.pages)
        ):
            number = min(looked_at, len(held.pages))
            cursor = held.pages[number - 1].next_cursor if number else None
            if number and cursor is None:
                break
            held.put(number, await self._scenes_page(interest, cursor))
            looked_at = len(held.pages)
        return ListArrived(
            "scenes", self._clock(), held.rows(), subject, held.pages[-1].next_cursor is not None
        )

    async def _scenes_page(self, interest: Interest, cursor: str | None) -> _ScenesPage:
        batch, words = interest.scenes
        live = True if interest.live_only else None
        page = await self._client.scenes(batch or None, live, words or None, SCENES_PAGE, cursor)
        return _ScenesPage(
            tuple(Keyed(scene.scene_id, clean(scene)) for scene in page.items), page.next_cursor
        )

    # --- asks -------------------------------------------------------------------------------------

    async def _do(self, ask: Ask) -> str:
        match ask:
            case asks.SetAutoSync() | asks.SetInterval() | asks.SyncEvent() | asks.ForgetPerson():
                return await self._do_event(ask)
            case SyncLibrary() | SyncAlbum() | ApproveShots() | SetStatus() | EditShot():
                return await self._do_library(ask)
            case ApplyNames() | UndoNames() | HintName():
                return await self._do_names(ask)
            case Analyze() | Export() | Import() | VerifyList() | CleanList():
                return await self._do_exchange(ask)
        return await self._do_own(ask)

    async def _do_own(self, ask: OwnAsk) -> str:
        client = self._client
        match ask:
            case asks.SetPublic(batch, public):
                changed = clean(await client.patch_batch(batch, schema.BatchPatch(is_public=public)))
                if public:
                    return f"{changed.name} is public: {human_count(changed.scenes)} scenes go up"
                return f"{changed.name} is private: its scenes leave the site"
            case asks.SetSource(batch, stage):
                changed = clean(await client.patch_batch(batch, schema.BatchPatch(source_directory=stage)))
                return f"{changed.name} now publishes {changed.source_directory or 'the best stage present'}"
            case asks.StartSync(batch):
                accepted = cast("schema.JobAccepted", await client.sync(_sync_request(batch)))
                return f"sync started: job {printable(accepted.job_id)}"
            case asks.RetryJobs(ids):
                for job_id in ids:
                    await client.retry_job(job_id)
                return "one job tries again" if len(ids) == 1 else f"{human_count(len(ids))} jobs try again"
            case asks.RetryFailed():
                reply = await client.retry_failed_jobs()
                return f"{human_count(reply.retried)} jobs try again"
            case asks.CancelJob(job_id):
                job = clean(await client.cancel_job(job_id))
                return f"{job.kind} {job.subject} is {job.state}"
            case asks.Approve(guard_id):
                approved = await client.approve(guard_id)
                return f"approved: {human_count(approved.count)} go, job {printable(approved.job_id)}"
            case asks.Pause(service):
                await client.pause(service)
                return f"{printable(service)} is paused" if service else "all services are paused"
            case asks.Resume(service):
                await client.resume(service)
                return f"{printable(service)} goes on" if service else "all services go on"
            case asks.Reload():
                reply_ = clean(await client.reload())
                wait = f"; after a restart: {', '.join(reply_.needs_restart)}" if reply_.needs_restart else ""
                return f"now applies: {', '.join(reply_.applied) or 'nothing new'}{wait}"


# --- helpers --------------------------------------------------------------------------------------


class _ScenesPage(NamedTuple):
    rows: tuple[Keyed[schema.Scene], ...]
    next_cursor: str | None


class _Held:
    """The pages of a list of scenes that are at hand, each beginning where the one before it ends."""

    def __init__(self, subject: tuple[str, str]) -> None:
        self.subject = subject
        self.pages: list[_ScenesPage] = []

    def put(self, number: int, page: _ScenesPage) -> None:
        """Puts a page in its place. Where it now ends elsewhere, those behind it are no good any more."""
        if number < len(self.pages) and self.pages[number].next_cursor == page.next_cursor:
            self.pages[number] = page
        else:
            self.pages[number:] = [page]

    def rows(self) -> tuple[Keyed[schema.Scene], ...]:
        return tuple(row for page in self.pages for row in page.rows)


def _subject(interest: Interest) -> tuple[str, str]:
    batch, words = interest.scenes
    return batch, f"{words}\nlive" if interest.live_only else words


def _sync_request(batch: str | None, dry_run: bool = False) -> schema.SyncRequest:
    return schema.SyncRequest(batch_filter=[batch] if batch else [], dry_run=dry_run)


def _first(errors: BaseExceptionGroup[SyncdError]) -> SyncdError:
    """Any one of them: they tell of the same loss."""
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group is never empty")
