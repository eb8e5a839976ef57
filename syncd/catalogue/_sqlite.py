"""The SQLite library that the catalogue runs on, and what its errors mean.

pysqlite3 brings its own SQLite: that of the system may lose pages when two connections write and
checkpoint at once (https://www.sqlite.org/wal.html#walresetbug).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pysqlite3

from syncd.errors import Fatal, Transient

Error = pysqlite3.Error
IntegrityError = pysqlite3.IntegrityError

BUSY = 5
NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
"""SQL for the present moment as the catalogue writes it."""

BUSY_TIMEOUT_MS = 1000
_TRY_AGAIN = {
    5: "is locked by another program",
    6: "is locked by another connection",
    7: "could not be used: out of memory",
    8: "is read-only",
    10: "could not be read or written",
    13: "could not be written: the disk is full",
    14: "could not be opened",
    15: "is locked by another program",
}
_DAMAGED = {11: "is damaged", 26: "is not a SQLite database"}

# (first affected, first fixed), by https://www.sqlite.org/wal.html#walresetbug
_FIXED_IN_SERIES: dict[tuple[int, ...], tuple[int, ...]] = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}


def is_affected(version: tuple[int, ...]) -> bool:
    """Whether this SQLite version carries the WAL-reset bug (3.7.0 to 3.51.2, less two back-ports)."""
    fixed = _FIXED_IN_SERIES.get(version[:2], (3, 51, 3))
    return (3, 7, 0) <= version < fixed


def check_library(version: tuple[int, ...] = pysqlite3.sqlite_version_info) -> None:
    """Raises Fatal when the SQLite library may damage the catalogue."""
    if is_affected(version):
        raise Fatal(
            f"SQLite {'.'.join(map(str, version))} can lose data (the WAL-reset bug)",
            hint="install a pysqlite3 that brings SQLite 3.51.3 or newer: pip install --upgrade pysqlite3",
        )


def connect(path: Path, *, mode: str = "rw", immutable: bool = False) -> Any:
    """A plain connection in autocommit mode: transactions are begun and ended in the open.

    `mode` is SQLite's: "rw" (the file must exist), "rwc" or "ro". `immutable` reads without locks and
    without touching anything, for a file that nobody else has open.
    """
    query = f"mode={mode}" + ("&immutable=1" if immutable else "")
    return connect_uri(uri_of(path, query))


def connect_uri(uri: str) -> Any:
    """As `connect`, to what `uri_of` names."""
    connection = pysqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    # Memory-mapped I/O turns a disk error into a crash of the whole process.
    connection.execute("PRAGMA mmap_size = 0").close()
    return connection


def uri_of(path: Path, query: str) -> str:
    """The file as SQLite's URI, for `connect` and ATTACH."""
    return f"file:{quote(os.fsencode(path))}?{query}"


def code_of(error: BaseException) -> int | None:
    """SQLite's primary result code, None when the error did not come from the library."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def translated(error: Exception, path: Path) -> Exception:
    """What an error of the library means for syncd; mistakes in SQL and broken constraints stay as they
    are, since they belong to whoever wrote the statement."""
    code = code_of(error) if isinstance(error, Error) else None
    detail = f" ({error})"
    if code in _DAMAGED or (code is None and type(error) is pysqlite3.DatabaseError):
        return damaged(path, _DAMAGED.get(code or 11, "is damaged") + detail)
    if code in _TRY_AGAIN:
        hint = "free some space on its disk" if code == 13 else None
        return Transient(f"the catalogue {path} {_TRY_AGAIN[code]}{detail}", hint=hint)
    return error


def damaged(path: Path, reason: str) -> Fatal:
    """The error for a file that cannot be trusted. Nothing ever repairs or replaces it unasked."""
    return Fatal(
        f"the catalogue {path} {reason}",
        hint="it was left as it is: put a backup in its place, or move it away to start a new one "
        "(a sync then finds your photos again)",
    )


def is_complete(sql: str) -> bool:
    """Whether the text ends with a whole statement."""
    return bool(pysqlite3.complete_statement(sql))
