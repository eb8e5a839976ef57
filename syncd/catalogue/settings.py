"""Small facts that must survive a restart, as JSON values by name."""

from __future__ import annotations

import json
from typing import Any

import aiosqlite


async def get(db: aiosqlite.Connection, name: str, default: Any = None) -> Any:
    """The value last put under `name`, `default` when there is none."""
    rows = await db.execute_fetchall("SELECT value FROM settings WHERE name = ?", (name,))
    return next((json.loads(row[0]) for row in rows), default)


async def put(db: aiosqlite.Connection, name: str, value: Any) -> None:
    """Keeps `value`, anything that JSON can say."""
    await db.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, json.dumps(value)),
    )


async def remove(db: aiosqlite.Connection, name: str) -> None:
    """Forgets the value; one that is not there is fine."""
    await db.execute("DELETE FROM settings WHERE name = ?", (name,))
