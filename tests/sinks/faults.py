"""A proxy in front of a real S3 server that records requests and can be told to misbehave."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.tls import TLSListener, TLSStream

Fault = str | bytes
"""b"…" is a whole answer given instead of the server's; "reset" closes at once, "stall" never answers,
"lose" lets the server answer and throws the answer away, "cut" passes on half of it."""


@dataclass
class Proxy:
    upstream_port: int
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """(request line, headers in lower case, body) of every request in order."""

    async def handle(self, client: SocketStream | TLSStream) -> None:
        try:
            async with client:
                while await self._one(client):
                    pass
        except (
            anyio.EndOfStream,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
            ssl.SSLError,
            OSError,
        ):
            return

    async def _one(self, client: SocketStream | TLSStream) -> bool:
        received = b""
        while b"\r\n\r\n" not in received:
            received += await client.receive()
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += await client.receive()
        self.requests.append((first, headers, body))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, bytes):
            await client.send(fault)
            return True
        if fault == "reset":
            return False
        if fault == "stall":
            await anyio.sleep_forever()
        async with await anyio.connect_tcp("127.0.0.1", self.upstream_port) as upstream:
            await upstream.send(head + b"\r\nConnection: close\r\n\r\n" + body)
            answer = b""
            async for chunk in upstream:
                answer += chunk
        if fault != "lose":
            await client.send(answer[: len(answer) // 2 + len(answer) // 4] if fault == "cut" else answer)
        return False


def answer(status: int, code: str, extra: str = "") -> bytes:
    """An S3 error answer."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>said so</Message></Error>"
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{extra}\r\n{body}".encode()


@asynccontextmanager
async def proxy(upstream_port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """A running Proxy on loopback, https with `tls`."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    made = Proxy(upstream_port, listener.extra(SocketAttribute.local_port))
    serving = TLSListener(listener, tls, standard_compatible=False) if tls else listener
    async with anyio.create_task_group() as group:
        group.start_soon(serving.serve, made.handle)
        yield made
        group.cancel_scope.cancel()
    await listener.aclose()


@asynccontextmanager
async def tunnel() -> AsyncIterator[int]:
    """The port of a running HTTP proxy on loopback that knows CONNECT."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def pump(source: SocketStream, target: SocketStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for chunk in source:
                await target.send(chunk)
            await target.send_eof()

    async def handle(client: SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await client.receive()
        host, _, port = head.split()[1].decode().rpartition(":")
        async with client, await anyio.connect_tcp(host, int(port)) as server:
            await client.send(b"HTTP/1.1 200 OK\r\n\r\n")
            async with anyio.create_task_group() as both:
                both.start_soon(pump, client, server)
                both.start_soon(pump, server, client)

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield listener.extra(SocketAttribute.local_port)
        group.cancel_scope.cancel()
    await listener.aclose()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, as PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(*pem))
    return certificate_file, key_file
