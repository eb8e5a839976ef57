"""Tells systemd how the daemon is (sd_notify(3)); without $NOTIFY_SOCKET every call does nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import anyio

from syncd.text import printable


class Notifier:
    """The line to the service manager, as the environment names it. Nothing here raises: a manager that does
    not listen must not stop the daemon."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address: str | None = None
        if address[:1] in ("/", "@"):
            # "@" stands for the zero byte that begins an abstract socket's name.
            self._address = f"\0{address[1:]}" if address[0] == "@" else address
        self.watchdog_s = _watchdog_s(environment) if self._address else None
        """The time within which the manager wants a sign of life, in seconds; None when it does not."""

    def send(self, *lines: str) -> bool:
        """Sends assignments such as `READY=1` in one message; whether it was delivered."""
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto("\n".join(lines).encode("utf-8"), self._address)
        except OSError:
            return False
        return True

    def ready(self, status: str = "") -> bool:
        """Everything is up, or a reload is finished."""
        return self.send("READY=1", *_status(status))

    def reloading(self, status: str = "") -> bool:
        """A reload has begun; `ready` ends it."""
        monotonic_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self.send("RELOADING=1", f"MONOTONIC_USEC={monotonic_us}", *_status(status))

    def stopping(self, status: str = "") -> bool:
        """The daemon is going down."""
        return self.send("STOPPING=1", *_status(status))

    def status(self, status: str) -> bool:
        """One line that `systemctl status` shows."""
        return self.send(*_status(status))

    async def watchdog(self) -> None:
        """Gives a sign of life twice in each period, until cancelled; returns when none is wanted. It comes
        from the event loop, so a wedged loop is noticed."""
        if self.watchdog_s is None:
            return
        while True:
            self.send("WATCHDOG=1")
            await anyio.sleep(self.watchdog_s / 2)


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={printable(text)}",) if text else ()


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    process = environment.get("WATCHDOG_PID", "")
    period = environment.get("WATCHDOG_USEC", "")
    if process and process != str(os.getpid()):
        return None
    return int(period) / 1e6 if period.isdecimal() and int(period) > 0 else None
