"""Descriptions from outside: a real daemon, syncctl, a fake SmugMug and a fake vision model on loopback."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from tests.fakes.faults import slow
from tests.fakes.smugmug import FakeSmugmug, fake_smugmug
from tests.fakes.vision import EMBEDDING_MODEL, KEY, MODEL, FakeVision, fake_vision
from tests.outside.installation import Daemon, Installation, has_raw_control, wait_for
from tests.outside.test_smugmug_sign_in import settings, sign_in

PHOTOS = 8
FIELDS = [
    "id",
    "image_key",
    "filename",
    "albums",
    "status",
    "description",
    "tags",
    "categories",
    "confidence",
]


@pytest.fixture
def fakes() -> Iterator[tuple[FakeSmugmug, FakeVision]]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(fake_smugmug()) as smug,
        portal.wrap_async_context_manager(fake_vision()) as vision,
    ):
        yield smug, vision


def ai(vision: FakeVision, **given: Any) -> dict[str, Any]:
    models = {"model": MODEL, "embedding_model": EMBEDDING_MODEL, "batch_size": 3}
    return {"base_url": vision.base_url, "api_key": KEY, **models, **given}


def statuses(place: Installation) -> dict[str, int]:
    found = place.rows("SELECT processing_status AS s, count(*) AS n FROM ai_metadata GROUP BY 1")
    return {row["s"]: row["n"] for row in found}


def until(place: Installation, **wanted: int) -> None:
    wait_for(lambda: statuses(place) == wanted, 20, f"{wanted}, not {statuses(place)}")


def items(daemon: Daemon, query: str = "") -> list[dict[str, Any]]:
    return list(daemon.get(f"/api/metadata?{query}")["items"])


def test_a_library_is_described_reviewed_found_and_exported(
    place: Installation, fakes: tuple[FakeSmugmug, FakeVision]
) -> None:
    smug, vision = fakes
    cup = smug.add_album("Cup \x1b[2J final")
    for number in range(PHOTOS):
        smug.add_image(cup, f"IMG_{number}.jpg", caption="First goal" if number == 2 else "")
    smug.add_image(cup, "clip.mp4")
    place.configure(smugmug=settings(smug))
    with place.daemon() as daemon:
        sign_in(place)
        until(place, pending=PHOTOS)
        daemon.wait_idle()  # without a model nothing waits
        assert daemon.services()["describe"]["state"] == "running"
        assert daemon.status()["queues"]["describe"] == {"waiting": 0, "running": 0, "failed": 0}
        refused = daemon.call("POST", "/api/metadata/search", {"text": "goal"}, status=409)
        assert "embedding_model" in refused["hint"]

        # A key that is wrong is asked for once, and says so.
        place.configure(smugmug=settings(smug), ai=ai(vision, api_key="sk-wrong-123456789"))
        place.ctl("config", "reload")
        wait_for(lambda: daemon.services()["describe"]["state"] == "needs_auth", 20)
        until(place, pending=PHOTOS)

        # Killed while photos are with the model, it begins again with those.
        vision.fail("chat.completions", *[slow(60)] * 3)
        place.configure(smugmug=settings(smug), ai=ai(vision))
        place.ctl("config", "reload")
        wait_for(lambda: vision.in_flight == 3, 20)
        assert statuses(place) == {"pending": PHOTOS - 3, "processing": 3}
        daemon.kill()
        daemon.start()
        until(place, review=PHOTOS)
        daemon.wait_idle()
        assert vision.most_in_flight <= 3 + 3 + 1  # the killed daemon's, and one for the texts
        rows = items(daemon)
        assert set(FIELDS) <= rows[0].keys()
        assert {(row["attempts"], row["version"], row["approved"]) for row in rows} == {(1, 1, False)}

        edited = place.ctl("meta", "edit", "2", "--description", "A puppy at the coast", "--tags", "dog,sea",
                           "--by", "eva", "--reason", "it is a dog", "--json").json  # fmt: skip
        assert (edited["version"], edited["tags"], edited["status"]) == (2, ["dog", "sea"], "review")
        shown = place.ctl("meta", "show", "2").out
        assert "by eva: it is a dog" in shown and not has_raw_control(shown)
        assert "\\x1b" in shown  # the album's name
        daemon.wait_idle()
        found = place.ctl("meta", "search", "a dog on the beach", "--json").json["items"]
        assert (found[0]["id"], len(found)) == (2, PHOTOS)
        assert [row["distance"] for row in found] == sorted(row["distance"] for row in found)
        assert [row["filename"] for row in items(daemon, "q=first+GOALS")] == ["IMG_2.jpg"]
        assert items(daemon, "q=%22%20OR%20NEAR(") == []

        assert place.ctl("meta", "approve", "2", "--by", "eva", "--json").json["approved"] == 1
        assert place.ctl("meta", "approve", "--all", "--album", cup, "--yes").out.startswith(f"{PHOTOS - 1} ")
        assert statuses(place) == {"approved": PHOTOS}
        table = list(
            csv.DictReader(io.StringIO(place.ctl("meta", "export", "--format", "csv").out, newline=""))
        )
        assert (len(table), table[1]["tags"], table[1]["approved_by"]) == (PHOTOS, "dog;sea", "eva")
        exported = place.ctl("meta", "export", "--format", "json").json["items"]
        assert [list(row)[:9] for row in exported] == [FIELDS] * PHOTOS
        history = place.rows("SELECT * FROM metadata_history WHERE metadata_id = 2")
        assert [(row["new_description"], row["changed_by"], row["change_reason"]) for row in history] == [
            ("A puppy at the coast", "eva", "it is a dog")
        ]
        assert json.loads(place.value("SELECT ai_tags FROM ai_metadata WHERE id = 2")) == ["dog", "sea"]
        assert place.value("SELECT length(embedding) FROM ai_metadata WHERE id = 2") == 4 * vision.dimensions
        for secret in (KEY, "sk-wrong-123456789"):
            assert secret not in daemon.log + json.dumps(daemon.get("/api/activity?limit=1000"))
