"""A library that is only a model, a real catalogue, and syncs in between, cut off wherever a test wants."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from syncd.catalogue.database import Catalogue
from syncd.config import Config, GuardConfig, SmugmugConfig
from syncd.flows.library import LibrarySync, Wanted
from syncd.remotes.http import NotFound
from syncd.remotes.smugmug_items import AlbumInfo, ImageInfo, Page, album_of, image_of
from tests.fakes.smugmug import NICKNAME
from tests.fakes.smugmug_model import Model
from tests.fakes.smugmug_resources import album_resource, image_resource, metadata_resource

T = TypeVar("T")


class Killed(BaseException):
    """The daemon was killed."""


class ModelClient:
    """A client that asks the model itself. `on_request` is called before each request, and may change the
    model or raise; `requests` counts them."""

    def __init__(self, model: Model, page_size: int = 3) -> None:
        self.model = model
        self.page_size = page_size
        self.requests: Counter[str] = Counter()
        self.on_request: Callable[[str, str], None] = lambda what, key: None
        self.total_off = 0
        """How far the totals of image lists are off."""

    def _ask(self, what: str, key: str = "") -> None:
        self.requests[what] += 1
        self.on_request(what, key)

    async def albums(self) -> AsyncIterator[Page[AlbumInfo]]:
        start: int | None = 1
        while start is not None:
            self._ask("albums")
            found = self.model.albums_of(NICKNAME)
            page = found[start - 1 : start - 1 + self.page_size]
            following = start + len(page)
            path = f"/api/v2/user!albums?start={following}" if following <= len(found) else None
            yield Page(tuple(self._album(one.key) for one in page), len(found), start, path)
            start = following if path else None

    async def album(self, album_key: str) -> AlbumInfo:
        self._ask("album", album_key)
        return self._album(album_key)

    def _album(self, key: str) -> AlbumInfo:
        if key not in self.model.albums:
            raise NotFound("cannot look at an album: SmugMug says 404")
        album = self.model.albums[key]
        level = "Password" if album.security_type == "Password" else "Full"
        return album_of(album_resource(album, self.model.path_of(album.node_id), level))

    async def images(self, album_key: str, start_path: str | None = None) -> AsyncIterator[Page[ImageInfo]]:
        start = int(start_path.rpartition("=")[2]) if start_path else 1
        while True:
            self._ask("images", album_key)
            if album_key not in self.model.albums:
                raise NotFound("cannot list the photos of an album: SmugMug says 404")
            shown = self.model.albums[album_key].shown
            page = shown[start - 1 : start - 1 + self.page_size]
            following = start + len(page)
            path = f"/api/v2/album/{album_key}!images?start={following}" if following <= len(shown) else None
            images = tuple(self.image(album_key, one) for one in page)
            yield Page(images, len(shown) + self.total_off, start, path)
            if path is None:
                return
            start = following

    def image(self, album_key: str, shown: Any) -> ImageInfo:
        image = self.model.images[shown.image_key]
        found = image_resource(
            image, "http://127.0.0.1", shown=shown, album_key=album_key, downloads=False, as_text=False
        )
        return image_of(found, album_key, {image.key: metadata_resource(image)})


class CutCatalogue:
    """A catalogue whose writer is killed before its write number `cut`, or after it: the write is on disk and
    nobody was told."""

    def __init__(self, inner: Catalogue, cut: int | None = None, after: bool = False) -> None:
        self._inner = inner
        self._left = cut
        self._after = after
        self.reader = inner.reader

    async def write(self, operation: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                if self._left == -1 and self._after:
                    await self._inner.write(operation)
                raise Killed
        return await self._inner.write(operation)


class Place:
    """A library and the catalogue that follows it."""

    def __init__(self, model: Model, catalogue: Catalogue, page_size: int = 3) -> None:
        self.model = model
        self.catalogue = catalogue
        self.client = ModelClient(model, page_size)
        self.config = Config(smugmug=SmugmugConfig(page_size=page_size), guard=GuardConfig(10, 5))
        self.told: list[tuple[str, str, str]] = []

    async def sync(
        self, wanted: Wanted | None = None, *, cut: int | None = None, after: bool = False
    ) -> LibrarySync | None:
        """One sync; None where it was killed."""

        def emit(kind: str, subject: str, message: str, data: dict[str, Any]) -> None:
            self.told.append((kind, subject, message))

        catalogue: Any = CutCatalogue(self.catalogue, cut, after)
        sync = LibrarySync(self.client, catalogue, self.config, wanted or Wanted(), emit)
        try:
            await sync.run()
        except Killed:
            return None
        except BaseExceptionGroup as errors:
            if errors.subgroup(Killed) is None:
                raise
            return None
        return sync

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self.catalogue.reader() as db:
            return [tuple(row) for row in await db.execute_fetchall(sql, values)]

    async def one(self, sql: str, *values: Any) -> Any:
        return (await self.rows(sql, *values))[0][0]

    async def do(self, sql: str, *values: Any) -> None:
        await self.catalogue.write(lambda db: db.execute(sql, values))

    async def albums(self) -> dict[str, tuple[str, list[str]]]:
        """Title and image keys in order of every present album."""
        found: dict[str, tuple[str, list[str]]] = {
            key: (title, [])
            for key, title in await self.rows(
                "SELECT album_key, title FROM smugmug_albums WHERE removed_at IS NULL"
            )
        }
        for key, image_key in await self.rows(
            "SELECT a.album_key, p.image_key FROM smugmug_album_photos l JOIN smugmug_albums a"
            " ON a.id = l.album_id JOIN smugmug_photos p ON p.id = l.photo_id ORDER BY l.position, p.id"
        ):
            found[key][1].append(image_key)
        return found

    async def photos(self) -> dict[str, tuple[Any, ...]]:
        """What is recorded of every present photo."""
        rows = await self.rows(
            "SELECT image_key, filename, serial, title, caption, keywords, date_taken, is_video,"
            " is_processing, (SELECT count(*) FROM ai_metadata m WHERE m.photo_id = p.id)"
            " FROM smugmug_photos p WHERE removed_at IS NULL"
        )
        return {row[0]: row[1:] for row in rows}

    def model_albums(self) -> dict[str, tuple[str, list[str]]]:
        return {
            album.key: (album.name, [shown.image_key for shown in album.shown])
            for album in self.model.albums_of(NICKNAME)
        }

    def model_photos(self) -> dict[str, tuple[Any, ...]]:
        found = {}
        for album in self.model.albums.values():
            for shown in album.shown:
                info = self.client.image(album.key, shown)
                keywords = "[" + ", ".join(f'"{word}"' for word in info.keywords) + "]"
                found[info.image_key] = (
                    info.name, info.serial, info.title, info.caption, keywords, info.captured_at,
                    int(info.is_video), int(info.is_processing),
                    int(not (info.is_video or info.is_processing)),
                )  # fmt: skip
        return found


@asynccontextmanager
async def place(folder: Path, page_size: int = 3) -> AsyncIterator[Place]:
    model = Model()
    model.add_user(NICKNAME)
    async with Catalogue.open(folder / "catalogue.db") as catalogue:
        yield Place(model, catalogue, page_size)
