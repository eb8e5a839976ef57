"""One sync of the SmugMug library into the catalogue. Read from top to bottom: list, read, settle.

Everything is recorded as it comes, a page at a time, so a sync that was cut off costs the page that was on
its way. What is absent is judged only at the end, all of it together: a photo that moved to another album was
not lost, and what a list that came short leaves out is for a person to see.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import anyio

from syncd.catalogue import guards, library, library_browse
from syncd.catalogue import jobs as job_queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.library import AlbumChange, Departure, KnownAlbum, Reading
from syncd.catalogue.library_photos import PageEffects
from syncd.config import Config
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.flows.library_plan import (
    LOCKED,
    fields_of,
    is_whole,
    plan_albums,
    plan_removals,
    plan_sweep,
)
from syncd.remotes.http import NotFound
from syncd.remotes.pacer import RateLimited
from syncd.remotes.smugmug_items import AlbumInfo, ImageInfo, Page, moment
from syncd.supervisor import find
from syncd.text import now_text, rfc3339

Emit = Callable[[str, str, str, dict[str, Any]], None]
"""Tells people: kind, subject, message, data."""

GUARD = "library"
"""The kind of the guard that holds back what is not in the library any more."""
ALBUMS_AT_ONCE = 4
"""Enough that the pace, not the way there and back, says how long a sync takes."""
_READS = 2
_DOWN_AFTER = 3
"""When so many albums in a row cannot be read, it is SmugMug that is down."""
UNSETTLED = "its photos kept changing while they were read"


class SmugMugClient(Protocol):
    """What a sync needs of a client; errors as in remotes/smugmug.py."""

    def albums(self) -> AsyncIterator[Page[AlbumInfo]]: ...
    async def album(self, album_key: str) -> AlbumInfo: ...
    def images(self, album_key: str, start_path: str | None = None) -> AsyncIterator[Page[ImageInfo]]: ...


class Wanted(NamedTuple):
    """What a sync is for. `whole`: all albums are listed and those that changed are read; with `full_since`
    all that were not read since then; with `sweep` some that seem unchanged. `album_keys` are read in any
    case, no part of them as it was before `asked_at`. `job_ids` are told how far it is; when all of them are
    cancelled and it is not `due`, it ends."""

    whole: bool = True
    full_since: str | None = None
    sweep: bool = False
    album_keys: tuple[str, ...] = ()
    asked_at: str | None = None
    job_ids: tuple[str, ...] = ()
    due: bool = False


class Cancelled(Exception):
    """Nobody wants the sync any more, or another album met what ends it."""


class LibrarySync:
    """One sync. Its fields tell how far it is."""

    def __init__(
        self, client: SmugMugClient, catalogue: Catalogue, config: Config, wanted: Wanted, emit: Emit
    ) -> None:
        self.wanted = wanted
        self.began_s = time.monotonic()
        self.began_at = now_text()
        self.reading: dict[str, str] = {}
        """Titles of the albums that are being read, by key."""
        self.failed: dict[str, str] = {}
        """Why albums could not be read, by key."""
        self.held: str | None = None
        """Why removals wait for a person."""
        self.pages = 0
        self.photos = 0
        self.to_read = 0
        self._client = client
        self._catalogue = catalogue
        self._config = config
        self._emit = emit
        self._missing: set[str] = set()
        self._trouble: SyncdError | None = None
        self._cancelled = False
        self._down = 0

    async def run(self) -> None:
        """Raises Transient and AuthRejected for what ends it, Cancelled, and Refused when SmugMug gives no
        list of albums; one album that cannot be read does not end it."""
        wanted = self.wanted
        complete = True
        if wanted.whole:
            listed, complete = await self._list()
        else:
            listed = await self._look_at(wanted.album_keys)
        async with self._catalogue.reader() as db:
            known = await library.known_albums(db)
            account = await library.account(db)
        plan = plan_albums(listed, known, full_since=wanted.full_since, complete=complete and wanted.whole)
        for key in plan.locked:
            await self._fail(key, LOCKED)
        swept_until = None
        keys = [*(key for key in wanted.album_keys if key in known), *(plan.read if wanted.whole else ())]
        if wanted.sweep:
            page_size, until = self._config.smugmug.page_size, moment(account.swept_until)
            more, until = plan_sweep(known, datetime.now(UTC), until, page_size)
            keys += more
            swept_until = rfc3339(until)
        await self._read_all([key for key in dict.fromkeys(keys) if key not in plan.locked], known)
        await self._settle({*plan.gone, *self._missing})
        if wanted.whole:
            await self._catalogue.write(lambda db: library.note_synced(db, swept_until))

    # --- albums -------------------------------------------------------------------------------------

    async def _list(self) -> tuple[list[AlbumInfo], bool]:
        """All albums, and whether the pages of the list fit together."""
        for _ in range(_READS):
            albums: dict[str, AlbumInfo] = {}
            totals = []
            async with aclosing(self._client.albums()) as pages:  # type: ignore[type-var]
                async for page in pages:
                    totals.append(page.total)
                    albums.update({album.album_key: album for album in page.items})
                    await self._record_albums(page.items)
            if is_whole(totals, len(albums)):
                return list(albums.values()), True
        return list(albums.values()), False

    async def _look_at(self, keys: Iterable[str]) -> list[AlbumInfo]:
        found = []
        for key in keys:
            try:
                found.append(await self._client.album(key))
            except NotFound:
                self._missing.add(key)
        await self._record_albums(found)
        return found

    async def _record_albums(self, albums: Collection[AlbumInfo]) -> None:
        changes = await self._catalogue.write(lambda db: library.put_albums(db, list(albums)))
        added = [change for change in changes if change.old_title is None]
        for change in changes:
            if change.old_title is not None:
                self._tell_renamed(change)
        if len(added) == 1:
            self._emit("album", added[0].album_key, f"{added[0].title} is a new album", {})
        elif added:
            self._emit("album", "library", f"{len(added):,} new albums", {"count": len(added)})

    def _tell_renamed(self, change: AlbumChange) -> None:
        message = f"{change.old_title} is called {change.title} now"
        data = {"old_name": change.old_title, "new_name": change.title}
        self._emit("renamed", change.album_key, message, data)

    # --- photos -------------------------------------------------------------------------------------

    async def _read_all(self, keys: list[str], known: dict[str, KnownAlbum]) -> None:
        self.to_read = sum(known[key].image_count for key in keys if key in known)
        todo = deque(keys)

        async def work() -> None:
            while todo and self._trouble is None and not self._cancelled:
                await self._read_one(todo.popleft())

        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(min(ALBUMS_AT_ONCE, len(keys))):
                    tasks.start_soon(work)
        except BaseExceptionGroup as errors:
            if (error := find(errors, SyncdError)) is None:
                raise
            raise error from None
        if self._trouble is not None:
            raise self._trouble
        if self._cancelled:
            raise Cancelled

    async def _read_one(self, key: str) -> None:
        """Reads an album, twice where the pages do not fit together."""
        try:
            if not await self._read(key, last=False):
                await self._read(key, last=True)
        except Cancelled:
            return
        except NotFound as error:
            await self._not_found(key, error)
        except AuthRejected as error:
            self._trouble = error
        except Transient as error:
            self._down += 1
            if isinstance(error, RateLimited) or error.retry_after_s or self._down >= _DOWN_AFTER:
                self._trouble = error
            else:
                await self._fail(key, str(error), lost=False)
        except Refused as error:
            await self._fail(key, str(error))
        finally:
            self.reading.pop(key, None)

    async def _read(self, key: str, *, last: bool) -> bool:
        """Whether nothing more is to be done for the album."""
        since = self.wanted.asked_at
        reading = await self._catalogue.write(lambda db: library.begin_read(db, key, since=since, anew=last))
        if reading is None:
            return True
        self.reading[key] = reading.title
        totals = [] if reading.total is None else [reading.total]
        effects = PageEffects()
        if reading.next_path is not None or reading.total is None:
            async with aclosing(self._client.images(key, reading.next_path)) as pages:  # type: ignore[type-var]
                async for page in pages:
                    effects = effects.plus(await self._record(reading, page))
                    totals.append(page.total)
                    if len(set(totals)) > 1:
                        break
                    if self._cancelled or self._trouble is not None:
                        raise Cancelled
        self._tell_photos(reading, effects)
        return await self._conclude(reading, totals, last=last)

    async def _record(self, reading: Reading, page: Page[ImageInfo]) -> PageEffects:
        photos = [fields_of(image) for image in page.items]
        self.pages += 1
        self.photos += len(photos)
        self._down = 0
        progress = (self.photos, max(self.photos, self.to_read))

        async def write(db: Any) -> tuple[PageEffects, bool]:
            effects = await library.put_page(
                db, reading, photos, start=page.start, total=page.total, next_path=page.next_path
            )
            return effects, await job_queries.report(db, self.wanted.job_ids, *progress)

        effects, is_wanted = await self._catalogue.write(write)
        if self.wanted.job_ids and not is_wanted and not self.wanted.due:
            self._cancelled = True
        return effects

    async def _conclude(self, reading: Reading, totals: list[int], *, last: bool) -> bool:
        async with self._catalogue.reader() as db:
            saw_all = is_whole(totals, await library.seen(db, reading))
        is_stable = len(set(totals)) == 1
        if saw_all or (last and is_stable):
            # A count that is wrong twice will stay so: then nothing is concluded from what is absent.
            await self._catalogue.write(lambda db: library.end_read(db, reading, saw_all=saw_all, error=None))
            return True
        await self._catalogue.write(lambda db: library.drop_read(db, reading.album_key))
        if last:
            await self._fail(reading.album_key, UNSETTLED)
        return last

    async def _not_found(self, key: str, error: NotFound) -> None:
        """The photos of an album are not found: the album is gone, or not for us to read."""
        try:
            await self._client.album(key)
        except NotFound:
            self._missing.add(key)
            return
        except (Transient, AuthRejected) as trouble:
            self._trouble = trouble
            return
        except Refused as refusal:
            await self._fail(key, str(refusal))
            return
        await self._fail(key, str(error))

    async def _fail(self, key: str, reason: str, *, lost: bool = True) -> None:
        """The album cannot be read. Its place is `lost`, unless it is only a matter of time."""
        self.failed[key] = reason

        async def write(db: Any) -> None:
            await library.note_album_error(db, key, reason)
            if lost:
                await library.drop_read(db, key)

        await self._catalogue.write(write)

    # --- what left ----------------------------------------------------------------------------------

    async def _settle(self, gone: set[str]) -> None:
        """Takes out what is not there any more, after it was asked for by name; many wait for a person."""
        unsure = sorted(gone - self._missing)
        if unsure and await self._judge(gone, carry_out=False):
            return  # so many that nobody is asked about each
        for key in unsure:
            try:
                album = await self._client.album(key)
            except NotFound:
                continue
            gone.discard(key)
            await self._record_albums([album])
        await self._judge(gone, carry_out=True)

    async def _judge(self, gone: set[str], *, carry_out: bool) -> bool:
        """Whether the removals are held back; else they are done, where they are to be carried out."""
        settings = self._config.guard

        async def write(db: Any) -> tuple[list[Departure], dict[str, str], str | None, bool]:
            leaving = await library.departures(db, gone)
            known = await library.known_albums(db)
            titles = {key: known[key].title for key in gone if key in known}
            photos = (await library_browse.counts(db)).photos
            plan = plan_removals(
                leaving,
                titles,
                photos,
                max_delete=settings.max_delete,
                max_delete_percent=settings.max_delete_percent,
                approved=await guards.approved_actions(db, GUARD),
            )
            if plan.held:
                before = {guard.reason for guard in await guards.listed(db) if guard.kind == GUARD}
                await guards.raise_guard(db, GUARD, plan.reason or "", plan.held, photos)
                return leaving, titles, plan.reason, plan.reason not in before
            if carry_out:
                await guards.gone(db, kind=GUARD)
                if leaving or titles:
                    await library.take_out(db, titles)
            return leaving, titles, None, False

        leaving, titles, self.held, is_news = await self._catalogue.write(write)
        if self.held is not None:
            if is_news:
                self._emit("guard", "library", self.held, {})
            return True
        if carry_out:
            await self._tell_left(leaving, titles)
        return False

    # --- telling ------------------------------------------------------------------------------------

    def _tell_photos(self, reading: Reading, effects: PageEffects) -> None:
        """One line an album, whatever happened to its photos."""
        changed = effects.changed - effects.replaced
        counts = ((effects.added, "added"), (effects.replaced, "replaced"), (changed, "changed"))
        words = [f"{_photos(count)} {what}" for count, what in counts if count > 0]
        if effects.kept:
            words.append(f"approved descriptions kept for {effects.kept:,} of the replaced")
        if words:
            data = effects._asdict()
            self._emit("photos", reading.album_key, f"{reading.title}: {', '.join(words)}", data)

    async def _tell_left(self, leaving: list[Departure], titles: dict[str, str]) -> None:
        counts = Counter(one.album_key for one in leaving)
        moved = Counter(one.album_key for one in leaving if one.stays)
        async with self._catalogue.reader() as db:
            known = await library.known_albums(db)
        for key, title in titles.items():
            data = {"photos": counts.pop(key, 0)}
            self._emit("removed", key, f"{title} is not in the library any more", data)
        for key, count in counts.items():
            words = f"{known[key].title if key in known else key}: {_photos(count)} removed"
            if moved[key]:
                words += f", {moved[key]:,} of them in another album"
            self._emit("removed", key, words, {"count": count, "moved": moved[key]})


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count:,} photos"
