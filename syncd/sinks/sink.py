"""The contract that every sink keeps. tests/contracts/sink_contract.py holds each of them to it.

A sink moves whole objects and says what it did; it never retries, sleeps or limits: sinks/guarded.py
wraps that around any sink. Foreign exceptions leave a sink as one of the four in syncd.errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Upload:
    """What to put under `key`: the bytes of `path`, which must be these `size_bytes` and this `md5`
    (lower-case hex). `sha256` is of the same bytes; `source_sha256` of the original they were rendered
    from, None for an original."""

    key: str
    path: Path
    size_bytes: int
    sha256: str
    md5: str
    content_type: str
    cache_control: str = "public, max-age=300"
    source_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as storage describes it. `etag` is opaque: it changes when the bytes do. `sha256` and
    `source_sha256` are from the object's metadata, None where storage does not give them (listings)."""

    key: str
    size_bytes: int
    etag: str
    sha256: str | None = None
    source_sha256: str | None = None
    content_type: str | None = None
    cache_control: str | None = None


class UploadLedger(Protocol):
    """Where a sink writes down multipart uploads, so that a killed one can be aborted on the next start."""

    async def begun(self, storage_id: str, key: str, upload_id: str) -> None: ...
    async def ended(self, storage_id: str, upload_id: str) -> None: ...
    async def pending(self, storage_id: str) -> list[tuple[str, str]]:
        """(key, upload_id) of uploads begun and not ended."""
        ...


class Sink(Protocol):
    """Storage for whole objects. Used as an async context manager; safe for concurrent calls."""

    storage_id: str
    """Names this storage for good: the same place gives the same id, another place another."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...

    async def put(self, upload: Upload) -> StoredObject:
        """Stores the object, replacing what was there, and returns it once storage has confirmed length
        and content. Raises Changed when the file is not (or no longer) what `upload` says, Refused for
        this object only, Transient, AuthRejected."""
        ...

    async def head(self, key: str) -> StoredObject | None:
        """The object with its metadata, or None."""
        ...

    async def get(self, key: str, destination: Path) -> str:
        """Writes the object to `destination`, a new file (exclusive create), fsynced; returns the SHA-256
        of the bytes written. Refused when there is no such object."""
        ...

    async def digest(self, key: str) -> str:
        """SHA-256 of the object's bytes as they are in storage now, read in full. Refused when absent."""
        ...

    async def delete(self, key: str) -> None:
        """Removes the object; removing what is not there is fine."""
        ...

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Every object whose key starts with `prefix`, in no promised order."""
        ...

    def url(self, key: str) -> str | None:
        """Where the public finds the object: `public_url` plus the quoted key, a file:// URI for a local
        folder without one, None when there is no public address."""
        ...

    async def abort_unfinished(self) -> int:
        """Aborts what the ledger says was begun and not ended; returns how many. Called once on start."""
        ...
