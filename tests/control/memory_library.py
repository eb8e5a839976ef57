"""A small library in memory, calls of every route about it, and commands."""

from __future__ import annotations

from typing import Any

import msgspec

from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import AuthRejected

AT = "2026-11-21T12:00:00Z"

# method, target, body, status
LIBRARY_CALLS: list[tuple[str, str, Any, int]] = [
    ("POST", "/api/smugmug/sync", None, 202),
    ("POST", "/api/smugmug/sync", {}, 202),
    ("POST", "/api/smugmug/sync", {"full": True}, 202),
    ("GET", "/api/smugmug/sync/status", None, 200),
    ("POST", "/api/smugmug/sync/album/2GsRNZ", None, 202),
    ("GET", "/api/smugmug/albums", None, 200),
    ("GET", "/api/smugmug/albums?limit=1&cursor=2GsRNZ", None, 200),
    ("GET", "/api/smugmug/photos/2GsRNZ", None, 200),
    ("GET", "/api/smugmug/photos/1?limit=1", None, 200),
    ("GET", "/api/preview?library_photo=UQpV019&width=80", None, 200),
    # errors
    ("POST", "/api/smugmug/sync/album/none", None, 404),
    ("GET", "/api/smugmug/photos/none", None, 404),
    ("GET", "/api/preview?library_photo=none", None, 404),
    ("GET", "/api/preview?library_photo=UQpV019&version_id=1", None, 422),
    ("POST", "/api/smugmug/sync", {"full": "yes"}, 422),
    ("POST", "/api/smugmug/sync", {"fully": True}, 422),
    ("GET", "/api/smugmug/albums?limit=0", None, 422),
    ("DELETE", "/api/smugmug/albums", None, 405),
]

# arguments, the shape of the JSON document
LIBRARY_COMMANDS: list[tuple[str, Any]] = [
    ("smugmug sync", schema.LibraryStatus),
    ("smugmug sync --full", schema.LibraryStatus),
    ("smugmug sync --album 2GsRNZ", schema.LibraryStatus),
    ("smugmug status", schema.LibraryStatus),
    ("smugmug albums", schema.AlbumPage),
    ("smugmug photos 2GsRNZ", schema.LibraryPhotoPage),
    ("smugmug photos 1 --limit 1", schema.LibraryPhotoPage),
]


def album(number: int, key: str, **more: Any) -> schema.Album:
    given: dict[str, Any] = {
        "title": f"Cup \x1b[2J {number}", "image_count": 1234, "photos_synced": 1200, "last_updated": AT,
        "synced_at": AT, "is_current": True, **more,
    }  # fmt: skip
    return schema.Album(id=number, album_key=key, **given)


def photo(number: int, key: str, **more: Any) -> schema.LibraryPhoto:
    given: dict[str, Any] = {
        "filename": f"IMG\u202e{number}.JPG", "caption": "First goal", "keywords": ["goal", "a; b"],
        "date_taken": "2026-05-30T14:00:00", "thumbnail_url": "https://photos.smugmug.com/t.jpg",
        "large_url": None, "original_url": None, "width": 480, "height": 320, "size_bytes": 12345, "ai": None,
        **more,
    }  # fmt: skip
    return schema.LibraryPhoto(id=number, image_key=key, **given)


AI = schema.PhotoAi(
    id=7, status="review", description="A goal", tags=["goal"], categories=[], confidence=0.5, approved=False,
    version=1,
)  # fmt: skip


class MemoryLibrary:
    """`signed_in` False: nobody has signed in."""

    def __init__(self) -> None:
        self.signed_in = True
        self.asked: list[Any] = []
        self.rows = [album(1, "2GsRNZ"), album(2, "RM4BL2", last_error="it is locked", is_current=False)]
        self.photo_rows = [photo(1, "UQpV019", ai=AI, scene_id="roll-1"), photo(2, "c48QftR", is_video=True)]
        self.now = schema.LibraryStatus(
            in_progress=False, last_sync=AT, albums_total=2, albums_synced=1, photos_total=2468,
            photos_synced=2400, errors=["Cup \x1b[2J 2 (RM4BL2): it is locked"], account="acme",
            state="partial", hashed=2, to_hash=1, hash_errors=1,
        )  # fmt: skip

    async def sync(self, full: bool) -> schema.JobAccepted:
        if not self.signed_in:
            raise AuthRejected("nobody is signed in to SmugMug", hint="syncctl auth smugmug")
        self.asked.append(full)
        return schema.JobAccepted(job_id="library")

    async def sync_album(self, album_key: str) -> schema.JobAccepted:
        self._album(album_key)
        self.asked.append(album_key)
        return schema.JobAccepted(job_id="library")

    async def sync_status(self) -> schema.LibraryStatus:
        return self.now

    async def albums(self, limit: int, cursor: str | None) -> schema.AlbumPage:
        start = _place(cursor, [one.album_key for one in self.rows])
        found = self.rows[start : start + limit]
        more = len(self.rows) > start + limit
        return schema.AlbumPage(items=found, next_cursor=found[-1].album_key if more else None)

    async def photos(self, album: str, limit: int, cursor: str | None) -> schema.LibraryPhotoPage:
        self._album(album)
        start = _place(cursor, [str(one.id) for one in self.photo_rows])
        more = len(self.photo_rows) > start + limit
        return schema.LibraryPhotoPage(
            items=self.photo_rows[start : start + limit],
            next_cursor=str(self.photo_rows[start + limit - 1].id) if more else None,
        )

    async def preview(self, photo: str, width: int, height: int, image_format: str) -> bytes:
        if all(photo not in (one.image_key, str(one.id)) for one in self.photo_rows):
            raise NotFound(f"there is no photo {photo!r} in the library")
        return msgspec.json.encode([photo, width, height, image_format])

    def _album(self, name: str) -> schema.Album:
        for one in self.rows:
            if name in (one.album_key, str(one.id)):
                return one
        raise NotFound(f"there is no album {name!r}", hint="`syncctl smugmug albums` shows them")


def _place(cursor: str | None, names: list[str]) -> int:
    """Where the page after this cursor begins."""
    if cursor is None:
        return 0
    if cursor not in names:
        raise Invalid("cursor: expected the next_cursor of another page")
    return names.index(cursor) + 1
