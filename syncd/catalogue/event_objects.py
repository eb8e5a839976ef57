"""Objects of events in storage: written down before an upload starts, until storage has lost them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import aiosqlite

from syncd.catalogue._sqlite import NOW
from syncd.catalogue.event_photos import bring_again


@dataclass(frozen=True, slots=True)
class EventObject:
    """What storage should hold of a published photo, by its own bytes."""

    key: str
    event_id: str
    photo_id: str
    object_sha256: str
    object_size_bytes: int
    object_etag: str


async def expect_object(
    db: aiosqlite.Connection, storage_id: str, key: str, event_id: str, photo_id: str, content: str
) -> bool:
    """An upload is about to start; False when the event does not want these bytes any more. Objects of the
    photo under other keys of this storage are not wanted any more."""
    rows = await db.execute_fetchall(
        "SELECT 1 FROM event_wanted WHERE event_id = ? AND photo_id = ? AND content = ?",
        (event_id, photo_id, content),
    )
    if not list(rows):
        return False
    await db.execute(
        "INSERT INTO event_objects (storage_id, key, event_id, photo_id, content) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (storage_id, key) DO UPDATE SET wanted = 1, confirmed_at = NULL,"
        " content = excluded.content",
        (storage_id, key, event_id, photo_id, content),
    )
    return True


async def confirm_object(
    db: aiosqlite.Connection, storage_id: str, key: str, sha256: str, size_bytes: int, etag: str
) -> None:
    """Storage has the object; what else it had of the photo is to go."""
    await db.execute(
        f"UPDATE event_objects SET sha256 = ?, size_bytes = ?, etag = ?, confirmed_at = {NOW}"
        " WHERE storage_id = ? AND key = ?",
        (sha256, size_bytes, etag, storage_id, key),
    )
    await db.execute(
        "UPDATE event_objects SET wanted = 0 WHERE storage_id = ?1 AND key <> ?2 AND (event_id, photo_id) ="
        " (SELECT event_id, photo_id FROM event_objects WHERE storage_id = ?1 AND key = ?2)",
        (storage_id, key),
    )


async def unwanted_objects(db: aiosqlite.Connection, storage_id: str) -> list[str]:
    """Keys of objects that are to be taken out of this storage."""
    rows = await db.execute_fetchall(
        "SELECT key FROM event_objects WHERE storage_id = ? AND wanted = 0 ORDER BY key", (storage_id,)
    )
    return [row[0] for row in rows]


async def is_unwanted(db: aiosqlite.Connection, storage_id: str, key: str) -> bool:
    """Whether the object is still to be taken out."""
    rows = await db.execute_fetchall(
        "SELECT 1 FROM event_objects WHERE storage_id = ? AND key = ? AND wanted = 0", (storage_id, key)
    )
    return bool(list(rows))


async def object_gone(db: aiosqlite.Connection, storage_id: str, key: str) -> None:
    """Storage has confirmed that the object is gone."""
    await db.execute("DELETE FROM event_objects WHERE storage_id = ? AND key = ?", (storage_id, key))


_CONFIRMED = "storage_id = ? AND wanted = 1 AND confirmed_at IS NOT NULL"


async def confirmed_objects(db: aiosqlite.Connection, storage_id: str) -> list[EventObject]:
    """Objects that this storage has confirmed and events want, by key."""
    rows = await db.execute_fetchall(
        f"SELECT key, event_id, photo_id, sha256, size_bytes, etag FROM event_objects WHERE {_CONFIRMED}"
        " ORDER BY key",
        (storage_id,),
    )
    return [EventObject(*row) for row in rows]


async def is_confirmed_as(db: aiosqlite.Connection, storage_id: str, key: str, sha256: str) -> bool:
    """True while an event vouches for the object with these bytes."""
    rows = await db.execute_fetchall(
        f"SELECT 1 FROM event_objects WHERE {_CONFIRMED} AND key = ? AND sha256 = ?",
        (storage_id, key, sha256),
    )
    return bool(list(rows))


async def confirmed_among(db: aiosqlite.Connection, storage_id: str, keys: Collection[str]) -> set[str]:
    """Those of these keys that storage has confirmed."""
    rows = await db.execute_fetchall(
        f"SELECT key FROM event_objects WHERE {_CONFIRMED} AND key IN (SELECT value FROM json_each(?))",
        (storage_id, json.dumps(list(keys))),
    )
    return {row[0] for row in rows}


async def put_again(db: aiosqlite.Connection, storage_id: str, objects: Collection[EventObject]) -> None:
    """Storage does not have these as it should: their photos get jobs, which fetch them anew."""
    await db.executemany(
        f"UPDATE event_objects SET confirmed_at = NULL WHERE {_CONFIRMED} AND key = ? AND sha256 = ?",
        [(storage_id, one.key, one.object_sha256) for one in objects],
    )
    await bring_again(db, {one.photo_id for one in objects})


async def is_vouched(db: aiosqlite.Connection, storage_id: str, key: str) -> bool:
    """Whether events know of an object under this key: there, under way, or about to be taken out."""
    rows = await db.execute_fetchall(
        "SELECT 1 FROM event_objects WHERE storage_id = ? AND key = ?", (storage_id, key)
    )
    return bool(list(rows))


async def object_keys(db: aiosqlite.Connection, storage_id: str) -> frozenset[str]:
    """Keys in this storage that events vouch for: there, under way, or about to be taken out."""
    rows = await db.execute_fetchall("SELECT key FROM event_objects WHERE storage_id = ?", (storage_id,))
    return frozenset(row[0] for row in rows)
