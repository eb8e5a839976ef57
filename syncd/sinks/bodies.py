"""The bytes of an upload, read from a file that may change meanwhile."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from typing import Final

from syncd.errors import Changed, Refused
from syncd.sinks.sink import Upload

CACHED_BODY_BYTES: Final = 1 << 20


def check_md5(upload: Upload, body: bytes | memoryview) -> None:
    if hashlib.md5(body, usedforsecurity=False).hexdigest() != upload.md5:
        raise Changed(f"{upload.path} changed after it was read")


def open_source(upload: Upload) -> int:
    """A descriptor of the file, if it is still one of the promised size. Raises Changed, Refused."""
    try:
        source = os.open(upload.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Changed(f"{upload.path} is gone") from None
    except OSError as error:
        raise Refused(f"cannot read {upload.path}: {os.strerror(error.errno or 0)}") from error
    about = os.fstat(source)
    if not stat.S_ISREG(about.st_mode) or about.st_size != upload.size_bytes:
        os.close(source)
        raise Changed(f"{upload.path} is not the file of {upload.size_bytes:,} bytes that was read")
    return source


def read_whole(upload: Upload) -> bytes:
    source = open_source(upload)
    try:
        return _read_exactly(upload, source, 0, upload.size_bytes)
    finally:
        os.close(source)


def read_cached(upload: Upload) -> memoryview | None:
    """The whole body if the kernel has it in memory, as it has what was just hashed; None rather than wait
    for a disk. Half the price of a thread."""
    if upload.size_bytes > CACHED_BODY_BYTES or not hasattr(os, "RWF_NOWAIT"):
        return None
    try:
        source = os.open(upload.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # reading it the long way says what is wrong
    body = bytearray(upload.size_bytes + 1)
    try:
        length = os.preadv(source, [body], 0, os.RWF_NOWAIT)
    except OSError:
        return None
    finally:
        os.close(source)
    return memoryview(body)[:length] if length == upload.size_bytes else None


def read_part(
    upload: Upload, source: int, offset: int, length: int, whole: hashlib._Hash
) -> tuple[bytes, str]:
    body = _read_exactly(upload, source, offset, length)
    whole.update(body)
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    return body, base64.b64encode(md5).decode()


def _read_exactly(upload: Upload, source: int, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`. Raises Changed where the file ends before, Refused on an I/O error."""
    try:
        body = os.pread(source, length, offset)
        while len(body) < length and (more := os.pread(source, length - len(body), offset + len(body))):
            body += more
    except OSError as error:
        raise Refused(f"cannot read {upload.path}: {os.strerror(error.errno or 0)}") from error
    if len(body) < length:
        raise Changed(f"{upload.path} became shorter after it was read")
    return body
