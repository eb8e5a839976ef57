"""Reads of the library for people, and the hashes of its thumbnails."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import aiosqlite

from syncd.catalogue.library import STAMPS
from syncd.catalogue.words import texts_of

_IS_CURRENT = f"(a.memo IS ({STAMPS}) AND a.last_error IS NULL)"


@dataclass(frozen=True, slots=True)
class AlbumRow:
    """An album; `photos` are those in the catalogue, `is_current`: nothing is known to have changed since
    `synced_at`."""

    id: int
    album_key: str
    title: str
    image_count: int
    photos_synced: int
    last_updated: str | None
    synced_at: str | None
    is_current: bool
    last_error: str | None
    description: str
    keywords: list[str]
    privacy: str | None
    security_type: str | None
    album_date: str | None
    web_url: str


@dataclass(frozen=True, slots=True)
class AiRow:
    """What was written about a photo."""

    id: int
    status: str
    description: str
    tags: list[str]
    categories: list[str]
    confidence: float | None
    approved: bool
    version: int
    error: str | None


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """A photo of an album. `ai` is None until there is something."""

    id: int
    image_key: str
    filename: str
    title: str
    caption: str
    keywords: list[str]
    date_taken: str | None
    thumbnail_url: str | None
    large_url: str | None
    original_url: str | None
    web_url: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    format: str
    is_video: bool
    is_hidden: bool
    is_processing: bool
    perceptual_hash: str | None
    hash_error: str | None
    ai: AiRow | None


class Totals(NamedTuple):
    """How far the copy is: albums and their photos, a photo in two albums counting in both. `pages_left` are
    the pages that hold what is not synced."""

    albums: int
    albums_synced: int
    photos: int
    photos_synced: int
    pages_left: int


class HashTotals(NamedTuple):
    """Photos whose thumbnails were hashed, are to be, and cannot be."""

    hashed: int
    to_hash: int
    failed: int


class Unhashed(NamedTuple):
    """A photo whose thumbnail is to be hashed."""

    photo_id: int
    serial: int
    url: str


class Picture(NamedTuple):
    """Where pictures of a photo are: some 150 pixels, some 1,600, and all. `large_url` is only known once
    somebody has asked for it."""

    photo_id: int
    image_key: str
    album_key: str | None
    serial: int
    is_video: bool
    thumbnail_url: str | None
    large_url: str | None
    original_url: str | None


class SceneAlbumRow(NamedTuple):
    """An album that holds a picture near a scene's."""

    album_key: str
    title: str
    image_key: str
    distance: int
    web_url: str


_ALBUM = (
    "SELECT a.id, a.album_key, a.title, a.image_count, (SELECT count(*) FROM smugmug_album_photos l"
    f" WHERE l.album_id = a.id), a.last_updated, a.synced_at, {_IS_CURRENT}, a.last_error, a.description,"
    " a.keywords, a.privacy, a.security_type, a.album_date, a.web_url FROM smugmug_albums a"
    " WHERE a.removed_at IS NULL"
)


async def albums(
    db: aiosqlite.Connection, limit: int = 100, cursor: str | None = None
) -> tuple[list[AlbumRow], str | None]:
    """Albums by title, and the cursor of the next page (an album key), None at the end."""
    rows = await db.execute_fetchall(
        f"{_ALBUM} AND (?1 IS NULL OR (a.title, a.id) > (SELECT b.title, b.id FROM smugmug_albums b"
        " WHERE b.album_key = ?1)) ORDER BY a.title, a.id LIMIT ?2",
        (cursor, limit + 1),
    )
    found = [_album(row) for row in rows]
    return found[:limit], found[limit - 1].album_key if len(found) > limit else None


async def album(db: aiosqlite.Connection, name: str) -> AlbumRow | None:
    """The album of this key, else the one of this id."""
    rows = await db.execute_fetchall(
        f"{_ALBUM} AND (a.album_key = ?1 OR CAST(a.id AS TEXT) = ?1) ORDER BY a.album_key <> ?1 LIMIT 1",
        (name,),
    )
    return next((_album(row) for row in rows), None)


async def photos(
    db: aiosqlite.Connection, album_id: int, limit: int = 100, cursor: int | None = None
) -> tuple[list[PhotoRow], str | None]:
    """Photos in the order of the album, and the cursor of the next page (a photo's id), None at the end."""
    rows = await db.execute_fetchall(
        "SELECT p.id, p.image_key, p.filename, p.title, p.caption, p.keywords, p.date_taken, p.thumbnail_url,"
        " p.large_url, p.original_url, p.web_url, p.width, p.height, p.size_bytes, p.format, p.is_video,"
        " p.is_hidden, p.is_processing, p.perceptual_hash, p.hash_error, m.id, m.processing_status,"
        " m.ai_description, m.ai_tags, m.ai_categories, m.confidence_score, m.approved, m.version, m.error"
        " FROM smugmug_album_photos l JOIN smugmug_photos p ON p.id = l.photo_id"
        " LEFT JOIN ai_metadata m ON m.photo_id = p.id WHERE l.album_id = ?1 AND (?2 IS NULL"
        " OR (l.position, l.photo_id) > (SELECT c.position, c.photo_id FROM smugmug_album_photos c"
        " WHERE c.album_id = ?1 AND c.photo_id = ?2)) ORDER BY l.position, l.photo_id LIMIT ?3",
        (album_id, cursor, limit + 1),
    )
    found = [_photo(row) for row in rows]
    return found[:limit], str(found[limit - 1].id) if len(found) > limit else None


class Counts(NamedTuple):
    """Albums, those of them that are current, those that cannot be read, and different photos."""

    albums: int
    current: int
    failed: int
    photos: int


async def counts(db: aiosqlite.Connection) -> Counts:
    rows = list(
        await db.execute_fetchall(
            f"SELECT count(*), coalesce(sum({_IS_CURRENT}), 0), count(a.last_error), (SELECT count(*)"
            " FROM smugmug_photos INDEXED BY smugmug_photos_present WHERE removed_at IS NULL)"
            " FROM smugmug_albums a WHERE a.removed_at IS NULL"
        )
    )
    return Counts(*rows[0])


async def totals(
    db: aiosqlite.Connection, page_size: int, full_since: str | None, only: Collection[str] | None = None
) -> Totals:
    """How far the copy is; of these albums `only`. With `full_since` what was read before does not count."""
    rows = await db.execute_fetchall(
        f"SELECT {_IS_CURRENT} AND (?1 IS NULL OR a.read_began_at >= ?1), a.image_count, count(l.photo_id),"
        " r.number, coalesce(sum(l.read_number = r.number), 0) FROM smugmug_albums a"
        " LEFT JOIN smugmug_album_photos l ON l.album_id = a.id"
        " LEFT JOIN smugmug_reads r ON r.album_id = a.id WHERE a.removed_at IS NULL"
        " AND (?2 IS NULL OR a.album_key IN (SELECT value FROM json_each(?2))) GROUP BY a.id",
        (full_since, None if only is None else json.dumps(list(only))),
    )
    synced = photos = photos_synced = pages = 0
    for is_done, image_count, linked, reading, read in rows:
        if is_done:
            synced += 1
            photos += linked
            photos_synced += linked
            continue
        done = read if reading is not None else 0 if full_since else min(linked, image_count)
        photos += max(image_count, done)
        photos_synced += done
        left = max(0, image_count - (read if reading is not None else 0))
        pages += max(1, -(-left // page_size))
    return Totals(len(list(rows)), synced, photos, photos_synced, pages)


async def errors(db: aiosqlite.Connection) -> list[tuple[str, str, str]]:
    """(album key, title, reason) of albums that could not be read, by title."""
    rows = await db.execute_fetchall(
        "SELECT album_key, title, last_error FROM smugmug_albums WHERE removed_at IS NULL"
        " AND last_error IS NOT NULL ORDER BY title, id"
    )
    return [(row[0], row[1], row[2]) for row in rows]


# --- hashes -----------------------------------------------------------------------------------------

_TO_HASH = (
    "perceptual_hash IS NULL AND hash_error IS NULL AND removed_at IS NULL AND is_video = 0"
    " AND is_processing = 0 AND thumbnail_url IS NOT NULL"
)


async def unhashed(db: aiosqlite.Connection, limit: int, busy: Collection[int] = ()) -> list[Unhashed]:
    """Photos whose thumbnails are to be hashed, oldest first, without the `busy` ones."""
    rows = await db.execute_fetchall(
        f"SELECT id, serial, thumbnail_url FROM smugmug_photos WHERE {_TO_HASH}"
        " AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
        (json.dumps(list(busy)), limit),
    )
    return [Unhashed(*row) for row in rows]


async def note_hash(
    db: aiosqlite.Connection, photo: Unhashed, perceptual_hash: str | None, error: str | None
) -> None:
    """The hash of the thumbnail, or why there is none. A photo that was replaced meanwhile waits again."""
    await db.execute(
        "UPDATE smugmug_photos SET perceptual_hash = ?, hashed_serial = ?, hash_error = ?"
        " WHERE id = ? AND serial = ? AND thumbnail_url = ?",
        (perceptual_hash, photo.serial, error, photo.photo_id, photo.serial, photo.url),
    )


async def forget_hash_errors(db: aiosqlite.Connection) -> None:
    """Thumbnails that could not be hashed are tried again."""
    await db.execute("UPDATE smugmug_photos SET hash_error = NULL WHERE hash_error IS NOT NULL")


async def hash_totals(db: aiosqlite.Connection) -> HashTotals:
    rows = list(
        await db.execute_fetchall(
            "SELECT coalesce(sum(perceptual_hash IS NOT NULL), 0),"
            f" coalesce(sum({_TO_HASH}), 0), coalesce(sum(hash_error IS NOT NULL), 0) FROM smugmug_photos"
            " WHERE removed_at IS NULL"
        )
    )
    return HashTotals(*rows[0])


# --- the library and the archive --------------------------------------------------------------------


async def scene_hashes(db: aiosqlite.Connection) -> list[tuple[str, str]]:
    """(scene id, perceptual hash) of every version that is current or live, by scene."""
    rows = await db.execute_fetchall(
        "SELECT scene_id, perceptual_hash FROM image_versions WHERE perceptual_hash IS NOT NULL"
        " AND (is_current = 1 OR r2_key IS NOT NULL) ORDER BY scene_id"
    )
    return cast("list[tuple[str, str]]", rows)


async def albums_of_scene(db: aiosqlite.Connection, scene_id: str, max_distance: int) -> list[SceneAlbumRow]:
    """Albums that hold a picture within `max_distance` bits of what the scene shows, nearest first. Only on
    a reader, which has the function `hamming`."""
    rows = await db.execute_fetchall(
        "SELECT a.album_key, a.title, p.image_key, min(p.distance), p.web_url FROM (SELECT q.id, q.image_key,"
        " coalesce(q.web_url, '') AS web_url, hamming(q.perceptual_hash, v.perceptual_hash) AS distance"
        " FROM smugmug_photos q JOIN image_versions v ON v.scene_id = ?1 AND v.perceptual_hash IS NOT NULL"
        " AND (v.is_current = 1 OR v.r2_key IS NOT NULL) WHERE q.perceptual_hash IS NOT NULL"
        " AND q.removed_at IS NULL) p JOIN smugmug_album_photos l ON l.photo_id = p.id"
        " JOIN smugmug_albums a ON a.id = l.album_id WHERE p.distance <= ?2 GROUP BY a.id"
        " ORDER BY min(p.distance), a.title, a.id",
        (scene_id, max_distance),
    )
    return [SceneAlbumRow(*row) for row in rows]


async def picture(db: aiosqlite.Connection, name: str) -> Picture | None:
    """The addresses of a photo by its image key, else by its id."""
    rows = await db.execute_fetchall(
        "SELECT p.id, p.image_key, a.album_key, p.serial, p.is_video, p.thumbnail_url, p.large_url,"
        " p.original_url FROM smugmug_photos p LEFT JOIN smugmug_albums a ON a.id = p.album_id"
        " WHERE p.removed_at IS NULL AND (p.image_key = ?1 OR CAST(p.id AS TEXT) = ?1)"
        " ORDER BY p.image_key <> ?1 LIMIT 1",
        (name,),
    )
    for row in rows:
        values: list[Any] = [*row[:4], bool(row[4]), *row[5:]]
        return Picture(*values)
    return None


async def note_large_url(db: aiosqlite.Connection, picture: Picture, url: str) -> None:
    """Where the picture is, as long as the photo is not replaced."""
    await db.execute(
        "UPDATE smugmug_photos SET large_url = ? WHERE id = ? AND serial = ?",
        (url, picture.photo_id, picture.serial),
    )


def _album(row: Any) -> AlbumRow:
    values = list(row)
    values[7], values[10] = bool(values[7]), texts_of(values[10])
    return AlbumRow(*values)


def _photo(row: Any) -> PhotoRow:
    values: list[Any] = list(row[:20])
    values[5] = texts_of(values[5])
    values[15:18] = map(bool, values[15:18])
    return PhotoRow(*values, *[_ai(row[20:])])


def _ai(row: Any) -> AiRow | None:
    metadata_id, status, description, tags, categories, confidence, approved, version, error = row
    if metadata_id is None or (status in ("pending", "processing") and not description and not error):
        return None
    return AiRow(
        metadata_id, status, description, texts_of(tags), texts_of(categories), confidence,
        bool(approved), version, error,
    )  # fmt: skip
