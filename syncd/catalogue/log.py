"""The log of syncs: one row each."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import Any

import aiosqlite

from syncd.catalogue._sqlite import NOW


@dataclass(frozen=True, slots=True)
class SyncCounts:
    """What a sync counted; `bytes` are those uploaded."""

    scenes: int = 0
    versions: int = 0
    uploaded: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0
    scanned: int = 0
    removed: int = 0
    unchanged: int = 0
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class SyncRow:
    """One sync; `status` is `running` until it is over."""

    id: int
    started_at: str
    finished_at: str | None
    status: str
    error: str | None
    job_id: str | None
    counts: SyncCounts


_COUNTS = tuple(field.name for field in fields(SyncCounts))


async def start(db: aiosqlite.Connection, job_id: str | None = None, started_at: str | None = None) -> int:
    """Id of a new row in status `running`, begun now or at `started_at` (RFC 3339 in UTC)."""
    rows = await db.execute_fetchall(
        f"INSERT INTO sync_log (job_id, started_at) VALUES (?, coalesce(?, {NOW})) RETURNING id",
        (job_id, started_at),
    )
    return next(int(row[0]) for row in rows)


async def finish(
    db: aiosqlite.Connection, sync_id: int, status: str, counts: SyncCounts, error: str | None = None
) -> None:
    """The sync is over."""
    columns = ", ".join(f"{name} = ?" for name in _COUNTS)
    await db.execute(
        f"UPDATE sync_log SET finished_at = {NOW}, status = ?, error = ?, {columns} WHERE id = ?",
        (status, error, *astuple(counts), sync_id),
    )


async def fail_interrupted(db: aiosqlite.Connection) -> int:
    """Rows that a killed run left `running` become `failed`; returns how many. Called where no sync runs."""
    async with db.execute(
        f"UPDATE sync_log SET status = 'failed', error = 'interrupted', finished_at = {NOW}"
        " WHERE status IN ('queued', 'running')"
    ) as cursor:
        return cursor.rowcount


async def last(db: aiosqlite.Connection) -> SyncRow | None:
    """The newest sync, None before the first."""
    rows = await db.execute_fetchall(
        f"SELECT id, started_at, finished_at, status, error, job_id, {', '.join(_COUNTS)}"
        " FROM sync_log ORDER BY id DESC LIMIT 1"
    )
    return next((_sync(row) for row in rows), None)


async def prune(db: aiosqlite.Connection, keep: int = 10_000) -> None:
    """Forgets all but the newest `keep` syncs."""
    await db.execute("DELETE FROM sync_log WHERE id <= (SELECT max(id) FROM sync_log) - ?", (keep,))


def _sync(row: Any) -> SyncRow:
    return SyncRow(*(*row[:6], SyncCounts(*row[6:])))
