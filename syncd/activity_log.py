"""The log of activity, kept in the catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from syncd.activity import Activity, Entry
from syncd.catalogue import activity as activity_queries
from syncd.catalogue.activity import ActivityRow
from syncd.catalogue.database import Catalogue


@asynccontextmanager
async def kept_activity(catalogue: Catalogue) -> AsyncIterator[Activity]:
    """The log of activity with its own task, which outlives every service and stores the last entries."""
    async with catalogue.reader() as db:
        last_id = await activity_queries.last_id(db)

    async def append(entries: list[Entry]) -> None:
        rows = [ActivityRow(e.id, e.at, e.kind, e.service, e.subject, e.message, e.data) for e in entries]
        await catalogue.write(lambda db: activity_queries.append(db, rows))
        if entries[-1].id // 1000 != (entries[0].id - 1) // 1000:
            await catalogue.write(activity_queries.prune)

    async def load(since: int, limit: int) -> list[Entry]:
        async with catalogue.reader() as db:
            rows = await activity_queries.page(db, since, limit)
        return [Entry(r.id, r.at, r.kind, r.service, r.subject, r.message, r.data) for r in rows]

    activity = Activity(append, last_id, load)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(activity.run)
        try:
            yield activity
        finally:
            tasks.cancel_scope.cancel()
