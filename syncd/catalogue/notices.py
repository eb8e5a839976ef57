"""What people are to be told by mail: what needs them, and new photos of events."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

import aiosqlite

from syncd.catalogue import settings
from syncd.catalogue._sqlite import NOW
from syncd.catalogue.event_photos import EVENT_PHOTO

_IS_ON = "mail"


class TroubleRow(NamedTuple):
    """Something that needs a person. `seen`: found by looking; otherwise said by the part it is about."""

    what: str
    state: str
    reason: str
    seen: bool
    since: str
    told: bool


class Arrivals(NamedTuple):
    """Photos of an event of which nobody was told yet. `quiet_s`: since the newest came; `waited_s`: since
    the oldest did; `busy`: more are being brought in."""

    event_id: str
    name: str
    photos: int
    quiet_s: float
    waited_s: float
    busy: bool


async def troubles(db: aiosqlite.Connection) -> dict[str, TroubleRow]:
    """Everything that needs a person, by what it is about."""
    rows = await db.execute_fetchall(
        "SELECT what, state, reason, seen, since, told FROM attention ORDER BY what"
    )
    return {
        what: TroubleRow(what, state, reason, bool(seen), since, bool(told))
        for what, state, reason, seen, since, told in rows
    }


async def raise_trouble(db: aiosqlite.Connection, what: str, state: str, reason: str, *, seen: bool) -> bool:
    """`what` needs a person. The same again (numbers in the reason aside) changes nothing; else somebody is
    to be told, and the answer is True."""
    known = (await troubles(db)).get(what)
    is_same = known is not None and (known.state, _kind(known.reason)) == (state, _kind(reason))
    if known is not None and is_same and known.reason == reason:
        return False
    await db.execute(
        "INSERT INTO attention (what, state, reason, seen) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (what)"
        " DO UPDATE SET state = ?2, reason = ?3, seen = ?4, told = iif(?5, told, 0),"
        f" since = iif(?5, since, {NOW})",
        (what, state, reason, seen, is_same),
    )
    return not is_same


def _kind(reason: str) -> str:
    """Counts in a reason may change while it stays the same trouble."""
    return re.sub(r"\d+", "#", reason)


async def drop_troubles(db: aiosqlite.Connection, names: Iterable[str]) -> None:
    """These need nobody any more."""
    await db.executemany("DELETE FROM attention WHERE what = ?", [(name,) for name in names])


async def troubles_told(db: aiosqlite.Connection, rows: Collection[TroubleRow]) -> None:
    """A person was told of these; what became worse meanwhile is told again."""
    await db.executemany(
        "UPDATE attention SET told = 1 WHERE what = ? AND since = ?", [(row.what, row.since) for row in rows]
    )


async def switch_on(db: aiosqlite.Connection) -> None:
    """Mail is sent from now on; photos that were there before it was wanted are no news."""
    if not await settings.get(db, _IS_ON, False):
        await db.execute("UPDATE synced_photos SET announced = 1 WHERE announced = 0")
        await settings.put(db, _IS_ON, True)


async def switch_off(db: aiosqlite.Connection) -> None:
    """No mail is wanted."""
    await settings.remove(db, _IS_ON)


async def arrivals(db: aiosqlite.Connection) -> list[Arrivals]:
    """Events with photos that nobody was told of."""
    rows = await db.execute_fetchall(
        "SELECT p.event_id, e.name, count(*), (julianday('now') - julianday(max(p.synced_at))) * 86400,"
        " (julianday('now') - julianday(min(p.synced_at))) * 86400, EXISTS (SELECT 1 FROM jobs j"
        " JOIN event_wanted w ON w.photo_id = j.item AND w.event_id = p.event_id"
        f" WHERE j.kind = '{EVENT_PHOTO}' AND j.state IN ('queued', 'running'))"
        " FROM synced_photos p JOIN events e USING (event_id)"
        " WHERE p.announced = 0 AND p.removed_at IS NULL GROUP BY p.event_id ORDER BY p.event_id"
    )
    return [
        Arrivals(event_id, name, photos, quiet_s, waited_s, bool(busy))
        for event_id, name, photos, quiet_s, waited_s, busy in rows
    ]


async def new_photos(db: aiosqlite.Connection, event_id: str) -> list[int]:
    """Row numbers of the photos of an event that nobody was told of."""
    rows = await db.execute_fetchall(
        "SELECT id FROM synced_photos WHERE event_id = ? AND announced = 0 AND removed_at IS NULL",
        (event_id,),
    )
    return [row[0] for row in rows]


async def photos_told(db: aiosqlite.Connection, ids: Collection[int]) -> None:
    """People were told of these photos."""
    await db.execute(
        "UPDATE synced_photos SET announced = 1 WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )


class LostEvent(NamedTuple):
    """A followed event whose folder cannot be seen: why, and since when (RFC 3339)."""

    event_id: str
    name: str
    reason: str
    since: str


async def lost_events(db: aiosqlite.Connection) -> list[LostEvent]:
    """Followed events whose folder cannot be seen, by id."""
    rows = await db.execute_fetchall(
        "SELECT event_id, name, blocked, coalesce(blocked_at, created_at) FROM events"
        " WHERE blocked IS NOT NULL AND auto_sync_enabled = 1 ORDER BY event_id"
    )
    return [LostEvent(*row) for row in rows]
