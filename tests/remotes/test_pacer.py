"""The pace of an account."""

from __future__ import annotations

import itertools

import anyio
import pytest

from syncd.errors import Transient
from syncd.remotes.pacer import Pacer, RateLimited
from tests.remotes.conftest import Clock


async def test_requests_are_spaced_and_no_rest_buys_a_burst(clock: Clock) -> None:
    pacer = Pacer(10, clock=clock, sleep=clock.sleep)
    started: list[float] = []

    async def ask() -> None:
        for _ in range(5):
            await pacer.turn()
            started.append(clock.now)

    for rest_s in (0, 3600):
        clock.now += rest_s
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask)
    assert len(started) == 100
    for at in started:
        assert sum(at <= other < at + 10 - 1e-6 for other in started) <= 101
    gaps = [later - earlier for earlier, later in itertools.pairwise(started)]
    assert min(gaps) == pytest.approx(0.1)


async def test_first_come_first_served(clock: Clock) -> None:
    pacer = Pacer(10, clock=clock, sleep=clock.sleep)
    order: list[int] = []

    async def ask(n: int) -> None:
        await pacer.turn()
        order.append(n)

    async with anyio.create_task_group() as group:
        for n in range(20):
            group.start_soon(ask, n)
    assert order == list(range(20))


async def test_who_gives_up_in_line_takes_no_turn(clock: Clock) -> None:
    pacer = Pacer(0.1, clock=clock, sleep=clock.sleep)
    await pacer.turn()
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(pacer.turn)
        group.cancel_scope.cancel()
    await pacer.turn()
    assert clock.now == pytest.approx(1010)


async def test_a_short_hold_is_waited_for_and_a_long_one_told(clock: Clock) -> None:
    pacer = Pacer(10, clock=clock, sleep=clock.sleep)
    pacer.hold(RateLimited("slow down"), 20)
    await pacer.turn()
    assert clock.now == pytest.approx(1020)
    pacer.hold(Transient("away", hint="wait"), 3600)
    pacer.hold(RateLimited("slow down"), 20)
    with pytest.raises(Transient, match="away") as caught:
        await pacer.turn()
    assert (caught.value.hint, caught.value.retry_after_s) == ("wait", pytest.approx(3600))
    clock.now += 3599
    await pacer.turn()
    assert clock.now == pytest.approx(4620)
