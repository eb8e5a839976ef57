"""A running daemon and an archive that changes: what goes live, what comes down, what the API says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from tests.flows.place import Daemon, Place, eventually, jpeg


def scenes(daemon: Daemon, batch: str) -> dict[str, dict[str, Any]]:
    return {item["scene_id"]: item for item in daemon.get(f"/api/scenes?batch={quote(batch)}")["items"]}


def objects(daemon: Daemon, batch: str) -> dict[str, bytes]:
    return {key: data for key, data in daemon.place.objects().items() if key.startswith(f"scenes/{batch}-")}


def test_a_new_batch_is_private_until_it_is_published(shared: Daemon) -> None:
    place = shared.place
    place.put("n/initial_scan/x.jpg", 1)
    place.put("n/final_crops/x_crop.jpg", 2)
    eventually(lambda: len(scenes(shared, "n").get("n-x", {}).get("versions", [])) == 2)
    assert not scenes(shared, "n")["n-x"]["live"]
    assert objects(shared, "n") == {}
    shared.publish("n")
    eventually(lambda: objects(shared, "n") == {"scenes/n-x.jpg": jpeg(2)})
    scene = eventually(lambda: (found := scenes(shared, "n")["n-x"])["live"] and found)
    current = [version for version in scene["versions"] if version["is_current"]]
    assert [(v["version_type"], v["r2_key"]) for v in current] == [("final_crops", "scenes/n-x.jpg")]
    assert current[0]["url"].endswith("/scenes/n-x.jpg")
    assert current[0]["sha256"] == hashlib.sha256(jpeg(2)).hexdigest()
    assert current[0]["size_bytes"] == len(jpeg(2))
    batch = next(item for item in shared.get("/api/batches")["items"] if item["name"] == "n")
    expected = {
        "is_public": True,
        "source_directory": None,
        "scenes": 1,
        "versions": 2,
        "live": 1,
        "failed": 0,
    }
    assert {key: batch[key] for key in expected} == expected


def test_publishing_by_sql_takes_effect_within_five_seconds(shared: Daemon) -> None:
    shared.place.put("q/final_crops/x.jpg", 3)
    eventually(lambda: scenes(shared, "q"))
    shared.place.write_sql("UPDATE public_site_batches SET is_public = 1 WHERE batch_name = 'q'")
    eventually(lambda: objects(shared, "q"), within_s=5)
    eventually(lambda: "q-x" in shared.place.live(), within_s=1)
    shared.place.write_sql("UPDATE public_site_batches SET is_public = 0 WHERE batch_name = 'q'")
    eventually(lambda: not objects(shared, "q") and "q-x" not in shared.place.live(), within_s=5)
    assert scenes(shared, "q")["q-x"]["versions"]


def test_publishing_and_withdrawing_by_command_passes_the_guard(shared: Daemon) -> None:
    place = shared.place
    for seed in range(6):  # more than the guard's three
        place.put(f"c/final_crops/{seed}.jpg", seed)
    eventually(lambda: len(scenes(shared, "c")) == 6)
    place.ctl("batches", "publish", "c")
    eventually(lambda: len(objects(shared, "c")) == 6)
    refused = place.program("syncctl", "batches", "unpublish", "c", "--socket", place.socket)
    assert refused.returncode != 0, "it did not ask"
    assert "6" in refused.stdout + refused.stderr
    assert len(objects(shared, "c")) == 6
    place.ctl("batches", "unpublish", "c", "--yes")
    eventually(lambda: objects(shared, "c") == {})
    eventually(lambda: not any(key.startswith("c-") for key in place.live()))
    assert len(scenes(shared, "c")) == 6
    assert shared.get("/api/guards")["items"] == []


def test_a_replaced_file_moves_the_key(shared: Daemon) -> None:
    shared.place.put("r/final_crops/x.jpg", 1)
    eventually(lambda: scenes(shared, "r"))
    shared.publish("r")
    eventually(lambda: objects(shared, "r"))
    shared.place.put("r/final_crops/x.jpg", 2)
    eventually(lambda: objects(shared, "r") == {"scenes/r-x.jpg": jpeg(2)})

    def moved() -> bool:
        versions = sorted(scenes(shared, "r")["r-x"]["versions"], key=lambda version: version["version_id"])
        return [version["r2_key"] for version in versions] == [None, "scenes/r-x.jpg"]

    eventually(moved)


def test_source_directory_by_api_and_by_command(shared: Daemon) -> None:
    shared.place.put("s/initial_scan/x.jpg", 1)
    shared.place.put("s/final_crops/x_crop.jpg", 2)
    eventually(lambda: len(scenes(shared, "s").get("s-x", {}).get("versions", [])) == 2)
    shared.publish("s")
    eventually(lambda: objects(shared, "s") == {"scenes/s-x.jpg": jpeg(2)})
    shared.place.ctl("batches", "source", "s", "initial_scan")
    eventually(lambda: objects(shared, "s") == {"scenes/s-x.jpg": jpeg(1)})
    assert shared.call("PATCH", "/api/batches/s", {"source_directory": None}).status == 200
    eventually(lambda: objects(shared, "s") == {"scenes/s-x.jpg": jpeg(2)})
    assert 400 <= shared.call("PATCH", "/api/batches/s", {"source_directory": "../../etc"}).status < 500


def test_a_file_written_slowly_is_read_once_it_is_whole(shared: Daemon) -> None:
    data = jpeg(7)
    path = shared.place.images / "slow/final_crops/x.jpg"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for at in range(0, len(data), len(data) // 6 + 1):
            file.write(data[at : at + len(data) // 6 + 1])
            file.flush()
            time.sleep(0.04)
    eventually(lambda: scenes(shared, "slow"))
    eventually(
        lambda: any(
            version["sha256"] == hashlib.sha256(data).hexdigest()
            for version in scenes(shared, "slow")["slow-x"]["versions"]
            if version["is_current"]
        )
    )


def test_a_folder_moved_in_whole_and_one_copied_deep(shared: Daemon, tmp_path: Path) -> None:
    outside = shared.place.home / "incoming"
    for stage in ("initial_scan", "final_crops"):
        (outside / stage).mkdir(parents=True)
        for seed in range(5):
            (outside / stage / f"{seed}.jpg").write_bytes(jpeg(seed))
    outside.rename(shared.place.images / "moved")
    eventually(lambda: sum(len(s["versions"]) for s in scenes(shared, "moved").values()) == 10)


def test_dry_run_by_api_answers_with_the_plan_and_does_nothing(shared: Daemon) -> None:
    shared.place.put("d/final_crops/x.jpg", 1)
    eventually(lambda: scenes(shared, "d"))
    shared.post("/api/pause", {"service": "site"})
    try:
        shared.place.write_sql("UPDATE public_site_batches SET is_public = 1 WHERE batch_name = 'd'")
        answer = shared.call("POST", "/api/admin/sync", {"dry_run": True, "batch_filter": ["d"]})
        assert answer.status == 200
        assert answer.json["dry_run"] is True
        steps = [(a["action"], a["scene_id"], a["key"]) for a in answer.json["actions"]]
        assert steps == [("upload", "d-x", "scenes/d-x.jpg")]
        assert objects(shared, "d") == {}
        states = {s["name"]: s["state"] for s in shared.get("/api/status")["services"]}
        assert states["site"] == "paused"
    finally:
        shared.post("/api/resume", {"service": "site"})
    eventually(lambda: objects(shared, "d"))


def test_both_only_options_are_wrong_usage(shared: Daemon) -> None:
    answer = shared.call("POST", "/api/admin/sync", {"db_only": True, "images_only": True})
    assert 400 <= answer.status < 500
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert {"type", "title", "status", "detail"} <= set(answer.json)
    shared.place.ctl("sync", "--db-only", "--images-only", exit_code=2)


def test_sync_wait_prints_the_final_document_only(shared: Daemon) -> None:
    report = shared.place.ctl("sync", "--wait", exit_code=None)
    assert report["state"] in ("done", "partial")
    fields = (
        "job_id scanned scenes versions uploaded removed unchanged bytes duration_s failed skipped ignored"
    )
    assert {*fields.split(), "actions"} <= set(report)
    job = shared.get(f"/api/jobs/{report['job_id']}")
    assert job["state"] in ("done", "partial")


def test_a_failure_shows_everywhere_and_goes_when_mended(shared: Daemon) -> None:
    place = shared.place
    place.put("f/final_crops/ok.jpg", 1)
    path = place.put("f/final_crops/cut.jpg", jpeg(2)[:3000])
    eventually(lambda: len(scenes(shared, "f")) == 2)
    shared.publish("f")
    eventually(lambda: objects(shared, "f"))
    report = shared.sync(batch_filter=["f"])
    assert report["state"] == "partial"
    assert [item["path"] for item in report["failed"]] == [str(path)]
    assert place.ctl("sync", "--batch", "f", "--wait", exit_code=4)["state"] == "partial"
    eventually(
        lambda: next(b for b in shared.get("/api/batches")["items"] if b["name"] == "f")["failed"] == 1
    )
    place.put("f/final_crops/cut.jpg", 2)
    eventually(lambda: len(objects(shared, "f")) == 2)
    assert shared.sync(batch_filter=["f"])["state"] == "done"


def test_pull_is_verified_and_never_overwrites(shared: Daemon, tmp_path: Path) -> None:
    place = shared.place
    for seed in (1, 2, 3):
        place.put(f"p/final_crops/{seed}.jpg", seed)
    eventually(lambda: len(scenes(shared, "p")) == 3)
    shared.publish("p")
    eventually(lambda: len([k for k in place.live() if k.startswith("p-")]) == 3)
    target = tmp_path / "out"
    target.mkdir()
    (target / "p-2.jpg").write_bytes(b"mine")
    report = place.ctl("pull", "--batch", "p", "--to", target, exit_code=4)
    assert report["pulled"] == 2
    assert {Path(item["path"]).name: item["sha256"] for item in report["files"]} == {
        f"p-{seed}.jpg": hashlib.sha256(jpeg(seed)).hexdigest() for seed in (1, 3)
    }
    assert [item["scene_id"] for item in report["failed"]] == ["p-2"]
    assert (target / "p-2.jpg").read_bytes() == b"mine"
    assert (target / "p-1.jpg").read_bytes() == jpeg(1)
    # Damaged in storage: not handed over as if it were right.
    stored = place.storage / "scenes/p-3.jpg"
    stored.write_bytes(jpeg(4))
    other = tmp_path / "other"
    report = place.ctl("pull", "p-3", "p-1", "--to", other, exit_code=4)
    assert (report["pulled"], [item["scene_id"] for item in report["failed"]]) == (1, ["p-3"])
    assert {path.name for path in other.iterdir()} == {"p-1.jpg"}
    stored.write_bytes(jpeg(3))


def test_similar_is_nearest_first_and_leaves_itself_out(shared: Daemon, tmp_path: Path) -> None:
    place = shared.place
    for name, seed in (("one", 21), ("other", 22)):
        place.put(f"m/final_crops/{name}.jpg", seed)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg(21))).resize((300, 200)).save(buffer, "JPEG", quality=60)
    place.put("m/final_crops/again.jpg", buffer.getvalue())
    place.put("m/initial_scan/hidden.jpg", jpeg(21) + b"\0")
    place.put("m/final_crops/hidden.jpg", 23)
    eventually(lambda: len(scenes(shared, "m")) == 4)
    shared.publish("m")
    eventually(lambda: len([k for k in place.live() if k.startswith("m-")]) == 4)
    picture = tmp_path / "ask.jpg"
    picture.write_bytes(jpeg(21))
    items = place.ctl("similar", picture)["items"]
    found = [item["scene_id"] for item in items if item["scene_id"].startswith("m-")]
    assert sorted(found) == ["m-again", "m-one"]
    assert items == sorted(items, key=lambda item: (item["distance"], item["scene_id"]))
    assert all(item["r2_key"] and item["distance"] <= 8 for item in items)
    items = shared.post("/api/similar?max_distance=64&limit=2", {"scene_id": "m-one"})["items"]
    assert items[0]["scene_id"] == "m-again"
    assert len(items) == 2
    assert "m-one" not in {item["scene_id"] for item in items}
    assert 400 <= shared.call("POST", "/api/similar", b"no picture").status < 500


def test_preview_is_a_small_upright_jpeg(shared: Daemon) -> None:
    shared.place.put("v/final_crops/x.jpg", jpeg(3, None, 6))
    version = eventually(lambda: scenes(shared, "v"))["v-x"]["versions"][0]
    answer = shared.call("GET", f"/api/preview?version_id={version['version_id']}&width=60&height=60")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    width, height = Image.open(io.BytesIO(answer.body)).size
    assert (width, height) == (40, 60)
    assert shared.call("GET", "/api/preview?version_id=99999999&width=60&height=60").status == 404


def test_verify_finds_and_repairs(place: Place) -> None:
    for seed in range(5):
        place.put(f"b/final_crops/{seed}.jpg", seed)
    with place.daemon() as daemon:
        eventually(lambda: len(place.live()) == 5)
        report = daemon.post("/api/verify", {})
        assert (report["checked"], report["ok"], report["missing"], report["wrong"], report["orphaned"]) == (
            5, 5, [], [], []
        )  # fmt: skip
        (place.storage / "scenes/b-0.jpg").unlink()
        (place.storage / "scenes/b-1.jpg").write_bytes(b"other bytes")
        (place.storage / "scenes/stray.jpg").write_bytes(jpeg(9))
        (place.storage / "mine.txt").write_text("not syncd's")
        flipped = bytearray(jpeg(2))
        flipped[len(flipped) // 2] ^= 1
        (place.storage / "scenes/b-2.jpg").write_bytes(flipped)
        report = place.ctl("verify", "--deep", exit_code=4)
        assert report["missing"] == ["scenes/b-0.jpg"]
        assert {item["key"] for item in report["wrong"]} == {"scenes/b-1.jpg", "scenes/b-2.jpg"}
        assert all(item["expected"] != item["found"] for item in report["wrong"])
        assert report["orphaned"] == ["scenes/stray.jpg"]
        assert len(place.objects()) == 6, "verify alone changes nothing"
        place.ctl("verify", "--deep", "--repair", exit_code=None)
        report = place.ctl("verify", "--deep")
        assert (report["ok"], report["missing"], report["wrong"], report["orphaned"]) == (5, [], [], [])
        assert place.objects() == {
            "mine.txt": b"not syncd's", **{f"scenes/b-{seed}.jpg": jpeg(seed) for seed in range(5)}
        }  # fmt: skip
        assert 0 < place.ctl("verify", "--sample", "40")["checked"] < 5


def test_activity_ids_are_consecutive_and_survive_a_restart(place: Place) -> None:
    def ids(daemon: Daemon) -> list[int]:
        page = daemon.get("/api/activity?since=0&limit=1000")
        found = [item["id"] for item in page["items"]]
        assert page["last_id"] == found[-1]
        return found

    place.put("b/final_crops/x.jpg", 1)
    with place.daemon() as daemon:
        eventually(place.live)
        before = eventually(lambda: ids(daemon))
        daemon.kill()
    with place.daemon() as daemon:
        place.put("b/final_crops/y.jpg", 2)
        eventually(lambda: len(place.live()) == 2)
        after = eventually(lambda: (found := ids(daemon)) and found[-1] > before[-1] and found)
    assert after == list(range(after[0], after[-1] + 1))
    assert set(before) <= set(after)


def test_the_activity_stream_numbers_what_the_page_numbers(shared: Daemon) -> None:
    since = shared.get("/api/status")["last_activity_id"]
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(shared.place.socket))
    client.sendall(
        f"GET /api/activity/stream?since={max(0, since - 2)} HTTP/1.1\r\nHost: syncd\r\n\r\n".encode()
    )
    shared.place.put("stream/final_crops/x.jpg", 1)
    received = b""

    def numbers() -> list[int]:
        return [int(found) for found in re.findall(rb"^id: ?(\d+)\r?$", received, re.MULTILINE)]

    while not numbers() or numbers()[-1] <= since:
        received += client.recv(65536)
    client.close()
    assert b"text/event-stream" in received
    assert numbers() == list(range(numbers()[0], numbers()[-1] + 1))
    items = [json.loads(line[5:]) for line in received.splitlines() if line.startswith(b"data:")]
    page = {item["id"]: item for item in shared.get(f"/api/activity?since={since - 3}&limit=1000")["items"]}
    assert all(page[item["id"]] == item for item in items if item["id"] in page)


def test_names_never_reach_the_terminal_raw(shared: Daemon) -> None:
    place = shared.place
    for seed, name in enumerate(
        ("esc\x1b]0;own\x07.jpg", "bidi\u202egpj.jpg", "bell\x07.jpg", "cut\x1b[2J.jpg")
    ):
        place.put(f"hostile/final_crops/{name}", jpeg(seed) if seed < 3 else b"no picture")
    place.put("hostile/final_crops/ok.jpg", 9)
    eventually(lambda: "hostile-ok" in scenes(shared, "hostile"))
    shared.publish("hostile")
    eventually(lambda: "hostile-ok" in place.live())
    commands = (
        "scenes list --batch hostile",
        "activity",
        "sync --batch hostile --wait",
        "status",
        "jobs list",
    )
    for command in (*commands, "batches list"):
        done = place.program("syncctl", *command.split(), "--socket", place.socket)
        for text in (done.stdout, done.stderr):
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), command
    assert not re.search(b"[\x00-\x08\x0b-\x1a\x1c-\x1f\x07]", shared.log.read_bytes())
    assert b"\x1b]0;" not in shared.log.read_bytes()


def test_bad_requests_are_4xx_problems(shared: Daemon) -> None:
    wrong: list[tuple[str, str, Any]] = [
        ("GET", "/api/nothing", None), ("GET", "/api/scenes/none", None), ("GET", "/api/jobs/none", None),
        ("GET", "/api/scenes?limit=x", None), ("GET", "/api/scenes?limit=0", None),
        ("GET", "/api/scenes?cursor=%00", None),
        ("POST", "/api/admin/sync", b"{"), ("POST", "/api/admin/sync", {"batch_filter": 3}),
        ("POST", "/api/admin/sync", {"nonsense": True}),
        ("PATCH", "/api/batches/none", {"is_public": True}),
        ("PATCH", "/api/batches/n", {"is_public": "yes"}), ("POST", "/api/approve/none", None),
        ("POST", "/api/pause", {"service": "none"}), ("POST", "/api/verify", {"sample": 0}),
        ("POST", "/api/pull", {"to": ""}), ("DELETE", "/api/status", None),
        ("GET", "/api/activity?since=-x", None),
        ("GET", "/api/preview?version_id=1&width=0&height=5", None),
        ("GET", "/api/preview?version_id=1&width=999999&height=5", None),
    ]  # fmt: skip
    for method, path, body in wrong:
        answer = shared.call(method, path, body)
        assert 400 <= answer.status < 500, f"{method} {path} {body!r}: {answer.status} {answer.body[:300]!r}"
        assert answer.headers["content-type"].startswith("application/problem+json"), path
        assert answer.json["status"] == answer.status


def test_openapi_and_metrics_describe_what_runs(shared: Daemon) -> None:
    document = shared.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    served = (
        "/healthz /readyz /metrics /api/status /api/activity /api/activity/stream /api/admin/sync"
        " /api/admin/sync/status /api/jobs /api/jobs/{id} /api/jobs/{id}/retry /api/jobs/{id}/cancel"
        " /api/batches /api/batches/{name} /api/scenes /api/scenes/{scene_id} /api/preview /api/pull"
        " /api/similar /api/verify /api/approve/{guard_id} /api/guards /api/pause /api/resume"
        " /api/config/reload"
    )
    for path in served.split():
        assert path in document["paths"], path
    metrics = shared.call("GET", "/metrics")
    assert metrics.status == 200
    assert b"# TYPE" in metrics.body
    assert shared.call("GET", "/healthz").status == 200


def test_status_has_its_shape(shared: Daemon) -> None:
    status = shared.get("/api/status")
    assert {"version", "uptime_s", "services", "queues", "counts", "sources", "blocked", "watcher"} <= set(
        status
    )
    names = {service["name"] for service in status["services"]}
    assert {"batches", "site", "control"} <= names
    for service in status["services"]:
        assert {"name", "state", "since", "restarts", "last_error"} <= set(service)
        assert service["state"] == "running"
    assert set(status["counts"]) >= {"batches", "public_batches", "scenes", "versions", "live", "events",
                                     "event_photos", "faces", "albums", "library_photos"}  # fmt: skip
    assert status["watcher"]["mode"] in ("inotify", "polling")
    for queue in status["queues"].values():
        assert {"waiting", "running", "failed"} <= set(queue)


def test_scene_lists_page_and_filter(shared: Daemon) -> None:
    for seed in range(7):
        shared.place.put(f"pages/final_crops/{'odd' if seed % 2 else 'even'}{seed}.jpg", seed)
    eventually(lambda: len(scenes(shared, "pages")) == 7)
    found: list[str] = []
    cursor = ""
    for _ in range(10):
        page = shared.get(f"/api/scenes?batch=pages&limit=3{cursor}")
        found += [item["scene_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={quote(page['next_cursor'], safe='')}"
    assert len(found) == len(set(found)) == 7
    assert len(shared.get("/api/scenes?batch=pages&q=odd")["items"]) == 3
    assert shared.get("/api/scenes?batch=pages&live=true")["items"] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_burst_of_twenty_thousand_files_is_recorded_whole(place: Place) -> None:
    data = jpeg(1)
    with place.daemon():
        for number in range(20_000):
            path = place.images / f"burst/{'initial_scan' if number % 2 else 'final_crops'}/{number:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data + number.to_bytes(4, "big"))
        eventually(lambda: place.sql("SELECT count(*) FROM image_versions") == [(20_000,)], 250, 1)
    assert place.sql("SELECT count(DISTINCT sha256) FROM image_versions") == [(20_000,)]
    with sqlite3.connect(place.state / "catalogue.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert os.path.isdir(place.images)
