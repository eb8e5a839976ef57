"""One read of a photo's bytes, from one descriptor, that notices when the file is not what it was."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO

from syncd.errors import Changed, Refused, Transient
from syncd.model import FileStat

IN_MEMORY_BYTES = 256 * 1024**2
CHUNK_BYTES = 16 * 1024**2
_CHANGED = "the file changed while it was read"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
}
# Somebody moved or removed it between the listing and now: look again rather than blame the photo.
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
_TRANSIENT = {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR}


class PhotoFile:
    """An opened photo: its `stat`, `sha256` and `md5` (lower-case hex), and `data` or, where it is larger
    than IN_MEMORY_BYTES, only the descriptor."""

    def __init__(self, path: str, fd: int, progress: Callable[[], None]) -> None:
        self.path = path
        self._fd = fd
        self.stat = _facts(os.fstat(fd))
        self.data: bytes | None = None
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        chunks = []
        total = 0
        while chunk := os.read(fd, min(CHUNK_BYTES, max(1, self.stat.size_bytes - total + 1))):
            sha256.update(chunk)
            md5.update(chunk)
            total += len(chunk)
            if total > self.stat.size_bytes:
                break
            if self.stat.size_bytes <= IN_MEMORY_BYTES:
                chunks.append(chunk)
            if len(chunk) == CHUNK_BYTES:
                progress()
        if total != self.stat.size_bytes:
            raise Changed(_CHANGED)
        if self.stat.size_bytes <= IN_MEMORY_BYTES:
            self.data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.sha256, self.md5 = sha256.hexdigest(), md5.hexdigest()
        self.verify()

    def verify(self) -> None:
        """Raises Changed unless the file, and what its path names, is still what was read."""
        try:
            now, named = os.fstat(self._fd), os.lstat(self.path)
        except OSError as error:
            raise Changed(_CHANGED) from error
        if _facts(now) != self.stat or (named.st_ino, named.st_dev) != (now.st_ino, now.st_dev):
            raise Changed(_CHANGED)

    def open(self) -> BinaryIO:
        """The bytes as a binary file at its start; close it."""
        if self.data is not None:
            return io.BytesIO(self.data)
        os.lseek(self._fd, 0, os.SEEK_SET)
        return os.fdopen(os.dup(self._fd), "rb")

    def head(self) -> bytes:
        """The first bytes, enough to tell the format."""
        return self.data[:64] if self.data is not None else os.pread(self._fd, 64, 0)


@contextlib.contextmanager
def open_photo(
    path: str, root: str | None = None, progress: Callable[[], None] = lambda: None
) -> Iterator[PhotoFile]:
    """The photo at `path`, read and hashed. Never follows a link in the last component, never blocks on a
    pipe; with `root`, what was opened must lie inside it. `progress` is called now and then.

    Raises Changed, Refused, Transient.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _decision(error, path) from error
    except ValueError as error:
        raise Refused("unreadable: its name holds a NUL byte") from error
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise _not_a_photo(mode)
        if root is not None and not _is_inside(fd, root):
            raise Refused("outside the images folder")
        try:
            photo = PhotoFile(path, fd, progress)
        except OSError as error:
            raise _decision(error, path) from error
        yield photo
    finally:
        os.close(fd)


def _is_inside(fd: int, root: str) -> bool:
    opened = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - a string, for speed
    return opened.startswith((os.path.join(root, ""), os.path.join(os.path.realpath(root), "")))  # noqa: PTH118


def _facts(found: os.stat_result) -> FileStat:
    return FileStat(found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino)


def _not_a_photo(mode: int) -> Refused:
    return Refused(f"{_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a photo")


def _decision(error: OSError, path: str) -> Refused | Transient:
    if error.errno in _GONE:
        return Changed("the file is gone")
    if error.errno in _TRANSIENT:
        return Transient(f"cannot be read now: {error.strerror}")
    if error.errno == errno.ELOOP:
        return Refused("a symbolic link, not a photo")
    if error.errno == errno.ENXIO:
        with contextlib.suppress(OSError):
            return _not_a_photo(os.lstat(path).st_mode)
    return Refused(f"unreadable: {(error.strerror or str(error)).lower()}")
