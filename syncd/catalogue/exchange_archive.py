"""The archive that works: the catalogue, the catalogue of another syncd, or an indafoto.db. All keep the
records of the exchange in the same tables; those are made in an indafoto.db, and nothing else is.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiosqlite
import anyio
import anyio.to_thread
import pysqlite3

from syncd.catalogue import _sqlite
from syncd.catalogue._opening import migrate, shipped_migrations
from syncd.catalogue.database import Catalogue
from syncd.catalogue.exchange_remote import Kind, check_file, guarded, held_open, look_at, unreadable
from syncd.errors import Fatal, Refused
from syncd.lock import acquire_lock

T = TypeVar("T")
Operation = Callable[[aiosqlite.Connection], Awaitable[T]]

_PATIENCE_MS = 15_000
"""How long somebody else may hold an indafoto.db."""


class Archive(Protocol):
    """A database of images that keeps records of exchanges. `folder` is what its relative paths are relative
    to; `columns` are those of its `images`."""

    path: Path
    kind: Kind
    columns: frozenset[str]

    @property
    def folder(self) -> Path: ...
    @property
    def uri(self) -> str:
        """For ATTACH, to be read."""
        ...

    async def write(self, operation: Operation[T]) -> T:
        """Runs `operation` in a transaction, and returns once that is on disk."""
        ...

    async def read(self, operation: Operation[T]) -> T: ...
    async def detach(self, name: str) -> None:
        """Lets go of a database that an operation has attached."""
        ...


class CatalogueArchive:
    """The catalogue, which goes on with its other work meanwhile."""

    kind: Kind = "catalogue"

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.path = catalogue.path
        self.columns = _image_columns()

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def uri(self) -> str:
        return _sqlite.uri_of(self.path, "mode=ro")

    async def write(self, operation: Operation[T]) -> T:
        return await self._catalogue.write(operation)

    async def read(self, operation: Operation[T]) -> T:
        async with self._catalogue.reader() as db:
            return await operation(db)
        raise AssertionError("a reader swallows nothing")

    async def detach(self, name: str) -> None:
        await self._catalogue.detach(name)


class IndafotoArchive:
    """An indafoto.db; one connection, one operation at a time."""

    kind: Kind = "indafoto"

    def __init__(self, path: Path, db: aiosqlite.Connection, columns: frozenset[str]) -> None:
        self.path = path
        self.columns = columns
        self._db = db
        self._lock = anyio.Lock()

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def uri(self) -> str:
        return _sqlite.uri_of(self.path, "mode=ro")

    async def write(self, operation: Operation[T]) -> T:
        return await self._run("BEGIN IMMEDIATE", operation, "COMMIT")

    async def read(self, operation: Operation[T]) -> T:
        return await self._run("BEGIN", operation, "ROLLBACK")

    async def detach(self, name: str) -> None:
        async with self._lock:
            with suppress(_sqlite.Error):
                await self._db.execute(f'DETACH "{name}"')

    async def _run(self, begin: str, operation: Operation[T], end: str) -> T:
        # Shielded: what was begun is ended, or the next operation would find it open.
        with anyio.CancelScope(shield=True):
            await self._lock.acquire()
            try:
                await self._db.execute(begin)
                try:
                    result = await operation(self._db)
                    await self._db.execute(end)
                except BaseException:
                    await self._db.rollback()
                    raise
            except _sqlite.IntegrityError:
                raise
            except _sqlite.Error as error:
                raise unreadable(self.path, error) from error
            finally:
                self._lock.release()
        return result


@asynccontextmanager
async def open_archive(path: Path, own: Catalogue, *, read_only: bool = False) -> AsyncIterator[Archive]:
    """The archive at `path`; `own` where that is the catalogue. An indafoto.db gets the tables of the
    exchange unless it is only read. Raises Refused for what `exchange_remote.open_source` refuses, for a
    catalogue that its own daemon has open, and where it cannot be written to."""
    if await anyio.to_thread.run_sync(_is_same, path, own.path):
        yield CatalogueArchive(own)
        return
    connection, kind, columns = await anyio.to_thread.run_sync(partial(_connect, path, read_only=read_only))
    if kind == "catalogue":
        await anyio.to_thread.run_sync(connection.close)
        async with _other_catalogue(path) as catalogue:
            yield CatalogueArchive(catalogue)
        return
    db = aiosqlite.Connection(lambda: connection, iter_chunk_size=256)
    await db
    try:
        with held_open(path):
            if not read_only:
                await _make_tables(db, path)
            yield IndafotoArchive(path, db, columns)
    finally:
        with anyio.CancelScope(shield=True):
            await db.close()


@asynccontextmanager
async def _other_catalogue(path: Path) -> AsyncIterator[Catalogue]:
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(await anyio.to_thread.run_sync(acquire_lock, path.parent))
            catalogue = await stack.enter_async_context(Catalogue.open(path))
        except Fatal as error:
            hint = f"ask the daemon of {path.parent}, or end it" if error.exit_code == 3 else error.hint
            raise Refused(error.message, hint=hint) from error
        yield catalogue


def _connect(path: Path, *, read_only: bool) -> tuple[Any, Kind, frozenset[str]]:
    """A connection to the archive, its kind, and the columns of its `images`. Blocks."""
    check_file(path)
    if not read_only and not os.access(path, os.W_OK):
        raise Refused(f"{path} cannot be written to", hint="the archive that works keeps records in it")
    connection = None
    try:
        connection = guarded(_sqlite.connect(path, mode="ro" if read_only else "rw"))
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}").fetchone()
        connection.execute("PRAGMA foreign_keys = ON").close()
        kind, columns = look_at(path, connection, strictly=not read_only)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, _sqlite.Error):
            raise unreadable(path, error) from error
        raise
    return connection, kind, columns["images"]


async def _make_tables(db: aiosqlite.Connection, path: Path) -> None:
    """The tables of the exchange, with all their columns: scripts of old made some with fewer."""
    try:
        await db.execute("BEGIN IMMEDIATE")
        try:
            for name, statement, columns in _tables():
                there = {row[1] for row in await db.execute_fetchall(f"PRAGMA table_info({name})")}
                if not there:
                    await db.execute(statement)
                for column, declaration in columns if there else ():
                    if column not in there:
                        await db.execute(f"ALTER TABLE {name} ADD COLUMN {column} {declaration}")
            for statement in _indexes():
                await db.execute(statement)
            await db.execute("COMMIT")
        except BaseException:
            await db.rollback()
            raise
    except _sqlite.Error as error:
        raise unreadable(path, error) from error


@lru_cache(1)
def _shape() -> Any:
    """An empty catalogue in memory: the one place that says how the tables look."""
    connection = pysqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    migrate(connection, shipped_migrations())
    return connection


def _image_columns() -> frozenset[str]:
    return frozenset(row[1] for row in _shape().execute("PRAGMA table_info(images)"))


def _tables() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(name, CREATE TABLE, (column, declaration for ALTER TABLE) of each) of the tables of the exchange."""
    found = []
    rows = _shape().execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name LIKE 'sync\\_%' ESCAPE '\\'"
        " AND name <> 'sync_log' ORDER BY rowid"
    )
    for name, statement in rows.fetchall():
        columns = [
            (row[1], f"{row[2]} NOT NULL DEFAULT {row[4]}" if row[3] and row[4] is not None else row[2])
            for row in _shape().execute(f"PRAGMA table_info({name})")
        ]
        found.append((name, statement, columns))
    return found


def _indexes() -> list[str]:
    rows = _shape().execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        " AND tbl_name LIKE 'sync\\_%' ESCAPE '\\' AND tbl_name <> 'sync_log'"
    )
    return [row[0].replace("INDEX ", "INDEX IF NOT EXISTS ", 1) for row in rows.fetchall()]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
