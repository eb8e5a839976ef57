"""The routes about descriptions of the library's photos."""

from __future__ import annotations

from collections.abc import AsyncIterator

from syncd.control import schema
from syncd.control.api import Api, Invalid, NotFound
from syncd.control.route import CURSOR, LIMIT, MAX_INTEGER, Call, Param, Route

STATUSES = ("pending", "processing", "review", "approved", "rejected", "failed")
FILTER = (
    Param("status", str, "Only those of this status", choices=STATUSES),
    Param(
        "q", str, "Only those that hold all these words, in titles, captions, keywords, descriptions or tags"
    ),
    Param("album_key", str, "Only photos of this album"),
    Param("min_confidence", float, "Only those of which the model was at least as sure", maximum=1),
)
_EXPORTS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def _id(call: Call) -> int:
    """The id in the path; what is no number is nobody's id."""
    text = call.path["id"]
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    if not 0 < number <= MAX_INTEGER:
        raise NotFound(f"there is no metadata {text[:40]!r}", hint="`syncctl meta list` shows them")
    return number


async def _edit(api: Api, call: Call) -> schema.Metadata:
    wanted = (call.body.description, call.body.tags, call.body.categories, call.body.status)
    if all(value is None for value in wanted):
        raise Invalid("nothing to change", hint="give description, tags, categories or status")
    return await api.metadata.edit(_id(call), call.body)


async def _export(api: Api, call: Call) -> AsyncIterator[bytes]:
    return api.metadata.export(**call.query)


METADATA_ROUTES = (
    Route(
        "GET", "/api/metadata", lambda api, call: api.metadata.listed(**call.query),
        {200: schema.MetadataPage}, "What is written about the photos, and how far it is",
        "`q` is words, never a query language; `goal*` finds goalkeepers too.",
        params=(*FILTER, LIMIT, CURSOR),
    ),
    Route(
        "GET", "/api/metadata/export", _export, {200: bytes}, "All of it, or what matches, as a file",
        "In CSV albums, tags and categories are joined by `;`.",
        params=(
            Param("format", str, "What to answer with", default="json", choices=tuple(_EXPORTS)), *FILTER,
        ),
        media_types=tuple(_EXPORTS.values()), media_type=lambda call: _EXPORTS[call.query["format"]],
        long=True,
    ),
    Route(
        "POST", "/api/metadata/approve", lambda api, call: api.metadata.approve(call.body),
        {200: schema.MetadataApproved}, "Approve some, or all that match",
        "Only what is described can be approved.", body=schema.MetadataApproval,
    ),
    Route(
        "POST", "/api/metadata/search", lambda api, call: api.metadata.search(call.body),
        {200: schema.FoundMetadataPage}, "Photos by meaning, nearest first",
        "By the distance of the descriptions' embeddings; 409 without an embedding model.",
        body=schema.MetadataQuery, long=True,
    ),
    Route(
        "GET", "/api/metadata/{id}", lambda api, call: api.metadata.get(_id(call)),
        {200: schema.MetadataDetail}, "One photo's, with its history",
    ),
    Route(
        "PATCH", "/api/metadata/{id}", _edit, {200: schema.Metadata}, "Edit it, or send it back",
        "Old and new are kept, and the version rises; an edited description is embedded again.",
        body=schema.MetadataPatch,
    ),
)  # fmt: skip
