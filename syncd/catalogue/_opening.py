"""What happens before the catalogue may be written: refusals that touch nothing, then migrations.

How much is checked at an ordinary start? The header and the file's length, always: that costs
microseconds. `PRAGMA quick_check` reads every page, so it runs when there is a reason to doubt: after an
unclean end (a write-ahead log was left behind), and when the file is not the one that was last closed
here, by size, times and inode (a restored backup, a hand that edited it). The mark of the last clean
close is `<catalogue>-clean` beside the file.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from syncd.catalogue import _sqlite
from syncd.catalogue._filesystem import network_filesystem
from syncd.errors import Fatal

APPLICATION_ID = 0x73796364
"""PRAGMA application_id of every catalogue: "sycd"."""

_MAGIC = b"SQLite format 3\x00"
_MIGRATION_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema: a whole transaction that ends with user_version = number."""

    number: int
    name: str
    sql: str


def shipped_migrations() -> tuple[Migration, ...]:
    """The program's migrations in order."""
    found = []
    for entry in files("syncd.catalogue").joinpath("migrations").iterdir():
        if match := _MIGRATION_NAME.fullmatch(entry.name):
            found.append(Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.number))


def open_writer(path: Path, migrations: tuple[Migration, ...]) -> Any:
    """The writing connection to the catalogue at `path`, made when missing, checked and migrated.
    Raises Fatal, with every byte left as it was, when the file cannot be trusted or is not ours."""
    _sqlite.check_library()
    _refuse_network(path)
    try:
        _create_private(path)
        _refuse_unfit(path, migrations[-1].number)
        _make_private(path)
        connection = _sqlite.connect(path)
    except OSError as error:
        raise Fatal(f"the catalogue {path} cannot be opened: {error.strerror}") from error
    except _sqlite.Error as error:
        raise _sqlite.translated(error, path) from error
    try:
        # The log is kept through reopening, so this writes only when the catalogue is new.
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        # FULL: what `write` has returned survives a power cut; group commit pays the fsync once for many.
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, migrations)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except _sqlite.Error as error:
        connection.close()
        raise _sqlite.translated(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> Any:
    """A connection that can neither write nor checkpoint."""
    connection = _sqlite.connect(path, mode="ro")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.create_function("hamming", 2, _hamming, deterministic=True)
    return connection


def _hamming(one: str, other: str) -> int | None:
    """How many bits two hashes of hex digits differ in; NULL where a person has put none."""
    try:
        return (int(one, 16) ^ int(other, 16)).bit_count()
    except ValueError:
        return None


def migrate(connection: Any, migrations: tuple[Migration, ...]) -> None:
    """Brings the schema to the newest version, one transaction a step; a failing step leaves no trace."""
    for migration in migrations:
        if migration.number > _user_version(connection):
            _apply(connection, migration)


def mark_clean(path: Path) -> None:
    """Remembers the file as it is after a clean close; the next start then needs no full check."""
    descriptor = os.open(_mark(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, _identity(path).encode())
    finally:
        os.close(descriptor)


def _user_version(connection: Any) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: Any, migration: Migration) -> None:
    try:
        for index, statement in enumerate(_statements(migration.sql)):
            connection.execute(statement).close()
            if index == 0:
                if not connection.in_transaction:
                    raise Fatal(f"the migration {migration.name} does not begin with BEGIN")
                if _user_version(connection) >= migration.number:  # another process was faster
                    connection.execute("ROLLBACK")
                    return
        if connection.in_transaction or _user_version(connection) != migration.number:
            raise Fatal(f"the migration {migration.name} does not end with its version and COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _statements(sql: str) -> list[str]:
    """The statements of a script; triggers, strings and comments may hold semicolons."""
    statements, pending = [], ""
    for piece in sql.split(";")[:-1]:
        pending += piece + ";"
        if _sqlite.is_complete(pending):
            statements.append(pending)
            pending = ""
    return statements


def _create_private(path: Path) -> None:
    """Makes the folder 0700 and the file 0600, whatever the umask; SQLite gives `-wal` and `-shm` the
    mode of the file. A folder that was there keeps its mode."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(0o700, exist_ok=True)
        folder.chmod(0o700)
    with suppress(FileExistsError):
        create_file(path)


def create_file(path: Path) -> None:
    """Makes an empty file that only its owner may read. FileExistsError when it is there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def flush_file(path: Path) -> None:
    """Brings the file and its name to disk."""
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _make_private(path: Path) -> None:
    for name in (path, _beside(path, "-wal"), _beside(path, "-shm")):
        if name.exists() and stat.S_IMODE(name.stat().st_mode) & 0o077:
            name.chmod(0o600)


def _refuse_network(path: Path) -> None:
    if kind := network_filesystem(path):
        raise Fatal(
            f"the catalogue {path} would be on a network file system ({kind}), where SQLite loses data",
            hint="set [daemon] state_dir to a folder on a local disk",
        )


def _refuse_unfit(path: Path, newest: int) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise Fatal(f"the catalogue {path} is not a regular file")
    with path.open("rb") as file:
        header = file.read(100)
        size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes == 0:
        return
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise _sqlite.damaged(path, "is not a SQLite database")
    log_left = _has_content(path, "-wal") or _has_content(path, "-journal")
    if not log_left:
        _refuse_foreign(path, _number(header, 68), _number(header, 60), newest)
        page_bytes = int.from_bytes(header[16:18], "big")
        page_bytes = 65536 if page_bytes == 1 else page_bytes
        if size_bytes < _number(header, 28) * page_bytes:
            raise _sqlite.damaged(path, "is damaged (it was cut short)")
        if _is_marked_clean(path):
            return
    _check_pages(path, newest, immutable=not log_left)


def _check_pages(path: Path, newest: int, *, immutable: bool) -> None:
    """Reads the whole file through a connection that changes nothing."""
    connection = _sqlite.connect(path, mode="ro", immutable=immutable)
    try:
        application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
        _refuse_foreign(path, application_id, _user_version(connection), newest)
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    finally:
        connection.close()
    if found != "ok":
        raise _sqlite.damaged(path, f"is damaged ({found.splitlines()[-1]})")


def _refuse_foreign(path: Path, application_id: int, user_version: int, newest: int) -> None:
    if application_id != APPLICATION_ID:
        raise Fatal(
            f"{path} is the database of another program, not a syncd catalogue",
            hint="name another file, or move this one away",
        )
    if user_version > newest:
        raise Fatal(
            f"the catalogue {path} has version {user_version}, and this syncd knows versions up to {newest}",
            hint="run the newer syncd that made it, or restore the backup from before the upgrade",
        )


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _mark(path: Path) -> Path:
    return _beside(path, "-clean")


def _has_content(path: Path, suffix: str) -> bool:
    try:
        return _beside(path, suffix).stat().st_size > 0
    except FileNotFoundError:
        return False


def _identity(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}\n"


def _is_marked_clean(path: Path) -> bool:
    try:
        return _mark(path).read_text() == _identity(path)
    except (OSError, UnicodeDecodeError):
        return False
