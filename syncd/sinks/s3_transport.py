"""Connections to an S3 storage: trusted ones, that notice when nothing moves any more."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

from syncd.errors import AuthRejected

WRITE_BYTES: Final = 256 * 1024
KEEP_ALIVE_S: Final = 12
_WITH_HEADERS_BYTES: Final = 1024


class Answer(NamedTuple):
    """What storage says to a request. The names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Session:
    """A pool of connections to the server of `origin`, for requests that are signed already. A context
    manager; made in a thread, since reading the authorities takes 50 ms. Raises what aiohttp raises, and
    AuthRejected where the authorities cannot be read."""

    def __init__(
        self, origin: str, *, connect_timeout_s: float, read_timeout_s: float, connections: int
    ) -> None:
        server = URL(origin)
        # Nothing is trusted, nor read, for plain http.
        self._trusted = trusted_by(os.environ.get("AWS_CA_BUNDLE")) if server.scheme == "https" else False
        self._timeout = aiohttp.ClientTimeout(sock_connect=connect_timeout_s, sock_read=read_timeout_s)
        self._connections = connections
        self._proxy = _proxy_for(server)

    async def __aenter__(self) -> Self:
        self._session = await aiohttp.ClientSession(
            connector=connector(self._trusted, self._timeout, self._connections),
            timeout=self._timeout,
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ).__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def put(self, url: str, headers: Mapping[str, str], body: bytes | memoryview) -> Answer:
        """The answer to a PUT, read whole. `url` is quoted already."""
        async with self._session.put(
            URL(url, encoded=True),
            headers=headers,
            data=_Body(body),
            proxy=self._proxy,
            allow_redirects=False,  # whom it names next was not asked for
        ) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, found, await response.read())


def _proxy_for(server: URL) -> str | None:
    """As the environment says, with or without `http://`."""
    proxy = None if proxy_bypass(server.authority) else getproxies().get(server.scheme)
    return f"http://{proxy.removeprefix('//')}" if proxy and "://" not in proxy else proxy


def connector(
    trusted: ssl.SSLContext | bool, timeout: aiohttp.ClientTimeout, connections: int, **more: Any
) -> aiohttp.TCPConnector:
    """At most `connections` connections, each of which breaks when nothing of what is sent arrives for as
    long as an answer may take: of a body that nobody takes any more, asyncio would wait for as long as the
    kernel does, a quarter of an hour or for ever."""

    def new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        if hasattr(socket, "TCP_USER_TIMEOUT") and timeout.sock_read:  # Linux: tcp(7)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout.sock_read * 1000))
        return made

    more.setdefault("keepalive_timeout", KEEP_ALIVE_S)
    return aiohttp.TCPConnector(limit=connections, ssl=trusted, socket_factory=new_socket, **more)


def trusted_by(authorities: str | bool | None) -> ssl.SSLContext:
    """What trusts the authorities in this file, or those that boto brings along. Raises AuthRejected where
    they cannot be read."""
    from botocore.httpsession import get_cert_path

    path = get_cert_path(authorities or True)
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise AuthRejected(
            f"{path} holds no certificates of authorities: {error.strerror or error}",
            hint="AWS_CA_BUNDLE in the environment names it",
        ) from error


class _Body(Payload):
    """Bytes that are handed to the socket as they are: aiohttp copies what it joins to the headers."""

    _autoclose = True

    def __init__(self, body: bytes | memoryview) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._view = memoryview(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._view).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await writer.write(self._view[:_WITH_HEADERS_BYTES])
        for start in range(_WITH_HEADERS_BYTES, len(self._view), WRITE_BYTES):
            await writer.write(self._view[start : start + WRITE_BYTES])

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        await self.write(writer)
