"""Events: what they are, how they are, and what was last heard of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiosqlite

from syncd.catalogue._sqlite import NOW
from syncd.catalogue.drive import ACTIVE, drop_idle_feeds
from syncd.catalogue.event_photos import EVENT_PHOTO, drop_idle_jobs

GUARD_PREFIX = "event:"
"""A guard of this kind, with the event's id, holds back what a short listing would take from it."""

_COLUMNS = (
    "event_id, name, drive_folder_id, account, drive_id, publish, auto_sync_enabled, sync_interval_minutes,"
    " last_sync_at, listing_due, last_listed_at, checked_as_of, complete_as_of, blocked, last_error,"
    " created_at"
)


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event. Times are RFC 3339 in UTC; `sync_interval_minutes` is None where the setting applies."""

    event_id: str
    name: str
    drive_folder_id: str
    account: str | None
    drive_id: str
    publish: bool
    enabled: bool
    sync_interval_minutes: float | None
    last_sync_at: str | None
    listing_due: bool
    last_listed_at: str | None
    checked_as_of: str | None
    complete_as_of: str | None
    blocked: str | None
    last_error: str | None
    created_at: str


class FailedPhoto(NamedTuple):
    """A photo that is not in the event, and why. `waits`: it will be tried again by itself."""

    photo_id: str
    photo_name: str
    reason: str
    waits: bool


class Counts(NamedTuple):
    """Of one event: photos and faces in it, jobs that are queued or run, or wait for another try; photos
    whose faces were looked for, and photos that its folder was last seen to hold."""

    photos: int
    faces: int
    busy: int
    waiting: int
    indexed: int = 0
    in_folder: int = 0


class Photo(NamedTuple):
    """A photo of an event. `boxes`: where its faces are, as (top, right, bottom, left)."""

    photo_id: str
    photo_name: str
    synced_at: str
    width: int | None
    height: int | None
    captured_at: str | None
    boxes: tuple[tuple[int, int, int, int], ...]
    key: str | None


class Origin(NamedTuple):
    """Where the bytes of a photo are: in storage under `key`, and in Drive."""

    event_id: str
    photo_id: str
    photo_name: str
    account: str
    sha256: str
    md5: str
    size_bytes: int
    resource_key: str | None
    key: str | None


# --- events ----------------------------------------------------------------------------------------


async def create(
    db: aiosqlite.Connection,
    slug: str,
    name: str,
    folder_id: str,
    *,
    publish: bool,
    account: str | None,
    drive_id: str,
) -> EventRow:
    """A new event that is not followed yet. Its id is `slug`, with a number where that was taken, by an
    event or by objects that one left."""
    rows = await db.execute_fetchall("SELECT event_id FROM events UNION SELECT event_id FROM event_objects")
    taken = {row[0] for row in rows}
    event_id, number = slug, 1
    while event_id in taken:
        number += 1
        event_id = f"{slug}-{number}"
    await db.execute(
        "INSERT INTO events (event_id, name, drive_folder_id, publish, account, drive_id)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (event_id, name, folder_id, publish, account, drive_id),
    )
    row = await get(db, event_id)
    assert row is not None
    return row


async def get(db: aiosqlite.Connection, event_id: str) -> EventRow | None:
    """The event, None where there is none."""
    rows = await db.execute_fetchall(f"SELECT {_COLUMNS} FROM events WHERE event_id = ?", (event_id,))
    return next((_event(row) for row in rows), None)


async def listed(db: aiosqlite.Connection, *, after: str = "", limit: int = -1) -> list[EventRow]:
    """Events by id, those after `after`."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM events WHERE event_id > ? ORDER BY event_id LIMIT ?", (after, limit)
    )
    return [_event(row) for row in rows]


async def active(db: aiosqlite.Connection, account: str | None = None) -> list[EventRow]:
    """Events that are followed, or to be listed once; of one account or all."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM events WHERE {ACTIVE} AND (?1 IS NULL OR account = ?1) ORDER BY event_id",
        (account,),
    )
    return [_event(row) for row in rows]


async def enable(db: aiosqlite.Connection, event_id: str, interval_minutes: float | None) -> bool:
    """The event is followed from now on, first by a listing; with one more, only the interval changes."""
    return await _changed(
        db,
        "UPDATE events SET sync_interval_minutes = coalesce(?, sync_interval_minutes),"
        " listing_due = iif(auto_sync_enabled = 1 AND blocked IS NULL, listing_due, 1), auto_sync_enabled = 1"
        " WHERE event_id = ?",
        (interval_minutes, event_id),
    )


async def disable(db: aiosqlite.Connection, event_id: str) -> bool:
    """The event is not followed any more; what it has stays. Photos that only it wanted are not fetched."""
    changed = await _changed(
        db, "UPDATE events SET auto_sync_enabled = 0, listing_due = 0 WHERE event_id = ?", (event_id,)
    )
    idle = (
        f"kind = '{EVENT_PHOTO}' AND item IN (SELECT photo_id FROM event_wanted WHERE event_id = ?)"
        " AND NOT EXISTS (SELECT 1 FROM event_wanted w JOIN events USING (event_id)"
        f" WHERE w.photo_id = jobs.item AND {ACTIVE})"
    )
    await db.execute(f"DELETE FROM jobs WHERE {idle} AND state <> 'running' AND error IS NULL", (event_id,))
    await db.execute(
        "UPDATE jobs SET state = 'failed', next_attempt_at = NULL"
        f" WHERE {idle} AND state IN ('queued', 'waiting')",
        (event_id,),
    )
    await drop_idle_feeds(db)
    return changed


async def delete(db: aiosqlite.Connection, event_id: str) -> bool:
    """The event with its photos and faces is gone; its objects are to be taken out of storage."""
    await db.execute("UPDATE event_objects SET wanted = 0 WHERE event_id = ?", (event_id,))
    changed = await _changed(db, "DELETE FROM events WHERE event_id = ?", (event_id,))
    await drop_idle_jobs(db)
    await drop_idle_feeds(db)
    await db.execute(
        "UPDATE guards SET state = 'gone' WHERE kind = ? AND state <> 'gone'", (GUARD_PREFIX + event_id,)
    )
    return changed


async def ask_listing(db: aiosqlite.Connection, event_id: str) -> bool:
    """The whole folder is to be listed, whether the event is followed or not."""
    return await _changed(db, "UPDATE events SET listing_due = 1 WHERE event_id = ?", (event_id,))


async def ask_listings(
    db: aiosqlite.Connection, account: str, drive_id: str, *, older_than_s: float | None = None
) -> int:
    """The same for all followed events of a feed; with `older_than_s` those not listed for so long."""
    async with db.execute(
        "UPDATE events SET listing_due = 1 WHERE account = ? AND drive_id = ? AND auto_sync_enabled = 1"
        " AND listing_due = 0 AND (?3 IS NULL OR last_listed_at IS NULL"
        " OR julianday(last_listed_at) < julianday('now') - ?3 / 86400.0)",
        (account, drive_id, older_than_s),
    ) as cursor:
        return cursor.rowcount


async def set_account(
    db: aiosqlite.Connection, event_id: str, account: str, folder_id: str, drive_id: str
) -> None:
    """The account that sees the event's folder was found, and the folder's own id: `root` is only a name."""
    await db.execute(
        "UPDATE events SET account = ?, drive_folder_id = ?, drive_id = ?,"
        " listing_due = max(listing_due, auto_sync_enabled), blocked = NULL, last_error = NULL"
        " WHERE event_id = ?",
        (account, folder_id, drive_id, event_id),
    )


# --- what was heard --------------------------------------------------------------------------------


async def note_lost(db: aiosqlite.Connection, event_id: str, reason: str) -> None:
    """The event's folder cannot be seen: there is nothing to follow until it can."""
    await db.execute(
        f"UPDATE events SET blocked_at = iif(blocked IS NULL, {NOW}, blocked_at), blocked = ?,"
        " last_error = ?, listing_due = 0 WHERE event_id = ?",
        (reason, reason, event_id),
    )


async def note_found(db: aiosqlite.Connection, event_id: str) -> None:
    """The event's folder can be seen again, and has to be listed."""
    await db.execute(
        "UPDATE events SET blocked = NULL, last_error = NULL, listing_due = 1 WHERE event_id = ?", (event_id,)
    )


async def note_listed(
    db: aiosqlite.Connection, event_id: str, *, as_of: str | None, error: str | None = None
) -> None:
    """The folder was listed to its end. Without `as_of` something was held back, or could not be seen."""
    await db.execute(
        f"UPDATE events SET listing_due = 0, last_listed_at = {NOW}, last_sync_at = {NOW}, last_error = ?,"
        " checked_as_of = coalesce(?, checked_as_of) WHERE event_id = ?",
        (error, as_of, event_id),
    )


async def note_error(db: aiosqlite.Connection, event_id: str, error: str) -> None:
    """The folder could not be listed; that waits for the next day or a person."""
    await db.execute(
        f"UPDATE events SET last_error = ?, listing_due = 0, last_listed_at = {NOW} WHERE event_id = ?",
        (error, event_id),
    )


async def note_read(db: aiosqlite.Connection, account: str, drive_id: str, as_of: str) -> None:
    """The feed was read to its end: its events know of everything until `as_of`."""
    await db.execute(
        f"UPDATE events SET last_sync_at = {NOW}, checked_as_of = iif(last_error IS NULL, ?, checked_as_of)"
        " WHERE account = ? AND drive_id = ? AND auto_sync_enabled = 1 AND listing_due = 0"
        " AND blocked IS NULL",
        (as_of, account, drive_id),
    )


async def note_complete(db: aiosqlite.Connection) -> None:
    """Events without an open job have what Drive was last seen to hold."""
    await db.execute(
        "UPDATE events SET complete_as_of = checked_as_of WHERE checked_as_of IS NOT complete_as_of"
        " AND listing_due = 0 AND event_id NOT IN (SELECT w.event_id FROM jobs j JOIN event_wanted w"
        f" ON w.photo_id = j.item WHERE j.kind = '{EVENT_PHOTO}'"
        " AND j.state IN ('queued', 'running', 'waiting'))"
        " AND NOT EXISTS (SELECT 1 FROM drive_items i WHERE i.account = events.account"
        " AND i.pending IS NOT NULL)"
    )


# --- views -----------------------------------------------------------------------------------------


async def counts(db: aiosqlite.Connection, event_id: str | None = None) -> dict[str, Counts]:
    """By event; of one, or of all."""
    found: dict[str, list[int]] = {}
    one = "?1 IS NULL" if event_id is None else "event_id = ?1"  # an OR would look through all
    jobs = (
        "SELECT w.event_id, count(*) FROM jobs j JOIN event_wanted w ON w.photo_id = j.item"
        f" WHERE j.kind = '{EVENT_PHOTO}' AND {one.replace('event_id', 'w.event_id')} AND j.state IN "
    )
    queries = (
        f"SELECT event_id, count(*) FROM synced_photos WHERE removed_at IS NULL AND {one} GROUP BY event_id",
        f"SELECT event_id, count(*) FROM faces WHERE {one} GROUP BY event_id",
        f"{jobs}('queued', 'running') GROUP BY w.event_id",
        f"{jobs}('waiting') GROUP BY w.event_id",
        "SELECT event_id, count(*) FROM synced_photos WHERE removed_at IS NULL AND faces_indexed = 1"
        f" AND {one} GROUP BY event_id",
        f"SELECT event_id, count(*) FROM event_wanted WHERE {one} GROUP BY event_id",
    )
    for place, sql in enumerate(queries):
        for name, count in await db.execute_fetchall(sql, (event_id,)):
            found.setdefault(name, [0] * len(queries))[place] = count
    return {name: Counts(*values) for name, values in found.items()}


async def failed(
    db: aiosqlite.Connection, event_id: str | None = None, limit: int = 1000
) -> dict[str, list[FailedPhoto]]:
    """Photos that could not be brought in, by event and name; of one event, or of all."""
    rows = await db.execute_fetchall(
        "SELECT w.event_id, w.photo_id, w.photo_name, j.error, j.state <> 'failed' FROM jobs j"
        f" JOIN event_wanted w ON w.photo_id = j.item WHERE j.kind = '{EVENT_PHOTO}'"
        " AND j.error IS NOT NULL AND (?1 IS NULL OR w.event_id = ?1)"
        " ORDER BY w.event_id, w.photo_name, w.photo_id LIMIT ?2",
        (event_id, limit),
    )
    found: dict[str, list[FailedPhoto]] = {}
    for name, photo_id, photo_name, error, waits in rows:
        found.setdefault(name, []).append(FailedPhoto(photo_id, photo_name, error, bool(waits)))
    return found


async def photos(
    db: aiosqlite.Connection, event_id: str, storage_id: str, *, limit: int, cursor: str | None = None
) -> tuple[list[Photo], str | None]:
    """Photos of the event, newest first, and the cursor of the next page, None at the end."""
    rows = await db.execute_fetchall(
        "SELECT p.photo_id, p.photo_name, p.synced_at, p.width, p.height, p.captured_at,"
        " (SELECT json_group_array(json_array(box_top, box_right, box_bottom, box_left)) FROM faces f"
        " WHERE f.event_id = p.event_id AND f.photo_id = p.photo_id),"
        " (SELECT o.key FROM event_objects o WHERE o.event_id = p.event_id AND o.photo_id = p.photo_id"
        " AND o.storage_id = ? AND o.wanted = 1 AND o.confirmed_at IS NOT NULL LIMIT 1), p.id"
        " FROM synced_photos p WHERE p.event_id = ? AND p.removed_at IS NULL AND p.id < ?"
        " ORDER BY p.id DESC LIMIT ?",
        (storage_id, event_id, _before(cursor), limit + 1),
    )
    found = list(rows)
    following = str(found[limit - 1][8]) if len(found) > limit else None
    page = [(*row[:6], _boxes(row[6]), row[7]) for row in map(tuple, found[:limit])]
    return [Photo(*values) for values in page], following


async def origin(db: aiosqlite.Connection, photo_id: str, storage_id: str) -> Origin | None:
    """Where the bytes of a photo that an event has are, None where no event has it."""
    rows = await db.execute_fetchall(
        "SELECT p.event_id, p.photo_id, p.photo_name, e.account, p.sha256, p.md5, p.size_bytes,"
        " (SELECT w.resource_key FROM event_wanted w WHERE w.event_id = p.event_id"
        " AND w.photo_id = p.photo_id), (SELECT o.key FROM event_objects o WHERE o.event_id = p.event_id"
        " AND o.photo_id = p.photo_id AND o.storage_id = ? AND o.wanted = 1 AND o.confirmed_at IS NOT NULL"
        " AND o.content = p.content) AS object FROM synced_photos p JOIN events e USING (event_id)"
        " WHERE p.photo_id = ? AND p.removed_at IS NULL AND e.account IS NOT NULL"
        " ORDER BY object IS NULL LIMIT 1",
        (storage_id, photo_id),
    )
    return next((Origin(*row) for row in rows), None)


def _boxes(text: str) -> tuple[tuple[int, int, int, int], ...]:
    return tuple((box[0], box[1], box[2], box[3]) for box in json.loads(text))


async def photo_facts(
    db: aiosqlite.Connection, event_id: str, photo_ids: list[str], storage_id: str
) -> dict[str, tuple[str, str | None, int | None, int | None]]:
    """(photo_name, key in storage, width, height) of present photos, by id."""
    rows = await db.execute_fetchall(
        "SELECT p.photo_id, p.photo_name, (SELECT o.key FROM event_objects o WHERE o.event_id = p.event_id"
        " AND o.photo_id = p.photo_id AND o.storage_id = ? AND o.wanted = 1 AND o.confirmed_at IS NOT NULL),"
        " p.width, p.height FROM synced_photos p WHERE p.event_id = ? AND p.removed_at IS NULL"
        " AND p.photo_id IN (SELECT value FROM json_each(?))",
        (storage_id, event_id, json.dumps(photo_ids)),
    )
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}


async def member_ids(db: aiosqlite.Connection, event_id: str) -> set[str]:
    """Photos that the event wants or has."""
    rows = await db.execute_fetchall(
        "SELECT photo_id FROM event_wanted WHERE event_id = ?1"
        " UNION SELECT photo_id FROM synced_photos WHERE event_id = ?1 AND removed_at IS NULL",
        (event_id,),
    )
    return {row[0] for row in rows}


async def totals(db: aiosqlite.Connection) -> tuple[int, int, int]:
    """How many events there are, and photos and faces in them."""
    rows = list(
        await db.execute_fetchall(
            "SELECT (SELECT count(*) FROM events),"
            " (SELECT count(*) FROM synced_photos WHERE removed_at IS NULL), (SELECT count(*) FROM faces)"
        )
    )
    return rows[0][0], rows[0][1], rows[0][2]


def _before(cursor: str | None) -> int:
    return int(cursor) if cursor and cursor.isascii() and cursor.isdigit() and len(cursor) < 19 else 2**63 - 1


async def _changed(db: aiosqlite.Connection, sql: str, values: tuple[Any, ...]) -> bool:
    async with db.execute(sql, values) as cursor:
        return cursor.rowcount > 0


def _event(row: Any) -> EventRow:
    values = list(row)
    for place in (5, 6, 9):
        values[place] = bool(values[place])
    return EventRow(*values)
