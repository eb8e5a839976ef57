"""What people ask about events: implements `EventsApi` of control/api.py."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import anyio
import anyio.to_thread

from syncd.catalogue import events as queries
from syncd.catalogue import faces as face_queries
from syncd.catalogue import guards
from syncd.catalogue.database import Catalogue
from syncd.catalogue.events import Counts, EventRow, FailedPhoto, Origin
from syncd.catalogue.jobs import JobRow
from syncd.config import Config
from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import Refused
from syncd.flows.event_faces import EventFaces
from syncd.flows.event_photos import MAX_PHOTO_BYTES
from syncd.flows.events import Accounts, find_account
from syncd.flows.events_service import DriveService
from syncd.flows.jobs import JobRunner, Outcome, Progress
from syncd.flows.previews import Previews
from syncd.flows.site import Site
from syncd.imaging.faces import MISSING
from syncd.remotes import http
from syncd.remotes.drive_items import DriveItem
from syncd.sinks import public_url

EVENT_SYNC = "event_sync"
"""The kind of job that lists an event's whole folder, and waits until its photos are in."""

Emit = Callable[[str, str, str, str, dict[str, Any] | None], object]

_FOLDER_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_IN_ADDRESS = re.compile(r"(?:/folders/|[?&]id=)([A-Za-z0-9_-]{1,200})")
_LOOK_S = 0.2
_ASK_S = 5.0
_NONE = Counts(0, 0, 0, 0)


class Events:
    """Events for people. Everything here takes effect at once: there is nothing to restart."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        site: Site,
        accounts: Accounts,
        service: DriveService,
        jobs: JobRunner,
        previews: Previews,
        config: Callable[[], Config],
        emit: Emit,
    ) -> None:
        self._catalogue = catalogue
        self._site = site
        self._accounts = accounts
        self._service = service
        self._jobs = jobs
        self._previews = previews
        self._config = config
        self._emit = emit
        self._faces = EventFaces(catalogue)

    # --- events -------------------------------------------------------------------------------------

    async def create(self, request: schema.EventRequest) -> schema.Event:
        folder_id = _folder_id(request.drive_folder_id)
        account, folder, trouble = None, None, None
        with anyio.move_on_after(_ASK_S):  # where the network is bad, it is asked for later
            account, folder, trouble = await find_account(self._accounts, folder_id)
        if isinstance(trouble, http.NotFound):
            names = ", ".join(await self._accounts.names())
            raise Invalid(f"there is no such folder for {names}", hint=f"share the folder with {names}")
        if folder is not None and not folder.is_folder:
            raise Invalid(f"{folder.name!r} is no folder", hint="give the id of a folder in Google Drive")
        row = await self._catalogue.write(
            lambda db: queries.create(
                db,
                _slug(request.name),
                request.name,
                folder_id if folder is None else folder.id,
                publish=request.publish,
                account=account,
                drive_id=folder.drive_id or "" if folder is not None else "",
            )
        )
        self._tell("event", row.event_id, f"{row.name} was added")
        return await self.get(row.event_id)

    async def listed(self, limit: int, cursor: str | None) -> schema.EventPage:
        async with self._catalogue.reader() as db:
            rows = await queries.listed(db, after=cursor or "", limit=limit + 1)
            counts = await queries.counts(db)
            failed = await queries.failed(db)
            held = await self._held(db)
        items = [
            self._event(
                row, counts.get(row.event_id, _NONE), failed.get(row.event_id, []), row.event_id in held
            )
            for row in rows[:limit]
        ]
        return schema.EventPage(
            items=items, next_cursor=rows[limit - 1].event_id if len(rows) > limit else None
        )

    async def get(self, event_id: str) -> schema.Event:
        row = await self._row(event_id)
        async with self._catalogue.reader() as db:
            counts = (await queries.counts(db, event_id)).get(event_id, _NONE)
            failed = (await queries.failed(db, event_id)).get(event_id, [])
            held = await self._held(db)
        return self._event(row, counts, failed, event_id in held)

    async def remove(self, event_id: str) -> None:
        row = await self._row(event_id)
        await self._catalogue.write(lambda db: queries.delete(db, event_id))
        self._faces.drop(event_id)
        self._service.look(poll=False)
        self._tell("event", event_id, f"{row.name} was removed")

    async def enable(self, event_id: str, interval_minutes: float | None) -> schema.AutoSyncEnabled:
        row = await self._row(event_id)
        await self._catalogue.write(lambda db: queries.enable(db, event_id, interval_minutes))
        self._service.look(row.account, poll=not row.enabled)
        minutes = _plain(interval_minutes or self._service.interval_minutes(row))
        if not row.enabled:
            self._tell("event", event_id, f"{row.name} is followed, every {minutes} min")
        return schema.AutoSyncEnabled(interval_minutes=minutes)

    async def disable(self, event_id: str) -> schema.AutoSyncDisabled:
        row = await self._row(event_id)
        await self._catalogue.write(lambda db: queries.disable(db, event_id))
        self._service.look(poll=False)
        if row.enabled:
            self._tell("event", event_id, f"{row.name} is not followed any more")
        return schema.AutoSyncDisabled()

    async def auto_sync(self, event_id: str) -> schema.AutoSyncStatus:
        event = await self.get(event_id)
        return schema.AutoSyncStatus(
            **{name: getattr(event, name) for name in schema.AutoSyncStatus.__struct_fields__}
        )

    async def sync(self, event_id: str) -> schema.JobAccepted:
        await self._row(event_id)
        job = await self._jobs.submit(EVENT_SYNC, event_id, {"event_id": event_id})
        return schema.JobAccepted(job_id=job.id)

    async def photos(self, event_id: str, limit: int, cursor: str | None) -> schema.EventPhotoPage:
        await self._row(event_id)
        async with self._catalogue.reader() as db:
            rows, following = await queries.photos(
                db, event_id, self._site.storage_id, limit=limit, cursor=cursor
            )
        items = [
            schema.EventPhoto(
                photo_id=row.photo_id,
                photo_name=row.photo_name,
                synced_at=row.synced_at,
                width=row.width,
                height=row.height,
                captured_at=row.captured_at,
                boxes=list(row.boxes),
                url=self._url(row.key),
            )
            for row in rows
        ]
        return schema.EventPhotoPage(items=items, next_cursor=following)

    # --- faces --------------------------------------------------------------------------------------

    async def search_faces(
        self, event_id: str, picture: bytes, tolerance: float | None, limit: int
    ) -> schema.FacesPage:
        await self._row(event_id)
        encodings = await self._encodings_in(picture)
        found = await self._faces.search(
            event_id,
            encodings,
            tolerance=self._tolerance(tolerance),
            limit=limit,
            storage_id=self._site.storage_id,
        )
        items = [
            schema.FoundFace(
                photo_id=row.photo_id,
                photo_name=row.photo_name,
                distance=row.distance,
                box=row.box,
                url=self._url(row.key),
                width=row.width,
                height=row.height,
            )
            for row in found
        ]
        return schema.FacesPage(faces_in_query=len(encodings), items=items)

    async def forget_faces(
        self, event_id: str, picture: bytes, like: str | None, tolerance: float | None
    ) -> schema.FacesForgotten:
        row = await self._row(event_id)
        encodings = await self._encodings_of(event_id, like) if like else await self._encodings_in(picture)
        if len(encodings) > 1:
            raise Invalid(
                f"{len(encodings)} faces are in the picture: who is to be forgotten?",
                hint="send a picture that shows only this person",
            )
        count = await self._faces.forget(event_id, encodings, self._tolerance(tolerance))
        self._tell("forgotten", event_id, f"a person was forgotten in {row.name}: {count:,} faces")
        return schema.FacesForgotten(forgotten=count)

    async def _encodings_in(self, picture: bytes) -> list[bytes]:
        settings = self._config().faces
        try:
            found = await self._site.pool.find_faces_in(
                picture, max_side=settings.max_side, upsample=settings.upsample
            )
        except Refused as error:
            if error.message == MISSING:
                raise
            hint = "send the bytes of a photo that can be decoded"
            raise Invalid(error.message, hint=hint) from error
        if not found.faces:
            raise Invalid(
                "there is no face in the picture",
                hint="send a picture that shows the face from the front, well lit and not too small",
            )
        return [face.encoding for face in found.faces]

    async def _encodings_of(self, event_id: str, photo_id: str) -> list[bytes]:
        async with self._catalogue.reader() as db:
            faces = await face_queries.of_photo(db, event_id, photo_id)
        if not faces:
            raise NotFound(f"there is no photo {photo_id!r} with a face in {event_id}")
        return [face.encoding for face in faces]

    def _tolerance(self, asked: float | None) -> float:
        return self._config().faces.tolerance if asked is None else asked

    # --- previews -----------------------------------------------------------------------------------

    async def preview(
        self, photo_id: str, width: int, height: int, image_format: Literal["jpeg", "rgb"]
    ) -> bytes:
        async with self._catalogue.reader() as db:
            origin = await queries.origin(db, photo_id, self._site.storage_id)
        if origin is None:
            raise NotFound(f"there is no photo {photo_id!r} in any event")

        async def make() -> bytes:
            async with self._file(origin) as path:
                return await self._site.pool.preview(str(path), width, height, image_format)

        return await self._previews.of_content(f"{origin.sha256}-{width}x{height}.{image_format}", make)

    @asynccontextmanager
    async def _file(self, origin: Origin) -> AsyncIterator[Path]:
        """The photo in a file for as long as it is needed: from storage, else from Drive."""
        path = self._site.staging_dir / uuid4().hex
        try:
            if origin.key is not None:
                await (await self._site.sink()).get(origin.key, path)
            else:
                file = DriveItem(
                    origin.photo_id,
                    origin.photo_name,
                    "",
                    size_bytes=origin.size_bytes,
                    md5=origin.md5,
                    resource_key=origin.resource_key,
                )
                client = await self._accounts.drive(origin.account)
                await client.download(file, path, limit_bytes=MAX_PHOTO_BYTES)
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(partial(path.unlink, missing_ok=True))

    # --- jobs and guards ----------------------------------------------------------------------------

    @property
    def handlers(self) -> Mapping[str, Callable[[JobRow, Progress], Awaitable[Outcome]]]:
        """For the runner of jobs."""
        return {EVENT_SYNC: self._do_sync}

    async def _do_sync(self, job: JobRow, progress: Progress) -> Outcome:
        """Lists the whole folder and waits until its photos are in, those apart that are tried again later.
        The service `drive` does the work, so a paused one is waited for."""
        event_id = str(job.payload["event_id"])
        await self._catalogue.write(lambda db: queries.ask_listing(db, event_id))
        await self._service.index(event_id)
        row = await self._row(event_id)
        self._service.look(row.account)
        while True:
            async with self._catalogue.reader() as db:
                event = await queries.get(db, event_id)
                counts = (await queries.counts(db, event_id)).get(event_id, _NONE)
                is_held = event_id in await self._held(db)
            if event is None:
                return Outcome("cancelled", error=f"{event_id} was removed")
            progress(counts.photos, counts.photos + counts.busy + counts.waiting)
            trouble = self._service.health_of(event)
            if self._service.is_running and trouble.state in ("needs_auth", "quota"):
                return Outcome("failed", error=trouble.reason)
            if not event.listing_due and not self._service.is_listing(event_id) and not counts.busy:
                break
            await anyio.sleep(_LOOK_S)
        shape = await self.get(event_id)
        failed = [
            {"photo_id": f.photo_id, "photo_name": f.photo_name, "reason": f.reason} for f in shape.failed
        ]
        result = {"event_id": event_id, "photos": shape.photos, "faces": shape.faces, "failed": failed}
        state = "partial" if failed else "done"
        if event.last_error is not None:
            state = "refused" if is_held and not event.blocked else "failed"
        return Outcome(state, result, shape.last_error)

    async def approved(self, guard_kind: str) -> schema.JobAccepted | None:
        """Carries out what a person has approved; None where the guard is not about an event."""
        if not guard_kind.startswith(queries.GUARD_PREFIX):
            return None
        return await self.sync(guard_kind.removeprefix(queries.GUARD_PREFIX))

    # --- shapes -------------------------------------------------------------------------------------

    async def _row(self, event_id: str) -> EventRow:
        async with self._catalogue.reader() as db:
            row = await queries.get(db, event_id)
        if row is None:
            raise NotFound(f"there is no event {event_id!r}", hint="`syncctl events list` shows them")
        return row

    async def _held(self, db: Any) -> set[str]:
        return {
            guard.kind.removeprefix(queries.GUARD_PREFIX)
            for guard in await guards.listed(db)
            if guard.kind.startswith(queries.GUARD_PREFIX)
        }

    def _event(self, row: EventRow, counts: Counts, failed: list[FailedPhoto], held: bool) -> schema.Event:
        health = self._service.health_of(row)
        asked = row.enabled or row.listing_due
        reason = health.reason if asked and health.state != "running" else None
        return schema.Event(
            event_id=row.event_id,
            name=row.name,
            drive_folder_id=row.drive_folder_id,
            account=row.account,
            publish=row.publish,
            enabled=row.enabled,
            running=row.enabled and self._service.is_running,
            state=self._state(row, counts, held),
            interval_minutes=_plain(self._service.interval_minutes(row)),
            last_sync_at=row.last_sync_at,
            next_sync_at=self._service.next_sync_at(row.account) if row.enabled else None,
            complete_as_of=row.complete_as_of,
            photos=counts.photos,
            faces=counts.faces,
            failed=[
                schema.PhotoReason(photo_id=one.photo_id, photo_name=one.photo_name, reason=one.reason)
                for one in failed
            ],
            last_error=row.last_error or reason,
            in_folder=counts.in_folder,
            indexed=counts.indexed,
        )

    def _state(self, row: EventRow, counts: Counts, held: bool) -> schema.EventState:
        if not row.enabled and not row.listing_due:
            return "disabled"
        health = self._service.health_of(row)
        if health.state != "running":
            return health.state
        if row.blocked or held:
            return "blocked"
        if not self._service.is_running:
            return "waiting"
        if row.listing_due or counts.busy:
            return "syncing"
        return "waiting" if counts.waiting else "idle"

    def _url(self, key: str | None) -> str | None:
        return None if key is None else public_url(self._config().storage, key)

    def _tell(self, kind: str, event_id: str, message: str) -> None:
        self._emit(kind, "drive", event_id, message, None)


def _plain(minutes: float) -> int | float:
    return int(minutes) if float(minutes).is_integer() else minutes


def _slug(name: str) -> str:
    """A short readable id: plain letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "event"


def _folder_id(text: str) -> str:
    """The id of a folder, also from its address as a browser shows it."""
    text = text.strip()
    if (match := _IN_ADDRESS.search(text)) is not None:
        return match[1]
    if not _FOLDER_ID.fullmatch(text):
        raise Invalid(
            f"{text!r} is no id of a folder in Google Drive",
            hint="it is the last part of the folder's address in the browser",
        )
    return text
