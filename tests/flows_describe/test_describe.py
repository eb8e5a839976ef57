"""Photos are described in the background: in batches, within a budget, whatever the server does."""

from __future__ import annotations

import io
import socket

import anyio
import pytest
from PIL import Image

from syncd.catalogue import jobs
from syncd.config import Config
from syncd.control import schema
from syncd.errors import AuthRejected, Refused, Transient
from tests.catalogue.library import add_photos, rows, run
from tests.fakes.faults import drop, slow
from tests.fakes.vision import describe, fake_vision, prose, refuse
from tests.flows_describe.conftest import Place


async def test_photos_are_described_embedded_reviewed_and_found(place: Place) -> None:
    await add_photos(place.catalogue, 9, caption="Cup final", keywords='["lions"]')
    await run(place.catalogue, "UPDATE smugmug_photos SET removed_at = 'now' WHERE id = 9")
    place.vision.delay_s = 0.01
    async with place.running():
        await place.idle()
        assert await place.statuses() == {"review": 8, "pending": 1}
        assert await place.jobs() == []
        asked = [one for one in place.vision.asked if one.operation == "chat.completions"]
        assert (len(asked), place.vision.most_in_flight <= 5) == (8, True)  # 4 photos and one for texts
        assert {Image.open(io.BytesIO(one.picture)).size for one in asked} == {(1024, 576)}
        words = [one.payload["messages"][0]["content"][0]["text"] for one in asked]
        assert all(text.endswith("albums: Album abc\ncaption: Cup final\nkeywords: lions") for text in words)
        page = await place.api.listed("review", None, None, None, 100, None)
        one = page.items[0]
        wanted = next(
            describe(a.picture) for a in asked if describe(a.picture)["description"] == one.description
        )
        assert (one.tags, one.confidence, one.version) == (wanted["tags"], wanted["confidence"], 1)
        assert (one.attempts, one.model, one.error) == (1, "fake-vision", None)
        # An edit is embedded again, and found by what it means.
        patch = schema.MetadataPatch(description="A puppy at the coast", changed_by="eva", reason="better")
        await place.api.edit(3, patch)
        await place.idle()
        found = await place.api.search(schema.MetadataQuery(text="dog on a beach", limit=3))
        assert found.items[0].id == 3
        assert [row.distance for row in found.items] == sorted(row.distance for row in found.items)
        assert found.items[0].distance < 0.5
        before = place.vision.count("embeddings")
        assert (await place.api.search(schema.MetadataQuery(text="dog on a beach"))).items[0].id == 3
        assert place.vision.count("embeddings") == before  # the same question is not embedded twice
        assert len((await place.api.search(schema.MetadataQuery(text="dog", limit=1000))).items) == 8
        await run(place.catalogue, "UPDATE smugmug_photos SET removed_at = 'now' WHERE id = 3")
        near = await place.api.search(schema.MetadataQuery(text="dog on a beach", limit=7))
        assert (len(near.items), 3 in {row.id for row in near.items}) == (7, False)
        done = await place.api.approve(schema.MetadataApproval(album_key="abc", approved_by="eva"))
        assert done.approved == 7
        async with place.catalogue.reader() as db:
            assert await place.api.queue(db) == schema.QueueStatus()
    assert place.handle.states == [("running", None)]
    text = "".join([piece.decode() async for piece in place.api.export("csv", "approved", None, None, None)])
    assert len(text.splitlines()) == 8


async def test_a_bad_answer_fails_one_photo_and_shows(place: Place) -> None:
    await add_photos(place.catalogue, 3)
    place.set(batch_size=1, auto_approve=True)
    place.vision.fail("chat.completions", prose(), prose())
    async with place.running():
        await place.until("approved", 3)
        assert await rows(place.catalogue, "SELECT sum(attempts) FROM ai_metadata") == [(5,)]
        assert (await place.api.get(1)).approved_by == "syncd"
        await add_photos(place.catalogue, 1, first=4)
        place.vision.fail("chat.completions", prose(), refuse(400, "no such image"), prose())
        await place.until("failed", 1)
        [(subject, state, attempts, error)] = await place.jobs()
        row = await place.api.get(4)
        assert (row.status, row.attempts, row.error) == ("failed", 3, error)
        assert (subject, state, attempts, str(error)[:29]) == (
            "IMG_0004.jpg",
            "failed",
            3,
            "the model answered prose inst",
        )
        async with place.catalogue.reader() as db:
            assert await place.api.queue(db) == schema.QueueStatus(failed=1)
            [job], _ = await jobs.page(db, state="failed")
        asked = place.vision.count("chat.completions")
        await place.idle()
        assert place.vision.count("chat.completions") == asked  # it waits for a person
        await place.catalogue.write(lambda db: jobs.requeue(db, job.id))
        place.api.retried("describe")
        await place.until("approved", 4)
    assert (await place.jobs(), (await place.api.get(4)).error) == ([], None)
    assert {state for state, _ in place.handle.states} == {"running"}


async def test_a_server_that_is_down_makes_work_wait(place: Place) -> None:
    await add_photos(place.catalogue, 6)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        place.set(base_url=f"http://127.0.0.1:{port}/v1")
        async with place.running():
            while "backing_off" not in {state for state, _ in place.handle.states}:
                await anyio.sleep(0.005)
            await anyio.sleep(0.2)
    assert "cannot be reached" in str(place.handle.states[-1][1])
    assert await place.statuses() == {"pending": 6}
    seen = await rows(place.catalogue, "SELECT DISTINCT attempts, error FROM ai_metadata")
    assert seen == [(0, None)]
    assert {(state, attempts) for _, state, attempts, _ in await place.jobs()} <= {
        ("queued", 0),
        ("waiting", 0),
    }
    async with fake_vision(port) as vision, place.running():
        await place.until("review", 6)
        assert vision.count("chat.completions") == 6
        await place.idle()
        assert place.handle.states[-1] == ("running", None)


async def test_a_photo_that_brings_the_server_down_is_found_out(place: Place) -> None:
    await add_photos(place.catalogue, 4)
    place.set(batch_size=1, embedding_model="")

    def is_first(index: int) -> bool:
        return place.pictures.asked[index].endswith("/1.jpg")

    next_fault = place.vision.script.next

    def fault(operation: str) -> object:
        if operation == "chat.completions" and is_first(-1):
            place.vision.fail(operation, drop())
        return next_fault(operation)

    place.vision.script.next = fault  # type: ignore[assignment]
    async with place.running():
        await place.until("review", 3)
        await place.until("failed", 1)
    row = await place.api.get(1)
    assert "not with other photos" in str(row.error)
    assert row.status == "failed"


@pytest.mark.parametrize("key", ["wrong", ""])
async def test_a_refused_key_is_said_once(key: str, place: Place) -> None:
    await add_photos(place.catalogue, 8)
    place.set(api_key=key)
    async with place.running():
        while place.handle.states[-1:] == [] or place.handle.states[-1][0] != "needs_auth":
            await anyio.sleep(0.005)
        await place.idle()
        asked = len(place.vision.asked)
        assert asked <= 4
        assert place.handle.states[-1] == (
            "needs_auth",
            "cannot describe a photo: the vision server says 401, Incorrect API key provided."
            " (check api_key in [ai] of syncd.toml)",
        )
        await anyio.sleep(0.1)
        assert (len(place.vision.asked), await place.statuses()) == (asked, {"pending": 8})
        with pytest.raises(AuthRejected):
            await place.api.search(schema.MetadataQuery(text="a"))
        place.set()
        await place.until("review", 8)
        await place.idle()
    assert place.handle.states[-1] == ("running", None)
    assert await rows(place.catalogue, "SELECT DISTINCT attempts FROM ai_metadata") == [(1,)]


async def test_a_day_has_a_budget(place: Place) -> None:
    await add_photos(place.catalogue, 7)
    place.set(daily_limit=3)
    for day, review in (("2026-11-21", 3), ("2026-11-21", 3), ("2026-11-22", 6)):
        place.day = day
        async with place.running():  # a restart does not begin the day anew
            await place.until("review", review)
            await place.idle()
            assert (await place.statuses())["review"] == review
        assert "today's limit of 3 photos is used up" in str(place.handle.states[-1][1])
    place.set(daily_limit=0)
    async with place.running():
        await place.until("review", 7)


async def test_what_was_under_way_is_done_again(place: Place) -> None:
    await add_photos(place.catalogue, 3)
    place.vision.fail("chat.completions", *[slow(30)] * 3)
    async with place.running():
        await place.until("processing", 3)
        while place.vision.in_flight < 3:
            await anyio.sleep(0.005)
        # An edit wins over the model that is at it.
        patch = schema.MetadataPatch(description="By hand", changed_by="eva", reason="knows better")
        assert (await place.api.edit(2, patch)).status == "review"
    assert await place.statuses() == {"pending": 2, "review": 1}
    # As after a kill: nobody put anything back.
    await run(place.catalogue, "UPDATE ai_metadata SET processing_status = 'processing' WHERE id = 1")
    async with place.running():
        await place.until("review", 3)
        await place.idle()
    assert (await place.api.get(2)).description == "By hand"
    assert await place.jobs() == []


async def test_without_a_model_nothing_is_done_and_nothing_complained_of(place: Place) -> None:
    await add_photos(place.catalogue, 2)
    place.config = Config()
    async with place.running():
        await anyio.sleep(0.05)
        await place.idle()
        async with place.catalogue.reader() as db:
            assert await place.api.queue(db) == schema.QueueStatus()
        with pytest.raises(Refused, match="no embedding model") as refused:
            await place.api.search(schema.MetadataQuery(text="a"))
        assert "embedding_model in [ai]" in str(refused.value.hint)
        assert (place.handle.states, await place.jobs(), place.vision.asked) == ([("running", None)], [], [])
        place.set(model="")  # what people write can be found by meaning all the same
        await place.api.edit(1, schema.MetadataPatch(description="A dog", changed_by="eva"))
        await place.idle()
        assert [r.id for r in (await place.api.search(schema.MetadataQuery(text="puppy"))).items] == [1]
    assert place.vision.count("chat.completions") == 0


async def test_an_embedding_model_that_is_missing_holds_up_no_photo(place: Place) -> None:
    await add_photos(place.catalogue, 6)
    place.set(embedding_model="not-pulled", batch_size=1)
    async with place.running():
        await place.until("review", 6)
        while place.handle.states[-1][0] != "backing_off":
            await anyio.sleep(0.005)
        assert "The model `not-pulled` does not exist" in str(place.handle.states[-1][1])
        assert "in [ai] of syncd.toml" in str(place.handle.states[-1][1])
        place.set()
        await place.idle()
        assert len((await place.api.search(schema.MetadataQuery(text="x"))).items) == 6
    assert place.handle.states[-1] == ("running", None)


async def test_pictures_that_cannot_be_had(place: Place) -> None:
    await add_photos(place.catalogue, 4)
    await run(place.catalogue, "UPDATE smugmug_photos SET large_url = NULL WHERE id = 1")
    place.set(batch_size=1)
    place.pictures.broken = {"https://photos.example/3.jpg"}
    await run(place.catalogue, "UPDATE smugmug_photos SET thumbnail_url = 'https://x/22.jpg' WHERE id = 2")
    place.pictures.missing = {"https://photos.example/2.jpg"}
    place.pictures.errors = [
        Transient("SmugMug is down"),
        AuthRejected("sign in", hint="syncctl auth smugmug"),
    ]
    async with place.running():
        await place.until("review", 2)  # the second by its thumbnail
        await place.until("failed", 2)
    assert "says 503 (5 times, and not with other photos)" in str((await place.api.get(3)).error)
    assert (await place.api.get(1)).error == "the library gives no address for a picture of it"
    assert "https://x/22.jpg" in place.pictures.asked
    assert {state for state, _ in place.handle.states} == {"running", "backing_off"}  # no key was refused


async def test_a_text_that_is_refused_spoils_no_other(place: Place) -> None:
    await add_photos(place.catalogue, 3)
    place.set(embedding_model="")
    async with place.running():
        await place.until("review", 3)
        place.vision.fail("embeddings", *[refuse(400, "too long")] * 2)  # all together, then the first
        place.set()
        await place.idle()
        embedded = "SELECT id, embedding_model, error FROM ai_metadata"
        assert await rows(place.catalogue, embedded) == [
            (
                1,
                None,
                "cannot be found by meaning: cannot embed a text: the vision server says 400, too long",
            ),
            (2, "fake-embedding", None),
            (3, "fake-embedding", None),
        ]
        place.service.wake(again=True)  # as when somebody resumes the service
        await place.idle()
        assert (await rows(place.catalogue, embedded))[0] == (1, "fake-embedding", None)
        # Another model's vectors are not to be compared with these.
        place.vision.embedding_model, place.vision.dimensions = "other", 32
        place.set(embedding_model="other")
        await place.idle()
        assert {row[1] for row in await rows(place.catalogue, embedded)} == {"other"}
        assert len((await place.api.search(schema.MetadataQuery(text="x"))).items) == 3
