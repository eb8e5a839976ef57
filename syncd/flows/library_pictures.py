"""Small pictures of the library's photos for the dashboard."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal, Protocol
from uuid import uuid4

import anyio
import anyio.to_thread

from syncd.catalogue import library_browse
from syncd.catalogue.database import Catalogue
from syncd.catalogue.library_browse import Picture
from syncd.errors import Refused, Transient
from syncd.flows.library_hashes import PictureSource
from syncd.flows.previews import Previews
from syncd.remotes.smugmug_items import ImageInfo

THUMBNAIL_SIDE = 150
"""Pixels of the longest side of a thumbnail."""


class Renderer(Protocol):
    """The worker processes; imaging/pool.py has them."""

    async def preview(
        self, path: str, width: int, height: int, image_format: Literal["jpeg", "rgb"] = "jpeg"
    ) -> bytes: ...


class PhotoSource(PictureSource, Protocol):
    """The SmugMug client."""

    async def album_image(self, album_key: str, image_key: str) -> ImageInfo: ...


class LibraryPictures:
    """Downloads a photo once a size and replacement, into `folder`, where it does not stay."""

    def __init__(
        self,
        client: Callable[[], Awaitable[PhotoSource]],
        catalogue: Catalogue,
        pool: Renderer,
        previews: Previews,
        folder: Path,
    ) -> None:
        self._client = client
        self._catalogue = catalogue
        self._pool = pool
        self._previews = previews
        self._folder = folder

    async def preview(
        self, picture: Picture, width: int, height: int, image_format: Literal["jpeg", "rgb"]
    ) -> bytes:
        """A picture that fits into `width` x `height` pixels. Refused when SmugMug gives none."""

        async def make() -> bytes:
            path = self._folder / uuid4().hex
            try:
                data = await self._download(picture, max(width, height))
                await anyio.to_thread.run_sync(path.write_bytes, data)
                return await self._pool.preview(str(path), width, height, image_format)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(partial(path.unlink, missing_ok=True))

        # An image key comes from outside, and what comes from outside is no name of a file.
        name = hashlib.sha256(f"{picture.image_key}-{picture.serial}".encode()).hexdigest()
        return await self._previews.of_content(f"{name}-{width}x{height}.{image_format}", make)

    async def _download(self, picture: Picture, side: int) -> bytes:
        """The smallest picture that shows enough, else one that can be had."""
        client = await self._client()
        if side <= THUMBNAIL_SIDE or picture.is_video:
            wanted = [
                picture.thumbnail_url,
                picture.large_url,
                None if picture.is_video else picture.original_url,
            ]
        else:
            large_url = picture.large_url or await self._large_url(client, picture)
            wanted = [large_url, picture.original_url, picture.thumbnail_url]
        urls = [url for url in wanted if url]
        if not urls:
            raise Refused("SmugMug has no picture of this photo yet", hint="try again after the next sync")
        for url in urls[:-1]:
            try:
                return await client.picture(url)
            except Refused:
                continue
        return await client.picture(urls[-1])

    async def _large_url(self, client: PhotoSource, picture: Picture) -> str | None:
        """Lists do not tell it; what was asked for once is kept."""
        if picture.album_key is None:
            return None
        try:
            url = (await client.album_image(picture.album_key, picture.image_key)).large_url
        except (Refused, Transient):
            return None
        if url is not None:
            await self._catalogue.write(lambda db: library_browse.note_large_url(db, picture, url))
        return url
