"""The routes about the names of albums."""

from __future__ import annotations

from syncd.control import schema
from syncd.control.api import Api
from syncd.control.route import CURSOR, LIMIT, MAX_INTEGER, Call, Param, Route

_ALBUMS = Param("album_keys", str, "Only these albums: keys with commas in between")


def _keys(call: Call) -> list[str] | None:
    """The keys in the query; None for all albums."""
    given = call.query["album_keys"]
    return None if given is None else [key for key in (one.strip() for one in given.split(",")) if key]


async def _plan(api: Api, call: Call) -> schema.NamesPlan:
    query = call.query
    return await api.names.plan(_keys(call), query["threshold"], query["limit"], query["cursor"])


NAMES_ROUTES = (
    Route(
        "GET", "/api/names/plan", _plan, {200: schema.NamesPlan},
        "What every album is called and should be called",
        "What `apply` without album_keys would do. Without `limit`, all albums.",
        params=(
            _ALBUMS,
            Param("threshold", float, "Rename above this score; else as in [names]", maximum=100),
            Param("limit", int, "The most items to answer with", minimum=1, maximum=MAX_INTEGER), CURSOR,
        ),
        long=True,
    ),
    Route(
        "POST", "/api/names/apply", lambda api, call: api.names.apply(call.body),
        {200: schema.NamesReport}, "Rename albums, on SmugMug and then in the mirror",
        "Each change is written to the journal before SmugMug is asked. 409 before sign-in.",
        body=schema.NamesApply, long=True,
    ),
    Route(
        "GET", "/api/names/verify", lambda api, call: api.names.verify(_keys(call)),
        {200: schema.NamesVerified}, "Compare names here, on SmugMug as last read, and in the mirror",
        params=(_ALBUMS,), long=True,
    ),
    Route(
        "GET", "/api/names/stats", lambda api, call: api.names.stats(), {200: schema.NamesStats},
        "Counts of the mirror's rows, and alerts", long=True,
    ),
    Route(
        "GET", "/api/names/log", lambda api, call: api.names.log(**call.query), {200: schema.NamesLog},
        "Changes of names, newest first", params=(LIMIT, CURSOR),
    ),
    Route(
        "POST", "/api/names/rollback", lambda api, call: api.names.rollback(call.body),
        {200: schema.NamesRestored}, "Restore names as they were before changes",
        "An album whose name has changed since is refused.", body=schema.NamesRollback, long=True,
    ),
    Route(
        "PUT", "/api/names/hints/{albumKey}",
        lambda api, call: api.names.hint(call.path["albumKey"], call.body), {200: schema.NameHint},
        "Say what an album shows", "It wins over what a model saw. An empty hint takes it back.",
        body=schema.NameHintRequest,
    ),
)  # fmt: skip
