"""What things are called and when: needs in their order, ages, durations, bars. All pure."""

from __future__ import annotations

from datetime import UTC

import pytest

from syncd.control import schema
from tests.tui.fake_feed import NOW, before, guard, idle_status, status
from tui import look
from tui.needs import needs
from tui.screens.jobs import wrapped
from tui.state import Keyed, ListArrived, State, StatusArrived, reduce


def after(arrived: schema.Status, *guards: schema.Guard) -> State:
    state, _ = reduce(State(), StatusArrived(NOW, arrived))
    rows = tuple(Keyed(row.id, row) for row in guards)
    return reduce(state, ListArrived("guards", NOW, rows))[0]


def service(name: str, state: str, error: str | None = None) -> schema.ServiceStatus:
    return schema.ServiceStatus(name=name, state=state, since=before(hours=1), last_error=error)  # type: ignore[arg-type]


def test_nothing_is_needed_of_a_calm_daemon_or_an_unknown_one() -> None:
    assert needs(after(idle_status())) == ()
    assert needs(State()) == ()


def test_the_most_pressing_comes_first_and_says_what_to_press() -> None:
    busy = status(
        services=[
            service("batches", "backing_off", "storage is slow"),
            service("site", "running"),
            service("drive", "needs_auth", "token revoked"),
            service("mirror", "failed", "no such host"),
        ],
        blocked=[
            schema.Blocked(what="drive", reason="token revoked", since=before(minutes=1)),
            schema.Blocked(what="images", reason="the folder is not mounted", since=before(minutes=1)),
        ],
        guards=2,
        conflicts=["a-b + c and a + b-c would both be a-b-c"],
        watcher=schema.WatcherStatus(mode="polling"),
    )
    found = needs(after(busy, guard()))
    assert [(need.what, need.press) for need in found] == [
        ("guard g-17", "9"),
        ("guard", "9"),
        ("drive", "y"),
        ("mirror", "0"),
        ("images", "y"),
        ("failed", "8"),
        ("batches", "0"),
        ("name", "y"),
        ("watcher", "y"),
    ]
    drive = found[2]
    assert drive.copy == "syncctl auth drive"
    broken = needs(after(status(queues={"smugmug": schema.QueueStatus(failed=2)})))
    assert [need.copy for need in broken if need.key_id == "smugmug:failed"] == ["syncctl smugmug status"]
    assert "failed" not in {need.key_id for need in broken}
    locked = needs(after(status(services=[service("mirror", "needs_auth", "wrong password")])))
    assert "syncctl config reload" in {need.copy for need in locked if need.what == "mirror"}
    assert "token revoked" in drive.text
    assert found[0].text.startswith("remove 214 of 1,902: ")
    assert len({need.key_id for need in found}) == len(found)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (273_840, "3d04h"),
    ],
)
def test_durations_fit_a_column(seconds: float, text: str) -> None:
    assert look.duration(seconds) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (before(seconds=1), "just now"),
        (before(seconds=40), "40 s ago"),
        (before(minutes=3), "3 min ago"),
        (before(hours=6), "6 h ago"),
        (before(days=2), "May 28 14:02"),
        (before(seconds=-300), "just now"),
        (None, "—"),
        ("nonsense", "—"),
    ],
)
def test_ages_are_words_for_a_day_and_then_a_local_time(moment: str | None, text: str) -> None:
    assert look.ago(moment, NOW, zone=UTC) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "—"), (1, "~1s"), (7, "~5s"), (43, "~45s"), (200, "~3m"), (9000, "~2.5h")]
)
def test_the_time_left_is_rounded(seconds: float | None, text: str) -> None:
    assert look.eta(seconds) == text


def test_a_bar_is_as_wide_as_it_should_be_at_every_share() -> None:
    for done in range(0, 541, 7):
        full, rest = look.bar(done, 540, 30)
        assert len(full[0]) + len(rest[0]) == 30
    assert look.bar(540, 540, 10)[0][0] == "━" * 10
    assert look.bar(9, 0, 10)[0][0] == ""


def test_a_state_of_a_newer_daemon_has_a_plain_sign() -> None:
    assert look.sign(look.UNICODE, look.SERVICE, "dreaming") == ("○", "dim")


def test_reasons_are_wrapped_at_words_and_long_words_are_cut() -> None:
    assert wrapped("storage refused the object", 12) == ["storage", "refused the", "object"]
    assert wrapped("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert wrapped("", 10) == []
