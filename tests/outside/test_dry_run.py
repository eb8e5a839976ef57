"""A dry run prints exactly the actions that the run then takes, whatever has happened before."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from typing import Any

import pytest

from tests.outside.installation import Daemon, Installation, small_jpeg

STAGES = ("final_crops", "inverted_original_scans", "initial_scan")
SUFFIX = {"final_crops": "_crop", "inverted_original_scans": "_inverted", "initial_scan": ""}


def by_scene(actions: list[dict[str, Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """Each scene's actions in order."""
    found = defaultdict(list)
    for action in actions:
        found[action["scene_id"]].append(tuple(sorted(action.items())))
    return dict(found)


def foreseeable(actions: list[dict[str, Any]], done: dict[str, Any]) -> list[dict[str, Any]]:
    """A dry run need not decode: it cannot know that a new file is broken and will not replace anything."""
    broken = {item["path"] for item in done["failed"]}
    scenes = {a["scene_id"] for a in actions if a["local_path"] in broken and a["action"] != "remove"}
    return [a for a in actions if a["action"] == "record" or a["scene_id"] not in scenes]


def happen(place: Installation, chance: random.Random, known: bool) -> None:
    """One thing that a person or a scanner does."""
    batch = chance.choice(["a", "a-b", "c"])
    stage = chance.choice(STAGES)
    extension = chance.choice([".jpg", ".jpg", ".jpg", ".png", ".JPG"])
    path = place.images / batch / stage / f"{chance.choice(['b-x', 'x', 'y', 'z'])}{SUFFIX[stage]}{extension}"
    there = sorted(p for p in place.images.rglob("*") if p.is_file() and not p.is_symlink())
    what = chance.randrange(12)
    if what < 5 or not there:
        content = b"broken" if chance.random() < 0.12 else small_jpeg(chance.randrange(40))
        place.add(str(path.relative_to(place.images)), content)
    elif what == 5:
        chance.choice(there).unlink()
    elif what == 6:
        chance.choice(there).write_bytes(small_jpeg(chance.randrange(40)))
    elif what == 7:
        os.utime(chance.choice(there), (chance.randrange(10**9), chance.randrange(10**9)))
    elif what == 8:
        source = chance.choice(there)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            source.rename(path)
    elif what == 9 and known:
        place.sql(f"UPDATE public_site_batches SET is_public = 1 - is_public WHERE batch_name = '{batch}'")
    elif what == 10 and known:
        stages = chance.choice(["NULL", *(f"'{stage}'" for stage in STAGES)])
        place.sql(f"UPDATE public_site_batches SET source_directory = {stages} WHERE batch_name = '{batch}'")
    elif what == 11:
        place.configure(batches={"on_missing": chance.choice(["keep", "withdraw"])})


@pytest.mark.parametrize("seed", range(3))
def test_random_histories(place: Installation, seed: int) -> None:
    chance = random.Random(seed)
    place.configure(guard={"max_delete": chance.choice([0, 2, 50]), "max_delete_percent": 0})
    for step in range(5):
        for _ in range(chance.randrange(1, 7)):
            happen(place, chance, known=place.catalogue.exists())
        options = chance.choice([[], [], [], ["--db-only"], ["--images-only"], ["--batch", "a"]])
        if options == ["--batch", "a"] and not (place.images / "a").exists():
            options = []
        before = place.archive_state()
        dry = place.once("--dry-run", *options, code=None)
        done = place.once(*options, code=None)
        foreseen, did = foreseeable(dry["actions"], done), foreseeable(done["actions"], done)
        assert by_scene(foreseen) == by_scene(did), (seed, step, options)
        kinds = [action["action"] for action in done["actions"]]
        assert (kinds.count("upload"), kinds.count("remove")) == (done["uploaded"], done["removed"])
        place.check(complete="--db-only" not in options)
        again = place.once(*options, code=None)
        assert again["actions"] == [], (seed, step, options)
        assert place.archive_state() == before
    place.once(code=None)
    place.check()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 160))
def test_many_random_histories(place: Installation, seed: int) -> None:
    test_random_histories(place, seed)


def test_through_the_api(daemon: Daemon) -> None:
    place, chance = daemon.place, random.Random(7)
    daemon.call("POST", "/api/pause", {"service": "batches"})
    for _ in range(6):
        for _ in range(3):
            # Privacy by SQL is noticed by itself, which would race with the question.
            happen(place, chance, known=False)
        dry = daemon.call("POST", "/api/admin/sync", {"dry_run": True})
        assert dry["dry_run"] is True and dry["job_id"] is None
        since = daemon.status()["last_activity_id"]
        daemon.sync()
        acted = daemon.get(f"/api/activity?since={since}&limit=1000")["items"]
        done = daemon.get("/api/admin/sync/status")
        uploads = sorted(a["key"] for a in foreseeable(dry["actions"], done) if a["action"] == "upload")
        assert sorted(i["message"].split()[-1] for i in acted if i["kind"] == "uploaded") == uploads
        assert daemon.call("POST", "/api/admin/sync", {"dry_run": True})["actions"] == []
    daemon.wait_idle()
    place.check()
