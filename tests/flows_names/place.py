"""A real catalogue with a few albums, and a SmugMug and a mirror that fail where they are told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from syncd.catalogue import names as queries
from syncd.catalogue.database import Catalogue
from syncd.config import Config, NamesConfig
from syncd.errors import Refused, Transient
from syncd.flows.names import Done, Names
from syncd.flows.names_check import Checked, check_names
from syncd.remotes import http
from syncd.remotes.smugmug_items import AlbumInfo
from syncd.sinks.postgres import AlbumNames, NameChange, Statistics

T = TypeVar("T")


class Crash(BaseException):
    """The process is killed here."""


class Faults:
    """Counts the points at which something may go wrong, and does it at those that were chosen."""

    def __init__(self) -> None:
        self.passed = 0
        self.chosen: dict[int, BaseException] = {}

    def point(self, *, only_crash: bool = False) -> None:
        error = self.chosen.get(self.passed)
        self.passed += 1
        if error is not None and (isinstance(error, Crash) or not only_crash):
            raise error

    def choose(self, chosen: Mapping[int, BaseException]) -> None:
        self.passed = 0
        self.chosen = dict(chosen)


class SmugMugSide:
    """Albums by key. A rename may fail before it is done, and after."""

    def __init__(self, faults: Faults) -> None:
        self.names: dict[str, str] = {}
        self.refuses: dict[str, Exception] = {}
        self.asked: list[tuple[str, str]] = []
        self._stamps = 0
        self._faults = faults

    def stamp(self) -> str:
        """Another second."""
        self._stamps += 1
        return (
            f"2026-06-14T{self._stamps // 3600:02}:{self._stamps // 60 % 60:02}:{self._stamps % 60:02}+00:00"
        )

    async def album(self, album_key: str) -> AlbumInfo:
        self._faults.point()
        if album_key not in self.names:
            raise http.NotFound("cannot read the album: SmugMug knows none of this key")
        return AlbumInfo(album_key, self.names[album_key], last_updated=self.stamp())

    async def rename_album(self, album_key: str, name: str) -> AlbumInfo:
        self._faults.point()
        self.asked.append((album_key, name))
        if album_key in self.refuses:
            raise self.refuses[album_key]
        if album_key not in self.names:
            raise http.NotFound("cannot rename the album: SmugMug knows none of this key")
        self.names[album_key] = name
        self._faults.point()
        return AlbumInfo(album_key, name, last_updated=self.stamp())


class MirrorSide:
    """Names of rows by album key."""

    def __init__(self, faults: Faults) -> None:
        self.rows: dict[str, list[str]] = {}
        self.changes: dict[int, tuple[str, str]] = {}
        self.down: Exception | None = None
        self.refuses: dict[str, Exception] = {}
        self.recently_updated = 3
        self.without_key = 0
        self._faults = faults

    async def rename_album(self, album_key: str, new_name: str, change: NameChange) -> None:
        self._faults.point()
        if error := self.down or self.refuses.get(album_key):
            raise error
        self.rows[album_key] = [new_name] * len(self.rows.get(album_key, []))
        self.changes[change.id] = (change.old_name, change.new_name)
        self._faults.point()

    async def names(self) -> dict[str, AlbumNames]:
        if self.down:
            raise self.down
        return {key: AlbumNames(frozenset(rows), len(rows)) for key, rows in self.rows.items() if rows}

    async def statistics(self) -> Statistics:
        if self.down:
            raise self.down
        photos = sum(map(len, self.rows.values()))
        return Statistics(
            len(self.rows), photos + self.without_key, photos, self.without_key, self.recently_updated
        )


class CrashingCatalogue:
    """A catalogue before and after each of whose writes the process may be killed."""

    def __init__(self, catalogue: Catalogue, faults: Faults) -> None:
        self._catalogue = catalogue
        self._faults = faults
        self.reader = catalogue.reader

    async def write(self, operation: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        self._faults.point(only_crash=True)
        result = await self._catalogue.write(operation)
        self._faults.point(only_crash=True)
        return result


class Place:
    """Albums `k0` … with two photos of one day each; `DSC 0` should be `Gala 0 - May 30`, and so on."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.faults = Faults()
        self.smugmug = SmugMugSide(self.faults)
        self.mirror: MirrorSide | None = MirrorSide(self.faults)
        self.config = replace(Config(), names=NamesConfig())
        self.told: list[tuple[str, str, str, str, Any]] = []
        self.later = timedelta()
        self.client: Callable[[], Awaitable[SmugMugSide]] = self._client
        self.names = self.start()

    async def _client(self) -> SmugMugSide:
        return self.smugmug

    def start(self) -> Names:
        """As after a restart: what was only in memory is gone."""
        self.names = Names(
            catalogue=cast("Catalogue", CrashingCatalogue(self.catalogue, self.faults)),
            smugmug=lambda: self.client(),
            mirror=lambda: self.mirror,
            config=lambda: self.config,
            emit=lambda *entry: self.told.append(entry),
            now=lambda: datetime.now(UTC) + self.later,
        )
        return self.names

    async def fill(self, count: int) -> None:
        """Exactly these albums, with their old names everywhere, and no journal."""
        self.faults.choose({})
        self.smugmug.names = {f"k{n}": f"DSC {n}" for n in range(count)}
        if self.mirror is not None:
            self.mirror.rows = {f"k{n}": [f"DSC {n}"] * 2 for n in range(count)}
            self.mirror.changes = {}

        async def insert(db: aiosqlite.Connection) -> None:
            for table in ("smugmug_album_photos", "ai_metadata", "smugmug_photos", "smugmug_albums"):
                await db.execute(f"DELETE FROM {table}")
            await db.execute("DELETE FROM album_name_changes")
            await db.execute("DELETE FROM album_name_hints")
            for n in range(count):
                await add_album(db, f"k{n}", f"DSC {n}", event=f"Gala {n}")

        await self.catalogue.write(insert)

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        async with self.catalogue.reader() as db:
            return [tuple(row) for row in await db.execute_fetchall(sql, values)]

    async def titles(self) -> dict[str, str]:
        return dict(await self.rows("SELECT album_key, title FROM smugmug_albums"))

    async def apply(self, *only: str, threshold: float | None = 20) -> Done:
        return await self.names.apply(set(only) or None, threshold, changed_by="eva")

    async def rollback(self, since: str = "2000-01-01T00:00:00.000Z") -> Done:
        async def found(db: Any) -> list[queries.ChangeRow]:
            return await queries.since(db, since)

        return await self.names.rollback(found, changed_by="eva", progress=lambda done, total: None)

    async def undo(self, *ids: int) -> Done:
        async def found(db: Any) -> list[queries.ChangeRow]:
            return await queries.by_ids(db, ids)

        return await self.names.rollback(found, changed_by="eva", progress=lambda done, total: None)

    async def settled(self) -> bool:
        """What the service does at its start, and again until all is done."""
        return await self.names.settle() and not await self.names.push()

    async def verified(self) -> list[Checked]:
        async with self.catalogue.reader() as db:
            titles = await queries.titles(db)
            counts = await queries.photo_counts(db)
            begun = {row.album_key for row in await queries.begun(db)}
        return check_names(titles, counts, await self.mirror.names() if self.mirror else None, begun)

    def everywhere(self) -> list[dict[str, str]]:
        """The names on SmugMug, and in the mirror."""
        assert self.mirror is not None
        assert all(len(set(rows)) == 1 for rows in self.mirror.rows.values())
        return [self.smugmug.names, {key: rows[0] for key, rows in self.mirror.rows.items()}]


async def add_album(
    db: aiosqlite.Connection,
    key: str,
    title: str,
    *,
    event: str = "",
    day: str = "2024-05-30",
    photos: int = 2,
) -> None:
    cursor = await db.execute(
        "INSERT INTO smugmug_albums (album_key, title, image_count, synced_at) VALUES (?, ?, 2, 'x')",
        (key, title),
    )
    album_id = cursor.lastrowid
    for n in range(2):
        cursor = await db.execute(
            "INSERT INTO smugmug_photos (image_key, album_id, filename, date_taken) VALUES (?, ?, ?, ?)",
            (f"{key}p{n}", album_id, f"{n}.jpg", f"{day}T10:00:0{n % 10}"),
        )
        photo_id = cursor.lastrowid
        await db.execute(
            "INSERT INTO smugmug_album_photos (album_id, photo_id) VALUES (?, ?)", (album_id, photo_id)
        )
        await db.execute(
            "INSERT INTO ai_metadata (photo_id, event, processing_status) VALUES (?, ?, 'review')",
            (photo_id, event),
        )


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    async with Catalogue.open(folder / "catalogue.db") as catalogue:
        made = Place(catalogue)
        await made.fill(3)
        yield made


DOWN = Transient("SmugMug is down")
MIRROR_DOWN = Transient("the mirror is down")
CLASH = Refused("another album has this name")
