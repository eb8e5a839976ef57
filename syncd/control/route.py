"""What a route is: the data that the server dispatches by and that the OpenAPI document is made of."""

from __future__ import annotations

import difflib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote

import msgspec

from syncd.control.api import Api, Invalid, NotFound
from syncd.control.peers import Access

MAX_INTEGER = 2**63 - 1
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class BadRequest(Invalid):
    """The request is not even well-formed: 400."""


class WrongMethod(Invalid):
    """405; `allowed` are the methods that the path has."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} is not one of {', '.join(allowed)}")
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of the query. `minimum` and `maximum` bound numbers."""

    name: str
    type: type[int] | type[float] | type[str] | type[bool]
    description: str
    default: int | str | bool | None = None
    minimum: int = 0
    maximum: int = MAX_INTEGER
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def is_filter(self) -> bool:
        return self.default is None and self.type in (str, bool)

    def read(self, text: str) -> float | str | bool:
        """The value that `text` stands for; Invalid says what was expected."""
        if self.type is bool:
            if (flag := _BOOLEANS.get(text.lower())) is None:
                raise Invalid(f"{self.name}: expected true or false, got {text!r}")
            return flag
        if self.type is str:
            if self.choices and text not in self.choices:
                raise Invalid(f"{self.name}: expected one of {', '.join(self.choices)}, got {text!r}")
            return text
        number = _fraction(text) if self.type is float else _whole(text)
        if number is None:
            kind = "a number" if self.type is float else "a whole number"
            raise Invalid(f"{self.name}: expected {kind}, got {text[:40]!r}")
        if not self.minimum <= number <= self.maximum:
            raise Invalid(f"{self.name}: expected {self.minimum} to {self.maximum}, got {number}")
        return number


def _whole(text: str) -> int | None:
    is_number = text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= 20
    return int(text) if is_number else None


def _fraction(text: str) -> float | None:
    """Python takes `1_0` and `nan` as well."""
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class Call(NamedTuple):
    """One request, decoded: names in the path, parameters with their defaults, and the body."""

    access: Access
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = None


Handler: TypeAlias = Callable[[Api, Call], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Route:
    """`replies` maps each status to the type of its body; the type of what the handler returns chooses the
    status, and `None` is an answer without a body. `bytes` are sent as they are, with the type that
    `media_type` gives for the call. `body` is the JSON that the request must hold; `picture` takes the bytes
    of an image instead of it.
    `long` work has no time limit and ends when the client goes; `stream` is Server-Sent Events.
    """

    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
    path: str
    handler: Handler
    replies: Mapping[int, Any]
    summary: str
    description: str = ""
    params: tuple[Param, ...] = ()
    body: type[msgspec.Struct] | None = None
    picture: bool = False
    media_types: tuple[str, ...] = ("application/json",)
    media_type: Callable[[Call], str] | None = None
    long: bool = False
    stream: bool = False
    segments: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.path.split("/")[1:]))

    @property
    def access(self) -> Access:
        """What a peer needs to be allowed: readers may GET."""
        return "read" if self.method == "GET" else "full"

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the path, such as `scene_id`."""
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The names in a path that is this route's, None for another path."""
        if len(segments) != len(self.segments):
            return None
        found: dict[str, str] = {}
        for mine, given in zip(self.segments, segments, strict=True):
            if mine.startswith("{") and given:
                found[mine[1:-1]] = given
            elif mine != given:
                return None
        return found


def find_route(routes: Sequence[Route], method: str, segments: Sequence[str]) -> tuple[Route, dict[str, str]]:
    """The route of `method` for a path's decoded segments, and the names in the path."""
    wanted = "GET" if method == "HEAD" else method
    allowed: set[str] = set()
    for route in routes:
        if (names := route.match(segments)) is not None:
            if route.method == wanted and not (route.stream and method == "HEAD"):
                return route, names
            allowed |= {"GET", "HEAD"} if route.method == "GET" and not route.stream else {route.method}
    if allowed:
        raise WrongMethod(method, sorted(allowed))
    path = "/" + "/".join(segments)
    near = difflib.get_close_matches(path, [route.path for route in routes], 1)
    hint = f"did you mean {near[0]}? All routes are in /openapi.json" if near else "see /openapi.json"
    raise NotFound(f"there is no {path[:200]}", hint=hint)


def split_path(raw_path: str) -> tuple[str, ...]:
    """The segments of a path, each decoded once (so that a name may hold any character)."""
    try:
        segments = tuple(unquote(segment, errors="strict") for segment in raw_path.split("/")[1:])
    except UnicodeDecodeError:
        raise BadRequest("the path is not percent-encoded UTF-8") from None
    if any("\0" in segment for segment in segments):
        raise BadRequest("the path holds a NUL character")
    return segments


def read_query(params: Sequence[Param], query_string: str) -> dict[str, Any]:
    """The value of each of `params`, in their order; an empty filter filters nothing. Unknown, doubled and
    wrong ones are Invalid."""
    try:
        pairs = parse_qsl(query_string, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise BadRequest("the query is not percent-encoded UTF-8, or has too many fields") from None
    known = {param.name: param for param in params}
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name not in known:
            raise Invalid(f"there is no parameter {name[:80]!r}", hint=nearest_hint(name, known))
        if name in values:
            raise Invalid(f"{name}: given twice")
        if "\0" in text:
            raise Invalid(f"{name}: holds a NUL character")
        values[name] = None if not text and known[name].is_filter else known[name].read(text)
    for param in params:
        if param.required and values.get(param.name) is None:
            raise Invalid(f"{param.name}: missing", hint=param.description)
    return {param.name: values.get(param.name, param.default) for param in params}


def nearest_hint(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """What was probably meant, or what there is."""
    names = list(known)
    if near := difflib.get_close_matches(name, names, 1):
        return f"did you mean {near[0]!r}?"
    return f"known here: {', '.join(names)}" if names else "none is taken here"


LIMIT = Param("limit", int, "The most items to answer with", default=100, minimum=1, maximum=1000)
CURSOR = Param("cursor", str, "`next_cursor` of the page before")
