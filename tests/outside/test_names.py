"""Names of albums from outside: a real daemon, a real Postgres, and a fake SmugMug on loopback."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import anyio
import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from tests.fakes.faults import Handler
from tests.fakes.smugmug import NICKNAME, FakeSmugmug, fake_smugmug
from tests.outside.installation import Daemon, Installation, wait_for
from tests.outside.test_smugmug_sign_in import settings
from tests.postgres import Database


@pytest.fixture
def smug() -> Iterator[FakeSmugmug]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake_smugmug()) as running:
        yield running


async def done_but_not_said(request: web.Request, handler: Handler) -> web.StreamResponse:
    answer = await handler(request)
    await anyio.sleep(30)
    return answer


def mirrored(database: Database) -> dict[str, list[str]]:
    """The names of each album in the mirror."""
    found: dict[str, list[str]] = {}
    for key, name in database.run("SELECT DISTINCT album_key, album_name FROM photo_metadata ORDER BY 1, 2"):
        found.setdefault(key, []).append(name)
    return found


def in_step(daemon: Daemon, count: int) -> None:
    wait_for(lambda: daemon.get("/api/names/verify")["synced"] == count, what="names are in step")
    assert daemon.get("/api/names/verify")["out_of_sync"] == 0


@pytest.mark.timeout(
    60
)  # seconds on a quiet machine; two starts of a daemon and one of Postgres on a busy one
def test_names_in_step(place: Installation, smug: FakeSmugmug, database: Database) -> None:
    cup, gala, only_a_date, empty = (
        smug.add_album(name) for name in ("DSC upload 3", "Upload__17 (2024)", "2024", "Empty")
    )
    smug.fill(cup, 3)
    smug.fill(gala, 2, first=datetime(2026, 6, 3, 23, 59))
    smug.fill(only_a_date, 1)
    new = {cup: "Tigers vs Lions - May 30", gala: "Spring Gala - Jun 2026"}
    old = {cup: "DSC upload 3", gala: "Upload__17 (2024)"}
    place.configure(smugmug=settings(smug), mirror={"dsn": database.dsn})
    with place.daemon() as daemon:
        refused = daemon.call("POST", "/api/names/apply", {}, status=409)
        assert "syncctl auth smugmug" in refused["hint"]
        with urllib.request.urlopen(daemon.call("POST", "/api/auth/smugmug/start")["url"]):
            pass  # the browser is sent back to the daemon
        wait_for(lambda: daemon.services()["smugmug"]["state"] == "running", what="somebody has signed in")
        assert daemon.job(daemon.call("POST", "/api/smugmug/sync", {}, 202)["job_id"])["state"] == "done"
        hint = {"teams": ["Tigers", "Lions"], "sport": "soccer"}
        daemon.call("PUT", f"/api/names/hints/{cup}", hint)
        daemon.call("PUT", f"/api/names/hints/{gala}", {"event": "Spring Gala"})

        plan = {item["album_key"]: item for item in daemon.get("/api/names/plan")["items"]}
        assert {key: (item["action"], item["new_name"]) for key, item in plan.items()} == {
            cup: ("rename", new[cup]), gala: ("rename", new[gala]), only_a_date: ("keep", "2024"),
            empty: ("skip", "Empty"),
        }  # fmt: skip
        dry = daemon.call("POST", "/api/names/apply", {"dry_run": True})
        assert (dry["dry_run"], dry["renamed"], dry["kept"], dry["skipped"]) == (True, 2, 1, 1)
        assert dry["items"] == list(plan.values())
        assert place.rows("SELECT * FROM album_name_changes") == []

        report = daemon.call("POST", "/api/names/apply", {})
        assert (report["renamed"], report["kept"], report["failed"]) == (2, 1, [])
        assert {key: smug.albums[key].name for key in new} == new
        wait_for(lambda: mirrored(database) == {**{k: [n] for k, n in new.items()}, only_a_date: ["2024"]})
        in_step(daemon, 4)
        assert database.run("SELECT count(*) FROM album_name_changes") == [(2,)]
        assert place.ctl("names", "verify").out.splitlines()[-1] == "Synced: 4/4"
        stats = daemon.get("/api/names/stats")
        assert (stats["total_albums"], stats["total_photos"], stats["photos_without_album_key"]) == (3, 6, 0)
        assert (stats["recently_updated"], stats["alerts"]) == (6, [])

        undo_and_more(place, daemon, smug, database, old, cup, gala)
        # It is killed after SmugMug has done what it was asked for, and before anybody knows.
        smug.fail("album.patch", done_but_not_said)
        with ThreadPoolExecutor(1) as elsewhere:
            broken_off = elsewhere.submit(daemon.call, "POST", "/api/names/apply", {"album_keys": [gala]})
            wait_for(lambda: smug.albums[gala].name == new[gala])
            daemon.kill()
            assert broken_off.exception() is not None
        assert place.value("SELECT state FROM album_name_changes ORDER BY id DESC LIMIT 1") == "begun"
    with place.daemon() as daemon:
        in_step(daemon, 4)
        assert mirrored(database)[gala] == [new[gala]]
        assert place.value("SELECT state FROM album_name_changes ORDER BY id DESC LIMIT 1") == "confirmed"
        smug.grant(NICKNAME, "Full", "Read")
        denied = place.ctl("names", "rollback", "--since", "1h", "--json", code=4).json
        assert denied["restored"] == 0
        assert all("Modify" in one["reason"] for one in denied["refused"])


def undo_and_more(
    place: Installation, daemon: Daemon, smug: FakeSmugmug, database: Database, old: dict[str, str],
    cup: str, gala: str,
) -> None:  # fmt: skip
    """Rollback, somebody's own names, and a mirror that refuses."""
    smug.rename_album(cup, "Eva's own")
    back = daemon.call("POST", "/api/names/rollback", {"since": "1h"})
    assert back["restored"] == 1
    assert [one["album_key"] for one in back["refused"]] == [cup]
    assert "Eva's own" in back["refused"][0]["reason"]
    assert smug.albums[gala].name == old[gala]
    wait_for(lambda: mirrored(database)[gala] == [old[gala]])
    wait_for(lambda: mirrored(database)[cup] == ["Eva's own"])
    in_step(daemon, 4)

    database.run(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'nobody renames here'; END $$;"
        "CREATE TRIGGER no BEFORE UPDATE ON photo_metadata FOR EACH ROW EXECUTE FUNCTION no()"
    )
    report = place.ctl("names", "apply", "--album", cup, "--json", code=4).json
    assert (report["renamed"], report["failed"]) == (1, [])
    assert "nobody renames here" in report["mirror_failed"][0]["reason"]
    assert smug.albums[cup].name == "Tigers vs Lions - May 30"
    assert mirrored(database)[cup] == ["Eva's own"]
    assert daemon.get("/api/names/verify")["synced"] == 3
    database.run("DROP TRIGGER no ON photo_metadata")
    daemon.call("POST", "/api/resume", {"service": "names"})
    in_step(daemon, 4)
    log = wait_for(lambda: told(daemon), what="the mirror has every change")
    assert [item["source"] for item in log] == ["apply", "rollback", "apply", "apply"]
    assert database.run("SELECT count(*) FROM album_name_changes") == [(4,)]


def told(daemon: Daemon) -> Any:
    """The log, once the mirror has all of it."""
    log = daemon.get("/api/names/log")["items"]
    assert {item["state"] for item in log} == {"confirmed"}
    return log if all(item["mirrored"] for item in log) else None
