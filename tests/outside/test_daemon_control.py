"""The daemon as a process: start, refusals, signals, the socket, jobs, activity, programs that talk to it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.outside.installation import BIN, Daemon, Installation, ask, run, small_jpeg, wait_for
from tests.pictures import make_jpeg


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with one photo, which lies on its side, for tests that only ask."""
    place = Installation(tmp_path_factory.mktemp("asked") / "place")
    place.add("b/final_crops/x.jpg", make_jpeg(1, 72, 48, None, 6))
    with place.daemon() as running:
        running.wait_live(["scenes/b-x.jpg"])
        running.wait_idle()
        yield running
    shutil.rmtree(place.socket_dir, ignore_errors=True)


SERVED = (
    "/healthz /readyz /metrics /api/status /api/activity /api/activity/stream /api/admin/sync"
    " /api/admin/sync/status /api/jobs /api/jobs/{id} /api/jobs/{id}/retry /api/jobs/{id}/cancel"
    " /api/batches /api/batches/{name} /api/scenes /api/scenes/{scene_id} /api/preview /api/pull"
    " /api/similar /api/verify /api/approve/{guard_id} /api/guards /api/pause /api/resume"
    " /api/config/reload"
)


def test_status_shape(asked: Daemon) -> None:
    daemon = asked
    wait_for(lambda: daemon.status()["watcher"]["watches"] > 0)
    status = daemon.status()
    assert status["version"] and status["uptime_s"] > 0
    names = {service["name"] for service in status["services"]}
    assert {"batches", "site", "control"} <= names
    for service in status["services"]:
        assert service["state"] == "running" and service["restarts"] == 0 and service["last_error"] is None
        assert service["since"].endswith("Z")
    for queue in status["queues"].values():
        assert queue.keys() >= {"waiting", "running", "failed"}
    assert status["counts"].keys() >= {
        "batches", "public_batches", "scenes", "versions", "live", "events", "event_photos", "faces",
        "albums", "library_photos",
    }  # fmt: skip
    assert status["watcher"]["mode"] == "inotify" and status["watcher"]["watches"] > 0
    assert status["blocked"] == []
    for source in status["sources"]:
        assert source.keys() >= {"name", "state", "last_success_at"}
    assert daemon.get("/healthz") and daemon.get("/readyz")
    metrics = ask(daemon.place.socket, "GET", "/metrics")
    assert metrics.status == 200 and b"# TYPE" in metrics.body
    document = daemon.get("/openapi.json")
    assert document["openapi"].startswith("3.1") and set(SERVED.split()) <= document["paths"].keys()


def test_bad_requests_are_answered(asked: Daemon) -> None:
    daemon = asked
    daemon.get("/nothing/here", 404)
    wrong: list[tuple[str, str, Any]] = [
        ("GET", "/api/scenes/none", None), ("GET", "/api/scenes?limit=x", None),
        ("GET", "/api/scenes?limit=0", None), ("GET", "/api/scenes?cursor=%00", None),
        ("POST", "/api/admin/sync", {"batch_filter": 3}), ("POST", "/api/admin/sync", {"nonsense": True}),
        ("PATCH", "/api/batches/none", {"is_public": True}),
        ("PATCH", "/api/batches/b", {"is_public": "yes"}),
        ("PATCH", "/api/batches/b", {"source_directory": "../../etc"}), ("POST", "/api/approve/none", None),
        ("POST", "/api/verify", {"sample": 0}), ("POST", "/api/pull", {"to": ""}),
        ("GET", "/api/activity?since=-x", None), ("POST", "/api/similar", b"no picture"),
    ]  # fmt: skip
    for method, route, refused in wrong:
        reply = ask(daemon.place.socket, method, route, refused)
        assert 400 <= reply.status < 500, (method, route, refused, reply)
        assert reply.headers["content-type"].startswith("application/problem+json"), route
        assert reply.json["status"] == reply.status
    assert ask(daemon.place.socket, "DELETE", "/api/status").status == 405
    daemon.get("/api/jobs/nope", 404)
    for route in ("/api/admin/sync", "/api/pull", "/api/verify", "/api/pause"):
        for body in (b"{not json", b"[]", b"\xff\xfe", b'"text"', b"{" * 10_000):
            answer = _post_json(daemon.place.socket, route, body)
            assert 400 <= answer < 500, (route, body[:20], answer)
    daemon.call("POST", "/api/pause", {"service": "nope"}, status=404)
    answer = _post_json(daemon.place.socket, "/api/admin/sync", b" " * 5_000_000)
    assert answer in (400, 413)
    raw = socket.socket(socket.AF_UNIX)
    with raw:
        raw.settimeout(10)
        raw.connect(str(daemon.place.socket))
        raw.sendall(b"\x00\x01garbage\r\n\r\n")
        assert raw.recv(100).split()[1] == b"400"
    assert daemon.get("/healthz")


def _post_json(path: Path, route: str, body: bytes) -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        head = f"POST {route} HTTP/1.1\r\nHost: syncd\r\nContent-Type: application/json\r\n"
        with contextlib.suppress(BrokenPipeError):
            client.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return int(client.recv(4096).split()[1])


def test_both_only_is_wrong(asked: Daemon) -> None:
    problem = asked.call("POST", "/api/admin/sync", {"db_only": True, "images_only": True}, status=422)
    assert "db_only" in problem["detail"] and "images_only" in problem["detail"]
    asked.call("POST", "/api/admin/sync", {"batch_filter": ["nope"]}, status=404)
    asked.call("POST", "/api/admin/sync", {"batch_filter": "nope"}, status=404)
    asked.call("POST", "/api/admin/sync", {"batch_filter": [3]}, status=422)
    asked.call("POST", "/api/admin/sync", {"nonsense": 1}, status=422)


def test_second_daemon_and_once_are_refused(asked: Daemon) -> None:
    daemon, place = asked, asked.place
    for command in (["run"], ["once"], ["once", "--dry-run"], ["once", "--json"]):
        ran = run("syncd", *command, "--config", place.config)
        assert ran.code == 3, (command, ran)
        assert ran.err and not ran.out
    # Another configuration with the same state folder does not help.
    other = place.base / "other.toml"
    other.write_text(place.config.read_text().replace("s.sock", "t.sock"))
    assert run("syncd", "run", "--config", other).code == 3
    assert run("syncd", "once", "--config", other, "--db", place.catalogue).code == 3
    assert daemon.get("/readyz")


def test_stops_in_time_with_an_open_stream(place: Installation) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with (
            place.daemon() as daemon,
            socket.socket(socket.AF_UNIX) as stream,
            socket.socket(socket.AF_UNIX) as idle,
        ):
            stream.settimeout(10)
            stream.connect(str(place.socket))
            stream.sendall(b"GET /api/activity/stream HTTP/1.1\r\nHost: syncd\r\n\r\n")
            assert stream.recv(15).startswith(b"HTTP/1.1 200")
            idle.connect(str(place.socket))
            daemon.process.send_signal(number)
            assert daemon.process.wait(10) == 0, number
        assert not place.socket.exists()
    assert run("syncctl", "status", "--socket", place.socket).code == 3


def test_terminated_while_it_starts(place: Installation) -> None:
    for n in range(40):
        place.add(f"b/final_crops/{n}.jpg", n)
    for wait_s in (0.02, 0.1, 0.25, 0.4, 0.6):
        with place.daemon(ready=False) as daemon:
            time.sleep(wait_s)
            assert daemon.stop() in (0, -signal.SIGTERM)
    place.once()
    place.check()


def test_modes_under_a_careless_umask(place: Installation) -> None:
    with place.daemon(umask=0) as daemon:
        place.add("b/final_crops/x.jpg", 1)
        daemon.wait_live(["scenes/b-x.jpg"])
        ask(place.socket, "GET", "/api/preview?version_id=1&width=20&height=20")
        assert stat.S_IMODE(place.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.state.stat().st_mode) == 0o700
        for path in place.state.rglob("*"):
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def test_a_stale_socket_is_replaced_and_nothing_else_is(place: Installation) -> None:
    with place.daemon() as daemon:
        daemon.kill()
    assert place.socket.exists()
    with place.daemon() as daemon:
        assert daemon.get("/readyz")
    place.socket.write_text("precious")
    ran = run("syncd", "run", "--config", place.config)
    assert ran.code != 0 and ran.err
    assert place.socket.read_text() == "precious"


def test_strangers_are_refused(asked: Daemon) -> None:
    daemon = asked
    if os.getuid() != 0:
        pytest.skip("needs root to become somebody else")
    probe = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
    daemon.place.socket_dir.chmod(0o755)
    done = subprocess.run(
        ["/usr/bin/python3", "-c", probe, daemon.place.socket],
        user=65534, group=65534, extra_groups=[], capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode != 0 and "PermissionError" in done.stderr


def test_activity_ids_are_consecutive(place: Installation) -> None:
    with place.daemon() as daemon:
        place.add("b/final_crops/x.jpg", 1)
        daemon.wait_live(["scenes/b-x.jpg"])
        wait_for(  # told once it is on record
            lambda: "uploaded" in {item["kind"] for item in daemon.get("/api/activity?limit=1000")["items"]}
        )
        first = daemon.get("/api/activity?limit=1000")
        assert [item["id"] for item in first["items"]] == list(range(1, first["last_id"] + 1))
        kinds = {item["kind"] for item in first["items"]}
        assert "uploaded" in kinds
        for item in first["items"]:
            assert item.keys() >= {"id", "at", "kind", "service", "subject", "message", "data"}
    with place.daemon() as daemon:
        place.add("b/final_crops/y.jpg", 2)
        daemon.wait_live(["scenes/b-x.jpg", "scenes/b-y.jpg"])
        daemon.kill()
    with place.daemon() as daemon:
        place.add("b/final_crops/z.jpg", 3)
        daemon.wait_live([f"scenes/b-{n}.jpg" for n in "xyz"])
        page = daemon.get("/api/activity?since=0&limit=1000")
        assert [item["id"] for item in page["items"]] == list(range(1, page["last_id"] + 1))
        assert page["last_id"] > first["last_id"]
        assert [i["id"] for i in daemon.get("/api/activity?since=3&limit=2")["items"]] == [4, 5]
        for wrong in ("limit=1001", "limit=0", "since=x"):
            daemon.get(f"/api/activity?{wrong}", 422)


def test_the_stream_follows(daemon: Daemon) -> None:
    daemon.wait_idle()
    since = daemon.status()["last_activity_id"]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(daemon.place.socket))
        client.sendall(f"GET /api/activity/stream?since={since} HTTP/1.1\r\nHost: syncd\r\n\r\n".encode())
        daemon.place.add("b/final_crops/x.jpg", 1)
        received = b""
        while b"event: uploaded" not in received or not received.endswith(b"\r\n"):
            received += client.recv(65536)
    text = received.decode()
    assert "text/event-stream" in text
    ids = [int(line.removeprefix("id: ")) for line in text.splitlines() if line.startswith("id: ")]
    assert ids == list(range(since + 1, since + 1 + len(ids))) and ids
    data = [
        json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")
    ]
    assert [item["id"] for item in data] == ids
    assert daemon.get(f"/api/activity?since={since}&limit={len(ids)}")["items"] == data


def test_pause_and_resume(daemon: Daemon) -> None:
    place = daemon.place
    daemon.call("POST", "/api/pause", {"service": "site"})
    wait_for(lambda: daemon.services()["site"]["state"] == "paused")
    place.add("b/final_crops/x.jpg", 1)

    def foreseen() -> bool:
        dry = daemon.call("POST", "/api/admin/sync", {"dry_run": True})
        return ["upload", "b-x", "scenes/b-x.jpg"] in [
            [a["action"], a["scene_id"], a["key"]] for a in dry["actions"]
        ]

    wait_for(foreseen)
    time.sleep(0.5)  # nothing happens: there is no event to wait for
    assert place.stored() == []
    assert daemon.services()["batches"]["state"] == "running"
    daemon.call("POST", "/api/resume", {"service": "site"})
    daemon.wait_live(["scenes/b-x.jpg"])
    daemon.call("POST", "/api/pause", {})
    wait_for(lambda: daemon.services()["batches"]["state"] == "paused")
    assert daemon.services()["control"]["state"] == "running"
    place.add("b/final_crops/y.jpg", 2)
    place.ctl("resume")
    daemon.wait_live(["scenes/b-x.jpg", "scenes/b-y.jpg"])
    assert {s["state"] for s in daemon.services().values()} == {"running"}
    daemon.wait_idle()
    place.check()


def test_a_job_is_cancelled_and_retried(daemon: Daemon) -> None:
    place = daemon.place
    daemon.call("POST", "/api/pause", {"service": "site"})
    wait_for(lambda: daemon.services()["site"]["state"] == "paused")
    place.add("b/final_crops/x.jpg", 1)
    job = daemon.call("POST", "/api/admin/sync", {}, status=202)["job_id"]
    assert daemon.get(f"/api/jobs/{job}")["state"] == "queued"
    assert daemon.call("POST", f"/api/jobs/{job}/cancel", {})["state"] == "cancelled"
    assert ask(place.socket, "POST", f"/api/jobs/{job}/cancel", {}).status in (200, 409)
    assert daemon.call("POST", f"/api/jobs/{job}/retry", {})["state"] == "queued"
    daemon.call("POST", "/api/resume", {"service": "site"})
    done = daemon.job(job)
    assert done["state"] == "done" and done["kind"] == "sync" and done["attempts"] >= 1
    daemon.wait_live(["scenes/b-x.jpg"])
    assert job in {item["id"] for item in daemon.get("/api/jobs")["items"]}
    daemon.call("POST", "/api/jobs/nope/retry", {}, status=404)
    daemon.call("POST", "/api/jobs/nope/cancel", {}, status=404)
    assert daemon.get("/api/admin/sync/status")["job_id"] in (job, None)


def test_reload_by_signal_and_by_api(daemon: Daemon) -> None:
    place = daemon.place
    place.add("b/final_crops/x.jpg", 1)
    daemon.wait_live(["scenes/b-x.jpg"])
    place.configure(batches={"stages": ["initial_scan", "final_crops"]})
    place.add("b/initial_scan/x.jpg", 2)
    daemon.wait_idle()
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: place.read("scenes/b-x.jpg") == small_jpeg(2))
    place.configure(batches={"stages": ["final_crops", "initial_scan"]}, storage={"concurrency": 3})
    place.configure(daemon={"state_dir": str(place.base / "elsewhere")})
    reply = daemon.call("POST", "/api/config/reload", {})
    assert "batches.stages" in reply["applied"] and "daemon.state_dir" in reply["needs_restart"]
    wait_for(lambda: place.read("scenes/b-x.jpg") == small_jpeg(1))
    # Right as it stands there, and wrong with the images folder that stays until a restart.
    images, storage = str(place.images), str(place.storage)
    place.configure(batches={"images_dir": str(place.base / "moved")}, storage={"base_path": images})
    problem = daemon.call("POST", "/api/config/reload", {}, status=422)
    assert "base_path" in problem["detail"] and "restart" in problem["hint"]
    assert daemon.get("/api/config")["settings"]["storage"]["base_path"] == storage
    place.configure(batches={"images_dir": images}, storage={"base_path": storage})
    place.config.write_text("[batches]\nnonsense = 1\n")
    assert "nonsense" in place.ctl("config", "reload", code=78).err
    problem = daemon.call("POST", "/api/config/reload", {}, status=422)
    assert "nonsense" in problem["detail"]
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "nonsense" in daemon.log)
    place.add("b/final_crops/y.jpg", 3)
    daemon.wait_live(["scenes/b-x.jpg", "scenes/b-y.jpg"])
    place.configure(batches={"default_public": False})
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.get("/api/config")["settings"]["batches"]["default_public"] is False)
    place.add("later/final_crops/z.jpg", 4)
    wait_for(
        lambda: place.rows(
            "SELECT * FROM image_versions JOIN scenes USING (scene_id) WHERE batch_name = 'later'"
        )
    )
    assert place.value("SELECT is_public FROM public_site_batches WHERE batch_name = 'later'") == 0


def test_reload_changes_the_guard(daemon: Daemon) -> None:
    place = daemon.place
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": 1, "max_delete_percent": 0})
    daemon.call("POST", "/api/config/reload", {})
    for n in range(4):
        place.add(f"b/final_crops/{n}.jpg", n)
    daemon.wait_live([f"scenes/b-{n}.jpg" for n in range(4)])
    for n in range(3):
        (place.images / f"b/final_crops/{n}.jpg").unlink()
    wait_for(lambda: daemon.get("/api/guards")["items"])
    place.configure(guard={"max_delete": 10})
    daemon.call("POST", "/api/config/reload", {})
    daemon.wait_live(["scenes/b-3.jpg"])
    wait_for(lambda: not daemon.get("/api/guards")["items"])


def test_preview(asked: Daemon) -> None:
    daemon = asked
    (version,) = (v["version_id"] for v in daemon.get("/api/scenes/b-x")["versions"])
    route = f"/api/preview?version_id={version}&width=30&height=30"
    picture = ask(daemon.place.socket, "GET", route)
    assert picture.status == 200 and picture.body[:2] == b"\xff\xd8"
    assert picture.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(picture.body)).size == (20, 30), "small and upright"
    daemon.get("/api/preview?version_id=999&width=30&height=30", 404)
    for wrong in ("width=0", "width=999999", "width=100000000", "width=x"):
        daemon.get(f"/api/preview?version_id={version}&height=30&{wrong}", 422)
    daemon.get("/api/preview", 422)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nope"], ["nonsense"], ["sync", "--batch"], ["batches", "publish"], ["batches", "source", "b"],
        ["scenes", "show"], ["pull"], ["pull", "x"], ["similar"], ["approve"], ["jobs", "retry"],
        ["verify", "--sample", "x"], ["verify", "--sample", "500"], ["wait", "--timeout", "soon"],
        ["similar", "/nowhere.jpg"], ["activity", "--since", "x"], ["sync", "--db-only", "--images-only"],
    ],
)  # fmt: skip
def test_wrong_arguments_of_syncctl(place: Installation, arguments: list[str]) -> None:
    """Wrong usage is told before anybody asks for a daemon."""
    ran = run("syncctl", *arguments, "--socket", place.socket)
    assert ran.code == 2 or (ran.code in (1, 3) and "similar" in arguments), ran
    assert ran.err and not ran.out


def test_no_daemon(place: Installation) -> None:
    for arguments in (
        ["status"], ["sync"], ["jobs", "list"], ["activity"], ["guards"], ["batches", "list"],
        ["scenes", "list"], ["pause"], ["resume"], ["verify"], ["wait", "--idle", "--timeout", "1"],
        ["status", "--json"], ["config", "reload"],
    ):  # fmt: skip
        ran = place.ctl(*arguments, code=3)
        assert ran.err and len(ran.err.splitlines()) <= 3, ran


def test_syncctl_documents_are_the_replies(daemon: Daemon) -> None:
    place = daemon.place
    place.add("b/final_crops/x.jpg", 1)
    daemon.wait_live(["scenes/b-x.jpg"])
    place.ctl("wait", "--idle", "--timeout", "15")
    pairs = [
        (["batches", "list"], "/api/batches"), (["scenes", "list"], "/api/scenes"),
        (["jobs", "list"], "/api/jobs"), (["guards"], "/api/guards"),
        (["scenes", "show", "b-x"], "/api/scenes/b-x"),
    ]  # fmt: skip
    for arguments, route in pairs:  # asked one after the other: a batch may be looked at in between
        wait_for(lambda a=arguments, r=route: place.ctl(*a, "--json").json == daemon.get(r))
    assert place.ctl("status", "--json").json.keys() == daemon.status().keys()
    dry = place.ctl("sync", "--dry-run", "--json").json
    assert dry["dry_run"] is True and dry["actions"] == []
    place.add("b/final_crops/y.jpg", 2)
    done = place.ctl("sync", "--wait", "--json").json
    assert done["state"] == "done" and daemon.get(f"/api/jobs/{done['job_id']}")["state"] == "done"
    assert done.keys() >= {
        "job_id", "scanned", "scenes", "versions", "uploaded", "removed", "unchanged", "bytes", "duration_s",
        "failed", "skipped", "ignored", "actions",
    }  # fmt: skip
    unknown = place.ctl("sync", "--batch", "nope", code=None)
    assert unknown.code in (1, 2) and "nope" in unknown.err
    unasked = place.ctl("batches", "unpublish", "b", code=None)
    assert unasked.code != 0 and "2" in unasked.out + unasked.err, "it did not ask"
    assert len(place.live()) == 2
    place.ctl("batches", "unpublish", "b", "--yes")
    daemon.wait_live([], 5)
    place.ctl("batches", "publish", "b")
    daemon.wait_live(["scenes/b-x.jpg", "scenes/b-y.jpg"], 5)
    place.ctl("batches", "source", "b", "initial_scan")
    daemon.wait_live([], 5)
    assert place.ctl("batches", "source", "b", "nope", code=None).code in (1, 2)
    refused = run("syncctl", "scenes", "show", "nope", "--socket", place.socket)
    assert refused.code == 1 and "nope" in refused.err
    process = subprocess.run(
        [BIN / "syncctl", "status", "--socket", place.socket, "--json"], capture_output=True, check=True
    )
    json.loads(process.stdout)
