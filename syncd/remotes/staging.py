"""A download on its way to disk: a new file, its checksums, and where to go on after a broken connection."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Self

import anyio
from anyio import to_thread

from syncd.errors import Changed, Refused, SyncdError, Transient
from syncd.remotes.drive_errors import RangeRefused
from syncd.remotes.drive_items import Downloaded, DriveItem
from syncd.remotes.http import Response
from syncd.text import printable

CHUNK_BYTES: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Staged:
    """The staging file of one download. A context manager: leaving it with an error removes the file."""

    def __init__(self, file: DriveItem, destination: Path, limit_bytes: int | None) -> None:
        self._file = file
        self._destination = destination
        self._limit_bytes = limit_bytes
        self._descriptor = -1
        self.written_bytes = 0
        self._reset()

    def _reset(self) -> None:
        self.written_bytes = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    async def __aenter__(self) -> Self:
        self._descriptor = await to_thread.run_sync(self._create)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._close, kind is not None)

    @property
    def facts(self) -> Downloaded:
        return Downloaded(self._sha256.hexdigest(), self._md5.hexdigest(), self.written_bytes)

    @property
    def range_header(self) -> dict[str, str]:
        """Asks for what is still missing; nothing special while nothing is there."""
        return {"Range": f"bytes={self.written_bytes}-"} if self.written_bytes else {}

    @property
    def complete(self) -> bool:
        """Whether nothing is left to ask for."""
        return self.written_bytes > 0 and self.written_bytes == self._file.size_bytes

    @asynccontextmanager
    async def ranges_checked(self) -> AsyncIterator[None]:
        """Begins again where what continues does not fit what is there."""
        try:
            yield
        except RangeRefused:
            await self.begin_again()
            raise

    async def take(self, response: Response) -> None:
        """Writes what an answer brings: the rest, or the whole where the other side knows no ranges."""
        if response.status == 206:
            self._check_range(response.headers.get("Content-Range", ""))
        elif self.written_bytes:
            await self.begin_again()
        async for chunk in response.chunks(CHUNK_BYTES):
            self._check_length(len(chunk))
            await to_thread.run_sync(self._append, chunk)

    async def begin_again(self) -> None:
        """Forgets what was written."""
        await to_thread.run_sync(os.ftruncate, self._descriptor, 0)
        self._reset()

    async def check(self, look: Callable[[str], Awaitable[DriveItem]]) -> None:
        """Compares what was written with what the file is said to be. Where it differs, the file may have
        changed meanwhile: `look` tells. Raises Changed, or Transient for damage, and begins again."""
        file, facts = self._file, self.facts
        expected = file.size_bytes, file.md5, file.sha256
        found = facts.size_bytes, facts.md5, facts.sha256
        if all(want is None or want == have for want, have in zip(expected, found, strict=True)):
            return
        await self.begin_again()
        now = await look(file.id)
        if (now.size_bytes, now.md5, now.sha256) != expected:
            raise Changed(f"{self._name} changed while it was downloaded")
        raise Transient(
            f"{self._name} arrived damaged: {found[0]:,} bytes that do not have the checksum Drive gives"
        )

    @property
    def _name(self) -> str:
        return printable(self._file.name)

    def _check_range(self, text: str) -> None:
        """What continues must continue here, and be of a file of the same size."""
        match = _RANGE.fullmatch(text.strip())
        if match is None or int(match[1]) != self.written_bytes:
            raise RangeRefused(f"Google Drive answered with another part of {self._name} than asked for")
        if self._file.size_bytes is not None and match[3] not in ("*", str(self._file.size_bytes)):
            raise RangeRefused(f"{self._name} has another size now")

    def _check_length(self, more_bytes: int) -> None:
        length = self.written_bytes + more_bytes
        if self._limit_bytes is not None and length > self._limit_bytes:
            raise Refused(f"{self._name} is longer than the {self._limit_bytes:,} bytes allowed")

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._destination, flags, 0o600)
        except OSError as error:
            raise self._translated(error) from error

    def _close(self, failed: bool) -> None:
        os.close(self._descriptor)
        if failed:
            with suppress(OSError):
                self._destination.unlink()

    def _append(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.pwrite(self._descriptor, view, self.written_bytes + len(chunk) - len(view)) :]
        except OSError as error:
            raise self._translated(error) from error
        # Only what is whole on disk counts: the next attempt goes on from here.
        self._sha256.update(chunk)
        self._md5.update(chunk)
        self.written_bytes += len(chunk)

    def _translated(self, error: OSError) -> SyncdError:
        where = printable(str(self._destination.parent))
        if error.errno in _FULL:
            return Transient(f"cannot write into {where}: the disk is full", hint="free some space")
        return Refused(f"cannot write into {where}: {error.strerror or error}")
