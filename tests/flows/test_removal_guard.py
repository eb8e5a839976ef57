"""The guard: few removals go, many wait, and small runs cannot add up to what one may not do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncd.flows.removal_guard import RemovalGuard, judge, removal_limit
from syncd.model import Action


def removals(count: int, batch: str = "b") -> list[Action]:
    return [
        Action("remove", f"{batch}-{n}", "initial_scan", f"/{batch}/{n}", f"scenes/{batch}-{n}.jpg")
        for n in range(count)
    ]


def test_the_limit_is_the_larger_of_the_two() -> None:
    assert removal_limit(50, 5, 100) == 50
    assert removal_limit(50, 5, 10_000) == 500


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.data())
def test_all_or_nothing(wanted: int, elsewhere: int, recent: int, limit: int, data: st.DataObject) -> None:
    actions, others = removals(wanted), removals(elsewhere, "c")
    approved = frozenset(data.draw(st.lists(st.sampled_from(actions))) if actions else [])
    verdict = judge(actions, others, limit=limit, recent=recent, approved=approved)
    unapproved = set(actions) - approved
    assert verdict.unasked in (frozenset(), unapproved)
    assert set(verdict.held) | verdict.unasked == unapproved
    if verdict.unasked:
        assert len(unapproved) + elsewhere + recent <= limit
    if verdict.held:
        assert verdict.reason


def test_batch_by_batch_is_no_way_around() -> None:
    guard = RemovalGuard()
    first = guard.check({"b": removals(40)}, limit=50, approved=frozenset())
    assert len(first.unasked) == 40
    guard.removed(40)
    second = guard.check({"b": [], "c": removals(11, "c")}, limit=50, approved=frozenset())
    assert len(second.held) == 11 and guard.held == removals(11, "c")


def test_what_waits_goes_when_its_cause_is_gone_or_a_person_agrees() -> None:
    guard = RemovalGuard()
    guard.check({"b": removals(60)}, limit=50, approved=frozenset())
    assert len(guard.held) == 60
    agreed = guard.check({"b": removals(60)}, limit=50, approved=frozenset(removals(60)))
    assert agreed.held == () and guard.held == []
    guard.check({"b": removals(60)}, limit=50, approved=frozenset())
    guard.check({"b": []}, limit=50, approved=frozenset())
    assert guard.held == []
