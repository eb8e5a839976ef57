"""The mirror: a copy of the library's metadata in Postgres, `photo_metadata`, one row a photo and album.

Nothing outlives a transaction: no settings, temporary tables or prepared statements. So it works through a
transaction pooler as it does on a connection of its own.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import anyio
import anyio.to_thread
import msgspec

from syncd.errors import SyncdError, Transient
from syncd.log import register_secret
from syncd.sinks import postgres_rows as statements
from syncd.sinks import postgres_schema as schema
from syncd.sinks.postgres_dsn import Address, read_dsn
from syncd.sinks.postgres_errors import SchemaChanged, explain, hidden_rows
from syncd.sinks.postgres_rows import MirrorRow
from syncd.sinks.postgres_schema import CHANGES, PHOTOS, Table

if TYPE_CHECKING:
    import psycopg

_SETTINGS = (
    ("statement_timeout", "60s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("timezone", "UTC"),
    ("datestyle", "ISO"),
    ("extra_float_digits", "1"),
)
"""Of every transaction; the last three make a row read the same each time."""
_SET = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _SETTINGS)
_CHUNK = 2_000
_IDLE = 0
"""libpq's PQTRANS_IDLE: no transaction is open."""
_REFUSED_FOR_S = 30.0
"""A server that turned syncd away is not asked again for so long."""


class NameChange(Protocol):
    """One confirmed change of the journal; times are RFC 3339 in UTC."""

    @property
    def id(self) -> int: ...
    @property
    def album_key(self) -> str: ...
    @property
    def old_name(self) -> str: ...
    @property
    def new_name(self) -> str: ...
    @property
    def changed_at(self) -> str: ...
    @property
    def changed_by(self) -> str: ...
    @property
    def source(self) -> str: ...


class AlbumNames(NamedTuple):
    """What the mirror calls an album: `names` are all that its rows have, "" for rows without one."""

    names: frozenset[str]
    photo_count: int


class Statistics(NamedTuple):
    """Counts of the mirror's rows. `recently_updated` were changed in the last 24 hours."""

    total_albums: int
    total_photos: int
    photos_with_album_key: int
    photos_without_album_key: int
    recently_updated: int


class Key(NamedTuple):
    """Which row: a photo in an album."""

    album_key: str
    image_key: str


RemoteRow = tuple[str, str, int, bool]
"""A row as the mirror has it: album key, image key, digest, whether syncd made it. The digest differs once
anybody has changed what syncd writes. A plain tuple, which costs the garbage collector nothing."""


class Session:
    """The mirror in one transaction, for as long as `PostgresMirror.session` holds it."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], photos: Table, address: Address) -> None:
        self._connection = connection
        self._photos = photos
        self._address = address

    async def put(self, rows: Sequence[MirrorRow]) -> dict[Key, int]:
        """Brings rows in; the digest of each as it is now."""
        document = await anyio.to_thread.run_sync(statements.document, rows, self._photos)
        found = await self._run(statements.upsert(self._photos), document)
        wanted = {Key(row.album_key, row.image_key) for row in rows}
        digests = {Key(row[0], row[1]): row[2] for row in found}
        if right := wanted - digests.keys():
            found = await self._run(statements.digests(self._photos), _keys(right))
            digests |= {Key(row[0], row[1]): row[2] for row in found}
        if self._photos.hides_rows and wanted - digests.keys():
            raise hidden_rows(self._address)
        return digests

    async def remove(self, keys: Sequence[Key]) -> int:
        """Removes those of these rows that syncd made; how many."""
        return await self._count(statements.delete(self._photos), _keys(keys))

    async def name_albums(self, names: dict[str, str]) -> int:
        """Gives all rows of the albums (by key) their album's name; how many had another."""
        pairs = [{"a": key, "n": statements.clean(name)} for key, name in names.items()]
        return await self._count(statements.rename(self._photos), msgspec.json.encode(pairs).decode())

    async def fill_from_urls(self) -> int:
        """Gives rows without an album the one that their image URL names; how many."""
        return await self._count(statements.keys_from_urls(self._photos))

    async def fill_from_images(self, keys: Sequence[Key]) -> int:
        """Gives rows without an album that of their photo, for photos that are in one album; how many."""
        return await self._count(statements.keys_from_images(self._photos), _keys(keys))

    async def has_strays(self) -> bool:
        """Whether any row has no album."""
        photos = self._photos
        sql = f"SELECT EXISTS (SELECT 1 FROM {photos.sql} WHERE {photos['album_key']} IS NULL)"
        return bool((await self._run(sql))[0][0])

    async def images_without_album(self) -> list[str]:
        """The image keys of rows that have no album."""
        return [row[0] for row in await self._run(statements.images_without_album(self._photos))]

    async def rows(self) -> AsyncIterator[list[RemoteRow]]:
        """Every row that says which photo and album it is of, in chunks."""
        async with self._connection.cursor(name="syncd") as cursor:
            await cursor.execute(statements.all_digests(self._photos).encode(), ())
            while found := await cursor.fetchmany(_CHUNK):
                yield found

    async def _run(self, sql: str, *values: Any) -> list[Any]:
        cursor = await self._connection.execute(sql.encode(), values)
        return await cursor.fetchall() if cursor.description else []

    async def _count(self, sql: str, *values: Any) -> int:
        return (await self._connection.execute(sql.encode(), values)).rowcount


class PostgresMirror:
    """A Postgres database, reached over one connection that is opened when needed. Every method raises one
    of the four errors: Transient (down, busy, slow), AuthRejected (the password), Refused (rights, types)."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = anyio.Lock()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._tables: tuple[Table, Table] | None = None
        self._failed: tuple[SyncdError, float] | None = None
        self._identity = ""

    # --- names --------------------------------------------------------------------------------------

    async def rename_album(self, album_key: str, new_name: str, change: NameChange) -> None:
        """Gives all rows of the album the name and records the change, in one transaction. Doing it again
        changes nothing. An album without rows is no error: its rows come with the new name."""
        async with self.session() as session:
            await session.name_albums({album_key: new_name})
            await self._record(change)

    async def names(self) -> dict[str, AlbumNames]:
        """The names and the number of rows of every album that the mirror has rows of, by key."""
        async with self.session():
            photos, _ = self._known()
            album, name = photos["album_key"], photos["album_name"]
            rows = await self._fetch(
                f"SELECT {album}, array_agg(DISTINCT coalesce({name}, '')), count(*) FROM {photos.sql}"
                f" WHERE {album} IS NOT NULL GROUP BY 1"
            )
        return {row[0]: AlbumNames(frozenset(row[1]), row[2]) for row in rows}

    async def statistics(self) -> Statistics:
        """Counts over all rows, whoever wrote them."""
        async with self.session():
            photos, _ = self._known()
            album = photos["album_key"]
            rows = await self._fetch(
                f"SELECT count(DISTINCT {album}), count(*), count({album}), count(*) - count({album}),"
                f" count(*) FILTER (WHERE {photos['updated_at']}::timestamptz > now() - interval '24 hours')"
                f" FROM {photos.sql}"
            )
        return Statistics(*rows[0])

    async def _record(self, change: NameChange) -> None:
        """Once, however often it is told: no two changes of an album begin in the same millisecond."""
        _, changes = self._known()
        names = ("album_key", "old_name", "new_name", "changed_at", "changed_by", "source")
        values = [
            change.album_key, statements.clean(change.old_name), statements.clean(change.new_name),
            change.changed_at, statements.clean(change.changed_by), change.source,
        ]  # fmt: skip
        columns = ", ".join(changes[name] for name in names)
        given = ", ".join(f"%s::{changes.columns[name].type_sql}" for name in names)
        same = " AND ".join(f"{changes[name]} = %s::{changes.columns[name].type_sql}" for name in names[:4])
        await self._fetch(
            f"INSERT INTO {changes.sql} ({columns}) SELECT {given}"
            f" WHERE NOT EXISTS (SELECT 1 FROM {changes.sql} WHERE {same})",
            *values, *values[:4],
        )  # fmt: skip

    # --- the connection -----------------------------------------------------------------------------

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A transaction that no other task is in, committed at the end. The tables are there."""
        # Loading the driver takes a while.
        psycopg = await anyio.to_thread.run_sync(importlib.import_module, "psycopg")
        async with self._lock:
            connection = await self._connected()
            try:
                if self._tables is None:
                    async with connection.transaction():
                        await connection.execute(_SET.encode(), ())
                        self._tables = await self._prepared(connection)
                async with connection.transaction():
                    await connection.execute(_SET.encode(), ())
                    yield Session(connection, self._tables[0], self._address)
            except psycopg.Error as error:
                raise self._failure(error) from error
            finally:
                # Cut off in the middle, it cannot be used again.
                if connection.closed or connection.info.transaction_status != _IDLE:
                    await self._drop()

    @property
    def identity(self) -> str:
        """Which database and table this is, as far as can be told: another one has to be filled anew. Known
        once there was a session."""
        return self._identity

    def try_again(self) -> None:
        """Somebody may have put right what kept syncd out."""
        self._failed = None

    async def close(self) -> None:
        """Ends the connection; the next call opens another."""
        async with self._lock:
            await self._drop()

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is not None:
            if await _answers(self._connection):
                return self._connection
            await self._drop()
        if self._failed is not None and time.monotonic() < self._failed[1]:
            raise self._failed[0]
        import psycopg

        self._address = address = read_dsn(self._dsn)
        register_secret(address.password)
        began_s = time.monotonic()
        try:
            self._connection = await psycopg.AsyncConnection.connect(
                autocommit=True, prepare_threshold=None, **address.parameters
            )
        except psycopg.Error as error:
            failure = explain(error, address)
            now_s = time.monotonic()
            # Of many who ask a server that does not answer, only the first waits for it.
            patience_s = now_s - began_s if isinstance(failure, Transient) else _REFUSED_FOR_S
            self._failed = (failure, now_s + patience_s)
            raise failure from error
        except OSError as error:
            raise Transient(f"{address.place} does not answer: {error}") from error
        self._failed = self._tables = None
        return self._connection

    async def _prepared(self, connection: psycopg.AsyncConnection[Any]) -> tuple[Table, Table]:
        """Both tables as they are, made where they were missing. Rows without an album get the one of their
        URL before the database is asked to hold that none is there twice."""
        photos = await schema.ensure(connection, PHOTOS, self._address)
        changes = await schema.ensure(connection, CHANGES, self._address)
        if not photos.is_unique:
            await connection.execute(statements.keys_from_urls(photos).encode(), ())
            photos = await schema.make_unique(connection, photos)
        self._identity = f"{self._address.place}/{connection.info.dbname}/{photos.oid}"
        return photos, changes

    def _failure(self, error: psycopg.Error) -> SyncdError:
        failure = explain(error, self._address)
        if isinstance(failure, SchemaChanged):
            self._tables = None
        return failure

    async def _drop(self) -> None:
        connection, self._connection, self._tables = self._connection, None, None
        if connection is not None:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await connection.close()

    def _known(self) -> tuple[Table, Table]:
        assert self._tables is not None
        return self._tables

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        assert self._connection is not None
        cursor = await self._connection.execute(sql.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def _answers(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether the other side still holds the connection: poolers end those that rest, and a server that was
    restarted knows none."""
    import psycopg

    try:
        await connection.execute(b"SELECT 1", ())
    except psycopg.Error:
        return False
    return True


def _keys(keys: Collection[Key]) -> str:
    return msgspec.json.encode([{"a": key.album_key, "i": key.image_key} for key in keys]).decode()
