"""Durable jobs, and photos that fail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiosqlite

from syncd.catalogue._sqlite import NOW

OPEN_STATES = ("queued", "running", "waiting")
"""States of a job that is not over."""
PHOTO = "photo"
"""Kind of the one row that a failing photo has."""

_COLUMNS = (
    "number, id, kind, subject, payload, state, attempts, created_at, updated_at, next_attempt_at, error,"
    " progress_done, progress_total, result"
)


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job. Times are RFC 3339 in UTC; `result` is None until there is one."""

    number: int
    id: str
    kind: str
    subject: str
    payload: dict[str, Any]
    state: str
    attempts: int
    created_at: str
    updated_at: str
    next_attempt_at: str | None
    error: str | None
    progress_done: int
    progress_total: int
    result: dict[str, Any] | None


async def create(
    db: aiosqlite.Connection, kind: str, subject: str = "", payload: Mapping[str, Any] | None = None
) -> JobRow:
    """A new job in state `queued`."""
    return await _one(
        db,
        f"INSERT INTO jobs (kind, subject, payload) VALUES (?, ?, ?) RETURNING {_COLUMNS}",
        (kind, subject, json.dumps(dict(payload or {}))),
    )


async def get(db: aiosqlite.Connection, job_id: str) -> JobRow | None:
    """The job of this id ("j-000012"), None when there is none."""
    number = _number(job_id)
    rows = await db.execute_fetchall(f"SELECT {_COLUMNS} FROM jobs WHERE number = ?", (number,))
    return next((_job(row) for row in rows if row[1] == job_id), None)


async def page(
    db: aiosqlite.Connection,
    *,
    state: str | None = None,
    kind: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> tuple[list[JobRow], str | None]:
    """Jobs, newest first, and the cursor of the next page (an id), None at the end."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM jobs WHERE (:state IS NULL OR state = :state)"
        " AND (:kind IS NULL OR kind = :kind) AND (:before IS NULL OR number < :before)"
        " ORDER BY number DESC LIMIT :limit",
        {"state": state, "kind": kind, "before": _number(cursor) if cursor else None, "limit": limit + 1},
    )
    found = [_job(row) for row in rows]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


async def due(db: aiosqlite.Connection, kinds: Iterable[str]) -> list[JobRow]:
    """Jobs of these kinds that may start now, oldest first: queued ones, and waiting ones whose time came."""
    names = tuple(kinds)
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM jobs WHERE kind IN ({', '.join('?' * len(names))})"
        f" AND (state = 'queued' OR (state = 'waiting' AND next_attempt_at <= {NOW})) ORDER BY number",
        names,
    )
    return [_job(row) for row in rows]


async def start(db: aiosqlite.Connection, job_id: str) -> bool:
    """The job runs, one more attempt; False when it was cancelled or is over."""
    return await _changed(
        db,
        "state = 'running', attempts = attempts + 1, error = NULL, next_attempt_at = NULL",
        "number = ? AND state IN ('queued', 'waiting')",
        (_number(job_id),),
    )


async def progress(db: aiosqlite.Connection, job_id: str, done: int, total: int) -> None:
    """How far the job is, in steps."""
    await _changed(db, "progress_done = ?, progress_total = ?", "number = ?", (done, total, _number(job_id)))


async def report(db: aiosqlite.Connection, job_ids: Iterable[str], done: int, total: int) -> bool:
    """How far these jobs are, which one piece of work serves; whether any of them still runs."""
    running = [
        await _changed(
            db,
            "progress_done = ?, progress_total = ?",
            "number = ? AND state = 'running'",
            (done, total, _number(job_id)),
        )
        for job_id in job_ids
    ]
    return any(running)


async def open_of(db: aiosqlite.Connection, kind: str) -> list[JobRow]:
    """Jobs of this kind that are not over, oldest first."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM jobs WHERE kind = ? AND state IN ('queued', 'running', 'waiting')"
        " ORDER BY number",
        (kind,),
    )
    return [_job(row) for row in rows]


async def finish(
    db: aiosqlite.Connection,
    job_id: str,
    state: str,
    *,
    result: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> None:
    """The job is over: `done`, `partial`, `failed`, `refused` or `cancelled`."""
    text = None if result is None else json.dumps(dict(result))
    await _changed(
        db, "state = ?, result = ?, error = ?", "number = ?", (state, text, error, _number(job_id))
    )


async def fail(
    db: aiosqlite.Connection, job_id: str, error: str, *, next_attempt_at: str | None = None
) -> None:
    """The attempt failed: the job waits until `next_attempt_at`, or is over when that is None."""
    state = "failed" if next_attempt_at is None else "waiting"
    await _changed(
        db,
        "state = ?, error = ?, next_attempt_at = ?",
        "number = ?",
        (state, error, next_attempt_at, _number(job_id)),
    )


async def requeue(db: aiosqlite.Connection, job_id: str) -> bool:
    """The job is done again from the start; False when it is queued or running already, or unknown."""
    return await _changed(
        db,
        "state = 'queued', next_attempt_at = NULL, result = NULL, progress_done = 0, progress_total = 0",
        "number = ? AND state NOT IN ('queued', 'running')",
        (_number(job_id),),
    )


async def cancel(db: aiosqlite.Connection, job_id: str) -> bool:
    """The job is over before it ended; False when it was over already."""
    return await _changed(
        db,
        "state = 'cancelled', next_attempt_at = NULL",
        "number = ? AND state IN ('queued', 'running', 'waiting')",
        (_number(job_id),),
    )


async def requeue_interrupted(db: aiosqlite.Connection, kinds: Iterable[str] | None = None) -> list[str]:
    """Ids of the jobs that a killed daemon left running; they are queued again. All kinds when None."""
    names = None if kinds is None else json.dumps(list(kinds))
    rows = await db.execute_fetchall(
        f"UPDATE jobs SET state = 'queued', updated_at = {NOW} WHERE state = 'running'"
        " AND (?1 IS NULL OR kind IN (SELECT value FROM json_each(?1))) RETURNING id",
        (names,),
    )
    return sorted(row[0] for row in rows)


async def prune(db: aiosqlite.Connection, keep: int = 1000) -> int:
    """Removes jobs that are over, but for the newest `keep`, and returns how many. Failed ones stay: they
    can still be retried."""
    return await _count(
        db,
        "DELETE FROM jobs WHERE number IN (SELECT number FROM jobs WHERE state IN"
        " ('done', 'partial', 'refused', 'cancelled') ORDER BY number DESC LIMIT -1 OFFSET ?)",
        (keep,),
    )


async def queue_counts(db: aiosqlite.Connection) -> dict[str, dict[str, int]]:
    """How many jobs each kind has in each state that is not `done`."""
    rows = await db.execute_fetchall(
        "SELECT kind, state, count(*) FROM jobs WHERE state IN ('queued', 'running', 'waiting', 'failed')"
        " GROUP BY state, kind"
    )
    counts: dict[str, dict[str, int]] = {}
    for kind, state, count in rows:
        counts.setdefault(kind, {})[state] = count
    return counts


async def note_photo_failure(db: aiosqlite.Connection, subject: str, error: str) -> JobRow:
    """The photo failed (again). `subject` is its relative path, `<batch>/<stage>/<file>`."""
    return await _one(
        db,
        "INSERT INTO jobs (kind, subject, state, attempts, error) VALUES ('photo', ?, 'failed', 1, ?)"
        " ON CONFLICT (subject) WHERE kind = 'photo' DO UPDATE SET state = 'failed', error = excluded.error,"
        f" attempts = attempts + 1, next_attempt_at = NULL, updated_at = {NOW} RETURNING {_COLUMNS}",
        (subject, error),
    )


async def clear_photo_failures(db: aiosqlite.Connection, subjects: Iterable[str]) -> int:
    """These photos are well, or no longer called for; returns how many had failed."""
    return await _count(
        db,
        "DELETE FROM jobs WHERE kind = 'photo' AND subject IN (SELECT value FROM json_each(?))",
        (json.dumps(list(subjects)),),
    )


async def photo_failures(db: aiosqlite.Connection, batch_name: str | None = None) -> list[JobRow]:
    """Photos that fail, by path; of one batch when it is named."""
    low, high = (f"{batch_name}/", f"{batch_name}0") if batch_name is not None else ("", "\U0010ffff")
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM jobs WHERE kind = 'photo' AND state = 'failed'"
        " AND subject >= ? AND subject < ? ORDER BY subject",
        (low, high),
    )
    return [_job(row) for row in rows]


async def _changed(db: aiosqlite.Connection, what: str, which: str, values: tuple[Any, ...]) -> bool:
    return await _count(db, f"UPDATE jobs SET {what}, updated_at = {NOW} WHERE {which}", values) > 0


async def _count(db: aiosqlite.Connection, sql: str, values: tuple[Any, ...]) -> int:
    async with db.execute(sql, values) as cursor:
        return cursor.rowcount


async def _one(db: aiosqlite.Connection, sql: str, values: tuple[Any, ...]) -> JobRow:
    rows = list(await db.execute_fetchall(sql, values))
    return _job(rows[0])


def _number(job_id: str) -> int:
    """The number in an id, -1 for what is no id of ours."""
    digits = job_id.removeprefix("j-")
    # SQLite's integers end at 2**63; a longer number cannot be a job's.
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else -1


def _job(row: Any) -> JobRow:
    values = list(row)
    values[4] = json.loads(values[4])
    values[13] = None if values[13] is None else json.loads(values[13])
    return JobRow(*values)
