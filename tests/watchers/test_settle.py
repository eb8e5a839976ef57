"""When a file counts as settled, whatever the clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncd.model import FileStat
from syncd.watchers.settle import SettleTracker, unsettled_for_s

NOW_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000


def made(ctime_ns: int, mtime_ns: int) -> FileStat:
    return FileStat(ctime_ns, mtime_ns, 10, 1)


@given(st.integers(0, 10**20), st.integers(0, 10**20), st.floats(0, 3600))
def test_never_longer_than_the_settle_time(ctime_ns: int, mtime_ns: int, settle_s: float) -> None:
    assert 0 <= unsettled_for_s(made(ctime_ns, mtime_ns), NOW_NS, settle_s) <= settle_s


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_the_newest_of_both_times_counts(ctime_age_s: int, mtime_age_s: int, settle_s: int) -> None:
    stat = made(NOW_NS - ctime_age_s * SECOND_NS, NOW_NS - mtime_age_s * SECOND_NS)
    assert unsettled_for_s(stat, NOW_NS, settle_s) == max(0, settle_s - min(ctime_age_s, mtime_age_s))


def test_a_date_set_by_hand_into_the_future_does_not_hold_a_file_back() -> None:
    stat = made(NOW_NS - 10 * SECOND_NS, NOW_NS + 10**17)
    assert unsettled_for_s(stat, NOW_NS, 5) == 0
    assert unsettled_for_s(made(NOW_NS - SECOND_NS, NOW_NS + 10**17), NOW_NS, 5) == 4


@given(st.integers(1, 10**19), st.floats(0.01, 60))
def test_a_file_from_the_future_settles_by_the_steady_clock(ahead_ns: int, settle_s: float) -> None:
    steady_ns = 0
    tracker = SettleTracker(lambda: steady_ns)
    stat = made(NOW_NS + ahead_ns, NOW_NS)
    assert tracker.unsettled_for_s("a", stat, NOW_NS, settle_s) == settle_s
    steady_ns = int(settle_s * 0.5e9)
    assert 0 < tracker.unsettled_for_s("a", stat, NOW_NS, settle_s) < settle_s
    steady_ns = int(settle_s * 1e9) + 1
    assert tracker.unsettled_for_s("a", stat, NOW_NS, settle_s) == 0
    changed = stat._replace(size_bytes=11)
    assert tracker.unsettled_for_s("a", changed, NOW_NS, settle_s) == settle_s
