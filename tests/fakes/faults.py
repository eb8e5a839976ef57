"""What may go wrong with an answer, by script."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MESSAGES = {
    "userRateLimitExceeded": "User Rate Limit Exceeded",
    "rateLimitExceeded": "Rate Limit Exceeded",
    "dailyLimitExceeded": "Daily Limit Exceeded",
    "insufficientPermissions": "Insufficient Permission: Request had insufficient authentication scopes.",
    "insufficientFilePermissions": "The user does not have sufficient permissions for this file.",
    "fileNotDownloadable": "Only files with binary content can be downloaded. Use Export with Docs Editors "
    "files.",
    "cannotDownloadAbusiveFile": "This file has been identified as malware or spam and cannot be downloaded.",
    "downloadQuotaExceeded": "The download quota for this file has been exceeded.",
    "accessNotConfigured": "Access Not Configured. Drive API has not been used in project 1 before.",
    "pageTokenExpired": "The specified page token has expired, and can no longer be used.",
    "authError": "Invalid Credentials",
    "backendError": "Backend Error",
    "internalError": "Internal Error",
    "invalid": "Invalid Value",
}
_USAGE = {"userRateLimitExceeded", "rateLimitExceeded", "dailyLimitExceeded"}


def refusal(
    status: int,
    reason: str,
    message: str | None = None,
    *,
    location: str | None = None,
    location_type: str = "parameter",
    word: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """Drive's error envelope."""
    message = message or MESSAGES.get(reason, reason)
    one = {"message": message, "domain": "usageLimits" if reason in _USAGE else "global", "reason": reason}
    if location is not None:
        one |= {"location": location, "locationType": location_type}
    error: dict[str, Any] = {"code": status, "message": message, "errors": [one]}
    if word is not None:
        error["status"] = word
    return web.json_response({"error": error}, status=status, headers=headers)


@dataclass
class Fault:
    """One accident, for the next request that `where` fits: an operation ("changes.list", "files.list",
    "files.get", "media", "token", …) or "*"."""

    where: str
    act: Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


def error(status: int, reason: str, message: str | None = None, **more: Any) -> Any:
    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        return refusal(status, reason, message, **more)

    return act


def says(status: int, body: bytes, content_type: str = "text/html", **headers: str) -> Any:
    """Any answer at all in place of the real one."""

    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, content_type=content_type, headers=named)

    return act


def html(status: int = 502) -> Any:
    return says(status, b"<html><title>Error 502 (Server Error)!!1</title><p>That's all we know.</html>")


def token_error(code: str, status: int = 400, description: str = "Bad Request") -> Any:
    return says(
        status,
        json.dumps({"error": code, "error_description": description}).encode(),
        "application/json",
    )


def drop() -> Any:
    """Hangs up instead of answering."""

    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        _hang_up(request)
        return web.Response()

    return act


def lose() -> Any:
    """Does what was asked, and hangs up instead of saying so."""

    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        await handler(request)
        _hang_up(request)
        return web.Response()

    return act


def truncate(keep: float = 0.5) -> Any:
    """Promises the whole body and hangs up after a part of it."""

    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        assert isinstance(answer, web.Response)
        body = answer.body if isinstance(answer.body, bytes) else b""
        headers = {**answer.headers, "Content-Length": str(len(body))}
        short = web.StreamResponse(status=answer.status, headers=headers)
        await short.prepare(request)
        await short.write(body[: int(len(body) * keep)])
        await anyio.sleep(0.02)  # so that what was written arrives before the end
        _hang_up(request)
        return short

    return act


def spoil() -> Any:
    """Turns one bit of the body."""

    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        assert isinstance(answer, web.Response)
        body = bytearray(answer.body if isinstance(answer.body, bytes) else b"")
        body[len(body) // 2] ^= 1
        answer.body = bytes(body)
        return answer

    return act


def slow(delay_s: float) -> Any:
    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        await anyio.sleep(delay_s)
        return await handler(request)

    return act


def whole() -> Any:
    """Ignores `Range`."""

    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers.copy()
        headers.popall("Range", None)
        return await handler(request.clone(headers=headers))

    return act


def redirect(address: str) -> Any:
    return says(302, b"", Location=address)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


@dataclass
class Script:
    """Faults in order; each is used once."""

    faults: list[Fault] = field(default_factory=list)

    def add(self, where: str, *acts: Any) -> None:
        self.faults += [Fault(where, act) for act in acts]

    def next(self, operation: str) -> Fault | None:
        for fault in self.faults:
            if fault.where in ("*", operation):
                self.faults.remove(fault)
                return fault
        return None
