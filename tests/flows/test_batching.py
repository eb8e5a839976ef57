"""Coalesced writes and turns at batches."""

from __future__ import annotations

import anyio
import pytest

from syncd.flows.batching import Coalescer, Turns


async def test_many_adds_become_few_writes() -> None:
    written: list[list[int]] = []

    async def apply(items: list[int]) -> list[int]:
        await anyio.sleep(0.01)
        written.append(items)
        return [item * 2 for item in items]

    coalescer: Coalescer[int, int] = Coalescer(apply)
    results: dict[int, int] = {}

    async def add(item: int) -> None:
        results[item] = await coalescer.add(item)

    async with anyio.create_task_group() as tasks:
        for item in range(50):
            tasks.start_soon(add, item)
    assert results == {item: item * 2 for item in range(50)}
    assert [len(group) for group in written] == [1, 49]


async def test_the_last_items_are_written_at_once() -> None:
    async def apply(items: list[int]) -> list[int]:
        return items

    coalescer: Coalescer[int, int] = Coalescer(apply, gather_s=60, more=lambda: False)
    with anyio.fail_after(20):
        assert [await coalescer.add(item) for item in range(3)] == [0, 1, 2]


async def test_a_failed_write_reaches_its_callers_only() -> None:
    async def apply(items: list[int]) -> list[int]:
        if 1 in items:
            raise ValueError("no")
        return items

    coalescer: Coalescer[int, int] = Coalescer(apply)
    with pytest.raises(ValueError, match="no"):
        await coalescer.add(1)
    assert await coalescer.add(2) == 2


async def test_a_cancelled_caller_leaves_nobody_waiting() -> None:
    async def apply(items: list[int]) -> list[int]:
        await anyio.sleep(0.02)
        return items

    coalescer: Coalescer[int, int] = Coalescer(apply)
    done = []
    async with anyio.create_task_group() as tasks:
        leader = anyio.CancelScope()

        async def lead() -> None:
            with leader:
                await coalescer.add(1)

        async def follow() -> None:
            done.append(await coalescer.add(2))

        tasks.start_soon(lead)
        await anyio.sleep(0.005)
        tasks.start_soon(follow)
        await anyio.sleep(0.005)
        leader.cancel()
    assert done == [2]


async def test_turns_are_exclusive_fair_and_given_back_one_by_one() -> None:
    turns = Turns()
    order: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def want(label: str, *names: str) -> None:
            async with turns.hold(names):
                order.append(label)
                await anyio.sleep(0.01)

        async with turns.hold({"a", "b"}) as release:
            tasks.start_soon(want, "both", "a", "b")
            await anyio.sleep(0)
            tasks.start_soon(want, "b only", "b")
            tasks.start_soon(want, "c", "c")
            await anyio.sleep(0.005)
            assert order == ["c"]
            release("b")
            await anyio.sleep(0.005)
            # Who came first waits for both, and is not overtaken for ever by who wants one of them.
            assert order == ["c"]
    assert order == ["c", "both", "b only"]


async def test_a_cancelled_wait_holds_nothing() -> None:
    turns = Turns()
    async with turns.hold({"a"}):
        with anyio.move_on_after(0.01):
            async with turns.hold({"a", "b"}):
                pytest.fail("was not free")
    with anyio.fail_after(1):
        async with turns.hold({"a", "b"}):
            pass
