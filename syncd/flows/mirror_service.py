"""The service `mirror`: a lagging copy of the library in Postgres. Nothing here waits for it: what it has
to be told is marked in the catalogue, for as long as it takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import aiosqlite
import anyio

from syncd.catalogue import mirror as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.mirror import QueueRow
from syncd.config import Config
from syncd.errors import SyncdError
from syncd.flows.mirror import Mirroring, Told
from syncd.pollers.poller import Health, Poller
from syncd.sinks.postgres import PostgresMirror
from syncd.supervisor import ServiceHandle
from syncd.text import human_count, rfc3339

MIRROR = "mirror"
_LOOK_S = 2.0
"""So long after a change it is told at the latest."""
_VISIT_S = 15.0
"""Rows that others made are looked for this often, and whether the mirror still answers."""
_REFUSED_S = 60.0

Emit = Callable[[str, str, str, str, dict[str, Any] | None], object]
"""activity.emit: kind, service, subject, message, data."""


class MirrorService:
    """Tells the mirror what is marked, and compares all of it when it is first met, when it is another one,
    and after each complete sync of the library."""

    name = MIRROR

    def __init__(self, *, catalogue: Catalogue, config: Callable[[], Config], emit: Emit) -> None:
        self._catalogue = catalogue
        self._config = config
        self._emit = emit
        self._sink: tuple[str, PostgresMirror] | None = None
        self._left_behind: list[PostgresMirror] = []
        self._last_success_at: str | None = None
        self.is_running = False
        self._is_busy = self._is_asked = False
        self._begin_anew()
        self._poller = Poller(MIRROR, self._pass, self._interval_s, on_change=self._changed)

    def _begin_anew(self) -> None:
        self._visit_at_s = 0.0
        self._must_compare = True

    # --- what others ask ----------------------------------------------------------------------------

    @property
    def sink(self) -> PostgresMirror | None:
        """The mirror of the present settings, None where they name none. It opens its connection itself and
        takes one caller after the other."""
        dsn = self._config().mirror.dsn
        if self._sink is None or self._sink[0] != dsn:
            if self._sink is not None:
                self._left_behind.append(self._sink[1])
            self._begin_anew()
            self._sink = (dsn, PostgresMirror(dsn))
        return self._sink[1] if dsn else None

    @property
    def health(self) -> Health:
        """How Postgres was when it was last asked."""
        return self._poller.health

    async def wake(self, *, again: bool = False) -> None:
        """There may be something to tell. `again`: somebody may have put right what was amiss."""
        if again:
            if self.sink is not None:
                self.sink.try_again()
            self._visit_at_s = 0.0
            self._is_asked = True
            await self._catalogue.write(queries.retry)
        self._poller.refresh(at_once=again)

    @property
    def running(self) -> int:
        """Whether it is being told something now, as a number."""
        return int(self._is_busy)

    async def queue(self, db: aiosqlite.Connection) -> QueueRow:
        """What the mirror still has to be told; nothing without a mirror."""
        return QueueRow(0, 0, None) if self.sink is None else await queries.queue(db)

    async def last_success_at(self, db: aiosqlite.Connection) -> str | None:
        """When the mirror was last known to have all that was due, RFC 3339."""
        return self._last_success_at or (await queries.state(db)).last_success_at

    async def is_idle(self, db: aiosqlite.Connection) -> bool:
        """There is nothing to do now; what waits for Postgres does not count."""
        if not self.is_running or self.sink is None:
            return True
        if self._is_busy or self._is_asked:
            return False
        if self._poller.health.state != "running":
            return True
        return not (self._must_compare or await queries.is_due(db))

    # --- running ------------------------------------------------------------------------------------

    async def run(self, handle: ServiceHandle) -> None:
        if self.sink is not None:
            self.sink.try_again()
        self._poller.refresh(at_once=True)
        self.is_running = True
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._poller.run)
                handle.ready()
                while True:
                    self._say(handle)
                    await anyio.sleep(_LOOK_S / 4)
        finally:
            self.is_running = self._is_busy = self._is_asked = False
            await self.close()

    async def close(self) -> None:
        """Ends the connections; whoever asks for the mirror next opens another."""
        sinks = [*self._left_behind, *([self._sink[1]] if self._sink is not None else [])]
        self._left_behind.clear()
        with anyio.CancelScope(shield=True):
            for sink in sinks:
                await sink.close()

    def _interval_s(self) -> float | None:
        if self.sink is None:
            return None
        is_refused = self.health.state == "backing_off" and self.health.resume_in_s is None
        return _REFUSED_S if is_refused else _LOOK_S

    def _say(self, handle: ServiceHandle) -> None:
        health = self.health
        if health.state == "running" or self.sink is None:
            handle.set_state("running")
            return
        words = f"{health.reason}" + (f" ({health.hint})" if health.hint else "")
        handle.set_state("needs_auth" if health.state == "needs_auth" else "backing_off", words)

    async def _changed(self, health: Health, is_news: bool) -> None:
        """`_say` tells it: the supervisor has it logged and noted."""

    # --- one pass -----------------------------------------------------------------------------------

    async def _pass(self) -> None:
        """Does what is due. Raises what keeps the mirror from being reached or written."""
        sink = self.sink
        if sink is None:
            return
        for old in self._left_behind:
            await old.close()
        self._left_behind.clear()
        async with self._catalogue.reader() as db:
            is_due, state = await queries.is_due(db), await queries.state(db)
        now_s = anyio.current_time()
        is_visit = now_s >= self._visit_at_s
        must_compare = self._must_compare or state.last_sync != state.compared_sync
        if not (is_due or is_visit or must_compare):
            return
        self._is_busy, self._is_asked = True, False
        self._visit_at_s = now_s + _VISIT_S
        try:
            total = await self._work(sink, is_visit, must_compare)
        except SyncdError:
            self._visit_at_s = 0.0  # all is well once it has answered, not for want of work
            raise
        finally:
            self._is_busy = False
        self._last_success_at = at = rfc3339(datetime.now(UTC))
        if any(total) or must_compare:
            await self._catalogue.write(lambda db: queries.succeeded(db, at))
        self._tell(total)

    async def _work(self, sink: PostgresMirror, is_visit: bool, must_compare: bool) -> Told:
        mirroring = Mirroring(sink, self._catalogue)
        total = Told()
        if is_visit:
            total = total.plus(Told(filled=await mirroring.fill()))
        total = total.plus(await mirroring.tell())
        if await mirroring.is_another() or must_compare:
            total = total.plus(await mirroring.compare(self._config().guard))
            if self.sink is sink:  # not another one meanwhile
                self._must_compare = False
            total = total.plus(await mirroring.tell())
        return total

    def _tell(self, told: Told) -> None:
        """Says what was done, where anything was."""
        parts = [
            (told.written, "written"),
            (told.removed, "removed"),
            (told.filled, "of others given their album"),
            (told.turned_down, "turned down by Postgres"),
            (told.left, "of photos that the library does not have left alone: more than [guard] allows"),
        ]
        said = [f"{human_count(count)} row{'s'[: count != 1]} {what}" for count, what in parts if count]
        if said:
            self._emit(MIRROR, MIRROR, MIRROR, "; ".join(said), told._asdict())
