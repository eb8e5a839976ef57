"""Two small tools of the flows: write many records with one transaction, and take turns at batches."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Pending(Generic[Item, Result]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.done = anyio.Event()
        self.result: Result | None = None
        self.error: Exception | None = None


class Coalescer(Generic[Item, Result]):
    """Turns many concurrent `add(item)` into few `apply(items)`: what arrives while one batch is being
    written goes into the next. `apply` returns one result an item, or raises for all of them.

    A lone item is written at once. While items keep coming, each batch gathers for `gather_s` seconds: a
    transaction costs an fsync and a dozen changes of thread, whether it holds one record or a hundred.
    `more` says whether others are to come; the last few do not wait for them.
    """

    def __init__(
        self,
        apply: Callable[[list[Item]], Awaitable[list[Result]]],
        gather_s: float = 0.05,
        more: Callable[[], bool] = lambda: True,
    ) -> None:
        self._apply = apply
        self._gather_s = gather_s
        self._more = more
        self._written_at = -math.inf
        self._pending: list[_Pending[Item, Result]] = []
        self._is_writing = False

    async def add(self, item: Item) -> Result:
        """The result for `item`, once it is written."""
        mine: _Pending[Item, Result] = _Pending(item)
        self._pending.append(mine)
        # A caller that is cancelled may be the one that writes for the others, so the wait is shielded:
        # a write takes milliseconds.
        with anyio.CancelScope(shield=True):
            if self._is_writing:
                await mine.done.wait()
            else:
                await self._write_all()
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]

    async def _write_all(self) -> None:
        self._is_writing = True
        try:
            while self._pending:
                if anyio.current_time() - self._written_at < self._gather_s and self._more():
                    await anyio.sleep(self._gather_s)
                batch, self._pending = self._pending, []
                try:
                    results = await self._apply([pending.item for pending in batch])
                    for pending, result in zip(batch, results, strict=True):
                        pending.result = result
                except Exception as error:  # noqa: BLE001 - handed to every caller of this batch
                    for pending in batch:
                        pending.error = error
                self._written_at = anyio.current_time()
                for pending in batch:
                    pending.done.set()
        finally:
            self._is_writing = False


class Turns:
    """Mutual exclusion by name, first come first served: who asks for several names gets them all at once
    and may give them back one by one."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._waiting: list[tuple[frozenset[str], anyio.Event]] = []

    @asynccontextmanager
    async def hold(self, names: Collection[str]):  # type: ignore[no-untyped-def]
        """Yields `release(name)`; what was not released by the end is released then."""
        wanted = frozenset(names)
        mine = set(wanted)
        await self._acquire(wanted)

        def release(name: str) -> None:
            if name in mine:
                mine.discard(name)
                self._held.discard(name)
                self._grant()

        try:
            yield release
        finally:
            self._held -= mine
            self._grant()

    async def _acquire(self, wanted: frozenset[str]) -> None:
        entry = (wanted, anyio.Event())
        self._waiting.append(entry)
        self._grant()
        try:
            await entry[1].wait()
        except BaseException:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:
                self._held -= wanted
            self._grant()
            raise

    def _grant(self) -> None:
        ahead: set[str] = set()
        still = []
        for wanted, event in self._waiting:
            if wanted & self._held or wanted & ahead:
                ahead |= wanted
                still.append((wanted, event))
            else:
                self._held |= wanted
                event.set()
        self._waiting = still
