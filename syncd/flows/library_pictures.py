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

from syncd.catalogue.library_browse import Picture
from syncd.errors import Refused
from syncd.flows.library_hashes import PictureSource
from syncd.flows.previews import Previews


class Renderer(Protocol):
    """The worker processes; imaging/pool.py has them."""

    async def preview(
        self, path: str, width: int, height: int, image_format: Literal["jpeg", "rgb"] = "jpeg"
    ) -> bytes: ...


class LibraryPictures:
    """Downloads a photo once a size and replacement, into `folder`, where it does not stay."""

    def __init__(
        self,
        client: Callable[[], Awaitable[PictureSource]],
        pool: Renderer,
        previews: Previews,
        folder: Path,
    ) -> None:
        self._client = client
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
                await anyio.to_thread.run_sync(path.write_bytes, await self._download(picture))
                return await self._pool.preview(str(path), width, height, image_format)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(partial(path.unlink, missing_ok=True))

        # An image key comes from outside, and what comes from outside is no name of a file.
        name = hashlib.sha256(f"{picture.image_key}-{picture.serial}".encode()).hexdigest()
        return await self._previews.of_content(f"{name}-{width}x{height}.{image_format}", make)

    async def _download(self, picture: Picture) -> bytes:
        if not picture.urls:
            raise Refused("SmugMug has no picture of this photo yet", hint="try again after the next sync")
        client = await self._client()
        for url in picture.urls[:-1]:
            try:
                return await client.picture(url)
            except Refused:
                continue  # a smaller one may be had
        return await client.picture(picture.urls[-1])
