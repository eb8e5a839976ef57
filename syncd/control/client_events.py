"""The client's calls about events, faces and sign-ins."""

from __future__ import annotations

from syncd.control import schema
from syncd.control.client_base import Connections, decode, segment, target_of


class EventCalls(Connections):
    """One method a route."""

    async def events(self, limit: int = 100, cursor: str | None = None) -> schema.EventPage:
        return await self._get(schema.EventPage, "/api/events", limit=limit, cursor=cursor)

    async def add_event(self, request: schema.EventRequest) -> schema.Event:
        return await self._post(schema.Event, "/api/events", request)

    async def event(self, event_id: str) -> schema.Event:
        return await self._get(schema.Event, _event(event_id))

    async def remove_event(self, event_id: str) -> None:
        await self._call("DELETE", _event(event_id))

    async def enable_event(
        self, event_id: str, interval_minutes: float | None = None
    ) -> schema.AutoSyncEnabled:
        request = schema.AutoSyncRequest(interval_minutes=interval_minutes)
        return await self._post(schema.AutoSyncEnabled, _event(event_id, "/auto-sync/enable"), request)

    async def disable_event(self, event_id: str) -> schema.AutoSyncDisabled:
        return await self._post(schema.AutoSyncDisabled, _event(event_id, "/auto-sync/disable"))

    async def event_status(self, event_id: str) -> schema.AutoSyncStatus:
        return await self._get(schema.AutoSyncStatus, _event(event_id, "/auto-sync/status"))

    async def sync_event(self, event_id: str) -> schema.JobAccepted:
        return await self._post(schema.JobAccepted, _event(event_id, "/sync"))

    async def event_photos(
        self, event_id: str, limit: int = 100, cursor: str | None = None
    ) -> schema.EventPhotoPage:
        """Photos of the event, newest first."""
        path = _event(event_id, "/photos")
        return await self._get(schema.EventPhotoPage, path, limit=limit, cursor=cursor)

    async def search_faces(
        self, event_id: str, picture: bytes, *, tolerance: float | None = None, limit: int = 50
    ) -> schema.FacesPage:
        """Photos of the people in `picture` (the bytes of an image file), nearest first."""
        target = target_of(_event(event_id, "/faces/search"), {"tolerance": tolerance, "limit": limit})
        return await self._post(schema.FacesPage, target, picture, timeout_s=None)

    async def forget_faces(
        self, event_id: str, picture: bytes, *, tolerance: float | None = None
    ) -> schema.FacesForgotten:
        """Removes the people in `picture` from the event's faces, for good."""
        target = target_of(_event(event_id, "/faces"), {"tolerance": tolerance})
        content = await self._call("DELETE", target, picture, timeout_s=None)
        return decode(content, schema.FacesForgotten)

    async def preview_event_photo(
        self, photo_id: str, width: int = 400, height: int = 400, image_format: str = "jpeg"
    ) -> bytes:
        """As `preview`, of a photo of an event."""
        query = {"event_photo": photo_id, "width": width, "height": height, "format": image_format}
        return await self._call("GET", target_of("/api/preview", query))

    # --- sign-ins ---------------------------------------------------------------------------------

    async def auth_status(self) -> schema.AccountPage:
        return await self._get(schema.AccountPage, "/api/auth/status")

    async def start_sign_in(self, provider: str, *, by_code: bool = False) -> schema.SignInStarted:
        """`by_code`: the browser is on another machine."""
        query = "?by_code=true" if by_code else ""
        return await self._post(schema.SignInStarted, f"/api/auth/{segment(provider)}/start{query}")

    async def finish_sign_in(self, provider: str, answer: schema.SignInAnswer) -> schema.SignedIn:
        return await self._post(schema.SignedIn, f"/api/auth/{segment(provider)}/finish", answer)

    async def wait_for_sign_in(self, provider: str, flow_id: str) -> schema.SignedIn:
        """Answers when the sign-in is finished, by the browser or by another call."""
        request = schema.SignInFlow(flow_id=flow_id)
        target = f"/api/auth/{segment(provider)}/wait"
        return await self._post(schema.SignedIn, target, request, timeout_s=None)


def _event(event_id: str, rest: str = "") -> str:
    return f"/api/event/{segment(event_id)}{rest}"
