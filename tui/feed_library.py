"""The feed's calls about the library: its albums, its photos, and what is written about these."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from syncd.control import schema
from syncd.text import human_count, printable
from tui.asks_library import ApproveShots, EditShot, SetStatus, Shot, SyncAlbum, SyncLibrary
from tui.clean import asking, clean
from tui.paging import PAGE, pages
from tui.state import Keyed, LibraryArrived, ListArrived

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from syncd.control.client import ControlClient
    from tui.asks import Interest
    from tui.asks_library import LibraryAsk

MOST_ALBUMS = 5000
MOST_SHOTS = 2000
"""Photos of one album, or rows to review, beyond this many are not fetched; the list says so."""
MOST_FOUND = 200
MOST_AT_ONCE = 10_000
"""The daemon approves so many in one go."""


class LibraryFeed:
    """The part of the feed's seam that is about the library."""

    _client: ControlClient
    _clock: Callable[[], float]

    # --- lists ------------------------------------------------------------------------------------

    async def _library(self) -> LibraryArrived:
        return LibraryArrived(clean(await self._client.library_status()))

    async def _albums(self) -> ListArrived:
        items, more = await pages(lambda cursor: self._client.albums(PAGE, cursor), MOST_ALBUMS)
        rows = tuple(Keyed(album.album_key, clean(album)) for album in items)
        return ListArrived("albums", self._clock(), rows, more=more)

    async def _photos(self, interest: Interest) -> ListArrived:
        kind, what = interest.photos
        rows: Sequence[Keyed[Shot]] = ()
        more = False
        if kind == "album" and what:
            photos, more = await pages(
                lambda cursor: self._client.library_photos(what, PAGE, cursor), MOST_SHOTS
            )
            rows = [Keyed(str(photo.id), _of_album(clean(photo))) for photo in photos]
        elif kind == "words" and what.strip():
            found, more = await pages(
                lambda cursor: self._client.metadata(PAGE, cursor, query=what), MOST_SHOTS
            )
            rows = [Keyed(_photo_id(row), _of_metadata(clean(row))) for row in found]
        elif what.strip():
            near = await self._client.search_metadata(what, MOST_FOUND)
            rows = [Keyed(_photo_id(row), _of_metadata(clean(row))) for row in near.items]
        return ListArrived("photos", self._clock(), tuple(rows), interest.photos, more)

    async def _review(self, interest: Interest) -> ListArrived:
        status, words = interest.review
        items, more = await pages(
            lambda cursor: self._client.metadata(PAGE, cursor, status=status, query=words.strip() or None),
            MOST_SHOTS,
        )
        rows = tuple(Keyed(str(row.id), _of_metadata(clean(row))) for row in items)
        return ListArrived("review", self._clock(), rows, interest.review, more)

    # --- the seam ---------------------------------------------------------------------------------

    async def review_ids(self, status: str, words: str) -> tuple[int, ...]:
        return await asking(self._review_ids(status, words))

    async def _review_ids(self, status: str, words: str) -> tuple[int, ...]:
        items, _ = await pages(
            lambda cursor: self._client.metadata(PAGE, cursor, status=status, query=words.strip() or None),
            1_000_000,
        )
        return tuple(row.id for row in items)

    async def library_preview(self, photo_id: str, width: int, height: int) -> bytes:
        return await asking(self._client.preview_library_photo(photo_id, width, height, image_format="rgb"))

    async def _do_library(self, ask: LibraryAsk) -> str:
        client, me = self._client, who()
        match ask:
            case SyncLibrary(full):
                accepted = await client.sync_library(full=full)
                what = "everything is read again" if full else "what changed is read"
                return f"{what}: job {printable(accepted.job_id)}"
            case SyncAlbum(album_key):
                accepted = await client.sync_album(album_key)
                return f"the album is read again: job {printable(accepted.job_id)}"
            case ApproveShots(ids):
                return await self._approve(ids, me)
            case SetStatus(ids, status):
                for number in ids:
                    await client.edit_metadata(
                        number, schema.MetadataPatch(status=status, changed_by=me, reason="reviewed")  # type: ignore[arg-type]
                    )  # fmt: skip
                done = {"pending": "to be described again", "review": "back for review"}.get(status, status)
                return f"{human_count(len(ids))} {done}"
            case EditShot(number, description, tags, categories):
                patch = schema.MetadataPatch(
                    description=description,
                    tags=list(tags) if tags is not None else None,
                    categories=list(categories) if categories is not None else None,
                    changed_by=me,
                    reason="edited in the dashboard",
                )
                changed = clean(await client.edit_metadata(number, patch))
                return f"{changed.filename} says so now: version {changed.version}"

    async def _approve(self, ids: tuple[int, ...], who: str) -> str:
        approved, skipped = 0, []
        for first in range(0, len(ids), MOST_AT_ONCE):
            some = list(ids[first : first + MOST_AT_ONCE])
            request = schema.MetadataApproval(ids=some, approved_by=who)
            reply = clean(await self._client.approve_metadata(request))
            approved += reply.approved
            skipped += reply.skipped
        text = f"{human_count(approved)} approved"
        if skipped:
            text += f", {human_count(len(skipped))} not: {skipped[0].reason}"
        return text


def who() -> str:
    """Who sits at this terminal, for the history."""
    try:
        return printable(getpass.getuser()) or "dashboard"
    except (KeyError, OSError):
        return "dashboard"


def _photo_id(row: schema.Metadata) -> str:
    return str(row.photo_id or row.image_key)


def _of_album(photo: schema.LibraryPhoto) -> Shot:
    ai = photo.ai
    shot = Shot(
        str(photo.id), photo.filename, caption=photo.caption or photo.title, keywords=tuple(photo.keywords),
        taken=photo.date_taken or "", size=(photo.width or 0, photo.height or 0),
        url=photo.web_url or photo.original_url or photo.large_url or "", scene_id=photo.scene_id or "",
        error=photo.hash_error or "",
    )  # fmt: skip
    if ai is None:
        return shot
    return shot._replace(
        meta_id=ai.id, status=ai.status, description=ai.description, tags=tuple(ai.tags),
        categories=tuple(ai.categories), confidence=ai.confidence, version=ai.version,
        error=ai.error or shot.error,
    )  # fmt: skip


def _of_metadata(row: schema.Metadata) -> Shot:
    return Shot(
        _photo_id(row), row.filename, row.id, row.status, tuple(row.albums), row.caption or row.title, (),
        row.description, tuple(row.tags), tuple(row.categories), row.confidence, row.version,
        row.approved_by or "", row.error or "", url=row.web_url or "",
        distance=row.distance if isinstance(row, schema.FoundMetadata) else None,
    )  # fmt: skip
