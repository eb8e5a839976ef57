"""Library, review, names and exchange: each of their keys, on one dashboard a screen, and how they look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from textual.widgets import Input

from tests.tui import fake_library
from tests.tui.fake_feed import NOW, FakeFeed, jobs, status
from tests.tui.running import Running, running
from tests.tui.test_screens import SIZES, hold_to
from tui import keys
from tui.asks import AskFailed
from tui.asks_exchange import Analyze, CleanList, Export, Import, VerifyList
from tui.asks_library import (
    ApplyNames,
    ApproveShots,
    EditShot,
    HintName,
    SetStatus,
    SyncAlbum,
    SyncLibrary,
    UndoNames,
)
from tui.screens.help import help_lines
from tui.screens.picture import LibraryPicture, SharedPicture
from tui.screens.questions import EditWords, Question, WhichWords, listed
from tui.state import Keyed, ListArrived
from tui.widgets.lines import fit_end, fit_spans, folded, width_of
from tui.words import marked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.screens.lists import ListScreen

# One to three seconds each; the limit is for machines that do much else.
pytestmark = pytest.mark.timeout(60)


class Step(NamedTuple):
    """`key` is pressed after `first`; then `holds`; then `after` leads back."""

    action: str
    key: str
    holds: Callable[[Running], object]
    first: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def screen(dashboard: Running) -> ListScreen:
    shown: Any = dashboard.app.current
    return shown


def last(*expected: Any) -> Callable[[Running], object]:
    return lambda d: d.feed.asked[-len(expected) :] == list(expected)


def mode(name: str) -> Callable[[Running], object]:
    return lambda d: d.app.current_mode == name


def showing(kind: type) -> Callable[[Running], object]:
    return lambda d: isinstance(d.app.screen, kind)


def marks(*wanted: str) -> Callable[[Running], object]:
    return lambda d: screen(d).table.marks == set(wanted)


YES = ("tab", "enter")


async def typed(dashboard: Running, text: str, *more: str) -> None:
    """Pastes, `enter`, and then more keys one by one."""
    field = dashboard.app.focused
    assert isinstance(field, Input)
    field.insert_text_at_cursor(text)
    await dashboard.press("enter", *more)


JOURNEYS: dict[str, tuple[tuple[str, ...], list[Step]]] = {
    "library": (
        ("5",),
        [
            Step("open", "enter", mode("photos"), after=("escape",)),
            Step("review", "v", mode("review"), after=("escape",)),
            Step("find", "f", showing(WhichWords), after=("escape",)),
            Step("meaning", "m", showing(WhichWords), after=("escape",)),
            Step("sync", "S", last(SyncLibrary())),
            Step("sync_all", "F", last(SyncLibrary(full=True))),
            Step("sync_album", "s", last(SyncAlbum("Key002")), first=("j",)),
        ],
    ),
    "photos": (
        ("5", "enter"),
        [
            Step("open", "enter", showing(LibraryPicture), after=("escape",)),
            Step("edit", "e", showing(EditWords), after=("escape",)),
            Step("mark", "space", marks("1001"), after=("escape",)),
            Step("find", "f", showing(WhichWords), after=("escape",)),
            Step("meaning", "m", showing(WhichWords), after=("escape",)),
            Step(
                "approve", "a", last(ApproveShots((1,))), first=("f", "x", "enter"),
            ),
        ],
    ),
    "review": (
        ("5", "v"),
        [
            Step("open", "enter", showing(LibraryPicture), after=("escape",)),
            Step("edit", "e", showing(EditWords), after=("escape",)),
            Step("mark", "space", marks("1"), first=("g",), after=("escape", "g")),
            Step("approve", "a", last(ApproveShots((1,)))),
            Step("reject", "r", last(SetStatus((2,), "rejected"))),
            Step("undo", "z", last(SetStatus((2,), "review"))),
            Step("again", "d", last(SetStatus((503,), "pending"))),
            Step("approve_all", "A", showing(Question), after=("escape",)),
            Step("next_status", "right", lambda d: d.feed.interest.review == ("failed", "")),
            Step("last_status", "left", lambda d: d.feed.interest.review == ("review", "")),
        ],
    ),
    "names": (
        ("6",),
        [
            Step("mark", "space", marks("Key001"), after=("escape", "g")),
            Step("apply", "a", showing(Question), after=("escape",)),
            Step("apply_all", "A", showing(Question), after=("escape",)),
            Step("hint", "e", showing(EditWords), after=("escape",)),
            Step("changes", "l", mode("changes")),
        ],
    ),
    "changes": (
        ("6", "l"),
        [
            Step("mark", "space", marks("9"), after=("escape", "g")),
            Step("undo", "z", showing(Question), after=("escape",)),
        ],
    ),
    "exchange": (
        ("7",),
        [
            Step("open", "enter", mode("files"), after=("escape",)),
            Step("analyze", "n", showing(WhichWords), after=("escape",)),
            Step("import", "i", showing(WhichWords), after=("escape",)),
            Step("export", "x", showing(WhichWords), after=("escape",)),
            Step("verify", "v", last(VerifyList("x-7f3a"))),
            Step("clean", "c", showing(Question), after=("escape",)),
        ],
    ),
    "files": (
        ("7", "enter"),
        [
            Step("open", "enter", showing(SharedPicture), after=("escape",)),
            Step("next_side", "right", lambda d: d.feed.interest.files == ("x-7f3a", "near")),
            Step("last_side", "left", lambda d: d.feed.interest.files == ("x-7f3a", "theirs")),
        ],
    ),
}  # fmt: skip
COVERED = {(scope, step.action) for scope, (_, steps) in JOURNEYS.items() for step in steps}


@pytest.mark.parametrize("scope", list(JOURNEYS))
async def test_the_keys_do_what_they_say(scope: str) -> None:
    first, steps = JOURNEYS[scope]
    async with running() as dashboard:
        await dashboard.press(*first)
        for step in steps:
            await dashboard.press(*step.first)
            assert not step.holds(dashboard), f"{step.action} held before its key was pressed"
            await dashboard.press(step.key)
            assert step.holds(dashboard), step.action
            await dashboard.press(*step.after)


@pytest.mark.parametrize("size", list(SIZES))
async def test_inner_screens_look_as_they_did(size: str) -> None:
    async with running(size=SIZES[size]) as dashboard:
        for name, presses in {
            "photos": ("5", "enter"),
            "review": ("5", "v", "j"),
            "changes": ("6", "l"),
            "files": ("7", "enter", "right"),
        }.items():
            await dashboard.press(*presses)
            hold_to(f"{name}-{size}-full", dashboard.text())


async def test_without_any_of_it_the_screens_say_what_to_do() -> None:
    async with running("empty") as dashboard:
        for presses, words in {
            ("5",): "syncctl auth smugmug",
            ("5", "v"): "Nothing waits for you",
            ("6",): "syncctl auth smugmug",
            ("6", "l"): "Nothing was renamed yet",
            ("7",): "syncctl exchange analyze",
        }.items():
            await dashboard.press(*presses)
            assert words in dashboard.text(), presses


async def test_dialogs_look_as_they_did() -> None:
    async with running() as dashboard:
        for name, presses in {
            "rename": ("6", "j", "A"),
            "words": ("escape", "5", "v", "e"),
            "approve-all": ("escape", "A"),
            "find-words": ("escape", "5", "f"),
        }.items():
            await dashboard.press(*presses)
            hold_to(f"dialog-{name}", dashboard.text())


async def test_approving_goes_on_and_nothing_is_done_before_the_reply() -> None:
    async with running() as dashboard:
        await dashboard.press("5", "v", "a", "a")
        assert dashboard.feed.asked == [ApproveShots((1,)), ApproveShots((2,))]
        assert len(screen(dashboard).table.rows) == 24
        left = tuple(
            Keyed(str(shot.meta_id), shot) for shot in fake_library.shots() if shot.meta_id not in (1, 2)
        )
        dashboard.feed.send(ListArrived("review", NOW, left, ("review", "")))
        await dashboard.settled()
        await dashboard.press("a")
        # The third has no description: there is nothing to approve, and the cursor stays on it.
        assert len(dashboard.feed.asked) == 2
        assert "nothing to approve" in dashboard.text()


async def test_all_that_match_are_counted_and_just_those_approved() -> None:
    async with running() as dashboard:
        await dashboard.press("5", "v", "slash")
        await typed(dashboard, "trophy", "A")
        assert dashboard.feed.interest.review == ("review", "trophy")
        assert 'with "trophy"' in dashboard.text()
        ids = tuple(shot.meta_id for shot in fake_library.shots() if "trophy" in shot.description)
        assert f"Approve {len(ids)}?" in dashboard.text()
        await dashboard.press("enter")
        assert dashboard.feed.asked == [], "Cancel has the focus"
        await dashboard.press("A", *YES)
        assert dashboard.feed.asked == [ApproveShots(ids)]
        await dashboard.press("z")
        assert dashboard.feed.asked[-1] == SetStatus(ids, "review")


async def test_marked_photos_are_decided_together() -> None:
    async with running() as dashboard:
        await dashboard.press("5", "v", "space", "j", "space", "r")
        assert dashboard.feed.asked == [SetStatus((1, 503), "rejected")]
        assert screen(dashboard).table.marks == frozenset()


async def test_only_what_was_changed_is_sent() -> None:
    async with running() as dashboard:
        await dashboard.press("5", "v", "e")
        await dashboard.pilot.press(*"Now ")
        await dashboard.press("ctrl+s")
        says = fake_library.SAYS[1]
        assert dashboard.feed.asked == [EditShot(1, f"{says}Now", None, None)]
        await dashboard.press("e", "ctrl+s")
        assert "nothing was changed" in dashboard.text()
        await dashboard.press("e", "tab", *", run", "enter")
        assert dashboard.feed.asked[1:] == [EditShot(1, None, ("football", "run"), None)]
        await dashboard.press("e", "f7", "backspace", "ctrl+s")
        assert "cannot be empty" in dashboard.text()


async def test_photos_are_found_by_words_and_by_meaning() -> None:
    async with running() as dashboard:
        await dashboard.press("5", "m")
        await typed(dashboard, "joy")
        assert dashboard.feed.interest.photos == ("meaning", "joy")
        assert 'nearest to "joy"' in dashboard.text()
        assert [row.value.distance for row in screen(dashboard).table.rows[:2]] == [1 / 40, 2 / 40]
        await dashboard.press("f")
        await typed(dashboard, "cup")
        assert dashboard.feed.interest.photos == ("words", "cup")
        await dashboard.press("y", "escape")
        assert dashboard.app.clipboard == "https://club-photos.smugmug.com/i-1"
        assert dashboard.app.current_mode == "library"


async def test_names_are_applied_as_they_were_shown() -> None:
    async with running() as dashboard:
        await dashboard.press("6", "j", "space", "a")
        assert "Rename 1 album?" in dashboard.text()
        await dashboard.press("enter")
        assert dashboard.feed.asked == [], "Cancel has the focus"
        await dashboard.press("A", *YES)
        assert dashboard.feed.asked == [ApplyNames(("Key001", "Key002", "Key003"))]
        await dashboard.press("G", "a")
        assert "it has its name already" in dashboard.text()


async def test_hints_and_undoing() -> None:
    async with running() as dashboard:
        await dashboard.press("6", "e")
        await dashboard.pilot.press(*"Lions, Tigers", "tab", "tab", *"rugby")
        await dashboard.press("ctrl+s")
        assert dashboard.feed.asked == [HintName("Key001", ("Lions", "Tigers"), "", "rugby")]
        await dashboard.press("l", "space", "space", "j", "z")
        assert "Undo 2 changes?" in dashboard.text()
        await dashboard.press(*YES)
        assert dashboard.feed.asked[-1] == UndoNames((9, 8))
        await dashboard.press("g", "j", "j", "z")
        assert "never was renamed" in dashboard.text()


async def test_an_exchange_is_tried_before_it_is_done() -> None:
    async with running() as dashboard:
        await dashboard.press("7", "n")
        await typed(dashboard, "/nowhere")
        assert "/nowhere is no database" in dashboard.text()
        assert "name the file that the other sent" in dashboard.text()
        await dashboard.press("ctrl+u")
        await typed(dashboard, "/them")
        assert "They have 1,204 that you lack" in dashboard.text()
        assert dashboard.feed.asked == []
        await dashboard.press(*YES)
        assert dashboard.feed.tried == [Analyze("/nowhere"), Analyze("/them")]
        await dashboard.press("i")
        await typed(dashboard, "/in", *YES, "x")
        await typed(dashboard, "/list")
        await typed(dashboard, "/out", *YES, "c", *YES)
        assert dashboard.feed.asked == [
            Analyze("/them"), Import("x-7f3a", "/in"), Export("/list", "/out"), CleanList("x-7f3a"),
        ]  # fmt: skip
        await dashboard.press("j", "v")
        assert "nothing of it was imported yet" in dashboard.text()
        await dashboard.press("j", "i")
        assert "you give this list" in dashboard.text()


async def test_work_that_goes_on_is_seen_in_the_exchange() -> None:
    feed = FakeFeed()
    work = msgspec.structs.replace(jobs()[3], kind="exchange_import", subject="x-7f3a")
    feed.lists["jobs"] = (Keyed("j-1", work),)
    async with running(feed=feed) as dashboard:
        await dashboard.press("7")
        assert "import x-7f3a" in dashboard.text() and "312/540" in dashboard.text()


async def test_both_pictures_of_a_near_match_are_fetched() -> None:
    async with running() as dashboard:
        await dashboard.press("7", "enter", "right")
        assert dashboard.feed.event_previews == ["x-7f3a 1 theirs", "x-7f3a 1 near"]
        assert "the same picture, other bytes" in dashboard.text()
        await dashboard.press("left", "j", "j", "j", "j")
        assert "the file is not at hand" in dashboard.text()


async def test_each_side_shows_its_own_pictures() -> None:
    """Ids of the side `ours` are of another kind: asked for as theirs, they would show somebody else's."""
    async with running() as dashboard:
        await dashboard.press("7", "enter", "left", "j")
        assert dashboard.feed.event_previews[-1] == "x-7f3a 31 ours"
        await dashboard.press("enter")
        assert dashboard.feed.event_previews[-1] == "x-7f3a 31 ours"
        await dashboard.press("escape", "escape", "j", "j", "enter")
        assert "x-02bb  what they ask of you" in dashboard.text()
        await dashboard.press("right")
        assert "it has one side" in dashboard.text()


async def test_a_picture_that_could_not_be_had_is_asked_for_again_when_things_changed() -> None:
    async with running() as dashboard:
        await dashboard.press("7", "enter", "left")
        wanted = "x-7f3a 30 ours"
        asked = dashboard.feed.event_previews.count(wanted)
        assert asked == 1 and "the file is not at hand" in dashboard.text()
        dashboard.feed.answer()
        await dashboard.settled()
        assert dashboard.feed.event_previews.count(wanted) == asked + 1
        assert "the file is not at hand" in dashboard.text()


async def test_what_is_wrong_with_a_path_is_said_whole() -> None:
    async with running() as dashboard:
        await dashboard.press("7", "n")
        dashboard.feed.refuse = AskFailed(
            f"/{'very-' * 11}long.db cannot be opened: no such file or directory"
        )
        await typed(dashboard, "/nowhere")
        assert "or directory" in " ".join(dashboard.text().replace("│", " ").split())


async def test_inner_screens_have_their_help() -> None:
    for mode_ in (*keys.MODES, *keys.INNER):
        assert help_lines(mode_.name)[0] == ((mode_.title, "bold"),)
    async with running() as dashboard:
        await dashboard.press("5", "v", "question_mark")
        assert "Review of descriptions" in dashboard.text()


async def test_refusals_are_said_and_who_may_only_look_changes_nothing() -> None:
    feed = FakeFeed()
    feed.refuse = AskFailed("nobody has signed in to SmugMug", "sign in with `syncctl auth smugmug`")
    async with running(feed=feed) as dashboard:
        await dashboard.press("5", "S")
        assert "sign in with `syncctl auth smugmug`" in dashboard.text()
        feed.status = status(access="read")
        feed.talk()
        await dashboard.settled()
        asked = len(feed.asked)
        for presses in (("5", "S"), ("5", "v", "a"), ("6", "A"), ("7", "n")):
            await dashboard.press(*presses)
            assert "you may only look" in dashboard.text(), presses
        assert len(feed.asked) == asked


async def test_ascii_draws_with_ascii_only() -> None:
    async with running("empty", ascii=True) as dashboard:
        for mode_ in ("5", "6", "7"):
            await dashboard.press(mode_)
            assert dashboard.text().isascii()


# --- pure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "gone", "came"),
    [
        ("DSC upload 3", "Lions vs Tigers", "DSC upload 3", "Lions vs Tigers"),
        ("Gala Jun 2024", "Gala - Jun 2024", "", "-"),
        ("a b c", "b c d", "a", "d"),
        ("same", "same", "", ""),
        ("", "new name", "", "new name"),
        ("two  blanks", "two blanks", "", ""),
    ],
)
def test_the_words_that_differ_are_marked(old: str, new: str, gone: str, came: str) -> None:
    left, right = marked(old, new)
    assert ("".join(t for t, _ in left), "".join(t for t, _ in right)) == (old, new)
    assert " ".join(text for text, tone in left if tone == "gone") == gone
    assert " ".join(text for text, tone in right if tone == "new") == came


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("/a/b/name.jpg", 20, "/a/b/name.jpg"),
        ("/a/b/name.jpg", 9, "…name.jpg"),
        ("/夏祭り.jpg", 9, "…祭り.jpg"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_of_a_long_path_the_end_is_shown(path: str, width: int, shown: str) -> None:
    assert fit_end(path, width) == shown


@pytest.mark.parametrize("width", [1, 2, 3, 7, 12, 40])
def test_spans_fill_just_their_width(width: int) -> None:
    spans = (("東京 ", ""), ("家族写真", "gone"), (" x", "new"))
    assert width_of(fit_spans(spans, width)) == width
    assert all(width_of(line) <= max(width, 4) for line in folded(spans, width, indent="  "))


def test_lists_of_words() -> None:
    assert listed(" a, b c ,,d,") == ("a", "b c", "d")


def test_inner_screens_are_under_one_with_a_number() -> None:
    numbered = {mode_.name for mode_ in keys.MODES}
    assert {mode_.under for mode_ in keys.INNER} <= numbered
    assert not {mode_.name for mode_ in keys.INNER} & numbered
