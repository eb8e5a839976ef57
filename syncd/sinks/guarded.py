"""Policy around any sink, in one place: retries, pace, limits, and one probe instead of a hammer."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

import anyio

from syncd.errors import SyncdError, Transient
from syncd.sinks.sink import Sink, StoredObject, Upload

T = TypeVar("T")

ATTEMPTS: Final = 6
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
# A longer Retry-After is not slept through here: the error goes up and whoever schedules waits.
LONGEST_RETRY_AFTER_S: Final = 120.0
FAILURES_TO_OPEN: Final = 5
FAILURES_TO_TELL: Final = 3
KEYS_REMEMBERED: Final = 1024
FIRST_WRITE_AHEAD_S: Final = 1.0


@dataclass(slots=True)
class SinkCounters:
    """What went through a sink since it was made; for metrics."""

    puts: int = 0
    put_bytes: int = 0
    deletes: int = 0
    gets: int = 0
    retries: int = 0
    failures: int = 0


class _StorageDown(Exception):
    pass


@dataclass(slots=True, eq=False)
class _Probe:
    """The one call that finds out whether storage is back; the others wait for `over`."""

    over: anyio.Event = field(default_factory=anyio.Event)
    failed: Transient | None = None


@dataclass(slots=True, eq=False)
class _KeyTurn:
    """Writes to one key, one after the other. `free_at` is the clock time of the next one allowed."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    free_at: float = 0.0
    users: int = 0


class GuardedSink:
    """Any sink, with Transient failures tried again (jittered exponential back-off, Retry-After obeyed,
    bounded attempts), at most `concurrency` calls at once, and writes to one key serialised and at least
    `key_interval_s` apart (R2 takes one a second).

    After FAILURES_TO_OPEN Transient failures in a row, with no success between, storage counts as down:
    one call goes on probing and all others wait for its outcome.

    The very first write goes ahead of the others, once and for FIRST_WRITE_AHEAD_S at most: storage may have
    to make room in a new bucket (0.2 s in SeaweedFS, which lets all who come meanwhile wait for a second).
    """

    def __init__(
        self,
        sink: Sink,
        concurrency: int,
        *,
        key_interval_s: float = 1.0,
        attempts: int = ATTEMPTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.storage_id = sink.storage_id
        self.counters = SinkCounters()
        self._sink = sink
        self._slots = anyio.Semaphore(max(1, concurrency))
        self._key_interval_s = key_interval_s
        self._attempts = attempts
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._turns: dict[str, _KeyTurn] = {}
        self._failures_in_a_row = 0
        self._last_failure: Transient | None = None
        self._probe: _Probe | None = None
        self._first_write: anyio.Event | None = None

    @property
    def trouble(self) -> Transient | None:
        """What storage answers while calls are being tried again; None once one has come through."""
        return self._last_failure if self._failures_in_a_row >= FAILURES_TO_TELL else None

    @property
    def down(self) -> bool:
        """Whether storage has stopped answering and a probe decides when to go on."""
        return self._failures_in_a_row >= FAILURES_TO_OPEN

    async def __aenter__(self) -> Self:
        await self._sink.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._sink.__aexit__(*exc)

    async def put(self, upload: Upload) -> StoredObject:
        stored = await self._write(upload.key, lambda: self._sink.put(upload))
        self.counters.puts += 1
        self.counters.put_bytes += upload.size_bytes
        return stored

    async def delete(self, key: str) -> None:
        await self._write(key, lambda: self._sink.delete(key))
        self.counters.deletes += 1

    async def head(self, key: str) -> StoredObject | None:
        return await self._persist(lambda: self._sink.head(key))

    async def get(self, key: str, destination: Path) -> str:
        sha256 = await self._persist(lambda: self._sink.get(key, destination))
        self.counters.gets += 1
        return sha256

    async def digest(self, key: str) -> str:
        return await self._persist(lambda: self._sink.digest(key))

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """A listing that fails half-way is begun again and goes on after what was already given."""
        given: set[str] = set()
        listing = aiter(self._sink.list(prefix))

        async def next_new() -> StoredObject | None:
            nonlocal listing
            try:
                while (found := await anext(listing, None)) is not None:
                    if found.key not in given:
                        return found
            except SyncdError:
                listing = aiter(self._sink.list(prefix))
                raise
            return None

        while (found := await self._persist(next_new)) is not None:
            given.add(found.key)
            yield found

    def url(self, key: str) -> str | None:
        return self._sink.url(key)

    async def abort_unfinished(self) -> int:
        return await self._persist(self._sink.abort_unfinished)

    async def _write(self, key: str, call: Callable[[], Awaitable[T]]) -> T:
        async with self._turn(key) as turn:
            if self._first_write is None:
                self._first_write = anyio.Event()
            elif not self._first_write.is_set():
                with anyio.move_on_after(FIRST_WRITE_AHEAD_S):
                    await self._first_write.wait()
            return await self._persist(call, turn)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[_KeyTurn]:
        """Held over all attempts, so that a late retry never overwrites a newer write."""
        if len(self._turns) >= KEYS_REMEMBERED:
            now = self._clock()
            self._turns = {k: turn for k, turn in self._turns.items() if turn.users or turn.free_at > now}
        turn = self._turns.setdefault(key, _KeyTurn())
        turn.users += 1
        try:
            async with turn.lock:
                yield turn
        finally:
            turn.users -= 1

    async def _persist(self, call: Callable[[], Awaitable[T]], turn: _KeyTurn | None = None) -> T:
        """The result of `call`, tried up to `attempts` times."""
        probe: _Probe | None = None
        attempt = 0
        try:
            while True:
                if self.down and probe is None:
                    probe = await self._become_probe()
                    continue
                try:
                    result = await self._attempt(call, turn, probe)
                except _StorageDown:
                    continue
                except Transient as error:
                    attempt += 1
                    self._failures_in_a_row += 1
                    self._last_failure = error
                    wait_s = self._wait_s(attempt, error)
                    if wait_s is None:
                        self.counters.failures += 1
                        if probe is not None:
                            probe.failed = error
                        raise
                except SyncdError:
                    self._failures_in_a_row = 0  # storage answers
                    self.counters.failures += 1
                    raise
                else:
                    self._failures_in_a_row = 0
                    return result
                if self.down and probe is None and self._probe is None:
                    probe = self._probe = _Probe()
                if not self.down or probe is not None:
                    await self._sleep(wait_s)
                self.counters.retries += 1
        finally:
            if probe is not None:
                self._probe = None
                probe.over.set()

    async def _attempt(
        self, call: Callable[[], Awaitable[T]], turn: _KeyTurn | None, probe: _Probe | None
    ) -> T:
        if turn is not None and (wait_s := turn.free_at - self._clock()) > 0:
            await self._sleep(wait_s)
        async with self._slots:
            if self.down and probe is None:
                raise _StorageDown  # it went down while this call waited for its slot
            try:
                return await call()
            finally:
                if turn is not None:
                    turn.free_at = self._clock() + self._key_interval_s
                    if self._first_write is not None:
                        self._first_write.set()

    async def _become_probe(self) -> _Probe | None:
        """The probe, when nobody else is it. Otherwise waits for that one's end: raises what it met, or
        None when storage is back or it was cancelled."""
        if self._probe is None:
            self._probe = _Probe()
            return self._probe
        running = self._probe
        await running.over.wait()
        if running.failed is not None:
            error = running.failed
            raise Transient(error.message, hint=error.hint, retry_after_s=error.retry_after_s)
        return None

    def _wait_s(self, attempt: int, error: Transient) -> float | None:
        """Seconds until the next attempt, None when there is none."""
        if attempt >= self._attempts or (error.retry_after_s or 0) > LONGEST_RETRY_AFTER_S:
            return None
        backoff_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1))
        return max(error.retry_after_s or 0.0, backoff_s * (0.5 + self._jitter() / 2))
