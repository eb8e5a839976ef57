"""Somebody else's archive: looked at without a trace, and refused where it cannot be trusted.

A database that nobody has open is read as it is, without locks. One that is being written, or was left with
a log, is copied first with SQLite's backup, or as files where nobody is there to take part in its locking.
Everything in it is data from outside: texts may be of any length and bytes of any kind.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from syncd.catalogue import _sqlite
from syncd.catalogue._opening import APPLICATION_ID, shipped_migrations
from syncd.errors import Refused
from syncd.text import human_size, printable

Kind = Literal["catalogue", "indafoto"]

_MAGIC = b"SQLite format 3\x00"
_LARGEST_BYTES = 64 << 30
_TABLES = (
    "images", "tags", "image_tags", "albums", "image_albums", "collections", "image_collections",
    "image_versions",
)  # fmt: skip
_NEEDED = ("id", "sha256_hash", "url", "local_path")
_SHARED_MEMORY = "-shm"
_open_here: Counter[tuple[int, int]] = Counter()


@dataclass(frozen=True, slots=True)
class Source:
    """A database that may be read: the file itself, or a copy that goes with `discard`. `path` is where it
    was found; `columns` are those of each table that matters, by name."""

    path: Path
    kind: Kind
    file: Path
    is_copy: bool
    identity: tuple[int, ...]
    columns: dict[str, frozenset[str]]

    @property
    def uri(self) -> str:
        """For ATTACH: nothing is written, nothing is locked."""
        return _sqlite.uri_of(self.file, "mode=ro&immutable=1")

    def connect(self) -> Any:
        """A connection to it that trusts nothing that it says."""
        return guarded(_sqlite.connect(self.file, mode="ro", immutable=True))

    def is_unchanged(self) -> bool:
        """Whether what was read is still what is there; always true of a copy."""
        return self.is_copy or (_identity(self.path) == self.identity and not _logs(self.path))

    def discard(self) -> None:
        if self.is_copy:
            for suffix in ("", "-wal", _SHARED_MEMORY, "-journal"):
                _beside(self.file, suffix).unlink(missing_ok=True)


def guarded(connection: Any) -> Any:
    """`connection`, with texts of any bytes readable and nothing run that the schema asks for."""
    connection.text_factory = lambda content: content.decode("utf-8", "replace")
    connection.execute("PRAGMA trusted_schema = OFF").close()
    connection.execute("PRAGMA cell_size_check = ON").close()
    return connection


def open_source(path: Path, scratch: Path, *, copy: bool = False) -> Source:
    """The archive at `path`, ready to be read. `scratch` is a file name to copy it to where that is needed,
    or asked for. Raises Refused, with what is wrong and what to do, for what is no archive, is damaged,
    encrypted, newer than this program, or too large. What is in it is not read yet: `quick_check` does."""
    check_file(path)
    if copy or _logs(path):
        _copy(path, scratch)
        return _looked_at(path, scratch, is_copy=True)
    return _looked_at(path, path, is_copy=False)


def quick_check(source: Source) -> None:
    """Reads every page; Refused when the database is damaged."""
    with closing(source.connect()) as connection:
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except _sqlite.Error as error:
            raise unreadable(source.path, error) from error
    if found != "ok":
        raise _damaged(source.path, str(found).splitlines()[-1])


def unreadable(path: Path, error: Exception) -> Refused:
    """What an error of SQLite about somebody else's database means."""
    code = _sqlite.code_of(error)
    if code == 13:
        return Refused(f"there is no room to work on {_name(path)}: the disk is full", hint="free some space")
    if code in (5, 6, 15):
        return Refused(
            f"{_name(path)} is being worked on by another program",
            hint="wait for it, or end it, and try again",
        )
    if code == 8:
        return Refused(
            f"{_name(path)} cannot be written to", hint="the archive that works keeps records in it"
        )
    if code in (11, 26):
        return _damaged(path, str(error))
    return Refused(f"{_name(path)} cannot be read: {error}", hint="close what has it open, and try again")


@contextmanager
def held_open(path: Path) -> Iterator[None]:
    """While SQLite has the file open here, nothing else opens it: closing any descriptor of a file lets go of
    all of this process's locks on it (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks)."""
    facts = path.stat()
    name = (facts.st_dev, facts.st_ino)
    _open_here[name] += 1
    try:
        yield
    finally:
        _open_here[name] -= 1


def check_file(path: Path) -> None:
    """Raises Refused for what does not even look like a database that can be read here."""
    try:
        facts = path.stat()
        if _open_here[(facts.st_dev, facts.st_ino)]:
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            f"{_name(path)} cannot be opened: {(error.strerror or str(error)).lower()}",
            hint="name the database of an archive: an indafoto.db, or a catalogue.db of syncd",
        ) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise Refused(f"{_name(path)} is not a file", hint="name the database itself, not its folder")
        header = os.pread(descriptor, 100, 0)
    except OSError as error:
        raise Refused(
            f"{_name(path)} cannot be read: {(error.strerror or str(error)).lower()}", hint="look at its disk"
        ) from error
    finally:
        os.close(descriptor)
    if not header:
        raise Refused(f"{_name(path)} is empty", hint="ask for it again: the copy did not end well")
    if not header.startswith(_MAGIC) or len(header) < 100:
        raise Refused(
            f"{_name(path)} is not a SQLite database, or it is encrypted",
            hint="ask its owner for the plain database file",
        )
    if facts.st_size > _LARGEST_BYTES:
        raise Refused(f"{_name(path)} is too large: {human_size(facts.st_size)}, at most 64 GiB")
    if header[18] > 2 or header[19] > 2:
        raise Refused(
            f"{_name(path)} was written by a newer SQLite than is known here", hint="update syncd first"
        )
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    pages = int.from_bytes(header[28:32], "big")
    if header[24:28] == header[92:96] and facts.st_size < pages * page_bytes and not _logs(path):
        raise _damaged(path, "it was cut short")
    newest = shipped_migrations()[-1].number
    if _application_id(header) == APPLICATION_ID and int.from_bytes(header[60:64], "big") > newest:
        raise Refused(
            f"{_name(path)} is the catalogue of a newer syncd than this one",
            hint="update syncd on this side, then analyse again",
        )


def _application_id(header: bytes) -> int:
    return int.from_bytes(header[68:72], "big")


def _looked_at(path: Path, file: Path, *, is_copy: bool) -> Source:
    identity = _identity(path)
    try:
        with closing(guarded(_sqlite.connect(file, mode="ro", immutable=True))) as connection:
            kind, columns = look_at(path, connection)
    except _sqlite.Error as error:
        raise unreadable(path, error) from error
    return Source(path, kind, file, is_copy, identity, columns)


def look_at(path: Path, connection: Any, *, strictly: bool = False) -> tuple[Kind, dict[str, frozenset[str]]]:
    """What kind of archive a connection is to, and the columns of each table that matters. `path` is how
    errors name it. Raises Refused for another program's database, or a schema that lacks what is needed;
    `strictly` for one that records are kept in."""
    kinds = dict(connection.execute("SELECT name, type FROM sqlite_schema"))
    columns = {
        table: frozenset(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
        for table in _TABLES
        if kinds.get(table) == "table"
    }
    is_catalogue = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if is_catalogue and "images" not in columns and "image_versions" in columns:
        raise Refused(
            f"{_name(path)} is the catalogue of an older syncd, from before archives could be exchanged",
            hint="its owner updates syncd and starts it once",
        )
    if "images" not in columns:
        raise Refused(
            f"{_name(path)} is a database, but not of an archive: it has no table `images`",
            hint="name an indafoto.db, or a catalogue.db of syncd",
        )
    if missing := [name for name in _NEEDED if name not in columns["images"]]:
        raise Refused(
            f"{_name(path)} has another schema: its table `images` lacks {', '.join(missing)}",
            hint="it may be of another version of the program that made it",
        )
    if not _are_numbered(connection, strictly):
        raise Refused(
            f"{_name(path)} has another schema: `id` of its table `images` is no integer primary key",
            hint="it may have been converted: ask its owner for the database itself",
        )
    return "catalogue" if is_catalogue else "indafoto", columns


def _are_numbered(connection: Any, strictly: bool) -> bool:
    """Whether each image has a number of its own, which its tags and the records about it name it by."""
    keys = [row[1:3] for row in connection.execute("PRAGMA table_info(images)") if row[5]]
    if [(name, "INT" in str(kind).upper()) for name, kind in keys] == [("id", True)]:
        return True
    numbers = "SELECT count(*), count(DISTINCT CASE WHEN typeof(id) = 'integer' THEN id END) FROM images"
    total, distinct = connection.execute(numbers).fetchone()
    return not strictly and total == distinct


def _copy(path: Path, target: Path) -> None:
    size_bytes = sum(_size(_beside(path, suffix)) for suffix in ("", "-wal", "-journal"))
    free_bytes = shutil.disk_usage(target.parent).free
    if size_bytes > free_bytes:
        raise Refused(
            f"{_name(path)} is being written, and there is no room to copy it first:"
            f" {human_size(size_bytes)} needed in {_name(target.parent)}, {human_size(free_bytes)} free",
            hint="free some space, or end the program that has it open",
        )
    for suffix in ("", "-wal", _SHARED_MEMORY, "-journal"):
        _beside(target, suffix).unlink(missing_ok=True)
    try:
        # Where no shared memory is, no program has the log open: reading through it would make that file.
        if _beside(path, "-wal").exists() and not _beside(path, _SHARED_MEMORY).exists():
            _copy_files(path, target)
            return
        try:
            _back_up(path, target)
        except _sqlite.Error as error:
            if _sqlite.code_of(error) in (11, 13, 26):
                raise
            _copy_files(path, target)  # a journal that nobody is left to roll back: it is, in the copy
    except _sqlite.Error as error:
        raise unreadable(path, error) from error
    except OSError as error:
        raise Refused(f"{_name(path)} cannot be copied: {error.strerror or error}") from error


def _back_up(path: Path, target: Path) -> None:
    with (
        closing(_sqlite.connect(path, mode="ro")) as source,
        closing(_sqlite.connect(target, mode="rwc")) as copy,
    ):
        source.execute("PRAGMA busy_timeout = 10000").fetchone()
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()


def _copy_files(path: Path, target: Path) -> None:
    """The database with its log, which SQLite then works into the copy."""
    suffixes = [suffix for suffix in ("", "-wal", "-journal") if _beside(path, suffix).exists()]
    for _ in range(3):
        before = [_identity(_beside(path, suffix)) for suffix in suffixes]
        for suffix in suffixes:
            shutil.copyfile(_beside(path, suffix), _beside(target, suffix))
        if before == [_identity(_beside(path, suffix)) for suffix in suffixes]:
            break
    else:
        raise Refused(f"{_name(path)} changes all the time", hint="end the program that writes it")
    with closing(_sqlite.connect(target)) as copy:
        copy.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()


def _logs(path: Path) -> bool:
    return any(_size(_beside(path, suffix)) > 0 for suffix in ("-wal", "-journal"))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _identity(path: Path) -> tuple[int, ...]:
    try:
        facts = path.stat()
    except OSError:
        return ()
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _damaged(path: Path, reason: str) -> Refused:
    return Refused(
        f"{_name(path)} is damaged: {reason}",
        hint="ask its owner for a sound copy; nothing was taken from it",
    )


def _name(path: Path) -> str:
    return printable(str(path))
