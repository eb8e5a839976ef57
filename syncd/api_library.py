"""The daemon's answers about the library, and what the status says of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import aiosqlite
import msgspec

from syncd.catalogue import jobs as job_queries
from syncd.catalogue import library, library_browse
from syncd.catalogue.database import Catalogue
from syncd.catalogue.jobs import JobRow
from syncd.config import Config
from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import AuthRejected, Refused
from syncd.flows.library import GUARD
from syncd.flows.library_pictures import LibraryPictures
from syncd.flows.library_scenes import SAME, nearest_scenes
from syncd.flows.library_service import SMUGMUG, Access, LibraryService
from syncd.remotes import http

_HINT = "`syncctl smugmug albums` shows them"
_SIGN_IN = "syncctl auth smugmug"
_PARKED_S = 90.0
"""Who has to wait longer than a back-off takes is at rest."""


class LibraryNow(NamedTuple):
    """The library in the status. `is_idle`: there is nothing to do now; what waits does not count."""

    albums: int
    photos: int
    queue: schema.QueueStatus
    source: schema.SourceStatus | None
    is_idle: bool


class LibraryAnswers:
    """Implements `LibraryApi` of control/api.py."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        access: Access,
        service: LibraryService,
        pictures: LibraryPictures,
        config: Callable[[], Config],
    ) -> None:
        self._catalogue = catalogue
        self._access = access
        self._service = service
        self._pictures = pictures
        self._config = config

    # --- syncs --------------------------------------------------------------------------------------

    async def sync(self, full: bool) -> schema.JobAccepted:
        await self._signed_in()
        subject = "the library, every album" if full else "the library"
        job = await self._service.submit(subject, {"full": full})
        return schema.JobAccepted(job_id=job.id)

    async def sync_album(self, album_key: str) -> schema.JobAccepted:
        client = await self._signed_in()
        async with self._catalogue.reader() as db:
            known = await library_browse.album(db, album_key)
        if known is None or known.album_key != album_key:
            try:
                found = await client.album(album_key)
            except http.NotFound:
                raise NotFound(f"there is no album {album_key!r}", hint=_HINT) from None
            await self._catalogue.write(lambda db: library.put_albums(db, [found]))
            title = found.name
        else:
            title = known.title
        job = await self._service.submit(title or album_key, {"album_key": album_key})
        return schema.JobAccepted(job_id=job.id)

    async def approved(self, guard_kind: str) -> schema.JobAccepted | None:
        """Carries out what a person has approved; None where the guard is not about the library."""
        if guard_kind != GUARD:
            return None
        job = await self._service.submit("the library", {"full": False})
        return schema.JobAccepted(job_id=job.id)

    def try_again(self) -> None:
        """Somebody may have put right what SmugMug turned down."""
        self._service.try_again()

    def retried(self, kind: str) -> None:
        """Somebody wants jobs of this kind done again."""
        if kind == SMUGMUG:
            self._service.wake()

    async def _signed_in(self) -> Any:
        client = await self._access.client()
        health = self._service.health
        if health.state == "needs_auth":
            raise AuthRejected(
                health.reason or "SmugMug turned the sign-in down", hint=health.hint or _SIGN_IN
            )
        return client

    async def sync_status(self) -> schema.LibraryStatus:
        service, settings = self._service, self._config().smugmug
        sync, health = service.current, service.health
        wanted = sync.wanted if sync is not None else None
        async with self._catalogue.reader() as db:
            full_since = wanted.full_since if wanted is not None else None
            totals = await library_browse.totals(db, settings.page_size, full_since)
            errors = [f"{title} ({key}): {why}" for key, title, why in await library_browse.errors(db)]
            account = await library.account(db)
            hashes = await library_browse.hash_totals(db)
            newest = await job_queries.page(db, kind=SMUGMUG, limit=1)
        job = next(iter(newest[0]), None)
        if health.state != "running" and health.reason and service.is_set_up:
            errors.insert(0, health.reason + (f" ({health.hint})" if health.hint else ""))
        if sync is not None and sync.held:
            errors.append(sync.held)
        rate, eta_s = None, None
        if sync is not None:
            took_s = max(0.001, time.monotonic() - sync.began_s)
            rate = round(sync.photos / took_s, 1)
            pages_a_second = sync.pages / took_s if sync.pages > 20 else settings.requests_per_second
            eta_s = round(totals.pages_left / pages_a_second, 1)
        waits = sync is None and health.resume_in_s is not None
        return schema.LibraryStatus(
            in_progress=sync is not None,
            last_sync=account.last_sync,
            albums_total=totals.albums,
            albums_synced=totals.albums_synced,
            photos_total=totals.photos,
            photos_synced=totals.photos_synced,
            errors=errors,
            account=await self._account(),
            state=_state(sync is not None, waits, job, account.last_sync, errors),
            full=bool(wanted and wanted.full_since),
            job_id=_job_id(wanted.job_ids if wanted else (), job),
            rate=rate,
            eta_s=eta_s,
            resume_at=health.resume_at if waits else None,
            next_sync_at=service.next_sync_at,
            reading=sorted(sync.reading.values()) if sync is not None else [],
            hashed=hashes.hashed,
            to_hash=hashes.to_hash,
            hash_errors=hashes.failed,
        )

    async def _account(self) -> str | None:
        try:
            return await self._access.account()
        except (AuthRejected, Refused):
            return None  # a token that cannot be read shows in `auth status`

    # --- what there is ------------------------------------------------------------------------------

    async def albums(self, limit: int, cursor: str | None) -> schema.AlbumPage:
        async with self._catalogue.reader() as db:
            rows, following = await library_browse.albums(db, limit, cursor)
        items = [msgspec.convert(row, schema.Album, from_attributes=True) for row in rows]
        return schema.AlbumPage(items=items, next_cursor=following)

    async def photos(self, album: str, limit: int, cursor: str | None) -> schema.LibraryPhotoPage:
        if cursor is not None and not re.fullmatch(r"[0-9]{1,18}", cursor):
            raise Invalid(f"{cursor!r} is no cursor of this list", hint="pass next_cursor of the page before")
        async with self._catalogue.reader() as db:
            row = await library_browse.album(db, album)
            if row is None:
                raise NotFound(f"there is no album {album!r}", hint=_HINT)
            after = None if cursor is None else int(cursor)
            rows, following = await library_browse.photos(db, row.id, limit, after)
            scenes = await library_browse.scene_hashes(db)
        same = await nearest_scenes([photo.perceptual_hash for photo in rows], scenes)
        items = [
            msgspec.structs.replace(
                msgspec.convert(photo, schema.LibraryPhoto, from_attributes=True), scene_id=scene_id
            )
            for photo, scene_id in zip(rows, same, strict=True)
        ]
        return schema.LibraryPhotoPage(items=items, next_cursor=following)

    async def albums_of_scene(self, scene_id: str) -> list[schema.SceneAlbum]:
        """Albums that hold the same picture as the scene, nearest first."""
        async with self._catalogue.reader() as db:
            rows = await library_browse.albums_of_scene(db, scene_id, SAME)
        return [schema.SceneAlbum(**row._asdict()) for row in rows]

    async def preview(
        self, photo: str, width: int, height: int, image_format: Literal["jpeg", "rgb"]
    ) -> bytes:
        async with self._catalogue.reader() as db:
            picture = await library_browse.picture(db, photo)
        if picture is None:
            raise NotFound(f"there is no photo {photo!r} in the library")
        return await self._pictures.preview(picture, width, height, image_format)

    # --- the status ---------------------------------------------------------------------------------

    async def now(self, db: aiosqlite.Connection) -> LibraryNow:
        """How the library is, as the catalogue and the service `smugmug` know it."""
        service = self._service
        counts = await library_browse.counts(db)
        account = await library.account(db)
        sync = service.current
        running = len(sync.reading) if sync is not None else 0
        waiting = max(0, counts.albums - counts.current - running - counts.failed)
        health = service.health
        source = None
        if service.is_set_up or account.last_sync is not None:
            state = health.state if service.is_running else "stopped"
            source = schema.SourceStatus(name=SMUGMUG, state=state, last_success_at=account.last_sync)
        is_idle = True
        if service.is_running and service.is_set_up:
            hashing = bool(await library_browse.unhashed(db, 1)) and not service.hashes.waits
            may_ask = health.state != "needs_auth" and (health.resume_in_s or 0.0) <= _PARKED_S
            retries = health.resume_in_s is not None
            is_idle = sync is None and not (may_ask and (retries or service.is_due or hashing))
        queue = schema.QueueStatus(waiting=waiting, running=running, failed=counts.failed)
        return LibraryNow(counts.albums, counts.photos, queue, source, is_idle)


def _state(runs: bool, waits: bool, job: JobRow | None, last_sync: str | None, errors: list[str]) -> Any:
    """Of the sync that runs or waits; else of the last one, whoever wanted it."""
    if runs or waits:
        return "running" if runs else "waiting"
    if job is not None and job.state in ("queued", "running"):
        return job.state
    if job is not None and job.state in ("failed", "cancelled") and job.updated_at > (last_sync or ""):
        return job.state
    return "partial" if errors else "done"


def _job_id(served: tuple[str, ...], newest: JobRow | None) -> str | None:
    return served[-1] if served else newest.id if newest is not None else None
