"""The library's photos as they are recorded, and what becomes of a description when its photo is replaced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiosqlite

from syncd.catalogue._sqlite import NOW

SYNCD = "syncd"
"""Who changed a description that no person changed."""
REPLACED = "the photo was replaced"

_AMONG = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class PhotoFields:
    """What is recorded of a photo, in the order of `_FIELDS`; `can_be_described` is for its metadata."""

    image_key: str
    filename: str
    title: str
    caption: str
    keywords: tuple[str, ...]
    date_taken: str | None
    uploaded_at: str | None
    last_updated: str | None
    thumbnail_url: str | None
    large_url: str | None
    original_url: str | None
    web_url: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    md5: str | None
    serial: int
    format: str
    is_video: bool
    is_hidden: bool
    is_processing: bool
    latitude: float | None
    longitude: float | None
    can_be_described: bool


_FIELDS = (
    "filename", "title", "caption", "keywords", "date_taken", "uploaded_at", "last_updated", "thumbnail_url",
    "large_url", "original_url", "web_url", "width", "height", "size_bytes", "md5", "serial", "format",
    "is_video", "is_hidden", "is_processing", "latitude", "longitude",
)  # fmt: skip
_WEB_URL, _SERIAL, _LARGE_URL = map(_FIELDS.index, ("web_url", "serial", "large_url"))


class PageEffects(NamedTuple):
    """What a page changed. `kept` are replaced photos whose descriptions a person had approved."""

    added: int = 0
    changed: int = 0
    replaced: int = 0
    kept: int = 0

    def plus(self, other: PageEffects) -> PageEffects:
        return PageEffects(*(one + two for one, two in zip(self, other, strict=True)))


async def put_photos(db: aiosqlite.Connection, album_id: int, photos: Sequence[PhotoFields]) -> PageEffects:
    """Records photos that were seen in this album. Only rows that differ are written: those who follow the
    table are not woken for nothing."""
    rows = await db.execute_fetchall(
        f"SELECT image_key, id, album_id, removed_at IS NOT NULL, {', '.join(_FIELDS)} FROM smugmug_photos"
        f" WHERE image_key {_AMONG}",
        (json.dumps([photo.image_key for photo in photos]),),
    )
    known = {row[0]: row[1:] for row in rows}
    new, changed, replaced = [], [], []
    for photo in photos:
        values = _values(photo)
        old = known.get(photo.image_key)
        if old is None:
            new.append((photo.image_key, album_id, *values))
            continue
        photo_id, home, was_gone, *before = old
        if home not in (None, album_id) and not was_gone and before[_WEB_URL]:
            values[_WEB_URL] = before[_WEB_URL]  # its address in the album that it was first seen in
        if before[_SERIAL] < photo.serial:
            replaced.append(photo_id)
        elif values[_LARGE_URL] is None:
            values[_LARGE_URL] = before[_LARGE_URL]  # lists do not tell it
        if was_gone:
            changed.append((*values, photo.thumbnail_url, album_id, photo_id))
        elif before != values:
            changed.append((*values, photo.thumbnail_url, home or album_id, photo_id))
    await db.executemany(
        f"INSERT INTO smugmug_photos (image_key, album_id, {', '.join(_FIELDS)})"
        f" VALUES (?, ?{', ?' * len(_FIELDS)})",
        new,
    )
    await db.executemany(
        f"UPDATE smugmug_photos SET {', '.join(f'{name} = ?' for name in _FIELDS)},"
        " hash_error = iif(thumbnail_url IS ?, hash_error, NULL), album_id = ?,"
        f" removed_at = NULL, synced_at = {NOW} WHERE id = ?",
        changed,
    )
    kept = await _note_replaced(db, replaced) if replaced else 0
    await _add_metadata(db, photos)
    return PageEffects(0, len(changed), len(replaced), kept)


def _values(photo: PhotoFields) -> list[Any]:
    values = [getattr(photo, name) for name in _FIELDS]
    return [
        json.dumps(list(value)) if isinstance(value, tuple) else int(value) if value is True or value is False
        else value
        for value in values
    ]  # fmt: skip


async def _add_metadata(db: aiosqlite.Connection, photos: Iterable[PhotoFields]) -> None:
    keys = [photo.image_key for photo in photos if photo.can_be_described]
    await db.execute(
        "INSERT OR IGNORE INTO ai_metadata (photo_id)"
        f" SELECT id FROM smugmug_photos WHERE image_key {_AMONG} ORDER BY id",
        (json.dumps(keys),),
    )


async def _note_replaced(db: aiosqlite.Connection, photo_ids: list[int]) -> int:
    """Other pictures under the same keys: hashed and described again, but for what a person has approved;
    returns how many those are."""
    ids = json.dumps(photo_ids)
    await db.execute(
        "UPDATE smugmug_photos SET perceptual_hash = NULL, hashed_serial = NULL, hash_error = NULL"
        f" WHERE id {_AMONG}",
        (ids,),
    )
    kept = f"processing_status = 'approved' AND approved_by IS NOT '{SYNCD}'"
    history = (
        "INSERT INTO metadata_history (metadata_id, version, previous_description, new_description,"
        " previous_tags, new_tags, previous_categories, new_categories, previous_status, new_status,"
        " changed_by, change_reason) SELECT id, version + 1, ai_description, ai_description, ai_tags,"
        " ai_tags, ai_categories, ai_categories, processing_status, {status}, ?, ? FROM ai_metadata"
        f" WHERE photo_id {_AMONG} AND "
    )
    note = f"{REPLACED}; the approved description was kept"
    await db.execute(history.format(status="'approved'") + kept, (SYNCD, note, ids))
    waits = f"NOT ({kept}) AND processing_status <> 'pending'"
    await db.execute(history.format(status="'pending'") + waits, (SYNCD, REPLACED, ids))
    await db.execute(
        "UPDATE ai_metadata SET version = version + (processing_status <> 'pending'),"
        " processing_status = 'pending', approved = 0, approved_by = NULL, approved_at = NULL, attempts = 0,"
        f" error = NULL, updated_at = {NOW} WHERE photo_id {_AMONG} AND NOT ({kept})",
        (ids,),
    )
    async with db.execute(
        f"UPDATE ai_metadata SET version = version + 1, updated_at = {NOW}"
        f" WHERE photo_id {_AMONG} AND {kept}",
        (ids,),
    ) as cursor:
        return cursor.rowcount


async def photo_ids(db: aiosqlite.Connection, photos: Iterable[PhotoFields]) -> dict[str, int]:
    keys = json.dumps([photo.image_key for photo in photos])
    rows = await db.execute_fetchall(
        f"SELECT image_key, id FROM smugmug_photos WHERE image_key {_AMONG}", (keys,)
    )
    return {row[0]: row[1] for row in rows}
