"""The service `control`: HTTP/1.1 on a Unix socket, for people, scripts, syncctl and the dashboard.

Every limit that keeps one client from harming the others is here or in dispatch.py: connections, time to
send a request's head, size of head and body, time to answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
from aiohttp import web
from aiohttp.http_exceptions import InvalidURLError, LineTooLong

from syncd.control import schema
from syncd.control.api import Api
from syncd.control.dispatch import HEADERS_LIMIT_BYTES, Dispatcher, problem
from syncd.control.listener import BACKLOG, Listener
from syncd.control.peers import Access, access_of, group_id, peer_of
from syncd.control.route import Route
from syncd.control.routes import ROUTES
from syncd.supervisor import ServiceHandle

logger = logging.getLogger(__name__)

CONNECTION_LIMIT = 64
HEAD_TIME_S = 10.0
IDLE_TIME_S = 75.0
LINGER_S = 1.0
STOP_TIME_S = 1.0


class ControlServer:
    """Serves `api` at `socket_path`. The socket stays bound while the supervisor restarts the service, so
    that clients wait instead of failing, and is removed when the service is stopped."""

    name = "control"

    def __init__(
        self, api: Api, socket_path: Path, socket_group: str = "", routes: Sequence[Route] = ROUTES
    ) -> None:
        self.socket_path = socket_path
        self._api = api
        self._group_gid = group_id(socket_group)
        self._routes = routes
        self._listener: Listener | None = None

    def open(self) -> Listener:
        """Binds the socket, unless it is already; Fatal says what is in the way. Only for the holder of the
        daemon's lock, since it replaces a socket that a killed daemon left."""
        if self._listener is None:
            self._listener = Listener(self.socket_path, self._group_gid)
        return self._listener

    def close(self) -> None:
        """Removes the socket, if it is still ours."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def run(self, handle: ServiceHandle) -> None:
        dispatcher = Dispatcher(self._api, self._routes)
        http = _HttpServer(dispatcher, os.geteuid(), self._group_gid)
        # Since Python 3.13 a server would remove the file when it closes, even to be restarted.
        options: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        listening = await asyncio.get_running_loop().create_unix_server(
            http, sock=self.open().socket.dup(), backlog=BACKLOG, **options
        )
        try:
            handle.ready()
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.close()
            raise
        finally:
            listening.close()
            dispatcher.stop()
            http.pre_shutdown()
            with anyio.CancelScope(shield=True):
                await http.shutdown(STOP_TIME_S)


class _HttpServer(web.Server):
    """Makes a `_Connection` for each client, and refuses those above the limit."""

    def __init__(self, dispatcher: Dispatcher, owner_uid: int, group_gid: int | None) -> None:
        super().__init__(self._handle, handler_cancellation=True)
        self._dispatcher = dispatcher
        self._owner_uid = owner_uid
        self._group_gid = group_gid
        self.refused = 0

    def __call__(self) -> web.RequestHandler:
        return _Connection(self)

    def access(self, transport: asyncio.BaseTransport) -> Access:
        try:
            peer = peer_of(transport.get_extra_info("socket"))
        except OSError:  # it has already gone
            return "none"
        return access_of(peer, self._owner_uid, self._group_gid)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.begin()
        try:
            return await self._dispatcher.handle(request, connection.access)
        finally:
            connection.finish()


class _Connection(web.RequestHandler):
    """One client. Beyond what aiohttp does: its identity, a limit on the number of connections, and one on
    the time that the head of a request may take."""

    __slots__ = ("_answering", "_head_timer", "_loop_", "_refused", "_server", "access")

    def __init__(self, server: _HttpServer) -> None:
        self._loop_ = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=self._loop_,
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
            keepalive_timeout=IDLE_TIME_S,
            lingering_time=LINGER_S,
            max_field_size=HEADERS_LIMIT_BYTES,
            max_line_size=HEADERS_LIMIT_BYTES,
            tcp_keepalive=False,
        )
        self._server = server
        self._head_timer: asyncio.TimerHandle | None = None
        self._answering = False
        self._refused = False
        self.access: Access = "none"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._server.connections) >= CONNECTION_LIMIT:
            self._refuse(transport)
            return
        self.access = self._server.access(transport)
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        if self._refused:
            self._server.refused -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._answering:
            self._await_head()
        super().data_received(data)

    def begin(self) -> None:
        """The head of a request is complete."""
        self._answering = True
        self._stop_timer()

    def finish(self) -> None:
        """Its answer is made."""
        self._answering = False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is not HTTP at all. The parser cannot go on after it."""
        self._stop_timer()
        if request.writer.output_size > 0:
            raise ConnectionError("the head of the answer is already sent")
        if isinstance(exc, LineTooLong):
            answer = problem(431, f"a line of the head is longer than {HEADERS_LIMIT_BYTES} bytes")
        elif "Too many headers" in (message or ""):
            answer = problem(431, "there are too many headers")
        else:
            # The parser's first sentence; what follows shows the bytes.
            reason = " ".join((message or "").partition("\n\n")[0].split()).rstrip(":.")
            hint = "percent-encode it, as UTF-8" if isinstance(exc, InvalidURLError) else None
            answer = problem(400, f"this is not HTTP/1.1: {reason}".rstrip(": "), hint)
        answer.force_close()
        return answer

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop_.call_later(HEAD_TIME_S, self.force_close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, transport: asyncio.BaseTransport) -> None:
        """Says why, and hangs up a moment later: at once, the client would find a broken pipe instead."""
        # A cast: the transports of uvloop do all that those of asyncio do, and are no subclass.
        transport = cast("asyncio.Transport", transport)
        self._refused = True
        self._server.refused += 1
        if self._server.refused > CONNECTION_LIMIT:
            transport.abort()
            return
        body = msgspec.json.encode(
            schema.Problem(
                title="Service Unavailable",
                status=503,
                detail=f"there are already {CONNECTION_LIMIT} clients",
            )
        )
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
            b"Connection: close\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        transport.write_eof()
        self._loop_.call_later(LINGER_S, transport.close)
