"""The library's albums and photos as they are recorded: readings of albums, and what leaves.

An album is read page by page. Each page is recorded together with the place of the next one, so a reading
that was cut off goes on where it stopped. A reading that saw everything gets its number into the album's
row: a photo that it did not see has gone from the album, and is taken out when a whole sync allows it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Protocol

import aiosqlite

from syncd.catalogue._sqlite import NOW
from syncd.catalogue.library_photos import PageEffects, PhotoFields, photo_ids, put_photos

STAMPS = "coalesce(a.album_updated, '') || '|' || coalesce(a.images_updated, '') || '|' || a.image_count"
"""Of a row `a` of smugmug_albums: what tells a changed album without reading it."""
_AMONG = "IN (SELECT value FROM json_each(?))"


class Album(Protocol):
    """What SmugMug says of an album; `AlbumInfo` of remotes/smugmug_items.py is one."""

    @property
    def album_key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def node_id(self) -> str | None: ...
    @property
    def description(self) -> str: ...
    @property
    def keywords(self) -> Sequence[str]: ...
    @property
    def image_count(self) -> int: ...
    @property
    def updated(self) -> str | None: ...
    @property
    def last_updated(self) -> str | None: ...
    @property
    def images_updated(self) -> str | None: ...
    @property
    def date(self) -> str | None: ...
    @property
    def url_name(self) -> str: ...
    @property
    def url_path(self) -> str: ...
    @property
    def web_url(self) -> str: ...
    @property
    def privacy(self) -> str | None: ...
    @property
    def security_type(self) -> str | None: ...
    @property
    def sort_method(self) -> str | None: ...


_ALBUM_FIELDS = (
    "album_id", "title", "description", "keywords", "image_count", "last_updated", "album_updated",
    "images_updated", "album_date", "url_name", "url_path", "web_url", "privacy", "security_type",
    "sort_method",
)  # fmt: skip


class AlbumChange(NamedTuple):
    """An album that is new (`old_title` None) or has another name."""

    album_key: str
    title: str
    old_title: str | None


class KnownAlbum(NamedTuple):
    """A present album as the catalogue has it. `memo` is what its last reading stands for; `is_restless`: it
    has photos that SmugMug still works on, or that were not seen any more and are still here; `photos` are
    those that it holds."""

    album_key: str
    title: str
    memo: str | None
    read_began_at: str | None
    synced_at: str | None
    image_count: int
    photos: int
    is_restless: bool
    last_error: str | None


class Reading(NamedTuple):
    """A reading under way: it goes on at `next_path` (None: from the first page), and `total` photos were
    promised when it began."""

    number: int
    album_id: int
    album_key: str
    title: str
    began_at: str
    memo: str
    next_path: str | None
    total: int | None


class Departure(NamedTuple):
    """A photo that is not in an album any more; `stays`: another album has it."""

    album_key: str
    image_key: str
    filename: str
    stays: bool


# --- albums -----------------------------------------------------------------------------------------


async def put_albums(db: aiosqlite.Connection, albums: Sequence[Album]) -> list[AlbumChange]:
    """Records albums as SmugMug has them now. One that was gone and is back is read anew."""
    keys = json.dumps([album.album_key for album in albums])
    known = {
        row[0]: row[1]
        for row in await db.execute_fetchall(
            f"SELECT album_key, title FROM smugmug_albums WHERE removed_at IS NULL AND album_key {_AMONG}",
            (keys,),
        )
    }
    columns = ", ".join(_ALBUM_FIELDS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in _ALBUM_FIELDS)
    again = ", ".join(
        f"{name} = iif(removed_at IS NULL, {name}, NULL)"
        for name in ("memo", "read_began_at", "synced_at", "last_error")
    )
    await db.executemany(
        f"INSERT INTO smugmug_albums (album_key, {columns}) VALUES (?{', ?' * len(_ALBUM_FIELDS)})"
        f" ON CONFLICT (album_key) DO UPDATE SET {updates}, {again}, removed_at = NULL",
        [
            (
                one.album_key, one.node_id, one.name, one.description, json.dumps(list(one.keywords)),
                one.image_count, one.updated, one.last_updated, one.images_updated, one.date, one.url_name,
                one.url_path, one.web_url, one.privacy, one.security_type, one.sort_method,
            )
            for one in albums
        ],
    )  # fmt: skip
    return [
        AlbumChange(one.album_key, one.name, known.get(one.album_key))
        for one in albums
        if known.get(one.album_key) != one.name
    ]


async def known_albums(db: aiosqlite.Connection) -> dict[str, KnownAlbum]:
    """Every present album by key."""
    rows = await db.execute_fetchall(
        "SELECT a.album_key, a.title, a.memo, a.read_began_at, a.synced_at, a.image_count, count(l.photo_id),"
        " coalesce(max(l.read_number < a.read_number OR (p.is_processing = 1 AND p.is_video = 0"
        " AND p.uploaded_at > strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 day'))), 0), a.last_error"
        " FROM smugmug_albums a LEFT JOIN smugmug_album_photos l ON l.album_id = a.id"
        " LEFT JOIN smugmug_photos p ON p.id = l.photo_id WHERE a.removed_at IS NULL GROUP BY a.id"
    )
    found: dict[str, KnownAlbum] = {}
    for row in rows:
        values: list[Any] = [*row[:7], bool(row[7]), row[8]]
        found[values[0]] = KnownAlbum(*values)
    return found


async def note_album_error(db: aiosqlite.Connection, album_key: str, error: str | None) -> None:
    """Why the album could not be read; None: nothing is amiss."""
    await db.execute("UPDATE smugmug_albums SET last_error = ? WHERE album_key = ?", (error, album_key))


# --- readings ---------------------------------------------------------------------------------------


async def begin_read(
    db: aiosqlite.Connection, album_key: str, *, since: str | None = None, anew: bool = False
) -> Reading | None:
    """The reading of an album: the one that was cut off, where it began after `since` (RFC 3339) and the
    album is as it was then, unless `anew`; else a new one. None for an album that is not there."""
    await db.execute(
        "DELETE FROM smugmug_reads WHERE number IN (SELECT r.number FROM smugmug_reads r"
        " JOIN smugmug_albums a ON a.id = r.album_id WHERE a.album_key = ?"
        f" AND (? OR r.began_at < ? OR r.memo <> {STAMPS}))",
        (album_key, anew, since),
    )
    await db.execute(
        f"INSERT OR IGNORE INTO smugmug_reads (album_id, memo) SELECT a.id, {STAMPS} FROM smugmug_albums a"
        " WHERE a.album_key = ? AND a.removed_at IS NULL",
        (album_key,),
    )
    rows = await db.execute_fetchall(
        "SELECT r.number, a.id, a.album_key, a.title, r.began_at, r.memo, r.next_path, r.total"
        " FROM smugmug_reads r JOIN smugmug_albums a ON a.id = r.album_id WHERE a.album_key = ?",
        (album_key,),
    )
    return next((Reading(*row) for row in rows), None)


async def put_page(
    db: aiosqlite.Connection,
    reading: Reading,
    photos: Sequence[PhotoFields],
    *,
    start: int,
    total: int,
    next_path: str | None,
) -> PageEffects:
    """Records a page of an album's photos, and where to go on."""
    unique = list({photo.image_key: photo for photo in photos}.values())
    effects = await put_photos(db, reading.album_id, unique)
    ids = await photo_ids(db, unique)
    before = await _number(
        db, "SELECT count(*) FROM smugmug_album_photos WHERE album_id = ?", reading.album_id
    )
    await db.executemany(
        "INSERT INTO smugmug_album_photos (album_id, photo_id, position, read_number) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET position = excluded.position, read_number = excluded.read_number",
        [
            (reading.album_id, ids[photo.image_key], start + place, reading.number)
            for place, photo in enumerate(unique)
        ],
    )
    after = await _number(
        db, "SELECT count(*) FROM smugmug_album_photos WHERE album_id = ?", reading.album_id
    )
    await db.execute(
        "UPDATE smugmug_reads SET next_path = ?, total = coalesce(total, ?) WHERE number = ?",
        (next_path, total, reading.number),
    )
    return effects._replace(added=after - before)


async def seen(db: aiosqlite.Connection, reading: Reading) -> int:
    """How many different photos the reading has seen."""
    sql = "SELECT count(*) FROM smugmug_album_photos WHERE album_id = ? AND read_number = ?"
    return await _number(db, sql, reading.album_id, reading.number)


async def end_read(db: aiosqlite.Connection, reading: Reading, *, saw_all: bool, error: str | None) -> None:
    """All pages were read. Only where the reading `saw_all` is what it did not see taken for gone."""
    await db.execute(
        f"UPDATE smugmug_albums SET synced_at = {NOW}, memo = ?, read_began_at = ?, last_error = ?,"
        " read_number = iif(?, ?, read_number) WHERE id = ?",
        (reading.memo, reading.began_at, error, saw_all, reading.number, reading.album_id),
    )
    await drop_read(db, reading.album_key)


async def drop_read(db: aiosqlite.Connection, album_key: str) -> None:
    """The reading came to nothing, or to its end; what it recorded stays."""
    await db.execute(
        "DELETE FROM smugmug_reads WHERE album_id = (SELECT id FROM smugmug_albums WHERE album_key = ?)",
        (album_key,),
    )


# --- what leaves ------------------------------------------------------------------------------------

_STALE = (
    "(l.read_number < (SELECT read_number FROM smugmug_albums a WHERE a.id = l.album_id)"
    " OR l.album_id IN (SELECT a.id FROM smugmug_albums a WHERE a.album_key IN"
    " (SELECT value FROM json_each(?1))))"
)


async def departures(db: aiosqlite.Connection, gone: Collection[str] = ()) -> list[Departure]:
    """Photos that the last reading of their album did not see, and all of the albums `gone`."""
    rows = await db.execute_fetchall(
        "SELECT a.album_key, p.image_key, p.filename, EXISTS (SELECT 1 FROM smugmug_album_photos l"
        f" WHERE l.photo_id = d.photo_id AND NOT {_STALE}) FROM (SELECT l.album_id, l.photo_id"
        f" FROM smugmug_album_photos l WHERE {_STALE}) d JOIN smugmug_albums a ON a.id = d.album_id"
        " JOIN smugmug_photos p ON p.id = d.photo_id ORDER BY a.album_key, p.image_key",
        (json.dumps(sorted(gone)),),
    )
    return [Departure(row[0], row[1], row[2], bool(row[3])) for row in rows]


async def take_out(db: aiosqlite.Connection, gone: Collection[str] = ()) -> None:
    """Takes out what `departures` told, and the albums `gone`. Rows stay, with `removed_at`."""
    keys = json.dumps(sorted(gone))
    await db.execute(
        "DELETE FROM smugmug_album_photos WHERE (album_id, photo_id) IN (SELECT l.album_id, l.photo_id"
        f" FROM smugmug_album_photos l WHERE {_STALE})",
        (keys,),
    )
    await db.execute(
        "DELETE FROM smugmug_reads WHERE album_id IN"
        f" (SELECT id FROM smugmug_albums WHERE album_key {_AMONG})",
        (keys,),
    )
    await db.execute(
        f"UPDATE smugmug_albums SET removed_at = {NOW}, last_error = NULL"
        f" WHERE removed_at IS NULL AND album_key {_AMONG}",
        (keys,),
    )
    alone = "NOT EXISTS (SELECT 1 FROM smugmug_album_photos l WHERE l.photo_id = smugmug_photos.id)"
    await db.execute(f"UPDATE smugmug_photos SET removed_at = {NOW} WHERE removed_at IS NULL AND {alone}")
    await db.execute(
        "UPDATE smugmug_photos SET album_id = (SELECT min(l.album_id) FROM smugmug_album_photos l"
        " WHERE l.photo_id = smugmug_photos.id) WHERE removed_at IS NULL AND NOT EXISTS (SELECT 1"
        " FROM smugmug_album_photos l WHERE l.photo_id = smugmug_photos.id"
        " AND l.album_id = smugmug_photos.album_id)"
    )


# --- the account ------------------------------------------------------------------------------------


class AccountRow(NamedTuple):
    """How the account was when it was last asked; times RFC 3339."""

    last_sync: str | None
    swept_until: str | None
    state: str
    reason: str | None
    resume_at: str | None


async def account(db: aiosqlite.Connection) -> AccountRow:
    rows = await db.execute_fetchall(
        "SELECT last_sync, swept_until, state, reason, resume_at FROM smugmug_account"
    )
    return next(AccountRow(*row) for row in rows)


async def set_health(db: aiosqlite.Connection, state: str, reason: str | None, resume_at: str | None) -> None:
    await db.execute(
        "UPDATE smugmug_account SET state = ?, reason = ?, resume_at = ?", (state, reason, resume_at)
    )


async def note_synced(db: aiosqlite.Connection, swept_until: str | None) -> None:
    """A sync of the whole library is complete."""
    await db.execute(
        f"UPDATE smugmug_account SET last_sync = {NOW}, swept_until = coalesce(?, swept_until)",
        (swept_until,),
    )


async def _number(db: aiosqlite.Connection, sql: str, *values: Any) -> int:
    rows = list(await db.execute_fetchall(sql, values))
    return int(rows[0][0])
