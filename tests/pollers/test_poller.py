"""When another side is asked, on a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import anyio
import pytest

from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.pollers.drive import Feed
from syncd.pollers.poller import DEBOUNCE_S, Health, Poller


class Quota(Transient):
    pass


class Bench:
    def __init__(self, interval_s: float | None = 60.0) -> None:
        self.now = 1000.0
        self.interval_s = interval_s
        self.outcomes: list[SyncdError | None] = []
        self.polls = 0
        self.heard: list[str] = []
        self.kept: str | None = None
        self.poller = Poller(
            "it",
            self._poll,
            lambda: self.interval_s,
            on_change=self._changed,
            is_quota=lambda error: isinstance(error, Quota),
            clock=lambda: self.now,
            rng=random.Random(1),
        )

    async def _poll(self) -> None:
        self.polls += 1
        if self.outcomes and (error := self.outcomes.pop(0)) is not None:
            raise error

    async def _changed(self, health: Health, is_news: bool) -> None:
        self.kept = health.resume_at
        if is_news:
            self.heard.append(health.state)


async def test_the_first_poll_is_at_once_and_the_next_within_the_interval() -> None:
    bench = Bench()
    assert bench.poller.next_in_s == 0
    waits = set()
    for _ in range(20):
        assert await bench.poller.once()
        waits.add(bench.poller.next_in_s)
    assert len(waits) == 20 and all(54 <= (wait_s or 0) <= 60 for wait_s in waits)
    bench.interval_s = 30
    assert (bench.poller.next_in_s or 99) <= 30
    bench.interval_s = None
    assert bench.poller.next_in_s is None
    assert bench.heard == []


async def test_failures_back_off_are_told_once_and_so_is_the_recovery() -> None:
    bench = Bench()
    bench.outcomes = [Transient("down")] * 8
    waits = []
    for _ in range(8):
        assert not await bench.poller.once()
        waits.append(bench.poller.next_in_s or 0.0)
    for wait_s, expected_s in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
        assert 0.7 * expected_s <= wait_s <= 1.3 * expected_s
    assert await bench.poller.once()
    assert bench.heard == ["backing_off", "running"] and bench.poller.health == Health()
    assert (bench.poller.next_in_s or 0) > 50


async def test_a_named_time_is_waited_for_even_when_somebody_asks() -> None:
    bench = Bench()
    bench.outcomes = [Quota("used up", retry_after_s=5000)]
    await bench.poller.once()
    assert bench.poller.health.state == "quota" and bench.poller.parked
    bench.poller.refresh()
    assert bench.poller.next_in_s == 5000
    bench.now += 5000
    assert not bench.poller.parked and bench.poller.next_in_s == 0
    assert await bench.poller.once() and bench.heard == ["quota", "running"]


async def test_a_rejected_sign_in_is_not_tried_until_there_is_a_new_one() -> None:
    bench = Bench()
    bench.outcomes = [AuthRejected("revoked", hint="sign in")]
    await bench.poller.once()
    bench.now += 100_000
    bench.poller.refresh()
    assert bench.poller.next_in_s is None and bench.poller.parked
    bench.poller.refresh(at_once=True)
    assert bench.poller.next_in_s == 0
    assert await bench.poller.once() and bench.heard == ["needs_auth", "running"]


async def test_one_refusal_waits_for_the_next_interval() -> None:
    bench = Bench()
    bench.outcomes = [Refused("no")]
    await bench.poller.once()
    assert 54 <= (bench.poller.next_in_s or 0) <= 60 and not bench.poller.parked


async def test_what_others_met_counts_though_a_poll_that_was_under_way_succeeds() -> None:
    bench = Bench()

    async def poll() -> None:
        await bench.poller.note(Quota("used up", retry_after_s=100))

    bench.poller._poll = poll
    assert await bench.poller.once()
    assert bench.poller.health.state == "quota" and bench.poller.parked
    await bench.poller.note(Refused("one photo"))
    assert bench.heard == ["quota"]


async def test_what_was_known_before_a_restart_holds() -> None:
    bench = Bench()
    bench.poller.resume_later(Health("quota", "used up", None, 500))
    assert bench.poller.parked and bench.poller.next_in_s == 500


async def test_the_same_trouble_again_moves_what_is_kept_for_a_restart() -> None:
    bench = Bench()
    bench.outcomes = [Quota("used up", retry_after_s=60), Quota("used up", retry_after_s=1800)]
    kept = []
    for _ in range(2):
        await bench.poller.once()
        assert bench.poller.health.resume_at == bench.kept is not None
        kept.append(datetime.fromisoformat(bench.kept))
    assert (kept[1] - kept[0]).total_seconds() > 1700
    assert bench.heard == ["quota"]
    await bench.poller.once()
    assert bench.kept is None


async def test_many_who_ask_at_once_get_one_poll() -> None:
    polls = 0

    async def poll() -> None:
        nonlocal polls
        polls += 1

    async def changed(health: Health, is_news: bool) -> None:
        pass

    poller = Poller("it", poll, lambda: 3600.0, on_change=changed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poller.run)
        await anyio.sleep(0.05)
        assert polls == 1
        for _ in range(50):
            poller.refresh()
            await anyio.sleep(0.001)
        await anyio.sleep(DEBOUNCE_S * 2)
        assert polls == 2
        tasks.cancel_scope.cancel()


@dataclass
class OnePage:
    changes: Sequence[int]
    next_page_token: str | None = None
    new_start_page_token: str | None = None


class Log:
    def __init__(self, pages: dict[str, OnePage]) -> None:
        self.pages = pages

    async def start_page_token(self, drive_id: str | None = None) -> str:
        return "0"

    async def changes(self, page_token: str, drive_id: str | None = None) -> OnePage:
        return self.pages[page_token]


async def test_each_page_is_recorded_with_the_token_that_follows_it() -> None:
    recorded: list[tuple[list[int], str, bool]] = []

    async def record(changes: Sequence[int], token: str, at_end: bool) -> None:
        recorded.append((list(changes), token, at_end))

    pages = {"0": OnePage([1, 2], "2"), "2": OnePage([], "3"), "3": OnePage([3], None, "4")}
    assert await Feed(Log(pages), "", record).drain("0") == 3
    assert recorded == [([1, 2], "2", False), ([], "3", False), ([3], "4", True)]


@pytest.mark.parametrize("page", [OnePage([1]), OnePage([], "0")])
async def test_a_feed_that_leads_nowhere_ends(page: OnePage) -> None:
    async def record(changes: Sequence[int], token: str, at_end: bool) -> None:
        pass

    with pytest.raises(Transient):
        await Feed(Log({"0": page}), "", record).drain("0")
