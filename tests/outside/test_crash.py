"""kill -9 anywhere: nothing lost, nothing twice, nothing recorded that is not so."""

from __future__ import annotations

import functools
import random
import sqlite3
import subprocess
import time

import pytest

from tests.outside.installation import BIN, Installation, wait_for

pytestmark = pytest.mark.timeout(60)  # seconds, for a machine that is busy with other things

PHOTOS = 80


def disturb(place: Installation, chance: random.Random, turn: int) -> None:
    """New files, files replaced, files gone, batches made private and public."""
    for _ in range(25):
        n = chance.randrange(PHOTOS)
        stage = chance.choice(["final_crops", "initial_scan"])
        place.add(f"b{n % 4}/{stage}/{n:03}.jpg", chance.randrange(60))
    there = sorted(place.images.rglob("*.jpg"))
    for path in chance.sample(there, min(3, len(there))):
        path.unlink()
    if turn % 3 == 2 and place.catalogue.exists():
        place.sql(
            f"UPDATE public_site_batches SET is_public = 1 - is_public WHERE batch_name = 'b{turn % 4}'"
        )


def killed(place: Installation, kills: int, seed: int) -> int:
    """Kills that many daemons, some as they start and some at work; how many of them died at work."""
    chance = random.Random(seed)
    place.configure(
        batches={"on_missing": "withdraw"}, guard={"max_delete": 10_000}, storage={"concurrency": 4}
    )
    at_work = 0
    for turn in range(kills):
        before = progress(place)
        disturb(place, chance, turn)
        with place.daemon(ready=False) as daemon:
            if turn % 4:
                wait_for(functools.partial(has_moved, place, before), 10, "work")
                time.sleep(chance.random() * 0.15)
            else:
                time.sleep(chance.random())
            daemon.kill()
            if progress(place) is not None:
                place.check(complete=False)
                at_work += place.value("SELECT COUNT(*) FROM loose_objects") > 0
    return at_work


def progress(place: Installation) -> object:
    """Something that changes with each step of the work; None before there is a catalogue."""
    try:
        return place.rows("SELECT version_id, is_current, r2_key FROM image_versions ORDER BY version_id")
    except sqlite3.OperationalError:
        return None


def has_moved(place: Installation, before: object) -> bool:
    return progress(place) != before


def finished(place: Installation) -> None:
    """One daemon that is left alone ends where one that was never killed would have."""
    with place.daemon() as daemon:
        daemon.wait_idle(20)
        assert daemon.sync()["state"] == "done"
        assert daemon.call("POST", "/api/verify", {"deep": True})["wrong"] == []
        assert daemon.call("POST", "/api/verify", {})["orphaned"] == []
    place.check()
    doubles = (
        "SELECT local_path FROM image_versions WHERE superseded_at IS NULL"
        " GROUP BY local_path HAVING COUNT(*) > 1"
    )
    assert place.rows(doubles) == []
    current = place.value(
        "SELECT COUNT(*) FROM image_versions JOIN scenes USING (scene_id) JOIN public_site_batches"
        " USING (batch_name) WHERE is_current = 1 AND is_public = 1"
    )
    assert current == len(place.live()) > 0
    assert place.once()["actions"] == []
    assert list((place.state / "staging").iterdir()) == []


def test_killed_at_work(either: Installation) -> None:
    assert killed(either, 5, 1 if either.server is None else 2) > 0
    finished(either)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_two_hundred_times(either: Installation) -> None:
    assert killed(either, 100, 99) > 10
    finished(either)


def test_an_object_that_went_before_its_record_comes_back(place: Installation) -> None:
    place.add("b/final_crops/a.jpg", 1)
    place.add("b/final_crops/c.jpg", 2)
    place.once()
    kept = place.value("SELECT r2_key FROM image_versions WHERE scene_id = 'b-c'")
    # As a run leaves it that was killed while it withdrew, and the batch is public again.
    place.sql("INSERT INTO loose_objects (storage_id, key) SELECT storage_id, r2_key FROM image_versions")
    (place.storage / "scenes/b-a.jpg").unlink()
    assert [action["key"] for action in place.once()["actions"]] == ["scenes/b-a.jpg"]
    place.check()
    assert place.value("SELECT COUNT(*) FROM loose_objects") == 0
    assert place.value("SELECT r2_key FROM image_versions WHERE scene_id = 'b-c'") == kept


def test_a_killed_once(place: Installation) -> None:
    chance = random.Random(5)
    for turn in range(4):
        disturb(place, chance, 0)
        process = subprocess.Popen(
            [BIN / "syncd", "once", "--config", place.config, "--json"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(0.3 + 0.12 * turn)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    done = place.once()
    assert done["state"] == "done"
    place.check()
    assert place.once()["actions"] == []
    unfinished = place.rows("SELECT * FROM sync_log WHERE finished_at IS NULL OR status = 'running'")
    assert unfinished == []


def test_a_job_outlives_a_kill(place: Installation) -> None:
    for n in range(100):
        place.add(f"b/final_crops/{n}.jpg", n % 30)
    with place.daemon() as daemon:
        job = daemon.call("POST", "/api/admin/sync", {}, status=202)["job_id"]
        daemon.kill()
        with place.daemon() as again:
            assert again.job(job)["state"] == "done"
            wait_for(lambda: len(place.live()) == 100)
    place.check()


def test_terminated_at_work(s3_place: Installation) -> None:
    place = s3_place
    count = 5 * PHOTOS
    for n in range(count):
        place.add(f"b/final_crops/{n}.jpg", n % 30)
    with place.daemon() as daemon:
        wait_for(lambda: len(place.live()) > 3)
        assert daemon.stop() == 0
    place.check(complete=False)
    assert len(place.live()) < count
    place.once()
    assert len(place.live()) == count
    place.check()
