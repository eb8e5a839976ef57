"""The supervisor on a clock that only moves when a service sleeps."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import AuthRejected, ExitCode, Fatal, Refused, Transient
from syncd.supervisor import (
    HALF_LIFE_S,
    ServiceHandle,
    Supervisor,
    back_off_s,
    describe,
    next_failures,
)

Body = Callable[[ServiceHandle], Awaitable[None]]


class Scripted:
    """A service whose n-th run does the n-th step, and the last one ever after."""

    def __init__(self, name: str, *steps: Body) -> None:
        self.name = name
        self.steps = steps
        self.runs = 0

    async def run(self, handle: ServiceHandle) -> None:
        step = self.steps[min(self.runs, len(self.steps) - 1)]
        self.runs += 1
        await step(handle)


class Clock:
    """Steady seconds that pass only in `sleep`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s
        await anyio.lowlevel.checkpoint()


async def works(handle: ServiceHandle) -> None:
    handle.ready()
    await anyio.sleep_forever()


def raises(error: BaseException) -> Body:
    async def body(handle: ServiceHandle) -> None:
        raise error

    return body


async def returns(handle: ServiceHandle) -> None:
    handle.ready()


async def cancelled_by_a_library(handle: ServiceHandle) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def cancelled_in_a_group(handle: ServiceHandle) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(cancelled_by_a_library, handle)
        group.start_soon(anyio.sleep_forever)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


def state_of(supervisor: Supervisor, name: str) -> str:
    return next(each.state for each in supervisor.status() if each.name == name)


def error_of(supervisor: Supervisor, name: str) -> str | None:
    return next(each.last_error for each in supervisor.status() if each.name == name)


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        (raises(ValueError("broken")), "ValueError: broken"),
        (raises(Transient("storage is away")), "storage is away"),
        (raises(ExceptionGroup("many", [ExceptionGroup("inner", [OSError("disk")])])), "OSError: disk"),
        (returns, "returned without being stopped"),
        (cancelled_by_a_library, "cancelled by a library"),
        (cancelled_in_a_group, "returned without being stopped"),
    ],
)
async def test_a_failure_is_restarted_after_its_back_off(failing: Body, words: str) -> None:
    clock = Clock()
    service = Scripted("site", failing, works)
    changes: list[tuple[str, str, str | None]] = []
    supervisor = Supervisor([service], lambda *change: changes.append(change), clock=clock, sleep=clock.sleep)
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await until(lambda: service.runs == 2 and state_of(supervisor, "site") == "running")
        group.cancel_scope.cancel()
    [info] = supervisor.status()
    assert info.restarts == 1
    assert words in (info.last_error or "")
    assert [state for _, state, _ in changes if state != "starting"][-3:] == [
        "backing_off",
        "running",
        "stopped",
    ]
    assert len(clock.slept) == 1


async def test_one_failing_for_ever_never_delays_another() -> None:
    clock = Clock()
    bad = Scripted("bad", raises(ValueError("no")))
    good = Scripted("good", raises(ValueError("once")), works)
    supervisor = Supervisor([bad, good], clock=clock, sleep=clock.sleep, rng=random.Random(1))
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await until(lambda: bad.runs > 50 and state_of(supervisor, "good") == "running")
        group.cancel_scope.cancel()
    assert good.runs == 2
    assert max(clock.slept) <= 60
    assert clock.slept[20:] and min(clock.slept[20:]) >= 45


async def test_fatal_ends_everything_with_itself_however_deep() -> None:
    fatal = Fatal("the catalogue is damaged", exit_code=ExitCode.CONFIG)
    ended: list[str] = []

    async def long(handle: ServiceHandle) -> None:
        handle.ready()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("long")

    deep = ExceptionGroup("a", [ValueError("x"), ExceptionGroup("b", [fatal])])
    supervisor = Supervisor([Scripted("long", long), Scripted("bad", raises(deep))])
    with pytest.raises(Fatal) as caught:
        await supervisor.run()
    assert caught.value is fatal
    assert ended == ["long"]
    assert [info.state for info in supervisor.status()] == ["stopped", "failed"]


async def test_rejected_credentials_wait_for_a_person() -> None:
    clock = Clock()
    service = Scripted("drive", raises(ExceptionGroup("g", [AuthRejected("sign in again")])), works)
    supervisor = Supervisor([service], clock=clock, sleep=clock.sleep)
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await until(lambda: state_of(supervisor, "drive") == "needs_auth")
        with anyio.fail_after(1):
            await supervisor.started.wait()
        await anyio.sleep(0.02)
        assert service.runs == 1 and clock.slept == []
        supervisor.retry()
        await until(lambda: state_of(supervisor, "drive") == "running")
        group.cancel_scope.cancel()
    assert service.runs == 2


async def test_paused_stays_paused_until_resumed() -> None:
    service = Scripted("site", works)
    control = Scripted("control", works)
    supervisor = Supervisor([service, control])
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await supervisor.started.wait()
        supervisor.pause()
        assert state_of(supervisor, "site") == "paused"
        assert state_of(supervisor, "control") == "running"
        supervisor.retry()
        supervisor.restart()
        await anyio.sleep(0.02)
        assert service.runs == 1 and state_of(supervisor, "site") == "paused"
        supervisor.resume("site")
        await until(lambda: service.runs == 2 and state_of(supervisor, "site") == "running")
        with pytest.raises(Refused, match="no service 'nothing'"):
            supervisor.pause("nothing")
        group.cancel_scope.cancel()


async def test_paused_while_backing_off_and_released_at_once() -> None:
    service = Scripted("site", raises(ValueError("x")), works)
    supervisor = Supervisor([service], sleep=lambda _: anyio.sleep_forever())
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await until(lambda: state_of(supervisor, "site") == "backing_off")
        supervisor.pause("site")
        await anyio.sleep(0.02)
        assert state_of(supervisor, "site") == "paused" and service.runs == 1
        supervisor.resume("site")
        await until(lambda: state_of(supervisor, "site") == "running")
        group.cancel_scope.cancel()


async def test_pausing_and_resuming_at_once_runs_again() -> None:
    service = Scripted("site", works)
    supervisor = Supervisor([service])
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await supervisor.started.wait()
        supervisor.pause("site")
        supervisor.resume("site")
        await until(lambda: service.runs == 2 and state_of(supervisor, "site") == "running")
        group.cancel_scope.cancel()


async def test_what_a_service_says_is_shown_once_and_its_reason_ends_with_it() -> None:
    handles: list[ServiceHandle] = []

    async def keeps(handle: ServiceHandle) -> None:
        handles.append(handle)
        await anyio.sleep_forever()

    changes: list[tuple[str, str, str | None]] = []
    supervisor = Supervisor([Scripted("site", keeps)], lambda *change: changes.append(change))
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await until(lambda: bool(handles))
        assert not supervisor.started.is_set()
        handles[0].set_state("blocked", "the root is missing")
        handles[0].set_state("blocked", "the root is missing")
        assert supervisor.started.is_set()
        assert error_of(supervisor, "site") == "the root is missing"
        handles[0].ready()
        assert state_of(supervisor, "site") == "blocked"
        handles[0].set_state("running")
        handles[0].set_state("running")
        assert error_of(supervisor, "site") is None
        supervisor.pause("site")
        handles[0].set_state("running")
        assert state_of(supervisor, "site") == "paused"
        supervisor.resume("site")
        await until(lambda: len(handles) == 2)
        handles[0].set_state("blocked", "an old run")
        assert state_of(supervisor, "site") == "starting"
        group.cancel_scope.cancel()
    assert [state for _, state, _ in changes] == ["blocked", "running", "paused", "starting", "stopped"]


async def test_a_named_time_to_retry_is_kept() -> None:
    clock = Clock()
    service = Scripted("drive", raises(Transient("quota", retry_after_s=120)), works)
    supervisor = Supervisor([service], clock=clock, sleep=clock.sleep)
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await until(lambda: service.runs == 2)
        group.cancel_scope.cancel()
    assert clock.slept == [120]


async def test_stop_names_the_services_that_do_not_end() -> None:
    stuck: list[str] = []
    release = anyio.Event()

    async def stubborn(handle: ServiceHandle) -> None:
        handle.ready()
        with anyio.CancelScope(shield=True):
            await release.wait()

    def on_stuck(names: object) -> None:
        stuck.append(str(names))
        release.set()

    supervisor = Supervisor(
        [Scripted("good", works), Scripted("slow", stubborn)], stop_timeout_s=0.05, on_stuck=on_stuck
    )
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await supervisor.started.wait()
        supervisor.stop()
    assert stuck == ["['slow']"]


async def test_stop_before_and_after_start_returns() -> None:
    supervisor = Supervisor([Scripted("site", works)])
    supervisor.stop()
    with anyio.fail_after(1):
        await supervisor.run()
    empty = Supervisor([])
    async with anyio.create_task_group() as group:
        group.start_soon(empty.run)
        with anyio.fail_after(1):
            await empty.started.wait()
        empty.stop()


@given(st.lists(st.floats(0, 1e6), max_size=60), st.integers())
def test_back_off_stays_in_its_bounds_whatever_happened_before(runs_s: list[float], seed: int) -> None:
    rng = random.Random(seed)
    failures = 0.0
    for ran_s in runs_s:
        failures = next_failures(failures, ran_s)
        assert 1 <= failures <= len(runs_s)
        assert 0.5 <= back_off_s(failures, rng) <= 60


@given(st.floats(1, 50), st.floats(0, 1e5), st.floats(0, 1e5))
def test_running_well_is_never_held_against_a_service(failures: float, one_s: float, other_s: float) -> None:
    shorter_s, longer_s = sorted((one_s, other_s))
    assert next_failures(failures, longer_s) <= next_failures(failures, shorter_s)
    assert math.isclose(next_failures(failures, HALF_LIFE_S), failures / 2 + 1)


def test_errors_are_described_for_people() -> None:
    assert describe(ExceptionGroup("g", [ValueError("a"), KeyError("b")])) == "ValueError: a (and 1 more)"
    assert describe(TimeoutError()) == "TimeoutError"
