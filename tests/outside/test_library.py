"""The SmugMug library from outside: a real daemon, syncctl, and a fake SmugMug on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from tests.fakes.smugmug import NICKNAME, FakeSmugmug, fake_smugmug
from tests.fakes.smugmug_model import painted
from tests.outside.installation import Daemon, Installation, ask, has_raw_control, wait_for
from tests.outside.test_smugmug_sign_in import settings, sign_in

SEED = 77


@pytest.fixture
def smug() -> Iterator[FakeSmugmug]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake_smugmug()) as running:
        yield running


def library(place: Installation) -> dict[str, list[str]]:
    """Image keys in order by album key, told by the catalogue."""
    found: dict[str, list[str]] = {
        row["album_key"]: []
        for row in place.rows("SELECT album_key FROM smugmug_albums WHERE removed_at IS NULL")
    }
    for row in place.rows(
        "SELECT a.album_key, p.image_key FROM smugmug_album_photos l JOIN smugmug_albums a"
        " ON a.id = l.album_id JOIN smugmug_photos p ON p.id = l.photo_id ORDER BY l.position"
    ):
        found[row["album_key"]].append(row["image_key"])
    return found


def model(smug: FakeSmugmug) -> dict[str, list[str]]:
    return {album.key: [s.image_key for s in album.shown] for album in smug.albums.values()}


def status(daemon: Daemon) -> dict[str, Any]:
    return dict(daemon.get("/api/smugmug/sync/status"))


def asked(smug: FakeSmugmug) -> int:
    return len(smug.api_calls())


def test_a_library_is_mirrored_tied_to_the_archive_and_followed(
    place: Installation, smug: FakeSmugmug
) -> None:
    cup = smug.add_album("Cup \x1b[2J final", description="In May", keywords="cup; final")
    gala, empty = smug.add_album("Gala", privacy="Private"), smug.add_album("Empty")
    smug.fill(cup, 23, seeds=9)
    same = smug.add_image(
        gala,
        "",
        seed=SEED,
        caption="First goal",
        keywords=["goal", "final"],
        taken_at=datetime(2026, 5, 30, 11),
    )
    smug.add_image(gala, "clip.mp4")
    smug.collect(same, cup)
    place.configure(smugmug={**settings(smug), "page_size": 10})
    place.add("roll/final_crops/goal.jpg", painted(SEED, 480, 320))
    with place.daemon() as daemon:
        refused = daemon.call("POST", "/api/smugmug/sync", {"full": True}, status=409)
        assert "syncctl auth smugmug" in refused["hint"]
        assert "syncctl auth smugmug" in place.ctl("smugmug", "sync", code=1).err
        assert daemon.services()["smugmug"]["state"] in ("starting", "running", "needs_auth")
        sign_in(place, "--code")
        done = place.ctl("smugmug", "sync", "--full", "--json").json
        assert (done["in_progress"], done["state"], done["account"]) == (False, "done", NICKNAME)
        assert (done["albums_total"], done["albums_synced"]) == (3, 3)
        assert (done["photos_total"], done["photos_synced"], done["errors"]) == (26, 26, [])
        assert done["last_sync"].endswith("Z")
        assert library(place) == model(smug)
        daemon.wait_idle()
        tell_of_what_is_there(place, daemon, cup, gala, same)

        before = asked(smug)
        assert place.ctl("smugmug", "sync", "--json").json["state"] == "done"
        assert asked(smug) - before == 1, "nothing changed: one page of albums"
        smug.rename_album(gala, "Gala night")
        smug.replace_image(same, seed=5)
        smug.take_out(cup, smug.albums[cup].shown[0].image_key)
        smug.remove_album(empty)
        accepted = daemon.call("POST", "/api/smugmug/sync", status=202)
        assert daemon.job(accepted["job_id"])["state"] == "done"
        assert library(place) == model(smug)
        told = [(i["kind"], i["message"]) for i in daemon.get("/api/activity?limit=1000")["items"]]
        assert ("renamed", "Gala is called Gala night now") in told
        assert ("removed", "Empty is not in the library any more") in told
        assert any(kind == "photos" and "1 photo replaced" in words for kind, words in told)
        daemon.wait_idle()
        scene = daemon.get("/api/scenes/roll-goal")
        assert scene["albums"] == [], "it shows another picture now"
        smug.edit_image(same, caption="Second goal")
        place.ctl("smugmug", "sync", "--album", gala)
        assert place.value("SELECT caption FROM smugmug_photos WHERE image_key = ?", same) == "Second goal"
        assert daemon.call("POST", "/api/smugmug/sync/album/none", status=404)["hint"]
        log = daemon.log
    assert smug.api_key not in log
    assert not any(token in log for token in smug.tokens)


def tell_of_what_is_there(place: Installation, daemon: Daemon, cup: str, gala: str, same: str) -> None:
    counts = daemon.status()["counts"]
    assert (counts["albums"], counts["library_photos"]) == (3, 25)
    (source,) = [one for one in daemon.status()["sources"] if one["name"] == "smugmug"]
    assert (source["state"], source["last_success_at"][:2]) == ("running", "20")
    assert {"waiting", "running", "failed"} == daemon.status()["queues"]["smugmug"].keys()
    albums = daemon.get("/api/smugmug/albums")
    assert albums["next_cursor"] is None
    shown = {album["album_key"]: album for album in albums["items"]}
    assert (shown[cup]["title"], shown[cup]["image_count"]) == ("Cup \x1b[2J final", 24)
    assert shown[cup]["photos_synced"] == 24
    photos = daemon.get(f"/api/smugmug/photos/{gala}")["items"]
    assert daemon.get(f"/api/smugmug/photos/{shown[gala]['id']}")["items"] == photos
    photo = photos[0]
    assert (photo["image_key"], photo["filename"], photo["caption"]) == (same, same, "First goal")
    assert (photo["keywords"], photo["date_taken"]) == (["goal", "final"], "2026-05-30T11:00:00")
    assert (photo["width"], photo["height"], photo["ai"]) == (480, 320, None)
    assert photo["size_bytes"] == len(painted(SEED, 480, 320))
    assert photo["scene_id"] == "roll-goal"
    assert photos[1]["is_video"]
    pending = place.value("SELECT count(*) FROM ai_metadata WHERE processing_status = 'pending'")
    assert pending == 24, "one row for every photo, and none for a video"
    scene = place.ctl("scenes", "show", "roll-goal", "--json").json
    assert [(one["album_key"], one["image_key"]) for one in scene["albums"]] == [(cup, same), (gala, same)]
    assert all(one["distance"] <= 8 for one in scene["albums"])
    people = place.ctl("scenes", "show", "roll-goal").out + place.ctl("smugmug", "albums").out
    people += place.ctl("smugmug", "photos", gala).out + place.ctl("smugmug", "status").out
    assert "Cup \\x1b[2J final" in people
    assert "roll-goal" in people
    assert not has_raw_control(people)
    picture = ask(place.socket, "GET", f"/api/preview?library_photo={photo['id']}&width=60&height=60")
    assert (picture.status, picture.headers["content-type"], picture.body[:2]) == (
        200,
        "image/jpeg",
        b"\xff\xd8",
    )


def test_killed_parked_and_revoked(place: Installation, smug: FakeSmugmug) -> None:
    albums = [smug.add_album(f"Album {number}") for number in range(6)]
    for album in albums:
        smug.fill(album, 30, seeds=2)
    pages = 6 * 5
    place.configure(smugmug={**settings(smug), "page_size": 6, "requests_per_second": 1000})
    smug.latency_s = 0.05
    with place.daemon() as daemon:
        sign_in(place, "--code")
        wait_for(lambda: asked(smug) > 12, what="a sync in its midst")
        accepted = daemon.call("POST", "/api/smugmug/sync", {"full": False}, status=202)
        assert status(daemon)["in_progress"]
        daemon.kill()
        smug.latency_s = 0.0
        smug.limit = 0  # the window is used up
        daemon.start()
        parked = wait_for(lambda: (now := status(daemon))["state"] == "waiting" and now, what="parked")
        assert "429" in parked["errors"][0]
        assert parked["resume_at"] is not None
        assert daemon.get(f"/api/jobs/{accepted['job_id']}")["state"] == "waiting"
        service = wait_for(lambda: (s := daemon.services()["smugmug"])["state"] == "backing_off" and s)
        assert "429" in service["last_error"]
        wait_for(lambda: place.sql("SELECT resume_at FROM smugmug_account"), what="the wait on record")
        before = asked(smug)
        daemon.kill()
        daemon.start()
        wait_for(daemon.is_ready)
        assert asked(smug) == before, "the wait holds over a restart"
        daemon.kill()
        smug.limit = 100_000
        place.sql("UPDATE smugmug_account SET resume_at = '2026-01-01T00:00:00.000Z'")
        daemon.start()
        wait_for(daemon.is_ready)
        assert daemon.job(accepted["job_id"])["state"] == "done"
        assert library(place) == model(smug)
        again = [one for one in smug.api_calls() if one.operation == "album.images" and one.status == 200]
        assert pages <= len(again) <= pages + 4, "only the pages on their way were asked for again"

        smug.revoke(NICKNAME)
        place.ctl("smugmug", "sync", code=1)
        assert wait_for(lambda: daemon.services()["smugmug"]["state"] == "needs_auth")
        assert "syncctl auth smugmug" in daemon.call("POST", "/api/smugmug/sync", status=409)["hint"]
        assert "syncctl auth smugmug" in json.dumps(status(daemon)["errors"])
        assert daemon.get("/healthz") and daemon.status()["idle"]
