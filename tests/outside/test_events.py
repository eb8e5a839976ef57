"""Events from outside: a real daemon, syncctl, and a fake Drive on loopback, with real faces."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from tests.fakes.google_drive import ACCOUNT, FakeDrive, fake_drive
from tests.fakes.smtp import smtp_server
from tests.imaging.portraits import portraits
from tests.outside.installation import BIN, Daemon, Installation, ask, small_jpeg, wait_for


class Drive:
    """A fake Drive in a thread of its own; what it does is done there."""

    def __init__(self, fake: FakeDrive, call: Callable[..., Any]) -> None:
        self.fake = fake
        self._call = call
        self.folder = self.do(fake.add_folder, "Gala", fake.root)

    def do(self, what: Callable[..., Any], *arguments: Any) -> Any:
        return self._call(what, *arguments)

    def add(self, name: str, content: bytes) -> str:
        made: str = self.do(self.fake.add_file, name, self.folder, content)
        return made


@pytest.fixture
def drive() -> Iterator[Drive]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake_drive()) as fake:
        yield Drive(fake, portal.call)


@pytest.fixture
def with_drive(place: Installation, drive: Drive) -> Installation:
    place.configure(
        drive={
            "client_id": drive.fake.client_id,
            "client_secret": drive.fake.client_secret,
            "api_base_url": drive.fake.base_url,
            "auth_url": drive.fake.auth_url,
            "token_url": drive.fake.token_url,
            "requests_per_second": 100,
        },
        faces={"max_side": 800, "upsample": 0},
    )
    return place


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


def sent_to(url: str) -> str:
    """Where the consent page sends the browser."""
    try:
        urllib.request.build_opener(_Stay).open(url)
    except urllib.error.HTTPError as answer:
        return str(answer.headers["Location"])
    raise AssertionError("there was no redirect")


def sign_in(place: Installation, *, by_browser: bool) -> str:
    """`syncctl auth drive`, with a browser on this machine or a pasted address: what it says at last."""
    command = [BIN / "syncctl", "auth", "drive", "--socket", place.socket]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        address = sent_to(program.stdout.readline().strip())
        if by_browser:
            with urllib.request.urlopen(address) as page:
                assert ACCOUNT in page.read().decode()
            out = program.stdout.read()
        else:
            program.stdin.write(f"{address}\n")
            program.stdin.close()
            out = program.stdout.read()
        assert program.wait(15) == 0
    return out


def event(daemon: Daemon, **wanted: Any) -> Any:
    found = daemon.get("/api/event/gala")
    return found if wanted.items() <= found.items() else None


def test_guests_find_themselves(with_drive: Installation, drive: Drive) -> None:
    faces = portraits()
    obama = drive.add("obama.jpg", faces["obama.jpg"].read_bytes())
    drive.add("biden.jpg", faces["biden.jpg"].read_bytes())
    drive.add("../../etc/passwd\x1b.jpg", b"no picture at all")
    with with_drive.daemon() as daemon:
        request = {"name": "Gala", "drive_folder_id": drive.folder, "publish": True}
        made = daemon.call("POST", "/api/events", request, status=201)
        assert (made["event_id"], made["state"], made["photos"]) == ("gala", "disabled", 0)
        enabled = with_drive.ctl("events", "enable", "gala", "--interval", "0.5", "--json").json
        assert enabled == {"message": "Auto-sync enabled", "interval_minutes": 0.5}
        wait_for(lambda: event(daemon, state="needs_auth"), what="asks for a sign-in")
        assert daemon.services()["drive"]["state"] == "needs_auth"

        assert sign_in(with_drive, by_browser=False) == f"Signed in to drive as {ACCOUNT}\n"
        wait_for(lambda: event(daemon, photos=2, faces=2, state="idle"), 30, "photos")
        (failed,) = daemon.get("/api/event/gala")["failed"]
        assert failed["photo_name"] == "../../etc/passwd\x1b.jpg"
        assert (
            daemon.status()["counts"] | {"events": 1, "event_photos": 2, "faces": 2}
            == (daemon.status()["counts"])
        )
        (source,) = [one for one in daemon.status()["sources"] if one["name"].startswith("drive ")]
        assert (source["name"], source["state"]) == (f"drive {ACCOUNT}", "running")
        assert source["last_success_at"]

        selfie = str(faces["obama2.jpg"])
        found = with_drive.ctl("faces", "search", selfie, "--event", "gala", "--json").json
        assert found["faces_in_query"] == 1
        (row,) = found["items"]
        assert (row["photo_id"], row["photo_name"]) == (obama, "obama.jpg")
        assert row["distance"] <= 0.6
        assert row["url"].endswith(f"/events/gala/{obama}.jpg")
        assert with_drive.stored() == sorted(
            f"events/gala/{one['photo_id']}.jpg" for one in daemon.get("/api/event/gala/photos")["items"]
        )
        nobody = ask(with_drive.socket, "POST", "/api/event/gala/faces/search", small_jpeg(1))
        assert (nobody.status, bool(nobody.json["hint"])) == (422, True)
        shown = ask(with_drive.socket, "GET", f"/api/preview?event_photo={obama}&width=64")
        assert (shown.status, shown.body[:2]) == (200, b"\xff\xd8")
        with_drive.ctl("wait", "--idle", "--timeout", "20")
        daemon.kill()

    third = drive.add("again.jpg", faces["obama3.jpg"].read_bytes())
    with with_drive.daemon() as daemon:
        wait_for(lambda: event(daemon, photos=3, faces=3, enabled=True), 30, "goes on by itself")
        body = faces["obama2.jpg"].read_bytes()
        found = daemon.call("POST", "/api/event/gala/faces/search", body)
        assert {row["photo_id"] for row in found["items"]} == {obama, third}
        forgotten = with_drive.ctl("faces", "forget", selfie, "--event", "gala", "--yes", "--json").json
        assert forgotten == {"forgotten": 2}
        assert daemon.call("POST", "/api/event/gala/faces/search", body)["items"] == []

        drive.do(drive.fake.trash, third)
        done = with_drive.ctl("events", "sync", "gala", "--wait", "--json", code=4).json
        assert done["state"] == "partial"
        assert event(daemon, photos=2, faces=1)
        assert with_drive.ctl("events", "disable", "gala").out == "Auto-sync disabled\n"
        assert event(daemon, enabled=False, running=False, state="disabled", photos=2)
        with_drive.ctl("events", "remove", "gala", "--yes")
        assert daemon.get("/api/event/gala", status=404)["hint"]
        wait_for(lambda: not with_drive.stored(), what="objects of the event are withdrawn")
        assert daemon.status()["counts"]["event_photos"] == 0


def test_browser_of_this_machine_finishes_the_sign_in(with_drive: Installation, drive: Drive) -> None:
    with with_drive.daemon() as daemon:
        assert daemon.get("/api/auth/status") == {"items": []}
        assert ACCOUNT in sign_in(with_drive, by_browser=True)
        (account,) = daemon.get("/api/auth/status")["items"]
        assert (account["provider"], account["account"], account["state"]) == ("drive", ACCOUNT, "ready")
        sockets = json.dumps(daemon.get("/api/config"))
        assert drive.fake.client_secret not in sockets + daemon.log


def test_new_client_applies_without_a_restart(place: Installation, drive: Drive) -> None:
    key = drive.do(drive.fake.add_service_account, "robot@example.iam")
    (place.base / "key.json").write_text(json.dumps(key))
    drive.do(drive.fake.share, drive.folder, "robot@example.iam")
    drive.add("a.jpg", small_jpeg(1))
    with place.daemon() as daemon:
        assert {name: one["state"] for name, one in daemon.services().items()}["drive"] == "running"
        assert daemon.call("POST", "/api/auth/drive/start", status=409)["hint"]
        daemon.call("POST", "/api/events", {"name": "Gala", "drive_folder_id": drive.folder}, status=201)
        daemon.call("POST", "/api/event/gala/auto-sync/enable", {})
        wait_for(lambda: event(daemon, state="needs_auth"), what="asks for a sign-in")
        place.configure(
            drive={
                "service_account_file": str(place.base / "key.json"),
                "api_base_url": drive.fake.base_url,
                "token_url": drive.fake.token_url,
            },
            faces={"enabled": False},
        )
        reply = daemon.call("POST", "/api/config/reload")
        assert {"drive.service_account_file", "faces.enabled"} <= set(reply["applied"])
        wait_for(lambda: event(daemon, photos=1, state="idle", account="robot@example.iam"), 20, "photos")


@pytest.fixture
def followed(with_drive: Installation, drive: Drive) -> Iterator[Daemon]:
    """A daemon that is signed in and follows the event `gala`, without looking for faces."""
    with_drive.configure(faces={"enabled": False})
    with with_drive.daemon() as daemon:
        sign_in(with_drive, by_browser=True)
        with_drive.ctl("events", "add", "Gala", "--folder", f"https://drive.example/folders/{drive.folder}")
        with_drive.ctl("events", "enable", "gala")
        wait_for(lambda: event(daemon, state="idle", account=ACCOUNT), what="the first listing")
        yield daemon


def test_failed_photo_is_a_job_that_can_be_tried_again(followed: Daemon, drive: Drive) -> None:
    photo = drive.add("broken.jpg", b"no picture")
    job_id = followed.call("POST", "/api/event/gala/sync", status=202)["job_id"]
    assert followed.job(job_id)["state"] == "partial"
    (job,) = followed.get("/api/jobs?state=failed&kind=event_photo")["items"]
    assert job["subject"] == "broken.jpg"
    assert job["error"] == event(followed)["failed"][0]["reason"]
    assert followed.status()["queues"]["drive"]["failed"] == 1
    followed.call("POST", f"/api/jobs/{job['id']}/retry")
    wait_for(lambda: followed.get(f"/api/jobs/{job['id']}")["attempts"] > job["attempts"], what="another try")
    drive.do(drive.fake.replace_content, photo, small_jpeg(3))
    followed.call("POST", "/api/event/gala/sync", status=202)
    wait_for(lambda: event(followed, photos=1, failed=[], state="idle"), what="the right picture")
    followed.wait_idle()


def test_paused_drive_waits(followed: Daemon, drive: Drive) -> None:
    followed.call("POST", "/api/pause", {"service": "drive"})
    drive.add("late.jpg", small_jpeg(4))
    job_id = followed.call("POST", "/api/event/gala/sync", status=202)["job_id"]
    assert wait_for(lambda: event(followed, running=False, state="waiting"))["photos"] == 0
    followed.call("POST", "/api/resume", {"service": "drive"})
    assert followed.job(job_id)["state"] == "done"
    assert event(followed, running=True, photos=1)


def test_folder_that_is_none_is_refused(followed: Daemon, drive: Drive) -> None:
    photo = drive.add("a.jpg", small_jpeg(1))
    for folder_id in ("no-such-folder", "../../etc", "", photo):
        request = {"name": "x", "drive_folder_id": folder_id}
        assert followed.call("POST", "/api/events", request, status=422)["detail"]
    undecodable = followed.call("POST", "/api/event/gala/faces/search", b"no picture", status=422)
    assert "decoded" in undecodable["hint"]


def test_corrected_settings_put_an_account_to_work_again(followed: Daemon, drive: Drive) -> None:
    drive.do(drive.fake.expire_access_tokens)
    for secret, state in (("wrong", "needs_auth"), (drive.fake.client_secret, "idle")):
        followed.place.configure(drive={"client_secret": secret})
        followed.call("POST", "/api/config/reload")
        followed.call("POST", "/api/event/gala/sync", status=202)
        wait_for(lambda state=state: event(followed, state=state), 20, state)
    (account,) = followed.get("/api/auth/status")["items"]
    assert account["state"] == "ready"


def test_people_are_told_by_mail_and_resuming_tries_again(followed: Daemon, drive: Drive) -> None:
    place, tokens = followed.place, dict(drive.fake.refresh)
    with smtp_server() as post:
        url = f"smtp://127.0.0.1:{post.port}"
        place.configure(notify={"smtp_url": url, "from": "syncd@example.org"})
        assert "to" in followed.call("POST", "/api/config/reload", status=422)["detail"]
        place.configure(notify={"to": ["ann@example.org"]})
        assert "notify.to" in followed.call("POST", "/api/config/reload")["applied"]
        for n in range(3):
            drive.add(f"{n}.jpg", small_jpeg(n))
        followed.call("POST", "/api/event/gala/sync", status=202)
        wait_for(lambda: event(followed, photos=3, state="idle"), what="photos")

        drive.do(drive.fake.revoke_refresh_tokens)
        drive.do(drive.fake.expire_access_tokens)
        followed.call("POST", "/api/event/gala/sync", status=202)
        wait_for(lambda: event(followed, state="needs_auth"), what="asks for a sign-in")
        wait_for(lambda: len(post.mails) == 2, 19, "two mails")
        assert post.recipients == [["ann@example.org"]] * 2
        photos, trouble = sorted(post.subjects)
        assert photos == "[syncd] 3 new photos in Gala"
        assert trouble.startswith(f"[syncd] drive {ACCOUNT} needs attention: ")
        assert "syncctl auth drive" in str(sorted(post.mails, key=lambda m: str(m["Subject"]))[1])

        drive.do(drive.fake.refresh.update, tokens)
        place.ctl("resume", "drive")
        wait_for(lambda: event(followed, state="idle"), what="goes on")
        wait_for(lambda: followed.services()["drive"]["state"] == "running", what="the service says so, too")
        assert len(post.mails) == 2
    assert "127.0.0.1" not in json.dumps(followed.get("/api/config")["settings"]["notify"])
