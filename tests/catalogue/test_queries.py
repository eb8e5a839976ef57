"""The queries of jobs, guards, activity, uploads, the log, settings and browsing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiosqlite
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.catalogue import _sqlite, activity, browse, guards, jobs, log
from syncd.catalogue import settings as facts
from syncd.catalogue.activity import ActivityRow
from syncd.catalogue.database import Catalogue
from syncd.catalogue.log import SyncCounts
from syncd.catalogue.uploads import CatalogueUploads
from syncd.model import Action
from syncd.sinks.sink import UploadLedger

T = TypeVar("T")
Do = Callable[..., Awaitable[Any]]


@pytest.fixture
def do(catalogue: Catalogue) -> Do:
    """Runs a query function on the writing connection."""

    async def run(function: Callable[..., Awaitable[T]], *args: object, **options: object) -> T:
        return await catalogue.write(lambda db: function(db, *args, **options))

    return run


async def sql(db: aiosqlite.Connection, statement: str, *values: object) -> list[Any]:
    return list(await db.execute_fetchall(statement, values))


# --- jobs -----------------------------------------------------------------------------------------


async def test_a_job_from_creation_to_result(do: Do) -> None:
    job = await do(jobs.create, "sync", "b1", {"batch_filter": ["b1"]})
    assert (job.id, job.state, job.attempts, job.payload) == (
        "j-000001",
        "queued",
        0,
        {"batch_filter": ["b1"]},
    )
    assert await do(jobs.start, job.id)
    assert not await do(jobs.start, job.id)
    await do(jobs.progress, job.id, 3, 10)
    running = await do(jobs.get, job.id)
    assert (running.state, running.attempts, running.progress_done, running.progress_total) == (
        "running",
        1,
        3,
        10,
    )
    await do(jobs.finish, job.id, "partial", result={"uploaded": 2}, error="1 failed")
    over = await do(jobs.get, job.id)
    assert (over.state, over.result, over.error) == ("partial", {"uploaded": 2}, "1 failed")
    assert not await do(jobs.cancel, job.id)


async def test_a_failed_attempt_waits_for_its_time(do: Do) -> None:
    job = await do(jobs.create, "sync")
    await do(jobs.start, job.id)
    await do(jobs.fail, job.id, "storage is down", next_attempt_at="2999-01-01T00:00:00.000Z")
    assert (await do(jobs.get, job.id)).state == "waiting"
    assert await do(jobs.due, ["sync"]) == []
    await do(jobs.fail, job.id, "storage is down", next_attempt_at="2020-01-01T00:00:00.000Z")
    assert [due.id for due in await do(jobs.due, ["sync"])] == [job.id]
    await do(jobs.start, job.id)
    await do(jobs.fail, job.id, "refused")
    failed = await do(jobs.get, job.id)
    assert (failed.state, failed.attempts, failed.error, failed.next_attempt_at) == (
        "failed",
        2,
        "refused",
        None,
    )
    assert await do(jobs.requeue, job.id)
    assert not await do(jobs.requeue, job.id)
    assert await do(jobs.cancel, job.id)
    assert not await do(jobs.start, job.id)


@pytest.mark.parametrize("job_id", ["j-1", "j-000009", "1", "nonsense", "j-²", "j-" + "9" * 40, ""])
async def test_an_id_that_is_no_job_is_none(do: Do, job_id: str) -> None:
    await do(jobs.create, "sync")
    assert await do(jobs.get, job_id) is None


async def test_jobs_are_paged_newest_first_and_filtered(do: Do) -> None:
    for index in range(7):
        await do(jobs.create, "sync" if index % 2 else "verify")
    first, cursor = await do(jobs.page, limit=4)
    assert [job.number for job in first] == [7, 6, 5, 4]
    second, end = await do(jobs.page, limit=4, cursor=cursor)
    assert [job.number for job in second] == [3, 2, 1]
    assert end is None
    assert [job.number for job in (await do(jobs.page, kind="sync"))[0]] == [6, 4, 2]
    await do(jobs.start, "j-000004")
    assert [job.number for job in (await do(jobs.page, state="running", limit=1))[0]] == [4]


async def test_jobs_left_running_by_a_killed_daemon_are_queued_again(do: Do) -> None:
    for kind in ("sync", "verify", "sync"):
        await do(jobs.start, (await do(jobs.create, kind)).id)
    assert await do(jobs.requeue_interrupted, ["verify"]) == ["j-000002"]
    assert await do(jobs.requeue_interrupted) == ["j-000001", "j-000003"]
    assert await do(jobs.queue_counts) == {"sync": {"queued": 2}, "verify": {"queued": 1}}


async def test_pruning_keeps_the_newest_and_what_can_be_retried(do: Do) -> None:
    for state in ("failed", "done", "cancelled", "done", "partial"):
        await do(jobs.finish, (await do(jobs.create, "sync")).id, state)
    assert await do(jobs.prune, keep=2) == 2
    assert [job.number for job in (await do(jobs.page))[0]] == [5, 4, 1]
    assert (await do(jobs.create, "sync")).number == 6


async def test_a_failing_photo_is_one_row_that_counts(do: Do) -> None:
    await do(jobs.note_photo_failure, "b/initial_scan/a.jpg", "cut short")
    again = await do(jobs.note_photo_failure, "b/initial_scan/a.jpg", "still cut short")
    assert (again.attempts, again.state, again.error) == (2, "failed", "still cut short")
    await do(jobs.note_photo_failure, "b2/initial_scan/a.jpg", "empty")
    assert [job.subject for job in await do(jobs.photo_failures, "b")] == ["b/initial_scan/a.jpg"]
    assert len(await do(jobs.photo_failures)) == 2
    assert await do(jobs.clear_photo_failures, ["b/initial_scan/a.jpg", "unknown"]) == 1
    assert [job.subject for job in await do(jobs.photo_failures)] == ["b2/initial_scan/a.jpg"]


# --- guards ---------------------------------------------------------------------------------------

REMOVE = Action("remove", "b-1", "final_crops", "/p/1.jpg", "scenes/b-1.jpg")
REMOVE_TWO = Action("remove", "b-2", "final_crops", "/p/2.jpg", None)


async def test_a_guard_is_refreshed_approved_and_gone(do: Do) -> None:
    first = await do(guards.raise_guard, "removals", "1 of 2", [REMOVE], 2)
    assert (first.id, first.actions, first.live, first.state) == ("g-1", (REMOVE,), 2, "open")
    again = await do(guards.raise_guard, "removals", "2 of 2", [REMOVE, REMOVE_TWO], 2)
    assert (again.id, again.created_at, again.reason) == ("g-1", first.created_at, "2 of 2")
    assert await do(guards.listed) == [again]
    assert await do(guards.approved_actions) == frozenset()
    approved = await do(guards.approve, "g-1")
    assert approved.state == "approved"
    assert await do(guards.approve, "g-1") is None
    assert await do(guards.approved_actions, "removals") == {REMOVE, REMOVE_TWO}
    assert await do(guards.approved_actions, "other") == frozenset()
    fresh = await do(guards.raise_guard, "removals", "new cause", [REMOVE], 2)
    assert fresh.id != "g-1"
    assert await do(guards.gone, kind="removals", state="open") == [fresh.id]
    assert await do(guards.gone, guard_id="g-1") == ["g-1"]
    assert await do(guards.listed) == []
    assert (await do(guards.get, "g-1")).state == "gone"
    await do(guards.prune, keep=1)
    assert await do(guards.get, "g-1") is None


# --- activity, uploads, log, settings -------------------------------------------------------------


async def test_activity_is_paged_by_number_and_pruned_to_the_newest(do: Do) -> None:
    assert await do(activity.last_id) == 0
    rows = [
        ActivityRow(n, "2026-01-01T00:00:00.000Z", "uploaded", "site", f"s{n}", "done", {"n": n})
        for n in range(1, 11)
    ]
    await do(activity.append, rows)
    assert await do(activity.page, 3, 2) == rows[3:5]
    await do(activity.prune, keep=4)
    assert await do(activity.page, 0, 100) == rows[6:]
    await do(activity.prune, keep=0)
    assert await do(activity.last_id) == 10


async def test_uploads_begun_stay_until_they_end(catalogue: Catalogue) -> None:
    ledger: UploadLedger = CatalogueUploads(catalogue)
    await ledger.begun("s3:a", "scenes/1.jpg", "u1")
    await ledger.begun("s3:a", "scenes/1.jpg", "u1")
    await ledger.begun("s3:b", "scenes/1.jpg", "u1")
    await ledger.begun("s3:a", "scenes/2.jpg", "u2")
    await ledger.ended("s3:a", "u1")
    assert await ledger.pending("s3:a") == [("scenes/2.jpg", "u2")]
    assert await ledger.pending("s3:b") == [("scenes/1.jpg", "u1")]


async def test_the_log_of_syncs(do: Do) -> None:
    assert await do(log.last) is None
    first = await do(log.start, "j-000001")
    await do(log.finish, first, "done", SyncCounts(scenes=2, bytes=10))
    row = await do(log.last)
    assert (row.status, row.error, row.counts) == ("done", None, SyncCounts(scenes=2, bytes=10))
    assert row.finished_at >= row.started_at
    second = await do(log.start)
    assert await do(log.fail_interrupted) == 1
    row = await do(log.last)
    assert (row.id, row.status, row.error) == (second, "failed", "interrupted")
    assert row.finished_at is not None
    newest = await do(sql, "SELECT status FROM sync_log ORDER BY started_at DESC, id DESC LIMIT 1")
    assert newest == [("failed",)]
    await do(log.prune, keep=1)
    assert await do(sql, "SELECT id FROM sync_log") == [(second,)]


async def test_settings_keep_json(do: Do) -> None:
    assert await do(facts.get, "paused", []) == []
    await do(facts.put, "paused", ["site"])
    await do(facts.put, "paused", ["site", "batches"])
    assert await do(facts.get, "paused") == ["site", "batches"]
    await do(facts.remove, "paused")
    assert await do(facts.get, "paused") is None


# --- what must never be ---------------------------------------------------------------------------


async def add_version(db: aiosqlite.Connection, scene: str, path: str, **columns: object) -> int:
    names = {
        "scene_id": scene,
        "version_type": "final_crops",
        "relative_path": path,
        "local_path": f"/i/{path}",
    }
    values = names | columns
    rows = await db.execute_fetchall(
        f"INSERT INTO image_versions ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
        " RETURNING version_id",
        tuple(values.values()),
    )
    return next(int(row[0]) for row in rows)


async def add_scene(db: aiosqlite.Connection, batch: str, base: str) -> str:
    await db.execute("INSERT OR IGNORE INTO public_site_batches (batch_name) VALUES (?)", (batch,))
    await db.execute(
        "INSERT INTO scenes (scene_id, batch_name, base_filename) VALUES (?1 || '-' || ?2, ?1, ?2)",
        (batch, base),
    )
    return f"{batch}-{base}"


@pytest.mark.parametrize(
    "columns",
    [
        {"is_current": 1, "relative_path": "b/x.jpg"},
        {"r2_key": "k2", "relative_path": "b/x.jpg"},
        {"relative_path": "b/1.jpg"},
        {"scene_id": "unknown", "relative_path": "b/x.jpg"},
        {"is_current": 2, "relative_path": "b/x.jpg"},
        {"size_bytes": "many", "relative_path": "b/x.jpg"},
    ],
)
async def test_the_catalogue_itself_forbids_what_must_never_be(do: Do, columns: dict[str, object]) -> None:
    scene = await do(add_scene, "b", "1")
    await do(add_version, scene, "b/1.jpg", is_current=1, r2_key="k1")
    with pytest.raises(_sqlite.IntegrityError):
        await do(add_version, **{"scene": scene, "path": "b/1.jpg", **columns})


# --- browsing -------------------------------------------------------------------------------------


async def test_batches_with_their_counts(do: Do) -> None:
    for batch in ("a", "a-b", "c"):
        scene = await do(add_scene, batch, "1")
        await do(add_version, scene, f"{batch}/f/1.jpg", is_current=1, r2_key=f"k-{batch}")
    await do(add_version, "a-1", "a/f/1.tif")
    await do(add_version, "a-1", "a/f/1.jpg", superseded_at="2026-01-01")
    await do(jobs.note_photo_failure, "a/f/2.jpg", "cut short")
    await do(browse.update_batch, "a", is_public=True, source_directory="f")
    row = await do(browse.batch, "a")
    assert (row.scenes, row.versions, row.live, row.failed) == (1, 2, 1, 1)
    assert (row.is_public, row.source_directory) == (True, "f")
    await do(browse.update_batch, "a", source_directory=None)
    assert (await do(browse.batch, "a")).source_directory is None
    assert not await do(browse.update_batch, "nothing", is_public=True)
    first, cursor = await do(browse.batches, 2)
    assert [(b.name, b.failed) for b in first] == [("a", 1), ("a-b", 0)]
    assert [b.name for b in (await do(browse.batches, 2, cursor))[0]] == ["c"]
    counts = await do(browse.counts)
    assert (counts.batches, counts.public_batches, counts.scenes, counts.versions, counts.live) == (
        3,
        1,
        3,
        4,
        3,
    )


async def test_scenes_by_page_and_filter_with_all_their_versions(do: Do) -> None:
    for base in ("img_1", "img_2", "imgx1", "50%"):
        await do(add_scene, "roll", base)
    old = await do(add_version, "roll-img_1", "roll/f/1.jpg", superseded_at="2026-01-01", sha256="old")
    new = await do(add_version, "roll-img_1", "roll/f/1.jpg", is_current=1, r2_key="k", sha256="new")
    await do(jobs.note_photo_failure, "roll/f/1.jpg", "cut short")
    await do(add_scene, "other", "img_1")

    async def ids(**options: object) -> list[str]:
        return [scene.scene_id for scene in (await do(browse.scenes, **options))[0]]

    assert await ids(query="IMG_1") == ["other-img_1", "roll-img_1"]
    assert await ids(query="0%") == ["roll-50%"]
    assert await ids(query="\\") == []
    assert await ids(live=True) == ["roll-img_1"]
    assert await ids(batch="roll", live=False) == ["roll-50%", "roll-img_2", "roll-imgx1"]
    page, cursor = await do(browse.scenes, limit=2)
    assert [scene.scene_id for scene in page] == ["other-img_1", "roll-50%"]
    rest, end = await do(browse.scenes, cursor=cursor)
    assert ([scene.scene_id for scene in rest], end) == (["roll-img_1", "roll-img_2", "roll-imgx1"], None)
    scene = await do(browse.scene, "roll-img_1")
    assert [(v.version_id, v.failure, v.superseded) for v in scene.versions] == [
        (new, "cut short", False),
        (old, None, True),
    ]
    assert scene.live and rest[0] == scene
    assert await do(browse.version, new) == scene.versions[0]
    assert await do(browse.version, 99) is None
    assert await do(browse.scene, "nothing") is None


async def test_similar_live_versions_nearest_first(do: Do, catalogue: Catalogue) -> None:
    for base, hash_, key in (
        ("far", "ffffffffffffffff", "k1"), ("near", "0000000000000003", "k2"),
        ("same", "0000000000000000", "k3"), ("also", "0000000000000003", "k4"),
        ("hidden", "0000000000000000", None), ("undecoded", None, "k5"),
    ):  # fmt: skip
        await do(
            add_version, await do(add_scene, "b", base), f"b/{base}.jpg", perceptual_hash=hash_, r2_key=key
        )
    async with catalogue.reader() as db:
        found = await browse.similar(db, "0000000000000000", max_distance=8)
        assert [(row.scene_id, row.distance) for row in found] == [
            ("b-same", 0),
            ("b-also", 2),
            ("b-near", 2),
        ]
        others = await browse.similar(db, "0" * 16, max_distance=64, limit=2, except_scene="b-same")
        assert [row.r2_key for row in others] == ["k4", "k2"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("aB%_\\1é"), min_size=1, max_size=4), unique=True, max_size=6),
    st.text(st.sampled_from("aB%_\\1é"), min_size=1, max_size=2),
    st.integers(1, 3),
)
async def test_paging_through_a_search_finds_each_scene_once(
    bases: list[str], query: str, limit: int
) -> None:
    db = await _memory()
    try:
        for base in bases:
            await add_scene(db, "x", base)
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(len(bases) + 1):
            page, cursor = await browse.scenes(db, query=query, limit=limit, cursor=cursor)
            seen += [scene.base_filename for scene in page]
            if cursor is None:
                break
        assert cursor is None
        assert seen == sorted((b for b in bases if query.lower() in b.lower()), key=str.encode)
    finally:
        await db.close()


async def _memory() -> aiosqlite.Connection:
    import pysqlite3

    from syncd.catalogue._opening import migrate, shipped_migrations

    connection = pysqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    migrate(connection, shipped_migrations())
    return await aiosqlite.Connection(lambda: connection, iter_chunk_size=64)
