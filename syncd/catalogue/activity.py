"""What happened, as numbered entries. The caller numbers them, without gaps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiosqlite

KEPT = 100_000
"""How many of the newest entries are kept."""


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """One entry; `at` is RFC 3339 in UTC."""

    id: int
    at: str
    kind: str
    service: str
    subject: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)


async def append(db: aiosqlite.Connection, entries: Iterable[ActivityRow]) -> None:
    """Records entries under the ids that they carry."""
    await db.executemany(
        "INSERT OR IGNORE INTO activity (id, at, kind, service, subject, message, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(e.id, e.at, e.kind, e.service, e.subject, e.message, json.dumps(e.data)) for e in entries],
    )


async def page(db: aiosqlite.Connection, since: int, limit: int) -> list[ActivityRow]:
    """At most `limit` entries after id `since`, oldest first."""
    rows = await db.execute_fetchall(
        "SELECT id, at, kind, service, subject, message, data FROM activity WHERE id > ? ORDER BY id LIMIT ?",
        (since, limit),
    )
    return [ActivityRow(*(*row[:6], json.loads(row[6]))) for row in rows]


async def last_id(db: aiosqlite.Connection) -> int:
    """Id of the newest entry, 0 when there is none."""
    rows = await db.execute_fetchall("SELECT coalesce(max(id), 0) FROM activity")
    return next(int(row[0]) for row in rows)


async def prune(db: aiosqlite.Connection, keep: int = KEPT) -> None:
    """Forgets all but the newest `keep` (at least one, so that numbering goes on)."""
    await db.execute("DELETE FROM activity WHERE id <= (SELECT max(id) FROM activity) - ?", (max(keep, 1),))
