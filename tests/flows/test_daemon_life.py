"""The daemon as a process: locks, signals, kills, restarts, roots that vanish, guards."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import sqlite3
import stat
import time

import pytest
from PIL import Image

from tests.flows.place import Daemon, Place, call, eventually, jpeg
from tests.pictures import make_picture
from tests.servers import SeaweedServer


def test_once_and_a_second_daemon_are_refused_while_one_runs(place: Place, daemon: Daemon) -> None:
    place.put("b/final_crops/x.jpg", 1)
    eventually(place.live)
    done = place.program("syncd", "once", "--config", place.config)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    second = place.program("syncd", "run", "--config", place.config)
    assert second.returncode == 3
    assert daemon.call("GET", "/readyz").status == 200, "the second took the first one's socket"
    daemon.end()
    assert place.once()["state"] == "done"


def test_no_daemon_is_exit_code_3(place: Place) -> None:
    for command in (("status",), ("sync",), ("batches", "list")):
        done = place.program("syncctl", *command, "--socket", place.socket)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr


def test_sigterm_ends_in_order_and_a_restart_goes_on(place: Place) -> None:
    for seed in range(30):
        place.put(f"b/final_crops/{seed}.jpg", seed)
    with place.daemon() as daemon:
        time.sleep(0.3)
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
        assert time.monotonic() - began < 10
        assert not place.socket.exists()
    _consistent(place)
    with place.daemon():
        eventually(lambda: len(place.live()) == 30, 15)
    _consistent(place)


def test_sighup_reloads_what_can_change(place: Place, daemon: Daemon) -> None:
    place.put("b/final_crops/x.jpg", 1)
    eventually(place.live)
    place.configure(batches={"default_public": False, "settle_seconds": 0.2})
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: daemon.get("/api/config")["settings"]["batches"]["default_public"] is False, 5)
    place.put("later/final_crops/y.jpg", 2)
    eventually(
        lambda: place.sql("SELECT is_public FROM public_site_batches WHERE batch_name = 'later'") == [(0,)]
    )
    place.configure(batches={"setle_seconds": 1})
    answer = daemon.call("POST", "/api/config/reload")
    assert 400 <= answer.status < 500
    assert b"setle_seconds" in answer.body
    assert daemon.call("GET", "/readyz").status == 200


def test_socket_and_state_are_private_whatever_the_umask(place: Place) -> None:
    old = os.umask(0)
    try:
        with place.daemon():
            place.put("b/final_crops/x.jpg", 1)
            eventually(place.live)
            assert stat.S_IMODE(place.socket.stat().st_mode) == 0o600
            assert stat.S_IMODE(place.socket.parent.stat().st_mode) in (0o700, 0o750)
            assert stat.S_IMODE(place.state.stat().st_mode) == 0o700
            for path in place.state.rglob("*"):
                if path.is_file():
                    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    finally:
        os.umask(old)


def test_a_stale_socket_is_taken_over_and_another_file_is_not(place: Place) -> None:
    with place.daemon() as daemon:
        daemon.kill()
    assert place.socket.exists()
    with place.daemon():
        pass
    place.socket.write_text("precious")
    done = place.program("syncd", "run", "--config", place.config)
    assert done.returncode != 0
    assert place.socket.read_text() == "precious"


def test_workers_die_with_a_killed_daemon(place: Place) -> None:
    with place.daemon() as daemon:
        place.put("b/final_crops/x.jpg", 1)
        eventually(place.live)
        children = _children(daemon.process.pid)
        assert children
        daemon.kill()
        eventually(lambda: not [pid for pid in children if _alive(pid)], 5)
    with place.daemon():
        pass


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found += [int(entry), *_children(int(entry))]
    return found


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _consistent(place: Place) -> set[str]:
    """What the catalogue calls live is in storage with those bytes; nothing is recorded twice. A key that
    was being written when the daemon was killed is one that the catalogue itself knows to be unsettled."""
    db = sqlite3.connect(place.state / "catalogue.db", timeout=10)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    rows = db.execute("SELECT r2_key, sha256 FROM image_versions WHERE r2_key IS NOT NULL").fetchall()
    doubles = "SELECT local_path, sha256, count(*) FROM image_versions GROUP BY 1, 2 HAVING count(*) > 1"
    assert db.execute(doubles).fetchall() == []
    unsettled = {row[0] for row in db.execute("SELECT key FROM loose_objects")}
    db.close()
    objects = place.objects()
    for key, sha256 in rows:
        assert key in objects, key
        assert key in unsettled or hashlib.sha256(objects[key]).hexdigest() == sha256, key
    return unsettled


def _kill_and_restart(place: Place, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    count = 25
    for number in range(count):
        place.put(f"b/final_crops/{number}.jpg", number)
    for attempt in range(kills):
        daemon = Daemon(place)
        try:
            if chance.random() < 0.8:
                daemon.wait_ready()
            place.put(f"b/final_crops/{attempt % count}.jpg", 1000 + attempt)
            time.sleep(chance.random() * 0.5)
        finally:
            daemon.kill()
        if (place.state / "catalogue.db").exists():
            _consistent(place)
    expected = {}
    for path in (place.images / "b/final_crops").iterdir():
        expected[f"scenes/b-{path.name}"] = path.read_bytes()
    with place.daemon() as daemon:
        eventually(lambda: place.objects() == expected, 15)
        eventually(lambda: daemon.get("/api/status")["idle"], 10)
        assert len(place.live()) == count
    assert _consistent(place) == set()
    leftovers = [
        p
        for p in place.storage.rglob("*")
        if p.is_file() and p.relative_to(place.storage).as_posix() not in expected
    ]
    assert leftovers == []


def test_killed_in_the_middle_nothing_is_lost_or_doubled(place: Place) -> None:
    _kill_and_restart(place, 4, 35)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_two_hundred_times(place: Place) -> None:
    _kill_and_restart(place, 200, 36)


@pytest.mark.parametrize("how", ["moved away", "emptied"])
@pytest.mark.timeout(60)
def test_a_root_that_vanishes_blocks_and_comes_back(place: Place, how: str) -> None:
    place.configure(batches={"on_missing": "withdraw"})
    for seed in range(3):
        place.put(f"b/final_crops/{seed}.jpg", seed)
    with place.daemon() as daemon:
        eventually(lambda: len(place.live()) == 3)
        away = place.home / "away"
        place.images.rename(away)
        if how == "emptied":
            place.images.mkdir()
        blocked = eventually(daemon.blocked, 30)
        assert blocked[0]["reason"]
        assert daemon.get("/api/status")["sources"][0]["state"] == "blocked"
        daemon.call("POST", "/api/admin/sync", {})
        time.sleep(1)
        assert (len(place.objects()), len(place.live())) == (3, 3)
        if how == "emptied":
            place.images.rmdir()
        away.rename(place.images)
        eventually(lambda: not daemon.blocked(), 30)
        place.put("b/final_crops/new.jpg", 9)
        eventually(lambda: len(place.live()) == 4, 10)
        assert daemon.get("/api/guards")["items"] == []


def test_a_daemon_that_starts_without_its_root_waits_for_it(place: Place) -> None:
    place.images.rmdir()
    with place.daemon() as daemon:
        eventually(daemon.blocked, 10)
        place.images.mkdir()
        place.put("b/final_crops/x.jpg", 1)
        eventually(place.live, 15)
        eventually(lambda: not daemon.blocked(), 10)


def _guarded(place: Place, daemon: Daemon) -> dict[str, str]:
    for seed in range(6):
        place.put(f"b/final_crops/{seed}.jpg", seed)
    eventually(lambda: len(place.live()) == 6)
    for seed in range(4):
        (place.images / f"b/final_crops/{seed}.jpg").unlink()
    guard: dict[str, str] = eventually(lambda: daemon.get("/api/guards")["items"])[0]
    assert (int(guard["count"]), len(guard["actions"])) == (4, 4)
    assert guard["reason"]
    assert len(place.objects()) == 6
    return guard


def test_a_guarded_removal_waits_for_approval(place: Place) -> None:
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": 2})
    with place.daemon() as daemon:
        guard = _guarded(place, daemon)
        assert place.ctl("sync", "--wait", exit_code=5)["state"] == "refused"
        assert len(place.objects()) == 6
        place.put("b/final_crops/0.jpg", 0)  # one of them is back: only the others are still called for
        eventually(lambda: int(daemon.get("/api/guards")["items"][0]["count"]) == 3, 10)
        current = daemon.get("/api/guards")["items"][0]["id"]
        place.ctl("approve", current)
        eventually(lambda: set(place.objects()) == {f"scenes/b-{seed}.jpg" for seed in (0, 4, 5)})
        eventually(lambda: set(place.live()) == {"b-0", "b-4", "b-5"})
        eventually(lambda: daemon.get("/api/guards")["items"] == [])
        assert guard["kind"]


def test_a_guard_goes_with_its_cause(place: Place) -> None:
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": 2})
    with place.daemon() as daemon:
        _guarded(place, daemon)
        for seed in range(4):
            place.put(f"b/final_crops/{seed}.jpg", seed)
        eventually(lambda: daemon.get("/api/guards")["items"] == [], 15)
        assert len(place.objects()) == 6


def test_another_storage_is_filled_on_restart_and_the_old_one_left(place: Place) -> None:
    place.put("b/final_crops/x.jpg", 1)
    with place.daemon():
        eventually(place.live)
    new = place.home / "storage2"
    place.configure(storage={"base_path": str(new)})
    with place.daemon():
        eventually(lambda: place.objects(new) == {"scenes/b-x.jpg": jpeg(1)})
    assert place.objects() == {"scenes/b-x.jpg": jpeg(1)}


def test_changes_made_while_it_was_down_are_caught_up(place: Place) -> None:
    place.put("b/final_crops/x.jpg", 1)
    with place.daemon():
        eventually(place.live)
    place.put("b/final_crops/x.jpg", 2)
    place.put("new/final_crops/y.jpg", 3)
    with place.daemon():
        eventually(lambda: place.objects() == {"scenes/b-x.jpg": jpeg(2), "scenes/new-y.jpg": jpeg(3)})


def test_the_archive_is_untouched_by_a_daemon(place: Place) -> None:
    for seed in range(4):
        place.put(f"b/final_crops/{seed}.jpg", seed)
    place.put("b/final_crops/cut.jpg", jpeg(1)[:3000])
    before = place.archive_digest()
    with place.daemon() as daemon:
        eventually(lambda: len(place.live()) == 4)
        daemon.publish("b", False)
        eventually(lambda: not place.live())
        daemon.post("/api/verify", {"deep": True, "repair": True})
    assert place.archive_digest() == before


def test_storage_that_is_full_or_gone_records_nothing_false(place: Place) -> None:
    place.storage.write_text("a file where the folder should be")
    place.put("b/final_crops/x.jpg", 1)
    with place.daemon() as daemon:
        eventually(lambda: place.sql("SELECT count(*) FROM image_versions") == [(1,)])
        time.sleep(1)
        assert place.live() == {}
        status = daemon.get("/api/status")
        visible = (
            status["blocked"]
            or [s for s in status["services"] if s["last_error"]]
            or daemon.get("/api/jobs")["items"]
        )
        assert visible
        place.storage.unlink()
        eventually(place.live, 15)
    assert place.objects() == {"scenes/b-x.jpg": jpeg(1)}


# --- on S3 ------------------------------------------------------------------------------------------


def _on_s3(place: Place, server: SeaweedServer, **more: str) -> str:
    bucket = server.make_bucket()
    place.configure(
        storage={
            "type": "r2", "endpoint_url": server.endpoint, "access_key_id": server.access_key,
            "secret_access_key": server.secret_key, "bucket_name": bucket,
            "public_url": "https://photos.example.com/site", **more,
        }
    )  # fmt: skip
    return bucket


def test_on_s3_objects_carry_their_metadata(place: Place, s3_server: SeaweedServer) -> None:
    bucket = _on_s3(place, s3_server, prefix="p/")
    place.put("b/final_crops/x y.jpg", 1)
    buffer = io.BytesIO()
    make_picture(4, 120, 80).save(buffer, "TIFF")
    place.put("b/final_crops/t.tif", buffer.getvalue())
    with place.daemon() as daemon:
        eventually(lambda: len(place.live()) == 2, 15)
        assert s3_server.keys(bucket) == ["p/scenes/b-t.jpg", "p/scenes/b-x y.jpg"]
        assert s3_server.read(bucket, "p/scenes/b-x y.jpg") == jpeg(1)
        head = _head(s3_server, bucket, "p/scenes/b-x y.jpg")
        assert head["ContentType"] == "image/jpeg"
        assert head["CacheControl"]
        assert head["Metadata"]["sha256"] == hashlib.sha256(jpeg(1)).hexdigest()
        assert "source-sha256" not in head["Metadata"]
        rendered = s3_server.read(bucket, "p/scenes/b-t.jpg")
        assert Image.open(io.BytesIO(rendered)).format == "JPEG"
        meta = _head(s3_server, bucket, "p/scenes/b-t.jpg")["Metadata"]
        assert meta["sha256"] == hashlib.sha256(rendered).hexdigest()
        assert meta["source-sha256"] == hashlib.sha256(buffer.getvalue()).hexdigest()
        urls = [v["url"] for s in daemon.get("/api/scenes")["items"] for v in s["versions"]]
        assert "https://photos.example.com/site/p/scenes/b-x%20y.jpg" in urls
        place.put("b/final_crops/x y.jpg", 2)
        eventually(lambda: s3_server.read(bucket, "p/scenes/b-x y.jpg") == jpeg(2))
        report = daemon.post("/api/verify", {"deep": True})
        assert (report["ok"], report["missing"], report["wrong"]) == (2, [], [])
        daemon.publish("b", False)
        eventually(lambda: s3_server.keys(bucket) == [])
    assert s3_server.secret_key.encode() not in daemon.log.read_bytes()


def _head(server: SeaweedServer, bucket: str, key: str) -> dict[str, object]:
    import botocore.session

    client = botocore.session.get_session().create_client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1",
        aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key,
    )  # fmt: skip
    try:
        found: dict[str, object] = client.head_object(Bucket=bucket, Key=key)
        return found
    finally:
        client.close()


def test_from_local_to_s3_fills_it(place: Place, s3_server: SeaweedServer) -> None:
    place.put("b/final_crops/x.jpg", 1)
    place.once()
    bucket = _on_s3(place, s3_server)
    assert place.once()["uploaded"] == 1
    assert s3_server.keys(bucket) == ["scenes/b-x.jpg"]
    assert place.objects() == {"scenes/b-x.jpg": jpeg(1)}
    assert place.once()["actions"] == []


@pytest.mark.timeout(60)
def test_s3_that_goes_away_and_comes_back(place: Place, s3_server: SeaweedServer) -> None:
    bucket = _on_s3(place, s3_server)
    place.put("b/final_crops/x.jpg", 1)
    with place.daemon() as daemon:
        eventually(place.live, 15)
        s3_server.stop()
        try:
            for seed in (2, 3):
                place.put(f"b/final_crops/{seed}.jpg", seed)
            eventually(lambda: place.sql("SELECT count(*) FROM image_versions") == [(3,)])
            time.sleep(1)
            assert set(place.live()) == {"b-x"}, "recorded as live what no storage confirmed"
            assert daemon.call("GET", "/readyz").status == 200
        finally:
            s3_server.start()
        eventually(lambda: len(place.live()) == 3, 35)
    assert len(s3_server.keys(bucket)) == 3


def test_refused_credentials_show_and_record_nothing(place: Place, s3_server: SeaweedServer) -> None:
    _on_s3(place, s3_server, secret_access_key="wrong-secret-key")
    place.put("b/final_crops/x.jpg", 1)
    with place.daemon() as daemon:

        def complains() -> bool:
            status = daemon.get("/api/status")
            return any(s["state"] == "needs_auth" for s in status["services"]) or bool(status["blocked"])

        eventually(complains, 12)
        assert place.live() == {}
        assert daemon.call("GET", "/readyz").status == 200
    assert b"wrong-secret-key" not in daemon.log.read_bytes()


def test_ctl_lists_are_the_api_replies(place: Place, daemon: Daemon) -> None:
    place.put("b/final_crops/x.jpg", 1)
    eventually(place.live)
    assert place.program("syncctl", "wait", "--idle", "--socket", place.socket).returncode == 0
    assert place.ctl("scenes", "list") == daemon.get("/api/scenes")
    assert place.ctl("scenes", "show", "b-x") == daemon.get("/api/scenes/b-x")
    assert place.ctl("batches", "list") == daemon.get("/api/batches")
    assert place.ctl("guards") == daemon.get("/api/guards")
    assert place.ctl("jobs", "list") == daemon.get("/api/jobs")
    assert set(place.ctl("status")) == set(daemon.get("/api/status"))
    assert call(place.socket, "GET", "/healthz").status == 200
