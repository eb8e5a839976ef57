"""Requests and replies about the library's albums and photos, and its sync; schema.py has them all."""

from __future__ import annotations

from typing import Literal

from syncd.control.schema_base import Reply, Request

LibrarySyncState = Literal[
    "queued", "running", "waiting", "done", "partial", "failed", "refused", "cancelled"
]


class LibrarySyncRequest(Request, frozen=True, kw_only=True):
    """`full` reads every album; else only those that changed are read."""

    full: bool = False


class LibraryStatus(Reply, frozen=True, kw_only=True):
    """How far the copy of the library is. Unchanged albums count as synced; a photo in two albums counts in
    both. `state` is that of the running sync, else of the last one, and `job_id` its job, if somebody asked
    for it; `waiting` is a sync that goes on by itself at `resume_at`. `rate` is photos a second and `eta_s`
    the seconds that are left, while a sync runs. `errors` are sentences: albums that could not be read, and
    what keeps SmugMug from answering. `hashed` photos can be compared with the local archive."""

    in_progress: bool
    last_sync: str | None
    albums_total: int
    albums_synced: int
    photos_total: int
    photos_synced: int
    errors: list[str]
    account: str | None = None
    state: LibrarySyncState = "done"
    full: bool = False
    job_id: str | None = None
    rate: float | None = None
    eta_s: float | None = None
    resume_at: str | None = None
    next_sync_at: str | None = None
    reading: list[str] = []
    """Titles of the albums that are being read."""
    hashed: int = 0
    to_hash: int = 0
    hash_errors: int = 0


class Album(Reply, frozen=True, kw_only=True):
    """`image_count` is what SmugMug says, `photos_synced` what the catalogue has. `synced_at` is when all its
    photos were last read, `is_current` whether nothing is known to have changed since; `last_error` says why
    it could not be read. `privacy` is Public, Unlisted or Private."""

    id: int
    album_key: str
    title: str
    image_count: int
    photos_synced: int
    last_updated: str | None
    synced_at: str | None
    is_current: bool = False
    last_error: str | None = None
    description: str = ""
    keywords: list[str] = []
    privacy: str | None = None
    security_type: str | None = None
    album_date: str | None = None
    web_url: str = ""


class AlbumPage(Reply, frozen=True, kw_only=True):
    items: list[Album]
    next_cursor: str | None = None


class PhotoAi(Reply, frozen=True, kw_only=True):
    """What was written about a photo; `id` is that of its metadata."""

    id: int
    status: Literal["pending", "processing", "review", "approved", "rejected", "failed"]
    description: str
    tags: list[str]
    categories: list[str]
    confidence: float | None
    approved: bool
    version: int
    error: str | None = None


class LibraryPhoto(Reply, frozen=True, kw_only=True):
    """A photo of an album, in the order of the album. `ai` is null until there is something; `date_taken` is
    by the camera's own clock, without zone; `scene_id` is the local scene that shows the same picture."""

    id: int
    image_key: str
    filename: str
    caption: str
    keywords: list[str]
    date_taken: str | None
    thumbnail_url: str | None
    large_url: str | None
    original_url: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    ai: PhotoAi | None
    scene_id: str | None = None
    title: str = ""
    web_url: str | None = None
    format: str = ""
    is_video: bool = False
    is_hidden: bool = False
    is_processing: bool = False
    perceptual_hash: str | None = None
    hash_error: str | None = None


class LibraryPhotoPage(Reply, frozen=True, kw_only=True):
    items: list[LibraryPhoto]
    next_cursor: str | None = None


class SceneAlbum(Reply, frozen=True, kw_only=True):
    """An album that holds the picture of a scene; `distance` is in bits of 64."""

    album_key: str
    title: str
    image_key: str
    distance: int
    web_url: str = ""
