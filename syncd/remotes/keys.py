"""The key that seals tokens: a systemd credential, or a file that only its user can read."""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from syncd.errors import ExitCode, Fatal
from syncd.text import printable

CREDENTIAL: Final = "token-kek"
KEY_FILE: Final = "token.key"
KEY_BYTES: Final = 32
READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def load_keys(state_dir: Path, credentials_dir: Path | None = None) -> tuple[bytes, ...]:
    """The keys of 32 bytes each: the first seals, all open. The credential `token-kek` comes first where
    systemd gave one (`credentials_dir`, by default `$CREDENTIALS_DIRECTORY`); a key file in `state_dir` is
    then only used for what it once sealed. Without a credential the file is made on first use.

    Raises Fatal (exit 78) for a key that is damaged, or a key file that others could have read or put there,
    and when it can be neither read nor made.
    """
    try:
        return _load(state_dir, credentials_dir)
    except OSError as error:
        raise _refuse(state_dir / KEY_FILE, error.strerror or str(error)) from error


def _load(state_dir: Path, credentials_dir: Path | None) -> tuple[bytes, ...]:
    if credentials_dir is None and (given := os.environ.get("CREDENTIALS_DIRECTORY")):
        credentials_dir = Path(given)
    found = []
    if credentials_dir is not None and (path := credentials_dir / CREDENTIAL).exists():
        found.append(_decoded(_read(path, private=False), path))
    path = state_dir / KEY_FILE
    if not found and not path.is_symlink() and not path.exists():
        _make(path)
    if path.is_symlink() or path.exists():
        found.append(_decoded(_read(path, private=True), path))
    return tuple(found)


def key_id(key: bytes) -> int:
    """One byte that stands in front of what `key` sealed, and tells keys apart."""
    return hashlib.sha256(b"syncd/key-id/v1" + key).digest()[0]


def read_private(path: Path, limit_bytes: int) -> bytes:
    """A file of this user's that nobody else may read. Raises OSError, or Fatal (exit 78) when it is a
    link, somebody else's, or open to others."""
    return _read(path, private=True, limit_bytes=limit_bytes)


def _read(path: Path, *, private: bool, limit_bytes: int = 4096) -> bytes:
    try:
        descriptor = os.open(path, READ_FLAGS)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO):
            raise
        raise _refuse(path, error.strerror or str(error)) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise _refuse(path, "it is not a file")
        # A credential is guarded by its folder and, for its user, by an access list that shows as group bits.
        if private and facts.st_uid != os.geteuid():
            raise _refuse(path, f"it belongs to user id {facts.st_uid}")
        if stat.S_IMODE(facts.st_mode) & (0o077 if private else 0o007):
            raise _refuse(path, f"others may open it (mode {stat.S_IMODE(facts.st_mode):04o})")
        if facts.st_size > limit_bytes:
            raise _refuse(path, "it is too long")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read()
    finally:
        os.close(descriptor)


def _decoded(content: bytes, path: Path) -> bytes:
    """32 bytes as they are, or written as hex or base64."""
    if len(content) == KEY_BYTES:
        return content
    text = content.strip()
    for decode in (binascii.unhexlify, lambda text: base64.b64decode(text, validate=True)):
        with suppress(binascii.Error, ValueError):
            if len(key := decode(text)) == KEY_BYTES:
                return key
    raise _refuse(path, f"it is no key of {KEY_BYTES} bytes")


def _make(path: Path) -> None:
    """A new key, whole or not at all, and never in place of another."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        beside.unlink()
    write_new(beside, os.urandom(KEY_BYTES))
    with suppress(FileExistsError):  # somebody was faster: theirs it is
        os.link(beside, path)
    beside.unlink()
    sync_folder(path.parent)


def write_new(path: Path, content: bytes) -> None:
    """Writes a file, 0600, that must not be there yet, and makes its content durable."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes names made in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse(path: Path, why: str) -> Fatal:
    return Fatal(
        f"{printable(str(path))} cannot be trusted: {why}",
        hint="it must be a plain file of the user who runs syncd, with mode 0600",
        exit_code=ExitCode.CONFIG,
    )
