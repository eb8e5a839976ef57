"""The feed against a real control server on a real socket."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from syncd.control import schema
from syncd.control.server import ControlServer
from tests.control.conftest import serving
from tests.control.memory_api import MemoryApi, item
from tests.control.memory_events import event
from tests.tui.running import running
from tui import asks
from tui.asks import AskFailed, Interest
from tui.clean import clean
from tui.feed import DaemonFeed
from tui.state import State, reduce

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tui.state import Event

ESCAPE, MARKUP, BIDI = "\x1b[31mred\x07", "file[/b].jpg", "abc\u202egpj.exe"
HOSTILE = (ESCAPE, MARKUP, BIDI, "new\nline", "[bold]x", "\x9b2J", "tail\\")


class Site(MemoryApi):
    """A daemon whose log can lose ids, start anew, and hold hostile names."""

    def __init__(self) -> None:
        super().__init__()
        self.patched: list[tuple[str, schema.BatchPatch]] = []
        self.calls: dict[str, int] = {}

    def counted(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1

    async def status(self) -> schema.Status:
        self.counted("status")
        plain = await super().status()
        return msgspec.structs.replace(plain, last_activity_id=self.items[-1].id if self.items else 0)

    async def activity(self, since: int, limit: int) -> schema.ActivityPage:
        found = [entry for entry in self.items if entry.id > since][:limit]
        return schema.ActivityPage(items=found, last_id=self.items[-1].id if self.items else 0)

    async def follow_activity(self, since: int) -> AsyncIterator[schema.ActivityItem]:
        self.followers += 1
        try:
            while True:
                grown = self.grown
                for entry in [entry for entry in self.items if entry.id > since]:
                    since = entry.id
                    yield entry
                await grown.wait()
        finally:
            self.followers -= 1

    async def batches(self, limit: int, cursor: str | None) -> schema.BatchPage:
        self.counted("batches")
        return await super().batches(limit, cursor)

    async def scenes(
        self, batch: str | None, live: bool | None, query: str | None, limit: int, cursor: str | None
    ) -> schema.ScenePage:
        self.counted("scenes")
        whole = await super().scenes(batch, live, query, 1_000_000, None)
        after = [row for row in whole.items if cursor is None or row.scene_id > cursor]
        more = len(after) > limit
        return schema.ScenePage(items=after[:limit], next_cursor=after[limit - 1].scene_id if more else None)

    async def patch_batch(self, name: str, patch: schema.BatchPatch) -> schema.Batch:
        self.patched.append((name, patch))
        return await super().patch_batch(name, patch)

    def log(self, *numbers: int) -> None:
        self.items += [item(number) for number in numbers]
        self.grown.set()
        self.grown = anyio.Event()

    def hold(self, names: tuple[str, ...]) -> None:
        """These names everywhere."""
        example = next(iter(self.batch_rows.values()))
        self.batch_rows = {name: msgspec.structs.replace(example, name=name) for name in names}
        self.scene_rows = [
            msgspec.structs.replace(row, scene_id=f"{name}-1", batch_name=name, base_filename=name)
            for name in names
            for row in self.scene_rows[:1]
        ]
        self.items = [
            msgspec.structs.replace(item(number), subject=name, message=f"did {name}", kind=name[:9])
            for number, name in enumerate(names, 1)
        ]
        self.events.rows = {
            name: event(name, name, last_error=name, account=name, drive_folder_id=name) for name in names
        }
        self.job_rows = {
            name: msgspec.structs.replace(
                next(iter(self.job_rows.values())), id=name, subject=name, error=name
            )
            for name in names
        }


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="syncd-") as name:
        yield Path(name, "run", "s.sock")


class Followed:
    """The state as the feed makes it."""

    def __init__(self, feed: DaemonFeed) -> None:
        self.feed = feed
        self.state = State()
        self.events: list[Event] = []
        self._changed = anyio.Event()

    def send(self, event: Event) -> None:
        self.events.append(event)
        self.state, _ = reduce(self.state, event)
        self._changed.set()

    async def until(self, holds: Callable[[State], Any]) -> State:
        with anyio.fail_after(10):
            while not holds(self.state):
                self._changed = anyio.Event()
                await self._changed.wait()
        return self.state


@asynccontextmanager
async def following(socket_path: Path) -> AsyncIterator[Followed]:
    followed = Followed(DaemonFeed(socket_path))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(followed.feed.run, followed.send)
        yield followed
        tasks.cancel_scope.cancel()


async def test_a_snapshot_and_then_the_stream(socket_path: Path) -> None:
    api = Site()
    async with serving(ControlServer(api, socket_path)), following(socket_path) as followed:
        state = await followed.until(lambda s: s.live and s.last_id == 5)
        assert [entry.id for entry in state.activity] == [1, 2, 3, 4, 5]
        api.log(6, 7)
        state = await followed.until(lambda s: s.last_id == 7)
        assert [entry.id for entry in state.activity] == list(range(1, 8))
        assert state.flash is None


async def test_no_daemon_then_one_then_none_then_one_again(socket_path: Path) -> None:
    api = Site()
    async with following(socket_path) as followed:
        state = await followed.until(lambda s: s.link.phase == "absent" and s.link.retry_at)
        assert "there is no such socket" in state.link.error
        assert state.link.hint
        async with serving(ControlServer(api, socket_path)):
            await followed.until(lambda s: s.live and s.last_id == 5)
        state = await followed.until(lambda s: s.link.phase == "lost" and s.link.retry_at)
        assert state.status is not None, "what was seen stays"
        api.log(6, 7, 8)
        followed.feed.refresh()
        async with serving(ControlServer(api, socket_path)):
            followed.feed.refresh()
            state = await followed.until(lambda s: s.live and s.last_id == 8)
            assert [entry.id for entry in state.activity] == list(range(1, 9)), "nothing was lost or doubled"
            assert state.flash is not None
            assert state.flash.text == "connected again"


async def test_a_gap_is_filled_from_the_log_and_said(socket_path: Path) -> None:
    api = Site()
    async with serving(ControlServer(api, socket_path)), following(socket_path) as followed:
        await followed.until(lambda s: s.last_id == 5)
        api.log(20)
        state = await followed.until(lambda s: s.last_id == 20)
        assert state.flash is not None
        assert state.flash.text == "resynced, 14 missed"
        assert state.live
        api.log(21)
        await followed.until(lambda s: s.last_id == 21)


async def test_a_log_that_starts_anew_is_taken_up(socket_path: Path) -> None:
    api = Site()
    async with following(socket_path) as followed:
        async with serving(ControlServer(api, socket_path)):
            await followed.until(lambda s: s.last_id == 5)
        await followed.until(lambda s: s.link.phase == "lost")
        api.items = []
        api.log(1, 2)
        async with serving(ControlServer(api, socket_path)):
            state = await followed.until(lambda s: s.live and s.last_id == 2)
            assert [entry.id for entry in state.activity] == [1, 2]


async def test_only_what_is_looked_at_is_asked_for_and_again_when_something_happens(
    socket_path: Path,
) -> None:
    api = Site()
    async with serving(ControlServer(api, socket_path)), following(socket_path) as followed:
        await followed.until(lambda s: s.live)
        await anyio.sleep(0.1)
        assert "batches" not in api.calls
        followed.feed.look(Interest(lists=frozenset({"batches"})))
        await followed.until(lambda s: s.batches.at is not None)
        asked = api.calls["batches"]
        api.log(6)
        with anyio.fail_after(3):
            while api.calls["batches"] == asked:
                await anyio.sleep(0.02)


async def test_asks_reach_the_daemon_by_the_raw_name(socket_path: Path) -> None:
    api = Site()
    api.hold(HOSTILE)
    async with serving(ControlServer(api, socket_path)), following(socket_path) as followed:
        followed.feed.look(Interest(lists=frozenset({"batches"})))
        state = await followed.until(lambda s: s.batches.items)
        assert {row.key for row in state.batches.items} == set(HOSTILE)
        for row in state.batches.items:
            said = await followed.feed.do(asks.SetPublic(row.key, True))
            assert said.isprintable()
        assert {name for name, _ in api.patched} == set(HOSTILE)


async def test_of_a_long_list_only_the_page_that_is_looked_at_is_asked_for_again(socket_path: Path) -> None:
    api = Site()
    example = api.scene_rows[0]

    def row(number: int) -> schema.Scene:
        return msgspec.structs.replace(example, scene_id=f"roll-{number:05}", base_filename=str(number))

    api.scene_rows = [row(number) for number in range(0, 2000, 2)]
    lists: Any = frozenset({"scenes"})
    async with serving(ControlServer(api, socket_path)), following(socket_path) as followed:
        followed.feed.look(Interest(lists=lists, scenes=("roll", ""), wanted=400))
        state = await followed.until(lambda s: len(s.scenes.items) == 400)
        assert state.scenes.more
        followed.feed.look(Interest(lists=lists, scenes=("roll", ""), wanted=900, place=500))
        await followed.until(lambda s: len(s.scenes.items) == 1000)
        await anyio.sleep(0.1)
        asked = api.calls["scenes"]
        api.scene_rows.insert(251, row(501))
        followed.feed.look(Interest(lists=lists, scenes=("roll", ""), wanted=900, place=200))
        state = await followed.until(lambda s: any(item.key == "roll-00501" for item in s.scenes.items))
        ids = [item.key for item in state.scenes.items]
        assert ids == sorted(set(ids)), "no row is lost or doubled"
        assert api.calls["scenes"] - asked <= 5
        await anyio.sleep(0.2)
        asked = api.calls["scenes"]
        followed.feed.refresh()
        with anyio.fail_after(5):
            while api.calls["scenes"] == asked:
                await anyio.sleep(0.02)
        await anyio.sleep(0.2)
        assert api.calls["scenes"] == asked + 1


async def test_an_answer_of_another_version_does_not_end_the_dashboard(socket_path: Path) -> None:
    class Newer(Site):
        async def status(self) -> schema.Status:
            plain = await super().status()
            service = schema.ServiceStatus(name="x", state="dreaming", since="now")  # type: ignore[arg-type]
            return msgspec.structs.replace(plain, services=[service])

    async with serving(ControlServer(Newer(), socket_path)), following(socket_path) as followed:
        state = await followed.until(lambda s: s.link.phase == "absent")
        assert "dreaming" in f"{state.link.error} {state.link.hint}"


async def test_events_and_who_is_on_their_photos(socket_path: Path) -> None:
    api, feed = Site(), DaemonFeed(socket_path)
    async with serving(ControlServer(api, socket_path)), following(socket_path) as followed:
        followed.feed.look(Interest(lists=frozenset({"events"})))
        state = await followed.until(lambda s: s.events.items)
        ((key, shown),) = state.events.items
        assert (key, shown.name, shown.photos) == ("wedding", "Wedding\\x1b[2J", 1234)

        page = await feed.event_photos(key)
        ((photo_id, photo),) = page.rows
        assert (photo.boxes, photo.size, page.next_cursor) == (((1, 20, 30, 4),), (6000, 4000), None)
        found = await feed.find_person(key, b"face")
        assert (found.faces, found.more) == (2, False)
        assert {row.value.name for row in found.rows} == {"a\\x1b.jpg"}
        assert await feed.event_preview(photo_id, 40, 30) == b"event rgb 40x30"
        with pytest.raises(AskFailed) as nobody:
            await feed.find_person(key, b"landscape")
        assert "face is larger" in nobody.value.hint

        await feed.do(asks.SetInterval(key, 5))
        assert (api.events.rows[key].enabled, api.events.rows[key].interval_minutes) == (True, 5)
        await feed.do(asks.SetAutoSync(key, False))
        await feed.do(asks.SetAutoSync(key, True))
        assert api.events.rows[key].interval_minutes == 5, "it keeps the interval that it had"
        await feed.do(asks.SetAutoSync(key, False))
        assert not api.events.rows[key].enabled
        said = await feed.do(asks.ForgetPerson(key, b"face"))
        assert (said, api.events.forgotten) == ("forgotten: 3 faces are gone and stay gone", [b"face"])


@pytest.mark.parametrize(
    "ask",
    [
        asks.SetPublic("roll", False), asks.SetSource("roll", None), asks.SetSource("roll", "initial_scan"),
        asks.StartSync(), asks.StartSync("roll"), asks.RetryJobs(("j1", "j2")), asks.RetryFailed(),
        asks.CancelJob("j1"), asks.Pause("site"), asks.Resume("site"), asks.Pause(), asks.Resume(),
        asks.Reload(), asks.SetAutoSync("wedding", True), asks.SetAutoSync("wedding", False),
        asks.SetInterval("wedding", 0.5), asks.SyncEvent("wedding"), asks.ForgetPerson("wedding", b"face"),
    ],
    ids=repr,
)  # fmt: skip
async def test_every_ask_is_answered_in_words(socket_path: Path, ask: asks.Ask) -> None:
    async with serving(ControlServer(Site(), socket_path)):
        said = await DaemonFeed(socket_path).do(ask)
        assert said
        assert said.isprintable()


async def test_a_problem_and_a_missing_daemon_are_said_with_their_hint(socket_path: Path) -> None:
    feed = DaemonFeed(socket_path)
    with pytest.raises(AskFailed) as missing:
        await feed.do(asks.StartSync())
    assert "there is no such socket" in missing.value.detail
    assert "syncd run" in missing.value.hint
    async with serving(ControlServer(Site(), socket_path)):
        with pytest.raises(AskFailed) as problem:
            await feed.do(asks.CancelJob("\x1b[31m"))
        assert "\x1b" not in problem.value.detail
        with pytest.raises(AskFailed) as refused:
            await feed.do(asks.RetryJobs(("refused",)))
        assert (refused.value.detail, refused.value.hint) == ("the file is gone", "look again")


def test_clean_escapes_in_every_depth_and_keeps_what_needs_nothing() -> None:
    fine = item(3)
    plain = schema.ActivityItem(id=1, at="a", kind="k", service="s", subject="s", message="m")
    assert clean(plain) is plain
    nasty = schema.ActivityItem(
        id=1,
        at="a",
        kind="k",
        service="s",
        subject=ESCAPE,
        message=BIDI,
        data={"\x1b": [ESCAPE, {"x": BIDI}]},
    )
    page = clean(schema.ActivityPage(items=[fine, nasty], last_id=3))
    assert page.items[1].subject == "\\x1b[31mred\\x07"
    assert all(text.isprintable() for text in (page.items[1].message, str(page.items[1].data)))


async def test_hostile_names_are_shown_escaped_on_every_screen(socket_path: Path) -> None:
    api = Site()
    api.hold(HOSTILE)
    async with (
        serving(ControlServer(api, socket_path)),
        running(feed=DaemonFeed(socket_path), size=(160, 50)) as dashboard,
    ):
        with anyio.fail_after(10):
            while not dashboard.app.state.live:
                await anyio.sleep(0.02)
        for key in "123480":
            await dashboard.press(key)
            await anyio.sleep(0.3)
            await dashboard.settled()
            text = dashboard.text()
            assert all(c.isprintable() or c == "\n" for c in text)
            assert not set("\x1b\x07\x9b\u202e") & set(text)
            assert ("file[/b].jpg" in text) or key == "1", "markup is text"
            assert ("\\x1b[31mred\\x07" in text) or key == "1"
        await dashboard.press("2", "S")
        await dashboard.press("d", "escape", "s", "escape", "question_mark", "escape")
        assert dashboard.app.return_code is None
