"""TLS in front of a real Postgres server that was built without."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.postgres import PostgresServer
from tests.sinks.faults import self_signed


@asynccontextmanager
async def tls_in_front(server: PostgresServer, folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """A port that answers libpq's request for TLS as a server built with it does, and the file of its
    certificate for 127.0.0.1: the server at hand is built without.

    https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
    """
    certificate, key = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == struct.pack("!ii", 8, 80877103)
        writer.write(b"S")
        with suppress(OSError):  # who does not trust the certificate leaves here
            await writer.start_tls(context)
            behind = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pump(reader, behind[1]), pump(behind[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as front:
        yield front.sockets[0].getsockname()[1], certificate
