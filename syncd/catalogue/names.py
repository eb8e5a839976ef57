"""Names of albums: the journal of changes, hints by hand, and the snapshot that plans are made of."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiosqlite

from syncd.catalogue._sqlite import NOW
from syncd.catalogue.words import texts_of

_COLUMNS = (
    "id, album_key, old_name, new_name, changed_at, changed_by, source, state, confirmed_at, mirrored_at,"
    " error"
)


class ChangeRow(NamedTuple):
    """One change of the journal; times are RFC 3339 in UTC. `state` is `begun` (SmugMug was asked, or is
    about to be), `confirmed` (it has the new name) or `failed`."""

    id: int
    album_key: str
    old_name: str
    new_name: str
    changed_at: str
    changed_by: str
    source: str
    state: str
    confirmed_at: str | None
    mirrored_at: str | None
    error: str | None


@dataclass(slots=True)
class SeenRow:
    """What the model wrote of `photos` photos."""

    teams: tuple[str, ...]
    event: str
    approved: bool
    photos: int


@dataclass(slots=True)
class HintRow:
    """What a person said of an album."""

    teams: tuple[str, ...] = ()
    event: str = ""
    sport: str = ""


@dataclass(slots=True)
class AlbumRow:
    """What the catalogue knows of a present album. `title` is SmugMug's name as last read, `days` counts
    photos by the ISO day of their capture."""

    album_key: str
    title: str
    image_count: int
    is_read: bool
    album_date: str | None
    photo_count: int = 0
    days: dict[str, int] = field(default_factory=dict)
    seen: list[SeenRow] = field(default_factory=list)
    hint: HintRow | None = None


# --- the snapshot ---------------------------------------------------------------------------------------


async def snapshot(db: aiosqlite.Connection) -> list[AlbumRow]:
    """Every present album, by title."""
    albums: dict[int, AlbumRow] = {}
    sql = (
        "SELECT id, album_key, title, image_count, synced_at, album_date FROM smugmug_albums"
        " WHERE removed_at IS NULL ORDER BY title, id"
    )
    async with db.execute(sql) as rows:
        async for row in rows:
            albums[row[0]] = AlbumRow(row[1], row[2], row[3], row[4] is not None, row[5])
    sql = (
        "SELECT a.album_id, substr(p.date_taken, 1, 10), count(*) FROM smugmug_album_photos a"
        " JOIN smugmug_photos p ON p.id = a.photo_id WHERE p.removed_at IS NULL GROUP BY 1, 2"
    )
    async with db.execute(sql) as rows:
        async for album_id, day, count in rows:
            if (album := albums.get(album_id)) is not None:
                album.photo_count += count
                if day:
                    album.days[day] = count
    sql = (
        "SELECT a.album_id, m.teams, m.event, m.approved, count(*) FROM smugmug_album_photos a"
        " JOIN smugmug_photos p ON p.id = a.photo_id JOIN ai_metadata m ON m.photo_id = p.id"
        " WHERE p.removed_at IS NULL AND m.processing_status IN ('review', 'approved') GROUP BY 1, 2, 3, 4"
    )
    async with db.execute(sql) as rows:
        async for album_id, teams, event, approved, count in rows:
            if (album := albums.get(album_id)) is not None:
                album.seen.append(SeenRow(tuple(texts_of(teams)), event, bool(approved), count))
    hints = await all_hints(db)
    for album in albums.values():
        album.hint = hints.get(album.album_key)
    return list(albums.values())


async def version(db: aiosqlite.Connection) -> tuple[Any, ...]:
    """Something that differs once what plans are made of has changed."""
    sql = (
        "SELECT (SELECT count(*) FROM smugmug_albums WHERE removed_at IS NULL),"
        " (SELECT max(synced_at) FROM smugmug_albums), (SELECT max(updated_at) FROM ai_metadata),"
        " (SELECT max(updated_at) FROM album_name_hints), (SELECT count(*) FROM album_name_hints),"
        " (SELECT max(id) FROM album_name_changes)"
    )
    return tuple(next(iter(await db.execute_fetchall(sql))))


async def photo_counts(db: aiosqlite.Connection) -> dict[str, int]:
    """How many photos each present album holds, those with none included, by title."""
    sql = (
        "SELECT b.album_key, count(p.id) FROM smugmug_albums b"
        " LEFT JOIN smugmug_album_photos a ON a.album_id = b.id"
        " LEFT JOIN smugmug_photos p ON p.id = a.photo_id AND p.removed_at IS NULL"
        " WHERE b.removed_at IS NULL GROUP BY b.id ORDER BY b.title, b.id"
    )
    return dict(await db.execute_fetchall(sql))  # type: ignore[arg-type]


async def titles(db: aiosqlite.Connection, *, removed: bool = False) -> dict[str, str]:
    """SmugMug's names as last read, by key: of present albums, or of removed ones as well."""
    where = "" if removed else " WHERE removed_at IS NULL"
    return dict(await db.execute_fetchall(f"SELECT album_key, title FROM smugmug_albums{where}"))  # type: ignore[arg-type]


async def set_title(db: aiosqlite.Connection, album_key: str, title: str, updated: str | None) -> None:
    """Records the name that SmugMug has, and the album's stamp with it."""
    await db.execute(
        "UPDATE smugmug_albums SET title = ?, album_updated = coalesce(?, album_updated)"
        " WHERE album_key = ? AND title <> ?",
        (title, updated, album_key, title),
    )


async def mirror_waits_since(db: aiosqlite.Connection) -> str | None:
    """When the mirror last had all that was due, where it has something to be told now."""
    sql = "SELECT last_success_at FROM mirror_state WHERE EXISTS (SELECT 1 FROM mirror_queue)"
    return next((row[0] for row in await db.execute_fetchall(sql)), None)


# --- the journal ----------------------------------------------------------------------------------------


async def begin(
    db: aiosqlite.Connection, album_key: str, old_name: str, new_name: str, *, changed_by: str, source: str
) -> int:
    """A new change, written before SmugMug is asked; its id."""
    cursor = await db.execute(
        "INSERT INTO album_name_changes (album_key, old_name, new_name, changed_by, source)"
        " VALUES (?, ?, ?, ?, ?)",
        (album_key, old_name, new_name, changed_by, source),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


async def confirm(db: aiosqlite.Connection, change_id: int, name: str, updated: str | None) -> None:
    """SmugMug calls the album `name` now; `updated` is its stamp of that."""
    await db.execute(
        f"UPDATE album_name_changes SET state = 'confirmed', confirmed_at = {NOW}, new_name = ?, error = NULL"
        " WHERE id = ? AND state = 'begun'",
        (name, change_id),
    )
    row = await change(db, change_id)
    if row is not None:
        await set_title(db, row.album_key, name, updated)


async def fail(db: aiosqlite.Connection, change_id: int, error: str) -> None:
    """It was not done, and will not be."""
    await db.execute(
        "UPDATE album_name_changes SET state = 'failed', error = ? WHERE id = ? AND state = 'begun'",
        (error, change_id),
    )


async def mirrored(db: aiosqlite.Connection, change_id: int) -> None:
    """The mirror has the name."""
    await db.execute(
        f"UPDATE album_name_changes SET mirrored_at = {NOW}, error = NULL WHERE id = ?", (change_id,)
    )


async def not_mirrored(db: aiosqlite.Connection, change_id: int, error: str) -> None:
    """The mirror does not have the name yet."""
    await db.execute(
        "UPDATE album_name_changes SET error = ? WHERE id = ? AND mirrored_at IS NULL", (error, change_id)
    )


async def change(db: aiosqlite.Connection, change_id: int) -> ChangeRow | None:
    rows = await _changes(db, "WHERE id = ?", (change_id,))
    return rows[0] if rows else None


async def begun(db: aiosqlite.Connection) -> list[ChangeRow]:
    """Changes of which it is not known whether SmugMug has them, oldest first."""
    return await _changes(db, "WHERE state = 'begun' ORDER BY id", ())


async def unmirrored(db: aiosqlite.Connection, album_keys: Collection[str] | None = None) -> list[ChangeRow]:
    """Changes that SmugMug has and the mirror does not, oldest first."""
    found = await _changes(db, "WHERE state = 'confirmed' AND mirrored_at IS NULL ORDER BY id", ())
    return [row for row in found if album_keys is None or row.album_key in album_keys]


async def since(db: aiosqlite.Connection, at: str) -> list[ChangeRow]:
    """Changes from a time on that SmugMug has, oldest first."""
    where = "WHERE state = 'confirmed' AND changed_at >= ? ORDER BY id"
    return await _changes(db, where, (at,))


async def by_ids(db: aiosqlite.Connection, ids: Sequence[int]) -> list[ChangeRow]:
    """The changes of these ids that there are, oldest first."""
    where = "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
    return await _changes(db, where, (json.dumps(list(ids)),))


async def log(db: aiosqlite.Connection, *, before: int | None, limit: int) -> list[ChangeRow]:
    """The newest changes first, or those before an id."""
    where = "WHERE id < ? ORDER BY id DESC LIMIT ?"
    return await _changes(db, where, (1 << 62 if before is None else before, limit))


async def count_since(db: aiosqlite.Connection, source: str, at: str) -> int:
    """How many changes of this source were begun from a time on, however they ended."""
    sql = "SELECT count(*) FROM album_name_changes WHERE changed_at >= ? AND source = ?"
    return int(next(iter(await db.execute_fetchall(sql, (at, source))))[0])


async def given(db: aiosqlite.Connection, *, failed_since: str) -> set[tuple[str, str]]:
    """(album key, name) of every name that was given once, or tried in vain since a time."""
    sql = (
        "SELECT DISTINCT album_key, new_name FROM album_name_changes"
        " WHERE state <> 'failed' OR changed_at >= ?"
    )
    return {(row[0], row[1]) for row in await db.execute_fetchall(sql, (failed_since,))}


async def _changes(db: aiosqlite.Connection, where: str, values: tuple[Any, ...]) -> list[ChangeRow]:
    rows = await db.execute_fetchall(f"SELECT {_COLUMNS} FROM album_name_changes {where}", values)
    return [ChangeRow(*row) for row in rows]


# --- hints ----------------------------------------------------------------------------------------------


async def put_hint(db: aiosqlite.Connection, album_key: str, hint: HintRow) -> None:
    """Keeps a hint in the place of the one before; an empty one is none."""
    if not (hint.teams or hint.event or hint.sport):
        await db.execute("DELETE FROM album_name_hints WHERE album_key = ?", (album_key,))
        return
    await db.execute(
        "INSERT INTO album_name_hints (album_key, teams, event, sport) VALUES (?, ?, ?, ?)"
        f" ON CONFLICT DO UPDATE SET teams = excluded.teams, event = excluded.event,"
        f" sport = excluded.sport, updated_at = {NOW}",
        (album_key, json.dumps(list(hint.teams), ensure_ascii=False), hint.event, hint.sport),
    )


async def all_hints(db: aiosqlite.Connection) -> dict[str, HintRow]:
    """Hints by album key."""
    rows = await db.execute_fetchall("SELECT album_key, teams, event, sport FROM album_name_hints")
    return {row[0]: HintRow(tuple(texts_of(row[1])), row[2], row[3]) for row in rows}
