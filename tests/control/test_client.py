"""What the client says when there is no daemon, or a strange one; and where it looks for it."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import pytest

from syncd.config import Config, DaemonConfig
from syncd.control import schema
from syncd.control import socket_path as places
from syncd.control.client import ApiError, ControlClient, DaemonUnavailable
from syncd.control.socket_path import default_socket_path, find_socket


@asynccontextmanager
async def strange_daemon(
    path: Path, answer: Callable[[anyio.abc.SocketStream], Awaitable[None]]
) -> AsyncIterator[ControlClient]:
    async def talk(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await answer(stream)

    async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, talk)
        yield ControlClient(path, timeout_s=0.3)
        tasks.cancel_scope.cancel()


async def test_no_socket(folder: Path) -> None:
    with pytest.raises(DaemonUnavailable, match=r"none\.sock: there is no such socket") as refused:
        async with ControlClient(folder / "none.sock") as client:
            await client.status()
    assert "syncd run" in str(refused.value.hint)
    assert "systemctl start syncd" in str(refused.value.hint)


async def test_stale_socket_and_no_socket_at_all(folder: Path) -> None:
    stale = folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(stale))
    for path, reason in ((stale, "nothing listens"), (folder, "answers"), (folder / ("x" * 200), "too long")):
        with pytest.raises(DaemonUnavailable, match=reason):
            await ControlClient(path).status()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "middle of its answer"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        (b"x" * 100_000, "not HTTP"),
    ],
)
async def test_strange_answers(folder: Path, sent: bytes, reason: str) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        if sent:
            await stream.send(sent)

    async with strange_daemon(folder / "s", answer) as client:
        with pytest.raises(DaemonUnavailable, match=reason):
            await client.status()


async def test_silence(folder: Path) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        await anyio.sleep_forever()

    async with strange_daemon(folder / "s", answer) as client:
        with pytest.raises(DaemonUnavailable, match="no answer in time"):
            await client.status()


async def test_reply_that_is_not_of_the_schema(folder: Path) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        await stream.send(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"version":1}')

    async with strange_daemon(folder / "s", answer) as client:
        with pytest.raises(ApiError, match="not understood") as refused:
            await client.status()
    assert "version" in str(refused.value.hint)


async def test_error_that_is_no_problem(folder: Path) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        await stream.send(b"HTTP/1.1 502 Bad\r\n\r\n<html>")

    async with strange_daemon(folder / "s", answer) as client:
        with pytest.raises(ApiError, match="HTTP 502"):
            await client.status()


def config(folder: Path, **daemon: object) -> Config:
    settings = dataclasses.replace(DaemonConfig(state_dir=folder / "state"), **daemon)  # type: ignore[arg-type]
    return Config(path=folder / "syncd.toml", daemon=settings)


def test_default_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_socket_path(config(folder)) == Path("/run/user/7/syncd/syncd.sock")
    assert default_socket_path(config(folder, socket="a.sock")) == folder / "a.sock"
    assert default_socket_path(config(folder, socket="/x/a.sock")) == Path("/x/a.sock")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_socket_path(config(folder, socket="~/a.sock")) == Path("/home/me/a.sock")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_socket_path(config(folder)) == folder / "state" / "syncd.sock"


def test_client_finds_a_daemon_of_another_session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    service = folder / "service.sock"
    monkeypatch.setattr(places, "SERVICE_SOCKET", service)
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        assert find_socket(config(folder)) == folder / "syncd" / "syncd.sock"
        one.bind(str(service))
        assert find_socket(config(folder)) == service
        (folder / "state").mkdir()
        two.bind(str(folder / "state" / "syncd.sock"))
        assert find_socket(config(folder)) == folder / "state" / "syncd.sock"
        assert find_socket(config(folder, socket="named.sock")) == folder / "named.sock"


def test_client_is_light() -> None:
    """syncctl should feel instant: no HTTP library, and nothing of the daemon."""
    script = "import sys, syncd.control.client, syncd.control.socket_path; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    heavy = {"aiohttp", "http.client", "structlog", "textual", "PIL", "aioboto3", "syncd.supervisor"}
    assert not heavy & set(done.stdout.split())


def test_requests_refuse_nonsense_where_they_are_made() -> None:
    with pytest.raises(ValueError, match="exclude"):
        schema.SyncRequest(db_only=True, images_only=True)
    with pytest.raises(ValueError, match="absolute"):
        schema.PullRequest(batch="b", to="here")
    assert os.path.isabs(schema.PullRequest(batch="b", to="/here").to)
