"""Perceptual hashes of the library's thumbnails, which tie it to the local archive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from syncd.catalogue import library_browse
from syncd.catalogue.database import Catalogue
from syncd.catalogue.library_browse import Unhashed
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import get_logger

AT_ONCE = 4
"""Thumbnails on their way: their host is not the API's, and it is modest all the same."""
_BATCH = 64
_DOWN_AFTER = 3
"""When so many in a row are not to be had, it is their host that is down."""
_LOOK_S = 5.0
_LONGEST_WAIT_S = 600.0

_log = get_logger("library")


class PictureSource(Protocol):
    """Whoever gives the bytes of a picture: Refused for one that cannot be had, Transient for later."""

    async def picture(self, url: str) -> bytes: ...


class Pool(Protocol):
    """The worker processes; imaging/pool.py has them."""

    async def perceptual_hash(self, data: bytes) -> str: ...


class ThumbnailHashes:
    """Hashes what has no hash, while no sync runs. What was hashed is recorded at once, so nothing is lost
    when the daemon ends; a thumbnail that cannot be hashed keeps its reason until the photo changes."""

    def __init__(
        self,
        client: Callable[[], Awaitable[PictureSource]],
        catalogue: Catalogue,
        pool: Pool,
        *,
        is_busy: Callable[[], bool],
    ) -> None:
        self._client = client
        self._catalogue = catalogue
        self._pool = pool
        self._is_busy = is_busy
        self._wake = anyio.Event()
        self._failures = 0
        self._waits = False
        self._later: set[int] = set()
        """Photos that failed by accident, and are tried after the others."""

    @property
    def waits(self) -> bool:
        """Whether the photos' host is left alone for a while."""
        return self._waits

    def wake(self) -> None:
        """Photos may have come."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake = anyio.Event()
            wait_s = _LOOK_S
            if not self._is_busy():
                try:
                    if await self.some():
                        continue
                except (Transient, AuthRejected) as error:
                    wait_s = self._wait_s(error)
            self._waits = wait_s > _LOOK_S
            with anyio.move_on_after(wait_s):
                await self._wake.wait()
            self._waits = False

    async def some(self) -> int:
        """Hashes some thumbnails; how many were looked at, 0 when there are no more. Raises Transient and
        AuthRejected when the photos' host gives nothing now."""
        async with self._catalogue.reader() as db:
            batch = await library_browse.unhashed(db, _BATCH, self._later)
        if not batch:
            if self._later:
                self._later.clear()
                raise Transient("some thumbnails could not be had")
            return 0
        client = await self._client()
        todo = list(reversed(batch))
        trouble: list[SyncdError] = []
        in_a_row: list[SyncdError] = []

        async def work() -> None:
            while todo and not trouble and not self._is_busy():
                photo = todo.pop()
                try:
                    await self._one(client, photo)
                    in_a_row.clear()
                except (Transient, AuthRejected) as error:
                    self._later.add(photo.photo_id)
                    in_a_row.append(error)
                    if isinstance(error, AuthRejected) or len(in_a_row) >= _DOWN_AFTER:
                        trouble.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(work)
        if trouble:
            self._later.clear()
            raise trouble[0]
        self._failures = 0
        return len(batch)

    async def _one(self, client: PictureSource, photo: Unhashed) -> None:
        found: str | None = None
        reason: str | None = None
        try:
            found = await self._pool.perceptual_hash(await client.picture(photo.url))
        except Refused as error:
            reason = str(error)
        await self._catalogue.write(lambda db: library_browse.note_hash(db, photo, found, reason))

    def _wait_s(self, error: SyncdError) -> float:
        self._failures += 1
        wait_s = min(_LONGEST_WAIT_S, 10.0 * 2.0 ** (self._failures - 1))
        if self._failures == 1:
            _log.warning("thumbnails wait", reason=str(error))
        asked_s = error.retry_after_s if isinstance(error, Transient) else None
        return max(wait_s, asked_s or 0.0)
