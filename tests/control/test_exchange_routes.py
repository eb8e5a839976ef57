"""Routes about the exchange over a real socket, held against the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

import anyio.to_thread
import msgspec
import pytest

from syncd.control import ctl, schema
from syncd.control.client import ApiError, ControlClient
from syncd.control.server import ControlServer
from tests.control.memory_api import MemoryApi
from tests.control.memory_exchange import EXCHANGE_CALLS, EXCHANGE_COMMANDS, LIST_ID
from tests.control.test_routes import check, route_of


@pytest.mark.parametrize(("method", "target", "body", "status"), EXCHANGE_CALLS)
async def test_call(ask: Any, method: str, target: str, body: Any, status: int) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    answer = await ask(method, target, content, {"Content-Type": "application/json"} if content else None)
    assert answer.status == status, answer.body
    if status >= 400:
        assert answer.json()["status"] == status
        assert answer.json()["detail"]
    if (path := route_of(method, target)) is not None:
        check(method, path, status, answer.headers["content-type"], answer.body)


async def test_client_speaks_every_route(client: ControlClient, api: MemoryApi) -> None:
    analyzed = await client.exchange_analyze(schema.ExchangeAnalyzeRequest(remote_db="/disk/anna.db"))
    assert (analyzed.list_id, analyzed.total_files, analyzed.total_bytes) == (LIST_ID, 2, None)
    dry = await client.exchange_analyze(schema.ExchangeAnalyzeRequest(remote_db="/a.db", dry_run=True))
    assert (dry.list_id, dry.list_file, dry.dry_run) == (None, None, True)
    exported = await client.exchange_export(
        schema.ExchangeExportRequest(list_file="/a.jsonl", output_dir="/disk")
    )
    assert (exported.exported, exported.missing, exported.output_dir) == (1, 0, "/disk")
    api.exchange.bad = 1
    taken = await client.exchange_import(
        schema.ExchangeImportRequest(list_id=LIST_ID, import_dir="/disk", dry_run=True)
    )
    assert (taken.imported, taken.missing, taken.rejected[0].file, taken.dry_run) == (1, 1, "x\x1b", True)
    one = schema.ExchangeListRequest(list_id=LIST_ID)
    assert (await client.exchange_verify(one)).missing == 1
    assert (await client.exchange_clean(one)).removed == 2
    receipt = await client.exchange_receipt(schema.ExchangeReceiptRequest(receipt_file="/r"))
    assert not receipt.is_asker
    assert (await client.exchange_lists()).items[0].list_id == LIST_ID
    assert (await client.exchange_lists(db="/a.db")).items == []
    assert (await client.exchange_list(LIST_ID, side="near")).items[0].near is not None
    assert await client.preview_exchange_file(LIST_ID, 1, of="near") == b"\xff\xd8near"
    with pytest.raises(ApiError, match="no list"):
        await client.exchange_list("none")


@pytest.mark.parametrize(("arguments", "shape"), EXCHANGE_COMMANDS, ids=lambda value: str(value)[:40])
async def test_json_is_one_document(
    arguments: str, shape: Any, server: ControlServer, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    command = [*arguments.split(), "--json", "--socket", str(server.socket_path)]
    assert await anyio.to_thread.run_sync(ctl.run, command) == 0
    out = capsysbinary.readouterr().out
    assert json.loads(out) == msgspec.to_builtins(msgspec.json.decode(out, type=shape))


async def test_who_may_only_read_chooses_no_file(ask: Any, api: MemoryApi) -> None:
    """A member of the group sees the catalogue's lists; which file is opened is the owner's choice."""
    from syncd.control.route import Call
    from syncd.control.routes import ROUTES

    (route,) = [route for route in ROUTES if route.path == "/api/exchange/lists"]
    query = {"db": None, "limit": 1, "cursor": None}
    assert await route.handler(api, Call("read", {}, query))
    with pytest.raises(Exception, match="only read"):
        await route.handler(api, Call("read", {}, query | {"db": "/etc/shadow"}))
