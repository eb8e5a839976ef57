"""What all work on a list has in common: its record, and its threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

import anyio
import anyio.to_thread

from syncd.catalogue import exchange as queries
from syncd.catalogue.exchange import Done
from syncd.catalogue.exchange_archive import Archive
from syncd.errors import SyncdError

Item = TypeVar("Item")
Result = TypeVar("Result")

PAGE_FILES = 64
"""Files that are worked on, and then recorded, together."""
NAMED = 1_000
"""The most files that a report names."""


async def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` of each item, in a few threads; what they do is waited for, even by who is cancelled."""
    limiter = anyio.CapacityLimiter(min(4, max(2, os.cpu_count() or 2)))
    results: dict[int, Result] = {}

    async def one(number: int) -> None:
        results[number] = await anyio.to_thread.run_sync(work, items[number], limiter=limiter)

    async with anyio.create_task_group() as tasks:
        for number in range(len(items)):
            tasks.start_soon(one, number)
    return [results[number] for number in range(len(items))]


class Operation:
    """A row of sync_operations, from its start to its end, whichever that is."""

    def __init__(self, archive: Archive, kind: str, list_id: str, source: str) -> None:
        self._archive = archive
        self._kind = kind
        self._list_id = list_id
        self._source = source
        self._finished = False
        self.operation_id = uuid4().hex

    async def __aenter__(self) -> Self:
        await self._archive.write(
            lambda db: queries.begin(db, self.operation_id, self._kind, self._list_id, self._source)
        )
        return self

    async def note(self, done: Sequence[Done]) -> None:
        """Records what became of these files, in one transaction."""
        if done:
            await self._archive.write(lambda db: queries.note_done(db, self.operation_id, done))

    async def finish(self, total: int, processed: int, errors: int) -> None:
        """The operation came to its end."""
        status = "partial" if errors else "completed"
        listed = "verified" if self._kind == "verify" and not errors else status
        await self._end(status, listed, total, processed, errors, None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        words = str(error) if isinstance(error, SyncdError) else "it was interrupted"
        with anyio.CancelScope(shield=True):
            await self._end("failed", "failed", 0, 0, 1, words)

    async def _end(
        self, status: str, listed: str, total: int, processed: int, errors: int, reason: str | None
    ) -> None:
        self._finished = True
        await self._archive.write(
            lambda db: queries.end(
                db, self.operation_id, status, total=total, processed=processed, errors=errors, error=reason
            )
        )
        values: dict[str, object] = {"status": listed, "error": reason}
        if self._kind in ("export", "import") and reason is None:
            values["processed_files"] = processed
        await self._archive.write(lambda db: queries.set_list(db, self._list_id, **values))
