"""What the dashboard asks of the daemon, and the seam behind which the daemon is: `Feed`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncd.control import schema
    from tui.asks_exchange import ExchangeAsk, Trial
    from tui.asks_library import LibraryAsk, NamesAsk
    from tui.state import Event, Keyed, ListName


@dataclass(frozen=True, slots=True)
class SetPublic:
    batch: str
    public: bool


@dataclass(frozen=True, slots=True)
class SetSource:
    """`stage` None is the best stage present."""

    batch: str
    stage: str | None


@dataclass(frozen=True, slots=True)
class StartSync:
    """Without `batch`, all of them."""

    batch: str | None = None


@dataclass(frozen=True, slots=True)
class RetryJobs:
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetryFailed:
    pass


@dataclass(frozen=True, slots=True)
class CancelJob:
    id: str


@dataclass(frozen=True, slots=True)
class Approve:
    guard_id: str


@dataclass(frozen=True, slots=True)
class SetAutoSync:
    """An event that is switched on keeps the interval that it has."""

    event_id: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class SetInterval:
    """Switches auto-sync on as well."""

    event_id: str
    minutes: float


@dataclass(frozen=True, slots=True)
class SyncEvent:
    event_id: str


@dataclass(frozen=True, slots=True)
class ForgetPerson:
    """`picture` is an image file that shows only this person."""

    event_id: str
    picture: bytes = field(repr=False)


EventAsk: TypeAlias = SetAutoSync | SetInterval | SyncEvent | ForgetPerson


@dataclass(frozen=True, slots=True)
class Pause:
    """Without `service`, all of them."""

    service: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Reload:
    pass


OwnAsk: TypeAlias = (
    SetPublic
    | SetSource
    | StartSync
    | RetryJobs
    | RetryFailed
    | CancelJob
    | Approve
    | Pause
    | Resume
    | Reload
)
Ask: TypeAlias = "OwnAsk | EventAsk | LibraryAsk | NamesAsk | ExchangeAsk"


Box: TypeAlias = tuple[int, int, int, int]
"""top, right, bottom, left: pixels of the upright original."""


class Photo(NamedTuple):
    """A photo of an event. `boxes` are the faces in it, or of what was found the one that is nearest;
    `size` is width and height of the original, 0 where they are not known."""

    name: str
    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] = (0, 0)
    synced_at: str | None = None
    captured_at: str | None = None
    url: str | None = None
    distance: float | None = None


class PhotoPage(NamedTuple):
    """Keyed by photo id, newest first."""

    rows: tuple[Keyed[Photo], ...]
    next_cursor: str | None = None


class Found(NamedTuple):
    """Photos of the people on a picture, which shows so many faces, nearest first."""

    faces: int
    rows: tuple[Keyed[Photo], ...]
    more: bool = False


class AskFailed(Exception):
    """The daemon refused or did not answer. `hint` is what to do about it; both are printable."""

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Interest:
    """What is on the screen, and so is asked for. `scenes` is (batch, words), `wanted` how many of its rows
    are to be at hand and `place` the row that is looked at; `sync` asks for the running sync. `photos` is
    ("album", its key), ("words", words) or ("meaning", text); `review` is (status, words); `files` is (list,
    side)."""

    lists: frozenset[ListName] = frozenset()
    sync: bool = False
    scenes: tuple[str, str] = ("", "")
    live_only: bool = False
    wanted: int = 0
    place: int = 0
    library: bool = False
    photos: tuple[str, str] = ("", "")
    review: tuple[str, str] = ("", "")
    files: tuple[str, str] = ("", "")


class Feed(Protocol):
    """The daemon, as far as the dashboard knows it."""

    where: str
    """The socket, printable."""

    async def run(self, send: Callable[[Event], None]) -> None:
        """Sends what the daemon says, for ever; connects again whenever it is lost."""
        ...

    def look(self, interest: Interest) -> None:
        """From now on this is what is asked for."""
        ...

    def refresh(self) -> None:
        """Asks at once for what is on the screen, or tries to connect at once."""
        ...

    async def do(self, ask: Ask) -> str:
        """Carries it out and says what the daemon answered. Raises AskFailed."""
        ...

    async def plan(self, batch: str) -> schema.SyncReport:
        """What a sync of this batch would do. Raises AskFailed."""
        ...

    async def live_scenes(self, batch: str) -> schema.ScenePage:
        """The first of the batch's scenes that are live. Raises AskFailed."""
        ...

    async def stages(self, batch: str) -> list[Keyed[str]]:
        """The stages that the first scenes of the batch have: name and printable name. Raises AskFailed."""
        ...

    async def event_photos(self, event_id: str, cursor: str | None = None) -> PhotoPage:
        """Photos of an event. Raises AskFailed."""
        ...

    async def find_person(self, event_id: str, picture: bytes) -> Found:
        """Photos of the people on `picture`, an image file. Raises AskFailed."""
        ...

    async def event_preview(self, photo_id: str, width: int, height: int) -> bytes:
        """As `preview`, of a photo of an event. Raises AskFailed."""
        ...

    async def review_ids(self, status: str, words: str) -> tuple[int, ...]:
        """The ids of all that is written in this status and has these words. Raises AskFailed."""
        ...

    async def names_dry_run(self, album_keys: tuple[str, ...] | None) -> schema.NamesReport:
        """What ApplyNames would do. Raises AskFailed."""
        ...

    async def try_exchange(self, ask: Trial) -> str:
        """What this would do, in a sentence; nothing is done. Raises AskFailed."""
        ...

    async def library_preview(self, photo_id: str, width: int, height: int) -> bytes:
        """As `preview`, of a photo of the library. Raises AskFailed."""
        ...

    async def exchange_preview(self, list_id: str, file_id: int, of: str, width: int, height: int) -> bytes:
        """As `preview`, of a file of a list: `theirs`, `near` (ours like it), or `ours` of the side `ours`.
        Raises AskFailed."""
        ...

    async def preview(self, version_id: int, width: int, height: int) -> bytes:
        """Picture that fits into width x height pixels: big-endian uint16 width and height, then RGB.
        Raises AskFailed."""
        ...
