"""The feed's calls about events, the photos in them and the people on these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncd.text import human_count, printable
from tui import asks, look
from tui.asks import Found, Photo, PhotoPage
from tui.clean import asking, clean
from tui.state import Keyed

if TYPE_CHECKING:
    from syncd.control import schema
    from syncd.control.client import ControlClient
    from tui.asks import EventAsk

PHOTOS_PAGE = 500
MOST_FOUND = 1000


class EventFeed:
    """The part of the feed's seam that is about events."""

    _client: ControlClient

    async def event_photos(self, event_id: str, cursor: str | None = None) -> PhotoPage:
        page = await asking(self._client.event_photos(event_id, PHOTOS_PAGE, cursor))
        rows = tuple(Keyed(photo.photo_id, _photo(clean(photo))) for photo in page.items)
        return PhotoPage(rows, page.next_cursor)

    async def find_person(self, event_id: str, picture: bytes) -> Found:
        page = await asking(self._client.search_faces(event_id, picture, limit=MOST_FOUND))
        rows = tuple(Keyed(photo.photo_id, _found(clean(photo))) for photo in page.items)
        return Found(page.faces_in_query, rows, len(rows) >= MOST_FOUND)

    async def event_preview(self, photo_id: str, width: int, height: int) -> bytes:
        return await asking(self._client.preview_event_photo(photo_id, width, height, image_format="rgb"))

    async def _do_event(self, ask: EventAsk) -> str:
        client = self._client
        match ask:
            case asks.SetAutoSync(event_id, True):
                on = await client.enable_event(event_id)
                return f"auto-sync is on: every {look.interval(on.interval_minutes)}"
            case asks.SetAutoSync(event_id, _):
                await client.disable_event(event_id)
                return "auto-sync is off; photos and faces stay"
            case asks.SetInterval(event_id, wanted):
                on = await client.enable_event(event_id, wanted)
                return f"auto-sync every {look.interval(on.interval_minutes)}"
            case asks.SyncEvent(event_id):
                accepted = await client.sync_event(event_id)
                return f"the whole folder is looked at: job {printable(accepted.job_id)}"
            case asks.ForgetPerson(event_id, picture):
                done = await client.forget_faces(event_id, picture)
                word = "face is" if done.forgotten == 1 else "faces are"
                return f"forgotten: {human_count(done.forgotten)} {word} gone and stay gone"


def _photo(photo: schema.EventPhoto) -> Photo:
    return Photo(
        photo.photo_name, tuple(photo.boxes), (photo.width or 0, photo.height or 0), photo.synced_at,
        photo.captured_at, photo.url,
    )  # fmt: skip


def _found(photo: schema.FoundFace) -> Photo:
    size = (photo.width or 0, photo.height or 0)
    return Photo(photo.photo_name, (photo.box,), size, url=photo.url, distance=photo.distance)
