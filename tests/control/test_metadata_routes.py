"""Routes about descriptions over a real socket, held against the OpenAPI document."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from syncd.control import schema
from syncd.control.client import ApiError, ControlClient
from syncd.control.metadata_files import FIELDS, encoded
from syncd.control.server import ControlServer
from tests.control.conftest import exchange
from tests.control.memory_api import MemoryApi
from tests.control.memory_metadata import METADATA_CALLS, metadata
from tests.control.test_routes import check, route_of


@pytest.mark.parametrize(("method", "target", "body", "status"), METADATA_CALLS)
async def test_call(ask: Any, method: str, target: str, body: Any, status: int) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    answer = await ask(method, target, content, {"Content-Type": "application/json"} if content else None)
    assert answer.status == status, answer.body
    if status >= 400:
        assert answer.json()["detail"]
    path = route_of(method, target)
    if path is not None and not path.endswith("export"):
        check(method, path, status, answer.headers["content-type"], answer.body)


async def test_client_speaks_every_route(client: ControlClient, api: MemoryApi) -> None:
    page = await client.metadata(1, status="review", query="goal", album_key="abc", min_confidence=0.5)
    assert ([row.id for row in page.items], page.next_cursor) == ([1], "1")
    assert api.metadata.asked == [("review", "goal", "abc", 0.5)]
    assert [row.id for row in (await client.metadata(5, "1")).items] == [2]
    patch = schema.MetadataPatch(description="A goal", changed_by="eva", reason="sharper")
    edited = await client.edit_metadata(1, patch)
    assert (edited.description, edited.tags, edited.version) == ("A goal", ["goal", "cup"], 2)
    history = (await client.metadata_detail(1)).history
    assert [(c.changed_by, c.change_reason, c.new_description) for c in history] == [
        ("eva", "sharper", "A goal")
    ]
    approved = await client.approve_metadata(schema.MetadataApproval(ids=[1, 2], approved_by="eva"))
    assert (approved.approved, api.metadata.rows[2].approved_by) == (2, "eva")
    found = await client.search_metadata("a goal", limit=1)
    assert [(row.id, row.distance) for row in found.items] == [(1, 0.25)]
    with pytest.raises(ApiError) as refused:
        await client.search_metadata("no model")
    assert (refused.value.status, "embedding_model" in str(refused.value.hint)) == (409, True)


async def test_an_export_is_a_file_with_just_the_fields(server: ControlServer, api: MemoryApi) -> None:
    api.metadata.rows[1] = metadata(1, description='say "x",\n=1+1', tags=["a", "b"], confidence=None)

    async def export(what: str) -> tuple[bytes, bytes]:
        request = f"GET /api/metadata/export?format={what} HTTP/1.0\r\nHost: syncd\r\n\r\n"
        head, _, body = (await exchange(server.socket_path, request.encode())).partition(b"\r\n\r\n")
        return head.lower(), body

    head, body = await export("csv")
    assert b"content-type: text/csv; charset=utf-8" in head
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    assert list(rows[0]) == list(FIELDS)
    one = rows[0]
    assert (one["description"], one["tags"], one["categories"]) == ('say "x",\n=1+1', "a;b", "sport")
    assert (one["confidence"], one["approved"], one["albums"], len(rows)) == ("", "false", "Cup; 2026", 2)
    head, body = await export("json")
    document = json.loads(body)
    assert [list(row) for row in document["items"]] == [list(FIELDS)] * 2
    assert document["items"][0]["tags"] == ["a", "b"]


async def test_the_head_of_an_export_has_no_body(server: ControlServer) -> None:
    request = b"HEAD /api/metadata/export HTTP/1.1\r\nHost: syncd\r\n\r\n"
    following = b"GET /healthz HTTP/1.1\r\nHost: syncd\r\nConnection: close\r\n\r\n"
    received = await exchange(server.socket_path, request + following)
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and b"content-length: 0" not in head.lower()
    assert rest.startswith(b"HTTP/1.1 200 ") and rest.endswith(b'{"status":"ok"}')


async def test_an_export_that_breaks_off_does_not_look_whole(
    server: ControlServer, api: MemoryApi, caplog: pytest.LogCaptureFixture
) -> None:
    api.metadata.breaks_off = True
    request = b"GET /api/metadata/export?format=csv HTTP/1.1\r\nHost: syncd\r\n\r\n"
    received = await exchange(server.socket_path, request)
    assert b"IMG_1.jpg" in received
    assert not received.endswith(b"0\r\n\r\n")  # the last chunk, by which clients know the end
    assert "broke off" in caplog.text


async def test_nothing_is_a_whole_file_too() -> None:
    async def pages() -> AsyncIterator[Sequence[schema.Metadata]]:
        yield []

    assert b"".join([p async for p in encoded(pages(), "json")]) == b'{"items":[],"next_cursor":null}\n'
    assert b"".join([p async for p in encoded(pages(), "csv")]) == ",".join(FIELDS).encode() + b"\r\n"


@pytest.mark.parametrize("what", ["csv", "json"])
async def test_where_nothing_can_be_had_there_is_no_head_either(what: str) -> None:
    async def pages() -> AsyncIterator[Sequence[schema.Metadata]]:
        for _ in range(0):
            yield []
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await anext(encoded(pages(), what))


def test_a_found_row_holds_all_that_a_listed_one_does() -> None:
    listed = json.loads(msgspec.json.encode(metadata(1)))
    found = json.loads(msgspec.json.encode(schema.FoundMetadata(**listed, distance=0.5)))
    assert found == {**listed, "distance": 0.5}
