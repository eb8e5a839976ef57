"""What people ask about names: pages, filters, jobs, and what they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from syncd.api_names import NamesAnswers
from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import AuthRejected
from syncd.flows.jobs import JobRunner
from syncd.flows.names_service import NamesService
from tests.flows_names.place import CLASH, MIRROR_DOWN, Place, SmugMugSide


@pytest.fixture
async def asked(here: Place) -> AsyncIterator[NamesAnswers]:
    service = NamesService(here.names, lambda: here.config, lambda *entry: here.told.append(entry))
    handlers = {}
    jobs = JobRunner(here.catalogue, handlers)
    answers = NamesAnswers(names=here.names, service=service, jobs=jobs, config=lambda: here.config)
    handlers.update(answers.handlers)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(jobs.run)
        yield answers
        tasks.cancel_scope.cancel()


async def test_pages(here: Place, asked: NamesAnswers) -> None:
    first = await asked.plan(None, None, 2, None)
    assert [item.album_key for item in first.items] == ["k0", "k1"]
    second = await asked.plan(None, None, 2, first.next_cursor)
    assert [item.album_key for item in second.items] == ["k2"]
    assert (second.next_cursor, second.threshold) == (None, 20)
    with pytest.raises(Invalid):
        await asked.plan(None, None, 2, "nonsense")
    await here.apply()
    log = await asked.log(2, None)
    assert [item.id for item in log.items] == [3, 2]
    log = await asked.log(2, log.next_cursor)
    assert ([item.id for item in log.items], log.next_cursor) == ([1], None)
    for cursor in ("x", "-1", "9" * 30, "٣"):
        with pytest.raises(Invalid):
            await asked.log(2, cursor)


async def test_apply_and_rollback_are_jobs(here: Place, asked: NamesAnswers) -> None:
    here.smugmug.refuses["k1"] = CLASH
    report = await asked.apply(schema.NamesApply(changed_by="eva"))
    assert (report.renamed, report.kept, report.dry_run) == (2, 0, False)
    assert report.failed == [schema.AlbumReason(album_key="k1", reason="another album has this name")]
    assert [item.action for item in report.items] == ["rename"] * 3
    here.smugmug.refuses = {}
    # Of the two that have their names, and one that is chosen whatever its drift.
    chosen = await asked.apply(schema.NamesApply(album_keys=["k0", "k1"]))
    assert (chosen.renamed, chosen.kept, chosen.threshold) == (1, 1, 0)
    restored = await asked.rollback(schema.NamesRollback(since="1h"))
    assert (restored.restored, restored.refused) == (3, [])
    assert here.everywhere()[0] == {f"k{n}": f"DSC {n}" for n in range(3)}
    # It is as it was before that change already.
    again = await asked.rollback(schema.NamesRollback(change_ids=[1]))
    assert (again.restored, again.refused) == (0, [])
    jobs = await here.rows("SELECT kind, subject, state FROM jobs ORDER BY id")
    assert [job[0] for job in jobs] == ["names_apply", "names_apply", "names_rollback", "names_rollback"]
    assert [job[2] for job in jobs] == ["partial", "done", "done", "done"]
    assert jobs[1][1] == "k0, k1"


async def test_dry_runs_say_what_would_be_and_need_no_sign_in(here: Place, asked: NamesAnswers) -> None:
    async def nobody() -> SmugMugSide:
        raise AuthRejected("nobody is signed in to SmugMug", hint="syncctl auth smugmug")

    here.client = nobody
    for keys in (None, []):
        report = await asked.apply(schema.NamesApply(album_keys=keys, dry_run=True, threshold=100))
        assert (report.renamed, report.kept) == (0, 3)
        report = await asked.apply(schema.NamesApply(album_keys=keys, dry_run=True))
        assert (report.renamed, report.kept, report.threshold) == (3, 0, 20)
    with pytest.raises(AuthRejected):
        await asked.apply(schema.NamesApply())
    with pytest.raises(AuthRejected):
        await asked.rollback(schema.NamesRollback(since="1h"))
    assert await here.rows("SELECT * FROM jobs") == []


async def test_who_is_not_known(asked: NamesAnswers) -> None:
    with pytest.raises(NotFound, match="'none'"):
        await asked.plan(["k0", "none"], None, None, None)
    with pytest.raises(NotFound, match="'none'"):
        await asked.verify(["none"])
    with pytest.raises(NotFound, match="'none'"):
        await asked.apply(schema.NamesApply(album_keys=["none"]))
    with pytest.raises(NotFound, match="'none'"):
        await asked.hint("none", schema.NameHintRequest(event="Gala"))
    with pytest.raises(NotFound, match="change 7"):
        await asked.rollback(schema.NamesRollback(change_ids=[7]))


async def test_hints_take_each_others_place_and_can_be_taken_back(here: Place, asked: NamesAnswers) -> None:
    hint = await asked.hint("k0", schema.NameHintRequest(teams=[" A ", "B", "b"], sport="soccer"))
    assert (hint.teams, hint.event, hint.plan.new_name) == (["A", "B"], "", "A vs B - May 30")
    hint = await asked.hint("k0", schema.NameHintRequest(event="Ball\n night"))
    assert (hint.teams, hint.event, hint.plan.new_name) == ([], "Ball night", "Ball night - May 30")
    hint = await asked.hint("k0", schema.NameHintRequest())
    assert hint.plan.new_name == "Gala 0 - May 30"
    assert await here.rows("SELECT * FROM album_name_hints") == []


async def test_verify_and_statistics(here: Place, asked: NamesAnswers) -> None:
    assert here.mirror is not None
    here.mirror.rows["k1"] = ["Old"]
    verified = await asked.verify(None)
    assert (verified.checked, verified.synced, verified.out_of_sync, verified.mirror) == (3, 2, 1, True)
    assert verified.items[1].issues == ["the mirror calls it 'Old'"]
    assert (verified.items[1].photo_count, verified.items[1].mirror_photo_count) == (2, 1)
    assert [item.album_key for item in (await asked.verify(["k1"])).items] == ["k1"]
    here.mirror.without_key = 101
    stats = await asked.stats()
    assert (stats.total_photos, stats.photos_with_album_key, stats.photos_without_album_key) == (106, 5, 101)
    assert len(stats.alerts) == 1
    here.mirror.down = MIRROR_DOWN
    with pytest.raises(type(MIRROR_DOWN)):
        await asked.verify(None)
    here.mirror = None
    verified = await asked.verify(None)
    assert (verified.synced, verified.out_of_sync, verified.mirror) == (3, 0, False)
    stats = await asked.stats()
    assert (stats.total_albums, stats.total_photos, stats.mirror, stats.alerts) == (3, 6, False, [])
