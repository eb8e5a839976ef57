"""The client's calls about the library."""

from __future__ import annotations

from syncd.control import schema
from syncd.control.client_base import Connections, segment, target_of


class LibraryCalls(Connections):
    """One method a route."""

    async def sync_library(self, *, full: bool = False) -> schema.JobAccepted:
        """Reads what changed, with `full` everything."""
        request = schema.LibrarySyncRequest(full=full)
        return await self._post(schema.JobAccepted, "/api/smugmug/sync", request)

    async def sync_album(self, album_key: str) -> schema.JobAccepted:
        target = f"/api/smugmug/sync/album/{segment(album_key)}"
        return await self._post(schema.JobAccepted, target, timeout_s=None)

    async def library_status(self) -> schema.LibraryStatus:
        return await self._get(schema.LibraryStatus, "/api/smugmug/sync/status")

    async def albums(self, limit: int = 100, cursor: str | None = None) -> schema.AlbumPage:
        return await self._get(schema.AlbumPage, "/api/smugmug/albums", limit=limit, cursor=cursor)

    async def library_photos(
        self, album: str, limit: int = 100, cursor: str | None = None
    ) -> schema.LibraryPhotoPage:
        """Photos of an album, which is named by its key or its id, in its order."""
        path = f"/api/smugmug/photos/{segment(album)}"
        return await self._get(schema.LibraryPhotoPage, path, limit=limit, cursor=cursor)

    async def preview_library_photo(
        self, photo: str, width: int = 400, height: int = 400, image_format: str = "jpeg"
    ) -> bytes:
        """As `preview`, of a photo of the library: its id or its image key."""
        query = {"library_photo": photo, "width": width, "height": height, "format": image_format}
        return await self._call("GET", target_of("/api/preview", query))
