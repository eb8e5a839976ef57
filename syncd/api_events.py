"""What the status says about events: counts, work that is left, and how fresh each account is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import aiosqlite

from syncd.catalogue import event_photos, event_sources, events, notices
from syncd.catalogue.events import EventRow
from syncd.control import schema
from syncd.flows.events_service import DriveService

_PARKED = ("needs_auth", "quota")


class EventsNow(NamedTuple):
    """`is_idle`: there is nothing to do now for events; what waits for a sign-in, a quota or another try
    does not count."""

    events: int
    photos: int
    faces: int
    sources: list[schema.SourceStatus]
    is_idle: bool
    blocked: list[schema.Blocked]


async def events_now(db: aiosqlite.Connection, drive: DriveService) -> EventsNow:
    """How events are, as the catalogue and the service `drive` know it."""
    read_at = await event_sources.feeds_read_at(db)
    active = await events.active(db)
    accounts = {*read_at, *(event.account for event in active if event.account)}
    parked = [name for name in accounts if drive.health(name).state in _PARKED]
    is_idle = True
    if drive.is_running:
        due = await event_photos.due_photos(db, limit=1, busy=(), parked=parked)
        is_idle = not due and not any(_is_listed_soon(event, drive) for event in active)
    sources = [
        schema.SourceStatus(name=f"drive {name}", state=drive.health(name).state, last_success_at=at)
        for name, at in read_at.items()
    ]
    blocked = [
        schema.Blocked(what=f"event {one.event_id}", reason=f"{one.name}: {one.reason}", since=one.since)
        for one in await notices.lost_events(db)
    ]
    return EventsNow(*await events.totals(db), sources, is_idle, blocked)


def _is_listed_soon(event: EventRow, drive: DriveService) -> bool:
    return event.listing_due and not event.blocked and drive.health_of(event).state == "running"


def photo_queue(states: Mapping[str, int]) -> schema.QueueStatus:
    """The queue of photos that are to be brought in, from how many jobs are in each state."""
    waiting = states.get("queued", 0) + states.get("waiting", 0)
    return schema.QueueStatus(
        waiting=waiting, running=states.get("running", 0), failed=states.get("failed", 0)
    )
