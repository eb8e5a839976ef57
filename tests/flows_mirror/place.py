"""A real catalogue beside a real Postgres, with a library that is written the way a sync writes it."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncd.catalogue.database import Catalogue
from syncd.config import Config, GuardConfig, MirrorConfig
from syncd.flows.mirror import Mirroring, Told
from syncd.sinks.postgres import PostgresMirror
from tests.postgres import Database


class Place:
    """`library` writes as SmugMug's sync does; `mirror` is what does the work."""

    def __init__(self, catalogue: Catalogue, database: Database, dsn: str | None = None) -> None:
        self.catalogue = catalogue
        self.database = database
        self.config = replace(Config(), mirror=MirrorConfig(dsn or database.dsn))
        self.sink = PostgresMirror(self.config.mirror.dsn)
        self.work = Mirroring(self.sink, catalogue)

    async def sql(self, sql: str, *values: Any) -> list[Any]:
        """One statement in the catalogue, or many where `values` is one list of rows."""

        async def write(db: Any) -> list[Any]:
            if len(values) == 1 and isinstance(values[0], list):
                await db.executemany(sql, values[0])
                return []
            return list(await db.execute_fetchall(sql, values))

        return await self.catalogue.write(write)

    async def album(self, key: str, title: str, photos: int = 0, *, first: int = 0) -> None:
        """An album with photos `p<first>` and so on, which may be in other albums too."""
        await self.sql("INSERT INTO smugmug_albums (album_key, title) VALUES (?, ?)", key, title)
        numbers = range(first, first + photos)
        await self.sql(
            "INSERT INTO smugmug_photos (image_key, filename, title, caption, keywords, date_taken,"
            " thumbnail_url, large_url, width, height) VALUES (?, ?, '', ?, ?, ?, ?, ?, 6000, 4000)"
            " ON CONFLICT DO NOTHING",
            [
                (f"p{n}", f"IMG_{n}.JPG", f"caption {n}", '["goal", "say \\"hi\\"", "a\\\\b"]',
                 f"2024-05-30T10:{n // 60 % 60:02}:{n % 60:02}", f"https://photos.example/{n}-Th.jpg",
                 f"https://photos.example/{n}-L.jpg")
                for n in numbers
            ],
        )  # fmt: skip
        for number in numbers:
            await self.add(key, f"p{number}")

    async def add(self, album_key: str, image_key: str) -> None:
        """Puts a photo into an album, where it may be already."""
        await self.sql(
            "INSERT OR IGNORE INTO smugmug_album_photos (album_id, photo_id) SELECT a.id, p.id"
            " FROM smugmug_albums a, smugmug_photos p WHERE a.album_key = ? AND p.image_key = ?",
            album_key, image_key,
        )  # fmt: skip

    async def describe(
        self, image_key: str, *, approved: bool = True, vector: list[float] | None = None
    ) -> None:
        await self.sql(
            "INSERT INTO ai_metadata (photo_id, ai_description, ai_tags, ai_categories, teams, event, sport,"
            " confidence_score, embedding, processing_status, approved)"
            """ SELECT id, 'A player', '["ball"]', '["sport"]', '["A", "B"]', 'Cup', 'soccer', 0.5, ?, ?, ?"""
            " FROM smugmug_photos WHERE image_key = ?",
            array("f", vector).tobytes() if vector else None, "approved" if approved else "review",
            int(approved), image_key,
        )  # fmt: skip

    async def remove(self, album_key: str, image_key: str) -> None:
        await self.sql(
            "DELETE FROM smugmug_album_photos WHERE (album_id, photo_id) = (SELECT a.id, p.id"
            " FROM smugmug_albums a, smugmug_photos p WHERE a.album_key = ? AND p.image_key = ?)",
            album_key, image_key,
        )  # fmt: skip

    async def synced(self, at: str = "2026-01-01T00:00:00.000Z") -> None:
        """The library was read to its end."""
        await self.sql("UPDATE smugmug_account SET last_sync = ?", at)

    async def step(self) -> Told:
        """What a pass does: fill, tell, compare, tell again."""
        total = Told(filled=await self.work.fill()).plus(await self.work.tell())
        total = total.plus(await self.work.compare(GuardConfig()))
        return total.plus(await self.work.tell())

    async def marks(self) -> int:
        return int((await self.sql("SELECT count(*) FROM mirror_queue"))[0][0])

    def rows(self, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        return self.database.run(f"SELECT {columns} FROM photo_metadata WHERE {where} ORDER BY 1, 2")


@asynccontextmanager
async def place(folder: Path, database: Database, dsn: str | None = None) -> AsyncIterator[Place]:
    """Both, closed at the end."""
    async with Catalogue.open(folder / "catalogue.db") as catalogue:
        made = Place(catalogue, database, dsn)
        try:
            yield made
        finally:
            await made.sink.close()
