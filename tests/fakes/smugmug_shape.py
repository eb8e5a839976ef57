"""How SmugMug writes an answer: the parameters that shape it, pages, envelopes and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.faults import Handler

Found = tuple[str, str, dict[str, Any]]
"""An endpoint's type, its locator, and the object."""


@dataclass(frozen=True)
class Shape:
    """What a request asks of the form: https://api.smugmug.com/api/v2/doc/advanced/filters.html"""

    fields: frozenset[str] | None = None
    links: frozenset[str] | None = None
    short: bool = False
    verbosity: int = 2
    expand: tuple[str, ...] = ()

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Shape:
        def names(key: str) -> frozenset[str] | None:
            return frozenset(query[key].split(",")) - {""} if key in query else None

        verbosity = query.get("_verbosity", "2")
        return cls(
            names("_filter"),
            names("_filteruri"),
            "_shorturis" in query,
            int(verbosity) if verbosity in ("1", "2", "3") else 2,
            tuple(name for name in query.get("_expand", "").split(",") if name),
        )

    def apply(self, value: dict[str, Any]) -> dict[str, Any]:
        """The object without what was not asked for; links have a form and a filter of their own."""
        links: dict[str, Any] = value.get("Uris") or {}
        if self.links is not None:
            links = {name: link for name, link in links.items() if name in self.links}
        shaped: dict[str, Any] = {name: link["Uri"] for name, link in links.items()} if self.short else links
        kept = {
            name: one
            for name, one in value.items()
            if name != "Uris" and (self.fields is None or name in self.fields)
        }
        if self.verbosity == 1:
            kept.pop("UriDescription", None)
        # PHP writes an empty map as an empty list.
        return {**kept, "Uris": shaped or []} if links or self.fields is None else kept


@dataclass(frozen=True)
class Slice:
    """One page of a list. `start` counts from 1; `most` is the largest page that the server gives."""

    start: int
    asked: int
    count: int
    total: int

    @classmethod
    def of(cls, query: Mapping[str, str], total: int, default: int, most: int) -> Slice | None:
        """None for numbers that are none."""
        start, count = query.get("start", "1"), query.get("count", str(default))
        if not (start.isdecimal() and count.isdecimal() and int(start) > 0 and int(count) > 0):
            return None
        given = min(int(count), most)
        return cls(int(start), int(count), max(0, min(given, total - int(start) + 1)), total)

    def pages(self, path: str, query: Mapping[str, str], size: int, as_text: bool) -> dict[str, Any]:
        def at(start: int) -> str:
            return f"{path}?{urlencode({**query, 'start': start, 'count': size})}"

        numbers = {
            "Total": self.total,
            "Start": self.start,
            "Count": self.count,
            "RequestedCount": self.asked,
        }
        made: dict[str, Any] = {name: str(n) if as_text else n for name, n in numbers.items()}
        made |= {"FirstPage": at(1), "LastPage": at(max(1, (self.total - 1) // size * size + 1))}
        if self.start > 1:
            made["PrevPage"] = at(max(1, self.start - size))
        if self.count and self.start + self.count <= self.total:
            made["NextPage"] = at(self.start + self.count)
        return made


@dataclass
class Envelope:
    """One answer on its way. `expansions` finds what a link leads to."""

    request: web.Request
    endpoint: str
    locator: str
    value: dict[str, Any] | list[dict[str, Any]] | None = None
    pages: dict[str, Any] | None = None
    expansions: Callable[[str], Found | None] = lambda uri: None
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, code: int = 200, message: str = "Ok") -> web.Response:
        shape = Shape.of(self.request.query)
        many = isinstance(self.value, list)
        response: dict[str, Any] = {
            # As the real one does, keys and all.
            "Uri": self.request.path_qs,
            "Locator": self.locator,
            "LocatorType": "Objects" if many else "Object",
        }
        if shape.verbosity > 1:
            response |= {"UriDescription": self.endpoint, "EndpointType": self.endpoint}
        body: dict[str, Any] = {"Response": response, "Code": code, "Message": message}
        if self.value:  # an empty list has no key
            response[self.locator] = (
                [shape.apply(one) for one in self.value]
                if isinstance(self.value, list)
                else shape.apply(self.value)
            )
            expanded = self._expanded(shape, self.value if isinstance(self.value, list) else [self.value])
            if expanded:
                body["Expansions"] = expanded
        if self.pages is not None:
            response["Pages"] = self.pages
        if shape.verbosity > 2:
            body["Options"] = {"Methods": ["OPTIONS", "GET"], "MediaTypes": ["application/json"]}
        return written(self.request, body, code, self.headers)

    def _expanded(self, shape: Shape, objects: list[dict[str, Any]]) -> dict[str, Any]:
        found = {}
        for one in objects:
            for name in shape.expand:
                uri = (one.get("Uris") or {}).get(name, {}).get("Uri")
                linked = self.expansions(uri) if uri else None
                if linked is not None:
                    endpoint, locator, value = linked
                    plain = Shape(short=shape.short, verbosity=shape.verbosity)
                    found[uri] = {
                        "Uri": uri,
                        "Locator": locator,
                        "LocatorType": "Object",
                        locator: plain.apply(value),
                        "EndpointType": endpoint,
                    }
        return found


def written(request: web.Request, body: dict[str, Any], status: int, headers: dict[str, str]) -> web.Response:
    """JSON for who accepts it, else a page."""
    common = {"Cache-Control": "private, no-store, no-cache, max-age=0", "X-Request-Id": "fake", **headers}
    if "application/json" in request.headers.get("Accept", ""):
        return web.json_response(body, status=status, headers=common)
    page = f"<!doctype html><title>SmugMug API</title><pre>{json.dumps(body, indent=1)}</pre>"
    return web.Response(text=page, content_type="text/html", status=status, headers=common)


def refusal(
    request: web.Request, status: int, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    """SmugMug's error envelope, which echoes the address that was asked for."""
    response = {"Uri": request.path_qs, "Locator": "Album", "LocatorType": "Object"}
    return written(request, {"Response": response, "Code": status, "Message": message}, status, headers or {})


def refuse(status: int, message: str = "", **headers: str) -> Any:
    """A fault: an error in SmugMug's words. `Retry_After="1800"` becomes a header."""

    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return refusal(request, status, message or f"Error {status}", named)

    return act


def before(action: Callable[[], object]) -> Any:
    """A fault: something happens just before the answer is made, such as a photo that goes between pages."""

    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        action()
        return await handler(request)

    return act
