"""Which albums are to be read, what a reading shows, and what may be taken out. Pure.

SmugMug stamps an album when it is edited and when photos are added, removed or rearranged, to the second. An
edited caption may move neither stamp, so albums that seem unchanged are read again too, a few at a time, each
within about a day. Facts and traps: https://api.smugmug.com/api/v2/doc
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from syncd.catalogue.library import Departure, KnownAlbum
from syncd.catalogue.library_photos import PhotoFields
from syncd.flows.removal_guard import judge, removal_limit
from syncd.model import Action
from syncd.remotes.smugmug_items import AlbumInfo, ImageInfo, moment
from syncd.text import rfc3339

FRESH_S = 60.0
"""What changes within a second of another change hides behind the same stamp, and clocks differ: an album
that was stamped so shortly before it was read is read once more."""
SWEEP_S = 12 * 3600.0
"""An album that seems unchanged is read again when its last reading is this old; all of them take as long."""
LOCKED = "it is locked by a password that this account does not open"


@dataclass(frozen=True, slots=True)
class AlbumsPlan:
    """`read`: keys of the albums to read, those that changed last first; `locked`: those that cannot be;
    `gone`: those that were not listed any more."""

    read: tuple[str, ...]
    locked: tuple[str, ...]
    gone: tuple[str, ...]


class Removals(NamedTuple):
    """Photos and albums that are to be taken out; where they are many, they are `held` for the `reason`."""

    actions: tuple[Action, ...]
    held: tuple[Action, ...]
    reason: str | None


def plan_albums(
    listed: Iterable[AlbumInfo],
    known: Mapping[str, KnownAlbum],
    *,
    full_since: str | None = None,
    complete: bool = True,
) -> AlbumsPlan:
    """What a list of albums calls for. `known` is the catalogue after the list was recorded; with
    `full_since` (RFC 3339) everything not read since is read; only a `complete` list tells what is gone."""
    albums = {album.album_key: album for album in listed}
    locked = tuple(key for key, album in albums.items() if is_locked(album))
    due = [
        album
        for key, album in albums.items()
        if not is_locked(album) and is_due(album, known.get(key), full_since)
    ]
    due.sort(key=lambda album: (album.updated or "", album.album_key), reverse=True)
    gone = tuple(sorted(known.keys() - albums.keys())) if complete else ()
    return AlbumsPlan(tuple(album.album_key for album in due), locked, gone)


def is_locked(album: AlbumInfo) -> bool:
    """Whether SmugMug shows the album but not what is in it."""
    return album.response_level == "Password"


def is_due(album: AlbumInfo, known: KnownAlbum | None, full_since: str | None) -> bool:
    """Whether the album has to be read."""
    if known is None or known.read_began_at is None or known.is_restless:
        return True
    if known.last_error is not None or known.memo != memo_of(album):
        return True
    if full_since is not None and known.read_began_at < full_since:
        return True
    stamped, began = moment(album.updated), moment(known.read_began_at)
    return stamped is not None and began is not None and stamped > began - timedelta(seconds=FRESH_S)


def memo_of(album: AlbumInfo) -> str:
    """As `STAMPS` of catalogue/library.py makes it from the album's row."""
    return f"{album.last_updated or ''}|{album.images_updated or ''}|{album.image_count}"


def is_whole(totals: Iterable[int], seen: int) -> bool:
    """Whether the pages of a reading fit together: the same total on each, and as many different photos."""
    return set(totals) == {seen}


# --- the sweep --------------------------------------------------------------------------------------


def plan_sweep(
    known: Mapping[str, KnownAlbum], now: datetime, swept_until: datetime | None, page_size: int
) -> tuple[list[str], datetime]:
    """Albums that seem unchanged and are read again now, oldest reading first, and up to when that is paid
    for. The price of an album is its pages; what may be spent grows so that all pages are paid for once in
    `SWEEP_S`, and never piles up beyond that."""
    pages = {
        key: max(1, -(-max(album.image_count, album.photos) // page_size)) for key, album in known.items()
    }
    total = sum(pages.values())
    paid = min(max(swept_until or now, now - timedelta(seconds=SWEEP_S)), now)
    oldest = rfc3339(now - timedelta(seconds=SWEEP_S))
    old = sorted(
        (album.read_began_at, key)
        for key, album in known.items()
        if album.read_began_at is not None and album.read_began_at < oldest and album.last_error is None
    )
    if not old:
        return [], now
    chosen = []
    for _, key in old:
        price = timedelta(seconds=SWEEP_S * pages[key] / total)
        if paid + price > now:
            break
        paid += price
        chosen.append(key)
    return chosen, paid


# --- what leaves ------------------------------------------------------------------------------------


def plan_removals(
    departures: Sequence[Departure],
    gone: Mapping[str, str],
    photos: int,
    *,
    max_delete: int,
    max_delete_percent: float,
    approved: frozenset[Action],
) -> Removals:
    """Judges what a sync would take out: photos that no album has any more, and the albums `gone` (titles by
    key), of a library of `photos`. A photo that is still in another album is not lost."""
    lost = {one.image_key: one for one in departures if not one.stays}
    actions = [Action("remove", one.album_key, "", one.filename, one.image_key) for one in lost.values()]
    actions += [Action("remove", key, "", title, None) for key, title in sorted(gone.items())]
    limit = removal_limit(max_delete, max_delete_percent, photos)
    verdict = judge(actions, (), limit=limit, recent=0, approved=approved)
    if not verdict.held:
        return Removals(tuple(actions), (), None)
    reason = (
        f"{len(lost):,} of {photos:,} photos and {len(gone):,} albums are not in the SmugMug library"
        f" any more; that is more than the {limit:,} that may go without asking"
    )
    return Removals(tuple(actions), verdict.held, reason)


# --- photos -----------------------------------------------------------------------------------------


def fields_of(image: ImageInfo) -> PhotoFields:
    """What is recorded of a photo."""
    is_processing = image.is_processing and not image.is_broken
    return PhotoFields(
        image_key=image.image_key,
        filename=image.name,
        title=image.title,
        caption=image.caption,
        keywords=image.keywords,
        date_taken=image.captured_at,
        uploaded_at=image.uploaded_at,
        last_updated=image.last_updated,
        thumbnail_url=image.thumbnail_url,
        large_url=image.large_url,
        original_url=image.archived_url,
        web_url=image.web_url,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        md5=image.md5,
        serial=image.serial,
        format=image.format,
        is_video=image.is_video,
        is_hidden=image.is_hidden,
        is_processing=is_processing,
        latitude=image.latitude,
        longitude=image.longitude,
        can_be_described=not (image.is_video or is_processing or image.is_broken),
    )
