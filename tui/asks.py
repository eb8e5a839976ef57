"""What the dashboard asks of the daemon, and the seam behind which the daemon is: `Feed`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncd.control import schema
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
class Pause:
    """Without `service`, all of them."""

    service: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Reload:
    pass


Ask: TypeAlias = (
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


class AskFailed(Exception):  # noqa: N818
    """The daemon refused or did not answer. `hint` is what to do about it; both are printable."""

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Interest:
    """What is on the screen, and so is asked for. `scenes` is (batch, words), `wanted` how many of its rows
    are to be at hand and `place` the row that is looked at; `sync` asks for the running sync."""

    lists: frozenset[ListName] = frozenset()
    sync: bool = False
    scenes: tuple[str, str] = ("", "")
    live_only: bool = False
    wanted: int = 0
    place: int = 0


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

    async def preview(self, version_id: int, width: int, height: int) -> bytes:
        """Picture that fits into width x height pixels: big-endian uint16 width and height, then RGB.
        Raises AskFailed."""
        ...
