"""One request of the control API, from its head to its reply: access, route, parameters, body, answer.

Whatever goes wrong becomes application/problem+json (RFC 9457): a 4xx that says what was expected for bad
input, and a 500 that tells nothing but is in the log for everything unforeseen.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, nullcontext
from http import HTTPStatus
from typing import Any, cast

import anyio
import msgspec
from aiohttp import web

from syncd.control import schema
from syncd.control.api import Api, Invalid, NotFound
from syncd.control.peers import Access
from syncd.control.route import (
    BadRequest,
    Call,
    Route,
    WrongMethod,
    find_route,
    nearest_hint,
    read_query,
    split_path,
)
from syncd.errors import AuthRejected, Refused, SyncdError, Transient

logger = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 1 << 20
PICTURE_LIMIT_BYTES = 64 << 20
HEADERS_LIMIT_BYTES = 16 << 10
PICTURES_AT_A_TIME = 2
BODY_TIME_S = 60.0
HANDLER_TIME_S = 30.0
KEEP_ALIVE_S = 15.0
SLOW_CLIENT_S = 10.0
RECONNECT_MS = 2000
COMMON_HEADERS = {"Cache-Control": "no-store", "Server": "syncd"}

FORM_TYPE = "application/x-www-form-urlencoded"
"""What curl says of any body unless told otherwise, so it is looked at rather than believed."""


class TooMuch(Invalid):
    """Larger or slower than allowed; `status` is 408, 413 or 431."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class WrongType(Invalid):
    """The body is of a type that is not understood: 415."""


class NotAllowed(Refused):
    """The peer may not do this: 403."""


def problem(
    status: int, detail: str = "", hint: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    body = schema.Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, hint=hint)
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        headers={**COMMON_HEADERS, "Content-Type": "application/problem+json", **(headers or {})},
    )


def problem_of(error: SyncdError) -> web.Response:
    """The answer that an error is."""
    headers: dict[str, str] = {}
    match error:
        case BadRequest():
            status = 400
        case WrongMethod():
            status = 405
            headers["Allow"] = ", ".join(error.allowed)
        case TooMuch():
            status = error.status
        case WrongType():
            status = 415
        case Invalid():
            status = 422
        case NotAllowed():
            status = 403
        case NotFound():
            status = 404
        case Refused() | AuthRejected():
            status = 409
        case Transient():
            status = 503
            if error.retry_after_s is not None:
                headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        case _:
            logger.error("control: %s", error)
            status = 500
    return problem(status, error.message, error.hint, headers)


class Dispatcher:
    """Answers requests from `routes` with what `api` says."""

    def __init__(self, api: Api, routes: Sequence[Route]) -> None:
        self._api = api
        self._routes = routes
        self._long: set[anyio.CancelScope] = set()
        self._pictures = anyio.Semaphore(PICTURES_AT_A_TIME)

    def stop(self) -> None:
        """Ends streams and long calls; the others are nearly done."""
        for scope in self._long:
            scope.cancel()

    async def handle(self, request: web.BaseRequest, access: Access) -> web.StreamResponse:
        try:
            return await self._answer(request, access)
        except SyncdError as error:
            return problem_of(error)
        except Exception:  # a bug in one answer is no reason to serve no other
            if request.transport is None:
                raise  # the client has gone: there is nobody to answer
            logger.exception("control: %s %r failed", request.method, request.raw_path)
            return problem(500, "the daemon failed to answer; its log says why")

    async def _answer(self, request: web.BaseRequest, access: Access) -> web.StreamResponse:
        if access == "none":
            raise NotAllowed(
                "this user may not control the daemon",
                hint="be root, the daemon's user, or (to read) a member of daemon.socket_group",
            )
        if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > HEADERS_LIMIT_BYTES:
            raise TooMuch(f"the headers are larger than {HEADERS_LIMIT_BYTES} bytes", 431)
        target = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
        path, _, query_string = target.partition("?")
        route, names = find_route(self._routes, request.method, split_path(path))
        if route.access == "full" and access != "full":
            raise NotAllowed(
                "members of daemon.socket_group may only read", hint="be root or the daemon's user"
            )
        call = Call(access, names, read_query(route.params, query_string))
        async with self._pictures if route.picture else nullcontext():
            if route.method != "GET":
                call = call._replace(body=await _read_body(request, route))
            return await self._run(request, route, call)

    async def _run(self, request: web.BaseRequest, route: Route, call: Call) -> web.StreamResponse:
        """Short calls have a limit in time; long ones end when the server stops."""
        if not route.long:
            with anyio.move_on_after(HANDLER_TIME_S):
                return _encode(await route.handler(self._api, call), route, call)
            raise Transient(f"no answer within {HANDLER_TIME_S:.0f} s", hint="the daemon is busy: try again")
        scope = anyio.CancelScope()
        self._long.add(scope)
        try:
            with scope:
                if route.stream:
                    return await self._stream(request, route, call)
                result = await route.handler(self._api, call)
                if isinstance(result, AsyncIterator):
                    return await _pour(request, result, route, call)
                return _encode(result, route, call)
        finally:
            self._long.discard(scope)
        raise Transient("the daemon is stopping", retry_after_s=RECONNECT_MS / 1000)

    async def _stream(self, request: web.BaseRequest, route: Route, call: Call) -> web.StreamResponse:
        if (last_seen := request.headers.get("Last-Event-ID")) is not None:
            call = call._replace(query={**call.query, "since": route.params[0].read(last_seen.strip())})
        items = cast("AsyncIterator[schema.ActivityItem]", await route.handler(self._api, call))
        response = web.StreamResponse(headers={**COMMON_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await _send(response, f"retry: {RECONNECT_MS}\n\n".encode())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_keep_alive, response)
                async with aclosing(cast("Any", items)):
                    async for item in items:
                        await _send(response, encode_event(item))
                tasks.cancel_scope.cancel()
        except* TimeoutError:  # what it has not read by now would pile up here
            if request.transport:
                request.transport.abort()
        except* ConnectionError:
            pass
        except* Exception:  # the head is sent: ending the stream is all that can be said
            logger.exception("control: the activity stream failed")
        finally:
            # Ended by the server's stop as well: the end of the body tells the client.
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await _end(response)
        return response


async def _pour(
    request: web.BaseRequest, chunks: AsyncIterator[bytes], route: Route, call: Call
) -> web.StreamResponse:
    """A body that is made while it is sent. What fails before its first piece is answered as usual; after
    that only a connection that breaks off says so."""
    async with aclosing(cast("Any", chunks)):
        first = await anext(chunks, b"")
        media_type = route.media_type(call) if route.media_type else route.media_types[0]
        response = web.StreamResponse(headers={**COMMON_HEADERS, "Content-Type": media_type})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        is_whole = False
        try:
            await _send(response, first)
            async for chunk in chunks:
                await _send(response, chunk)
            await response.write_eof()
            is_whole = True
        except (TimeoutError, ConnectionError):
            pass  # the client reads no more
        except Exception:
            logger.exception("control: %s broke off", route.path)
        finally:
            if not is_whole and request.transport:
                request.transport.abort()
    return response


def encode_event(item: schema.ActivityItem) -> bytes:
    """One Server-Sent Event. JSON has no bare line breaks; a kind never has any."""
    kind = item.kind.replace("\n", " ").replace("\r", " ")
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (item.id, kind.encode(), msgspec.json.encode(item))


async def _keep_alive(response: web.StreamResponse) -> None:
    while True:
        await anyio.sleep(KEEP_ALIVE_S)
        await _send(response, b": keep-alive\n\n")


async def _send(response: web.StreamResponse, data: bytes) -> None:
    with anyio.fail_after(SLOW_CLIENT_S):
        await response.write(data)


async def _end(response: web.StreamResponse) -> None:
    try:
        await response.write_eof()
    except (ConnectionError, RuntimeError):
        return


def _encode(result: object, route: Route, call: Call) -> web.Response:
    """The reply; its type chooses the status."""
    status = next((status for status, kind in route.replies.items() if isinstance(result, kind)), None)
    if status is None:
        raise TypeError(f"{route.method} {route.path} has no reply of type {type(result).__name__}")
    if result is None:
        return web.Response(status=status, headers=COMMON_HEADERS)
    media_type = route.media_type(call) if route.media_type else route.media_types[0]
    body = result if isinstance(result, bytes) else msgspec.json.encode(result)
    return web.Response(status=status, body=body, headers={**COMMON_HEADERS, "Content-Type": media_type})


async def _read_body(request: web.BaseRequest, route: Route) -> Any:
    """What the route wants: its Request decoded, or the bytes of a picture; None when it wants nothing."""
    declared = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = declared == "application/json" or declared.endswith("+json")
    is_picture = route.picture and not is_json
    if encoding := request.headers.get("Content-Encoding"):
        raise WrongType(f"Content-Encoding {encoding[:40]!r} is not taken here", hint="send it plain")
    if is_picture and not (declared.startswith("image/") or declared in _RAW_TYPES):
        hint = _PICTURE_HINT + (_OR_JSON_HINT if route.body else "")
        raise WrongType(f"expected the bytes of an image, got {declared[:80]}", hint=hint)
    if route.body and not is_picture and not is_json and declared not in ("", FORM_TYPE):
        raise WrongType(f"expected application/json, got {declared[:80]}", hint=_JSON_HINT)
    content = await _read_all(request, PICTURE_LIMIT_BYTES if is_picture else BODY_LIMIT_BYTES)
    if is_picture or route.body is None:
        return content if is_picture else None
    try:
        return msgspec.json.decode(content or b"{}", type=route.body)
    except msgspec.ValidationError as error:
        raise Invalid(str(error), hint=_field_hint(str(error), route.body)) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        if declared == FORM_TYPE:
            raise WrongType(f"expected application/json, got {declared}", hint=_JSON_HINT) from None
        raise BadRequest(f"the body is not JSON: {error}") from None


_RAW_TYPES = ("", "application/octet-stream", FORM_TYPE)
_JSON_HINT = "send JSON with the header Content-Type: application/json"
_PICTURE_HINT = "send Content-Type: application/octet-stream"
_OR_JSON_HINT = ", or application/json with a scene_id"


async def _read_all(request: web.BaseRequest, limit_bytes: int) -> bytes:
    if (request.content_length or 0) > limit_bytes:
        raise TooMuch(f"the body is larger than {limit_bytes} bytes", 413)
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    received = bytearray()
    try:
        with anyio.move_on_after(BODY_TIME_S) as scope:
            while chunk := await request.content.readany():
                received += chunk
                if len(received) > limit_bytes:
                    raise TooMuch(f"the body is larger than {limit_bytes} bytes", 413)
    except web.RequestPayloadError as error:
        raise BadRequest(f"the body is not what its headers say: {error}") from None
    if scope.cancelled_caught:
        raise TooMuch(f"the body did not come within {BODY_TIME_S:.0f} s", 408)
    return bytes(received)


def _field_hint(message: str, body: type[msgspec.Struct]) -> str | None:
    """For an unknown field, the name that was probably meant."""
    if "unknown field" not in message:
        return None
    return nearest_hint(message.split("`")[1], [field.encode_name for field in msgspec.structs.fields(body)])
