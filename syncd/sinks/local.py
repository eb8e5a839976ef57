"""The site as files below a folder, for a web server to serve."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

from anyio import to_thread

from syncd.errors import Changed, Refused, Transient
from syncd.sinks import folders
from syncd.sinks.folders import CHUNK_BYTES, READ_FLAGS, TEMPORARY, opened
from syncd.sinks.keys import check_key, public_address
from syncd.sinks.sink import StoredObject, Upload

T = TypeVar("T")
Segments = list[str]
Objects = list[StoredObject]

_RACES_LOST = 100
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, on btrfs, XFS and bcachefs


class LocalSink:
    """Objects as files below `base_path`, named by their key. `head` knows size and etag only: a file
    has no place for the rest, so `digest` is how to learn an object's SHA-256."""

    def __init__(self, base_path: Path, public_url: str, storage_id: str) -> None:
        self.storage_id = storage_id
        self._root = Path(os.path.normpath(base_path.absolute()))
        self._public_url = public_url
        self._device: int | None = None
        self._folder_sync = folders.FolderSync()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def put(self, upload: Upload) -> StoredObject:
        return await self._in_thread(upload.key, lambda segments: self._put(upload, segments))

    async def head(self, key: str) -> StoredObject | None:
        return await self._in_thread(key, lambda segments: self._head(key, segments))

    async def get(self, key: str, destination: Path) -> str:
        return await self._in_thread(key, lambda segments: self._get(key, segments, destination))

    async def digest(self, key: str) -> str:
        def read(segments: Segments) -> str:
            with self._object(key, segments) as source:
                return _copy(source, None, hashlib.sha256())

        return await self._in_thread(key, read)

    async def delete(self, key: str) -> None:
        await self._in_thread(key, self._delete)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        for found in await self._translate(f"cannot list {self._root}", lambda: self._list(prefix)):
            yield found

    def url(self, key: str) -> str | None:
        if self._public_url:
            return public_address(self._public_url, key)
        return (self._root / key).as_uri()

    async def abort_unfinished(self) -> int:
        def sweep() -> int:
            return folders.sweep(self._root) if self._root.is_dir() else 0

        return await self._translate(f"cannot look through {self._root}", sweep)

    async def _in_thread(self, key: str, work: Callable[[Segments], T]) -> T:
        segments = check_key(key).split("/")
        if any(segment.startswith(TEMPORARY) for segment in segments):
            raise Refused(f"storage keeps names that begin with {TEMPORARY} for itself: {key!r}")
        return await self._translate(f"{self._root}/{key}", lambda: work(segments))

    async def _translate(self, what: str, work: Callable[[], T]) -> T:
        try:
            return await to_thread.run_sync(work)
        except OSError as error:
            raise folders.translated(error, what, self._root) from error

    # --- everything below runs in a thread ----------------------------------------------------------

    @contextmanager
    def _base(self, *, create: bool = False) -> Iterator[int]:
        """A descriptor of the root. Once it was there, it must stay: a folder that is gone or on another
        device is an unmounted disk, and writing beneath its mount point would publish nothing."""
        if create and self._device is None:
            with suppress(FileExistsError, FileNotFoundError):
                self._root.mkdir(mode=0o755)
                self._root.chmod(0o755)
                with opened(self._root.parent, os.O_RDONLY | os.O_DIRECTORY) as parent:
                    os.fsync(parent)
        try:
            base = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._device is None and not create:
                raise
            raise self._vanished() from None
        try:
            device = os.fstat(base).st_dev
            if self._device not in (None, device):
                raise self._vanished()
            self._device = device
            yield base
        finally:
            os.close(base)

    def _vanished(self) -> Transient:
        return Transient(
            f"the storage folder {self._root} is not there",
            hint="mount its disk, or create the folder; base_path under [storage] names it",
        )

    def _put(self, upload: Upload, segments: Segments) -> StoredObject:
        with self._base(create=True) as base, self._source(upload) as source:
            for _ in range(_RACES_LOST):
                # A delete may take the folder away as empty at any moment; then a new one is made.
                with suppress(FileNotFoundError):
                    folder = folders.open_below(base, segments[:-1], create=True)
                    try:
                        return self._write(upload, source, folder, segments[-1])
                    finally:
                        os.close(folder)
        raise self._vanished()

    @contextmanager
    def _source(self, upload: Upload) -> Iterator[int]:
        try:
            source = os.open(upload.path, READ_FLAGS)
        except FileNotFoundError:
            raise Changed(f"{upload.path} is gone") from None
        except OSError as error:
            raise Refused(f"cannot read {upload.path}: {os.strerror(error.errno or 0)}") from error
        try:
            about = os.fstat(source)
            if not stat.S_ISREG(about.st_mode) or about.st_size != upload.size_bytes:
                raise Changed(f"{upload.path} is not the file of {upload.size_bytes:,} bytes that was read")
            yield source
        finally:
            os.close(source)

    def _write(self, upload: Upload, source: int, folder: int, name: str) -> StoredObject:
        temporary = f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with opened(temporary, flags, 0o644, dir_fd=folder) as target:
            try:
                fcntl.flock(target, fcntl.LOCK_EX)  # tells the sweep of a later start that we live
                os.fchmod(target, 0o644)
                self._fill(upload, source, target)
                os.fsync(target)
                about = os.fstat(target)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            self._folder_sync.sync(folder)
        return StoredObject(
            upload.key,
            about.st_size,
            _etag(about),
            sha256=upload.sha256,
            source_sha256=upload.source_sha256,
            content_type=upload.content_type,
            cache_control=upload.cache_control,
        )

    def _fill(self, upload: Upload, source: int, target: int) -> None:
        md5 = hashlib.md5(usedforsecurity=False)
        os.lseek(source, 0, os.SEEK_SET)
        try:
            fcntl.ioctl(target, _FICLONE, source)
            found = _copy(target, None, md5)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
                raise
            found = _copy(source, target, md5)
        if os.fstat(target).st_size != upload.size_bytes or found != upload.md5:
            raise Changed(f"{upload.path} changed after it was read")

    def _head(self, key: str, segments: Segments) -> StoredObject | None:
        try:
            with self._base() as base, self._folder(base, segments) as folder:
                about = os.stat(segments[-1], dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(about.st_mode):
            raise Refused(f"{self._root}/{key} is not a regular file")
        return StoredObject(key, about.st_size, _etag(about))

    @contextmanager
    def _folder(self, base: int, segments: Segments) -> Iterator[int]:
        folder = folders.open_below(base, segments[:-1])
        try:
            yield folder
        finally:
            os.close(folder)

    @contextmanager
    def _object(self, key: str, segments: Segments) -> Iterator[int]:
        try:
            with self._base() as base, self._folder(base, segments) as folder:
                source = os.open(segments[-1], READ_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            raise Refused(f"there is no object {key!r} in {self._root}") from None
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise Refused(f"{self._root}/{key} is not a regular file")
            yield source
        finally:
            os.close(source)

    def _get(self, key: str, segments: Segments, destination: Path) -> str:
        with self._object(key, segments) as source, new_file(destination) as target:
            found = _copy(source, target, hashlib.sha256())
            os.fsync(target)
            return found

    def _delete(self, segments: Segments) -> None:
        with suppress(FileNotFoundError), self._base() as base:
            with self._folder(base, segments) as folder:
                os.unlink(segments[-1], dir_fd=folder)
                self._folder_sync.sync(folder)
            folders.remove_empty(base, segments[:-1])

    def _list(self, prefix: str) -> Objects:
        found: Objects = []
        with suppress(FileNotFoundError), self._base() as base:
            walk = os.fwalk(".", onerror=_raise, follow_symlinks=False, dir_fd=base)
            for where, subfolders, names, folder in walk:
                above = "" if where == "." else f"{where[2:]}/"
                subfolders[:] = [name for name in subfolders if _overlap(f"{above}{name}/", prefix)]
                for name in names:
                    key = above + name
                    if key.startswith(prefix) and not name.startswith(TEMPORARY) and _is_text(key):
                        found += _described(key, name, folder)
        return found


@contextmanager
def new_file(destination: Path) -> Iterator[int]:
    """A descriptor of a file that must not be there yet; removed again when the block fails, durable in
    its folder when it does not. Refused when it is there or cannot be made."""
    try:
        target = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise Transient(f"cannot write {destination}: {os.strerror(error.errno)}") from error
        raise Refused(f"cannot write {destination}: {os.strerror(error.errno or 0)}") from error
    try:
        yield target
    except BaseException:
        with suppress(OSError):
            destination.unlink()
        raise
    finally:
        os.close(target)
    with opened(destination.parent, os.O_RDONLY | os.O_DIRECTORY) as folder:
        os.fsync(folder)


def _copy(source: int, target: int | None, digest: hashlib._Hash) -> str:
    while chunk := os.read(source, CHUNK_BYTES):
        digest.update(chunk)
        view = memoryview(chunk)
        while target is not None and view:
            view = view[os.write(target, view) :]
    return digest.hexdigest()


def _etag(about: os.stat_result) -> str:
    return f"{about.st_size}-{about.st_mtime_ns}-{about.st_ino}"


def _described(key: str, name: str, folder: int) -> Objects:
    try:
        about = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return []
    return [StoredObject(key, about.st_size, _etag(about))] if stat.S_ISREG(about.st_mode) else []


def _overlap(folder: str, prefix: str) -> bool:
    return folder.startswith(prefix) or prefix.startswith(folder)


def _is_text(key: str) -> bool:
    """Whether the name is UTF-8: other files below the root are not syncd's."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _raise(error: OSError) -> None:
    if error.errno != errno.ENOENT:
        raise error
