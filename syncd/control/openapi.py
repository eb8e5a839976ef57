"""The OpenAPI 3.1 document, made from the route table and the types that validate requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from syncd.control import schema
from syncd.control.route import Param, Route

_REFERENCE = "#/components/schemas/{name}"
_NO_BODY = type(None)
_TYPES: dict[type, str] = {int: "integer", float: "number", str: "string", bool: "boolean"}


def document(routes: Sequence[Route]) -> bytes:
    """The document of `routes`, as JSON."""
    types: list[Any] = [schema.Problem]
    for route in routes:
        types += [kind for kind in route.replies.values() if kind not in (bytes, _NO_BODY)]
        types += [route.body] if route.body else []
    _, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "syncd control API",
                "version": _version(),
                "description": "HTTP/1.1 and JSON on a Unix socket. Times are RFC 3339 in UTC, sizes bytes.",
            },
            "servers": [{"url": "http://syncd", "description": "over the daemon's Unix socket"}],
            "paths": paths,
            "components": {"schemas": components},
        }
    )


def _version() -> str:
    try:
        return version("syncd")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_words(route)[0]],
        "responses": {**_replies(route), **_problems(route)},
    }
    if route.description:
        operation["description"] = route.description
    if parameters := [*_path_parameters(route), *map(_parameter, route.params), *_headers(route)]:
        operation["parameters"] = parameters
    if content := _body(route):
        required = route.picture or _has_required_field(route)
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _words(route: Route) -> list[str]:
    names = [segment for segment in route.segments if not segment.startswith("{")]
    return [name for name in names if name != "api"]


def _operation_id(route: Route) -> str:
    by = [f"by_{name}" for name in route.names]
    return "_".join([route.method.lower(), *_words(route), *by]).replace("-", "_").replace(".", "_")


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in route.names:
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": "Percent-encoded UTF-8",
            "schema": {"type": "string", "minLength": 1},
        }


def _parameter(param: Param) -> dict[str, Any]:
    described: dict[str, Any] = {"type": _TYPES[param.type]}
    if param.type in (int, float):
        described |= {"minimum": param.minimum, "maximum": param.maximum}
    if param.choices:
        described["enum"] = list(param.choices)
    if param.default is not None:
        described["default"] = param.default
    return {
        "name": param.name,
        "in": "query",
        "required": param.required,
        "description": param.description,
        "schema": described,
    }


def _headers(route: Route) -> Iterator[dict[str, Any]]:
    if route.stream:
        yield {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The last id seen, as a reconnecting EventSource sends it",
            "schema": {"type": "integer", "minimum": 0},
        }


def _body(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if route.body:
        content["application/json"] = {"schema": _reference(route.body)}
    if route.picture:
        for media_type in ("application/octet-stream", "image/*"):
            content[media_type] = {"schema": {}}  # OpenAPI 3.1: raw bytes have no schema
    return content


def _has_required_field(route: Route) -> bool:
    return route.body is not None and any(field.required for field in msgspec.structs.fields(route.body))


def _replies(route: Route) -> dict[str, Any]:
    return {
        str(status): {"description": HTTPStatus(status).phrase, **_content(route, kind)}
        for status, kind in route.replies.items()
    }


def _content(route: Route, kind: Any) -> dict[str, Any]:
    if kind is _NO_BODY:
        return {}
    described = {} if kind is bytes else _reference(kind)
    return {"content": {media_type: {"schema": described} for media_type in route.media_types}}


def _problems(route: Route) -> dict[str, Any]:
    """Every error that the route can answer with."""
    statuses = {400, 403, 409, 422, 431, 500, 503}
    if (
        route.names
        or {"version_id", "album_keys", "job_id"} & {param.name for param in route.params}
        or route.body
    ):
        statuses.add(404)
    if route.method != "GET":
        statuses |= {408, 413, 415}
    content = {"application/problem+json": {"schema": _reference(schema.Problem)}}
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted(statuses)
    }


def _reference(kind: Any) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}
