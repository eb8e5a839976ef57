"""Requests and replies about the names of albums; schema.py has them all."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta

from syncd.control.schema_base import Reply, Request, refuse_nul

NameAction = Literal["rename", "keep", "skip"]
ChangeState = Literal["begun", "confirmed", "failed"]

AlbumKey = Annotated[str, Meta(min_length=1, max_length=100)]
Threshold = Annotated[float, Meta(ge=0, le=100)]
Who = Annotated[str, Meta(min_length=1, max_length=200)]
_AGE = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_Word = Annotated[str, Meta(max_length=200)]


def moment_of(since: str, now: datetime) -> datetime:
    """The time that `90s`, `15m`, `1h`, `2d` (before `now`) or an RFC 3339 time stands for, in UTC.
    ValueError says what was expected."""
    expected = f"since: expected 90s, 15m, 1h, 2d or an RFC 3339 time, got {since[:64]!r}"
    try:
        if (age := _AGE.fullmatch(since.strip())) is not None:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        moment = datetime.fromisoformat(since.strip().upper())
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(expected)


class NameItem(Reply, frozen=True, kw_only=True):
    """One album: `drift_score` 0 is the same name, 100 another one altogether. With `keep` and `skip` the
    album keeps `old_name`."""

    album_key: str
    old_name: str
    new_name: str
    drift_score: int
    action: NameAction
    reason: str


class NamesPlan(Reply, frozen=True, kw_only=True):
    """`threshold`: albums whose score is above it are renamed."""

    items: list[NameItem]
    threshold: float = 20
    next_cursor: str | None = None


class NamesApply(Request, frozen=True, kw_only=True):
    """Without `album_keys`, or with none in it, all albums whose score is above `threshold` (else that of the
    settings). Chosen albums are renamed whatever their score, unless `threshold` is given as well."""

    album_keys: list[AlbumKey] | None = None
    threshold: Threshold | None = None
    dry_run: bool = False
    changed_by: Who = "api"

    def __post_init__(self) -> None:
        refuse_nul([self.changed_by, *(self.album_keys or ())])


class AlbumReason(Reply, frozen=True, kw_only=True):
    album_key: str
    reason: str


class NamesReport(Reply, frozen=True, kw_only=True):
    """`renamed` have the new name on SmugMug; of those, `mirror_failed` are still to get it in the mirror,
    which is tried again until it has. `kept` counts the others that were not to be renamed, `skipped` those
    that are empty or not read yet. A dry run says what would be."""

    items: list[NameItem]
    renamed: int
    kept: int
    failed: list[AlbumReason]
    dry_run: bool
    mirror_failed: list[AlbumReason] = []
    threshold: float = 20
    skipped: int = 0


class NamesVerifyItem(Reply, frozen=True, kw_only=True):
    """`photo_count` is the catalogue's; `mirror_photo_count` is None without a mirror."""

    album_key: str
    name: str
    photo_count: int
    synced: bool
    issues: list[str]
    mirror_photo_count: int | None = None


class NamesVerified(Reply, frozen=True, kw_only=True):
    """`mirror` False: there is none, so that nothing could differ from it."""

    checked: int
    synced: int
    out_of_sync: int
    items: list[NamesVerifyItem]
    mirror: bool = True


class NamesStats(Reply, frozen=True, kw_only=True):
    """Counts are of the mirror's rows, and with `mirror` False of the catalogue's. `recently_updated` rows
    changed in the last 24 hours. `alerts` are sentences that ask for a person."""

    total_albums: int
    total_photos: int
    photos_with_album_key: int
    photos_without_album_key: int
    recently_updated: int
    alerts: list[str]
    mirror: bool = True


class NameChange(Reply, frozen=True, kw_only=True):
    """`begun`: SmugMug was asked, or is about to be; `confirmed`: it has the new name. `mirrored` None:
    there is no mirror."""

    id: int
    album_key: str
    old_name: str
    new_name: str
    changed_at: str
    changed_by: str
    source: str
    state: ChangeState
    error: str | None = None
    mirrored: bool | None = None


class NamesLog(Reply, frozen=True, kw_only=True):
    """Newest first."""

    items: list[NameChange]
    next_cursor: str | None = None


class NamesRollback(Request, frozen=True, kw_only=True):
    """Either `since` (`90s`, `15m`, `1h`, `2d`, or RFC 3339) or the ids of changes."""

    since: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    change_ids: Annotated[list[int], Meta(min_length=1, max_length=10_000)] | None = None
    changed_by: Who = "api"

    def __post_init__(self) -> None:
        if (self.since is None) == (self.change_ids is None):
            raise ValueError("expected either since or change_ids")
        refuse_nul([self.since or "", self.changed_by])
        if self.since is not None:
            moment_of(self.since, datetime.now(UTC))


class NamesRestored(Reply, frozen=True, kw_only=True):
    """`restored` albums have their earlier names on SmugMug; `mirror_failed` as in NamesReport."""

    restored: int
    refused: list[AlbumReason]
    mirror_failed: list[AlbumReason] = []


class NameHintRequest(Request, frozen=True, kw_only=True):
    """What a person knows of an album; it takes the place of the hint before. All empty: no hint."""

    teams: Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=20)] = []
    event: _Word = ""
    sport: _Word = ""

    def __post_init__(self) -> None:
        refuse_nul([*self.teams, self.event, self.sport])
        if any(not team.strip() for team in self.teams):
            raise ValueError("teams: expected names, got an empty one")


class NameHint(Reply, frozen=True, kw_only=True):
    """The hint as it is kept, and what the album would be called with it."""

    album_key: str
    teams: list[str]
    event: str
    sport: str
    plan: NameItem
