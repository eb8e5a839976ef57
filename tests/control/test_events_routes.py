"""Routes about events, faces and sign-ins over a real socket, held against the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from syncd.control import schema
from syncd.control.client import ApiError, ControlClient
from tests.control.memory_api import ODD_NAME, MemoryApi
from tests.control.memory_events import CODE, EVENT_CALLS, PHOTO_ID, event
from tests.control.test_routes import DOCUMENT, check, route_of


@pytest.mark.parametrize(("method", "target", "body", "status"), EVENT_CALLS)
async def test_call(ask: Any, method: str, target: str, body: Any, status: int) -> None:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    kind = "image/jpeg" if isinstance(body, bytes) else "application/json"
    answer = await ask(method, target, content, {"Content-Type": kind} if content else None)
    assert answer.status == status, answer.body
    path = route_of(method, target)
    if status == 204:
        assert answer.body == b""
        assert "content-type" not in answer.headers
        assert "content" not in DOCUMENT["paths"][path][method.lower()]["responses"]["204"]
        return
    if status >= 400:
        assert answer.json()["status"] == status
        assert answer.json()["detail"]
    if path is not None:
        check(method, path, status, answer.headers["content-type"], answer.body)


async def test_auto_sync_is_answered_to_the_letter(ask: Any) -> None:
    async def said(what: str, body: bytes = b"") -> bytes:
        headers = {"Content-Type": "application/json"}
        answer: bytes = (await ask("POST", f"/api/event/wedding/auto-sync/{what}", body, headers)).body
        return answer

    assert await said("enable", b"{}") == b'{"message":"Auto-sync enabled","interval_minutes":2}'
    longer = await said("enable", b'{"interval_minutes":7.5}')
    assert longer == b'{"message":"Auto-sync enabled","interval_minutes":7.5}'
    status = (await ask("GET", "/api/event/wedding/auto-sync/status")).json()
    wanted = {"enabled", "running", "interval_minutes", "last_sync_at", "state", "photos", "faces"}
    assert wanted | {"next_sync_at", "last_error"} == status.keys()
    assert (status["enabled"], status["running"], status["interval_minutes"]) == (True, True, 7.5)
    assert await said("disable") == b'{"message":"Auto-sync disabled"}'


async def test_client_speaks_every_route(client: ControlClient, api: MemoryApi) -> None:
    made = await client.add_event(schema.EventRequest(name="Gala", drive_folder_id="f", publish=True))
    assert (made.event_id, made.publish, made.last_sync_at) == ("gala", True, None)
    assert [found.event_id for found in (await client.events()).items] == ["wedding", "gala"]
    assert (await client.enable_event("gala", 5)).interval_minutes == 5
    assert (await client.enable_event("gala")).interval_minutes == 5
    assert (await client.event_status("gala")).running
    assert (await client.disable_event("gala")).message == "Auto-sync disabled"
    assert not (await client.event("gala")).enabled
    assert (await client.sync_event("gala")).job_id == "j9"
    assert (await client.event_photos("gala")).items[0].boxes == [(1, 20, 30, 4)]
    found = await client.search_faces("gala", b"face", tolerance=0.5, limit=2)
    assert (found.faces_in_query, [row.distance for row in found.items]) == (2, [0.5, 0.5])
    assert (await client.search_faces("gala", b"face")).items[0].distance == 0.25
    assert (await client.forget_faces("gala", b"face")).forgotten == 3
    assert api.events.forgotten == [b"face"]
    assert await client.preview_event_photo(PHOTO_ID, 80, 40, "rgb") == b"event rgb 80x40"
    await client.remove_event("gala")
    with pytest.raises(ApiError) as gone:
        await client.remove_event("gala")
    assert gone.value.status == 404
    assert (await client.auth_status()).items[0].state == "needs_auth"
    flow_id = (await client.start_sign_in("drive")).flow_id
    answer = schema.SignInAnswer(flow_id=flow_id, code=CODE)
    assert (await client.finish_sign_in("drive", answer)).account == "me@example.com"
    assert (await client.wait_for_sign_in("drive", "done")).account == "browser@example.com"


async def test_ids_hold_any_character(client: ControlClient, api: MemoryApi) -> None:
    for name in (ODD_NAME, "a/b", "..", "100%25"):
        api.events.rows[name] = event(name)
        assert (await client.event(name)).event_id == name
        await client.remove_event(name)


async def test_a_picture_without_a_face_says_what_to_do(client: ControlClient) -> None:
    with pytest.raises(ApiError) as refused:
        await client.search_faces("wedding", b"landscape")
    assert (refused.value.status, refused.value.hint) == (422, "take one where the face is larger")


async def test_what_is_no_picture_is_said_to_be_none(ask: Any) -> None:
    text = await ask("POST", "/api/event/wedding/faces/search", b"face", {"Content-Type": "text/plain"})
    assert (text.status, "scene_id" in text.json()["hint"]) == (415, False)
    declared = await ask(
        "POST", "/api/event/wedding/faces/search", b"{}", {"Content-Type": "application/json"}
    )
    assert declared.status == 422


def test_an_old_reply_without_whole_minutes_is_read() -> None:
    shape = msgspec.json.decode(
        b'{"message":"Auto-sync enabled","interval_minutes":2.0}', type=schema.AutoSyncEnabled
    )
    assert shape.interval_minutes == 2
