"""The reducer: what each event changes, and what no sequence of them can break."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.control import schema
from tests.tui.fake_feed import before, scene, status, sync_report
from tui.rates import HALF_LIFE_S, STALLED_S, Progress, Rates
from tui.state import (
    ACTIVITY_LIMIT,
    ActivityArrived,
    ActivitySnapshot,
    Connected,
    Connecting,
    Ended,
    Event,
    Flashed,
    FlashFaded,
    Keyed,
    Link,
    ListArrived,
    ListAsked,
    ListFailed,
    Lost,
    Started,
    State,
    StatusArrived,
    SyncArrived,
    gap,
    reduce,
    reuse,
)


def item(number: int) -> schema.ActivityItem:
    return schema.ActivityItem(
        id=number, at=before(), kind="uploaded", service="site", subject="s", message=f"m{number}"
    )


def items(first: int, last: int) -> tuple[schema.ActivityItem, ...]:
    return tuple(item(number) for number in range(first, last + 1))


def after(*events: Event, state: State | None = None) -> State:
    state = state or State()
    for event in events:
        state, _ = reduce(state, event)
    return state


LIVE = after(Connecting(1, "sock"), Connected(2))


@pytest.mark.parametrize(
    ("events", "link"),
    [
        ([Connecting(1, "s")], Link("connecting", 1, "s")),
        ([Connecting(1, "s"), Lost(2, "no", "hint", 3)], Link("absent", 2, "s", "no", "hint", 3)),
        (
            [Connecting(1, "s"), Lost(2, "no", "", 3), Connecting(4, "s"), Lost(5, "still no", "", 6)],
            Link("absent", 2, "s", "still no", "", 6),
        ),
        ([Connecting(1, "s"), Lost(2, "no"), Connecting(3, "s"), Connected(4)], Link("live", 4, "s")),
        (
            [Connecting(1, "s"), Connected(2), Lost(5, "hung up", "", 6)],
            Link("lost", 5, "s", "hung up", "", 6),
        ),
        (
            [Connecting(1, "s"), Connected(2), Lost(5, "x"), Connecting(6, "s"), Lost(7, "y", "", 9)],
            Link("lost", 5, "s", "y", "", 9),
        ),
    ],
)
def test_the_connection_says_since_when_it_is_as_it_is(events: list[Event], link: Link) -> None:
    assert after(*events).link == link


def test_connecting_again_is_said_and_keeps_what_was_known() -> None:
    state = after(StatusArrived(3, status()), ActivitySnapshot(items(1, 3), 3), Lost(4, "x"), state=LIVE)
    assert state.status is not None
    assert state.activity == items(1, 3)
    state = after(Connecting(5, "s"), Connected(6), state=state)
    assert state.flash is not None
    assert state.flash.text == "connected again"


@pytest.mark.parametrize(
    ("event", "dirty"),
    [
        (StatusArrived(3, status()), {"status"}),
        (SyncArrived(3, sync_report()), {"sync"}),
        (ActivityArrived(items(1, 1)), {"activity"}),
        (ActivityArrived(()), set()),
        (ListArrived("jobs", 3, ()), {"jobs"}),
        (ListFailed("guards", "no"), {"guards"}),
        (ListArrived("events", 3, ()), {"events"}),
        (ListAsked("scenes", ("a", "")), {"scenes"}),
        (ListAsked("scenes", ("", "")), set()),
        (Started("a"), {"busy"}),
        (Flashed("hello"), {"flash"}),
        (FlashFaded(9), set()),
        (Lost(4, "x"), {"link"}),
    ],
)
def test_only_what_changed_is_dirty(event: Event, dirty: set[str]) -> None:
    assert reduce(LIVE, event)[1] == dirty


def test_a_gap_is_told_from_what_was_seen_before() -> None:
    assert gap(3, items(4, 6)) == 0
    assert gap(3, items(2, 6)) == 0
    assert gap(3, items(6, 8)) == 2
    assert gap(3, ()) == 0


def test_nothing_is_taken_across_a_gap() -> None:
    state = after(ActivitySnapshot(items(1, 3), 3), ActivityArrived((item(4), item(7))), state=LIVE)
    assert state.last_id == 4
    assert [entry.id for entry in state.activity] == [1, 2, 3, 4]


def test_a_resync_says_how_many_were_missed() -> None:
    state = after(
        ActivitySnapshot(items(1, 3), 3), ActivitySnapshot(items(10, 17), 17, missed=14), state=LIVE
    )
    assert state.flash is not None
    assert state.flash.text == "resynced, 14 missed"
    assert state.activity == items(10, 17)


def test_a_log_that_starts_anew_is_said() -> None:
    state = after(ActivitySnapshot(items(1, 9), 9), ActivitySnapshot(items(1, 2), 2), state=LIVE)
    assert state.flash is not None
    assert "anew" in state.flash.text
    assert state.last_id == 2


def test_an_action_is_busy_until_its_reply_and_changes_nothing_else() -> None:
    state = after(Started("batch-1"), state=LIVE)
    assert state.busy == {"batch-1"}
    assert replace(state, busy=LIVE.busy) == LIVE
    state = after(Ended("batch-1", "refused: because", "bad"), state=state)
    assert not state.busy
    assert state.flash is not None
    assert state.flash.tone == "bad"


def test_a_newer_flash_is_not_faded_by_an_older_ones_timer() -> None:
    state = after(Flashed("one"), Flashed("two"), FlashFaded(1), state=LIVE)
    assert state.flash is not None
    assert state.flash.text == "two"
    assert after(FlashFaded(2), state=state).flash is None


def test_scenes_of_another_batch_never_show_under_this_ones_name() -> None:
    row = Keyed("a-1", scene(1, "a"))
    asked = after(ListAsked("scenes", ("b", "")), state=LIVE)
    late = after(ListArrived("scenes", 3, (row,), ("a", "")), state=asked)
    assert late.scenes.items == ()
    assert late.scenes.at is None


def test_equal_rows_stay_the_same_objects() -> None:
    old = tuple(Keyed(str(n), scene(n)) for n in range(5))
    assert reuse(old, tuple(Keyed(str(n), scene(n)) for n in range(5))) is old
    mixed = reuse(old, (Keyed("9", scene(9)), Keyed("2", scene(2)), Keyed("1", scene(8))))
    assert mixed[1] is old[2]
    assert mixed[2] is not old[1]


def throughput(files: int, size: int = 0) -> schema.Throughput:
    return schema.Throughput(uploaded=files, uploaded_bytes=size)


def test_a_rate_is_half_way_after_its_half_life() -> None:
    rates = Rates().add(0, throughput(0)).add(HALF_LIFE_S, throughput(100))
    assert rates.per_second.uploaded == pytest.approx(5.0)
    assert not rates.stalled(HALF_LIFE_S + 1)
    assert rates.stalled(HALF_LIFE_S + STALLED_S + 1)


def test_a_restarted_daemon_does_not_make_a_negative_rate() -> None:
    rates = Rates().add(0, throughput(100)).add(2, throughput(200)).add(4, throughput(3))
    assert rates.per_second.uploaded == 0
    assert rates.add(6, throughput(5)).per_second.uploaded > 0


def test_the_time_left_is_told_after_three_looks_and_five_seconds_while_it_moves() -> None:
    progress = Progress()
    for second in range(0, 5, 2):
        report = sync_report(done_steps=100 + second * 10, total=300)
        progress = progress.add(second, report)
        assert progress.eta_s(report) is None
    report = sync_report(done_steps=160, total=300)
    progress = progress.add(6, report)
    assert progress.eta_s(report) == pytest.approx(14, rel=0.01)
    stuck = progress.add(6 + STALLED_S + 1, report)
    assert stuck.eta_s(report) is None
    assert progress.add(8, sync_report(state="done")) == Progress()


# --- any sequence ---------------------------------------------------------------------------------

numbers = st.integers(1, 30)
words = st.sampled_from(["a", "b", "c"])
moments = st.integers(0, 100).map(float)


@st.composite
def runs(draw: st.DrawFn) -> tuple[schema.ActivityItem, ...]:
    first = draw(numbers)
    return items(first, first + draw(st.integers(-1, 8)))


@st.composite
def snapshots(draw: st.DrawFn) -> ActivitySnapshot:
    page = draw(runs())
    return ActivitySnapshot(page, page[-1].id if page else draw(st.just(0)), draw(st.integers(0, 3)))


@st.composite
def lists(draw: st.DrawFn) -> ListArrived:
    name: Any = draw(st.sampled_from(["batches", "scenes", "events", "jobs", "guards"]))
    keys = draw(st.lists(st.integers(1, 9), unique=True, max_size=6))
    subject = (draw(words), "") if name == "scenes" else ("", "")
    return ListArrived(name, draw(moments), tuple(Keyed(str(n), scene(n)) for n in keys), subject)


events = st.one_of(
    st.builds(Connecting, moments, words),
    st.builds(Connected, moments),
    st.builds(Lost, moments, words),
    st.builds(
        StatusArrived,
        moments,
        st.builds(lambda n: status(throughput=throughput(n, n * 9)), st.integers(0, 99)),
    ),
    st.builds(SyncArrived, moments, st.builds(lambda n: sync_report(done_steps=n), st.integers(0, 540))),
    snapshots(),
    st.builds(ActivityArrived, runs()),
    lists(),
    st.builds(ListAsked, st.just("scenes"), st.tuples(words, st.just(""))),
    st.builds(ListFailed, st.sampled_from(["batches", "jobs"]), words),
    st.builds(Started, words),
    st.builds(Ended, words, words),
    st.builds(Flashed, words),
    st.builds(FlashFaded, numbers),
)


@given(st.lists(events, max_size=40))
def test_no_sequence_of_events_breaks_what_always_holds(sequence: list[Event]) -> None:
    state = State()
    begun: set[str] = set()
    for event in sequence:
        before_it = state
        state, dirty = reduce(state, event)
        ids = [entry.id for entry in state.activity]
        assert ids == list(range(ids[0], ids[0] + len(ids))) if ids else True
        assert not ids or state.last_id == ids[-1]
        assert len(ids) <= ACTIVITY_LIMIT
        assert all(getattr(state, part) is not getattr(before_it, part) for part in dirty)
        assert min(state.rates.per_second) >= 0
        assert state.progress.per_second >= 0
        begun |= {event.key} if isinstance(event, Started) else set()
        begun -= {event.key} if isinstance(event, Ended) else set()
        assert state.busy == begun
        if isinstance(event, ListArrived) and event.subject == state.scenes.subject:
            known = {row.key for row in getattr(state, event.name).items}
            assert known == {row.key for row in event.items}


@given(st.integers(1, 40), st.data())
def test_replay_equals_snapshot(total: int, data: st.DataObject) -> None:
    """A snapshot and then the stream, in pieces that overlap, end where one whole snapshot does."""
    start = data.draw(st.integers(0, total))
    state = after(ActivitySnapshot(items(1, start), start), state=LIVE)
    while state.last_id < total:
        first = data.draw(st.integers(max(1, state.last_id - 3), state.last_id + 1))
        state = after(
            ActivityArrived(items(first, data.draw(st.integers(state.last_id + 1, total)))), state=state
        )
    whole = after(ActivitySnapshot(items(1, total), total), state=LIVE)
    assert (state.activity, state.last_id) == (whole.activity, whole.last_id)


def test_the_log_keeps_its_newest_lines() -> None:
    state = after(ActivitySnapshot(items(1, 5), 5), state=LIVE)
    state = after(ActivityArrived(items(6, ACTIVITY_LIMIT + 50)), state=state)
    assert len(state.activity) == ACTIVITY_LIMIT
    assert state.activity[-1].id == ACTIVITY_LIMIT + 50
