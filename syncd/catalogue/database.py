"""The catalogue's connections: one writer that groups commits, and a few readers.

Every write is a function of the writing connection. Those that wait are run together in one
transaction, so that a hundred small writes cost one fsync; each caller goes on once its own write is on
disk. Readers see what was committed, and never write or checkpoint; nor does anyone but the writer.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import aiosqlite
import anyio
import anyio.to_thread
from anyio import CancelScope, create_memory_object_stream, get_cancelled_exc_class

from syncd.catalogue import _opening, _sqlite
from syncd.catalogue._opening import Migration, shipped_migrations
from syncd.errors import Refused

T = TypeVar("T")
Operation = Callable[[aiosqlite.Connection], Awaitable[T]]

_GROUP = 256
"""The most operations in one transaction: readers of the log wait for no more than that."""
_READERS = 4
_LOCK_PATIENCE_S = 60.0
"""How long a write waits for a person in the sqlite3 shell before it fails as Transient."""
_DETACH_TRIES = 500
_CLOSING_PATIENCE_S = 3.0
_IDLE_S = 5.0
"""After this long without a write the log is copied into the file and cut to nothing."""
_LOG_PAGES = 1000
"""A log longer than this, of pages of 4 KiB, is copied into the file after the next commit."""


class _Write(Generic[T]):
    """One operation on its way: `started` once it may be committed, then `done` with its outcome."""

    def __init__(self, operation: Operation[T]) -> None:
        self.operation = operation
        self.started = False
        self.abandoned = False
        self.done = anyio.Event()
        self.result: T
        self.error: Exception | None = None

    async def run(self, db: aiosqlite.Connection) -> None:
        self.result = await self.operation(db)

    def finish(self, error: Exception | None = None) -> None:
        self.error = error
        self.done.set()


class Catalogue:
    """An open catalogue; `async with Catalogue.open(path) as catalogue`."""

    def __init__(self, path: Path, writer: aiosqlite.Connection) -> None:
        self.path = path
        self._writer = writer
        self._idle_readers: list[aiosqlite.Connection] = []
        self._reading = anyio.Semaphore(_READERS)
        # Memory, not the queue's length, is the limit: who writes waits for the outcome anyway.
        self._send, self._receive = create_memory_object_stream[_Write[Any]](math.inf)
        self._closing_at: float | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, *, migrations: tuple[Migration, ...] | None = None
    ) -> AsyncIterator[Self]:
        """Opens the catalogue at `path`, made when missing and brought to the newest version.

        Raises Fatal, leaving every byte as it was, for a file that is damaged, newer than this program,
        another program's, or on a network file system. Leaving waits for the writes already asked for.
        """
        path = Path.cwd() / path
        writer = await _connect(partial(_opening.open_writer, path, migrations or shipped_migrations()))
        catalogue = cls(path, writer)
        failure: BaseException | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(catalogue._write_until_closed, name="catalogue writer")
                try:
                    yield catalogue
                except BaseException as error:  # noqa: BLE001 - raised again below, outside the group's wrapping
                    failure = error
                finally:
                    catalogue._closing_at = anyio.current_time()
                    catalogue._send.close()
        finally:
            with CancelScope(shield=True):
                await catalogue._close()
        if failure is not None:
            raise failure

    async def write(self, operation: Operation[T]) -> T:
        """Runs `operation` on the writing connection and returns its result once it is on disk.

        Operations of several callers share a transaction: when one fails it is undone, the others are
        run again, and only the failing one's caller sees its error. So an operation does nothing but
        use the connection, and begins or ends no transaction. A caller that is cancelled leaves
        with its operation either not run, and never to be, or on disk.
        Raises Transient (locked, disk full, I/O error), Fatal (damaged), and what the operation raises.
        """
        write = _Write(operation)
        try:
            self._send.send_nowait(write)
        except anyio.ClosedResourceError:
            raise Refused("the catalogue is closed") from None
        try:
            await write.done.wait()
        except get_cancelled_exc_class():
            write.abandoned = not write.started
            if write.started:
                with CancelScope(shield=True):
                    await write.done.wait()
            raise
        if write.error is not None:
            raise write.error
        return write.result

    async def detach(self, name: str) -> None:
        """Lets go of a database that an operation has attached. That is only possible between two
        transactions, so it is tried until it falls between two."""
        for _ in range(_DETACH_TRIES):
            try:
                await self._writer.execute(f'DETACH "{name}"')
                return
            except _sqlite.Error as error:
                if "no such database" in str(error):
                    return
            await anyio.sleep(0.02)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[aiosqlite.Connection]:
        """A read-only connection that sees one committed state of the catalogue until it is given back:
        keep it for a few queries, not across slow work."""
        async with self._reading:
            if self._idle_readers:
                db = self._idle_readers.pop()
            else:
                db = await _connect(partial(_opening.open_reader, self.path))
            try:
                await db.execute("BEGIN")
                yield db
            except get_cancelled_exc_class():
                await db.interrupt()
                raise
            except _sqlite.Error as error:
                raise self._translated(error) from error
            finally:
                with CancelScope(shield=True):
                    if await _rolled_back(db):
                        self._idle_readers.append(db)
                    else:
                        await db.close()

    async def external_changes(self) -> int:
        """A number that rises when another process has committed a change, never by writes made here."""
        try:
            return await _number(self._writer, "PRAGMA data_version")
        except _sqlite.Error as error:
            raise self._translated(error) from error

    async def check(self) -> list[str]:
        """Every fault that a full integrity check finds, [] for a sound catalogue. Reads the whole file
        on a reading connection; writes go on meanwhile."""
        async with self.reader() as db:
            found = [str(row[0]) for row in await db.execute_fetchall("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    async def backup(self, destination: Path) -> None:
        """Writes a whole, compact copy as it is at this moment to `destination`, a new file (0600).
        Copying the file instead would lose what is still in the log. Raises Refused when it exists."""
        try:
            await anyio.to_thread.run_sync(_opening.create_file, destination)
        except FileExistsError:
            raise Refused(f"{destination} exists", hint="name a file that does not") from None
        except OSError as error:
            raise Refused(f"{destination} cannot be made: {error.strerror}") from error
        try:
            db = await _connect(partial(_opening.open_reader, self.path))
            try:
                # VACUUM INTO writes another file, which query_only forbids all the same.
                await db.execute("PRAGMA query_only = OFF")
                await db.execute("VACUUM INTO ?", (str(destination),))
            finally:
                with CancelScope(shield=True):
                    await db.close()
            await anyio.to_thread.run_sync(_opening.flush_file, destination)
        except BaseException as error:
            with CancelScope(shield=True):
                await anyio.to_thread.run_sync(partial(destination.unlink, missing_ok=True))
            if isinstance(error, _sqlite.Error):
                raise self._translated(error) from error
            raise

    # --- the writer -------------------------------------------------------------------------------

    async def _write_until_closed(self) -> None:
        """Commits groups until the stream of writes ends. Shielded: what was begun is finished."""
        log_is_dirty = True
        with CancelScope(shield=True):
            while True:
                write = None
                with anyio.move_on_after(_IDLE_S if log_is_dirty else None):
                    try:
                        write = await self._receive.receive()
                    except anyio.EndOfStream:
                        return
                if write is None:
                    log_is_dirty = not await self._cut_log()
                    continue
                await self._commit(self._with_waiting(write))
                log_is_dirty = True

    def _with_waiting(self, first: _Write[Any]) -> list[_Write[Any]]:
        group = [first]
        with suppress(anyio.WouldBlock, anyio.EndOfStream):
            while len(group) < _GROUP:
                group.append(self._receive.receive_nowait())
        return group

    async def _commit(self, group: list[_Write[Any]]) -> None:
        """Runs the group in one transaction, again without each operation that fails."""
        try:
            while group := [write for write in group if not write.abandoned]:
                await self._begin()
                failed = await self._run(group)
                if failed is None:
                    await self._writer.execute("COMMIT")
                    break
                await _rolled_back(self._writer)
                group.remove(failed)
                failed.finish(failed.error)
            else:
                return
        except Exception as error:  # noqa: BLE001 - the writer outlives every error; the callers get it
            await _rolled_back(self._writer)
            for write in group:
                write.finish(self._translated(error))
            return
        for write in group:
            write.finish()
        await self._checkpoint_when_long()

    async def _run(self, group: list[_Write[Any]]) -> _Write[Any] | None:
        """The first operation that failed, its error noted; None when all are done. Those abandoned by
        now are not run."""
        for write in group:
            write.started = not write.abandoned
        for write in group:
            if not write.started:
                continue
            try:
                await write.run(self._writer)
            except Exception as error:  # noqa: BLE001 - handed to the caller whose operation it is
                write.error = self._translated(error)
                return write
        return None

    async def _begin(self) -> None:
        """Waits for the write lock as long as is decent; another program may hold it."""
        began_at = anyio.current_time()
        while True:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                return
            except _sqlite.Error as error:
                if _sqlite.code_of(error) != _sqlite.BUSY or anyio.current_time() > self._give_up_at(
                    began_at
                ):
                    raise

    def _give_up_at(self, began_at: float) -> float:
        if self._closing_at is None:
            return began_at + _LOCK_PATIENCE_S
        return min(began_at + _LOCK_PATIENCE_S, self._closing_at + _CLOSING_PATIENCE_S)

    async def _checkpoint_when_long(self) -> None:
        with suppress(_sqlite.Error):  # what is not copied now will be later
            log_pages = await _number(self._writer, "PRAGMA wal_checkpoint(NOOP)", column=1)
            if log_pages > _LOG_PAGES:
                await self._writer.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")

    async def _cut_log(self) -> bool:
        """Copies the whole log into the file and empties it; False when a reader was in the way."""
        try:
            await self._writer.execute("PRAGMA busy_timeout = 0")
            return await _number(self._writer, "PRAGMA wal_checkpoint(TRUNCATE)") == 0
        except _sqlite.Error:
            return False
        finally:
            await self._writer.execute(f"PRAGMA busy_timeout = {_sqlite.BUSY_TIMEOUT_MS}")

    async def _close(self) -> None:
        for db in self._idle_readers:
            await db.close()
        was_cut = await self._cut_log()
        await self._writer.close()
        self._receive.close()
        if was_cut:
            with suppress(OSError):
                await anyio.to_thread.run_sync(_opening.mark_clean, self.path)

    def _translated(self, error: Exception) -> Exception:
        return _sqlite.translated(error, self.path)


async def _connect(connector: Callable[[], Any]) -> aiosqlite.Connection:
    """`connector` runs in a thread; shielded, for a connection that nobody waits for would stay open."""
    with CancelScope(shield=True):
        connection = await anyio.to_thread.run_sync(connector)
        db = aiosqlite.Connection(lambda: connection, iter_chunk_size=256)
        await db
    return db


async def _number(db: aiosqlite.Connection, sql: str, column: int = 0) -> int:
    rows = list(await db.execute_fetchall(sql))
    return int(rows[0][column])


async def _rolled_back(db: aiosqlite.Connection) -> bool:
    """Ends the open transaction without its effects, if there is one; False when that failed."""
    try:
        await db.rollback()  # asks in the connection's thread, after what is still under way there
    except (_sqlite.Error, ValueError):
        return False
    return True
