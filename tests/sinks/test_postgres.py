"""The mirror's sink against a real Postgres: tables that others made, servers that fail, missing rights."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.sinks.postgres import AlbumNames, Key, PostgresMirror, Statistics
from syncd.sinks.postgres_dsn import Address, read_dsn
from syncd.sinks.postgres_errors import BadRow, explain
from syncd.sinks.postgres_rows import MirrorRow
from tests.postgres import PASSWORD, Database, PostgresServer
from tests.sinks.postgres_tls import tls_in_front


class Change(NamedTuple):
    id: int = 1
    album_key: str = "A"
    old_name: str = "Old"
    new_name: str = "New"
    changed_at: str = "2026-01-01T00:00:00.123Z"
    changed_by: str = "me"
    source: str = "apply"


@asynccontextmanager
async def mirror_of(dsn: str) -> AsyncIterator[PostgresMirror]:
    mirror = PostgresMirror(dsn)
    try:
        yield mirror
    finally:
        await mirror.close()


@pytest.fixture
async def mirror(database: Database) -> AsyncIterator[PostgresMirror]:
    async with mirror_of(database.dsn) as made:
        yield made


def row(number: int = 1, album: str = "A", **values: object) -> MirrorRow:
    given = {"imageurl": f"https://x/{number}.jpg", "title": f"t{number}", "keywords": ("a", "b"), **values}
    return MirrorRow(f"k{number}", album, f"Name of {album}", **given)  # type: ignore[arg-type]


async def put(mirror: PostgresMirror, *rows: MirrorRow) -> dict[Key, int]:
    async with mirror.session() as session:
        return await session.put(rows)


async def refusal(mirror: PostgresMirror, *rows: MirrorRow) -> SyncdError:
    with pytest.raises(SyncdError) as caught:
        await put(mirror, *(rows or (row(),)))
    told = f"{caught.value} {caught.value.hint}"
    assert PASSWORD not in told
    assert "Traceback" not in told
    return caught.value


# --- what names ask -------------------------------------------------------------------------------------


async def test_names_and_counts(mirror: PostgresMirror, database: Database) -> None:
    assert await mirror.names() == {}
    assert await mirror.statistics() == Statistics(0, 0, 0, 0, 0)
    await put(mirror, row(1), row(2), row(1, "B"))
    database.run(
        "INSERT INTO photo_metadata (image_key, updated_at) VALUES ('x', now() - interval '25 hours')"
    )
    database.run("INSERT INTO photo_metadata (album_key, updated_at) VALUES ('B', now() - interval '2 days')")
    assert await mirror.statistics() == Statistics(2, 5, 4, 1, 3)
    change = Change()
    for _ in range(2):
        await mirror.rename_album("A", "New", change)
    await mirror.rename_album("none", "of no rows", change._replace(album_key="none"))
    assert await mirror.names() == {
        "A": AlbumNames(frozenset({"New"}), 2),
        "B": AlbumNames(frozenset({"Name of B", ""}), 2),
    }
    written = "SELECT id, album_key, old_name, new_name, changed_at::text, changed_by, source"
    assert database.run(f"{written} FROM album_name_changes ORDER BY id") == [
        (1, "A", "Old", "New", "2026-01-01 00:00:00.123+00", "me", "apply"),
        (2, "none", "Old", "New", "2026-01-01 00:00:00.123+00", "me", "apply"),
    ]


async def test_a_rename_is_one_transaction(mirror: PostgresMirror, database: Database) -> None:
    await put(mirror, row(1))
    database.run("ALTER TABLE album_name_changes ADD CHECK (new_name <> 'New')")
    with pytest.raises(BadRow):
        await mirror.rename_album("A", "New", Change())
    assert set((await mirror.names())["A"].names) == {"Name of A"}


# --- tables ---------------------------------------------------------------------------------------------


async def test_tables_are_made(mirror: PostgresMirror, database: Database) -> None:
    await put(mirror, row(embedding=array("f", [1, 2]).tobytes(), photo_date="2024-02-30T10:00:00"))
    types = dict(
        database.run(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'photo_metadata'::regclass AND attnum > 0"
        )
    )
    wanted = {"photo_id": "uuid", "imageurl": "text", "photo_date": "timestamp without time zone",
              "updated_at": "timestamp with time zone", "keywords": "text[]",
              "embedding": "vector"}  # fmt: skip
    assert {name: types[name] for name in wanted} == wanted
    shown = "SELECT embedding::text, photo_date, photo_id IS NOT NULL FROM photo_metadata"
    assert database.run(shown) == [("[1,2]", None, True)]
    with pytest.raises(Exception, match="photo_metadata_album_image"):
        database.run("INSERT INTO photo_metadata (album_key, image_key) VALUES ('A', 'k1')")


async def test_a_table_of_somebody_else_is_understood(mirror: PostgresMirror, database: Database) -> None:
    """Quoted names, other types and order, a column of theirs that must be filled, rows without an album."""
    database.run("CREATE EXTENSION vector")
    database.run(
        'CREATE TABLE photo_metadata ("ThumbnailUrl" varchar(200), "ImageUrl" text NOT NULL,'
        " photo_id bigserial, owner text NOT NULL DEFAULT 'them', keywords jsonb, tags text, teams json,"
        ' photo_date timestamptz, confidence numeric(5, 2), width text, "AlbumKey" varchar(20),'
        ' album_name char(30), image_key text, "odd % ""name""" int, embedding vector(2),'
        " updated_at timestamp, description text NOT NULL)"
    )
    database.run(
        'INSERT INTO photo_metadata ("ImageUrl", image_key, description, "ThumbnailUrl") VALUES'
        " ('https://photos.smugmug.com/photos/A/x/k1.jpg', 'k1', 'theirs', 'their thumbnail'),"
        " ('https://photos.smugmug.com/photos/B/i-k9/y.jpg', NULL, '', NULL),"
        " ('https://photos.smugmug.com/photos/i-k2/0/y.jpg', NULL, '', NULL),"
        " ('https://photos.smugmug.com/photos/i-k3/0/y.jpg', NULL, '', NULL),"
        " ('https://elsewhere/photos/C/y.jpg', 'k4', '', NULL)"
    )
    async with mirror.session() as session:
        assert sorted(await session.images_without_album()) == ["k2", "k3", "k4"]
        assert await session.fill_from_images([Key("A", "k2")]) == 1
    rows = [
        row(1, photo_date="2024-05-30T10:00:00", confidence=0.987, width=100, tags=("x", "y"), teams=("T",),
            embedding=array("f", [1, 2]).tobytes()),
        row(2, embedding=array("f", [1, 2, 3]).tobytes(), imageurl=None),
    ]  # fmt: skip
    digests = await put(mirror, *rows)
    assert await put(mirror, *rows) == digests
    assert len(digests) == 2
    shown = database.run(
        'SELECT image_key, "AlbumKey", rtrim(album_name), "ImageUrl", "ThumbnailUrl", owner, description'
        " FROM photo_metadata ORDER BY image_key, photo_id"
    )
    smugmug = "https://photos.smugmug.com/photos"
    assert shown == [
        ("k1", "A", "Name of A", "https://x/1.jpg", "their thumbnail", "them", "theirs"),
        ("k2", "A", "Name of A", f"{smugmug}/i-k2/0/y.jpg", None, "them", ""),
        ("k4", None, None, "https://elsewhere/photos/C/y.jpg", None, "them", ""),
        ("k9", "B", None, f"{smugmug}/B/i-k9/y.jpg", None, "them", ""),
        (None, None, None, f"{smugmug}/i-k3/0/y.jpg", None, "them", ""),
    ]
    shown = database.run(
        "SELECT keywords, tags, teams, photo_date::text, confidence::text, width, embedding::text, synced_by"
        " FROM photo_metadata WHERE image_key IN ('k1', 'k2') ORDER BY image_key"
    )
    assert shown == [
        (["a", "b"], "x;y", ["T"], "2024-05-30 10:00:00+00", "0.99", "100", "[1,2]", None),
        (["a", "b"], None, None, None, None, None, None, None),
    ]
    # What syncd did not make, it does not remove.
    async with mirror.session() as session:
        assert await session.remove([Key("A", "k1")]) == 0
    await mirror.rename_album("A", "New", Change())
    assert (await mirror.names())["A"].names == {f"{'New':30}"} or (await mirror.names())["A"].names == {
        "New"
    }


async def test_rows_that_are_there_twice(mirror: PostgresMirror, database: Database) -> None:
    """No index can hold what is not so; the rows are kept right all the same, and no third comes."""
    database.run("CREATE TABLE photo_metadata (image_key text, album_key text, imageurl text, title text)")
    database.run("INSERT INTO photo_metadata VALUES ('k1', 'A'), ('k1', 'A'), ('k2', NULL)")
    await put(mirror, row(1), row(2, "B"))
    await put(mirror, row(1, title="new"), row(3))
    assert database.run("SELECT image_key, album_key, title FROM photo_metadata ORDER BY 1, 2, 3") == [
        ("k1", "A", "new"), ("k1", "A", "new"), ("k2", "B", "t2"), ("k2", None, None), ("k3", "A", "t3"),
    ]  # fmt: skip
    async with mirror.session() as session:
        chunks = [chunk async for chunk in session.rows()]
    assert sorted((Key(*row[:2]), row[3]) for chunk in chunks for row in chunk) == [
        (Key("A", "k1"), False), (Key("A", "k1"), False), (Key("A", "k3"), True), (Key("B", "k2"), True),
    ]  # fmt: skip


async def test_a_row_without_album_stays_where_there_is_one(
    mirror: PostgresMirror, database: Database
) -> None:
    await put(mirror, row(1))
    url = "https://photos.smugmug.com/photos/A/z/{}.jpg"
    database.run("INSERT INTO photo_metadata (imageurl, image_key) VALUES (%s, 'k1')", url.format(1))
    for _ in range(2):
        database.run("INSERT INTO photo_metadata (imageurl, image_key) VALUES (%s, 'k2')", url.format(2))
        database.run("INSERT INTO photo_metadata (imageurl) VALUES (%s)", url.format(3))
    async with mirror.session() as session:
        assert await session.fill_from_urls() == 3
        assert await session.fill_from_urls() == 0
    assert (await mirror.statistics())[:4] == (1, 6, 4, 2)


@pytest.mark.parametrize(
    ("table", "said", "remedy"),
    [
        ("(image_key text, album_key text, title integer)", '"title" is integer', "TYPE text"),
        ("(image_key bigint, album_key text, width bytea)", '"width" is bytea', '"image_key" TYPE text'),
        ("(image_key text, owner text NOT NULL)", '"owner" must have a value', "SET DEFAULT"),
        ("(photo_date time)", "time without time zone", "TYPE timestamp"),
        ("(photo_id uuid NOT NULL)", '"photo_id" must have a value', "SET DEFAULT"),
        (None, "not a table", "rename"),
    ],
    ids=["integer", "bytea", "not-null", "time", "id", "view"],
)
async def test_tables_that_cannot_be_used(
    mirror: PostgresMirror, database: Database, table: str | None, said: str, remedy: str
) -> None:
    database.run(
        f"CREATE TABLE photo_metadata {table}" if table else "CREATE VIEW photo_metadata AS SELECT 1"
    )
    error = await refusal(mirror)
    assert isinstance(error, Refused)
    assert said in str(error)
    assert remedy in (error.hint or "")
    database.run("DROP TABLE photo_metadata" if table else "DROP VIEW photo_metadata")
    await put(mirror, row())  # put right, it goes on


async def test_values_that_the_table_does_not_take(mirror: PostgresMirror, database: Database) -> None:
    database.run("CREATE TABLE photo_metadata (image_key text UNIQUE, album_key text, title varchar(3))")
    assert "varying(3)" in str(await refusal(mirror, row(title="abcd")))
    await put(mirror, row(title="a\0b\ud800c"[:4], caption="\0"))
    assert database.run("SELECT title, caption FROM photo_metadata") == [("ab?", "")]
    twice = await refusal(mirror, row(1, "B"))
    assert isinstance(twice, BadRow)
    assert "DROP CONSTRAINT photo_metadata_image_key_key" in (twice.hint or "")


# --- rights ---------------------------------------------------------------------------------------------


async def test_rights_that_are_missing_are_named(database: Database) -> None:
    dsn = database.role()
    role = read_dsn(dsn).user
    async with mirror_of(dsn) as mirror:
        error = await refusal(mirror)
        assert isinstance(error, Refused)
        assert f"GRANT USAGE, CREATE ON SCHEMA public TO {role}" in (error.hint or "")
        async with mirror_of(database.dsn) as owner:
            await put(owner, row())
        error = await refusal(mirror)
        assert f"{role} lacks rights on photo_metadata: SELECT, INSERT" in str(error)
        grant = (error.hint or "").partition(": ")[2]
        database.run(grant)
        assert "lacks rights on album_name_changes" in str(await refusal(mirror))
        database.run(grant.replace("photo_metadata", "album_name_changes"))
        await put(mirror, row(2))
        database.run("ALTER TABLE photo_metadata DROP COLUMN tags")
        await mirror.close()
        error = await refusal(mirror)
        assert "may not add: tags" in str(error)
        database.run((error.hint or "").partition(": ")[2])
        await put(mirror, row(3, tags=("x",)))
    assert database.run("SELECT count(*), count(tags) FROM photo_metadata") == [(3, 1)]


async def test_row_level_security(database: Database) -> None:
    dsn = database.role()
    role = read_dsn(dsn).user
    async with mirror_of(database.dsn) as owner:
        await put(owner, row(1))
    for name in ("photo_metadata", "album_name_changes"):
        database.run(f"GRANT ALL ON {name} TO {role}; ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    async with mirror_of(dsn) as mirror:
        error = await refusal(mirror, row(2))
        assert isinstance(error, Refused)
        assert "row-level security" in str(error)
        assert f"CREATE POLICY syncd ON photo_metadata TO {role}" in (error.hint or "")
        # Rows that can be written and not seen would be written for ever.
        database.run("CREATE POLICY w ON photo_metadata FOR INSERT WITH CHECK (true)")
        assert "row-level security" in str(await refusal(mirror, row(2)))
        database.run(f"CREATE POLICY syncd ON photo_metadata TO {role} USING (true) WITH CHECK (true)")
        assert set(await put(mirror, row(1, title="new"), row(2))) == {Key("A", "k1"), Key("A", "k2")}


async def test_strangers_see_nothing_where_there_are_strangers(database: Database) -> None:
    async with mirror_of(database.dsn) as mirror:
        database.run("DO $$ BEGIN CREATE ROLE anon; EXCEPTION WHEN duplicate_object THEN END $$")
        try:
            await put(mirror, row())
        finally:
            database.run("DROP OWNED BY anon; DROP ROLE anon")
    secured = "SELECT relrowsecurity FROM pg_class WHERE oid = 'photo_metadata'::regclass"
    assert database.run(secured) == [(True,)]


async def test_vectors_come_once_the_extension_does(database: Database) -> None:
    dsn = database.role()
    database.run(f"GRANT CREATE ON SCHEMA public TO {read_dsn(dsn).user}")
    described = row(embedding=array("f", [1, 2]).tobytes())
    async with mirror_of(dsn) as mirror:
        before = await put(mirror, described)
        columns = (
            "SELECT 1 FROM pg_attribute WHERE attrelid = 'photo_metadata'::regclass AND attname = 'embedding'"
        )
        assert database.run(columns) == []
        database.run("CREATE SCHEMA extensions; GRANT USAGE ON SCHEMA extensions TO PUBLIC")
        database.run("CREATE EXTENSION vector SCHEMA extensions")
        await mirror.close()
        after = await put(mirror, described)
        assert before != after
        assert database.run("SELECT embedding::text FROM photo_metadata") == [("[1,2]",)]
        assert await put(mirror, described) == after


# --- the server -----------------------------------------------------------------------------------------


async def test_who_is_turned_away(database: Database, postgres: PostgresServer) -> None:
    for user, password in [("postgres", "not-the-password"), ("nobody-here", "secret-enough")]:
        async with mirror_of(postgres.dsn(database.name, user=user, password=password)) as mirror:
            error = await refusal(mirror)
            assert isinstance(error, AuthRejected)
            assert user in str(error)
            assert password not in f"{error} {error.hint} {error.__cause__}"
            assert await refusal(mirror) is error  # not asked again at once
    async with mirror_of(postgres.dsn("nowhere")) as mirror:
        error = await refusal(mirror)
        assert isinstance(error, Refused)
        assert 'database "nowhere" does not exist' in str(error)


async def test_a_server_that_goes_and_comes_back(database: Database, postgres: PostgresServer) -> None:
    async with mirror_of(database.dsn) as mirror:
        await put(mirror, row(1))
        postgres.stop()
        try:
            for _ in range(2):
                assert isinstance(await refusal(mirror), Transient)
        finally:
            postgres.start()
        mirror.try_again()
        await put(mirror, row(2))
        database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd'"
        )
        await put(mirror, row(3))  # whoever ended the connection, the server is there
        postgres.stop()
        postgres.start()
        assert (await mirror.statistics()).total_photos == 3
        database.run(f"ALTER DATABASE {database.name} CONNECTION LIMIT 0")
        dsn = database.role()
    async with mirror_of(dsn) as mirror:
        assert isinstance(await refusal(mirror), Transient)


async def test_nothing_is_left_of_what_is_cut_off(database: Database) -> None:
    async with mirror_of(database.dsn) as mirror:
        await put(mirror, row(1))
        with anyio.move_on_after(0.05):
            async with mirror.session() as session:
                await session.put([row(2)])
                await anyio.sleep(5)
        with pytest.raises(ZeroDivisionError):
            async with mirror.session() as session:
                await session.put([row(3)])
                raise ZeroDivisionError
        assert (await mirror.statistics()).total_photos == 1


@pytest.mark.parametrize(
    ("state", "words", "kind"),
    [
        ("53300", "sorry, too many clients already", Transient),
        ("40001", "could not serialize access", Transient),
        ("57014", "canceling statement due to statement timeout", Transient),
        ("XX000", "MaxClientsInSessionMode: max clients reached", Transient),
        ("XX000", "Tenant or user not found", AuthRejected),
        ("28P01", "password authentication failed", AuthRejected),
        ("42P05", 'prepared statement "_pg3_0" already exists', Refused),
        ("26000", "unnamed prepared statement does not exist", Refused),
        ("25006", "cannot execute INSERT in a read-only transaction", Transient),
    ],
)
def test_what_errors_mean(state: str, words: str, kind: type[SyncdError]) -> None:
    import psycopg

    class Said(psycopg.Error):
        sqlstate = state

    error = explain(
        Said(f"{words} hush-hush"), Address({"password": "hush-hush"}, "Postgres at db:6543", "me")
    )
    assert type(error) is kind
    assert words in str(error)
    assert "hush" not in f"{error} {error.hint}"
    if state in ("42P05", "26000"):
        assert "session mode" in (error.hint or "")


# --- the address ----------------------------------------------------------------------------------------


def test_tls_is_verified_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGHOST"):
        monkeypatch.delenv(name, raising=False)

    def tls(dsn: str) -> tuple[str | None, bool]:
        found = read_dsn(dsn).parameters
        return found.get("sslmode"), "sslrootcert" in found

    assert tls("postgresql://u:p@db.example.com/d") == ("verify-full", True)
    assert tls("host=db.example.com dbname=d sslmode=verify-ca") in [
        ("verify-ca", True),
        ("verify-full", True),
    ]
    assert tls("postgresql://u:p@db.example.com/d?sslmode=require") == ("require", False)
    assert (
        tls("postgresql://u:p@127.0.0.1/d") == tls("host=/run/x") == tls("postgresql:///d") == (None, False)
    )
    own = read_dsn("postgresql://u:p@h.example/d?sslrootcert=/ca.crt").parameters
    assert (own["sslmode"], own["sslrootcert"]) == ("verify-full", "/ca.crt")
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert tls("postgresql://u:p@db.example.com/d") == (None, False)


async def test_a_server_that_cannot_be_verified(database: Database) -> None:
    for extra in ("sslmode=require", "sslmode=verify-full&sslrootcert=/nowhere"):
        async with mirror_of(f"{database.dsn}?{extra}") as mirror:
            error = await refusal(mirror)
            assert isinstance(error, Refused)
            assert "SSL" in str(error) or "certificate" in str(error)
            assert "sslrootcert" in (error.hint or "")


async def test_a_server_that_is_verified(database: Database, tmp_path: Path) -> None:
    async with tls_in_front(database.server, tmp_path) as (port, certificate):
        plain = database.dsn.replace(f":{database.server.port}/", f":{port}/")
        trusted = f"{plain}?sslmode=verify-full&sslrootcert={certificate}"
        for number, dsn in enumerate((trusted, f"{plain}?sslmode=require")):
            async with mirror_of(dsn) as mirror:
                assert len(await put(mirror, row(number))) == 1
        for wrong, words in [
            (trusted.replace("127.0.0.1", "localhost"), "does not match host name"),
            (f"{plain}?sslmode=verify-full", "verify failed"),  # by the system's authorities
        ]:
            async with mirror_of(wrong) as mirror:
                error = await refusal(mirror)
                assert isinstance(error, Refused) and words in str(error)
                assert "sslrootcert" in (error.hint or "")


@pytest.mark.parametrize(
    "dsn",
    [
        "nonsense hush-hush", "postgresql://u:hush hush@h/d", "mysql://u:hush@h/d",
        # what is not percent-encoded ends up in another part of the address
        "postgresql://u:a@hush@h/d", "postgresql://u:hush/x@h/d", "postgresql://u:12/hush@h/d",
        "postgresql://u:p@h:hush/d",
    ],
)  # fmt: skip
def test_what_is_no_address_is_not_repeated(dsn: str) -> None:
    with pytest.raises(Refused, match="is not the address") as caught:
        read_dsn(dsn)
    assert "hush" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__cause__ is None
