"""Every route over a real socket, with the client, and with its reply held against the OpenAPI document."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import validate

from syncd.control import schema
from syncd.control.client import ApiError, ControlClient
from syncd.control.openapi import document
from syncd.control.routes import ROUTES
from tests.control.memory_api import ODD_NAME, MemoryApi
from tests.control.memory_events import EVENT_CALLS
from tests.control.memory_exchange import EXCHANGE_CALLS
from tests.control.memory_library import LIBRARY_CALLS
from tests.control.memory_metadata import METADATA_CALLS
from tests.control.memory_names import NAMES_CALLS

DOCUMENT = json.loads(document(ROUTES))
JSON = {"Content-Type": "application/json"}

# method, target, body, status
CALLS: list[tuple[str, str, Any, int]] = [
    ("GET", "/healthz", None, 200),
    ("GET", "/readyz", None, 200),
    ("GET", "/metrics", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/api/status", None, 200),
    ("GET", "/api/activity", None, 200),
    ("GET", "/api/activity?since=2&limit=1000", None, 200),
    ("POST", "/api/admin/sync", {}, 202),
    ("POST", "/api/admin/sync", None, 202),
    ("POST", "/api/admin/sync", {"batch_filter": ["a"], "db_only": True}, 202),
    ("POST", "/api/admin/sync", {"dry_run": True}, 200),
    ("POST", "/api/admin/sync", {"batch_filter": "roll"}, 202),
    ("POST", "/api/admin/sync", {"batch_filter": None}, 202),
    ("GET", "/api/admin/sync/status", None, 200),
    ("GET", "/api/jobs?state=failed&limit=1", None, 200),
    ("GET", "/api/jobs/j1", None, 200),
    ("POST", "/api/jobs/j1/retry", None, 200),
    ("POST", "/api/jobs/j1/cancel", {}, 200),
    ("POST", "/api/jobs/retry", None, 200),
    ("GET", "/api/batches", None, 200),
    ("PATCH", "/api/batches/roll", {"is_public": True, "source_directory": None}, 200),
    ("GET", "/api/scenes?batch=roll&live=true&q=oll", None, 200),
    ("GET", "/api/scenes?batch=&live=&q=", None, 200),
    ("GET", "/api/scenes/roll-1", None, 200),
    ("GET", "/api/preview?version_id=1", None, 200),
    ("GET", "/api/preview?version_id=1&format=rgb&width=80&height=20", None, 200),
    ("POST", "/api/pull", {"batch": "roll", "to": "/tmp/x"}, 200),
    ("POST", "/api/similar?max_distance=0&limit=1000", {"scene_id": "roll-1"}, 200),
    ("POST", "/api/verify", {"sample": 12.5, "deep": True, "repair": True}, 200),
    ("POST", "/api/verify", None, 200),
    ("GET", "/api/guards", None, 200),
    ("GET", "/api/guards?limit=1&cursor=0", None, 200),
    ("POST", "/api/approve/g1", None, 200),
    ("POST", "/api/pause", {"service": "site"}, 200),
    ("POST", "/api/resume", None, 200),
    ("GET", "/api/config", None, 200),
    ("POST", "/api/config/reload", None, 200),
    # errors
    ("GET", "/api/guards?cursor=g1", None, 422),
    ("GET", "/", None, 404),
    ("GET", "/api/statuss", None, 404),
    ("GET", "/api/status/", None, 404),
    ("GET", "/api/scenes/", None, 404),
    ("GET", "/api/jobs/none", None, 404),
    ("GET", "/api/admin/sync/status?job_id=none", None, 404),
    ("GET", "/api/scenes/none", None, 404),
    ("PATCH", "/api/batches/none", {}, 404),
    ("POST", "/api/approve/none", None, 404),
    ("POST", "/api/pause", {"service": "nobody"}, 404),
    ("GET", "/api/preview?version_id=2", None, 404),
    ("DELETE", "/api/status", None, 405),
    ("GET", "/api/admin/sync", None, 405),
    ("PUT", "/api/batches/roll", {}, 405),
    ("OPTIONS", "/api/status", None, 405),
    ("GET", "/api/activity?limit=0", None, 422),
    ("GET", "/api/activity?limit=1001", None, 422),
    ("GET", "/api/activity?since=-1", None, 422),
    ("GET", "/api/activity?since=9223372036854775808", None, 422),
    ("GET", "/api/activity?since=" + "9" * 5000, None, 422),
    ("GET", "/api/activity?since=", None, 422),
    ("GET", "/api/activity?since=1.0", None, 422),
    ("GET", "/api/activity?since=%D9%A1", None, 422),
    ("GET", "/api/activity?since=1&since=2", None, 422),
    ("GET", "/api/activity/stream?since=x", None, 422),
    ("GET", "/api/scenes?live=maybe", None, 422),
    ("GET", "/api/scenes?bach=roll", None, 422),
    ("GET", "/api/scenes?q=%00", None, 422),
    ("GET", "/api/jobs?state=lost", None, 422),
    ("GET", "/api/preview", None, 422),
    ("GET", "/api/preview?version_id=1&format=gif", None, 422),
    ("GET", "/api/preview?version_id=1&width=100000", None, 422),
    ("POST", "/api/admin/sync", {"dry_run": "yes"}, 422),
    ("POST", "/api/admin/sync", {"dryrun": True}, 422),
    ("POST", "/api/admin/sync", {"db_only": True, "images_only": True}, 422),
    ("POST", "/api/admin/sync", {"batch_filter": ["a\0b"]}, 422),
    ("POST", "/api/admin/sync", [], 422),
    ("PATCH", "/api/batches/roll", {"is_public": 1}, 422),
    ("PATCH", "/api/batches/roll", {"source_directory": "nonsense"}, 422),
    ("POST", "/api/pull", {"to": "/tmp/x"}, 422),
    ("POST", "/api/pull", {"batch": "a", "scene_ids": [], "to": "/tmp/x"}, 422),
    ("POST", "/api/pull", {"batch": "a", "to": "x"}, 422),
    ("POST", "/api/pull", {"batch": "a", "to": ""}, 422),
    ("POST", "/api/pull", {"batch": "a", "to": "/\0"}, 422),
    ("POST", "/api/pull", None, 422),
    ("POST", "/api/similar?max_distance=65", {"scene_id": "x"}, 422),
    ("POST", "/api/similar", {}, 422),
    ("POST", "/api/verify", {"sample": 0}, 422),
    ("POST", "/api/verify", {"sample": 100.5}, 422),
    ("GET", "/api/scenes/%FF", None, 400),
    ("GET", "/api/scenes/a%00b", None, 400),
    ("GET", "/api/scenes?q=%FF", None, 400),
    ("GET", "/api/jobs/refused", None, 409),
    ("GET", "/api/jobs/auth", None, 409),
    ("GET", "/api/jobs/transient", None, 503),
    ("GET", "/api/jobs/fatal", None, 500),
    ("GET", "/api/jobs/bug", None, 500),
    ("GET", "/api/jobs/connection", None, 500),
]


def check(method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    """Holds a reply against the schema that the document gives for it."""
    content = DOCUMENT["paths"][path][method.lower()]["responses"][str(status)]["content"]
    assert content_type in content
    if "json" in content_type and path != "/openapi.json":
        wanted = {**content[content_type]["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(wanted).validate(json.loads(body))


def route_of(method: str, target: str) -> str | None:
    segments = target.partition("?")[0].split("/")[1:]
    return next((r.path for r in ROUTES if r.method == method and r.match(segments) is not None), None)


@pytest.mark.parametrize(("method", "target", "body", "status"), CALLS)
async def test_call(ask: Any, method: str, target: str, body: Any, status: int) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    answer = await ask(method, target, content, JSON if content else None)
    assert (answer.status, len(answer.body)) == (status, int(answer.headers["content-length"])), answer.body
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        found = answer.json()
        assert found["status"] == status
        assert found["type"] == "about:blank"
        assert found["title"]
        assert found["detail"]
        assert "Traceback" not in found["detail"]
        assert "secret" not in found["detail"]
    if path := route_of(method, target):
        check(method, path, status, answer.headers["content-type"], answer.body)


def test_every_route_is_called() -> None:
    calls = [*CALLS, *EVENT_CALLS, *EXCHANGE_CALLS, *LIBRARY_CALLS, *METADATA_CALLS, *NAMES_CALLS]
    called = {(method, route_of(method, target)) for method, target, _, status in calls if status < 300}
    streams = {(route.method, route.path) for route in ROUTES if route.stream}
    assert called | streams == {(route.method, route.path) for route in ROUTES}


def test_document_is_valid_openapi_3_1() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(ROUTES)
    assert all(operation["summary"] for operation in operations)


async def test_served_document_is_the_one_checked(client: ControlClient) -> None:
    assert await client.openapi() == DOCUMENT


async def test_client_speaks_every_route(client: ControlClient, api: MemoryApi) -> None:
    assert await client.ready()
    assert (await client.status()).access == "full"
    assert "syncd_up 1" in await client.metrics()
    page = await client.activity(since=3, limit=1)
    assert ([found.id for found in page.items], page.last_id) == ([4], 5)
    assert await client.sync(schema.SyncRequest()) == schema.JobAccepted(job_id="j9")
    plan = await client.sync(schema.SyncRequest(dry_run=True, batch_filter=["a", "b"]))
    assert isinstance(plan, schema.SyncReport)
    assert plan.scanned == 2
    assert (await client.sync_status()).state == "done"
    first = await client.jobs(limit=2)
    rest = await client.jobs(limit=2, cursor=first.next_cursor)
    assert [row.id for row in first.items + rest.items] == ["j1", "j2", ODD_NAME]
    assert rest.next_cursor is None
    assert (await client.job("j1")).state == "failed"
    assert (await client.retry_job("j1")).state == "queued"
    assert (await client.retry_failed_jobs()).retried == 2
    assert (await client.cancel_job("j2")).state == "cancelled"
    assert len((await client.batches()).items) == 2
    assert [row.scene_id for row in (await client.scenes(live=True)).items] == ["roll-1"]
    assert (await client.scene("roll-1")).base_filename == "1"
    assert await client.preview(1) == b"jpeg 400x400"
    assert await client.preview(1, 80, 40, "rgb") == b"rgb 80x40"
    pulled = await client.pull(schema.PullRequest(scene_ids=["roll-1"], to="/x"))
    assert pulled.files[0].path == "/x/roll-1"
    assert (await client.similar(scene_id="roll-1", max_distance=3, limit=4)).items[0].distance == 3
    assert (await client.verify(schema.VerifyRequest(deep=True))).wrong[0].key == "k"
    assert (await client.guards()).items[0].count == 60
    assert (await client.approve("g1")).job_id == "j1"
    assert [row.state for row in (await client.pause("site")).services] == ["running", "paused"]
    assert {row.state for row in (await client.pause()).services} == {"paused"}
    assert {row.state for row in (await client.resume()).services} == {"running"}
    assert (await client.reload()).applied == ["guard.max_delete"]
    assert (await client.show_config()).settings["storage"]["secret_access_key"] == "***"
    api.is_ready = False
    assert not await client.ready()


async def test_patch_tells_absent_from_null(client: ControlClient) -> None:
    assert (await client.patch_batch("roll", schema.BatchPatch(is_public=True))).source_directory
    changed = await client.patch_batch("roll", schema.BatchPatch(source_directory=None))
    assert (changed.is_public, changed.source_directory) == (True, None)


async def test_names_hold_any_character(client: ControlClient, api: MemoryApi) -> None:
    assert (await client.job(ODD_NAME)).id == ODD_NAME
    assert (await client.scene(f"{ODD_NAME}-2")).batch_name == ODD_NAME
    assert (await client.patch_batch(ODD_NAME, schema.BatchPatch(is_public=True))).is_public
    assert len((await client.scenes(batch=ODD_NAME, query=ODD_NAME[:9])).items) == 1
    for name in ("100%25", "a/b", "..", ".", "a b", "+"):  # decoded once, and no segment is special
        api.job_rows[name] = msgspec.structs.replace(api.job_rows["j1"], id=name)
        assert (await client.job(name)).id == name


async def test_problem_reaches_the_caller(client: ControlClient) -> None:
    with pytest.raises(ApiError) as refused:
        await client.job("refused")
    assert (refused.value.status, str(refused.value), refused.value.hint) == (
        409,
        "the file is gone",
        "look again",
    )


async def test_problems_say_what_was_meant(ask: Any) -> None:
    assert "/api/status" in (await ask("GET", "/api/statsu")).json()["hint"]
    assert "'batch'" in (await ask("GET", "/api/scenes?bach=x")).json()["hint"]
    unknown = await ask("POST", "/api/admin/sync", b'{"dryrun": true}', JSON)
    assert "dry_run" in unknown.json()["hint"]
    wrong = await ask("POST", "/api/admin/sync", b'{"batch_filter": [1]}', JSON)
    assert "$.batch_filter[0]" in wrong.json()["detail"]
    assert "expected `str`" in wrong.json()["detail"].lower()
    assert (await ask("DELETE", "/api/batches/x")).headers["allow"] == "patch"
    assert (await ask("OPTIONS", "/api/events")).headers["allow"] == "get, head, post"
    assert (await ask("HEAD", "/api/activity/stream")).headers["allow"] == "get"
    assert (await ask("GET", "/api/jobs/transient")).headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("target", "content_type", "body", "status"),
    [
        ("/api/admin/sync", "application/json", b"{", 400),
        ("/api/admin/sync", "application/json", b'{"batch_filter": ["\\ud800"]}', 400),
        ("/api/admin/sync", "application/json", b'{"batch_filter": ["\xff"]}', 400),
        ("/api/admin/sync", "application/json; charset=utf-8", b"{}", 202),
        ("/api/admin/sync", "text/plain", b"{}", 415),
        ("/api/admin/sync", "application/x-www-form-urlencoded", b"dry_run=1", 415),
        ("/api/admin/sync", "application/x-www-form-urlencoded", b"{}", 202),
        ("/api/admin/sync", "application/json", b"[" * 100_000, 422),
        ("/api/similar", "image/jpeg", b"picture", 200),
        ("/api/similar", "application/octet-stream", b"picture", 200),
        ("/api/similar", "application/x-www-form-urlencoded", b"picture", 200),
        ("/api/similar", "image/jpeg", b"", 422),
        ("/api/similar", "multipart/form-data; boundary=x", b"--x--", 415),
        ("/api/similar", "application/json", b"picture", 400),
    ],
)
async def test_body(ask: Any, target: str, content_type: str, body: bytes, status: int) -> None:
    answer = await ask("POST", target, body, {"Content-Type": content_type})
    assert answer.status == status, answer.body


async def test_picture_arrives_whole(client: ControlClient, api: MemoryApi) -> None:
    picture = bytes(range(256)) * 40_000
    assert (await client.similar(picture, max_distance=2)).items[0].scene_id == "picture"
    assert api.pictures == [picture]


async def test_head_is_get_without_a_body(ask: Any) -> None:
    answer = await ask("HEAD", "/api/status")
    assert (answer.status, answer.body) == (200, b"")
    assert (await ask("HEAD", "/api/activity/stream")).status == 405


async def test_absolute_form(ask: Any) -> None:
    answer = await ask("GET", "http://syncd/api/scenes/" + quote(f"{ODD_NAME}-2", safe=""))
    assert answer.json()["batch_name"] == ODD_NAME


HOSTILE_TEXT = [
    "",
    " ",
    "0",
    "-0",
    "1",
    "-1",
    "1e9",
    "9" * 30,
    "NaN",
    "null",
    "true",
    "\x1b[31m",
    "é\u202e",
    "%",
    "a/b",
]
HOSTILE_JSON: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 2**70, "", "x", "\x1b", "a\0b", [], [[]], {}, [None], ["x"], {"x": 1},
]  # fmt: skip


async def test_no_input_is_a_500_and_every_answer_is_documented(ask: Any) -> None:
    """What the document allows a client to say, filled with things that nobody should."""
    rng = random.Random(20261121)
    statuses: set[int] = set()
    for _ in range(600):
        # A call that waits for a browser would wait for ever.
        route = rng.choice([route for route in ROUTES if not (route.stream or route.path.endswith("/wait"))])
        target = route.path
        for name in route.names:
            given = rng.choice([*HOSTILE_TEXT, "j1", "roll", "roll-1", "g1"]) or "x"
            target = target.replace(f"{{{name}}}", quote(given, safe="").replace(".", "%2E"))
        pairs = [(param.name, rng.choice(HOSTILE_TEXT)) for param in route.params if rng.random() < 0.3]
        target += "?" + "&".join(f"{name}={quote(text)}" for name, text in pairs)
        fields = msgspec.structs.fields(route.body) if route.body else ()
        body = {field.name: rng.choice(HOSTILE_JSON) for field in fields if rng.random() < 0.6}
        content = b"" if route.method == "GET" else json.dumps(body).encode()
        answer = await ask(route.method, target, content, JSON)
        assert answer.status < 500, (route.method, target, body, answer.body)
        check(route.method, route.path, answer.status, answer.headers["content-type"], answer.body)
        statuses.add(answer.status)
    assert {200, 404, 422} <= statuses
