"""The service `names`: what it finishes, what it does by itself, and what it asks people to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from syncd.config import NamesConfig
from syncd.errors import AuthRejected
from syncd.flows.names_check import alerts_of, check_names
from syncd.flows.names_service import NamesService
from syncd.sinks.postgres import AlbumNames, Statistics
from tests.flows_names.place import CLASH, DOWN, MIRROR_DOWN, Place, SmugMugSide, add_album

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOME = Statistics(2, 10, 10, 0, 3)


class Handle:
    """What the supervisor gives to a service."""

    name = "names"

    def __init__(self) -> None:
        self.states: list[tuple[str, str | None]] = []

    @property
    def state(self) -> tuple[str, str | None]:
        return self.states[-1] if self.states else ("", None)

    def ready(self) -> None:
        self.states.append(("ready", None))

    def set_state(self, state: Any, reason: str | None = None) -> None:
        self.states.append((state, reason))


@asynccontextmanager
async def running(here: Place) -> AsyncIterator[tuple[NamesService, Handle]]:
    service = NamesService(here.names, lambda: here.config, lambda *entry: here.told.append(entry))
    handle = Handle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.run, handle)
        yield service, handle
        tasks.cancel_scope.cancel()


async def until(condition: Any) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.01)


async def nobody() -> SmugMugSide:
    raise AuthRejected("nobody has signed in to SmugMug", hint="syncctl auth smugmug")


# --- auto -----------------------------------------------------------------------------------------------


@pytest.fixture
async def many(here: Place) -> Place:
    """25 albums that have drifted, and names.auto."""
    here.config = replace(here.config, names=NamesConfig(auto=True))
    await here.fill(25)
    return here


async def test_twenty_names_an_hour(many: Place) -> None:
    done = await many.names.auto()
    assert done is not None
    assert len(done.renamed) == 20
    assert await many.rows("SELECT DISTINCT changed_by, source FROM album_name_changes") == [
        ("syncd", "auto")
    ]
    many.start()  # a restart is no new hour
    assert await many.names.auto() is None
    many.later = timedelta(minutes=59)
    assert await many.names.auto() is None
    # A person is not counted, nor held back.
    [left, *_] = [key for key, name in many.smugmug.names.items() if name.startswith("DSC")]
    assert (await many.apply(left)).renamed == [left]
    many.later = timedelta(minutes=61)
    again = await many.names.auto()
    assert again is not None
    assert len(again.renamed) == 4
    assert not any(name.startswith("DSC") for name in many.smugmug.names.values())


async def test_failures_count_and_nothing_is_tried_for_ever(many: Place) -> None:
    many.smugmug.refuses = dict.fromkeys(many.smugmug.names, CLASH)
    assert len((await many.names.auto() or pytest.fail("nothing was done")).failed) == 20
    many.later = timedelta(hours=2)
    assert len((await many.names.auto() or pytest.fail("nothing was done")).failed) == 5
    many.later = timedelta(hours=4)
    done = await many.names.auto()
    assert done is not None
    assert (done.renamed, done.failed) == ([], [])
    many.later = timedelta(hours=25)
    many.smugmug.refuses = {}
    assert len((await many.names.auto() or pytest.fail("nothing was done")).renamed) == 20


async def test_a_person_who_takes_a_name_back_is_not_argued_with(here: Place) -> None:
    here.config = replace(here.config, names=NamesConfig(auto=True))
    await here.names.auto()
    await here.rollback()
    assert here.smugmug.names["k0"] == "DSC 0"
    done = await here.names.auto()
    assert done is not None
    assert done.renamed == []
    assert here.smugmug.names["k0"] == "DSC 0"


async def test_below_the_threshold_nothing_is_done(here: Place) -> None:
    here.config = replace(here.config, names=NamesConfig(auto=True, drift_threshold=100))
    done = await here.names.auto()
    assert done is not None
    assert done.renamed == []


async def test_the_service_renames_what_comes(here: Place) -> None:
    here.config = replace(here.config, names=NamesConfig(auto=True))
    async with running(here) as (service, handle):
        await until(lambda: here.smugmug.names["k2"] == "Gala 2 - May 30")
        here.smugmug.names["k3"] = "DSC 3"
        await here.catalogue.write(lambda db: add_album(db, "k3", "DSC 3", event="Gala 3"))
        service.look()
        await until(lambda: here.smugmug.names["k3"] == "Gala 3 - May 30")
        await until(lambda: handle.state == ("running", None))
    assert here.mirror is not None
    assert here.mirror.rows["k2"] == ["Gala 2 - May 30"] * 2


async def test_smugmug_that_grants_nothing_is_asked_once(many: Place) -> None:
    denied = AuthRejected("SmugMug lets syncd only read", hint="grant Modify")
    many.smugmug.refuses = dict.fromkeys(many.smugmug.names, denied)
    async with running(many) as (service, handle):
        await until(lambda: handle.state == ("needs_auth", "SmugMug lets syncd only read (grant Modify)"))
        service._wake.set()
        await until(lambda: len(handle.states) > 2)
        assert len(many.smugmug.asked) == 1
        many.smugmug.refuses = {}
        service.look()  # somebody signed in again
        await until(lambda: handle.state[0] == "running")
    assert len(many.smugmug.asked) == 20


async def test_without_auto_or_a_sign_in_nothing_is_asked(here: Place) -> None:
    here.client = nobody
    async with running(here) as (service, handle):
        await until(lambda: len(handle.states) == 2)
        here.config = replace(here.config, names=NamesConfig(auto=True))
        service.look()
        await until(lambda: len(handle.states) == 3)
    assert handle.states == [("ready", None), ("running", None), ("running", None)]
    assert here.smugmug.asked == []


# --- what is left ---------------------------------------------------------------------------------------


async def test_the_service_finishes_what_was_begun(here: Place) -> None:
    assert here.mirror is not None
    here.smugmug.refuses["k0"] = DOWN
    here.mirror.down = MIRROR_DOWN
    await here.apply()
    here.client = nobody
    async with running(here) as (service, handle):
        await until(lambda: handle.state[0] == "needs_auth")
        assert handle.state[1] == "nobody has signed in to SmugMug (syncctl auth smugmug)"
        here.client = here._client
        service.look()
        await until(lambda: handle.state[0] == "backing_off")
        assert "whether an album has its new name" in (handle.state[1] or "")
        here.smugmug.refuses = {}
        service.look()
        waits = "3 names wait for the mirror: the mirror is down"
        await until(lambda: handle.state == ("backing_off", waits))
        here.mirror.down = None
        service.look()
        await until(lambda: handle.state == ("running", None))
    assert [one.issues for one in await here.verified()] == [[], [], []]
    assert here.everywhere()[0]["k0"] == "Gala 0 - May 30"


# --- alerts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statistics", "waits_since", "alerts"),
    [
        (SOME, NOW, []),
        (SOME._replace(photos_without_album_key=100), None, []),
        (SOME._replace(photos_without_album_key=1234), None,
         ["1,234 photos in the mirror have no album_key, more than 100"]),
        (SOME._replace(recently_updated=0), None, []),
        (SOME._replace(recently_updated=0), NOW - timedelta(hours=23), []),
        (SOME, NOW - timedelta(hours=25), []),
        (SOME._replace(recently_updated=0), NOW - timedelta(hours=25),
         ["nothing was updated in the mirror in 24 hours, though the library has changed"]),
    ],
    ids=range(7),
)  # fmt: skip
def test_alerts(statistics: Statistics, waits_since: datetime | None, alerts: list[str]) -> None:
    assert alerts_of(statistics, {}, waits_since, NOW) == alerts


def test_two_names_for_one_album() -> None:
    mirror = {
        "a": AlbumNames(frozenset({"Gala"}), 3),
        "b": AlbumNames(frozenset({"Gala", "Ball"}), 3),
        "c": AlbumNames(frozenset("wxyz"), 3),
    }
    assert alerts_of(SOME, mirror, None, NOW) == [
        "album b has 2 names in the mirror: 'Ball', 'Gala'",
        "album c has 4 names in the mirror: 'w', 'x', 'y' …",
    ]


def test_check() -> None:
    titles = {"a": "Gala", "b": "Ball", "c": "New", "d": "Empty", "e": "Gala", "f": "Gala"}
    counts = {"a": 3, "b": 2, "c": 1, "d": 0, "e": 1, "f": 1}
    mirror = {
        "a": AlbumNames(frozenset({"Gala"}), 3),
        "b": AlbumNames(frozenset({"Old"}), 2),
        "e": AlbumNames(frozenset({"Gala", "Old", ""}), 2),
        "f": AlbumNames(frozenset({""}), 2),
        "gone": AlbumNames(frozenset({"Old"}), 2),
    }
    checked = {one.album_key: one for one in check_names(titles, counts, mirror, {"a"})}
    assert {key: one.issues for key, one in checked.items()} == {
        "a": ["a change of its name is not finished"],
        "b": ["the mirror calls it 'Old'"],
        "c": ["the mirror does not have its photos yet"],
        "d": [],
        "e": ["the mirror also calls it nothing and 'Old'"],
        "f": ["the mirror calls it nothing"],
    }
    assert [one.mirrored for one in checked.values()] == [3, 2, 0, 0, 2, 2]


async def test_alerts_are_told_once_and_go(here: Place) -> None:
    assert here.mirror is not None
    here.mirror.without_key = 101
    async with running(here) as (service, handle):
        await until(lambda: service.alerts)
        since = service.alerts_since
        [(name, trouble)] = service.troubles().items()
        assert (name, trouble.state) == ("names alerts", "attention")
        assert "101 photos" in trouble.reason
        for rows in (["A", "B"], ["A", "A"]):
            here.mirror.rows["k0"] = rows
            seen = list(service.alerts)
            service.look()
            await until(lambda seen=seen: service.alerts != seen)
        assert service.alerts_since == since
        here.mirror.down = MIRROR_DOWN  # what is not known does not go
        count = len(handle.states)
        service.look()
        await until(lambda: len(handle.states) > count)
        assert len(service.alerts) == 1
        here.mirror.down = None
        here.mirror.without_key = 0
        service.look()
        await until(lambda: not service.alerts)
        assert service.troubles() == {}
    assert [entry[3][:9] for entry in here.told if entry[0] == "attention"] == ["101 photo", "album k0 "]
