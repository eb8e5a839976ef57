"""What the status tells of the mirror."""

from __future__ import annotations

from typing import NamedTuple

import aiosqlite

from syncd.control import schema
from syncd.flows.mirror_service import MIRROR, MirrorService


class MirrorNow(NamedTuple):
    """The mirror at one moment; `source` is None without one."""

    queue: schema.QueueStatus
    source: schema.SourceStatus | None
    is_idle: bool


async def mirror_now(db: aiosqlite.Connection, service: MirrorService) -> MirrorNow:
    """How the mirror is, as the catalogue and the service `mirror` know it."""
    found = await service.queue(db)
    source = None
    if service.sink is not None:
        state = service.health.state if service.is_running else "stopped"
        last_success_at = await service.last_success_at(db)
        source = schema.SourceStatus(name=MIRROR, state=state, last_success_at=last_success_at)
    running = min(service.running, found.waiting)
    queue = schema.QueueStatus(waiting=found.waiting - running, running=running, failed=found.failed)
    return MirrorNow(queue, source, await service.is_idle(db))
