"""Events and accounts of a daemon, in memory, and calls of every route about them."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec

from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import AuthRejected, Refused

AT = "2026-11-21T12:00:00Z"
PHOTO_ID = "1pQ9bZtq3mV0xJr5aW7cKdE2fGhIjKlMn"
CODE = "4/0Acode"

# method, target, body, status
EVENT_CALLS: list[tuple[str, str, Any, int]] = [
    ("POST", "/api/events", {"name": "Gala", "drive_folder_id": "f2"}, 201),
    ("POST", "/api/events", {"name": "Gala", "drive_folder_id": "f2", "publish": True}, 201),
    ("GET", "/api/events", None, 200),
    ("GET", "/api/events?limit=1&cursor=a", None, 200),
    ("GET", "/api/event/wedding", None, 200),
    ("DELETE", "/api/event/wedding", None, 204),
    ("POST", "/api/event/wedding/auto-sync/enable", {"interval_minutes": 0.5}, 200),
    ("POST", "/api/event/wedding/auto-sync/enable", {}, 200),
    ("POST", "/api/event/wedding/auto-sync/enable", None, 200),
    ("POST", "/api/event/wedding/auto-sync/disable", None, 200),
    ("GET", "/api/event/wedding/auto-sync/status", None, 200),
    ("POST", "/api/event/wedding/sync", None, 202),
    ("GET", "/api/event/wedding/photos?limit=1", None, 200),
    ("POST", "/api/event/wedding/faces/search", b"face", 200),
    ("POST", "/api/event/wedding/faces/search?tolerance=0.55&limit=1", b"face", 200),
    ("DELETE", "/api/event/wedding/faces?tolerance=1", b"face", 200),
    ("DELETE", f"/api/event/wedding/faces?like={PHOTO_ID}", None, 200),
    ("GET", f"/api/preview?event_photo={PHOTO_ID}&width=80", None, 200),
    ("GET", "/api/auth/status", None, 200),
    ("POST", "/api/auth/drive/start", None, 200),
    ("POST", "/api/auth/drive/start", {}, 200),
    ("POST", "/api/auth/drive/finish", {"flow_id": "flow", "code": CODE}, 200),
    ("POST", "/api/auth/drive/wait", {"flow_id": "done"}, 200),
    ("POST", "/api/auth/smugmug/start?by_code=true", None, 200),
    ("POST", "/api/auth/smugmug/finish", {"flow_id": "flow", "code": CODE}, 200),
    ("POST", "/api/auth/smugmug/finish", {"flow_id": "flow", "redirect_url": f"http://x/?{CODE}"}, 200),
    ("POST", "/api/auth/smugmug/wait", {"flow_id": "done"}, 200),
    # errors
    ("GET", "/api/event/none", None, 404),
    ("DELETE", "/api/event/none", None, 404),
    ("GET", "/api/event/none/auto-sync/status", None, 404),
    ("POST", "/api/event/none/auto-sync/enable", None, 404),
    ("POST", "/api/event/none/sync", None, 404),
    ("POST", "/api/event/none/faces/search", b"face", 404),
    ("POST", "/api/auth/smugmug/start?by_code=maybe", None, 422),
    ("POST", "/api/auth/nobody/start", None, 404),
    ("POST", "/api/auth/nobody/finish", {"flow_id": "flow", "code": CODE}, 404),
    ("GET", "/api/preview?event_photo=none", None, 404),
    ("GET", "/api/event/wedding/sync", None, 405),
    ("PUT", "/api/event/wedding", None, 405),
    ("POST", "/api/auth/drive/finish", {"flow_id": "flow", "code": "wrong"}, 409),
    ("POST", "/api/auth/drive/finish", {"flow_id": "over", "code": CODE}, 409),
    ("POST", "/api/events", None, 422),
    ("POST", "/api/events", {"name": "Gala"}, 422),
    ("POST", "/api/events", {"name": "", "drive_folder_id": "f"}, 422),
    ("POST", "/api/events", {"name": " ", "drive_folder_id": "f"}, 422),
    ("POST", "/api/events", {"name": "a\0b", "drive_folder_id": "f"}, 422),
    ("POST", "/api/events", {"name": "Gala", "drive_folder_id": "f", "public": True}, 422),
    ("POST", "/api/event/wedding/auto-sync/enable", {"interval_minutes": 0.49}, 422),
    ("POST", "/api/event/wedding/auto-sync/enable", {"interval_minutes": -1}, 422),
    ("POST", "/api/event/wedding/auto-sync/enable", {"interval_minutes": 1e300}, 422),
    ("POST", "/api/event/wedding/auto-sync/enable", {"interval_minutes": "2"}, 422),
    ("POST", "/api/event/wedding/auto-sync/enable", {"interval_minutes": True}, 422),
    ("POST", "/api/event/wedding/auto-sync/enable", {"interval": 2}, 422),
    ("POST", "/api/event/wedding/faces/search", None, 422),
    ("POST", "/api/event/wedding/faces/search", b"landscape", 422),
    ("POST", "/api/event/wedding/faces/search?tolerance=-1", b"face", 422),
    ("POST", "/api/event/wedding/faces/search?tolerance=2.01", b"face", 422),
    ("POST", "/api/event/wedding/faces/search?tolerance=nan", b"face", 422),
    ("POST", "/api/event/wedding/faces/search?tolerance=1_0", b"face", 422),
    ("POST", "/api/event/wedding/faces/search?tolerance=", b"face", 422),
    ("POST", "/api/event/wedding/faces/search?limit=0", b"face", 422),
    ("POST", "/api/event/wedding/faces/search?limit=1.5", b"face", 422),
    ("DELETE", "/api/event/wedding/faces", None, 422),
    ("GET", f"/api/preview?event_photo={PHOTO_ID}&version_id=1", None, 422),
    ("POST", "/api/auth/drive/finish", {"flow_id": "flow"}, 422),
    ("POST", "/api/auth/drive/finish", {"flow_id": "flow", "code": "a", "redirect_url": "b"}, 422),
    ("POST", "/api/auth/drive/wait", {}, 422),
]

EVENT_COMMANDS: list[tuple[str, type[Any]]] = [
    ("events add Gala --folder f", schema.Event),
    ("events add Gala --folder f --publish", schema.Event),
    ("events list", schema.EventPage),
    ("events show wedding", schema.Event),
    ("events enable wedding", schema.AutoSyncEnabled),
    ("events enable wedding --interval 0.5", schema.AutoSyncEnabled),
    ("events disable wedding", schema.AutoSyncDisabled),
    ("events status wedding", schema.AutoSyncStatus),
    ("events sync wedding", schema.JobAccepted),
    ("events remove wedding --yes", schema.Event),
    ("faces search /dev/stdin --event wedding", schema.FacesPage),
    ("faces search - --event wedding --tolerance 0.5 --limit 2", schema.FacesPage),
    ("faces forget - --event wedding --yes", schema.FacesForgotten),
    ("auth status", schema.AccountPage),
    ("auth drive", schema.SignedIn),
    ("auth smugmug", schema.SignedIn),
    ("auth smugmug --code", schema.SignedIn),
]
"""Command lines of syncctl, and what each shows; stdin is a code, and a picture."""


def event(event_id: str, name: str = "", **given: Any) -> schema.Event:
    made = schema.Event(
        event_id=event_id, name=name or event_id.title(), drive_folder_id="f1", account="me@example.com",
        publish=False, enabled=False, running=False, state="disabled", interval_minutes=2, last_sync_at=AT,
        next_sync_at=None, complete_as_of=AT, photos=1234, faces=5678, failed=[], last_error=None,
    )  # fmt: skip
    return msgspec.structs.replace(made, **given)


class MemoryEvents:
    def __init__(self) -> None:
        self.rows = {"wedding": event("wedding", "Wedding\x1b[2J")}
        self.pictures: list[bytes] = []
        self.forgotten: list[bytes | str] = []

    def _row(self, event_id: str) -> schema.Event:
        if event_id not in self.rows:
            raise NotFound(f"there is no event {event_id!r}", hint="`syncctl events list` shows them")
        return self.rows[event_id]

    async def create(self, request: schema.EventRequest) -> schema.Event:
        made = event(request.name.lower(), request.name, publish=request.publish, photos=0, faces=0)
        made = msgspec.structs.replace(made, drive_folder_id=request.drive_folder_id, last_sync_at=None)
        self.rows[made.event_id] = made
        return made

    async def listed(self, limit: int, cursor: str | None) -> schema.EventPage:
        return schema.EventPage(items=list(self.rows.values())[:limit])

    async def get(self, event_id: str) -> schema.Event:
        return self._row(event_id)

    async def remove(self, event_id: str) -> None:
        self._row(event_id)
        del self.rows[event_id]

    def _set(self, event_id: str, **given: Any) -> schema.Event:
        self.rows[event_id] = msgspec.structs.replace(self._row(event_id), **given)
        return self.rows[event_id]

    async def enable(self, event_id: str, interval_minutes: float | None) -> schema.AutoSyncEnabled:
        minutes = interval_minutes or self._row(event_id).interval_minutes
        self._set(event_id, enabled=True, running=True, state="idle", interval_minutes=minutes)
        return schema.AutoSyncEnabled(interval_minutes=minutes)

    async def disable(self, event_id: str) -> schema.AutoSyncDisabled:
        self._set(event_id, enabled=False, running=False, state="disabled")
        return schema.AutoSyncDisabled()

    async def auto_sync(self, event_id: str) -> schema.AutoSyncStatus:
        return msgspec.convert(self._row(event_id), schema.AutoSyncStatus, from_attributes=True)

    async def sync(self, event_id: str) -> schema.JobAccepted:
        self._row(event_id)
        return schema.JobAccepted(job_id="j9")

    async def photos(self, event_id: str, limit: int, cursor: str | None) -> schema.EventPhotoPage:
        self._row(event_id)
        photo = schema.EventPhoto(
            photo_id=PHOTO_ID, photo_name="a.jpg", synced_at=AT, width=6000, height=4000, captured_at=None,
            boxes=[(1, 20, 30, 4)], url=None,
        )  # fmt: skip
        return schema.EventPhotoPage(items=[photo])

    async def search_faces(
        self, event_id: str, picture: bytes, tolerance: float | None, limit: int
    ) -> schema.FacesPage:
        self._row(event_id)
        self.pictures.append(picture)
        if picture == b"landscape":
            raise Invalid("there is no face in the picture", hint="take one where the face is larger")
        found = schema.FoundFace(
            photo_id=PHOTO_ID, photo_name="a\x1b.jpg", distance=tolerance or 0.25, box=(1, 20, 30, 4),
            url="https://photos.example/events/wedding/a.jpg",
        )  # fmt: skip
        return schema.FacesPage(faces_in_query=2, items=[found] * min(limit, 3))

    async def forget_faces(
        self, event_id: str, picture: bytes, like: str | None, tolerance: float | None
    ) -> schema.FacesForgotten:
        self._row(event_id)
        self.forgotten.append(picture or like or b"")
        return schema.FacesForgotten(forgotten=3)

    async def preview(self, photo_id: str, width: int, height: int, image_format: str) -> bytes:
        if photo_id != PHOTO_ID:
            raise NotFound("there is no such photo")
        return f"event {image_format} {width}x{height}".encode()


class MemoryAccounts:
    """One flow, `flow`; another one, `done`, was finished by the browser."""

    def __init__(self) -> None:
        self.rows = [
            schema.Account(
                provider="drive", account="me@example.com", state="needs_auth", scopes=["drive.readonly"],
                expires_at=None, hint="sign in again: syncctl auth drive",
            )
        ]  # fmt: skip
        self.answers: list[schema.SignInAnswer] = []
        self.in_browser = anyio.Event()

    async def status(self) -> schema.AccountPage:
        return schema.AccountPage(items=self.rows)

    async def start(self, provider: str, by_code: bool = False) -> schema.SignInStarted:
        self.by_code = by_code
        return schema.SignInStarted(url="https://accounts.example/auth?a=1&b=2", flow_id="flow")

    async def finish(self, provider: str, answer: schema.SignInAnswer) -> schema.SignedIn:
        if answer.flow_id != "flow":
            raise Refused("this sign-in is over or was never begun", hint="begin again: syncctl auth")
        self.answers.append(answer)
        if CODE not in (answer.code or answer.redirect_url or ""):
            raise AuthRejected("Google's sign-in says invalid_grant")
        return schema.SignedIn(provider=provider, account="me@example.com")

    async def wait(self, provider: str, flow_id: str) -> schema.SignedIn:
        if flow_id != "done":
            await self.in_browser.wait()
        return schema.SignedIn(provider=provider, account="browser@example.com")
