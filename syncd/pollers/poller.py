"""Asks another side again and again: at an interval, with jitter, with back-off, and without noise.

What is polled, and where its cursor is kept, is the business of `poll`: it records the cursor together with
the work that came of it, so a poll that fails or is cut off is simply made again.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Self

import anyio

from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import get_logger
from syncd.text import rfc3339

PollState = Literal["running", "backing_off", "quota", "needs_auth"]

DEBOUNCE_S = 0.25
"""Many who ask for a poll at once get one."""
_LONGEST_BACK_OFF_S = 64.0
_JITTER = 0.1

_log = get_logger("poller")


class Health(NamedTuple):
    """How the other side was when last asked. It is not asked before `resume_at` (RFC 3339, UTC), which was
    `resume_in_s` away."""

    state: PollState = "running"
    reason: str | None = None
    hint: str | None = None
    resume_in_s: float | None = None
    resume_at: str | None = None

    @classmethod
    def kept(
        cls, state: PollState, reason: str | None, resume_at: str | None, *, at_most_s: float = math.inf
    ) -> Self | None:
        """What was recorded before a restart; None where that wait is over, or longer than `at_most_s`."""
        if resume_at is None:
            return None
        left_s = (datetime.fromisoformat(resume_at) - datetime.now(UTC)).total_seconds()
        return cls(state, reason, None, left_s, resume_at) if 0 < left_s <= at_most_s else None

    def is_news_after(self, before: Health) -> bool:
        """Whether anybody need be told; the same trouble met again is none."""
        return before.state != self.state or (self.state != "running" and before.reason != self.reason)


class Poller:
    """Runs `poll` when it is due. `interval_s()` is asked anew each time; None: only when asked to.

    `poll` raises Transient (back-off: 1, 2, 4, 8, 16 s …, or what the other side asks for), AuthRejected
    (asks no more until `refresh`) or Refused (asked again at the next interval). `is_quota` tells a quota
    that is used up from other Transients. `on_change` hears each change of health, and whether it is news:
    the same trouble met again is not, it only moves `resume_at`.
    """

    def __init__(
        self,
        name: str,
        poll: Callable[[], Awaitable[None]],
        interval_s: Callable[[], float | None],
        *,
        on_change: Callable[[Health, bool], Awaitable[None]],
        is_quota: Callable[[SyncdError], bool] = lambda error: False,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.health = Health()
        self._poll = poll
        self._interval_s = interval_s
        self._on_change = on_change
        self._is_quota = is_quota
        self._clock = clock
        self._rng = rng or random.Random()
        self._failures = 0
        self._noted = 0
        self._not_before_s = 0.0
        self._due_s: float | None = None
        self._last_s: float | None = None
        self._factor = 1.0
        self._wake = anyio.Event()

    # --- what others ask ---------------------------------------------------------------------------

    @property
    def parked(self) -> bool:
        """The other side is not to be asked for anything now."""
        return self.health.state == "needs_auth" or self._clock() < self._not_before_s

    @property
    def next_in_s(self) -> float | None:
        """Seconds until the next poll, None when there is none to come."""
        due_s = self._next_s()
        return None if due_s is None else max(0.0, due_s - self._clock())

    def refresh(self, *, at_once: bool = False) -> None:
        """Poll soon, whatever the interval. A back-off, a quota and a sign-in are waited for all the same,
        unless `at_once`."""
        if at_once:
            self._not_before_s = 0.0
            if self.health.state == "needs_auth":
                self.health = self.health._replace(state="backing_off")
        self._due_s = self._clock() + DEBOUNCE_S
        self._wake.set()

    def look(self) -> None:
        """The interval may be another one now."""
        self._wake.set()

    async def note(self, error: SyncdError) -> None:
        """Somebody else met this error with the same other side."""
        if isinstance(error, AuthRejected) or self._is_quota(error):
            self._noted += 1
            await self._failed(error)
            self._wake.set()

    def resume_later(self, health: Health) -> None:
        """What was known before a restart holds: a quota that is used up is not asked again."""
        self.health = health
        if health.resume_in_s is not None:
            self._not_before_s = self._clock() + health.resume_in_s

    # --- polling -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Polls when it is due, until cancelled. Raises Fatal."""
        while True:
            self._wake = anyio.Event()
            wait_s = self.next_in_s
            if wait_s is None or wait_s > 0:
                with anyio.move_on_after(wait_s):
                    await self._wake.wait()
                continue
            await self.once()

    async def once(self) -> bool:
        """Polls now; whether it went well."""
        self._due_s = None
        self._last_s = self._clock()
        self._factor = 1.0 - _JITTER * self._rng.random()  # sooner, never later than was asked for
        noted = self._noted
        try:
            await self._poll()
        except (Transient, AuthRejected, Refused) as error:
            await self._failed(error)
            return False
        if noted == self._noted:  # else somebody else was refused while this was under way
            self._failures = 0
            self._not_before_s = 0.0
            await self._set(Health())
        return True

    def _next_s(self) -> float | None:
        if self.health.state == "needs_auth":
            return None
        interval_s = self._interval_s()
        due_s = self._due_s
        if interval_s is not None:
            regular_s = self._clock() if self._last_s is None else self._last_s + interval_s * self._factor
            if self._failures:  # a back-off that is over comes before the interval
                regular_s = min(regular_s, self._not_before_s)
            due_s = regular_s if due_s is None else min(due_s, regular_s)
        elif self._failures and due_s is None:  # what was asked for once is tried until it is done
            due_s = self._not_before_s
        return None if due_s is None else max(due_s, self._not_before_s)

    async def _failed(self, error: SyncdError) -> None:
        if isinstance(error, AuthRejected):
            await self._set(Health("needs_auth", str(error), error.hint))
            return
        if isinstance(error, Refused):
            self._failures = 0
            await self._set(Health("backing_off", str(error), error.hint))
            return
        self._failures += 1
        back_off_s = min(_LONGEST_BACK_OFF_S, 2.0 ** (self._failures - 1)) * self._rng.uniform(0.75, 1.25)
        wait_s = max(back_off_s, getattr(error, "retry_after_s", None) or 0.0)
        self._not_before_s = self._clock() + wait_s
        state: PollState = "quota" if self._is_quota(error) else "backing_off"
        resume_at = rfc3339(datetime.now(UTC) + timedelta(seconds=wait_s))
        await self._set(Health(state, str(error), error.hint, wait_s, resume_at))

    async def _set(self, health: Health) -> None:
        before, self.health = self.health, health
        if before == health:
            return
        if before.state != health.state:
            if health.state == "running":
                _log.info("goes on", poller=self.name)
            else:
                _log.warning("cannot go on", poller=self.name, state=health.state, reason=health.reason)
        await self._on_change(health, health.is_news_after(before))
