"""What came into the events lately, out of the activity. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tui import look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncd.control import schema

HOUR_S = 3600.0
BUCKETS = 60


class Arrivals(NamedTuple):
    """New photos of the last hour: by minute with the oldest first, and by event with the most first."""

    minutes: tuple[float, ...]
    events: tuple[tuple[str, int], ...]

    @property
    def photos(self) -> int:
        return sum(count for _, count in self.events)


def arrivals(activity: Sequence[schema.ActivityItem], now: float) -> Arrivals:
    """Of the lines of activity that are at hand."""
    minutes = [0.0] * BUCKETS
    by_event: dict[str, int] = {}
    for item in reversed(activity):
        if item.kind != "photos":
            continue
        age_s = now - (look.moment(item.at) or 0.0)
        if age_s >= HOUR_S:
            break
        count = _count(item)
        minutes[BUCKETS - 1 - max(0, int(age_s * BUCKETS / HOUR_S))] += count
        by_event[item.subject] = by_event.get(item.subject, 0) + count
    return Arrivals(tuple(minutes), tuple(sorted(by_event.items(), key=lambda pair: (-pair[1], pair[0]))))


def _count(item: schema.ActivityItem) -> int:
    count = (item.data or {}).get("count")
    return count if isinstance(count, int) else 1
