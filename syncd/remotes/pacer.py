"""The pace of one account: how fast it may ask, and when it must not ask at all."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from syncd.errors import Transient

PATIENCE_S: Final = 60.0
"""A longer wait is not slept through: the call fails and says when to come back."""

BAN_INTERVAL_S: Final = 60.0
"""Between two requests, once the other side has said "slow down" to every attempt of a call."""


def boot_clock() -> float:
    """Seconds that never jump and go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class RateLimited(Transient):
    """The other side says that the account asks too fast."""


class Pacer:
    """At most `requests_per_second` requests whoever asks: evenly spaced, first come first served, and no
    bursts after a rest. One for each account and API, shared by all that use it."""

    def __init__(
        self,
        requests_per_second: float,
        *,
        clock: Callable[[], float] = boot_clock,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._interval_s = 1 / requests_per_second
        self._clock = clock
        self._sleep = sleep
        self._line = anyio.Lock()
        self._free_at = 0.0
        self._held_until = 0.0
        self._reason = Transient("told to wait")
        self.banned = False

    @property
    def held_s(self) -> float:
        """Seconds until the account may ask again, 0 when it may."""
        return max(0.0, self._held_until - self._clock())

    async def turn(self) -> None:
        """Returns when the next request may start. Raises the error that the account is held for when that
        takes longer than a call should wait."""
        async with self._line:
            while True:
                wait_s = max(self._free_at, self._held_until) - self._clock()
                if wait_s <= 0:
                    break
                if self.banned or self.held_s > PATIENCE_S:
                    raise type(self._reason)(
                        self._reason.message, hint=self._reason.hint, retry_after_s=wait_s
                    )
                await self._sleep(wait_s)
            self._free_at = self._clock() + (BAN_INTERVAL_S if self.banned else self._interval_s)

    def hold(self, reason: Transient, wait_s: float) -> None:
        """No request of the account starts in the next `wait_s` seconds."""
        until = self._clock() + wait_s
        if until > self._held_until:
            self._held_until, self._reason = until, reason

    def ban(self, reason: Transient) -> None:
        """From now on one request a minute, until one of them succeeds."""
        self.banned = True
        self.hold(reason, BAN_INTERVAL_S)

    def release(self) -> None:
        """A person says that there is nothing to wait for any more."""
        self._held_until, self.banned = 0.0, False
        self._free_at = min(self._free_at, self._clock() + self._interval_s)

    def succeeded(self) -> None:
        if self.banned:
            self.banned = False
            self._free_at = self._clock() + self._interval_s
