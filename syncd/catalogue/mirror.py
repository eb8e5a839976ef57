"""The mirror as the catalogue sees it: what it has to be told, and what it was told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

import aiosqlite
import anyio.to_thread
import msgspec

from syncd.catalogue._sqlite import NOW
from syncd.catalogue.words import texts_of

ALBUM = 0
"""The photo id of a mark that is about an album's name."""


class Mark(NamedTuple):
    """Something to tell the mirror: a photo in an album, or an album's name (`photo_id` ALBUM)."""

    album_id: int
    photo_id: int
    version: int


class Pair(NamedTuple):
    """A marked photo in an album. Not `is_present`: it is there no more. Of a description only what is
    approved; `embedding` is little-endian float32; `albums` counts the albums that hold the photo.
    `image_url` is the original's where that may be had: the address of a large rendering is only known once
    somebody has looked at the photo, and to look at it is not to change it."""

    mark: Mark
    album_key: str
    image_key: str
    is_present: bool
    albums: int
    album_name: str
    filename: str
    title: str
    caption: str
    keywords: tuple[str, ...]
    date_taken: str | None
    thumbnail_url: str | None
    image_url: str | None
    width: int | None
    height: int | None
    sport: str | None
    description: str | None
    tags: tuple[str, ...]
    categories: tuple[str, ...]
    teams: tuple[str, ...]
    event: str | None
    confidence: float | None
    embedding: bytes | None


class AlbumName(NamedTuple):
    """An album whose name is marked."""

    mark: Mark
    album_key: str
    name: str


Local = tuple[str, str, int, int, int | None]
"""A present photo in an album: album key, image key, album id, photo id, and the digest of the row that the
mirror was last known to have. A plain tuple, which costs the garbage collector nothing."""


class QueueRow(NamedTuple):
    """How many marks there are: to be told, and turned down by Postgres."""

    waiting: int
    failed: int
    error: str | None


class StateRow(NamedTuple):
    """The mirror as it was last seen; `last_sync` is when the library was last read completely."""

    identity: str | None
    last_success_at: str | None
    compared_sync: str | None
    last_sync: str | None


_decode = msgspec.json.Decoder(tuple[str, ...]).decode
_DUE = f"(q.retry_at IS NULL OR q.retry_at <= {NOW})"

_PAIRS = f"""
SELECT q.album_id, q.photo_id, q.version, a.album_key, p.image_key,
    l.photo_id IS NOT NULL AND a.removed_at IS NULL AND p.removed_at IS NULL,
    (SELECT count(*) FROM smugmug_album_photos o WHERE o.photo_id = p.id), a.title, p.filename, p.title,
    p.caption, p.keywords, p.date_taken, p.thumbnail_url,
    coalesce(p.original_url, p.large_url, p.thumbnail_url), p.width, p.height,
    coalesce(nullif(h.sport, ''), m.sport), m.ai_description, coalesce(m.ai_tags, '[]'),
    coalesce(m.ai_categories, '[]'), coalesce(m.teams, '[]'), m.event, m.confidence_score, m.embedding
FROM (SELECT * FROM mirror_queue q WHERE q.photo_id <> {ALBUM} AND {_DUE}
    ORDER BY q.album_id, q.photo_id LIMIT ?) q
JOIN smugmug_albums a ON a.id = q.album_id
JOIN smugmug_photos p ON p.id = q.photo_id
LEFT JOIN smugmug_album_photos l ON l.album_id = q.album_id AND l.photo_id = q.photo_id
LEFT JOIN ai_metadata m ON m.photo_id = q.photo_id AND m.approved
LEFT JOIN album_name_hints h ON h.album_key = a.album_key
"""
_LISTS = tuple(map(Pair._fields.index, ("keywords", "tags", "categories", "teams")))


async def is_due(db: aiosqlite.Connection) -> bool:
    """Whether there is anything to tell the mirror now."""
    rows = await db.execute_fetchall(f"SELECT EXISTS (SELECT 1 FROM mirror_queue q WHERE {_DUE})")
    return bool(next(iter(rows))[0])


async def pairs(db: aiosqlite.Connection, limit: int) -> list[Pair]:
    """Marked photos that are due, by album."""
    rows = await db.execute_fetchall(_PAIRS, (limit,))
    return await anyio.to_thread.run_sync(lambda: [_pair(row) for row in rows])


def _pair(row: sqlite3.Row) -> Pair:
    values = list(row[2:])
    values[0] = Mark(*row[:3])
    for place in _LISTS:
        listed = values[place]
        values[place] = () if listed == "[]" else _texts(listed)
    return Pair._make(values)


def _texts(listed: str) -> tuple[str, ...]:
    try:
        return _decode(listed)
    except msgspec.MsgspecError:
        return tuple(texts_of(listed))  # something else is among them


async def album_names(db: aiosqlite.Connection) -> list[AlbumName]:
    """The present albums whose names are marked and due."""
    rows = await db.execute_fetchall(
        "SELECT q.album_id, q.photo_id, q.version, a.album_key, a.title FROM mirror_queue q"
        f" JOIN smugmug_albums a ON a.id = q.album_id WHERE q.photo_id = {ALBUM} AND {_DUE}"
    )
    return [AlbumName(Mark(*row[:3]), *row[3:]) for row in rows]


async def forget_unknown(db: aiosqlite.Connection) -> None:
    """Drops marks of what the catalogue does not know any more: somebody has deleted its rows."""
    await db.execute(
        "DELETE FROM mirror_queue WHERE album_id NOT IN (SELECT id FROM smugmug_albums)"
        f" OR photo_id <> {ALBUM} AND photo_id NOT IN (SELECT id FROM smugmug_photos)"
    )


async def told(
    db: aiosqlite.Connection, marks: Iterable[Mark], digests: Iterable[tuple[int, int, int | None]]
) -> None:
    """The mirror knows these. Those that were marked again meanwhile stay. `digests` are (album id, photo
    id, digest of its row), None for a row that is gone."""
    await db.executemany(
        "DELETE FROM mirror_queue WHERE album_id = ? AND photo_id = ? AND version = ?", list(marks)
    )
    rows = list(digests)
    await db.executemany(
        "INSERT INTO mirror_rows VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest",
        [row for row in rows if row[2] is not None],
    )
    await db.executemany(
        "DELETE FROM mirror_rows WHERE album_id = ? AND photo_id = ?",
        [row[:2] for row in rows if row[2] is None],
    )


async def turned_down(db: aiosqlite.Connection, marks: Iterable[Mark], error: str, retry_s: float) -> None:
    """Postgres does not take these as they are; asked again after `retry_s` seconds or once they change."""
    await db.executemany(
        "UPDATE mirror_queue SET error = ?, retry_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)"
        " WHERE album_id = ? AND photo_id = ? AND version = ?",
        [(error, f"{retry_s:+f} seconds", *mark) for mark in marks],
    )


async def retry(db: aiosqlite.Connection) -> None:
    """What Postgres turned down is due now."""
    await db.execute("UPDATE mirror_queue SET retry_at = NULL WHERE retry_at IS NOT NULL")


async def mark(db: aiosqlite.Connection, wanted: Iterable[tuple[int, int]]) -> None:
    """Marks (album id, photo id)."""
    await db.executemany("INSERT INTO mirror_marks VALUES (?, ?)", list(wanted))


async def queue(db: aiosqlite.Connection) -> QueueRow:
    """What is marked."""
    rows = await db.execute_fetchall(
        "SELECT count(*) - count(error), count(error), min(error) FROM mirror_queue"
    )
    return QueueRow(*next(iter(rows)))


async def local_rows(db: aiosqlite.Connection) -> list[Local]:
    """Every present photo in every present album."""
    rows = await db.execute_fetchall(
        "SELECT a.album_key, p.image_key, l.album_id, l.photo_id, r.digest FROM smugmug_album_photos l"
        " JOIN smugmug_albums a ON a.id = l.album_id JOIN smugmug_photos p ON p.id = l.photo_id"
        " LEFT JOIN mirror_rows r ON r.album_id = l.album_id AND r.photo_id = l.photo_id"
        " WHERE a.removed_at IS NULL AND p.removed_at IS NULL"
    )
    return list(rows)  # type: ignore[arg-type]


async def only_albums(db: aiosqlite.Connection, image_keys: Collection[str]) -> dict[str, str]:
    """The album of each of these photos that is in exactly one, by image key."""
    rows = await db.execute_fetchall(
        "SELECT p.image_key, min(a.album_key) FROM smugmug_photos p"
        " JOIN smugmug_album_photos l ON l.photo_id = p.id JOIN smugmug_albums a ON a.id = l.album_id"
        " WHERE p.image_key IN (SELECT value FROM json_each(?)) AND p.removed_at IS NULL"
        " AND a.removed_at IS NULL GROUP BY p.id HAVING count(*) = 1",
        (json.dumps(list(image_keys)),),
    )
    return {row[0]: row[1] for row in rows}


async def state(db: aiosqlite.Connection) -> StateRow:
    rows = await db.execute_fetchall(
        "SELECT m.identity, m.last_success_at, m.compared_sync, a.last_sync"
        " FROM mirror_state m, smugmug_account a"
    )
    return StateRow(*next(iter(rows)))


async def succeeded(db: aiosqlite.Connection, at: str) -> None:
    """All that was due has been told."""
    await db.execute("UPDATE mirror_state SET last_success_at = ?", (at,))


async def compared(db: aiosqlite.Connection, identity: str, last_sync: str | None) -> None:
    """The whole mirror was compared, as it had to be after the sync of `last_sync`."""
    await db.execute(
        f"UPDATE mirror_state SET identity = ?, compared_at = {NOW}, compared_sync = ?", (identity, last_sync)
    )
