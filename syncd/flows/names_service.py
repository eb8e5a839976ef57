"""The service `names`: finishes what was begun, keeps the mirror's names up, renames by itself where it may,
and says what asks for a person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio

from syncd.catalogue import names as queries
from syncd.config import Config
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.flows.names import NAMES, Emit, Names
from syncd.flows.names_check import alerts_of
from syncd.flows.notices import Trouble
from syncd.log import get_logger
from syncd.supervisor import ServiceHandle
from syncd.text import now_text

_LOOK_S = 2.0
_LONGEST_S = 60.0
_ALERTS_S = 300.0
_BUDGET_S = 60.0
"""How often it is looked whether the hour has room for more names."""
_REJECTED_S = 3600.0
"""SmugMug that grants no changes is not asked for any so long, unless somebody did something about it."""
_MANY = 5
"""Alerts that are said one by one."""

_log = get_logger(NAMES)


class NamesService:
    """Looks every few seconds at what little there may be to do, and longer apart while nobody answers."""

    name = NAMES

    def __init__(self, names: Names, config: Callable[[], Config], emit: Emit) -> None:
        self._names = names
        self._config = config
        self._emit = emit
        self._wake = anyio.Event()
        self._failures = 0
        self._planned: tuple[Any, ...] | None = None  # what the last automatic plan was made of
        self._planned_at_s = 0.0
        self._rejected: AuthRejected | None = None
        self._rejected_at_s = 0.0
        self._alerts_at_s: float | None = None
        self.alerts: list[str] = []
        self.alerts_since = now_text()

    def look(self) -> None:
        """There may be something to do; a person may have signed in, or Postgres be back."""
        self._failures = 0
        self._alerts_at_s = None
        self._planned = self._rejected = None
        self._wake.set()

    def troubles(self) -> dict[str, Trouble]:
        """What asks for a person, for mail: one entry, however many alerts."""
        if not self.alerts:
            return {}
        more = f"; and {len(self.alerts) - _MANY:,} more" if len(self.alerts) > _MANY else ""
        return {f"{NAMES} alerts": Trouble("attention", "; ".join(self.alerts[:_MANY]) + more)}

    async def run(self, handle: ServiceHandle) -> None:
        self.look()
        handle.ready()
        while True:
            self._wake = anyio.Event()
            trouble = await self._look()
            if trouble is None:
                self._failures = 0
                handle.set_state("running")
            else:
                self._failures += 1
                state, reason = trouble
                handle.set_state("needs_auth" if state == "needs_auth" else "backing_off", reason)
            with anyio.move_on_after(min(_LONGEST_S, _LOOK_S * 2.0 ** min(self._failures, 10))):
                await self._wake.wait()

    async def _look(self) -> tuple[str, str] | None:
        """Does what there is to do. The state and its reason where something could not be done."""
        trouble: tuple[str, str] | None = None
        try:
            if not await self._names.settle():
                trouble = ("backing_off", "SmugMug does not say whether an album has its new name")
            elif self._config().names.auto:
                await self._auto()
        except AuthRejected as error:
            trouble = ("needs_auth", f"{error.message} ({error.hint})" if error.hint else error.message)
        except (Transient, Refused) as error:
            trouble = ("backing_off", error.message)
        if behind := await self._names.push():
            trouble = trouble or (
                "backing_off",
                f"{_names(len(behind))} for the mirror: {behind[0].reason}",
            )
        await self._look_at_alerts()
        return trouble

    async def _auto(self) -> None:
        async with self._names.catalogue.reader() as db:
            version = await queries.version(db)
        now_s = anyio.current_time()
        if self._rejected is not None and now_s - self._rejected_at_s < _REJECTED_S:
            raise self._rejected
        if version == self._planned and now_s - self._planned_at_s < _BUDGET_S:
            return
        try:
            await self._names.signed_in()
        except AuthRejected:
            return  # nothing was begun: this is no trouble of names
        done = await self._names.auto()
        self._planned, self._planned_at_s = version, now_s
        self._rejected = done.rejected if done is not None else None
        if self._rejected is not None:
            self._rejected_at_s = now_s
            raise self._rejected

    # --- alerts -------------------------------------------------------------------------------------

    async def _look_at_alerts(self) -> None:
        now_s = anyio.current_time()
        if self._alerts_at_s is not None and now_s - self._alerts_at_s < _ALERTS_S:
            return
        self._alerts_at_s = now_s
        try:
            found = await self.find_alerts()
        except SyncdError:
            return  # the mirror's own service says what is wrong with it; alerts stay as they were
        for alert in found:
            if alert not in self.alerts:
                self._emit("attention", NAMES, NAMES, alert, None)
                _log.warning("attention", alert=alert)
        if not self.alerts and found:
            self.alerts_since = now_text()
        self.alerts = found

    async def find_alerts(self) -> list[str]:
        """The alerts of this moment; none without a mirror. Raises what the mirror raises."""
        mirror = self._names.mirror()
        if mirror is None:
            return []
        async with self._names.catalogue.reader() as db:
            since = await queries.mirror_waits_since(db)
        waits_since = datetime.fromisoformat(since) if since else None
        return alerts_of(await mirror.statistics(), await mirror.names(), waits_since, datetime.now(UTC))


def _names(count: int) -> str:
    return "1 name waits" if count == 1 else f"{count:,} names wait"
