"""Brings one photo into the events that want it: download, check, look for faces, record, publish."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import anyio

from syncd.catalogue import event_objects
from syncd.catalogue import event_photos as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.event_photos import Need, PhotoJob, PhotoRecord
from syncd.catalogue.faces import FaceRow
from syncd.config import Config
from syncd.errors import AuthRejected, Changed, Fatal, Refused, SyncdError, Transient
from syncd.flows.batching import Turns
from syncd.flows.events import Accounts
from syncd.flows.scene_work import Reader, put_version
from syncd.model import FacesFound, PhotoFacts
from syncd.remotes.drive_errors import QuotaExceeded
from syncd.remotes.drive_items import IMAGE_EXTENSIONS, DriveItem
from syncd.sinks.sink import Sink
from syncd.text import rfc3339

MAX_PHOTO_BYTES = 512 * 1024**2
"""What is larger is no photo that a worker could decode."""
_FIRST_BACK_OFF_S, _LONGEST_BACK_OFF_S = 1.0, 600.0
_OWN_EXTENSIONS = {"image/png": "png", "image/webp": "webp"}


class Pool(Reader, Protocol):
    """What photos need of the worker processes."""

    async def find_faces(
        self,
        path: str,
        root: str | None = None,
        *,
        max_side: int = 1600,
        upsample: int = 1,
        expect_sha256: str | None = None,
    ) -> FacesFound: ...


class Storage(Protocol):
    """The site's storage; flows/site.py has it."""

    @property
    def storage_id(self) -> str: ...
    @property
    def staging_dir(self) -> Path: ...
    @property
    def turns(self) -> Turns: ...
    async def sink(self, storage_id: str | None = None) -> Sink: ...


class _StorageTrouble(Transient):
    """Storage could not be written: the photo is in the event, and is put there later."""


class PhotoWork:
    """Does the jobs of photos. `park(account, error)` hears that an account must not be asked now;
    `faces_on()` tells whether faces are looked for; `on_work` is called when a job may have come up."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        catalogue: Catalogue,
        pool: Pool,
        storage: Storage,
        config: Callable[[], Config],
        faces_on: Callable[[], bool],
        park: Callable[[str, SyncdError], Awaitable[None]],
        rng: random.Random | None = None,
    ) -> None:
        self._accounts = accounts
        self._catalogue = catalogue
        self._pool = pool
        self._storage = storage
        self._config = config
        self._faces_on = faces_on
        self._park = park
        self._rng = rng or random.Random()
        self._turns = storage.turns
        self.arrived: Counter[str] = Counter()
        """Photos that came into each event since somebody last looked."""
        self.downloaded = 0
        self.downloaded_bytes = 0

    async def do(self, job: PhotoJob) -> None:
        """One attempt. Its outcome is in the job; only Fatal is raised."""
        await self._catalogue.write(lambda db: queries.start_job(db, job))
        try:
            await self._bring(job)
            await self._catalogue.write(lambda db: queries.end_job(db, job))
        except (AuthRejected, QuotaExceeded) as error:
            await self._park(job.account, error)
            await self._catalogue.write(lambda db: queries.put_back(db, job))
        except Fatal:
            raise
        except SyncdError as error:
            reason, at = str(error), self._next_attempt(job, error)
            await self._catalogue.write(lambda db: queries.fail_job(db, job, reason, at))
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._catalogue.write(lambda db: queries.put_back(db, job))
            raise

    def _next_attempt(self, job: PhotoJob, error: SyncdError) -> str | None:
        """When it is tried again: a refusal only when something changes, a person asks, or the folder is
        listed."""
        if isinstance(error, Refused) and not isinstance(error, Changed):
            return None
        back_off_s = min(_LONGEST_BACK_OFF_S, _FIRST_BACK_OFF_S * 2.0 ** min(job.attempts, 12))
        wait_s = back_off_s * self._rng.uniform(0.75, 1.25)
        wait_s = max(wait_s, getattr(error, "retry_after_s", None) or 0.0)
        at = datetime.now(UTC) + timedelta(seconds=wait_s)
        return rfc3339(at)

    # --- one attempt --------------------------------------------------------------------------------

    async def _bring(self, job: PhotoJob) -> None:
        async with self._catalogue.reader() as db:
            needs = await queries.needs(db, job.photo_id, job.account, self._storage.storage_id)
        faces_on = self._faces_on()
        todo = [
            need
            for need in needs
            if need.content == needs[0].content
            and (not need.has or (faces_on and not need.indexed) or (need.publish and need.key is None))
        ]
        if not todo:
            return
        suffix = _extension(needs[0].photo_name)
        staged = self._storage.staging_dir / f"{uuid4().hex}{suffix}"
        try:
            facts = await self._fetch(job, needs[0], staged)
            trouble = await self._record(job, todo, staged, facts, faces_on=faces_on)
            for need in todo:
                if need.publish and need.key is None:
                    await self._publish(need, job.photo_id, staged, facts)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: staged.unlink(missing_ok=True))
        if trouble is not None:
            raise trouble

    async def _fetch(self, job: PhotoJob, need: Need, staged: Path) -> PhotoFacts:
        """Downloads the photo and looks at it. Its name never becomes a path."""
        if need.size_bytes == 0:
            raise Refused("the file is empty")
        client = await self._accounts.drive(job.account)
        file = DriveItem(
            job.photo_id,
            need.photo_name,
            need.mime_type,
            size_bytes=need.size_bytes,
            md5=need.md5,
            sha256=need.sha256,
            resource_key=need.resource_key,
        )
        got = await client.download(file, staged, limit_bytes=MAX_PHOTO_BYTES)
        self.downloaded += 1
        self.downloaded_bytes += got.size_bytes
        facts = await self._pool.inspect(str(staged))
        if (facts.sha256, facts.md5) != (got.sha256, got.md5):
            raise Transient("what was downloaded changed on the disk")
        if facts.decode_error is not None:
            raise Refused(facts.decode_error)
        return facts

    async def _record(
        self, job: PhotoJob, todo: list[Need], staged: Path, facts: PhotoFacts, *, faces_on: bool
    ) -> SyncdError | None:
        """Puts the photo into the events. What went wrong with its faces alone is returned: the photo is in
        its events all the same."""
        found: FacesFound | None = None
        trouble: SyncdError | None = None
        if faces_on and any(not need.indexed for need in todo):
            settings = self._config().faces
            try:
                found = await self._pool.find_faces(
                    str(staged), max_side=settings.max_side, upsample=settings.upsample
                )
            except Refused as error:
                trouble = Refused(f"faces: {error.message}", hint=error.hint)
        photo = PhotoRecord(
            job.photo_id,
            todo[0].content,
            facts.md5,
            facts.sha256,
            facts.stat.size_bytes,
            facts.width,
            facts.height,
            facts.captured_at,
            None if found is None else tuple(FaceRow(face.box, face.encoding) for face in found.faces),
        )
        missing = [need for need in todo if not need.has or (found is not None and not need.indexed)]

        async def write(db: Any) -> list[str]:
            return [need.event_id for need in missing if await queries.record(db, need.event_id, photo)]

        done = await self._catalogue.write(write)
        self.arrived.update(need.event_id for need in missing if not need.has and need.event_id in done)
        return trouble

    # --- storage ------------------------------------------------------------------------------------

    async def _publish(self, need: Need, photo_id: str, staged: Path, facts: PhotoFacts) -> None:
        """Puts the photo under the event's key, by the site's rules."""
        content_type = facts.content_type or "application/octet-stream"
        extension = "jpg" if facts.needs_rendering else _OWN_EXTENSIONS.get(content_type, "jpg")
        prefix, storage_id = self._config().storage.prefix, self._storage.storage_id
        key = f"{prefix}events/{need.event_id}/{photo_id}.{extension}"
        async with self._turns.hold({key}):
            expected = await self._catalogue.write(
                lambda db: event_objects.expect_object(
                    db, storage_id, key, need.event_id, photo_id, need.content
                )
            )
            if not expected:
                return
            try:
                stored, sha256 = await put_version(
                    await self._storage.sink(storage_id),
                    self._pool,
                    self._storage.staging_dir,
                    key=key,
                    path=str(staged),
                    sha256=facts.sha256,
                    md5=facts.md5,
                    size_bytes=facts.stat.size_bytes,
                    content_type=content_type,
                    needs_rendering=facts.needs_rendering,
                )
            except (Transient, AuthRejected) as error:
                wait_s = getattr(error, "retry_after_s", None)
                raise _StorageTrouble(f"storage: {error}", retry_after_s=wait_s) from error
            await self._catalogue.write(
                lambda db: event_objects.confirm_object(
                    db, storage_id, key, sha256, stored.size_bytes, stored.etag
                )
            )

    async def withdraw(self) -> int:
        """Takes objects of photos that left out of storage; returns how many. Raises what sinks raise."""
        storage_id = self._storage.storage_id
        async with self._catalogue.reader() as db:
            keys = await event_objects.unwanted_objects(db, storage_id)
        for key in keys:
            async with self._turns.hold({key}):
                async with self._catalogue.reader() as db:
                    if not await event_objects.is_unwanted(db, storage_id, key):
                        continue
                await (await self._storage.sink(storage_id)).delete(key)
                gone = partial(event_objects.object_gone, storage_id=storage_id, key=key)
                await self._catalogue.write(gone)
        return len(keys)


def _extension(name: str) -> str:
    """With the dot, of a known kind only: decoders of RAW formats go by it."""
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    return f".{extension}" if extension in IMAGE_EXTENSIONS else ""
