"""A vision model and an embedding model behind an OpenAI-compatible server on loopback, deterministic by
picture and by words, with accidents by script.

async with fake_vision() as vision:
    vision.fail("chat.completions", refuse(429, "Rate limit reached", retry_after="1"), prose())
    … vision.base_url, vision.key, vision.model, vision.embedding_model …

Shapes of requests, answers and refusals are those of OpenAI's API reference; `refused_formats` makes it a
server that knows no structured output.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import anyio
from aiohttp import web
from PIL import Image

from tests.fakes.faults import Handler, Script, says

KEY = "sk-fake-0123456789abcdef"
MODEL = "fake-vision"
EMBEDDING_MODEL = "fake-embedding"
DIMENSIONS = 64

# What a picture shows, by its looks: subject, category, tags, sport, event, teams.
SUBJECTS: tuple[tuple[str, str, str, str, str, str], ...] = (
    (
        "a soccer player who scores a goal",
        "sports",
        "soccer,goal,ball",
        "soccer",
        "Cup Final",
        "Lions,Sharks",
    ),
    (
        "a basketball team in a huddle",
        "sports",
        "basketball,team,gym",
        "basketball",
        "City League",
        "Bulls,Hawks",
    ),
    ("a runner at the finish line", "sports", "running,race,finish", "running", "Spring Marathon", ""),
    ("a bride and groom who dance", "wedding", "bride,groom,dance", "", "Smith Wedding", ""),
    ("a child with a birthday cake", "party", "birthday,cake,child", "", "Birthday", ""),
    ("a dog that runs on a beach", "animals", "dog,beach,sea", "", "", ""),
    ("a cat asleep in a window", "animals", "cat,window,sleep", "", "", ""),
    ("mountains above a lake", "landscape", "mountain,lake,snow", "", "", ""),
    ("a street at night in the rain", "city", "street,night,rain", "", "", ""),
    ("friends around a table", "people", "friends,table,dinner", "", "", ""),
)
_COLOURS = ("red", "orange", "yellow", "green", "blue", "violet")
# Words that mean nearly the same point the same way.
_ALIKE = {
    alike: group[0]
    for group in (
        ("soccer", "football", "footballer"), ("dog", "puppy", "hound"), ("cat", "kitten"),
        ("bride", "wedding", "groom", "marriage"), ("sea", "beach", "ocean", "coast"),
        ("child", "kid", "children", "boy", "girl"), ("mountain", "mountains", "alps", "peak"),
        ("runner", "runs", "running", "race", "marathon"), ("night", "dark", "evening"),
    )
    for alike in group
}  # fmt: skip
_FILLERS = frozenset(["a", "an", "and", "at", "in", "is", "of", "on", "that", "the", "to", "who", "with"])


def looks(jpeg: bytes) -> tuple[int, str, str]:
    """What a picture looks like, the same for the same picture reduced: a number (of its perceptual hash),
    the name of its colour, and how bright it is."""
    with Image.open(io.BytesIO(jpeg)) as opened:
        small = opened.convert("RGB").resize((8, 8), Image.Resampling.BOX)
    gray = small.convert("L").tobytes()
    mean = sum(gray) / 64
    bits = sum((value > mean) << place for place, value in enumerate(gray))
    red, green, blue = (sum(channel.tobytes()) / 64 for channel in small.split())
    hue = Image.new("RGB", (1, 1), (int(red), int(green), int(blue))).convert("HSV").getpixel((0, 0))
    assert isinstance(hue, tuple)
    colour = "grey" if hue[1] < 30 else _COLOURS[int(hue[0] * 6 / 256)]
    return bits, colour, "dark" if mean < 85 else "bright" if mean > 170 else "calm"


def describe(jpeg: bytes) -> dict[str, Any]:
    """What the model says of a picture."""
    bits, colour, light = looks(jpeg)
    number = int.from_bytes(hashlib.sha256(f"{bits:x}{colour}".encode()).digest()[:4], "big")
    subject, category, tags, sport, event, teams = SUBJECTS[number % len(SUBJECTS)]
    return {
        "description": f"A {light}, mostly {colour} photo of {subject}.",
        "tags": [*tags.split(","), colour, light],
        "categories": [category],
        "confidence": round(0.5 + number % 50 / 100, 2),
        "teams": [team for team in teams.split(",") if team],
        "event": event,
        "sport": sport,
    }


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector that is near those of texts with the same words, or words that mean the same. Not of unit
    length: a client that needs that must see to it."""
    vector = [0.0] * dimensions
    for word in re.findall(r"[^\W_]+", text.casefold()):
        if word not in _FILLERS:
            for place, number in enumerate(_direction(_ALIKE.get(word, word), dimensions)):
                vector[place] += number
    return vector if any(vector) else [1.0] * dimensions


@cache
def _direction(word: str, dimensions: int) -> tuple[float, ...]:
    rng = random.Random(hashlib.sha256(word.encode()).digest())
    numbers = [rng.gauss(0, 1) for _ in range(dimensions)]
    length = math.hypot(*numbers)
    return tuple(3 * number / length for number in numbers)


def refusal(
    status: int, message: str, code: str | None = None, *, headers: Mapping[str, str] | None = None
) -> web.Response:
    """OpenAI's error envelope."""
    kind = "insufficient_quota" if code == "insufficient_quota" else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return web.json_response({"error": error}, status=status, headers=dict(headers or {}))


# --- accidents ---------------------------------------------------------------------------------------


def refuse(status: int, message: str, code: str | None = None, *, retry_after: str | None = None) -> Any:
    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = {"Retry-After": retry_after} if retry_after else {}
        return refusal(status, message, code, headers=headers)

    return act


def content(text: str | None, finish: str = "stop", **message: Any) -> Any:
    """An answer of the model with just this text."""
    return says(200, json.dumps(completion(text, finish, **message)).encode(), "application/json")


def prose() -> Any:
    return content("Sure! This lovely photo shows people who have a great time. Anything else?")


def huge(size: int = 10 << 20) -> Any:
    """Words without end."""
    return content("word " * (size // 5), "length")


def completion(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion as OpenAI answers it."""
    made = {"role": "assistant", "content": text, "refusal": None, **message}
    return {
        "id": "chatcmpl-fake", "object": "chat.completion", "created": int(time.time()), "model": MODEL,
        "choices": [{"index": 0, "message": made, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }  # fmt: skip


# --- the server --------------------------------------------------------------------------------------


@dataclass
class Asked:
    """One request as it came in; `picture` are the bytes of the JPEG in it, `status` what it was answered."""

    operation: str
    payload: dict[str, Any]
    authorization: str | None
    status: int = 0
    picture: bytes = b""
    format: str = "plain"


@dataclass
class FakeVision:
    """The models, their server and its log. `key` None lets everybody in; `refused_formats` are types of
    response_format that are answered with 400; `fences` puts the answer between words and code fences;
    `delay_s` is how long the model thinks."""

    base_url: str = ""
    key: str | None = KEY
    model: str = MODEL
    embedding_model: str = EMBEDDING_MODEL
    dimensions: int = DIMENSIONS
    refused_formats: set[str] = field(default_factory=set)
    refuses_max_tokens: bool = False
    fences: bool = False
    delay_s: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    script: Script = field(default_factory=Script)
    _asked: dict[int, Asked] = field(default_factory=dict)

    def fail(self, where: str, *acts: Any) -> None:
        """Accidents for the next requests of an operation ("chat.completions", "embeddings" or "*")."""
        self.script.add(where, *acts)

    def count(self, operation: str) -> int:
        return Counter(one.operation for one in self.asked)[operation]

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._chat, name="chat.completions")
        app.router.add_post("/v1/embeddings", self._embed, name="embeddings")
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts, and lets the script have its say."""
        operation = request.match_info.route.name or "unknown"
        payload = await request.json() if request.can_read_body else {}
        asked = Asked(operation, payload, request.headers.get("Authorization"))
        self._asked[id(request)] = asked
        self.asked.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.delay_s:
                await anyio.sleep(self.delay_s)
            fault = self.script.next(operation)
            if fault is not None:
                answer = await fault.act(request, handler)
            elif self.key is not None and asked.authorization != f"Bearer {self.key}":
                answer = refusal(401, "Incorrect API key provided.", "invalid_api_key")
            else:
                answer = await handler(request)
            asked.status = answer.status
            return answer
        finally:
            self.in_flight -= 1
            del self._asked[id(request)]

    async def _chat(self, request: web.Request) -> web.Response:
        asked = self._asked[id(request)]
        payload = asked.payload
        if payload.get("model") != self.model:
            return refusal(404, f"The model `{payload.get('model')}` does not exist", "model_not_found")
        asked.format = (payload.get("response_format") or {}).get("type", "plain")
        if asked.format in self.refused_formats:
            return refusal(400, f"Invalid value: response_format.type {asked.format!r} is not supported")
        if self.refuses_max_tokens and "max_tokens" in payload:
            return refusal(
                400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                "unsupported_parameter",
            )  # fmt: skip
        try:
            asked.picture = _picture_of(payload)
            found = describe(asked.picture)
        except (ValueError, KeyError, OSError, IndexError, TypeError) as error:
            return refusal(400, f"Invalid image: {type(error).__name__}", "invalid_image")
        text = json.dumps(found)
        if self.fences or asked.format == "plain":
            text = f"Here is the description:\n```json\n{text}\n```"
        return web.json_response(completion(text))

    async def _embed(self, request: web.Request) -> web.Response:
        payload = await request.json()
        if payload.get("model") != self.embedding_model:
            return refusal(404, f"The model `{payload.get('model')}` does not exist", "model_not_found")
        texts = payload["input"] if isinstance(payload["input"], list) else [payload["input"]]
        if any(not text for text in texts):
            return refusal(400, "'$.input' is invalid: input cannot be an empty string.")
        rows = [
            {"object": "embedding", "index": index, "embedding": embed(text, self.dimensions)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 10, "total_tokens": 10}
        return web.json_response(
            {"object": "list", "data": rows, "model": self.embedding_model, "usage": usage}
        )


def _picture_of(payload: dict[str, Any]) -> bytes:
    parts = [part for part in payload["messages"][-1]["content"] if part["type"] == "image_url"]
    head, _, data = parts[0]["image_url"]["url"].partition(",")
    if head != "data:image/jpeg;base64":
        raise ValueError("not a JPEG")
    return base64.b64decode(data, validate=True)


@asynccontextmanager
async def fake_vision(port: int = 0, **given: Any) -> AsyncIterator[FakeVision]:
    """A running FakeVision on loopback; `given` are its fields."""
    vision = FakeVision(**given)
    runner = web.AppRunner(vision.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        vision.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield vision
    finally:
        await runner.cleanup()
