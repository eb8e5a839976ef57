"""The socket in the file system, who may use it, the limits, and that it outlives a restart."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncd.control import dispatch, schema
from syncd.control import server as server_module
from syncd.control.client import ApiError, ControlClient, DaemonUnavailable
from syncd.control.listener import Listener
from syncd.control.peers import Peer, access_of, group_id, peer_of
from syncd.control.server import CONNECTION_LIMIT, ControlServer
from syncd.errors import ExitCode, Fatal
from tests.control.conftest import Handle, exchange, http, parse, serving
from tests.control.memory_api import MemoryApi

GROUP = 54321
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")

# Says one request as another user, as a process of its own: credentials are those of connect().
VISITOR = """
import os, socket, sys
path, uid, gid, groups, request = sys.argv[1:]
os.setgroups([int(g) for g in groups.split(",") if g]); os.setgid(int(gid)); os.setuid(int(uid))
s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(path)
s.sendall(request.encode() + b" HTTP/1.0\\r\\nContent-Length: 0\\r\\n\\r\\n")
out = b""
while chunk := s.recv(65536):
    out += chunk
sys.stdout.buffer.write(out)
"""


async def visit(path: Path, request: str, uid: int = 65534, gid: int = 65534, groups: str = "") -> Any:
    command = [sys.executable, "-I", "-c", VISITOR, str(path), str(uid), str(gid), groups, request]
    done = await anyio.run_process(command, check=False)
    return parse(done.stdout) if done.returncode == 0 else done.stderr.decode()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- the file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize(("gid", "folder_mode", "socket_mode"), [(None, 0o700, 0o600), (GROUP, 0o750, 0o660)])
def test_modes_whatever_the_umask(
    folder: Path, umask: int, gid: int | None, folder_mode: int, socket_mode: int
) -> None:
    if gid is not None and os.geteuid() != 0:
        gid = os.getgid()
    path = folder / "made" / "run" / "syncd.sock"
    before = os.umask(umask)
    try:
        listener = Listener(path, gid)
    finally:
        os.umask(before)
    try:
        assert (mode(path.parent), mode(path), mode(path.parent.parent)) == (folder_mode, socket_mode, 0o755)
        assert mode(path.with_name("syncd.sock.lock")) & 0o077 == 0
        if gid is not None:
            assert path.lstat().st_gid == path.parent.stat().st_gid == gid
    finally:
        listener.close()
    assert not path.exists()


def test_never_wider_at_any_moment(folder: Path, monkeypatch: pytest.MonkeyPatch, umask_000: None) -> None:
    path = folder / "syncd.sock"
    seen: list[int] = []
    chmod = Path.chmod

    def watched(self: Path, wanted: int) -> None:
        if self == path:
            seen.append(mode(path))
        chmod(self, wanted)

    monkeypatch.setattr(Path, "chmod", watched)
    Listener(path, os.getgid()).close()
    assert seen == [0o600]


def test_own_folder_is_tightened_and_a_shared_one_is_left(folder: Path) -> None:
    folder.chmod(0o755)
    Listener(folder / "syncd.sock").close()
    assert mode(folder) == 0o700
    (folder / "other").touch()
    folder.chmod(0o755)
    listener = Listener(folder / "syncd.sock")
    assert (mode(folder), mode(folder / "syncd.sock")) == (0o755, 0o600)
    listener.close()


def test_stale_socket_is_replaced(folder: Path) -> None:
    path = folder / "syncd.sock"
    killed = socket.socket(socket.AF_UNIX)
    killed.bind(str(path))
    killed.close()
    stale = path.lstat().st_ino
    listener = Listener(path)
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))
    listener.close()
    assert stale
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling", "fifo"])
def test_anything_else_is_left_alone(folder: Path, kind: str) -> None:
    path = folder / "syncd.sock"
    target = folder / "target"
    if kind == "link":
        with socket.socket(socket.AF_UNIX) as elsewhere:
            elsewhere.bind(str(target))
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            path.symlink_to(target)
    before = path.lstat()
    with pytest.raises(Fatal, match="not a socket") as refused:
        Listener(path)
    assert refused.value.exit_code == ExitCode.CONFIG
    assert path.lstat() == before


def test_second_server_is_refused_and_the_first_goes_on(folder: Path) -> None:
    path = folder / "syncd.sock"
    first = Listener(path)
    with pytest.raises(Fatal, match="another syncd") as refused:
        Listener(path)
    assert refused.value.exit_code == ExitCode.UNAVAILABLE
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))
    first.close()
    Listener(path).close()


def test_the_lock_dies_with_its_holder_and_not_with_its_children(folder: Path) -> None:
    path = folder / "syncd.sock"
    listener = Listener(path)
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:  # inherits nothing of the listener
        listener.close()
        try:
            with (folder / "syncd.sock.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            child.kill()


def test_another_socket_in_its_place_is_not_removed(folder: Path) -> None:
    path = folder / "syncd.sock"
    listener = Listener(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listener.close()
        assert path.is_socket()


def test_longest_path(folder: Path) -> None:
    room = 107 - len(os.fsencode(folder)) - 1
    Listener(folder / ("ü" * (room // 2) + "x" * (room % 2))).close()
    with pytest.raises(Fatal, match="107 bytes"):
        Listener(folder / ("x" * (room + 1)))


def test_unusable_folder_is_fatal(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(Fatal, match="cannot make the socket"):
        Listener(folder / "file" / "syncd.sock")


# --- who may ----------------------------------------------------------------------------------------


def test_peer_of_a_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert {os.getegid(), *os.getgroups()} == peer.groups


def test_access() -> None:
    def access(uid: int, *groups: int, group: int | None = 7) -> str:
        return access_of(Peer(1, uid, 9, frozenset(groups)), 1000, group)

    assert access(0) == access(1000) == "full"
    assert access(1001, 9, 7) == "read"
    assert access(1001, 9) == access(1001, 9, group=None) == "none"


def test_unknown_group_is_fatal() -> None:
    assert group_id("") is None
    assert group_id("54321") == 54321
    with pytest.raises(Fatal, match="no-such-group") as refused:
        group_id("no-such-group")
    assert refused.value.exit_code == ExitCode.CONFIG


@root_only
async def test_a_stranger_is_kept_out(server: ControlServer, folder: Path) -> None:
    path = server.socket_path
    assert "PermissionError" in await visit(path, "GET /api/status")
    for widened in (folder, path.parent):  # even where somebody opened the door
        widened.chmod(0o777)
    path.chmod(0o666)
    for request in ("GET /api/status", "GET /healthz", "POST /api/pause", "GET /nothing"):
        answer = await visit(path, request)
        assert (answer.status, answer.json()["title"]) == (403, "Forbidden")
        assert answer.headers["content-type"] == "application/problem+json"


@root_only
@pytest.mark.parametrize(("gid", "groups"), [(GROUP, ""), (65534, f"7,{GROUP}")])
async def test_group_members_may_read(
    api: MemoryApi, socket_path: Path, folder: Path, gid: int, groups: str
) -> None:
    folder.chmod(0o711)
    async with serving(ControlServer(api, socket_path, str(GROUP))):
        status = await visit(socket_path, "GET /api/status", gid=gid, groups=groups)
        assert (status.status, status.json()["access"]) == (200, "read")
        for request in ("POST /api/pause", "POST /api/admin/sync", "PATCH /api/batches/roll"):
            assert (await visit(socket_path, request, gid=gid, groups=groups)).status == 403
        assert "PermissionError" in await visit(socket_path, "GET /api/status")
        assert (await visit(socket_path, "POST /api/pause", uid=0)).status == 200
    assert api.paused == {"batches", "site"}


# --- limits -----------------------------------------------------------------------------------------


async def test_body_limit(ask: Any) -> None:
    json_type = {"Content-Type": "application/json"}
    within = b'{"batch_filter": []' + b" " * ((1 << 20) - 20) + b"}"
    assert (await ask("POST", "/api/admin/sync", within, json_type)).status == 202
    assert (await ask("POST", "/api/admin/sync", within + b"  ", json_type)).status == 413
    chunked = {"Transfer-Encoding": "chunked", **json_type}
    body = b"110000\r\n" + b" " * 0x110000 + b"\r\n0\r\n\r\n"
    head = "".join(f"{name}: {value}\r\n" for name, value in chunked.items())
    request = f"POST /api/pause HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n".encode() + body
    assert parse(await exchange(ask.args[0], request)).status == 413


async def test_announced_giant_is_refused_at_once(ask: Any) -> None:
    path = ask.args[0]
    head = b"POST /api/similar HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n"
    answer = parse(await exchange(path, head + b"Content-Type: image/jpeg\r\nExpect: 100-continue\r\n\r\n"))
    assert answer.status == 413


async def test_expect_continue(ask: Any) -> None:
    async with await anyio.connect_unix(ask.args[0]) as stream:
        await stream.send(
            b"POST /api/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await stream.receive()).startswith(b"HTTP/1.1 100 ")
        await stream.send(b"{}")
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /api/status HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /api/status?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /api/status HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"a" * 900 + b"\r\n") * 20 + b"\r\n", 431),
        (b"GET /api/status HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 500 + b"\r\n", 431),
        (b"\x16\x03\x01nonsense\r\n\r\n", 400),
        (b"GET /api/status HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"POST /api/pause HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /api/pause HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", 415),
    ],
)
async def test_hostile_head(ask: Any, monkeypatch: pytest.MonkeyPatch, head: bytes, status: int) -> None:
    monkeypatch.setattr(server_module, "HEAD_TIME_S", 0.3)
    async with await anyio.connect_unix(ask.args[0]) as stream:
        await stream.send(head)
        answer = parse(await stream.receive())
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


@pytest.mark.parametrize("start", [b"", b"GET /api/status HTTP/1.1\r\nHost"])
async def test_slow_head_is_cut_off(ask: Any, monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(server_module, "HEAD_TIME_S", 0.3)
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with await anyio.connect_unix(ask.args[0]) as stream:
        if start:  # the second request of a connection as well
            await stream.send(whole)
            assert b" 200 " in await stream.receive()
            await stream.send(start)
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            while True:  # a byte now and then does not help
                if start:
                    await stream.send(b"t")
                with anyio.move_on_after(0.05):
                    await stream.receive()


async def test_slow_body_and_slow_handler(
    client: ControlClient, ask: Any, api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "BODY_TIME_S", 0.1)
    monkeypatch.setattr(dispatch, "HANDLER_TIME_S", 0.1)
    monkeypatch.setattr(api, "guards", anyio.sleep_forever)
    assert (await ask("GET", "/api/guards")).status == 503
    head = b"POST /api/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
    assert parse(await exchange(ask.args[0], head)).status == 408
    assert await client.ready()


async def test_connection_limit(client: ControlClient, ask: Any) -> None:
    idle = [await anyio.connect_unix(ask.args[0]) for _ in range(CONNECTION_LIMIT)]
    try:
        for _ in range(3):
            with pytest.raises(ApiError, match="64 clients") as refused:
                await client.status()
            assert refused.value.status == 503
        await idle.pop().aclose()
        with anyio.fail_after(5):
            while True:
                try:
                    assert (await client.status()).version == "1"
                    break
                except ApiError:
                    await anyio.sleep(0.01)
    finally:
        for stream in idle:
            await stream.aclose()


@pytest.mark.parametrize(
    ("request_line", "host", "reason"),
    [
        (b"BREW /api/status", b"Host: x\r\n", "Invalid method"),
        (b"GET /api/status", b"", "Missing 'Host' header"),
        ("GET /api/scenes/été".encode(), b"Host: x\r\n", "Invalid char in url path"),
    ],
)
async def test_what_is_not_http_is_told_why(ask: Any, request_line: bytes, host: bytes, reason: str) -> None:
    answer = parse(await exchange(ask.args[0], request_line + b" HTTP/1.1\r\n" + host + b"\r\n"))
    assert (answer.status, reason in answer.json()["detail"]) == (400, True)


async def test_pipelined_and_kept_alive(ask: Any) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert (await exchange(ask.args[0], one * 20 + last)).count(b'{"status":"ok"}') == 21


# --- life -------------------------------------------------------------------------------------------


async def test_socket_outlives_a_restart(api: MemoryApi, socket_path: Path) -> None:
    class Fails(Handle):
        def ready(self) -> None:
            raise RuntimeError("a bug")

    server = ControlServer(api, socket_path)
    with pytest.raises(RuntimeError):
        await server.run(Fails())
    identity = socket_path.lstat().st_ino
    async with anyio.create_task_group() as tasks:
        answers: list[schema.Status] = []

        async def wait_for_it() -> None:
            answers.append(await ControlClient(socket_path).status())

        tasks.start_soon(wait_for_it)
        await anyio.sleep(0.05)
        assert not answers  # it waits, it is not refused
        async with serving(server):
            assert socket_path.lstat().st_ino == identity
            with anyio.fail_after(5):
                while not answers:
                    await anyio.sleep(0.01)
    assert not socket_path.exists()
    async with serving(server):  # and again after a stop
        assert await ControlClient(socket_path).ready()


async def test_stop_does_not_wait_for_clients(api: MemoryApi, socket_path: Path) -> None:
    ended: list[str] = []

    async def follow() -> None:
        with pytest.raises(DaemonUnavailable, match="ended the stream"):
            async for _ in ControlClient(socket_path).follow_activity(0):
                pass
        ended.append("stream")

    async def pull() -> None:
        with pytest.raises(ApiError, match="stopping"):
            await ControlClient(socket_path).pull(schema.PullRequest(batch="endless", to="/x"))
        ended.append("pull")

    async with anyio.create_task_group() as tasks:
        async with serving(ControlServer(api, socket_path)):
            idle = await anyio.connect_unix(socket_path)
            tasks.start_soon(follow)
            tasks.start_soon(pull)
            while not api.followers:
                await anyio.sleep(0.01)
            await anyio.sleep(0.05)
            begun = anyio.current_time()
        assert anyio.current_time() - begun < 5
        assert not socket_path.exists()
        await idle.aclose()
    assert sorted(ended) == ["pull", "stream"]
    assert not api.followers


async def test_serves_on_uvloop(socket_path: Path) -> None:
    """The daemon may run on it: credentials and the socket's life must not depend on the loop."""
    script = """
import sys, uvloop, anyio, asyncio
from pathlib import Path
from tests.control.conftest import serving
from tests.control.memory_api import MemoryApi
from syncd.control.client import ControlClient
from syncd.control.server import CONNECTION_LIMIT, ControlServer
async def main():
    async with serving(ControlServer(MemoryApi(), Path(sys.argv[1]))):
        print((await ControlClient(sys.argv[1]).status()).access)
        held = [await anyio.connect_unix(sys.argv[1]) for _ in range(CONNECTION_LIMIT)]
        async with await anyio.connect_unix(sys.argv[1]) as one_too_many:
            print((await one_too_many.receive()).split()[1].decode())
        for stream in held:
            await stream.aclose()
anyio.run(main, backend_options={"use_uvloop": True})
print(Path(sys.argv[1]).exists())
"""
    command = [sys.executable, "-c", script, str(socket_path)]
    done = await anyio.run_process(command, check=False)
    assert done.stdout.split() == [b"full", b"503", b"False"], done.stderr.decode()


# --- the stream -------------------------------------------------------------------------------------


async def test_stream_has_no_gap(client: ControlClient, api: MemoryApi) -> None:
    seen: list[int] = []
    for _ in range(3):  # reconnecting with the last id seen
        stream = client.follow_activity(seen[-1] if seen else 0)
        async for found in stream:
            seen.append(found.id)
            if found.id == len(api.items):
                api.record(50)
            if len(seen) % 40 == 0:
                break
        await stream.aclose()  # type: ignore[attr-defined]
    assert seen == list(range(1, 121))
    with anyio.fail_after(5):
        while api.followers:  # the daemon notices that nobody listens any more
            await anyio.sleep(0.01)


async def test_stream_format(ask: Any, api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "KEEP_ALIVE_S", 0.05)
    received = b""
    async with await anyio.connect_unix(ask.args[0]) as stream:
        await stream.send(b"GET /api/activity/stream?since=1 HTTP/1.0\r\nLast-Event-ID: 4\r\n\r\n")
        with anyio.fail_after(5):
            while received.count(b": keep-alive\n\n") < 2:
                received += await stream.receive()
    answer = parse(received)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    events = [part for part in answer.body.decode().split("\n\n") if part.startswith("id:")]
    assert len(events) == 1
    identity, kind, data = events[0].split("\n")
    assert (identity, kind) == ("id: 5", "event: uploaded")
    assert json.loads(data.removeprefix("data: "))["message"] == "two\nlines"


@pytest.mark.parametrize("value", ["x", "-1"])
async def test_stream_refuses_a_wrong_last_event_id(ask: Any, value: str) -> None:
    answer = await ask("GET", "/api/activity/stream", b"", {"Last-Event-ID": value})
    assert answer.status == 422


async def test_slow_reader_is_cut_off(ask: Any, api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SLOW_CLIENT_S", 0.2)
    api.record(20_000)
    async with await anyio.connect_unix(ask.args[0]) as stream:
        await stream.send(b"GET /api/activity/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        with anyio.fail_after(5):
            while not api.followers:
                await anyio.sleep(0.01)
            while api.followers:
                await anyio.sleep(0.01)
            received = b""
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                while True:  # hung up, and what it was too slow for is not kept for it
                    received = (received + await stream.receive())[-5:]
        assert received != b"0\r\n\r\n"
    assert (await http(ask.args[0], "GET", "/healthz")).status == 200
