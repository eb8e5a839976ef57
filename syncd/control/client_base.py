"""HTTP/1.0 over the daemon's Unix socket. Each call is a connection of its own (some 0.1 ms), whose end is
the end of the answer: no chunks, no pool, and none of the 200 ms that importing an HTTP library takes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

import anyio
import anyio.abc
import msgspec

from syncd.control import schema
from syncd.errors import SyncdError

T = TypeVar("T")

HEAD_LIMIT_BYTES = 64 << 10

START_HINT = "start the daemon with `syncd run` (or `systemctl start syncd`)"


class DaemonUnavailable(SyncdError):
    """No daemon answers at the socket: not there, refused, gone in the middle, or silent for too long."""

    def __init__(self, socket_path: Path, reason: str, *, hint: str | None = START_HINT) -> None:
        super().__init__(f"no daemon answers at {socket_path}: {reason}", hint=hint)
        self.socket_path = socket_path


class ApiError(SyncdError):
    """The daemon answered with a problem (`status` is the HTTP status)."""

    def __init__(self, problem: schema.Problem) -> None:
        super().__init__(problem.detail or problem.title, hint=problem.hint)
        self.problem = problem
        self.status = problem.status


class Answer(NamedTuple):
    status: int
    content_type: str
    body: AsyncIterator[bytes]


class Connections:
    """Asks the daemon at `socket_path`. `timeout_s` bounds the calls that only look something up."""

    def __init__(self, socket_path: Path | str, timeout_s: float = 30.0) -> None:
        self.socket_path = Path(socket_path)
        self.timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to close: each call ended its own connection."""

    async def _get(self, reply: type[T], path: str, **query: object) -> T:
        return decode(await self._call("GET", target_of(path, query)), reply)

    async def _post(
        self, reply: type[T], target: str, body: bytes | msgspec.Struct = b"", timeout_s: float | None = -1
    ) -> T:
        return decode(await self._call("POST", target, body, timeout_s), reply)

    async def _call(
        self, method: str, target: str, body: bytes | msgspec.Struct = b"", timeout_s: float | None = -1
    ) -> bytes:
        """The reply's body; `timeout_s` is the client's own unless given, None is without limit."""
        headers = {"Content-Type": "application/octet-stream"} if body else {}
        if isinstance(body, msgspec.Struct):
            headers, body = {"Content-Type": "application/json"}, msgspec.json.encode(body)
        try:
            with anyio.fail_after(self.timeout_s if timeout_s == -1 else timeout_s):
                async with self.exchange(method, target, headers, body) as answer:
                    content = await whole(answer.body)
        except TimeoutError:
            raise _unavailable(self.socket_path, TimeoutError()) from None
        if answer.status >= 400:
            raise api_error(answer.status, content)
        return content

    @asynccontextmanager
    async def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[Answer]:
        """One request and its answer; what breaks on the way is DaemonUnavailable."""
        lines = [f"{method} {target} HTTP/1.0", "Host: syncd", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        try:
            async with await anyio.connect_unix(self.socket_path) as stream:
                # A request that is refused before its body was read has its answer waiting.
                with suppress(anyio.BrokenResourceError):
                    await stream.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                yield await _read_head(stream)
        except (OSError, EOFError, anyio.BrokenResourceError) as error:
            raise _unavailable(self.socket_path, error) from None


async def _read_head(stream: anyio.abc.ByteStream) -> Answer:
    received = b""
    while b"\r\n\r\n" not in received:
        if len(received) > HEAD_LIMIT_BYTES:
            raise EOFError("the answer is not HTTP")
        try:
            received += await stream.receive()
        except anyio.EndOfStream:
            raise EOFError("it hung up without an answer") from None
    head, _, rest = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    protocol, _, status = status_line.partition(" ")
    if not protocol.startswith("HTTP/") or not status[:3].isdigit():
        raise EOFError("the answer is not HTTP")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = fields.get("content-length")
    body = _read_body(stream, rest, int(length) if length else None)
    return Answer(int(status[:3]), fields.get("content-type", ""), body)


async def _read_body(stream: anyio.abc.ByteStream, first: bytes, length: int | None) -> AsyncIterator[bytes]:
    """Chunks of the body, until `length` bytes or the connection's end."""
    received = len(first)
    if first:
        yield first
    while length is None or received < length:
        try:
            chunk = await stream.receive()
        except anyio.EndOfStream:
            break
        received += len(chunk)
        yield chunk
    if length is not None and received < length:
        raise EOFError("it hung up in the middle of its answer")


async def whole(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in body])


def decode(content: bytes, reply: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=reply)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ApiError(
            schema.Problem(
                title="Bad Gateway",
                status=502,
                detail="the daemon's answer is not understood",
                hint=f"are the daemon and this program of the same version? Restart it ({error})",
            )
        ) from None


def api_error(status: int, content: bytes) -> ApiError:
    try:
        return ApiError(msgspec.json.decode(content, type=schema.Problem))
    except msgspec.DecodeError:
        return ApiError(schema.Problem(title=f"HTTP {status}", status=status))


def _unavailable(socket_path: Path, error: Exception) -> DaemonUnavailable:
    match error:
        case TimeoutError():
            hint = "it may be busy: try again, or look into its log"
            return DaemonUnavailable(socket_path, "no answer in time", hint=hint)
        case FileNotFoundError():
            return DaemonUnavailable(socket_path, "there is no such socket")
        case ConnectionRefusedError():
            return DaemonUnavailable(socket_path, "nothing listens there any more")
        case PermissionError():
            hint = "run this as the user of the daemon, as root, or as a member of daemon.socket_group"
            return DaemonUnavailable(socket_path, "you may not open it", hint=hint)
        case OSError() if error.errno:
            return DaemonUnavailable(socket_path, os.strerror(error.errno))
        case anyio.BrokenResourceError():
            return DaemonUnavailable(socket_path, "it hung up in the middle of its answer")
        case _:
            return DaemonUnavailable(socket_path, str(error))


def segment(name: str) -> str:
    """One name as one segment of a path."""
    return quote(name, safe="")


def target_of(path: str, query: Mapping[str, object]) -> str:
    fields = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }
    return f"{path}?{urlencode(fields)}" if fields else path
