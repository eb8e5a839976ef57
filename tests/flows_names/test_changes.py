"""Names are changed on SmugMug, then in the mirror, whatever goes wrong in between."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.errors import AuthRejected, Refused, Transient
from syncd.remotes.smugmug_items import AlbumInfo
from tests.flows_names.place import CLASH, DOWN, MIRROR_DOWN, Crash, Place, SmugMugSide, place

OLD = {f"k{n}": f"DSC {n}" for n in range(3)}
NEW = {f"k{n}": f"Gala {n} - May 30" for n in range(3)}


async def agree(here: Place) -> None:
    """Nothing is unfinished, and all three sides say the same."""
    assert [one.issues for one in await here.verified()] == [[]] * len(here.smugmug.names)
    assert here.everywhere() == [here.smugmug.names] * 2
    assert await here.titles() == here.smugmug.names
    assert await here.rows("SELECT id FROM album_name_changes WHERE state = 'begun'") == []
    confirmed = await here.rows("SELECT id FROM album_name_changes WHERE state = 'confirmed'")
    assert {number for (number,) in confirmed} == set(here.mirror.changes if here.mirror else ())


async def test_apply_and_rollback(here: Place) -> None:
    done = await here.apply()
    assert (sorted(done.renamed), done.failed, done.behind) == (["k0", "k1", "k2"], [], [])
    assert here.everywhere() == [NEW, NEW]
    await agree(here)
    assert await here.rows("SELECT album_key, old_name, new_name, changed_by, source, state FROM"
                           " album_name_changes ORDER BY 1") == [
        (key, OLD[key], NEW[key], "eva", "apply", "confirmed") for key in OLD
    ]  # fmt: skip
    assert next(entry[:4] for entry in here.told) == (
        "renamed", "names", "k0", "DSC 0 is called Gala 0 - May 30 now",
    )  # fmt: skip
    assert (await here.apply()).renamed == []

    done = await here.rollback()
    assert (sorted(done.renamed), done.failed) == (["k0", "k1", "k2"], [])
    assert here.everywhere() == [OLD, OLD]
    await agree(here)
    rows = await here.rows(
        "SELECT old_name, new_name, source FROM album_name_changes WHERE id > 3 ORDER BY 1"
    )
    assert rows == [(NEW[key], OLD[key], "rollback") for key in OLD]
    again = await here.rollback()
    assert (again.renamed, again.failed) == ([], [])


async def test_the_journal_is_written_before_smugmug_is_asked(here: Place) -> None:
    seen = []

    class Watching(SmugMugSide):
        async def rename_album(self, album_key: str, name: str) -> AlbumInfo:
            seen.extend(
                await here.rows("SELECT album_key, old_name, new_name, state FROM album_name_changes")
            )
            return await super().rename_album(album_key, name)

    here.smugmug = Watching(here.faults)
    here.smugmug.names = dict(OLD)
    await here.apply("k1")
    assert seen == [("k1", "DSC 1", NEW["k1"], "begun")]


async def test_chosen_albums_and_the_threshold(here: Place) -> None:
    assert (await here.apply(threshold=100)).renamed == []
    assert (await here.apply("k1", threshold=100)).renamed == []
    assert (await here.apply("k1", threshold=None)).renamed == ["k1"]
    assert here.smugmug.names == {**OLD, "k1": NEW["k1"]}


async def test_what_somebody_else_did_is_left_and_said(here: Place) -> None:
    here.smugmug.names["k0"] = "Eva's own"
    here.smugmug.names["k1"] = NEW["k1"]
    del here.smugmug.names["k2"]
    done = await here.apply()
    assert done.renamed == []
    assert done.same == ["k1"]
    assert dict(done.failed) == {
        "k0": "it is called \"Eva's own\" now, no longer 'DSC 0': somebody renamed it",
        "k2": "the album is gone from SmugMug",
    }
    assert here.smugmug.asked == []
    assert await here.titles() == {"k0": "Eva's own", "k1": NEW["k1"], "k2": "DSC 2"}
    assert await here.rows("SELECT * FROM album_name_changes") == []


async def test_one_name_that_is_refused_keeps_nobody_back(here: Place) -> None:
    here.smugmug.refuses["k1"] = CLASH
    done = await here.apply()
    assert sorted(done.renamed) == ["k0", "k2"]
    assert dict(done.failed) == {"k1": "another album has this name"}
    assert here.everywhere() == [{**NEW, "k1": "DSC 1"}] * 2
    failed = "SELECT album_key, error FROM album_name_changes WHERE state = 'failed'"
    assert await here.rows(failed) == [("k1", "another album has this name")]
    await agree(here)


async def test_no_permission_says_which_and_asks_no_more(here: Place) -> None:
    here.smugmug.refuses["k1"] = AuthRejected("SmugMug lets syncd only read", hint="grant Modify")
    done = await here.apply()
    assert done.renamed == ["k0"]
    assert dict(done.failed) == dict.fromkeys(("k1", "k2"), "SmugMug lets syncd only read (grant Modify)")
    assert [key for key, _ in here.smugmug.asked] == ["k0", "k1"]
    await agree(here)


async def test_smugmug_that_does_not_answer_is_left_alone(here: Place) -> None:
    await here.fill(6)
    here.smugmug.refuses = dict.fromkeys(here.smugmug.names, DOWN)
    done = await here.apply()
    assert len(done.failed) == 6
    assert len(here.smugmug.asked) == 3
    assert len(await here.rows("SELECT * FROM album_name_changes WHERE state = 'begun'")) == 3
    assert not await here.names.settle()
    here.smugmug.refuses = {}
    assert await here.settled()
    assert len(set(here.smugmug.names.values()) & {f"Gala {n} - May 30" for n in range(6)}) == 3
    await agree(here)


async def test_a_name_that_smugmug_changes_is_recorded_as_it_is(here: Place) -> None:
    class Trimming(SmugMugSide):
        async def rename_album(self, album_key: str, name: str) -> AlbumInfo:
            return await super().rename_album(album_key, name[:8])

    here.smugmug = Trimming(here.faults)
    here.smugmug.names = dict(OLD)
    done = await here.apply("k0")
    assert dict(done.failed) == {"k0": "SmugMug made 'Gala 0 -' of 'Gala 0 - May 30'"}
    assert await here.settled()
    await agree(here)


@pytest.mark.parametrize(
    "reason", [MIRROR_DOWN, AuthRejected("wrong password"), Refused("no rights", hint="GRANT")]
)
async def test_a_mirror_that_fails_takes_no_name_back(here: Place, reason: Exception) -> None:
    assert here.mirror is not None
    here.mirror.down = reason
    done = await here.apply()
    assert sorted(done.renamed) == ["k0", "k1", "k2"]
    assert done.failed == []
    assert {key for key, _ in done.behind} == {"k0", "k1", "k2"}
    assert here.smugmug.names == NEW
    assert here.mirror.rows["k0"] == ["DSC 0"] * 2
    here.mirror.down = None
    assert len([one for one in await here.verified() if one.issues]) == 3
    assert [entry[0] for entry in here.told].count("mirror_behind") == 3
    here.start()
    assert await here.settled()
    assert await here.rows("SELECT count(*) FROM album_name_changes WHERE error IS NOT NULL") == [(0,)]
    await agree(here)


async def test_a_mirror_that_refuses_one_album_gets_the_others(here: Place) -> None:
    assert here.mirror is not None
    here.mirror.refuses["k1"] = Refused("the column album_name is a number")
    done = await here.apply()
    assert done.behind == [("k1", "the column album_name is a number")]
    assert here.mirror.rows["k2"] == [NEW["k2"]] * 2
    # What was renamed once more meanwhile arrives with its newest name.
    assert (await here.rollback()).behind == done.behind
    here.mirror.refuses = {}
    assert await here.settled()
    assert here.everywhere() == [OLD, OLD]
    await agree(here)


async def test_without_a_mirror(here: Place) -> None:
    here.mirror = None
    assert len((await here.apply()).renamed) == 3
    assert [one.issues for one in await here.verified()] == [[], [], []]
    assert [one.mirrored for one in await here.verified()] == [None, None, None]
    # One that is set up later is told.
    here.mirror = type(Place(here.catalogue).mirror)(here.faults)  # type: ignore[misc]
    here.mirror.rows = {key: [name] for key, name in OLD.items()}
    assert await here.settled()
    await agree(here)


async def test_rollback_refuses_by_name_what_was_changed_since(here: Place) -> None:
    await here.apply()
    here.smugmug.names["k0"] = "Eva's own"
    del here.smugmug.names["k1"]
    done = await here.rollback()
    assert done.renamed == ["k2"]
    assert dict(done.failed) == {
        "k0": "it is called \"Eva's own\" now, no longer 'Gala 0 - May 30': somebody renamed it",
        "k1": "the album is gone from SmugMug",
    }


async def test_rollback_goes_back_to_before_the_first_change(here: Place) -> None:
    await here.apply("k0", threshold=None)

    async def rename(db: object) -> None:
        await db.execute("UPDATE ai_metadata SET event = 'Ball'")  # type: ignore[attr-defined]

    await here.catalogue.write(rename)
    await here.apply("k0", threshold=None)
    assert here.smugmug.names["k0"] == "Ball - May 30"
    first = await here.undo(1)
    assert dict(first.failed) == {
        "k0": "it is called 'Ball - May 30' now, no longer 'Gala 0 - May 30': somebody renamed it"
    }
    assert (await here.undo(2)).renamed == ["k0"]
    assert here.smugmug.names["k0"] == "Gala 0 - May 30"
    # The third change is the undoing itself; all of them together lead back to the beginning.
    assert (await here.undo(1, 2, 3)).renamed == ["k0"]
    assert here.smugmug.names["k0"] == "DSC 0"
    await agree(here)


async def test_rollback_of_what_was_not_done(here: Place) -> None:
    here.smugmug.refuses["k0"] = CLASH
    await here.apply("k0")
    assert dict((await here.undo(1)).failed) == {"k0": "change 1 was not carried out"}


async def test_a_list_that_was_fetched_before_a_rename_does_not_bring_the_old_name_back(here: Place) -> None:
    async def listed(title: str, updated: str) -> str:
        sql = "UPDATE smugmug_albums SET title = ?, album_updated = ? WHERE album_key = 'k0'"
        await here.catalogue.write(lambda db: db.execute(sql, (title, updated)))
        return (await here.titles())["k0"]

    before = here.smugmug.stamp()
    assert await listed("DSC 0", before) == "DSC 0"
    await here.apply("k0")
    assert await listed("DSC 0", before) == NEW["k0"]
    # A name that somebody else has given since is believed, the old one as well.
    assert await listed("DSC 0", here.smugmug.stamp()) == "DSC 0"
    assert await listed("Eva's own", here.smugmug.stamp()) == "Eva's own"


async def test_a_crash_is_not_finished_over_somebody_elses_name(here: Place) -> None:
    here.faults.choose({3: Crash()})
    with pytest.raises(Crash):
        await here.apply("k0")
    assert await here.rows("SELECT state FROM album_name_changes") == [("begun",)]
    assert next(one.issues for one in await here.verified()) == ["a change of its name is not finished"]
    here.smugmug.names["k0"] = "Eva's own"
    here.start()
    here.faults.choose({})
    await here.names.settle()
    assert here.smugmug.names["k0"] == "Eva's own"
    assert (await here.titles())["k0"] == "Eva's own"
    [(state, error)] = await here.rows("SELECT state, error FROM album_name_changes")
    assert (state, error) == ("failed", 'it is called "Eva\'s own" now: somebody renamed it')


async def test_a_crash_before_an_album_is_gone(here: Place) -> None:
    here.faults.choose({3: Crash()})
    with pytest.raises(Crash):
        await here.apply("k0")
    del here.smugmug.names["k0"]
    here.start()
    here.faults.choose({})
    assert await here.settled()
    assert await here.rows("SELECT state, error FROM album_name_changes") == [
        ("failed", "the album is gone from SmugMug")
    ]


async def test_a_crash_at_any_point(here: Place) -> None:
    """Of applying, and of taking that back: the next start finishes what was begun."""
    old, new = ({key: names[key] for key in ("k0", "k1")} for names in (OLD, NEW))
    for work in (here.apply, here.rollback):
        at, points = 0, 1
        while at < points:
            await here.fill(2)
            if work == here.rollback:
                await here.apply()
            here.faults.choose({at: Crash()} if at else {})
            try:
                await work()
                assert at == 0
            except Crash:
                pass
            points = max(points, here.faults.passed)
            here.faults.choose({})
            here.start()
            assert await here.settled()
            await agree(here)
            await work()
            assert here.everywhere() == [old if work == here.rollback else new] * 2
            await agree(here)
            at += 1
        assert points > 20


# --- faults of all kinds ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as made:
        yield made


@pytest.fixture(scope="module")
def workshop(portal: BlockingPortal) -> Iterator[Place]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield stack.enter_context(portal.wrap_async_context_manager(place(folder)))


FAULTS = st.dictionaries(
    st.integers(0, 30), st.sampled_from((Crash, Transient)).map(lambda kind: kind("gone")), max_size=6
)
WORK = st.sampled_from(("apply", "rollback", "settled"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.tuples(WORK, FAULTS), min_size=1, max_size=4))
def test_any_interleaving_of_faults(
    portal: BlockingPortal, workshop: Place, runs: list[tuple[str, dict[int, BaseException]]]
) -> None:
    """After whatever was done and went wrong, all sides agree once nothing goes wrong any more; and what was
    applied can be taken back."""
    portal.call(interleaved, workshop, runs)


async def interleaved(here: Place, runs: list[tuple[str, dict[int, BaseException]]]) -> None:
    await here.fill(3)
    here.start()
    for work, chosen in runs:
        here.faults.choose(chosen)
        try:
            await getattr(here, work)()
        except Crash:
            here.start()
    here.faults.choose({})
    assert await here.settled()
    await agree(here)
    assert all(here.smugmug.names[key] in (OLD[key], NEW[key]) for key in OLD)
    await here.apply()
    assert here.everywhere() == [NEW, NEW]
    await here.rollback()
    assert here.everywhere() == [OLD, OLD]
    await agree(here)
