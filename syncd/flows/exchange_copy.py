"""Files copied and hashed in one pass, into folders that nothing leads out of. All of it blocks: in threads.

Where the disk can share blocks (FICLONE), an export takes no space and no time. A hard link is never made:
it would be the same file under a second name, and whoever edits the copy would edit the archive.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from syncd.errors import Refused, Transient
from syncd.text import printable

_CHUNK_BYTES = 1 << 20
_FICLONE = 0x40049409  # include/uapi/linux/fs.h: _IOW(0x94, 9, int)
SHARED_FILE, _SHARED_FOLDER = 0o644, 0o755
_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WHAT = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class Gone(Refused):
    """There is no such file."""


class Content(NamedTuple):
    """What a file's bytes are."""

    sha256: str
    size_bytes: int


@dataclass(slots=True)
class Folder:
    """A folder that is held open: names below it are looked up one by one, and no link is followed."""

    path: Path
    descriptor: int

    @contextmanager
    def below(self, *names: str, make: bool = False, shared: bool = False) -> Iterator[Folder]:
        """The folder below it; one that is made is `shared` with others, or this user's alone. Raises Gone,
        or Refused where a link or a file is in the way."""
        descriptor = os.dup(self.descriptor)
        path = self.path
        try:
            for name in names:
                path = path / name
                if make:
                    _make(path, name, descriptor, shared=shared)
                inner = _opened(name, _FOLDER, descriptor)
                os.close(descriptor)
                descriptor = inner
            yield Folder(path, descriptor)
        finally:
            os.close(descriptor)

    def open_file(self, name: str) -> int:
        """A descriptor of a plain file in it, to be read. Raises Gone or Refused."""
        return _plain(_opened(name, _READ, self.descriptor), name)

    def flush(self) -> None:
        """Makes the names in it durable."""
        os.fsync(self.descriptor)


@contextmanager
def open_folder(path: Path, *, make: bool = False) -> Iterator[Folder]:
    """The folder that a person named, made where it is missing. Raises Refused when it is none."""
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        words = "be made" if make else "be opened"
        raise refusal(error, f"the folder {printable(str(path))} cannot {words}") from error
    try:
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


def open_source(path: Path) -> int:
    """A descriptor of one of the archive's own files. Raises Gone or Refused."""
    return _plain(_opened(str(path), _READ, None), str(path))


def read_hash(descriptor: int) -> Content:
    """What the open file holds from its start to its end."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    digest, total = hashlib.sha256(), 0
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    while count := os.readv(descriptor, [buffer]):
        digest.update(view[:count])
        total += count
    return Content(digest.hexdigest(), total)


def copy(source: int, target: Path, *, clone: bool = True, shared: bool = False) -> Content:
    """Copies the open file into `target`, a new file, whose bytes are on disk when this returns; what those
    bytes are. A `shared` file may be read by others, whatever the daemon's umask. Raises Transient when the
    disk is full; the half-made file is gone then."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = -1
    try:
        descriptor = os.open(target, flags, 0o600)
        if shared:
            os.fchmod(descriptor, SHARED_FILE)
        if clone and _cloned(source, descriptor):
            content = read_hash(descriptor)
        else:
            content = _copied(source, descriptor)
        os.fdatasync(descriptor)
    except OSError as error:
        with suppress(OSError):
            target.unlink()
        raise refusal(error, f"{printable(str(target.parent))} cannot be written to") from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return content


def place(staged: Path, folder: Folder, name: str) -> bool:
    """Gives a staged file its name in `folder`; False when the name is taken, whoever has it."""
    try:
        os.link(staged, name, dst_dir_fd=folder.descriptor)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _FULL:
            raise refusal(error, f"{printable(str(folder.path))} cannot be written to") from error
        try:  # a file system without hard links: the name is claimed first, then what claimed it replaced
            os.close(
                os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666,
                        dir_fd=folder.descriptor)
            )  # fmt: skip
            os.rename(staged, name, dst_dir_fd=folder.descriptor)
        except FileExistsError:
            return False
        except OSError as failure:
            raise refusal(failure, f"{printable(str(folder.path))} cannot be written to") from failure
        return True
    staged.unlink()
    return True


def replace(staged: Path, folder: Folder, name: str) -> None:
    """Gives a staged file its name in `folder`, instead of what has it."""
    try:
        os.replace(staged, name, dst_dir_fd=folder.descriptor)
    except OSError as error:
        raise refusal(error, f"{printable(str(folder.path / name))} cannot be written") from error


def is_as_was(descriptor: int, before: os.stat_result) -> bool:
    """Whether the file did not change while it was read."""
    now = os.fstat(descriptor)
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


@contextmanager
def locked(folder: Folder, name: str) -> Iterator[None]:
    """Holds the lock file `name` in `folder`. Raises Refused when somebody else does."""
    try:
        descriptor = os.open(
            name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder.descriptor
        )
    except OSError as error:
        raise refusal(error, f"{printable(str(folder.path))} cannot be written to") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(folder) from None
        try:
            yield
        finally:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder.descriptor)
    finally:
        os.close(descriptor)


def refuse_locked(folder: Folder, name: str) -> None:
    """Raises Refused while somebody holds the lock file `name`; writes nothing."""
    try:
        descriptor = os.open(name, _READ, dir_fd=folder.descriptor)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(folder) from None
    finally:
        os.close(descriptor)


def _in_use(folder: Folder) -> Refused:
    return Refused(f"an export into {printable(str(folder.path))} is running", hint="wait until it has ended")


def _make(path: Path, name: str, folder: int, *, shared: bool) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
        if shared:
            os.chmod(name, _SHARED_FOLDER, dir_fd=folder)
    except FileExistsError:
        pass
    except OSError as error:
        raise refusal(error, f"the folder {printable(str(path))} cannot be made") from error


def _opened(name: str, flags: int, folder: int | None) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        with suppress(OSError, ValueError):
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            raise Refused(f"{_WHAT.get(stat.S_IFMT(mode), 'no folder')} is in its place") from error
        raise Gone("the file is not there") from error
    except ValueError as error:
        raise Refused("its name holds a NUL character") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused("a symbolic link is in its place") from error
        if error.errno == errno.ENXIO:
            raise Refused("a socket or a device is in its place") from error
        raise Refused(f"it cannot be read: {(error.strerror or str(error)).lower()}") from error


def _plain(descriptor: int, name: str) -> int:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise Refused(f"{_WHAT.get(stat.S_IFMT(mode), 'something else')} is in its place")


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copied(source: int, target: int) -> Content:
    os.lseek(source, 0, os.SEEK_SET)
    digest, total = hashlib.sha256(), 0
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    while count := os.readv(source, [buffer]):
        part = view[:count]
        digest.update(part)
        while part:
            part = part[os.write(target, part) :]
        total += count
    return Content(digest.hexdigest(), total)


def refusal(error: OSError, what: str) -> Refused | Transient:
    """What an error of the file system means; `what` could not be done."""
    if error.errno in _FULL:
        return Transient(f"{what}: the disk is full", hint="free some space, and do it again: it goes on")
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return Refused(
        f"{what}: {(error.strerror or str(error)).lower()}",
        hint="it is the daemon that works there: look at its user, and at ReadWritePaths of its unit"
        if denied
        else None,
    )
