"""The daemon and the site: what happens by itself, and what happens when it is asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outside.conftest import NewPlace
from tests.outside.installation import BIN, Daemon, Installation, sha256, small_jpeg, wait_for
from tests.pictures import make_jpeg

pytestmark = pytest.mark.timeout(60)  # seconds, for a machine that is busy with other things


def test_files_appear_change_and_go(place: Installation) -> None:
    before = None
    with place.daemon() as daemon:
        path = place.add("b/final_crops/x.jpg", 1)
        daemon.wait_live(["scenes/b-x.jpg"])
        place.add("b2/initial_scan/deep.jpg", 2)
        daemon.wait_live(["scenes/b-x.jpg", "scenes/b2-deep.jpg"])
        path.write_bytes(small_jpeg(3))
        wait_for(lambda: place.read("scenes/b-x.jpg") == small_jpeg(3), 10, "replaced")
        daemon.wait_idle()
        rows = place.rows("SELECT * FROM image_versions WHERE scene_id = 'b-x' ORDER BY version_id")
        assert [(r["r2_key"], r["is_current"]) for r in rows] == [(None, 0), ("scenes/b-x.jpg", 1)]
        path.unlink()
        place.add("b/final_crops/other.jpg", 4)
        daemon.wait_live(["scenes/b-x.jpg", "scenes/b2-deep.jpg", "scenes/b-other.jpg"])
        before = place.archive_state()
        daemon.sync()
        counts = daemon.status()["counts"]
        assert (counts["batches"], counts["public_batches"], counts["scenes"], counts["live"]) == (2, 2, 3, 3)
    place.check()
    assert place.archive_state() == before


def test_publish_and_unpublish_by_api_and_by_sql(s3_place: Installation) -> None:
    place = s3_place
    # What a person asks for is no case for the guard.
    place.configure(batches={"default_public": False}, guard={"max_delete": 1, "max_delete_percent": 0})
    for n in range(3):
        place.add(f"2025-11-04-batch-1/final_crops/{n}.jpg", n)
    with place.daemon() as daemon:
        wait_for(lambda: daemon.status()["counts"]["versions"] == 3)
        daemon.wait_idle()
        assert place.stored() == []
        keys = [f"scenes/2025-11-04-batch-1-{n}.jpg" for n in range(3)]
        place.sql("UPDATE public_site_batches SET is_public = 1 WHERE batch_name = '2025-11-04-batch-1';")
        daemon.wait_live(keys, 5)
        assert place.sql("SELECT COUNT(*) FROM image_versions WHERE r2_key IS NOT NULL;") == "3"
        assert place.sql("SELECT * FROM sync_log ORDER BY started_at DESC LIMIT 1;")
        place.sql("UPDATE public_site_batches SET is_public = 0 WHERE batch_name = '2025-11-04-batch-1';")
        daemon.wait_live([], 5)
        batch = daemon.publish("2025-11-04-batch-1")
        assert batch["is_public"] is True
        daemon.wait_live(keys, 5)
        (batch,) = daemon.get("/api/batches")["items"]
        wait_for(lambda: daemon.get("/api/batches")["items"][0]["live"] == 3)
        assert {"name", "source_directory", "scenes", "versions", "failed", "last_synced_at"} <= batch.keys()
        daemon.publish("2025-11-04-batch-1", False)
        daemon.wait_live([], 5)
        assert place.value("SELECT COUNT(*) FROM image_versions WHERE is_current = 1") == 3
        scene = daemon.get("/api/scenes/2025-11-04-batch-1-0")
        assert daemon.get("/api/guards")["items"] == []
        assert scene["live"] is False and scene["versions"][0]["url"] is None
    place.check()


@pytest.fixture(scope="module", params=["local", "s3"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with six published scenes, on a folder and on S3, for tests that leave them as they were."""
    server = request.getfixturevalue("s3_server") if request.param == "s3" else None
    place = Installation(tmp_path_factory.mktemp("published") / "place", server)
    place.configure(storage={"prefix": "p/"})
    for n in range(5):
        place.add(f"b/final_crops/{n}.jpg", n)
    place.add("c/final_crops/q q.jpg", 9)
    with place.daemon() as running:
        running.wait_live([*(f"p/scenes/b-{n}.jpg" for n in range(5)), "p/scenes/c-q q.jpg"])
        running.wait_idle()
        yield running
    shutil.rmtree(place.socket_dir, ignore_errors=True)


def test_scenes_and_urls(published: Daemon) -> None:
    daemon, place = published, published.place
    page = daemon.get("/api/scenes?batch=b&limit=2")
    assert [s["scene_id"] for s in page["items"]] == ["b-0", "b-1"]
    rest = daemon.get(f"/api/scenes?batch=b&limit=100&cursor={page['next_cursor']}")
    assert [s["scene_id"] for s in rest["items"]] == ["b-2", "b-3", "b-4"] and not rest["next_cursor"]
    (version,) = page["items"][0]["versions"]
    assert version["r2_key"] == "p/scenes/b-0.jpg"
    assert version["sha256"] == sha256(small_jpeg(0)) and version["is_current"] is True
    assert version["size_bytes"] == len(small_jpeg(0)) and version["version_type"] == "final_crops"
    (spaced,) = daemon.get("/api/scenes/c-q%20q")["versions"]
    if place.server:
        assert version["url"] == "https://photos.example/p/scenes/b-0.jpg"
        assert spaced["url"] == "https://photos.example/p/scenes/c-q%20q.jpg"
    else:
        assert version["url"] == (place.storage / "p/scenes/b-0.jpg").as_uri()
    assert len(daemon.get("/api/scenes?live=true")["items"]) == 6
    assert daemon.get("/api/scenes?live=false")["items"] == []
    assert [s["scene_id"] for s in daemon.get("/api/scenes?q=q")["items"]] == ["c-q q"]
    daemon.get("/api/scenes/nope", 404)
    for wrong in ("limit=0", "limit=x", "live=perhaps", "cursor=%00", "limit=1001"):
        daemon.get(f"/api/scenes?{wrong}", 422)


def test_source_directory_through_the_api(daemon: Daemon) -> None:
    place = daemon.place
    place.add("b/final_crops/x.jpg", 1)
    place.add("b/initial_scan/x.jpg", 2)
    place.add("b/initial_scan/y.jpg", 3)
    daemon.wait_live(["scenes/b-x.jpg", "scenes/b-y.jpg"])
    daemon.call("PATCH", "/api/batches/b", {"source_directory": "final_crops"})
    daemon.wait_live(["scenes/b-x.jpg"])
    daemon.call("PATCH", "/api/batches/b", {"source_directory": "initial_scan"})
    wait_for(lambda: place.read("scenes/b-x.jpg") == small_jpeg(2))
    daemon.call("PATCH", "/api/batches/b", {"source_directory": None})
    wait_for(lambda: place.read("scenes/b-x.jpg") == small_jpeg(1))
    daemon.wait_live(["scenes/b-x.jpg", "scenes/b-y.jpg"])
    daemon.call("PATCH", "/api/batches/b", {"source_directory": "nope"}, status=422)
    daemon.call("PATCH", "/api/batches/nope", {"is_public": True}, status=404)
    daemon.call("PATCH", "/api/batches/b", {"is_public": "yes"}, status=422)
    daemon.call("PATCH", "/api/batches/b", {"unknown": 1}, status=422)
    daemon.wait_idle()
    place.check()


def test_failed_photos_are_listed_and_cured(daemon: Daemon) -> None:
    place = daemon.place
    place.add("b/final_crops/good.jpg", 1)
    bad = place.add("b/final_crops/bad.jpg", small_jpeg(2)[:-300])
    daemon.wait_live(["scenes/b-good.jpg"])
    daemon.wait_idle()
    job = daemon.sync()
    assert job["state"] == "partial"
    status = daemon.get("/api/admin/sync/status")
    assert status["state"] == "partial" and [f["path"] for f in status["failed"]] == [str(bad)]
    assert daemon.get("/api/batches")["items"][0]["failed"] == 1
    (failed,) = daemon.get("/api/jobs?state=failed")["items"]
    assert "bad.jpg" in failed["subject"] and failed["error"]
    daemon.call("POST", f"/api/jobs/{failed['id']}/retry", {})
    daemon.wait_idle()
    assert len(daemon.get("/api/jobs?state=failed")["items"]) == 1
    assert place.ctl("sync", "--wait", code=4).code == 4
    bad.write_bytes(small_jpeg(2))
    daemon.wait_live(["scenes/b-good.jpg", "scenes/b-bad.jpg"])
    wait_for(lambda: daemon.get("/api/jobs?state=failed")["items"] == [])
    assert daemon.sync()["state"] == "done"
    assert place.ctl("sync", "--wait", code=0)
    daemon.wait_idle()
    place.check()


def test_a_root_that_vanishes_blocks_and_recovers(place: Installation) -> None:
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": 1000})
    for n in range(4):
        place.add(f"b{n % 2}/final_crops/{n}.jpg", n)
    keys = [f"scenes/b{n % 2}-{n}.jpg" for n in range(4)]
    with place.daemon() as daemon:
        for how in ("missing", "empty", "file", "dangling"):
            daemon.wait_live(keys)
            daemon.wait_idle()
            away = place.base / "away"
            place.images.rename(away)
            if how == "empty":
                place.images.mkdir()
            elif how == "file":
                place.images.write_text("surprise")
            elif how == "dangling":
                place.images.symlink_to("/nowhere")
            (blocked,) = wait_for(lambda: daemon.status()["blocked"][:1], 30, f"blocked: {how}")
            assert blocked["reason"] and blocked["since"] and blocked["what"]
            wait_for(lambda: "blocked" in {source["state"] for source in daemon.status()["sources"]}, 30)
            assert "blocked" in {s["state"] for s in daemon.services().values()}
            daemon.sync()
            assert sorted(place.live().values()) == place.stored() == sorted(keys)
            assert daemon.get("/api/guards")["items"] == []
            if how == "empty":
                place.images.rmdir()
            elif how != "missing":
                place.images.unlink()
            away.rename(place.images)
            wait_for(lambda: not daemon.status()["blocked"], 30, f"recovered: {how}")
            place.add(f"b0/final_crops/{how}.jpg", 9)
            keys = [*keys, f"scenes/b0-{how}.jpg"]
        daemon.wait_live(keys, 15)
    place.check()


def test_a_guard_in_the_daemon(place: Installation) -> None:
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": 2, "max_delete_percent": 0})
    for n in range(5):
        place.add(f"b/final_crops/{n}.jpg", n)
    with place.daemon() as daemon:
        daemon.wait_live([f"scenes/b-{n}.jpg" for n in range(5)])
        away = place.base / "away"
        away.mkdir()
        for n in range(4):
            (place.images / f"b/final_crops/{n}.jpg").rename(away / f"{n}.jpg")
        (guard,) = wait_for(lambda: [g for g in daemon.get("/api/guards")["items"] if g["count"] == 4])
        assert len(place.live()) == 5
        assert daemon.status()["guards"] == 1
        assert place.ctl("sync", "--wait", "--json", code=5).json["state"] == "refused"
        assert len(place.live()) == 5
        # Its cause goes, and so does it.
        for n in range(4):
            (away / f"{n}.jpg").rename(place.images / f"b/final_crops/{n}.jpg")
        wait_for(lambda: daemon.get("/api/guards")["items"] == [])
        daemon.call("POST", f"/api/approve/{guard['id']}", {}, status=404)
        for n in range(4):
            (place.images / f"b/final_crops/{n}.jpg").rename(away / f"{n}.jpg")
        (guard,) = wait_for(lambda: [g for g in daemon.get("/api/guards")["items"] if g["count"] == 4])
        place.ctl("approve", guard["id"])
        daemon.wait_live(["scenes/b-4.jpg"])
        wait_for(lambda: daemon.get("/api/guards")["items"] == [])
    place.check()


def test_pull(published: Daemon, tmp_path: Path) -> None:
    daemon, place, to = published, published.place, tmp_path / "pulled"
    pulled = daemon.call("POST", "/api/pull", {"scene_ids": ["b-0", "b-1", "nope"], "to": str(to)})
    assert pulled["pulled"] == 2
    assert pulled["files"] == [
        {"scene_id": f"b-{n}", "path": str(to / f"b-{n}.jpg"), "sha256": sha256(small_jpeg(n))}
        for n in range(2)
    ]
    assert [item["scene_id"] for item in pulled["failed"]] == ["nope"]
    (to / "b-2.jpg").write_bytes(b"mine")
    (to / "b-3.jpg").symlink_to(tmp_path / "victim.jpg")
    pulled = daemon.call("POST", "/api/pull", {"batch": "b", "to": str(to)})
    assert pulled["pulled"] == 3
    assert [item["scene_id"] for item in pulled["failed"]] == ["b-2", "b-3"]
    assert (to / "b-2.jpg").read_bytes() == b"mine" and not (tmp_path / "victim.jpg").exists()
    assert place.ctl("pull", "--batch", "b", "--to", to, code=4)
    other = tmp_path / "other"
    assert place.ctl("pull", "b-3", "--to", other).code == 0
    assert (other / "b-3.jpg").read_bytes() == small_jpeg(3)
    assert {p.name for p in to.iterdir()} == {f"b-{n}.jpg" for n in range(5)}
    daemon.call("POST", "/api/pull", {"to": str(to)}, status=422)
    daemon.call("POST", "/api/pull", {"batch": "b", "scene_ids": [], "to": str(to)}, status=422)
    daemon.call("POST", "/api/pull", {"batch": "b", "to": "relative"}, status=422)
    daemon.call("POST", "/api/pull", {"batch": "zz", "to": str(to)}, status=404)
    daemon.call("POST", "/api/pull", {"batch": "b", "to": "/tmp/a\0b"}, status=422)
    (tmp_path / "link").symlink_to(place.images)
    before = place.archive_state()
    for inside in (place.images, place.images / "new", tmp_path / "link" / "b"):
        assert "never written" in place.ctl("pull", "b-3", "--to", inside, code=1).err
    assert place.archive_state() == before


def put(place: Installation, key: str, data: bytes) -> None:
    """Writes into storage behind syncd's back."""
    if place.server:
        assert place.server.request("PUT", f"/{place.bucket}/{key}", body=data)[0] == 200
    else:
        (place.storage / key).parent.mkdir(parents=True, exist_ok=True)
        (place.storage / key).write_bytes(data)


def delete(place: Installation, key: str) -> None:
    """Deletes from storage behind syncd's back."""
    if place.server:
        place.server.request("DELETE", f"/{place.bucket}/{key}")
    else:
        (place.storage / key).unlink()


def test_verify_and_repair(published: Daemon, tmp_path: Path) -> None:
    daemon, place = published, published.place
    other, archive = small_jpeg(1)[:-1] + b"!", place.archive_state()
    fine = daemon.call("POST", "/api/verify", {})
    assert (fine["checked"], fine["ok"], fine["missing"], fine["orphaned"]) == (6, 6, [], [])
    delete(place, "p/scenes/b-0.jpg")
    put(place, "p/scenes/b-1.jpg", other)
    put(place, "p/scenes/b-2.jpg", b"short")
    put(place, "p/scenes/stray.jpg", b"stray")
    put(place, "p/events/old/stray.jpg", b"stray")
    put(place, "p/not/ours.txt", b"keep me")
    for request in ({}, {"deep": True}):
        found = daemon.call("POST", "/api/verify", request)
        assert (found["checked"], found["ok"], found["repaired"]) == (6, 3, 0)
        assert found["missing"] == ["p/scenes/b-0.jpg"]
        assert found["wrong"] == [
            {"key": "p/scenes/b-1.jpg", "expected": sha256(small_jpeg(1)), "found": sha256(other)},
            {"key": "p/scenes/b-2.jpg", "expected": sha256(small_jpeg(2)), "found": sha256(b"short")},
        ]
        assert found["orphaned"] == ["p/events/old/stray.jpg", "p/scenes/stray.jpg"]
    assert len(place.stored()) == 8, "verify alone changes nothing"
    # What was changed in storage is not handed over as if it were right.
    pulled = daemon.call("POST", "/api/pull", {"scene_ids": ["b-1"], "to": str(tmp_path / "to")})
    assert pulled["pulled"] == 0 and pulled["failed"][0]["reason"]
    assert list((tmp_path / "to").iterdir()) == []
    assert place.ctl("verify", code=4)
    assert daemon.call("POST", "/api/verify", {"sample": 50})["checked"] == 3
    repaired = daemon.call("POST", "/api/verify", {"repair": True})
    assert repaired["repaired"] == 5
    after = daemon.call("POST", "/api/verify", {"deep": True})
    assert (after["ok"], after["missing"], after["wrong"], after["orphaned"]) == (6, [], [], [])
    assert place.read("p/not/ours.txt") == b"keep me"
    assert place.ctl("verify").code == 0
    for wrong in ({"sample": 0}, {"sample": 101}, {"deep": "yes"}, {"x": 1}):
        daemon.call("POST", "/api/verify", wrong, status=422)
    delete(place, "p/not/ours.txt")
    place.check()
    assert place.archive_state() == archive


def test_similar(daemon: Daemon) -> None:
    place = daemon.place
    place.add("b/final_crops/one.jpg", make_jpeg(1, 300, 200))
    place.add("b/final_crops/twin.jpg", make_jpeg(1, 300, 200, quality=60))
    place.add("a/final_crops/twin.jpg", make_jpeg(1, 300, 200, quality=60))
    place.add("b/final_crops/other.jpg", make_jpeg(2, 300, 200))
    place.add("b/initial_scan/other.jpg", make_jpeg(1, 300, 200))  # not current: not found
    daemon.wait_live([f"scenes/{s}.jpg" for s in ("b-one", "b-twin", "a-twin", "b-other")])
    found = daemon.call("POST", "/api/similar?max_distance=8", make_jpeg(1, 300, 200))["items"]
    assert [i["distance"] for i in found] == sorted(i["distance"] for i in found)
    assert {i["scene_id"] for i in found} == {"b-one", "b-twin", "a-twin"}
    ties = [(i["distance"], i["scene_id"]) for i in found]
    assert ties == sorted(ties)
    assert found[0].keys() >= {"scene_id", "version_id", "distance", "r2_key", "url"}
    own = daemon.call("POST", "/api/similar", {"scene_id": "b-one"})["items"]
    assert {i["scene_id"] for i in own} == {"b-twin", "a-twin"}
    assert (
        len(daemon.call("POST", "/api/similar?limit=1&max_distance=64", {"scene_id": "b-one"})["items"]) == 1
    )
    assert len(daemon.call("POST", "/api/similar?max_distance=64", {"scene_id": "b-one"})["items"]) == 3
    daemon.call("POST", "/api/similar", {"scene_id": "nope"}, status=404)
    assert daemon.call("POST", "/api/similar", b"no picture", status=422)["hint"]
    daemon.call("POST", "/api/similar?max_distance=-1", b"x", status=422)
    daemon.publish("a", False)
    daemon.wait_live([f"scenes/{s}.jpg" for s in ("b-one", "b-twin", "b-other")])
    live = daemon.call("POST", "/api/similar", {"scene_id": "b-one"})["items"]
    assert {i["scene_id"] for i in live} == {"b-twin"}


def test_many_orphans_wait_for_a_person(place: Installation) -> None:
    place.configure(guard={"max_delete": 3, "max_delete_percent": 0})
    place.add("b/final_crops/x.jpg", 1)
    place.once()
    for n in range(5):
        (place.storage / f"scenes/orphan{n}.jpg").write_bytes(b"x")
    with place.daemon() as daemon:
        found = daemon.call("POST", "/api/verify", {"repair": True})
        assert len(found["orphaned"]) == 5 and found["repaired"] == 0
        (guard,) = daemon.get("/api/guards")["items"]
        assert guard["count"] == 5 and len(place.stored()) == 6
        (place.storage / "scenes/orphan0.jpg").unlink()
        approved = daemon.call("POST", f"/api/approve/{guard['id']}", {})
        daemon.job(approved["job_id"])
        assert place.stored() == ["scenes/b-x.jpg"]
        assert daemon.get("/api/guards")["items"] == []
    place.check()


def test_growing_files_are_never_published_torn(daemon: Daemon) -> None:
    """A thread rewrites and appends while the daemon looks; whatever is published is whole."""
    place = daemon.place
    whole = {small_jpeg(n) + bytes(60_000) for n in range(3)}
    seen: set[str] = set()
    ended = threading.Event()

    def write() -> None:
        for turn in range(12):
            data = sorted(whole)[turn % 3]
            path = place.images / f"b/final_crops/{turn % 4}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for start in range(0, len(data), 8_000):
                    file.write(data[start : start + 8_000])
                    file.flush()
                    time.sleep(0.012)
            time.sleep(0.1)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        for key in place.stored():
            if key.startswith("scenes/b-"):  # beside them are files that are still being written
                seen.add(sha256(place.read(key)))
        time.sleep(0.01)
    writer.join()
    daemon.wait_live([f"scenes/b-{n}.jpg" for n in range(4)])
    daemon.wait_idle()
    assert seen <= {sha256(data) for data in whole}
    for n in range(4):
        last = sha256((place.images / f"b/final_crops/{n}.jpg").read_bytes())
        assert place.rows("SELECT sha256 FROM image_versions WHERE r2_key = ?", f"scenes/b-{n}.jpg") == [
            {"sha256": last}
        ]
    daemon.wait_idle()
    place.check()


def test_what_changed_while_it_was_down_is_caught_up(place: Installation) -> None:
    """Photos and settings; the new storage is a file at first."""
    place.add("b/final_crops/x.jpg", 1)
    with place.daemon() as daemon:
        daemon.wait_live(["scenes/b-x.jpg"])
    place.add("b/final_crops/x.jpg", 2)
    place.add("new/final_crops/y.jpg", 3)
    old = place.storage
    place.storage = place.base / "new-storage"
    place.storage.write_text("a file where the folder should be")
    place.configure(storage={"base_path": str(place.storage)})
    with place.daemon() as daemon:
        wait_for(lambda: len(place.rows("SELECT * FROM image_versions")) == 3)
        wait_for(
            lambda: (
                daemon.status()["blocked"]
                or daemon.get("/api/jobs?state=failed")["items"]
                or [one for one in daemon.services().values() if one["last_error"]]
            )
        )
        known = place.rows("SELECT sha256 FROM image_versions WHERE r2_key IS NOT NULL")
        assert {row["sha256"] for row in known} <= {sha256(small_jpeg(1))}
        place.storage.unlink()
        daemon.wait_live(["scenes/b-x.jpg", "scenes/new-y.jpg"], 15)
        assert place.read("scenes/b-x.jpg") == small_jpeg(2)
    assert (old / "scenes/b-x.jpg").read_bytes() == small_jpeg(1)
    place.check()


def test_from_local_to_s3_and_back(place: Installation, s3_place: Installation) -> None:
    place.add("b/final_crops/x.jpg", 1)
    place.once()
    local = dict(place.settings["storage"])
    place.settings["storage"] = dict(s3_place.settings["storage"])
    place.configure()
    assert place.once()["uploaded"] == 1
    assert s3_place.stored() == place.stored() == ["scenes/b-x.jpg"]
    place.settings["storage"] = local
    place.configure()
    assert place.once()["uploaded"] == 1
    assert place.once()["uploaded"] == 0
    place.check()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_burst_while_the_daemon_is_stopped(place: Installation) -> None:
    """More files than the kernel's queue of notices holds."""
    place.configure(batches={"default_public": False}, daemon={"workers": 2})
    for n in range(20):
        place.add(f"b{n}/initial_scan/first.jpg", n)
    with place.daemon() as daemon:
        wait_for(lambda: daemon.status()["counts"]["versions"] == 20)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        data = small_jpeg(1)
        for n in range(20_000):
            place.add(f"b{n % 20}/initial_scan/{n:05}.jpg", data)
        os.kill(daemon.process.pid, signal.SIGCONT)
        wait_for(lambda: daemon.status()["counts"]["versions"] == 20_020, 300, "all recorded")
        daemon.wait_idle(60)
        assert daemon.status()["watcher"]["overflows"] >= 1
    assert place.value("SELECT COUNT(DISTINCT local_path) FROM image_versions") == 20_020
    place.check()


def test_a_burst_into_new_folders(daemon: Daemon) -> None:
    """Folders race with their first files, and whole trees are moved in."""
    place = daemon.place
    daemon.wait_idle()
    staged = place.base / "staged"
    for n in range(60):
        place.add(f"n{n % 12}/{'final_crops' if n % 2 else 'initial_scan'}/{n}.jpg", n % 9)
    (staged / "moved/final_crops").mkdir(parents=True)
    for n in range(5):
        (staged / f"moved/final_crops/{n}.jpg").write_bytes(small_jpeg(n))
    (staged / "moved").rename(place.images / "moved")
    keys = [f"scenes/n{n % 12}-{n}.jpg" for n in range(60)] + [f"scenes/moved-{n}.jpg" for n in range(5)]
    daemon.wait_live(keys, 15)
    (place.images / "n0").rename(place.images / "renamed")
    moved = [key.replace("n0-", "renamed-") for key in keys if "/n0-" in key]
    daemon.wait_live([*keys, *moved], 15)
    shutil.rmtree(place.images / "renamed")
    daemon.sync()
    daemon.wait_live([*keys, *moved])
    daemon.wait_idle()
    place.check()


def test_two_installations_do_not_meet(new_place: NewPlace) -> None:
    one, two = new_place(), new_place()
    with one.daemon() as first, two.daemon() as second:
        one.add("b/final_crops/x.jpg", 1)
        two.add("b/final_crops/y.jpg", 2)
        first.wait_live(["scenes/b-x.jpg"])
        second.wait_live(["scenes/b-y.jpg"])


def test_workers_die_with_a_killed_daemon(daemon: Daemon) -> None:
    daemon.place.add("b/final_crops/x.jpg", 1)
    daemon.wait_live(["scenes/b-x.jpg"])
    children = _children(daemon.process.pid)
    assert children
    daemon.kill()
    wait_for(lambda: not any(_is_worker(pid) for pid in children), 10, "workers gone")
    again = subprocess.run([BIN / "syncd", "once", "--config", daemon.place.config], check=False, timeout=20)
    assert again.returncode == 0


def _children(parent: int) -> list[int]:
    """A process's children and theirs."""
    found = [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and f"\nPPid:\t{parent}\n" in _proc_status(path)
    ]
    return [*found, *(below for child in found for below in _children(child))]


def _proc_status(path: Path) -> str:
    try:
        return (path / "status").read_text()
    except OSError:
        return ""


def _is_worker(pid: int) -> bool:
    try:
        return b"syncd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
