"""Runs the services: starts each in its own task, restarts it on its own decaying back-off, stops in time.

A service is a `name` and a `run()` that returns only when it is cancelled. Returning, raising and being
cancelled by a stray CancelledError are failures of that service alone; a Fatal ends the supervisor.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeVar

import anyio

from syncd.errors import AuthRejected, Fatal, Refused, SyncdError, Transient

State = Literal["starting", "running", "backing_off", "paused", "needs_auth", "blocked", "failed", "stopped"]
OwnState = Literal["running", "blocked", "needs_auth", "backing_off"]
OnChange = Callable[[str, State, str | None], None]

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 60.0
LONGEST_RETRY_AFTER_S = 3600.0
HALF_LIFE_S = 60.0
"""A service that ran this long has half of its earlier failures forgiven."""


class ServiceHandle(Protocol):
    """What a running service tells the supervisor."""

    @property
    def name(self) -> str: ...

    def ready(self) -> None:
        """The service works now: `starting` becomes `running`."""
        ...

    def set_state(self, state: OwnState, reason: str | None = None) -> None:
        """The service goes on running and says how it is; `running` clears the reason."""
        ...


class Service(Protocol):
    """One long-running part of the daemon."""

    @property
    def name(self) -> str: ...

    async def run(self, handle: ServiceHandle) -> None:
        """Works until it is cancelled. Raising AuthRejected asks for a person and is not retried; Fatal ends
        the daemon; anything else, returning included, leads to a restart."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """A service as `status` shows it; `since` is when it entered its state."""

    name: str
    state: State
    since: datetime
    restarts: int
    last_error: str | None


def next_failures(failures: float, ran_s: float) -> float:
    """The decayed count of failures after one more, of a service that had run for `ran_s` seconds."""
    return failures * math.exp2(-max(0.0, ran_s) / HALF_LIFE_S) + 1.0


def back_off_s(failures: float, rng: random.Random) -> float:
    """Seconds to wait after that many failures in a row: doubling from 0.5 to 60, a quarter of jitter."""
    delay_s = FIRST_DELAY_S * math.exp2(min(failures - 1.0, 10.0))
    return min(LONGEST_DELAY_S, max(FIRST_DELAY_S, delay_s * rng.uniform(0.75, 1.25)))


Found = TypeVar("Found", bound=BaseException)


def leaves(error: BaseException) -> list[BaseException]:
    """The errors inside an exception group, however deep; the error itself when it is none."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def find(error: BaseException, kind: type[Found]) -> Found | None:
    """The first error of this kind inside exception groups, however deep."""
    return next((leaf for leaf in leaves(error) if isinstance(leaf, kind)), None)


def describe(error: BaseException) -> str:
    """One line for a person: the message of our own errors, the type as well for foreign ones."""
    found = leaves(error)
    first = found[0] if found else error
    words = str(first)
    if not isinstance(first, SyncdError):
        words = f"{type(first).__name__}: {words}" if words else type(first).__name__
    return words if len(found) < 2 else f"{words} (and {len(found) - 1} more)"


class _Entry:
    """A service with its state; also the handle's other end."""

    def __init__(self, service: Service, since: datetime) -> None:
        self.service = service
        self.name = service.name
        self.state: State = "starting"
        self.since = since
        self.restarts = 0
        self.reason: str | None = None
        self.last_error: str | None = None
        self.failures = 0.0
        self.paused = False
        self.scope: anyio.CancelScope | None = None  # the run, or the wait for the next
        self.waiting = False
        self.started = False
        self.done = False


class _Handle:
    """The handle of one run: when that run is over, what it says is no longer heard."""

    def __init__(self, supervisor: Supervisor, entry: _Entry) -> None:
        self._supervisor = supervisor
        self._entry = entry
        self.open = True

    @property
    def name(self) -> str:
        return self._entry.name

    def ready(self) -> None:
        if self._entry.state == "starting":
            self.set_state("running")

    def set_state(self, state: OwnState, reason: str | None = None) -> None:
        if self.open and not self._entry.paused:
            self._supervisor._change(self._entry, state, reason)


class Supervisor:
    """Keeps `services` running until cancelled, stopped, or one of them raises Fatal.

    `on_change(name, state, reason)` is called on each change of state, never for a repetition. `clock` is
    steady seconds, `sleep` waits seconds. `on_stuck(names)` is called when services have not ended
    `stop_timeout_s` after they were asked to: a task cannot be abandoned, so only the process can decide.
    """

    def __init__(
        self,
        services: Iterable[Service],
        on_change: OnChange | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
        stop_timeout_s: float = 8.0,
        on_stuck: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._rng = rng or random.Random()
        self._stop_timeout_s = stop_timeout_s
        self._on_stuck = on_stuck
        self._entries = {service.name: _Entry(service, now()) for service in services}
        self._scope: anyio.CancelScope | None = None
        self._stopped = False
        self._all_done = anyio.Event()
        self.started = anyio.Event()
        """Set once every service has been started: it is ready, or said or showed that it cannot be yet."""

    # --- what others ask ---------------------------------------------------------------------------

    def status(self) -> list[ServiceInfo]:
        """All services, in the order they were given."""
        return [
            ServiceInfo(entry.name, entry.state, entry.since, entry.restarts, entry.last_error)
            for entry in self._entries.values()
        ]

    def pause(self, name: str | None = None) -> None:
        """Stops one service, or all but `control`, until `resume`. Refused when there is no such service."""
        for entry in self._chosen(name):
            entry.paused = True
            self._change(entry, "paused")
            self._interrupt(entry)

    def resume(self, name: str | None = None) -> None:
        """Releases what is paused, and tries again at once what waits. Refused when there is no such one."""
        for entry in self._chosen(name):
            if entry.paused:
                entry.paused = False
                self._change(entry, "starting")
            if entry.waiting:
                self._interrupt(entry)

    def retry(self, name: str | None = None) -> None:
        """Tries again at once what backs off or needs sign-in; what is paused stays so."""
        for entry in self._chosen(name):
            if entry.waiting and not entry.paused:
                self._interrupt(entry)

    def restart(self, name: str | None = None) -> None:
        """Starts afresh, without back-off, what is not paused: for new settings."""
        for entry in self._chosen(name):
            if not entry.paused:
                self._interrupt(entry)

    def stop(self) -> None:
        """Makes `run` end all services and return."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    # --- running -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until cancelled or `stop`. Raises the Fatal of the service that had one, unwrapped."""
        try:
            async with anyio.create_task_group() as group:
                self._scope = group.cancel_scope
                if self._stopped:
                    group.cancel_scope.cancel()
                self._note_started()
                group.start_soon(self._watch_the_end)
                for entry in self._entries.values():
                    group.start_soon(self._keep, entry, name=f"service {entry.name}")
        except BaseExceptionGroup as errors:
            fatal = find(errors, Fatal)
            if fatal is not None:
                raise fatal from None
            raise

    async def _keep(self, entry: _Entry) -> None:
        try:
            while True:
                if entry.paused:
                    await self._wait(entry, None)
                    continue
                began_s = self._clock()
                error = await self._run_once(entry)
                if error is not None:
                    await self._failed(entry, error, self._clock() - began_s)
        except Fatal as error:
            self._change(entry, "failed", describe(error))
            raise
        finally:
            if entry.state != "failed":
                self._change(entry, "stopped")
            entry.done = True
            if all(each.done for each in self._entries.values()):
                self._all_done.set()

    async def _run_once(self, entry: _Entry) -> BaseException | None:
        """One run. None when it was interrupted on purpose, else why it ended."""
        self._change(entry, "starting")
        handle = _Handle(self, entry)
        scope = entry.scope = anyio.CancelScope()
        try:
            with scope:
                await entry.service.run(handle)
            if scope.cancel_called:
                return None
            return RuntimeError("returned without being stopped")
        except anyio.get_cancelled_exc_class() as error:
            # A cancellation of ours has a cancelled scope around it; a library's stray one has none.
            if anyio.current_effective_deadline() == -math.inf:
                raise
            stray = RuntimeError("cancelled by a library, not by syncd")
            stray.__cause__ = error
            return stray
        except Exception as error:  # noqa: BLE001 (this is the place where failures become restarts)
            return error
        finally:
            entry.scope = None
            handle.open = False

    async def _failed(self, entry: _Entry, error: BaseException, ran_s: float) -> None:
        found = leaves(error)
        for leaf in found:
            if isinstance(leaf, Fatal):
                raise leaf
        entry.last_error = describe(error)
        entry.restarts += 1
        if entry.paused:
            return
        rejected = next((leaf for leaf in found if isinstance(leaf, AuthRejected)), None)
        if rejected is not None:
            self._change(entry, "needs_auth", describe(rejected))
            await self._wait(entry, None)
            return
        entry.failures = next_failures(entry.failures, ran_s)
        delay_s = back_off_s(entry.failures, self._rng)
        for leaf in found:
            if isinstance(leaf, Transient) and leaf.retry_after_s is not None:
                delay_s = max(delay_s, min(leaf.retry_after_s, LONGEST_RETRY_AFTER_S))
        self._change(entry, "backing_off", entry.last_error)
        await self._wait(entry, delay_s)

    async def _wait(self, entry: _Entry, delay_s: float | None) -> None:
        """Waits `delay_s` seconds, or for ever when None, until interrupted."""
        with anyio.CancelScope() as scope:
            entry.scope, entry.waiting = scope, True
            try:
                await (anyio.sleep_forever() if delay_s is None else self._sleep(delay_s))
            finally:
                entry.scope, entry.waiting = None, False

    async def _watch_the_end(self) -> None:
        """Holds the group open, and speaks up when services do not end."""
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(self._stop_timeout_s, shield=True) as scope:
                if self._entries:
                    await self._all_done.wait()
            if scope.cancelled_caught and self._on_stuck is not None:
                self._on_stuck([entry.name for entry in self._entries.values() if not entry.done])

    # --- state -------------------------------------------------------------------------------------

    def _change(self, entry: _Entry, state: State, reason: str | None = None) -> None:
        if (state, reason) == (entry.state, entry.reason):
            return
        if state != entry.state:
            entry.since = self._now()
        if reason is not None:
            entry.last_error = reason
        elif state == "running" and entry.state in ("blocked", "needs_auth", "backing_off"):
            # What the service itself gave as a reason ends with it; why it crashed stays worth reading.
            entry.last_error = None
        entry.state, entry.reason = state, reason
        if state != "starting":
            entry.started = True
            self._note_started()
        if self._on_change is not None:
            self._on_change(entry.name, state, reason)

    def _note_started(self) -> None:
        if all(entry.started for entry in self._entries.values()):
            self.started.set()

    def _chosen(self, name: str | None) -> list[_Entry]:
        if name is None:
            return [entry for entry in self._entries.values() if entry.name != "control"]
        if name not in self._entries:
            known = ", ".join(self._entries)
            raise Refused(f"there is no service {name!r}", hint=f"Services are: {known}.")
        return [self._entries[name]]

    @staticmethod
    def _interrupt(entry: _Entry) -> None:
        if entry.scope is not None:
            entry.scope.cancel()
