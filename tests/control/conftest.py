"""A server on a real socket, and plain HTTP to say to it what the client never would."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from syncd.control.client import ControlClient
from syncd.control.server import ControlServer
from tests.control.memory_api import MemoryApi


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Handle:
    """What the supervisor gives to a service."""

    name = "control"

    def __init__(self) -> None:
        self.started = anyio.Event()

    def ready(self) -> None:
        self.started.set()

    def set_state(self, state: str, reason: str | None = None) -> None:
        raise AssertionError(f"the control service is never {state}")


@asynccontextmanager
async def serving(server: ControlServer) -> AsyncIterator[None]:
    handle = Handle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, handle)
        await handle.started.wait()
        yield
        tasks.cancel_scope.cancel()


async def exchange(path: Path, data: bytes) -> bytes:
    """Everything that the server answers to `data` until it hangs up."""
    received = b""
    async with await anyio.connect_unix(path) as stream:
        await stream.send(data)
        try:
            while True:
                received += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return received


def parse(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Answer(int(status_line.split()[1]), headers, body)


def _joined(body: bytes) -> bytes:
    """The chunks of a body without their sizes."""
    whole = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        if int(size, 16) == 0:
            return whole
        whole, body = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


async def http(
    path: Path, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    fields = {"Host": "syncd", "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return parse(await exchange(path, f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket, whatever the umask or the test's name."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as name:
        yield Path(name)


@pytest.fixture
def socket_path(folder: Path) -> Path:
    return folder / "run" / "syncd.sock"


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


@pytest.fixture
def umask_000() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
async def server(api: MemoryApi, socket_path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(api, socket_path)
    async with serving(server):
        yield server


@pytest.fixture
def client(server: ControlServer) -> ControlClient:
    return ControlClient(server.socket_path, timeout_s=5)


@pytest.fixture
def ask(server: ControlServer) -> functools.partial[Any]:
    """`await ask(method, target, body, headers)` -> Answer."""
    return functools.partial(http, server.socket_path)
