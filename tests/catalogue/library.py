"""A small library in a catalogue, as the library's own flow records one."""

from __future__ import annotations

import json
from typing import Any

from syncd.catalogue.database import Catalogue


async def add_photos(
    catalogue: Catalogue, count: int, *, album: str = "abc", first: int = 1, **given: Any
) -> None:
    """`count` photos in an album, each with its metadata `pending`; `given` are columns of the photos."""
    photo = {"title": "", "caption": "", "keywords": "[]", **given}

    async def add(db: Any) -> None:
        await db.execute(
            "INSERT INTO smugmug_albums (album_key, title) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (album, f"Album {album}"),
        )
        for number in range(first, first + count):
            columns = {
                "image_key": f"k{number}", "filename": f"IMG_{number:04}.jpg",
                "large_url": f"https://photos.example/{number}.jpg", **photo,
            }  # fmt: skip
            await db.execute(
                f"INSERT INTO smugmug_photos ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                tuple(columns.values()),
            )
            await db.execute(
                "INSERT INTO smugmug_album_photos (album_id, photo_id) SELECT a.id, p.id"
                " FROM smugmug_albums a, smugmug_photos p WHERE a.album_key = ? AND p.image_key = ?",
                (album, f"k{number}"),
            )
            await db.execute(
                "INSERT INTO ai_metadata (photo_id) SELECT id FROM smugmug_photos WHERE image_key = ?",
                (f"k{number}",),
            )

    await catalogue.write(add)


async def rows(catalogue: Catalogue, sql: str, *values: Any) -> list[Any]:
    async with catalogue.reader() as db:
        return [tuple(row) for row in await db.execute_fetchall(sql, values)]


async def run(catalogue: Catalogue, sql: str, *values: Any) -> None:
    await catalogue.write(lambda db: db.execute(sql, values))


async def describe(catalogue: Catalogue, number: int, text: str, **given: Any) -> None:
    """The model wrote this about a photo."""
    columns = {"ai_description": text, "processing_status": "review", "confidence_score": 0.5, **given}
    columns = {
        name: json.dumps(value) if isinstance(value, list) else value for name, value in columns.items()
    }
    await run(
        catalogue,
        f"UPDATE ai_metadata SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?",
        *columns.values(),
        number,
    )
