"""The processes that decode photos.

Usage: python -m syncd.imaging.worker CONTROL_FD DAEMON_PID MEMORY_LIMIT_BYTES NICENESS [faces]

The first loads the imaging libraries, with `faces` the face models too, and forks a worker for each socket it
is handed. A worker answers one
request after another. Neither holds secrets, or any file of the daemon; both die with it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from syncd.errors import Changed, SyncdError, Transient

PACKET_BYTES = 64 * 1024
MAX_WRITTEN_BYTES = 2 * 1024**3
MAX_OPEN_FILES = 32
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def main(arguments: list[str]) -> None:
    """Load the libraries, then fork on request until the daemon is gone."""
    control_fd, daemon_pid, memory_limit_bytes, niceness = (int(argument) for argument in arguments[:4])
    die_with(daemon_pid)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    try:
        from PIL import JpegImagePlugin  # noqa: F401 - nearly every photo is one

        _tasks()  # once for all workers, which share it
        if "faces" in arguments:
            from syncd.imaging.face_finder import models

            models()
    except Exception as error:  # noqa: BLE001 - the daemon has to say why nothing works
        control.send(f"{type(error).__name__}: {error}".encode()[:PACKET_BYTES])
        return
    gc.freeze()  # what is loaded stays, and is shared as long as nobody touches it
    our_pid = os.getpid()
    while True:
        packet, fds, _, _ = socket.recv_fds(control, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            confine(our_pid, memory_limit_bytes, niceness)
            serve(socket.socket(fileno=fds[0]))
            os._exit(0)
        os.close(fds[0])
        # Ours until it is reaped, which the pidfd outlives: the daemon can never hit another process.
        pidfd = os.pidfd_open(pid)
        socket.send_fds(control, [str(pid).encode()], [pidfd])
        os.close(pidfd)


def die_with(parent_pid: int) -> None:
    """Be killed when the parent dies, also when it died before this call."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def confine(parent_pid: int, memory_limit_bytes: int, niceness: int) -> None:
    """What one worker may use at most; it is the first to go when memory runs out."""
    die_with(parent_pid)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for limit, value in (
        (resource.RLIMIT_AS, memory_limit_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, MAX_WRITTEN_BYTES),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        resource.setrlimit(limit, (value, value))
    with suppress(PermissionError):
        os.nice(niceness)  # the hardened systemd unit forbids it
    with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("500")


def serve(channel: socket.socket) -> None:
    """Answer requests until the daemon closes the socket."""
    while True:
        packet, fds, _, _ = socket.recv_fds(channel, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return
        status, value = answer(json.loads(packet), fds, lambda: _progress(channel))
        if isinstance(value, bytes):
            memfd = os.memfd_create("syncd-picture", os.MFD_CLOEXEC)
            with open(memfd, "wb", closefd=False) as file:
                file.write(value)
            socket.send_fds(channel, [json.dumps([status, None]).encode()], [memfd])
            os.close(memfd)
        else:
            channel.send(json.dumps([status, value]).encode())


def answer(request: list[Any], fds: list[int], progress: Callable[[], None]) -> tuple[str, Any]:
    """("ok", value), or the kind of error and its message."""
    try:
        return "ok", _task(request[0])(*_bytes_of(fds), *request[1:], progress=progress)
    except Changed as error:
        return "changed", error.message
    except Transient as error:
        return "transient", error.message
    except SyncdError as error:
        return "refused", error.message
    except MemoryError:
        return "refused", "needs more memory than a worker may use"


def _task(kind: str) -> Callable[..., Any]:
    if kind in ("faces", "faces_in"):
        from syncd.imaging import face_finder

        return face_finder.find_faces if kind == "faces" else face_finder.find_faces_in
    return _tasks()[kind]


@cache
def _tasks() -> dict[str, Callable[..., Any]]:
    from syncd.imaging.inspect import hash_of_bytes, inspect
    from syncd.imaging.render import preview, preview_of_bytes, render

    return {
        "inspect": inspect,
        "render": render,
        "preview": preview,
        "preview_of_bytes": preview_of_bytes,
        "hash": hash_of_bytes,
    }


def _bytes_of(fds: list[int]) -> list[bytes]:
    """The picture that came beside the request, where one did."""
    pictures = []
    for fd in fds:
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            pictures.append(file.read())
    return pictures


def _progress(channel: socket.socket) -> None:
    channel.send(b".")


if __name__ == "__main__":
    main(sys.argv[1:])
