"""The plan of names: what each album is called, what it should be called, and what is done about it.

Pure: a snapshot of the catalogue in, a frozen plan out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal

from syncd.flows.names_rules import Hint, Seen, canonical, drift_score

Action = Literal["rename", "keep", "skip"]
_KEYS_SAID = 3


@dataclass(frozen=True, slots=True)
class AlbumFacts:
    """What is known of one album. `days` counts its photos by the ISO day of their capture; `is_read` says
    that its photos have been listed whole."""

    album_key: str
    name: str
    photo_count: int = 0
    image_count: int = 0
    is_read: bool = True
    album_date: str | None = None
    days: Mapping[str, int] = field(default_factory=dict)
    seen: Sequence[Seen] = ()
    hint: Hint | None = None


@dataclass(frozen=True, slots=True)
class PlannedName:
    """One album of a plan; the fields are those of the contract."""

    album_key: str
    old_name: str
    new_name: str
    drift_score: int
    action: Action
    reason: str


def plan_names(
    albums: Sequence[AlbumFacts],
    *,
    threshold: float | None,
    today: date,
    only: Collection[str] | None = None,
) -> list[PlannedName]:
    """What is to be done with each album, or with those of the keys `only`, in the order of `albums`. A
    `threshold` of None renames whatever has another name than it should."""
    planned = [_planned(album, threshold, today) for album in albums]
    results = Counter(_result(item) for item in planned)
    twins: dict[str, list[str]] = {name: [] for name, count in results.items() if count > 1}
    for item in planned:
        if (same := twins.get(_result(item))) is not None:
            same.append(item.album_key)
    return [
        _with_twins(item, twins.get(item.new_name, ()))
        for item in planned
        if only is None or item.album_key in only
    ]


def _result(item: PlannedName) -> str:
    """What the album is called after the plan."""
    return item.new_name if item.action == "rename" else item.old_name


def _planned(album: AlbumFacts, threshold: float | None, today: date) -> PlannedName:
    def left(action: Action, reason: str, new_name: str = album.name, score: int = 0) -> PlannedName:
        return PlannedName(album.album_key, album.name, new_name, score, action, reason)

    if not album.photo_count and not album.image_count:
        return left("skip", "the album is empty")
    if not album.is_read:
        return left("skip", "its photos have not all been read yet")
    found = canonical(
        album.name,
        hint=album.hint,
        seen=album.seen,
        days=album.days,
        album_date=album.album_date,
        today=today,
    )
    if found is None:
        return left("keep", "its name is only a date, and nothing says what it shows")
    if found.name == album.name:
        return left("keep", "it has this name")
    score = drift_score(album.name, found.name)
    if threshold is not None and score <= threshold:
        reason = f"a drift of {score} is not above {threshold:g}"
        return left("keep", reason, found.name, score)
    return left("rename", found.origin, found.name, score)


def _with_twins(item: PlannedName, keys: Sequence[str]) -> PlannedName:
    """Two albums may have one name; whoever looks at the plan is told."""
    others = [key for key in keys if key != item.album_key]
    if item.action != "rename" or not others:
        return item
    shown = ", ".join(others[:_KEYS_SAID])
    more = f" and {len(others) - _KEYS_SAID:,} more" if len(others) > _KEYS_SAID else ""
    return replace(item, reason=f"{item.reason}; the same name as {shown}{more}")
