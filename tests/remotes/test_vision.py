"""The vision client against a fake OpenAI-compatible server: what is asked, what is made of the answers."""

from __future__ import annotations

import io
import json
import logging
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from PIL import Image

from syncd.config import AiConfig
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import register_secret
from syncd.remotes.pacer import Pacer, RateLimited
from syncd.remotes.vision import Vision, unit_vector
from tests.fakes import vision as fake
from tests.fakes.faults import drop, html, redirect, says, truncate
from tests.fakes.vision import FakeVision, content, describe, fake_vision, huge, prose, refuse
from tests.remotes.conftest import Clock


def jpeg(number: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (number * 50 % 256, 90, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


@asynccontextmanager
async def client_of(vision: FakeVision, clock: Clock, **given: Any) -> AsyncIterator[Vision]:
    settings = {"api_key": fake.KEY, "model": fake.MODEL, "embedding_model": fake.EMBEDDING_MODEL, **given}
    pacer = Pacer(1000, clock=clock, sleep=clock.sleep)
    config = AiConfig(base_url=vision.base_url, **settings)
    async with Vision(config, pacer=pacer, sleep=clock.sleep, jitter=lambda: 1.0) as client:
        yield client


@pytest.fixture
async def vision() -> AsyncIterator[FakeVision]:
    async with fake_vision() as running:
        yield running


@pytest.fixture
async def client(vision: FakeVision, clock: Clock) -> AsyncIterator[Vision]:
    async with client_of(vision, clock) as opened:
        yield opened


async def test_a_photo_is_described_by_its_looks(vision: FakeVision, client: Vision) -> None:
    found = await client.describe(jpeg(), "caption: the final")
    wanted = describe(jpeg())
    assert found.description == wanted["description"]
    assert (list(found.tags), found.confidence) == (wanted["tags"], wanted["confidence"])
    asked = vision.asked[0]
    assert asked.picture == jpeg()
    assert asked.payload["model"] == fake.MODEL
    shape = asked.payload["response_format"]["json_schema"]["schema"]
    assert shape["required"] == list(shape["properties"]) == [
        "description", "tags", "categories", "confidence", "teams", "event", "sport",
    ]  # fmt: skip
    assert "caption: the final" in asked.payload["messages"][0]["content"][0]["text"]
    assert (await client.describe(jpeg())).description == found.description


@pytest.mark.parametrize(
    ("refused", "settled"),
    [(set(), "json_schema"), ({"json_schema"}, "json_object"), ({"json_schema", "json_object"}, "plain")],
)
async def test_what_a_server_refuses_is_asked_once(refused: set[str], settled: str, clock: Clock) -> None:
    async with (
        fake_vision(refused_formats=refused, refuses_max_tokens=True) as vision,
        client_of(vision, clock) as client,
    ):
        for number in range(3):
            wanted = describe(jpeg(number))["description"]
            assert (await client.describe(jpeg(number))).description == wanted
        assert client.answer_format == settled
    # One refusal for each format, one for the limit's name, then only what works.
    assert [asked.status for asked in vision.asked] == [400] * (len(refused) + 1) + [200] * 3
    assert "max_completion_tokens" in vision.asked[-1].payload
    assert clock.backed_off == []


async def test_servers_that_fail_on_a_format_are_asked_without(vision: FakeVision, client: Vision) -> None:
    vision.fail("chat.completions", refuse(500, "failed to parse grammar of json_schema"))
    assert (await client.describe(jpeg())).description
    assert client.answer_format == "json_object"


async def test_a_photo_that_is_refused_does_not_change_how_others_are_asked(
    vision: FakeVision, client: Vision
) -> None:
    await client.describe(jpeg())
    vision.fail("chat.completions", refuse(400, "Image is too small"))
    with pytest.raises(Refused, match="Image is too small"):
        await client.describe(jpeg())
    assert (vision.count("chat.completions"), client.answer_format) == (2, "json_schema")


REFUSED: list[tuple[Any, str]] = [
    (prose(), "prose instead of JSON"),
    (content(None), "answered nothing"),
    (content(""), "answered nothing"),
    (content(json.dumps({"description": "A goal"})[:15], "length"), "cut off at its length limit"),
    (content(None, "length"), "cut off at its length limit"),
    (content(None, refusal="I can't help with people."), "the model refuses: I can't help with people."),
    (content("", "content_filter"), "content filter"),
    (huge(), "characters, which is absurd|cut off"),
    (content("word " * (2 << 20)), "which is absurd"),
    (says(200, b"x" * (17 << 20), "application/json"), "longer than"),
    (says(200, b'{"choices": []}', "application/json"), "without a choice"),
    (says(200, b'{"choices": [{"message": null}]}', "application/json"), "without a choice"),
    (says(200, b'{"error": {"message": "no image support"}}', "application/json"), "no image support"),
    (refuse(413, "too large"), "413, too large"),
]


@pytest.mark.parametrize(("act", "reason"), REFUSED)
async def test_a_bad_answer_is_the_photo_s(act: Any, reason: str, vision: FakeVision, client: Vision) -> None:
    await client.describe(jpeg())
    vision.fail("chat.completions", act)
    with pytest.raises(Refused, match=reason) as refused:
        await client.describe(jpeg())
    assert len(str(refused.value)) < 300
    assert (await client.describe(jpeg())).description


# what happens, what it is, what it says, how often it is tried
DECISIONS: list[tuple[Any, type[SyncdError], str, int]] = [
    (refuse(401, "Incorrect API key"), AuthRejected, "401, Incorrect API key", 1),
    (refuse(403, "not your model"), AuthRejected, "403, not your model", 1),
    (refuse(402, "Insufficient credits"), AuthRejected, "402", 1),
    (refuse(404, "model 'x' not found, try pulling it first"), Transient, "try pulling it first", 3),
    (refuse(503, "Loading model"), Transient, "503, Loading model", 3),
    (html(502), Transient, "502", 3),
    (html(200), Transient, "text/html that is no JSON object", 3),
    (says(200, b"{", "application/json"), Transient, "no JSON object", 3),
    (drop(), Transient, "connection broke", 3),
    (truncate(), Transient, "broke off its answer", 3),
    (redirect("https://example.com/"), Transient, "redirect", 3),
    (refuse(429, "Rate limit reached"), RateLimited, "429, Rate limit", 3),
    (refuse(429, "You exceeded your current quota", "insufficient_quota"), RateLimited, "quota", 1),
    (says(200, b'{"error": {"message": "busy", "code": 503}}', "application/json"), Transient, "busy", 1),
    (says(200, b'{"error": {"message": "no", "code": "402"}}', "application/json"), AuthRejected, "402", 1),
]


@pytest.mark.parametrize(("act", "decision", "reason", "asked"), DECISIONS)
async def test_refusals_are_decisions(
    act: Any, decision: type[SyncdError], reason: str, asked: int, vision: FakeVision, client: Vision
) -> None:
    vision.fail("chat.completions", *[act] * 4)
    with pytest.raises(decision, match=reason) as met:
        await client.describe(jpeg())
    assert type(met.value) is decision
    assert vision.count("chat.completions") == asked


async def test_a_limit_of_the_rate_is_waited_for(vision: FakeVision, client: Vision, clock: Clock) -> None:
    vision.fail("chat.completions", refuse(429, "Rate limit reached", retry_after="7"), refuse(429, "again"))
    assert (await client.describe(jpeg())).description
    assert clock.backed_off == [7.0, 2.0]


async def test_half_an_hour_is_not_slept_through(vision: FakeVision, client: Vision, clock: Clock) -> None:
    vision.fail("chat.completions", refuse(429, "Rate limit reached", retry_after="1800"))
    with pytest.raises(RateLimited) as met:
        await client.describe(jpeg())
    assert met.value.retry_after_s == 1800
    with pytest.raises(RateLimited):
        await client.describe(jpeg())
    assert (vision.count("chat.completions"), clock.backed_off) == (1, [])


async def test_the_key_is_in_no_log_and_no_message(
    vision: FakeVision, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    register_secret("sk-wrong-987654321")  # as the daemon does with what stands in the settings
    vision.fail("chat.completions", refuse(401, "Incorrect API key provided: sk-wrong-987654321."))
    async with client_of(vision, clock, api_key="sk-wrong-987654321") as client:
        with pytest.raises(AuthRejected) as met:
            await client.describe(jpeg())
        with pytest.raises(AuthRejected):
            await client.embed(["a"])
    assert "sk-wrong" not in f"{met.value} {met.value.hint} {caplog.text}"
    assert "api_key in [ai]" in str(met.value.hint)
    assert "sk-wrong" not in repr(AiConfig(api_key="sk-wrong-987654321"))
    assert vision.asked[0].authorization == "Bearer sk-wrong-987654321"


async def test_a_server_of_one_s_own_needs_no_key(clock: Clock) -> None:
    async with fake_vision(key=None, fences=True) as vision, client_of(vision, clock, api_key="") as client:
        assert (await client.describe(jpeg())).description
        assert vision.asked[0].authorization is None


def vector_of(data: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(data) // 4}f", data)


async def test_texts_are_unit_vectors_near_those_of_like_texts(client: Vision) -> None:
    texts = ["a soccer goal", "football and goals", "a cat asleep in a window"]
    vectors = [vector_of(data) for data in await client.embed(texts)]
    assert [round(math.hypot(*vector), 5) for vector in vectors] == [1, 1, 1]
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    assert near > 0.4 > far


EMBEDDINGS: list[tuple[Any, str]] = [
    ([], "no vector for each"),
    ([{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}], "not all of one length"),
    ([{"index": 0, "embedding": [1.0]}, {"index": 5, "embedding": [1.0]}], "belong to no text"),
    ([{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}], "not all of one length"),
    ([{"embedding": [0.0, 0.0]}, {"embedding": [1.0, 2.0]}], "no direction"),
    ([{"embedding": ["1.0"]}, {"embedding": [1.0]}], "no number"),
    ([{"embedding": []}, {"embedding": [1.0]}], "no vector"),
    ([{"embedding": "AAAA"}, {"embedding": [1.0]}], "no vector"),
    ([None, None], "belong to no text"),
]


@pytest.mark.parametrize(("rows", "reason"), EMBEDDINGS)
async def test_vectors_that_are_none(rows: Any, reason: str, vision: FakeVision, client: Vision) -> None:
    vision.fail("embeddings", says(200, json.dumps({"data": rows}).encode(), "application/json"))
    with pytest.raises(Refused, match=reason):
        await client.embed(["a", "b"])


def test_vectors_out_of_all_bounds() -> None:
    for numbers in ([1e308] * 4, [10**400], [math.inf], [math.nan], [0], [True], [1.0] * 20_000, None, {}):
        with pytest.raises(Refused):
            unit_vector(numbers)
    assert unit_vector([3, 4]) == struct.pack("<2f", 0.6, 0.8)
    assert unit_vector([5e-324]) == struct.pack("<f", 1.0)


async def test_vectors_come_back_in_the_order_of_the_texts(vision: FakeVision, client: Vision) -> None:
    rows = [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 0]}]
    vision.fail("embeddings", says(200, json.dumps({"data": rows}).encode(), "application/json"))
    assert [vector_of(data) for data in await client.embed(["a", "b"])] == [(1, 0), (0, 1)]


async def test_many_at_a_time(vision: FakeVision, client: Vision) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(client.describe, jpeg(number))
    assert [asked.status for asked in vision.asked] == [200] * 8
