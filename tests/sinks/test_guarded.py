"""Retries, pace, limits and the probe, with a clock that only sleeping moves."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

import anyio
import pytest

from syncd.errors import AuthRejected, Changed, Refused, SyncdError, Transient
from syncd.sinks.guarded import ATTEMPTS, FAILURES_TO_OPEN, GuardedSink
from syncd.sinks.sink import StoredObject, Upload


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(round(seconds, 3))
        self.now += seconds
        await anyio.sleep(0)


class ScriptedSink:
    """Fails as told: `failures` are raised one a call; while `down` every call fails."""

    storage_id = "scripted"

    def __init__(self, clock: Clock, failures: list[SyncdError] | None = None) -> None:
        self.clock = clock
        self.failures = failures or []
        self.down: Callable[[], bool] = lambda: False
        self.calls: list[tuple[float, str]] = []
        self.running = 0
        self.most_running = 0
        self.contents = [StoredObject(f"k{n}", n, "e") for n in range(5)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def _call(self, what: str) -> None:
        self.calls.append((self.clock.now, what))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await anyio.sleep(0)
            if self.down():
                raise Transient("down")
            if self.failures:
                raise self.failures.pop(0)
        finally:
            self.running -= 1

    async def put(self, upload: Upload) -> StoredObject:
        await self._call(f"put {upload.key}")
        return StoredObject(upload.key, upload.size_bytes, "etag")

    async def head(self, key: str) -> StoredObject | None:
        await self._call(f"head {key}")
        return None

    async def get(self, key: str, destination: Path) -> str:
        await self._call(f"get {key}")
        return "sha"

    async def digest(self, key: str) -> str:
        await self._call(f"digest {key}")
        return "sha"

    async def delete(self, key: str) -> None:
        await self._call(f"delete {key}")

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        for found in self.contents:
            await self._call(f"list {found.key}")
            yield found

    def url(self, key: str) -> str | None:
        return f"https://photos.example/{key}"

    async def abort_unfinished(self) -> int:
        await self._call("abort")
        return 3


@pytest.fixture
def clock() -> Clock:
    return Clock()


def guarded(sink: ScriptedSink, concurrency: int = 4, jitter: float = 1.0) -> GuardedSink:
    clock = sink.clock
    return GuardedSink(sink, concurrency, clock=clock, sleep=clock.sleep, jitter=lambda: jitter)


def upload(key: str = "a") -> Upload:
    return Upload(key, Path("a"), 10, "s" * 64, "m" * 32, "image/jpeg")


@pytest.mark.parametrize(
    ("failures", "jitter", "sleeps"),
    [
        ([], 1.0, []),
        ([Transient("x")], 1.0, [0.5]),
        ([Transient("x")] * 4, 1.0, [0.5, 1.0, 2.0, 4.0]),
        ([Transient("x")] * 2, 0.0, [0.25, 0.5]),
        ([Transient("x", retry_after_s=7)], 1.0, [7.0]),
        ([Transient("x", retry_after_s=0.1)], 1.0, [0.5]),
        ([Transient("x", retry_after_s=90)], 1.0, [90.0]),
    ],
)
async def test_transient_failures_are_tried_again(
    clock: Clock, failures: list[SyncdError], jitter: float, sleeps: list[float]
) -> None:
    sink = guarded(ScriptedSink(clock, list(failures)), jitter=jitter)
    assert await sink.head("a") is None
    assert clock.sleeps == sleeps
    assert sink.counters.retries == len(failures)
    assert not sink.down


async def test_attempts_end(clock: Clock) -> None:
    inner = ScriptedSink(clock, [Transient(str(number)) for number in range(20)])
    sink = guarded(inner)
    with pytest.raises(Transient, match=str(ATTEMPTS - 1)):
        await sink.digest("a")
    assert len(inner.calls) == ATTEMPTS
    assert clock.sleeps == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert sink.counters.failures == 1


async def test_a_long_retry_after_goes_up_at_once(clock: Clock) -> None:
    sink = guarded(ScriptedSink(clock, [Transient("quota", retry_after_s=3600)]))
    with pytest.raises(Transient) as caught:
        await sink.head("a")
    assert caught.value.retry_after_s == 3600
    assert clock.sleeps == []


@pytest.mark.parametrize("error", [AuthRejected("no"), Refused("no"), Changed("no")])
async def test_other_failures_are_not_tried_again(clock: Clock, error: SyncdError) -> None:
    inner = ScriptedSink(clock, [error])
    with pytest.raises(type(error)):
        await guarded(inner).put(upload())
    assert len(inner.calls) == 1


async def test_writes_to_one_key_keep_their_pace_and_others_do_not_wait(clock: Clock) -> None:
    inner = ScriptedSink(clock)
    sink = guarded(inner)
    await sink.put(upload("a"))
    await sink.put(upload("b"))
    await sink.head("a")
    assert clock.sleeps == []
    await sink.delete("a")
    await sink.put(upload("a"))
    assert [at for at, what in inner.calls if what.endswith(" a") and "head" not in what] == [
        1000,
        1001,
        1002,
    ]


async def test_retries_of_a_write_keep_the_pace_too(clock: Clock) -> None:
    inner = ScriptedSink(clock, [Transient("x"), Transient("x")])
    await guarded(inner).put(upload())
    times = [at for at, _ in inner.calls]
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))


async def test_a_late_retry_never_overwrites_a_newer_write(clock: Clock) -> None:
    inner = ScriptedSink(clock, [Transient("x"), Transient("x")])
    sink = guarded(inner)
    done: list[str] = []

    async def put() -> None:
        await sink.put(upload())
        done.append("put")

    async with anyio.create_task_group() as group:
        group.start_soon(put)
        await anyio.sleep(0)
        await sink.delete("a")
        done.append("delete")
    assert done == ["put", "delete"]
    assert [what for _, what in inner.calls] == ["put a"] * 3 + ["delete a"]


async def test_keys_written_long_ago_are_forgotten(clock: Clock) -> None:
    sink = guarded(ScriptedSink(clock))
    for number in range(3000):
        clock.now += 0.01
        await sink.put(upload(str(number)))
    assert len(sink._turns) <= 1024


async def test_no_more_than_concurrency_at_once(clock: Clock) -> None:
    inner = ScriptedSink(clock)
    sink = guarded(inner, concurrency=3)
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(sink.put, upload(str(number)))
    assert inner.most_running == 3
    assert (sink.counters.puts, sink.counters.put_bytes) == (20, 200)


class SlowAtFirst(ScriptedSink):
    """The first write takes until `ready`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.ready = anyio.Event()

    async def put(self, upload: Upload) -> StoredObject:
        is_first = not self.calls
        stored = await super().put(upload)
        if is_first:
            await self.ready.wait()
        return stored


async def test_the_first_write_goes_ahead(clock: Clock) -> None:
    inner = SlowAtFirst(clock)
    sink = guarded(inner)
    async with anyio.create_task_group() as group:
        for key in "abc":
            group.start_soon(sink.put, upload(key))
        await anyio.wait_all_tasks_blocked()
        assert [what for _, what in inner.calls] == ["put a"]
        await sink.head("a")  # who reads does not wait
        inner.ready.set()
    assert [what for _, what in inner.calls] == ["put a", "head a", "put b", "put c"]


async def test_a_first_write_that_takes_long_keeps_nobody(clock: Clock) -> None:
    inner = SlowAtFirst(clock)
    sink = guarded(inner)
    async with anyio.create_task_group() as group:
        group.start_soon(sink.put, upload("a"))
        await anyio.wait_all_tasks_blocked()
        await sink.put(upload("b"))
        inner.ready.set()
    assert [what for _, what in inner.calls] == ["put a", "put b"]


async def outcomes(sink: GuardedSink, callers: int) -> list[str]:
    """How `callers` heads at once ended."""
    ended: list[str] = []

    async def head(number: int) -> None:
        try:
            await sink.head(str(number))
            ended.append("done")
        except Transient as error:
            ended.append(error.message)

    async with anyio.create_task_group() as group:
        for number in range(callers):
            group.start_soon(head, number)
    return ended


async def test_when_storage_is_down_one_probe_asks_for_all(clock: Clock) -> None:
    inner = ScriptedSink(clock)
    inner.down = lambda: True
    sink = guarded(inner, concurrency=4)
    assert await outcomes(sink, 50) == ["down"] * 50
    assert len(inner.calls) <= FAILURES_TO_OPEN + 4 + ATTEMPTS
    assert sink.down
    inner.calls.clear()
    assert await outcomes(sink, 50) == ["down"] * 50
    assert len(inner.calls) == ATTEMPTS  # of the one probe
    inner.down = lambda: False
    assert await outcomes(sink, 50) == ["done"] * 50
    assert not sink.down


async def test_when_the_probe_gets_through_all_go_on(clock: Clock) -> None:
    inner = ScriptedSink(clock)
    inner.down = lambda: clock.now < 1004
    sink = guarded(inner, concurrency=4)
    assert await outcomes(sink, 50) == ["done"] * 50
    assert len(inner.calls) <= 50 + FAILURES_TO_OPEN + 4 + ATTEMPTS


async def test_an_answer_that_refuses_shows_that_storage_is_up(clock: Clock) -> None:
    inner = ScriptedSink(clock, [Transient("x")] * FAILURES_TO_OPEN + [AuthRejected("no")])
    sink = guarded(inner)
    with pytest.raises(AuthRejected):
        await sink.head("a")
    assert not sink.down
    assert await sink.head("a") is None


async def test_a_cancelled_probe_hands_over(clock: Clock) -> None:
    inner = ScriptedSink(clock)
    inner.down = lambda: True
    sink = guarded(inner)
    await outcomes(sink, 8)
    assert sink.down
    inner.down = lambda: False
    inner.calls.clear()
    probing, asked = anyio.CancelScope(), anyio.Event()

    async def hang(_: str) -> None:
        asked.set()
        await anyio.sleep_forever()

    async def probe() -> None:
        with probing:
            await sink.head("probe")

    answers, inner._call = inner._call, hang  # type: ignore[method-assign, assignment]
    async with anyio.create_task_group() as group:
        group.start_soon(probe)
        await asked.wait()
        inner._call = answers  # type: ignore[method-assign]
        group.start_soon(sink.head, "waits")
        await anyio.wait_all_tasks_blocked()
        assert inner.calls == []
        probing.cancel()
    assert [what for _, what in inner.calls] == ["head waits"]
    assert not sink.down


async def test_a_listing_that_breaks_goes_on_without_repeating(clock: Clock) -> None:
    inner = ScriptedSink(clock)
    sink = guarded(inner)
    seen: list[str] = []
    async for found in sink.list(""):
        seen.append(found.key)
        if found.key in ("k1", "k3"):
            inner.failures.append(Transient("x"))
    assert seen == ["k0", "k1", "k2", "k3", "k4"]


async def test_a_listing_that_cannot_be_finished_raises(clock: Clock) -> None:
    inner = ScriptedSink(clock)
    seen: list[str] = []
    with pytest.raises(Transient):
        async for found in guarded(inner).list(""):
            seen.append(found.key)
            inner.down = lambda: True
    assert seen == ["k0"]


async def test_the_rest_is_passed_on(clock: Clock) -> None:
    async with guarded(ScriptedSink(clock, [Transient("x")])) as sink:
        assert sink.storage_id == "scripted"
        assert sink.url("a") == "https://photos.example/a"
        assert await sink.abort_unfinished() == 3
        assert await sink.get("a", Path("b")) == "sha"
