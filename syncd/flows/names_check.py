"""Whether names agree, and what about them asks for a person. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from syncd.sinks.postgres import AlbumNames, Statistics

MOST_WITHOUT_KEY = 100
"""Photos without an album key that nobody is told of."""
QUIET = timedelta(hours=24)


class Checked(NamedTuple):
    """One album; `mirrored` counts its rows in the mirror, None without one."""

    album_key: str
    name: str
    photo_count: int
    issues: list[str]
    mirrored: int | None


def check_names(
    titles: Mapping[str, str],
    photo_counts: Mapping[str, int],
    mirror: Mapping[str, AlbumNames] | None,
    unfinished: Collection[str] = (),
) -> list[Checked]:
    """Every album of `photo_counts` in its order: SmugMug's names as last read against the mirror's. Those in
    `unfinished` have a change of which SmugMug was not heard."""
    found = []
    for key, count in photo_counts.items():
        there = mirror.get(key, AlbumNames(frozenset(), 0)) if mirror is not None else None
        issues = ["a change of its name is not finished"] if key in unfinished else []
        if there is not None:
            issues += _differences(titles[key], there, count)
        found.append(Checked(key, titles[key], count, issues, there.photo_count if there else None))
    return found


def _differences(title: str, there: AlbumNames, count: int) -> list[str]:
    if not there.names:
        return ["the mirror does not have its photos yet"] if count else []
    others = [f"{name!r}" if name else "nothing" for name in sorted(there.names - {title})]
    if not others:
        return []
    also = "also " if title in there.names else ""
    return [f"the mirror {also}calls it {' and '.join(others)}"]


def alerts_of(
    statistics: Statistics, mirror: Mapping[str, AlbumNames], waits_since: datetime | None, now: datetime
) -> list[str]:
    """What somebody should look at in the mirror, in sentences. `waits_since` is when the mirror last had all
    of the library, where it has something to be told."""
    alerts = []
    without = statistics.photos_without_album_key
    if without > MOST_WITHOUT_KEY:
        alerts.append(f"{without:,} photos in the mirror have no album_key, more than {MOST_WITHOUT_KEY}")
    is_expected = waits_since is not None and waits_since <= now - QUIET
    if is_expected and not statistics.recently_updated:
        alerts.append("nothing was updated in the mirror in 24 hours, though the library has changed")
    for key, there in sorted(mirror.items()):
        if len(there.names) > 1:
            alerts.append(f"album {key} has {len(there.names)} names in the mirror: {_list(there.names)}")
    return alerts


def _list(names: Collection[str]) -> str:
    shown: Sequence[str] = sorted(names)[:3]
    return ", ".join(repr(name) for name in shown) + (" …" if len(names) > len(shown) else "")
