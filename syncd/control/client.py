"""The client of the control API, for syncctl and the dashboard: one method a route, typed replies.

    async with ControlClient(find_socket(config)) as client:
        status = await client.status()

Each call is a connection of its own over the Unix socket (some 0.1 ms), and speaks HTTP/1.0, whose bodies
end with the connection: no chunks, no pool, and none of the 200 ms that importing an HTTP library takes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

import anyio
import anyio.abc
import msgspec

from syncd.control import schema
from syncd.errors import SyncdError

T = TypeVar("T")

HEAD_LIMIT_BYTES = 64 << 10
STREAM_SILENCE_S = 45.0
"""The server sends a comment every 15 s; three missed ones are a dead stream."""

START_HINT = "start the daemon with `syncd run` (or `systemctl start syncd`)"


class DaemonUnavailable(SyncdError):  # noqa: N818
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


class _Answer(NamedTuple):
    status: int
    content_type: str
    body: AsyncIterator[bytes]


class ControlClient:
    """Talks to the daemon at `socket_path`. `timeout_s` bounds the calls that only look something up; those
    that work (sync, pull, similar, verify) take the time they need, and end when the daemon does."""

    def __init__(self, socket_path: Path | str, timeout_s: float = 30.0) -> None:
        self.socket_path = Path(socket_path)
        self.timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to close: each call ended its own connection."""

    # --- what there is ----------------------------------------------------------------------------

    async def ready(self) -> bool:
        """Whether the daemon has started all its services."""
        try:
            await self._get(schema.Health, "/readyz")
        except ApiError as error:
            if error.status != 503:
                raise
            return False
        return True

    async def status(self) -> schema.Status:
        return await self._get(schema.Status, "/api/status")

    async def metrics(self) -> str:
        """Prometheus text."""
        return (await self._call("GET", "/metrics")).decode()

    async def openapi(self) -> dict[str, Any]:
        return await self._get(dict[str, Any], "/openapi.json")

    async def activity(self, since: int = 0, limit: int = 100) -> schema.ActivityPage:
        return await self._get(schema.ActivityPage, "/api/activity", since=since, limit=limit)

    async def follow_activity(self, since: int) -> AsyncIterator[schema.ActivityItem]:
        """Every item after id `since`, without a gap, for as long as the daemon lives; then, or when it is
        silent too long, DaemonUnavailable: call again with the last id seen. Close the iterator
        (contextlib.aclosing) to stop early."""
        target = _target("/api/activity/stream", {"since": since})
        async with self._exchange("GET", target, {"Accept": "text/event-stream"}, b"") as answer:
            if answer.status >= 400:
                raise _api_error(answer.status, await _whole(answer.body))
            rest = b""
            while True:
                try:
                    with anyio.fail_after(STREAM_SILENCE_S):
                        rest += await anext(answer.body)
                except StopAsyncIteration:
                    raise DaemonUnavailable(self.socket_path, "the daemon ended the stream") from None
                *events, rest = rest.split(b"\n\n")
                for event in events:
                    for line in event.split(b"\n"):
                        if line.startswith(b"data:"):
                            yield _decode(line[5:], schema.ActivityItem)

    # --- sync and jobs ----------------------------------------------------------------------------

    async def sync(self, request: schema.SyncRequest) -> schema.JobAccepted | schema.SyncReport:
        """A dry run answers with the plan as a SyncReport, everything else with its job."""
        if request.dry_run:
            return await self._post(schema.SyncReport, "/api/admin/sync", request, timeout_s=None)
        return await self._post(schema.JobAccepted, "/api/admin/sync", request, timeout_s=None)

    async def sync_status(self, job_id: str | None = None) -> schema.SyncReport:
        return await self._get(schema.SyncReport, "/api/admin/sync/status", job_id=job_id)

    async def jobs(
        self, state: str | None = None, kind: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> schema.JobPage:
        return await self._get(
            schema.JobPage, "/api/jobs", state=state, kind=kind, limit=limit, cursor=cursor
        )

    async def job(self, job_id: str) -> schema.Job:
        return await self._get(schema.Job, f"/api/jobs/{_segment(job_id)}")

    async def retry_job(self, job_id: str) -> schema.Job:
        return await self._post(schema.Job, f"/api/jobs/{_segment(job_id)}/retry")

    async def retry_failed_jobs(self) -> schema.RetriedJobs:
        return await self._post(schema.RetriedJobs, "/api/jobs/retry")

    async def cancel_job(self, job_id: str) -> schema.Job:
        return await self._post(schema.Job, f"/api/jobs/{_segment(job_id)}/cancel")

    # --- the site ---------------------------------------------------------------------------------

    async def batches(self, limit: int = 100, cursor: str | None = None) -> schema.BatchPage:
        return await self._get(schema.BatchPage, "/api/batches", limit=limit, cursor=cursor)

    async def patch_batch(self, name: str, patch: schema.BatchPatch) -> schema.Batch:
        return _decode(await self._call("PATCH", f"/api/batches/{_segment(name)}", patch), schema.Batch)

    async def scenes(
        self,
        batch: str | None = None,
        live: bool | None = None,
        query: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> schema.ScenePage:
        return await self._get(
            schema.ScenePage, "/api/scenes", batch=batch, live=live, q=query, limit=limit, cursor=cursor
        )

    async def scene(self, scene_id: str) -> schema.Scene:
        return await self._get(schema.Scene, f"/api/scenes/{_segment(scene_id)}")

    async def preview(
        self, version_id: int, width: int = 400, height: int = 400, image_format: str = "jpeg"
    ) -> bytes:
        """A small upright picture: `jpeg`, or `rgb` (two big-endian uint16 width and height, then RGB)."""
        query = {"version_id": version_id, "width": width, "height": height, "format": image_format}
        return await self._call("GET", _target("/api/preview", query))

    async def pull(self, request: schema.PullRequest) -> schema.PullReport:
        return await self._post(schema.PullReport, "/api/pull", request, timeout_s=None)

    async def similar(
        self,
        picture: bytes | None = None,
        *,
        scene_id: str | None = None,
        max_distance: int = 8,
        limit: int = 50,
    ) -> schema.SimilarPage:
        """Live versions near `picture` (the bytes of an image file) or near `scene_id`'s, nearest first."""
        target = _target("/api/similar", {"max_distance": max_distance, "limit": limit})
        wanted: bytes | msgspec.Struct
        wanted = picture if picture is not None else schema.SimilarRequest(scene_id=scene_id or "")
        return await self._post(schema.SimilarPage, target, wanted, timeout_s=None)

    async def verify(self, request: schema.VerifyRequest) -> schema.VerifyReport:
        return await self._post(schema.VerifyReport, "/api/verify", request, timeout_s=None)

    async def guards(self) -> schema.GuardPage:
        return await self._get(schema.GuardPage, "/api/guards")

    async def approve(self, guard_id: str) -> schema.GuardApproved:
        return await self._post(schema.GuardApproved, f"/api/approve/{_segment(guard_id)}")

    # --- the daemon -------------------------------------------------------------------------------

    async def pause(self, service: str | None = None) -> schema.ServicesReply:
        """Holds one service, or all but `control`."""
        return await self._post(schema.ServicesReply, "/api/pause", schema.ServiceRequest(service=service))

    async def resume(self, service: str | None = None) -> schema.ServicesReply:
        return await self._post(schema.ServicesReply, "/api/resume", schema.ServiceRequest(service=service))

    async def reload(self) -> schema.ReloadReply:
        return await self._post(schema.ReloadReply, "/api/config/reload")

    async def show_config(self) -> schema.ConfigReply:
        return await self._get(schema.ConfigReply, "/api/config")

    # --- HTTP -------------------------------------------------------------------------------------

    async def _get(self, reply: type[T], path: str, **query: object) -> T:
        return _decode(await self._call("GET", _target(path, query)), reply)

    async def _post(
        self, reply: type[T], target: str, body: bytes | msgspec.Struct = b"", timeout_s: float | None = -1
    ) -> T:
        return _decode(await self._call("POST", target, body, timeout_s), reply)

    async def _call(
        self, method: str, target: str, body: bytes | msgspec.Struct = b"", timeout_s: float | None = -1
    ) -> bytes:
        """The reply's body; `timeout_s` is the client's own unless given, None is without limit."""
        headers = {"Content-Type": "application/octet-stream"} if body else {}
        if isinstance(body, msgspec.Struct):
            headers, body = {"Content-Type": "application/json"}, msgspec.json.encode(body)
        try:
            with anyio.fail_after(self.timeout_s if timeout_s == -1 else timeout_s):
                async with self._exchange(method, target, headers, body) as answer:
                    content = await _whole(answer.body)
        except TimeoutError:
            raise _unavailable(self.socket_path, TimeoutError()) from None
        if answer.status >= 400:
            raise _api_error(answer.status, content)
        return content

    @asynccontextmanager
    async def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[_Answer]:
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


async def _read_head(stream: anyio.abc.ByteStream) -> _Answer:
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
    return _Answer(int(status[:3]), fields.get("content-type", ""), body)


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


async def _whole(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in body])


def _decode(content: bytes, reply: type[T]) -> T:
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


def _api_error(status: int, content: bytes) -> ApiError:
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


def _segment(name: str) -> str:
    """One name as one segment of a path."""
    return quote(name, safe="")


def _target(path: str, query: Mapping[str, object]) -> str:
    fields = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }
    return f"{path}?{urlencode(fields)}" if fields else path
