"""The routes about the exchange between archives."""

from __future__ import annotations

from syncd.control import schema
from syncd.control.api import Api
from syncd.control.dispatch import NotAllowed
from syncd.control.route import CURSOR, LIMIT, Call, Param, Route

DB = Param("db", str, "The archive that works; without it the catalogue")
_LIST = "/api/exchange/lists/{list_id}"
_PICTURE_TYPES = {"jpeg": "image/jpeg", "rgb": "application/octet-stream"}


def _db(call: Call) -> str | None:
    """Who may only read does not choose which file the daemon opens."""
    db: str | None = call.query["db"]
    if db is not None and call.access != "full":
        raise NotAllowed("members of daemon.socket_group may only read the catalogue", hint="leave `db` out")
    return db


async def _lists(api: Api, call: Call) -> schema.ExchangeListPage:
    return await api.exchange.lists(_db(call), call.query["limit"], call.query["cursor"])


async def _show(api: Api, call: Call) -> schema.ExchangeShown:
    query = call.query
    return await api.exchange.show(
        call.path["list_id"], _db(call), query["side"], query["limit"], query["cursor"]
    )


async def _preview(api: Api, call: Call) -> bytes:
    query = call.query
    return await api.exchange.preview(
        call.path["list_id"], call.path["file_id"], query["of"], query["width"], query["height"],
        query["format"],
    )  # fmt: skip


EXCHANGE_ROUTES = (
    Route(
        "POST", "/api/exchange/analyze", lambda api, call: api.exchange.analyze(call.body),
        {200: schema.ExchangeAnalysis}, "What another archive has and this one lacks",
        "The other archive's database is only read. The list is stored and written as a file to send.",
        body=schema.ExchangeAnalyzeRequest, long=True,
    ),
    Route(
        "POST", "/api/exchange/export", lambda api, call: api.exchange.export(call.body),
        {200: schema.ExchangeExported}, "Put the files that a list asks for into a folder",
        "Goes on where it was interrupted when it is asked for again with the same list and folder.",
        body=schema.ExchangeExportRequest, long=True,
    ),
    Route(
        "POST", "/api/exchange/import", lambda api, call: api.exchange.take(call.body),
        {200: schema.ExchangeImported}, "Take what was exported for a list",
        "Each file's SHA-256 is checked before it is taken; what is here already is not taken twice.",
        body=schema.ExchangeImportRequest, long=True,
    ),
    Route(
        "POST", "/api/exchange/verify", lambda api, call: api.exchange.verify(call.body),
        {200: schema.ExchangeVerified}, "Read again what was imported for a list",
        body=schema.ExchangeListRequest, long=True,
    ),
    Route(
        "POST", "/api/exchange/clean", lambda api, call: api.exchange.clean(call.body),
        {200: schema.ExchangeCleaned}, "Remove what was staged for a list",
        "What arrived stays.", body=schema.ExchangeListRequest, long=True,
    ),
    Route(
        "POST", "/api/exchange/receipt", lambda api, call: api.exchange.receipt(call.body),
        {200: schema.ExchangeReceipt}, "Check a receipt, and note what arrived at the other side",
        body=schema.ExchangeReceiptRequest, long=True,
    ),
    Route(
        "GET", "/api/exchange/lists", _lists, {200: schema.ExchangeListPage},
        "Lists that were made here or given to here, newest first", params=(DB, LIMIT, CURSOR),
    ),
    Route(
        "GET", _LIST, _show, {200: schema.ExchangeShown}, "One list and its files",
        params=(
            DB,
            Param(
                "side", str, "What only they have, of that what looks like ours, or what only we have",
                default="theirs", choices=("theirs", "near", "ours"),
            ),
            LIMIT, CURSOR,
        ),
    ),
    Route(
        "GET", _LIST + "/preview/{file_id}", _preview, {200: bytes}, "A small upright picture of a file",
        "A file of the list where it can be read from here (`theirs`), or the picture here that looks like it"
        " (`near`); with `ours`, one that the side `ours` listed.",
        params=(
            Param("of", str, "Which picture", default="theirs", choices=("theirs", "near", "ours")),
            Param("width", int, "Pixels at most", default=400, minimum=1, maximum=4096),
            Param("height", int, "Pixels at most", default=400, minimum=1, maximum=4096),
            Param("format", str, "What to answer with", default="jpeg", choices=("jpeg", "rgb")),
        ),
        media_types=tuple(_PICTURE_TYPES.values()),
        media_type=lambda call: _PICTURE_TYPES[call.query["format"]],
    ),
)  # fmt: skip
