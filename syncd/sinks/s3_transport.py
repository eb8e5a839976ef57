"""boto's HTTP transport, held to what aiohttp does by itself and aiobotocore takes away.

aiobotocore's own makes a TLS context that checks no host name (urllib3, for which it was written, does that
elsewhere), and behind a proxy one that checks nothing. And it limits only the wait for an answer: of a body
that nobody takes any more it would wait for as long as the kernel does, a quarter of an hour or for ever.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from botocore.httpsession import get_cert_path

from syncd.errors import AuthRejected

WRITE_BYTES: Final = 256 * 1024
_WITH_HEADERS_BYTES: Final = 1024


class Transport(AIOHTTPSession):  # type: ignore[misc]
    """One pool of connections to storage. Made in a thread: reading the authorities takes 50 ms. Raises
    AuthRejected where that fails."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._trusted = _trusting(get_cert_path(self._verify)) if self._verify else False  # plain http

    async def put(self, url: str, headers: Mapping[str, str], body: bytes | memoryview) -> Any:
        """botocore's AWSResponse to a PUT that is signed already, read whole."""
        return await self.send(_Request("PUT", url, headers, _Body(body)))

    def _create_connector(self, proxy_url: str | None) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self._max_pool_connections,
            ssl=self._trusted,
            socket_factory=self._new_socket,
            **self._connector_args,
        )

    def _new_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """A socket that breaks when nothing of what is sent arrives for as long as an answer may take."""
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: tcp(7)
            limit_ms = int(self._timeout.sock_read * 1000)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)
        return made


class _Request(NamedTuple):
    """What boto's transport reads of a request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Payload
    stream_output: bool = False


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


def _trusting(authorities: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise AuthRejected(
            f"{authorities} holds no certificates of authorities: {error.strerror or error}",
            hint="AWS_CA_BUNDLE in the environment names it",
        ) from error
