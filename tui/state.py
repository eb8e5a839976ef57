"""What the dashboard knows, and how each thing that happens changes it. Pure: no clock, no I/O, no widgets.

`reduce(state, event)` returns the new state and the names of the parts that differ, so that only what
changed is painted. Times are seconds since the epoch by the dashboard's own clock. Texts arrive here
already printable; `Keyed.key` alone keeps the name as the daemon knows it, to ask for things by.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from tui.rates import Progress, Rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from syncd.control import schema
    from tui.asks_library import Shot

ACTIVITY_LIMIT = 2000
"""Lines of activity kept; the daemon keeps more."""

T = TypeVar("T")
Part = Literal[
    "link",
    "status",
    "sync",
    "activity",
    "batches",
    "scenes",
    "events",
    "library",
    "albums",
    "photos",
    "review",
    "names",
    "changes",
    "exchanges",
    "files",
    "jobs",
    "guards",
    "busy",
    "flash",
]
PARTS: tuple[Part, ...] = get_args(Part)
Tone = Literal["info", "ok", "warn", "bad"]
NOTHING: frozenset[Part] = frozenset()


class Keyed(NamedTuple, Generic[T]):
    """A row: `key` is its identity as the daemon spells it, `value` is printable."""

    key: str
    value: T


@dataclass(frozen=True, slots=True)
class Link:
    """The connection. `connecting` and `absent` until the first success, then `live` or `lost`."""

    phase: Literal["connecting", "absent", "live", "lost"] = "connecting"
    since: float = 0.0
    where: str = ""
    error: str = ""
    hint: str = ""
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """Rows of a list. `at` is None until it first arrived; `subject` says what was asked (a batch and a
    query); `more` that the daemon has further pages; `error` why the last attempt failed."""

    items: tuple[Keyed[T], ...] = ()
    at: float | None = None
    subject: tuple[str, str] = ("", "")
    more: bool = False
    error: str = ""

    def find(self, key: str | None) -> T | None:
        """The value of the row with this key, or None."""
        return next((item.value for item in self.items if item.key == key), None)


@dataclass(frozen=True, slots=True)
class Flash:
    """One line for a few seconds. `number` tells two equal flashes apart."""

    text: str
    tone: Tone
    number: int


@dataclass(frozen=True, slots=True)
class State:
    link: Link = Link()
    status: schema.Status | None = None
    status_at: float | None = None
    sync: schema.SyncReport | None = None
    activity: tuple[schema.ActivityItem, ...] = ()
    last_id: int = 0
    batches: Listing[schema.Batch] = Listing()
    scenes: Listing[schema.Scene] = Listing()
    events: Listing[schema.Event] = Listing()
    library: schema.LibraryStatus | None = None
    albums: Listing[schema.Album] = Listing()
    photos: Listing[Shot] = Listing()
    review: Listing[Shot] = Listing()
    names: Listing[schema.NameItem] = Listing()
    changes: Listing[schema.NameChange] = Listing()
    exchanges: Listing[schema.ExchangeList] = Listing()
    files: Listing[schema.ExchangeFile] = Listing()
    jobs: Listing[schema.Job] = Listing()
    guards: Listing[schema.Guard] = Listing()
    rates: Rates = field(default_factory=Rates)
    progress: Progress = field(default_factory=Progress)
    busy: frozenset[str] = frozenset()
    flash: Flash | None = None

    @property
    def live(self) -> bool:
        return self.link.phase == "live"

    @property
    def read_only(self) -> bool:
        return self.status is not None and self.status.access == "read"


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connecting:
    at: float
    where: str


@dataclass(frozen=True, slots=True)
class Connected:
    at: float


@dataclass(frozen=True, slots=True)
class Lost:
    at: float
    error: str
    hint: str = ""
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class StatusArrived:
    at: float
    status: schema.Status


@dataclass(frozen=True, slots=True)
class SyncArrived:
    at: float
    report: schema.SyncReport


@dataclass(frozen=True, slots=True)
class LibraryArrived:
    status: schema.LibraryStatus


@dataclass(frozen=True, slots=True)
class ActivitySnapshot:
    """The newest page, in place of what was known. `missed` counts ids that were lost in between."""

    items: tuple[schema.ActivityItem, ...]
    last_id: int
    missed: int = 0


@dataclass(frozen=True, slots=True)
class ActivityArrived:
    items: tuple[schema.ActivityItem, ...]


ListName: TypeAlias = Literal[
    "batches",
    "scenes",
    "events",
    "albums",
    "photos",
    "review",
    "names",
    "changes",
    "exchanges",
    "files",
    "jobs",
    "guards",
]
OF_A_SUBJECT = frozenset({"scenes", "photos", "review", "files"})
"""Lists that are asked for with what they are of."""


@dataclass(frozen=True, slots=True)
class ListArrived:
    name: ListName
    at: float
    items: tuple[Keyed[Any], ...]
    subject: tuple[str, str] = ("", "")
    more: bool = False


@dataclass(frozen=True, slots=True)
class ListFailed:
    name: ListName
    error: str


@dataclass(frozen=True, slots=True)
class ListAsked:
    """A list is wanted for another subject: rows of the old one must not be taken for the new one's."""

    name: ListName
    subject: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Started:
    """An action on `key` is on its way."""

    key: str


@dataclass(frozen=True, slots=True)
class Ended:
    key: str
    text: str
    tone: Tone = "ok"


@dataclass(frozen=True, slots=True)
class Flashed:
    text: str
    tone: Tone = "info"


@dataclass(frozen=True, slots=True)
class FlashFaded:
    number: int


Event: TypeAlias = (
    Connecting
    | Connected
    | Lost
    | StatusArrived
    | SyncArrived
    | LibraryArrived
    | ActivitySnapshot
    | ActivityArrived
    | ListArrived
    | ListFailed
    | ListAsked
    | Started
    | Ended
    | Flashed
    | FlashFaded
)


# --- reduce ---------------------------------------------------------------------------------------


def reduce(state: State, event: Event) -> tuple[State, frozenset[Part]]:
    """The state after `event`, and the parts that differ from before."""
    new = _apply(state, event)
    return (state, NOTHING) if new is state else (new, _dirty(state, new))


def _apply(state: State, event: Event) -> State:
    match event:
        case Connecting() | Connected() | Lost():
            return _linked(state, event)
        case StatusArrived(at, status):
            return replace(state, status=status, status_at=at, rates=state.rates.add(at, status.throughput))
        case SyncArrived(at, report):
            return replace(state, sync=report, progress=state.progress.add(at, report))
        case LibraryArrived(report):
            return state if report == state.library else replace(state, library=report)
        case ActivitySnapshot():
            return _snapshot(state, event)
        case ActivityArrived(items):
            fresh = tuple(contiguous(state.last_id, items))
            return _with_activity(state, state.activity + fresh) if fresh else state
        case ListArrived() | ListFailed() | ListAsked():
            return _listed(state, event)
        case Started(key):
            return replace(state, busy=state.busy | {key})
        case Ended(key, text, tone):
            return _flashed(replace(state, busy=state.busy - {key}), text, tone)
        case Flashed(text, tone):
            return _flashed(state, text, tone)
        case FlashFaded(number):
            if state.flash is not None and state.flash.number == number:
                return replace(state, flash=None)
            return state


def _linked(state: State, event: Connecting | Connected | Lost) -> State:
    link = state.link
    if isinstance(event, Connecting):
        if link.phase == "connecting":
            return replace(state, link=Link("connecting", event.at, event.where))
        return replace(state, link=replace(link, where=event.where, retry_at=None))
    if isinstance(event, Connected):
        back = link.phase == "lost"
        state = replace(state, link=Link("live", event.at, link.where), rates=Rates(), progress=Progress())
        return _flashed(state, "connected again", "ok") if back else state
    phase: Literal["lost", "absent"] = "lost" if link.phase in ("live", "lost") else "absent"
    since = link.since if link.phase == phase else event.at
    lost = Link(phase, since, link.where, event.error, event.hint, event.retry_at)
    return replace(state, link=lost)


def _snapshot(state: State, event: ActivitySnapshot) -> State:
    items = event.items[-ACTIVITY_LIMIT:]
    reset = event.last_id < state.last_id
    state = replace(state, activity=items, last_id=max(event.last_id, items[-1].id if items else 0))
    if event.missed:
        return _flashed(state, f"resynced, {event.missed:,} missed", "warn")
    return _flashed(state, "resynced: the daemon's log starts anew", "warn") if reset else state


def _with_activity(state: State, items: tuple[schema.ActivityItem, ...]) -> State:
    return replace(state, activity=items[-ACTIVITY_LIMIT:], last_id=items[-1].id)


def _listed(state: State, event: ListArrived | ListFailed | ListAsked) -> State:
    old: Listing[object] = getattr(state, event.name)
    if isinstance(event, ListAsked):
        listing = old if old.subject == event.subject else Listing(subject=event.subject)
    elif isinstance(event, ListFailed):
        listing = replace(old, error=event.error)
    elif event.name in OF_A_SUBJECT and event.subject != old.subject:
        return state  # an answer to a question that is no longer asked
    else:
        listing = Listing(reuse(old.items, event.items), event.at, event.subject, event.more)
    return state if listing is old else replace(state, **{event.name: listing})  # type: ignore[arg-type]


def _flashed(state: State, text: str, tone: Tone) -> State:
    number = state.flash.number + 1 if state.flash else 1
    return replace(state, flash=Flash(text, tone, number))


def _dirty(old: State, new: State) -> frozenset[Part]:
    return frozenset(part for part in PARTS if getattr(old, part) is not getattr(new, part))


# --- helpers that the feed shares -----------------------------------------------------------------


def contiguous(last_id: int, items: Iterable[schema.ActivityItem]) -> Iterable[schema.ActivityItem]:
    """The items that follow `last_id` without a gap; what was seen before is dropped."""
    for item in items:
        if item.id == last_id + 1:
            last_id = item.id
            yield item
        elif item.id > last_id:
            return


def gap(last_id: int, items: Iterable[schema.ActivityItem]) -> int:
    """How many ids are missing between `last_id` and the first of `items` that does not follow."""
    for item in items:
        if item.id > last_id + 1:
            return item.id - last_id - 1
        last_id = max(last_id, item.id)
    return 0


def reuse(old: Sequence[Keyed[T]], new: Sequence[Keyed[T]]) -> tuple[Keyed[T], ...]:
    """`new`, with rows that are equal to the old ones being the old ones, so that a line that was painted
    for them stays good. All equal: the old tuple itself."""
    known = {item.key: item for item in old}
    rows = tuple(
        before if (before := known.get(item.key)) is not None and before.value == item.value else item
        for item in new
    )
    if len(rows) == len(old) and all(a is b for a, b in zip(rows, old, strict=True)):
        return old if isinstance(old, tuple) else tuple(old)
    return rows
