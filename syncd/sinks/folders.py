"""File system steps of the local sink: all relative to directory descriptors, no symlink followed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from syncd.errors import AuthRejected, Refused, SyncdError, Transient

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
TEMPORARY: Final = ".syncd-tmp-"
CHUNK_BYTES: Final = 1 << 20

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM}
_IN_THE_WAY = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST}


def translated(error: OSError, what: str, root: Path) -> SyncdError:
    """An OSError below `root` as a decision."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return Transient(f"{what}: the disk is full", hint=f"free some space on the disk of {root}")
    if error.errno in _DENIED:
        return AuthRejected(
            f"{what}: {reason}", hint=f"let user id {os.geteuid()} write to {root} and everything below it"
        )
    if error.errno == errno.ENAMETOOLONG:
        return Refused(f"{what}: the name is longer than the file system takes")
    if error.errno in _IN_THE_WAY:
        return Refused(f"{what}: a symbolic link or another kind of file is in the way")
    return Transient(f"{what}: {reason}", hint=f"look at the disk of {root}")


@contextmanager
def opened(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor that is closed in the end."""
    descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_below(root_fd: int, segments: list[str], *, create: bool = False) -> int:
    """A descriptor of the folder `segments` below `root_fd`, each step without following a symlink.
    With `create`, missing folders are made, 0755 and durable. Raises OSError."""
    current = os.dup(root_fd)
    try:
        for segment in segments:
            try:
                below = os.open(segment, FOLDER_FLAGS, dir_fd=current)
            except FileNotFoundError:
                if not create:
                    raise
                below = _make_folder(segment, current)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def _make_folder(name: str, parent_fd: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent_fd)
    below = os.open(name, FOLDER_FLAGS, dir_fd=parent_fd)
    try:
        os.fchmod(below, 0o755)  # whatever the umask: a web server reads it
        os.fsync(parent_fd)
    except BaseException:
        os.close(below)
        raise
    return below


def remove_empty(root_fd: int, segments: list[str]) -> None:
    """Removes the folder `segments` and those above it as far as they are empty, never the root."""
    for depth in range(len(segments), 0, -1):
        try:
            parent = open_below(root_fd, segments[: depth - 1])
        except OSError:
            return
        try:
            os.rmdir(segments[depth - 1], dir_fd=parent)
            os.fsync(parent)
        except OSError:
            return
        finally:
            os.close(parent)


def sweep(root: Path) -> int:
    """Removes temporary files whose writer died (a living one holds a lock on it); returns how many."""
    swept = 0
    for _, _, names, folder in os.fwalk(root, follow_symlinks=False):
        for name in names:
            if not name.startswith(TEMPORARY):
                continue
            with suppress(OSError), opened(name, READ_FLAGS, dir_fd=folder) as descriptor:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=folder)
                    swept += 1
    return swept


class FolderSync:
    """Makes renames durable, many with one fsync: whoever asks while one runs shares the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: dict[tuple[int, int], _Turn] = {}

    def sync(self, folder_fd: int) -> None:
        """Returns once everything done in the folder before this call is on disk. Raises OSError."""
        about = os.fstat(folder_fd)
        with self._lock:
            turn = self._folders.setdefault((about.st_dev, about.st_ino), _Turn())
            turn.asked += 1
            mine = turn.asked
        with turn.running:
            if turn.done >= mine:
                return
            with self._lock:
                upto = turn.asked
            os.fsync(folder_fd)
            turn.done = upto


class _Turn:
    __slots__ = ("asked", "done", "running")

    def __init__(self) -> None:
        self.asked = 0
        self.done = 0
        self.running = threading.Lock()
