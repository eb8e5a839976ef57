"""Small upright pictures for the dashboard, made by a worker and kept for a while."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal

import anyio.to_thread

from syncd.catalogue import browse
from syncd.catalogue.database import Catalogue
from syncd.control.api import NotFound
from syncd.errors import Refused
from syncd.imaging.pool import ImagingPool

_KEPT_BYTES = 200 * 1024 * 1024


class Previews:
    """Pictures by content, size and format, in files below `folder`; the oldest go when they are many."""

    def __init__(self, catalogue: Catalogue, pool: ImagingPool, folder: Path) -> None:
        self._catalogue = catalogue
        self._pool = pool
        self._folder = folder
        self._size_bytes: int | None = None

    async def of_version(
        self, version_id: int, width: int, height: int, image_format: Literal["jpeg", "rgb"]
    ) -> bytes:
        """A picture of the version that fits into `width` x `height` pixels. Raises NotFound for an unknown
        version, Refused when its file is gone or cannot be decoded."""
        async with self._catalogue.reader() as db:
            row = await browse.version(db, version_id)
        if row is None:
            raise NotFound(f"there is no version {version_id}", hint="`syncctl scenes show ID` lists them")
        if row.superseded or row.gone:
            raise Refused(f"the file of version {version_id} is not there any more")
        make = partial(self._pool.preview, row.local_path, width, height, image_format)
        return await self.of_content(f"{row.sha256}-{width}x{height}.{image_format}", make)

    async def of_content(self, name: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The picture kept under `name`, which tells content, size and format; else what `make` makes,
        which is kept from then on."""
        path = self._folder / name
        kept = await anyio.to_thread.run_sync(_read, path)
        if kept is not None:
            return kept
        picture = await make()
        await anyio.to_thread.run_sync(self._keep, path, picture)
        return picture

    def _keep(self, path: Path, picture: bytes) -> None:
        """In a thread. A cache that cannot be written is no reason to show nothing."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            staged = path.with_suffix(f".{os.urandom(4).hex()}.part")
            staged.write_bytes(picture)
            staged.replace(path)
            self._size_bytes = (self._size_bytes or 0) + len(picture)
            if self._size_bytes == len(picture) or self._size_bytes > _KEPT_BYTES:
                self._size_bytes = _trim(self._folder)
        except OSError:
            return


def _read(path: Path) -> bytes | None:
    try:
        picture = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    return picture


def _trim(folder: Path) -> int:
    """Removes the pictures that were not asked for lately until three quarters of the limit are left, and
    returns how many bytes there are."""
    files = sorted(((s.st_mtime, s.st_size, p) for p in folder.iterdir() if (s := p.stat())), reverse=True)
    total = 0
    for _, size_bytes, path in files:
        if total + size_bytes > _KEPT_BYTES * 3 // 4 and sum(size for _, size, _ in files) > _KEPT_BYTES:
            path.unlink(missing_ok=True)
        else:
            total += size_bytes
    return total
