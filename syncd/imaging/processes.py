"""Starting, talking to and ending the worker processes, from the daemon's side.

The first process (`python -m syncd.imaging.worker`) loads the imaging libraries once and forks each worker:
a replacement is there in milliseconds. Messages are JSON packets on a SOCK_SEQPACKET pair; anything large
travels as a memfd beside its packet, so a packet never has to be read in parts.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import syncd
from syncd.errors import Transient

PACKET_BYTES = 64 * 1024
START_LIMIT_S = 60.0
# What a worker sends while it reads a large file: it lives, and its time starts again.
PROGRESS = b"."


class WorkerHandle:
    """One worker process: its socket, and a pidfd, which can never name another process."""

    def __init__(self, pid: int, pidfd: int, channel: socket.socket, has_faces: bool = False) -> None:
        self.pid = pid
        self.has_faces = has_faces
        self._pidfd = pidfd
        self._channel = channel

    def send(self, packet: bytes, data: bytes | None) -> None:
        """Hand over a request; a dead worker is noticed when its answer is asked for."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if data is None:
                self._channel.send(packet)
                return
            memfd = memfd_of(data)
            try:
                socket.send_fds(self._channel, [packet], [memfd])
            finally:
                os.close(memfd)

    async def reply(self, time_limit_s: float) -> tuple[str, Any, bytes | None] | str:
        """The next answer (status, value, data), or why there is none."""
        while True:
            packet, fds = self._receive()
            if packet is None:
                with anyio.move_on_after(time_limit_s):
                    await anyio.wait_readable(self._channel)
                # The daemon may have been the slow one: look once more before blaming the worker.
                packet, fds = self._receive()
            if packet is None:
                return f"it took longer than {time_limit_s:g} s"
            if packet == b"":
                return "the process died"
            if packet != PROGRESS:
                status, value = json.loads(packet)
                return status, value, await read_memfd(fds[0]) if fds else None

    def _receive(self) -> tuple[bytes | None, list[int]]:
        try:
            packet, fds, _, _ = socket.recv_fds(self._channel, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None, []
        except ConnectionResetError:
            return b"", []
        return packet, fds

    @property
    def is_alive(self) -> bool:
        """False once the process has ended, whether or not anybody waits for its answer."""
        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        return not ended.poll(0)

    def kill(self) -> None:
        """End the process at once; harmless when it has gone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)
        self._channel.close()


class Nursery:
    """The process that forks workers; started when first needed and again when it has died.

    `faces`: its workers find faces as well; it then takes 0.9 s to load and 60 MB more, which they share.
    """

    def __init__(
        self, staging_dir: Path, memory_limit_bytes: int, niceness: int = 0, faces: bool = False
    ) -> None:
        self._niceness = niceness
        self._faces = faces
        self._staging_dir = staging_dir
        self._memory_limit_bytes = memory_limit_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = anyio.Lock()

    def start(self) -> None:
        """Start the process unless it runs; does not wait until it is ready."""
        if self._process is not None:
            return
        self._staging_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as on_failure, theirs:
            on_failure.enter_context(ours)
            ours.setblocking(False)
            numbers = (theirs.fileno(), os.getpid(), self._memory_limit_bytes, self._niceness)
            arguments = [str(number) for number in numbers]
            arguments += ["faces"] if self._faces else []
            # From the calling thread: PR_SET_PDEATHSIG is about the thread that forked.
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-m", "syncd.imaging.worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=self._staging_dir,
                env=worker_environment(),
                start_new_session=True,
            )
            on_failure.pop_all()
        self._control = ours

    async def fork(self) -> WorkerHandle:
        """A new worker. Raises Transient with the reason when none can be started."""
        async with self._lock:
            try:
                try:
                    return await self._fork()
                except BrokenPipeError:  # it has died since its last answer
                    await self.close()
                    return await self._fork()
            except (OSError, Transient) as error:
                await self.close()
                raise Transient(f"image workers cannot be started: {error}") from error

    async def _fork(self) -> WorkerHandle:
        self.start()
        assert self._control is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(ours)
            with theirs:
                socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
            with anyio.move_on_after(START_LIMIT_S):
                await anyio.wait_readable(self._control)
            packet, fds, _, _ = socket.recv_fds(self._control, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            if not fds:
                raise Transient(packet.decode(errors="replace") or "the process ended at its start")
            ours.setblocking(False)
            on_failure.pop_all()
            return WorkerHandle(int(packet), fds[0], ours, self._faces)

    async def close(self) -> None:
        """End the process; its workers end with it."""
        process, self._process = self._process, None
        control, self._control = self._control, None
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(process.wait)


def worker_environment() -> dict[str, str]:
    """All that a worker gets to know: no secrets, and one thread for numerical libraries (they fork)."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(Path(syncd.__file__).parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def memfd_of(data: bytes) -> int:
    """A memfd that holds `data`."""
    memfd = os.memfd_create("syncd-photo", os.MFD_CLOEXEC)
    with open(memfd, "wb", closefd=False) as file:
        file.write(data)
    return memfd


async def read_memfd(memfd: int) -> bytes:
    """Its bytes; closes it."""

    def read() -> bytes:
        with open(memfd, "rb") as file:
            file.seek(0)
            return file.read()

    return await anyio.to_thread.run_sync(read) if os.fstat(memfd).st_size > 1 << 20 else read()
