"""Requests and replies about events, faces and sign-ins; schema.py has them all."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from syncd.control.schema_base import Reply, Request, refuse_nul

Minutes = int | float
"""Whole numbers are shown as such."""

# The longest is ten years.
Interval = Annotated[float, Meta(ge=0.5, le=5_256_000)]

EventState = Literal[
    "idle", "syncing", "waiting", "needs_auth", "backing_off", "quota", "blocked", "disabled"
]


class EventRequest(Request, frozen=True, kw_only=True):
    """`drive_folder_id` is the id of a folder, or its address as a browser shows it."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    drive_folder_id: Annotated[str, Meta(min_length=1, max_length=2000)]
    publish: bool = False

    def __post_init__(self) -> None:
        refuse_nul([self.name, self.drive_folder_id])
        if not self.name.strip():
            raise ValueError("name: expected more than blanks")


class PhotoReason(Reply, frozen=True, kw_only=True):
    photo_id: str
    photo_name: str
    reason: str


class Event(Reply, frozen=True, kw_only=True):
    """`complete_as_of`: the event holds everything that its folder held then. Of the `in_folder` photos that
    the folder was last seen to hold `photos` are downloaded and checked, and `indexed` searched for faces."""

    event_id: str
    name: str
    drive_folder_id: str
    account: str | None
    publish: bool
    enabled: bool
    running: bool
    state: EventState
    interval_minutes: Minutes
    last_sync_at: str | None
    next_sync_at: str | None
    complete_as_of: str | None
    photos: int
    faces: int
    failed: list[PhotoReason]
    last_error: str | None
    in_folder: int = 0
    indexed: int = 0


class EventPage(Reply, frozen=True, kw_only=True):
    items: list[Event]
    next_cursor: str | None = None


class AutoSyncRequest(Request, frozen=True, kw_only=True):
    """Without `interval_minutes` the event keeps the interval that it has."""

    interval_minutes: Interval | None = None


class AutoSyncEnabled(Reply, frozen=True, kw_only=True):
    message: Literal["Auto-sync enabled"] = "Auto-sync enabled"
    interval_minutes: Minutes


class AutoSyncDisabled(Reply, frozen=True, kw_only=True):
    message: Literal["Auto-sync disabled"] = "Auto-sync disabled"


class AutoSyncStatus(Reply, frozen=True, kw_only=True):
    enabled: bool
    running: bool
    interval_minutes: Minutes
    last_sync_at: str | None
    state: EventState
    photos: int
    faces: int
    next_sync_at: str | None
    last_error: str | None


Box = tuple[int, int, int, int]
"""top, right, bottom, left: pixels of the upright original."""


class EventPhoto(Reply, frozen=True, kw_only=True):
    photo_id: str
    photo_name: str
    synced_at: str
    width: int | None
    height: int | None
    captured_at: str | None
    boxes: list[Box]
    """Where the faces are."""
    url: str | None


class EventPhotoPage(Reply, frozen=True, kw_only=True):
    items: list[EventPhoto]
    next_cursor: str | None = None


class FoundFace(Reply, frozen=True, kw_only=True):
    """A photo with the nearest face in it; `distance` is Euclidean, between 128-d encodings. `width` and
    `height` are those of the upright original."""

    photo_id: str
    photo_name: str
    distance: float
    box: Box
    url: str | None
    width: int | None = None
    height: int | None = None


class FacesPage(Reply, frozen=True, kw_only=True):
    faces_in_query: int
    items: list[FoundFace]


class FacesForgotten(Reply, frozen=True, kw_only=True):
    forgotten: int


class Account(Reply, frozen=True, kw_only=True):
    provider: str
    account: str
    state: str
    scopes: list[str]
    expires_at: str | None
    hint: str | None


class AccountPage(Reply, frozen=True, kw_only=True):
    items: list[Account]


class SignInStarted(Reply, frozen=True, kw_only=True):
    """`url` is to be opened in a browser."""

    url: str
    flow_id: str


class SignInFlow(Request, frozen=True, kw_only=True):
    flow_id: str


class SignInAnswer(Request, frozen=True, kw_only=True):
    """Either the code, or the whole address that the browser was sent to."""

    flow_id: str
    code: str | None = None
    redirect_url: str | None = None

    def __post_init__(self) -> None:
        if (self.code is None) == (self.redirect_url is None):
            raise ValueError("expected either code or redirect_url")


class SignedIn(Reply, frozen=True, kw_only=True):
    provider: str
    account: str
