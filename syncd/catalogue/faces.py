"""Faces of event photos, and the people who asked to be forgotten."""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import aiosqlite

_ENCODING = struct.Struct("<128f")


class FaceRow(NamedTuple):
    """One face: (top, right, bottom, left) in pixels of the upright original, 128 little-endian float32."""

    box: tuple[int, int, int, int]
    encoding: bytes


class StoredFace(NamedTuple):
    """A face of an event, with the photo that it is in."""

    face_id: int
    photo_id: str
    box: tuple[int, int, int, int]
    encoding: bytes


class Tombstone(NamedTuple):
    """Faces within `tolerance` of `encoding` are not kept."""

    encoding: bytes
    tolerance: float


def distance(one: bytes, other: bytes) -> float:
    """Euclidean distance of two encodings."""
    return math.dist(_ENCODING.unpack(one), _ENCODING.unpack(other))


async def add(db: aiosqlite.Connection, event_id: str, photo_id: str, faces: Iterable[FaceRow]) -> int:
    """Adds the photo's faces but for those of people who asked to be forgotten; returns how many."""
    stones = await tombstones(db, event_id)
    kept = [
        (event_id, photo_id, *face.box, face.encoding)
        for face in faces
        if all(distance(face.encoding, stone.encoding) > stone.tolerance for stone in stones)
    ]
    await db.executemany(
        "INSERT INTO faces (event_id, photo_id, box_top, box_right, box_bottom, box_left, encoding)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        kept,
    )
    await touch(db, [event_id])
    return len(kept)


async def copy(db: aiosqlite.Connection, source: str, event_id: str, photo_id: str) -> None:
    """Gives the faces that one event has of a photo to another, by that one's tombstones."""
    rows = await db.execute_fetchall(
        "SELECT box_top, box_right, box_bottom, box_left, encoding FROM faces"
        " WHERE event_id = ? AND photo_id = ? ORDER BY face_id",
        (source, photo_id),
    )
    await drop(db, [(event_id, photo_id)])
    await add(db, event_id, photo_id, [FaceRow((row[0], row[1], row[2], row[3]), row[4]) for row in rows])


async def drop(db: aiosqlite.Connection, pairs: Collection[tuple[str, str]]) -> None:
    """Removes the faces of these (event_id, photo_id)."""
    await db.executemany("DELETE FROM faces WHERE event_id = ? AND photo_id = ?", pairs)
    await touch(db, {event_id for event_id, _ in pairs})


async def touch(db: aiosqlite.Connection, event_ids: Iterable[str]) -> None:
    """Who keeps faces in memory reads them again."""
    await db.executemany(
        "UPDATE events SET faces_version = faces_version + 1 WHERE event_id = ?",
        [(event_id,) for event_id in event_ids],
    )


async def version(db: aiosqlite.Connection, event_id: str) -> int | None:
    """A number that rises with every change of the event's faces, None where there is no such event."""
    rows = await db.execute_fetchall("SELECT faces_version FROM events WHERE event_id = ?", (event_id,))
    return next((row[0] for row in rows), None)


async def id_rows(db: aiosqlite.Connection, event_id: str) -> list[Any]:
    """(face_id,) of all faces of the event, as rows: there may be a million."""
    return list(await db.execute_fetchall("SELECT face_id FROM faces WHERE event_id = ?", (event_id,)))


async def face_rows(db: aiosqlite.Connection, event_id: str, after: int = 0) -> list[Any]:
    """Faces of the event's present photos with ids above `after`, by id; `stored_face` reads a row."""
    rows = await db.execute_fetchall(
        "SELECT face_id, photo_id, box_top, box_right, box_bottom, box_left, encoding FROM faces"
        " WHERE event_id = ? AND face_id > ? ORDER BY face_id",
        (event_id, after),
    )
    return list(rows)


def stored_face(row: Any) -> StoredFace:
    """A row of `face_rows`. For a thread where there are many."""
    return StoredFace(row[0], row[1], (row[2], row[3], row[4], row[5]), row[6])


async def of_photo(db: aiosqlite.Connection, event_id: str, photo_id: str) -> list[StoredFace]:
    """The faces of one photo."""
    rows = await db.execute_fetchall(
        "SELECT face_id, photo_id, box_top, box_right, box_bottom, box_left, encoding FROM faces"
        " WHERE event_id = ? AND photo_id = ? ORDER BY face_id",
        (event_id, photo_id),
    )
    return [stored_face(row) for row in rows]


async def tombstones(db: aiosqlite.Connection, event_id: str) -> list[Tombstone]:
    """Who asked to be forgotten in this event."""
    rows = await db.execute_fetchall(
        "SELECT encoding, tolerance FROM forgotten WHERE event_id = ?", (event_id,)
    )
    return [Tombstone(*row) for row in rows]


async def forget(
    db: aiosqlite.Connection,
    event_id: str,
    face_ids: Collection[int],
    encodings: Collection[bytes],
    tolerance: float,
    *,
    of_version: int,
) -> bool:
    """Removes these faces, and keeps out what is near `encodings` from now on. False, and nothing done, when
    the event's faces have changed since `of_version`: then others may have to go."""
    if await version(db, event_id) != of_version:
        return False
    await db.executemany(
        "DELETE FROM faces WHERE face_id = ? AND event_id = ?", [(face_id, event_id) for face_id in face_ids]
    )
    await db.executemany(
        "INSERT INTO forgotten (event_id, encoding, tolerance) VALUES (?, ?, ?)",
        [(event_id, encoding, tolerance) for encoding in encodings],
    )
    await touch(db, [event_id])
    return True
