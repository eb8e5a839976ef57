"""SmugMug in the name of one account: its albums, their photos, and the bytes of pictures.

https://api.smugmug.com/api/v2/doc
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

from syncd.config import SmugmugConfig
from syncd.remotes.http import Authoriser
from syncd.remotes.pacer import Pacer
from syncd.remotes.smugmug_items import AlbumInfo, ImageInfo, Page


class SmugMug:
    """A client for one account. A context manager.

    Every call may raise Transient (`retry_after_s` says when to come back, even in half an hour),
    AuthRejected (the account must sign in again) and Refused (`http.NotFound`, or no right to this thing).
    """

    def __init__(
        self,
        config: SmugmugConfig,
        authoriser: Authoriser,
        account: str = "",
        *,
        pacer: Pacer | None = None,
        **client: Any,
    ) -> None:
        self.pacer = pacer or Pacer(config.requests_per_second)
        self._account = account

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        raise NotImplementedError

    async def nickname(self) -> str:
        """The site nickname of the account; asked for once."""
        raise NotImplementedError

    def albums(self) -> AsyncIterator[Page[AlbumInfo]]:
        """Every album of the account, page by page. Where SmugMug does not give a page of its list, the rest
        comes from the tree of folders, with the same `total`."""
        raise NotImplementedError

    async def album(self, album_key: str) -> AlbumInfo:
        """An album as it is now. http.NotFound when it is gone."""
        raise NotImplementedError

    def images(self, album_key: str, start_path: str | None = None) -> AsyncIterator[Page[ImageInfo]]:
        """The photos of an album in its order, with the camera's time, page by page. `start_path` is the
        `next_path` of the page after which to go on. http.NotFound when the album is gone."""
        raise NotImplementedError

    async def album_image(self, album_key: str, image_key: str) -> ImageInfo:
        """One photo of an album. http.NotFound when it is not in it any more."""
        raise NotImplementedError

    async def rename_album(self, album_key: str, name: str) -> AlbumInfo:
        """Gives an album another name; nothing else of it changes, its address neither. The album as SmugMug
        has it then, read back after an unsure answer. Raises Refused for a name that is empty or longer than
        255 characters, or that another album has; AuthRejected where the sign-in grants no changes."""
        raise NotImplementedError

    async def picture(self, url: str) -> bytes:
        """The bytes of a picture at an address that SmugMug gave. Refused for an address elsewhere, for what
        is no picture, and for more than 64 MiB; http.NotFound when it is gone or was replaced: look at the
        photo again for its address."""
        raise NotImplementedError
