"""The events screen: switching, finding people, forgetting them, and what arrives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest
from textual.widgets import Input

from syncd.control import schema
from tests.tui.fake_feed import NOW, FakeFeed, before, events, photos, status
from tests.tui.running import Running, running
from tests.tui.test_screens import hold_to
from tui import asks, look
from tui.arrivals import arrivals
from tui.asks import AskFailed, PhotoPage
from tui.screens.events import STEPS_MIN
from tui.screens.people import Forgetting, WhichPicture, path_of, read_picture
from tui.screens.photos import FoundView, PhotoPicture, PhotosView
from tui.screens.picture import Canvas
from tui.state import Keyed, ListArrived
from tui.widgets.picture import BOX, Pixels, boxed

if TYPE_CHECKING:
    from pathlib import Path

# One to three seconds each; the limit is for machines that do much else.
pytestmark = pytest.mark.timeout(60)


def rows(*changed: schema.Event) -> tuple[Keyed[Any], ...]:
    """The events of the fake daemon, with these in the place of their own."""
    new = {event.event_id: event for event in changed}
    return tuple(Keyed(event.event_id, new.get(event.event_id, event)) for event in events())


async def typed(dashboard: Running, text: str) -> None:
    """As a terminal pastes it, and `enter`: letter by letter a long path takes seconds."""
    field = dashboard.app.focused
    assert isinstance(field, Input)
    field.insert_text_at_cursor(text)
    await dashboard.press("enter")


def row_of(dashboard: Running, name: str) -> str:
    return next(line for line in dashboard.text().splitlines() if name in line)


async def test_a_switch_shows_nothing_as_done_before_the_reply() -> None:
    async with running() as dashboard:
        await dashboard.press("4", "j")
        dashboard.feed.answered = anyio.Event()
        await dashboard.press("space")
        assert "…[x] Gala 2026" in row_of(dashboard, "Gala 2026")
        await dashboard.press("plus")
        assert dashboard.feed.asked == [asks.SetAutoSync("gala-2026", False)]
        assert "on its way" in dashboard.text()
        dashboard.feed.answered.set()
        await dashboard.settled()
        assert " [x] Gala 2026" in row_of(dashboard, "Gala 2026")
        off = msgspec.structs.replace(events()[0], enabled=False, state="disabled")
        dashboard.feed.send(ListArrived("events", NOW, rows(off)))
        await dashboard.settled()
        assert "[ ] Gala 2026" in row_of(dashboard, "Gala 2026")


async def test_an_interval_is_changed_only_where_one_holds_and_within_its_ends() -> None:
    ends = [
        msgspec.structs.replace(events()[0], interval_minutes=STEPS_MIN[-1]),
        msgspec.structs.replace(events()[1], interval_minutes=STEPS_MIN[0]),
    ]
    async with running() as dashboard:
        dashboard.feed.lists["events"] = rows(*ends)
        await dashboard.press("4", "minus")
        assert "shortest" in dashboard.text()
        await dashboard.press("j", "plus")
        assert "no longer interval" in dashboard.text()
        await dashboard.press("j", "plus")
        assert "auto-sync is off" in dashboard.text()
        assert dashboard.feed.asked == []
        await dashboard.press("k", "minus")
        assert dashboard.feed.asked == [asks.SetInterval("gala-2026", 720)]


async def test_an_interval_of_its_own_steps_to_its_neighbours() -> None:
    odd = msgspec.structs.replace(events()[1], interval_minutes=7.5)
    async with running() as dashboard:
        dashboard.feed.lists["events"] = rows(odd)
        await dashboard.press("4", "plus", "minus")
        assert dashboard.feed.asked == [asks.SetInterval("cup-final", 10), asks.SetInterval("cup-final", 5)]


async def test_the_pane_says_what_failed_and_how_to_sign_in() -> None:
    async with running() as dashboard:
        await dashboard.press("4")
        assert "truncated JPEG: 3 of 9 blocks" in dashboard.text()
        await dashboard.press("j")
        assert "truncated JPEG" not in dashboard.text()
        assert "complete as of 7 min ago" in dashboard.text()
        await dashboard.press("j", "j")
        assert "y copies `syncctl auth drive`" in dashboard.text()
        await dashboard.press("y")
        assert dashboard.app.clipboard == "syncctl auth drive"


async def test_how_far_a_folder_is_brought_in_is_told_while_it_is() -> None:
    async with running() as dashboard:
        await dashboard.press("4", "j", "j", "j", "j")
        assert "syncing " in row_of(dashboard, "Summer Camp") and "%" not in row_of(dashboard, "Summer Camp")
        for photos, share in ((0, "0%"), (1204, "40%"), (3001, "99%")):
            camp = msgspec.structs.replace(events()[2], photos=photos, in_folder=3002, indexed=photos // 2)
            dashboard.feed.send(ListArrived("events", NOW, rows(camp)))
            await dashboard.settled()
            assert f"syncing {share}" in row_of(dashboard, "Summer Camp")
            assert f"{photos:,} of 3,002 photos are here" in dashboard.text()
        assert "1,500 searched for faces" in dashboard.text()
        done = msgspec.structs.replace(events()[2], state="idle", photos=3002, in_folder=3002)
        dashboard.feed.send(ListArrived("events", NOW, rows(done)))
        await dashboard.settled()
        assert "%" not in row_of(dashboard, "Summer Camp") and "photos are here" not in dashboard.text()


async def test_a_person_is_found_by_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "me.jpg"
    picture.write_bytes(b"face")
    async with running() as dashboard:
        await dashboard.press("4", "j", "f")
        await typed(dashboard, str(picture))
        await dashboard.settled()
        assert isinstance(dashboard.app.screen, FoundView)
        assert dashboard.feed.searched == [("gala-2026", b"face")]
        hold_to("dialog-found", dashboard.text())
        await dashboard.press("j")
        assert dashboard.feed.event_previews == ["p-1", "p-2"]
        assert "distance 0.320" in dashboard.text()
        await dashboard.press("y")
        assert dashboard.app.clipboard == "https://photos.example/events/gala-2026/p-2.jpg"
        await dashboard.press("enter")
        assert isinstance(dashboard.app.screen, PhotoPicture)
        await dashboard.press("escape", "escape")
        assert dashboard.app.screen is dashboard.app.current


async def test_what_is_wrong_with_a_picture_is_said_where_one_types(tmp_path: Path) -> None:
    landscape = tmp_path / "a.jpg"
    landscape.write_bytes(b"landscape")
    async with running() as dashboard:
        await dashboard.press("4", "f")
        await typed(dashboard, str(tmp_path / "none.jpg"))
        assert isinstance(dashboard.app.screen, WhichPicture)
        assert "No such file or directory" in dashboard.text()
        assert dashboard.feed.searched == []
        await dashboard.press(*["backspace"] * len("none.jpg"))
        await typed(dashboard, "a.jpg")
        assert "there is no face in the picture" in dashboard.text()
        assert "take one where the face is larger" in dashboard.text()
        await dashboard.press("escape")
        assert dashboard.app.screen is dashboard.app.current


async def test_a_person_is_forgotten_by_the_typed_word_alone(tmp_path: Path) -> None:
    pair, alone = tmp_path / "pair", tmp_path / "one"
    pair.write_bytes(b"pair")
    alone.write_bytes(b"face")
    async with running() as dashboard:
        await dashboard.press("4", "j", "D")
        await typed(dashboard, str(pair))
        assert "2 faces are on it" in dashboard.text()
        await dashboard.press(*["backspace"] * len("pair"))
        await typed(dashboard, "one")
        assert isinstance(dashboard.app.screen, Forgetting)
        hold_to("dialog-forget", dashboard.text())
        await dashboard.press("enter")
        assert not isinstance(dashboard.app.screen, Forgetting), "Cancel has the focus"
        await dashboard.press("D")
        await typed(dashboard, str(alone))
        await dashboard.press(*"forge", "enter", "D")
        assert isinstance(dashboard.app.screen, Forgetting)
        assert dashboard.feed.asked == []
        await dashboard.press("backspace", "t", "enter")
        assert dashboard.feed.asked == [asks.ForgetPerson("gala-2026", b"face")]


async def test_who_may_only_look_cannot_search() -> None:
    feed = FakeFeed()
    feed.status = status(access="read")
    async with running(feed=feed) as dashboard:
        await dashboard.press("4", "f")
        assert dashboard.app.screen is dashboard.app.current
        assert "you may only look" in dashboard.text()


async def test_photos_are_fetched_as_one_goes_down_and_again_when_there_are_more() -> None:
    async with running() as dashboard:
        await dashboard.press("4", "j", "enter")
        view = dashboard.app.screen
        assert isinstance(view, PhotosView)
        await dashboard.press("G")
        await dashboard.settled()
        assert len(view.table.rows) == 30
        held = view.table.cursor
        dashboard.feed.cursors.clear()
        more = msgspec.structs.replace(events()[0], photos=1205)
        dashboard.feed.send(ListArrived("events", NOW, rows(more)))
        await dashboard.settled()
        await dashboard.settled()
        assert dashboard.feed.cursors == [None, "p-20"], "as many as were at hand"
        assert view.table.cursor == held


async def test_a_photo_that_left_is_not_shown_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as dashboard:
        await dashboard.press("4", "j", "enter")
        view = dashboard.app.screen
        assert isinstance(view, PhotosView)

        async def fewer(event_id: str, cursor: str | None = None) -> PhotoPage:
            return PhotoPage(photos()[1:5])

        monkeypatch.setattr(dashboard.feed, "event_photos", fewer)
        less = msgspec.structs.replace(events()[0], photos=1200)
        dashboard.feed.send(ListArrived("events", NOW, rows(less)))
        await dashboard.settled()
        assert [row.key for row in view.table.rows] == ["p-2", "p-3", "p-4", "p-5"]
        assert view.table.selected is None, "nobody chose the row that moved up"
        assert view.query_one(Canvas).picture == []


async def test_without_pictures_the_facts_are_there() -> None:
    async with running(ascii=True) as dashboard:
        await dashboard.press("4", "j", "enter", "j")
        assert "2 faces" in dashboard.text()
        assert dashboard.text().isascii()
        await dashboard.press("enter")
        assert isinstance(dashboard.app.screen, PhotosView)
        assert dashboard.feed.event_previews == []


async def test_the_palette_finds_an_event() -> None:
    async with running() as dashboard:
        await dashboard.press("4", "1", "colon")
        await dashboard.pilot.press(*"Prom")
        await dashboard.pilot.pause(0.3)
        await dashboard.press("enter")
        await dashboard.pilot.pause(0.2)
        await dashboard.settled()
        assert dashboard.app.current_mode == "events"
        screen: Any = dashboard.app.current
        assert screen.table.cursor == "prom"


# --- pure -----------------------------------------------------------------------------------------


def test_boxes_are_drawn_where_the_faces_are() -> None:
    black = Pixels(30, 20, bytes(30 * 20 * 3))
    drawn = boxed(black, [(400, 2000, 1200, 1000)], (3000, 2000))
    yellow = {(n % 30, n // 30) for n in range(600) if drawn.data[n * 3 : n * 3 + 3] == BOX}
    outline = {(x, y) for x in (10, 20) for y in range(4, 13)} | {
        (x, y) for y in (4, 12) for x in range(10, 21)
    }
    assert yellow == outline


@pytest.mark.parametrize(
    "box", [(-50, 9000, 9000, -50), (1999, 2999, 1999, 2999), (0, 0, 0, 0), (500, 100, 100, 500)]
)
def test_no_box_leaves_the_picture(box: asks.Box) -> None:
    black = Pixels(31, 17, bytes(31 * 17 * 3))
    assert len(boxed(black, [box], (3000, 2000)).data) == len(black.data)
    assert boxed(black, [box], (0, 0)) is black


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0.5, "0.5 min"),
        (2, "2 min"),
        (2.0, "2 min"),
        (60, "1 h"),
        (90, "90 min"),
        (1440, "1 d"),
        (2160, "36 h"),
    ],
)
def test_intervals_are_words(minutes: float, words: str) -> None:
    assert look.interval(minutes) == words


def came(number: int, event: str, count: object, **ago: float) -> schema.ActivityItem:
    return schema.ActivityItem(
        id=number, at=before(**ago), kind="photos", service="drive", subject=event, message="new photos",
        data={"count": count},
    )  # fmt: skip


def test_arrivals_of_the_last_hour_are_counted_by_minute_and_event() -> None:
    found = arrivals(
        [
            came(1, "old", 50, minutes=61), came(2, "gala", 3, minutes=59, seconds=30),
            came(3, "cup", 4, seconds=61), came(4, "gala", 2, seconds=3), came(5, "cup", None, seconds=-5),
        ],
        NOW,
    )  # fmt: skip
    assert found.events == (("cup", 5), ("gala", 5))
    assert found.photos == 10
    assert (found.minutes[0], found.minutes[58], found.minutes[59]) == (3, 4, 3)
    assert sum(found.minutes) == 10


@pytest.mark.parametrize(
    "typed_path", ["{}", "'{}'", '"{}"', " {} ", "file://{}", "{escaped}", "file://{quoted}"]
)
def test_a_path_is_taken_as_terminals_paste_it(tmp_path: Path, typed_path: str) -> None:
    file = tmp_path / "my face.jpg"
    file.write_bytes(b"x")
    name = str(file)
    words = typed_path.format(name, escaped=name.replace(" ", "\\ "), quoted=name.replace(" ", "%20"))
    assert path_of(words) == file
    assert read_picture(words) == b"x"


def test_a_name_with_a_backslash_is_that_file(tmp_path: Path) -> None:
    file = tmp_path / "a\\b"
    file.write_bytes(b"y")
    assert read_picture(str(file)) == b"y"


def test_what_is_not_a_picture_file_is_refused_in_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(65 << 20)
    for name, word in {
        "pipe": "not a file", "empty": "empty", "huge": "64 MB", "none": "No such file", "": "directory",
        "a\x1bb": "\\x1b",
    }.items():  # fmt: skip
        with pytest.raises(AskFailed, match=word.replace("\\", "\\\\")) as refused:
            read_picture(f"{tmp_path}/{name}")
        assert refused.value.detail.isprintable()
