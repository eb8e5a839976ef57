"""Every key of the table does what its sentence says, in a running dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from textual.command import CommandPalette
from textual.widgets import Input

from tests.tui.fake_feed import FakeFeed
from tests.tui.running import Running, running
from tests.tui.test_library import COVERED
from tui import asks, keys
from tui.asks import AskFailed
from tui.screens.dialogs import Approval, PlanView, StageChoice, Withdrawal
from tui.screens.help import HelpView
from tui.screens.lists import ListScreen
from tui.screens.people import WhichPicture
from tui.screens.photos import PhotosView
from tui.screens.picture import PictureView
from tui.state import Ended, ListArrived, Lost
from tui.widgets.table import VirtualTable

if TYPE_CHECKING:
    from collections.abc import Callable

# One to three seconds each; the limit is for machines that do much else.
pytestmark = pytest.mark.timeout(60)

FIRST_BATCH, SECOND_BATCH = "2025-01-batch-12", "2025-02-batch-1"


class Case(NamedTuple):
    """Keys to press first, and what holds after the key."""

    first: tuple[str, ...]
    holds: Callable[[Running], object]


def at(number: int) -> Callable[[Running], object]:
    return lambda d: table(d).position == number and table(d).selected is not None


def table(dashboard: Running) -> VirtualTable:
    screen = dashboard.app.current
    assert isinstance(screen, ListScreen)
    return screen.table


def asked(*expected: asks.Ask) -> Callable[[Running], object]:
    return lambda d: d.feed.asked == list(expected)


def mode(name: str) -> Callable[[Running], object]:
    return lambda d: d.app.current_mode == name


def showing(screen: type) -> Callable[[Running], object]:
    return lambda d: isinstance(d.app.screen, screen)


FAILED = ("j-101", "j-102", "j-103")
CASES: dict[tuple[str, str], Case] = {
    ("all", "mode_overview"): Case(("2",), mode("overview")),
    **{("all", f"mode_{m.name}"): Case((), mode(m.name)) for m in keys.MODES[1:]},
    ("all", "problem"): Case((), mode("guards")),
    ("all", "refresh"): Case((), lambda d: d.feed.refreshed == 1),
    ("all", "back"): Case(("2",), mode("overview")),
    ("all", "help"): Case((), showing(HelpView)),
    ("all", "palette"): Case((), showing(CommandPalette)),
    ("all", "theme"): Case((), lambda d: d.app.theme == "syncd-light"),
    ("all", "detach"): Case((), lambda d: d.app.return_code == 0),
    ("move", "cursor_up"): Case(("2", "G"), at(12)),
    ("move", "cursor_down"): Case(("2",), at(1)),
    ("move", "page_up"): Case(("3", "G"), lambda d: table(d).position == 39 - table(d).page),
    ("move", "page_down"): Case(("3",), lambda d: table(d).position == table(d).page),
    ("move", "first"): Case(("2", "G"), at(0)),
    ("move", "last"): Case(("2",), at(13)),
    ("list", "filter"): Case(("2",), lambda d: isinstance(d.app.focused, Input) and d.app.focused.display),
    ("list", "order"): Case(("2",), lambda d: table(d).ordered_by == "Failed"),
    ("list", "copy"): Case(("2",), lambda d: d.app.clipboard == FIRST_BATCH),
    ("overview", "open"): Case((), mode("guards")),
    ("overview", "pause"): Case(("tab",), asked(asks.Pause("site"))),
    ("overview", "sync"): Case((), asked(asks.StartSync())),
    ("overview", "copy"): Case((), lambda d: "2025-04-batch-3 vanished" in d.app.clipboard),
    ("batches", "open"): Case(
        ("2",), lambda d: d.app.current_mode == "scenes" and d.feed.interest.scenes == (FIRST_BATCH, "")
    ),
    ("batches", "public"): Case(("2",), asked(asks.SetPublic(FIRST_BATCH, True))),
    ("batches", "source"): Case(("2",), showing(StageChoice)),
    ("batches", "sync"): Case(("2", "j"), asked(asks.StartSync(SECOND_BATCH))),
    ("batches", "dry_run"): Case(("2",), showing(PlanView)),
    ("scenes", "open"): Case(("3",), showing(PictureView)),
    ("scenes", "stage_next"): Case(("3",), lambda d: d.app.current.stage == 0),
    ("scenes", "stage_previous"): Case(("3",), lambda d: d.app.current.stage == 1),
    ("scenes", "live_only"): Case(("3",), lambda d: d.feed.interest.live_only and len(table(d).rows) == 36),
    ("events", "open"): Case(("4",), showing(PhotosView)),
    ("events", "auto_sync"): Case(("4",), asked(asks.SetAutoSync("cup-final", False))),
    ("events", "find"): Case(("4",), showing(WhichPicture)),
    ("events", "sync"): Case(("4", "j"), asked(asks.SyncEvent("gala-2026"))),
    ("events", "rarer"): Case(("4",), asked(asks.SetInterval("cup-final", 5))),
    ("events", "sooner"): Case(("4",), asked(asks.SetInterval("cup-final", 1))),
    ("events", "forget"): Case(("4",), showing(WhichPicture)),
    ("events", "read_down"): Case(("4",), lambda d: d.app.current.query_one("#failed").position > 0),
    ("events", "read_up"): Case(("4", "J"), lambda d: d.app.current.query_one("#failed").position == 0),
    ("jobs", "mark"): Case(("8",), lambda d: table(d).marks == {"j-101"} and table(d).position == 1),
    ("jobs", "retry"): Case(("8",), asked(asks.RetryJobs(("j-101",)))),
    ("jobs", "retry_all"): Case(("8",), asked(asks.RetryFailed())),
    ("jobs", "cancel"): Case(("8", "j", "j", "j"), asked(asks.CancelJob("j-104"))),
    ("guards", "open"): Case(("9",), showing(Approval)),
    ("guards", "read_down"): Case(("9",), lambda d: d.app.current.query_one("#plan").position > 5),
    ("guards", "read_up"): Case(("9", "J"), lambda d: d.app.current.query_one("#plan").position == 0),
    ("activity", "pause"): Case(("0",), lambda d: not d.app.current.following),
}
PRESSES = [
    (key.scope, key.action, key.keys.split(",")[0]) for key in keys.KEYS if (key.scope, key.action) in CASES
]


def test_every_key_of_the_table_has_its_case() -> None:
    assert {(key.scope, key.action) for key in keys.KEYS} == CASES.keys() | COVERED


@pytest.mark.parametrize(("scope", "action", "name"), PRESSES, ids=lambda part: str(part))
async def test_the_key_does_what_it_says(scope: str, action: str, name: str) -> None:
    first, holds = CASES[scope, action]
    async with running() as dashboard:
        await dashboard.press(*first)
        assert not holds(dashboard), "it held before the key was pressed"
        await dashboard.press(name)
        assert holds(dashboard)


def test_one_grammar_on_every_screen() -> None:
    """The keys that every list shares mean the same wherever they work."""
    shared = {
        "/": "filter",
        "?": "help",
        ":": "palette",
        "!": "problem",
        "q": "detach",
        "y": "copy",
        "S": "sync",
    }
    fixed = {
        "esc": {"back"},
        "enter": {"open"},
        "r": {"refresh", "retry", "reject"},
        "space": {"public", "mark", "auto_sync"},
    }
    for mode_ in (*keys.MODES, *keys.INNER):
        names: dict[str, str] = {}
        for key in keys.keys_for(mode_.name):
            for name in key.keys.split(","):
                assert name not in names, f"{name} is bound twice on {mode_.name}"
                names[name] = key.action
            assert shared.get(key.shown, key.action) == key.action
            assert key.action in fixed.get(key.shown, {key.action})
        moves = {name for key in keys.KEYS if key.scope == "move" for name in key.keys.split(",")}
        assert not moves & names.keys()


async def test_footer_shows_only_what_does_something() -> None:
    async with running() as dashboard:
        await dashboard.press("8")
        assert "r retry" in dashboard.text()
        await dashboard.press("G")  # a job that is done
        footer = dashboard.text().splitlines()[-1]
        assert "r retry" not in footer.replace("R retry all", "")
        assert "c cancel" not in footer
        await dashboard.press("c")
        assert dashboard.app.state.flash is not None
        assert "nothing to cancel" in dashboard.app.state.flash.text
        assert dashboard.feed.asked == []


async def test_a_withdrawal_shows_what_goes_and_waits_for_a_yes() -> None:
    async with running() as dashboard:
        await dashboard.press("2", "j", "space")
        assert isinstance(dashboard.app.screen, Withdrawal)
        assert "156 scenes go from the public site" in dashboard.text()
        await dashboard.press("space")
        assert isinstance(dashboard.app.screen, Withdrawal), "the key that opened it does nothing"
        await dashboard.press("down", "down", "pagedown")
        assert dashboard.app.screen.query_one("#plan", VirtualTable).position > 5, "it can be read to its end"
        await dashboard.press("enter")  # Cancel has the focus
        assert not isinstance(dashboard.app.screen, Withdrawal)
        assert dashboard.feed.asked == []
        await dashboard.press("space", "tab", "enter")
        assert dashboard.feed.asked == [asks.SetPublic(SECOND_BATCH, False)]


async def test_a_guard_is_approved_by_typing_its_count() -> None:
    async with running() as dashboard:
        await dashboard.press("9", "enter", "2", "1", "3", "enter")
        assert isinstance(dashboard.app.screen, Approval), "a wrong count does nothing"
        await dashboard.press("backspace", "4", "enter")
        assert dashboard.feed.asked == [asks.Approve("g-17")]


async def test_enter_alone_never_approves() -> None:
    async with running() as dashboard:
        await dashboard.press("9", "enter", "enter")
        assert dashboard.feed.asked == []
        await dashboard.press("enter", "tab", "enter", "a", "escape")
        assert dashboard.feed.asked == []
        assert not isinstance(dashboard.app.screen, Approval)


async def test_a_plan_that_changes_under_the_dialog_is_shown_anew() -> None:
    from tests.tui.fake_feed import NOW, guard
    from tui.state import Keyed

    async with running() as dashboard:
        await dashboard.press("9", "enter", "2", "1", "4")
        dashboard.feed.send(ListArrived("guards", NOW, (Keyed("g-17", guard(300)),)))
        await dashboard.settled()
        assert "Type 300 to approve" in dashboard.text()
        await dashboard.press("enter")
        assert dashboard.feed.asked == []
        await dashboard.press("enter", "2", "1", "4")
        dashboard.feed.send(ListArrived("guards", NOW, ()))
        await dashboard.settled()
        assert not isinstance(dashboard.app.screen, Approval)
        assert dashboard.feed.asked == []


async def test_the_stage_is_chosen_from_those_there_are() -> None:
    async with running() as dashboard:
        await dashboard.press("2", "s", "j", "enter")
        assert dashboard.feed.asked == [asks.SetSource(FIRST_BATCH, "initial_scan")]
        await dashboard.press("s", "g", "enter")
        assert dashboard.feed.asked[1:] == [asks.SetSource(FIRST_BATCH, None)]
        await dashboard.press("s", "enter")
        assert len(dashboard.feed.asked) == 2, "the stage that it has already changes nothing"


async def test_marked_jobs_are_retried_together() -> None:
    async with running() as dashboard:
        await dashboard.press("8", "space", "space", "G", "r")
        assert dashboard.feed.asked == [asks.RetryJobs(("j-101", "j-102"))]
        assert not table(dashboard).marks


async def test_escape_clears_filter_then_marks_then_leaves_and_never_quits() -> None:
    async with running() as dashboard:
        await dashboard.press("8", "space", "slash", "u", "p", "enter")
        screen = dashboard.app.current
        assert isinstance(screen, ListScreen)
        await dashboard.press("escape")
        assert (screen.words, table(dashboard).marks) == ("", {"j-101"})
        await dashboard.press("escape")
        assert not table(dashboard).marks
        await dashboard.press("escape", "escape", "escape")
        assert dashboard.app.current_mode == "overview"
        assert dashboard.app.return_code is None


async def test_an_action_shows_that_it_is_on_its_way_and_changes_nothing_before_the_reply() -> None:
    import anyio

    async with running() as dashboard:
        await dashboard.press("2")
        dashboard.feed.answered = anyio.Event()
        await dashboard.press("space")
        row = next(line for line in dashboard.text().splitlines() if FIRST_BATCH in line)
        assert "…" in row
        assert "private" in row
        dashboard.feed.answered.set()
        await dashboard.settled()
        assert not dashboard.app.state.busy
        assert "done: SetPublic" in dashboard.text()


async def test_a_refusal_is_said_with_its_hint() -> None:
    feed = FakeFeed()
    feed.refuse = AskFailed("there is no such batch", "look at `syncctl batches list`")
    async with running(feed=feed) as dashboard:
        await dashboard.press("2", "space")
        assert "there is no such batch; look at `syncctl batches list`" in dashboard.text()
        assert "private" in next(line for line in dashboard.text().splitlines() if FIRST_BATCH in line)


async def test_nothing_can_be_changed_while_the_daemon_is_gone() -> None:
    async with running() as dashboard:
        await dashboard.press("2")
        dashboard.feed.send(Lost(1, "hung up"))
        await dashboard.settled()
        assert "space public" not in dashboard.text()
        await dashboard.press("space")
        assert dashboard.feed.asked == []
        assert "not connected" in dashboard.text()


async def test_who_may_only_look_sees_so() -> None:
    from tests.tui.fake_feed import status

    feed = FakeFeed()
    feed.status = status(access="read")
    async with running(feed=feed) as dashboard:
        assert "read-only" in dashboard.text()
        await dashboard.press("2", "space")
        assert dashboard.feed.asked == []
        assert "you may only look" in dashboard.text()


async def test_the_palette_finds_batches_and_commands() -> None:
    async with running() as dashboard:
        await dashboard.press("2", "colon")
        for letter in "2025-08":
            await dashboard.pilot.press("minus" if letter == "-" else letter)
        await dashboard.pilot.pause(0.3)
        await dashboard.press("enter")
        await dashboard.pilot.pause(0.2)
        await dashboard.settled()
        assert dashboard.app.current_mode == "scenes"
        assert dashboard.feed.interest.scenes == ("2025-08-batch-7", "")


async def test_the_mouse_selects_opens_and_goes() -> None:
    async with running() as dashboard:
        await dashboard.pilot.click("#tabs", offset=(17, 0))
        await dashboard.settled()
        assert dashboard.app.current_mode == "batches"
        await dashboard.pilot.click("#table", offset=(5, 3))
        await dashboard.settled()
        assert table(dashboard).cursor == "2025-02-batch-13"
        await dashboard.pilot.click("#table", offset=(5, 3), times=2)
        await dashboard.settled()
        assert dashboard.app.current_mode == "scenes"


async def test_activity_is_held_while_one_reads_and_says_what_came() -> None:
    from tests.tui.fake_feed import activity
    from tui.state import ActivityArrived

    async with running() as dashboard:
        await dashboard.press("0", "k", "k")
        place = table(dashboard).cursor
        dashboard.feed.send(ActivityArrived(tuple(activity(63)[60:])))
        await dashboard.settled()
        assert table(dashboard).cursor == place
        assert "3 new below" in dashboard.text()
        await dashboard.press("G")
        assert "following" in dashboard.text()
        dashboard.feed.send(ActivityArrived(tuple(activity(64)[63:])))
        await dashboard.settled()
        assert table(dashboard).cursor == "64"


async def test_hidden_screens_show_the_newest_when_they_come_back() -> None:
    async with running() as dashboard:
        await dashboard.press("2", "1")
        rows = dashboard.feed.lists["batches"][:3]
        dashboard.feed.lists["batches"] = rows
        await dashboard.press("2")
        assert len(table(dashboard).rows) == 3


async def test_only_what_is_seen_is_asked_for() -> None:
    wanted = {}
    async with running() as dashboard:
        for mode_ in keys.MODES:
            await dashboard.press(mode_.key)
            wanted[mode_.name] = set(dashboard.feed.interest.lists)
    assert wanted == {
        "overview": {"guards"}, "batches": {"batches"}, "scenes": {"scenes", "batches"}, "jobs": {"jobs"},
        "events": {"events"}, "guards": {"guards"}, "activity": set(), "library": {"albums"},
        "names": {"names"}, "exchange": {"exchanges", "jobs"},
    }  # fmt: skip


async def test_replies_after_leaving_do_no_harm() -> None:
    async with running() as dashboard:
        dashboard.feed.send(Ended("nobody", "late"))
        await dashboard.settled()
        assert "late" in dashboard.text()
