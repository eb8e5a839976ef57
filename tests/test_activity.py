"""The numbered log of activity: nothing lost, nothing shown before it is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from syncd import activity as activity_module
from syncd.activity import Activity, Entry
from syncd.errors import Fatal, Transient


class Store:
    """Entries by id, as a table would keep them."""

    def __init__(self) -> None:
        self.rows: dict[int, Entry] = {}
        self.failures = 0
        self.groups: list[int] = []
        self.gate = anyio.Event()
        self.gate.set()

    async def append(self, entries: list[Entry]) -> None:
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise Transient("the disk is full")
        self.groups.append(len(entries))
        for entry in entries:
            assert self.rows.setdefault(entry.id, entry) == entry
        await anyio.lowlevel.checkpoint()

    async def load(self, since: int, limit: int) -> list[Entry]:
        await anyio.lowlevel.checkpoint()
        return [self.rows[number] for number in sorted(self.rows) if number > since][:limit]


@asynccontextmanager
async def running(store: Store, last_id: int = 0) -> AsyncIterator[Activity]:
    activity = Activity(store.append, last_id, store.load)
    async with anyio.create_task_group() as group:
        group.start_soon(activity.run)
        yield activity
        group.cancel_scope.cancel()


async def stored(activity: Activity, number: int) -> None:
    with anyio.fail_after(5):
        while activity.last_id < number:
            await anyio.sleep(0.001)


async def first(activity: Activity, since: int, count: int) -> list[int]:
    found: list[int] = []
    with anyio.fail_after(5):
        async for entry in activity.follow(since):
            found.append(entry.id)
            if len(found) == count:
                return found
    raise AssertionError("the stream ended")


async def test_ids_rise_by_one_and_go_on_after_a_restart() -> None:
    store = Store()
    async with running(store, 41) as activity:
        assert [activity.emit("k", "site", "s", "m") for _ in range(3)] == [42, 43, 44]
        await stored(activity, 44)
        items, last_id = await activity.page(41, 10)
        assert [entry.id for entry in items] == [42, 43, 44] and last_id == 44
    assert sorted(store.rows) == [42, 43, 44]


async def test_nothing_is_shown_before_it_is_stored() -> None:
    store = Store()
    store.gate = anyio.Event()
    async with running(store) as activity:
        activity.emit("k", "site", "s", "m")
        await anyio.sleep(0.02)
        assert await activity.page(0, 10) == ([], 0) and activity.last_id == 0
        for _ in range(100):
            activity.emit("k", "site", "s", "m")
        store.gate.set()
        await stored(activity, 101)
    assert store.groups == [1, 100]


async def test_storing_is_tried_again_and_what_is_left_is_stored_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store()
    store.failures = 2
    async with running(store) as activity:
        activity.emit("k", "site", "s", "m")
        await stored(activity, 1)
        activity.emit("k", "site", "s", "last words")
    assert [store.rows[number].message for number in sorted(store.rows)] == ["m", "last words"]


async def test_fatal_from_the_store_is_not_hidden() -> None:
    async def append(entries: list[Entry]) -> None:
        raise Fatal("the catalogue is damaged")

    activity = Activity(append, 0)
    activity.emit("k", "site", "s", "m")
    with pytest.raises(Fatal), anyio.fail_after(2):
        await activity.run()


async def test_following_from_the_past_into_the_future_has_no_gap() -> None:
    store = Store()
    found: list[list[int]] = []
    total = 6000  # more than memory keeps

    async with running(store) as activity:
        for _ in range(total // 2):
            activity.emit("k", "site", "s", "m")
        await stored(activity, total // 2)

        async def follow(since: int, pause_s: float) -> None:
            ids: list[int] = []
            found.append(ids)
            async for entry in activity.follow(since):
                ids.append(entry.id)
                if pause_s and entry.id % 500 == 0:
                    await anyio.sleep(pause_s)
                if entry.id == total:
                    return

        async with anyio.create_task_group() as group:
            group.start_soon(follow, 0, 0.0)
            group.start_soon(follow, 0, 0.02)
            group.start_soon(follow, 2990, 0.0)
            for number in range(total // 2):
                activity.emit("k", "site", "s", "m")
                if number % 50 == 0:
                    await anyio.sleep(0.001)
    assert [ids[0] for ids in found] == [1, 1, 2991]
    for ids in found:
        assert ids == list(range(ids[0], total + 1))


async def test_a_place_beyond_the_log_gets_what_is_new() -> None:
    store = Store()
    async with running(store) as activity:
        activity.emit("k", "site", "s", "m")
        await stored(activity, 1)
        assert await activity.page(500, 10) == ([], 1)

        async with anyio.create_task_group() as group:

            async def check() -> None:
                assert await first(activity, 500, 1) == [2]

            group.start_soon(check)
            await anyio.sleep(0.01)
            activity.emit("k", "site", "s", "m")


async def test_a_trimmed_log_does_not_hold_a_follower_up() -> None:
    store = Store()
    async with running(store, 100) as activity, anyio.create_task_group() as group:

        async def check() -> None:
            assert await first(activity, 0, 1) == [101]

        group.start_soon(check)
        await anyio.sleep(0.01)
        activity.emit("k", "site", "s", "m")


async def test_pages_come_from_memory_or_from_the_store() -> None:
    store = Store()
    async with running(store) as activity:
        for _ in range(2500):
            activity.emit("k", "site", "s", "m")
        await stored(activity, 2500)
        for since, expected in ((0, [1, 2, 3]), (499, [500, 501, 502]), (2000, [2001, 2002, 2003])):
            items, last_id = await activity.page(since, 3)
            assert [entry.id for entry in items] == expected and last_id == 2500
        assert [entry.id for entry in (await activity.page(2498, 1000))[0]] == [2499, 2500]
        assert await activity.page(0, 0) == ([], 2500)


async def test_control_characters_are_escaped_in_words_and_kept_in_data() -> None:
    store = Store()
    async with running(store) as activity:
        activity.emit("k", "site", "a\x1b[31m", "b\u202ec\udcff", {"name": "a\x1b"})
        await stored(activity, 1)
    entry = store.rows[1]
    assert (entry.subject, entry.message) == (r"a\x1b[31m", r"b\u202ec\xff")
    assert entry.data == {"name": "a\x1b"}
    assert entry.at.endswith("Z") and "T" in entry.at


async def test_while_nothing_can_be_stored_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity_module, "MOST_UNSTORED", 10)
    store = Store()
    store.gate = anyio.Event()
    async with running(store) as activity:
        for _ in range(25):
            activity.emit("k", "site", "s", "m")
        store.gate.set()
        await stored(activity, 25)
        assert [entry.id for entry in (await activity.page(0, 100))[0]] == list(range(16, 26))
