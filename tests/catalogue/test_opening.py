"""What is refused at opening, untouched, and how the schema comes to be."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.catalogue import _opening, _sqlite
from syncd.catalogue._filesystem import network_filesystem
from syncd.catalogue._opening import APPLICATION_ID, Migration, migrate, shipped_migrations
from syncd.catalogue.database import Catalogue
from syncd.errors import ExitCode, Fatal


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if not entry.name.endswith("-shm")}


async def make(path: Path, *, batches: int = 0) -> None:
    async def fill(db: object) -> None:
        await db.executemany(  # type: ignore[attr-defined]
            "INSERT INTO public_site_batches (batch_name) VALUES (?)",
            [(f"{i:0100}",) for i in range(batches)],
        )

    async with Catalogue.open(path) as catalogue:
        await catalogue.write(fill)


async def refusal(path: Path) -> Fatal:
    """The refusal to open, once it is known that nothing was touched."""
    before, mode = contents(path.parent), path.stat().st_mode
    with pytest.raises(Fatal) as caught:
        async with Catalogue.open(path):
            pass
    assert contents(path.parent) == before
    assert path.stat().st_mode == mode
    assert caught.value.exit_code is ExitCode.FAILED
    assert str(path) in caught.value.message
    return caught.value


def change(path: Path, sql: str) -> None:
    connection = _sqlite.connect(path)
    connection.execute(sql)
    connection.close()


async def test_a_newer_catalogue_is_refused(path: Path) -> None:
    await make(path)
    change(path, "PRAGMA user_version = 9999")
    error = await refusal(path)
    assert "version 9999" in error.message
    assert error.hint and "newer syncd" in error.hint


async def test_a_newer_version_that_is_only_in_the_log_is_refused(path: Path) -> None:
    await make(path)
    script = (
        "import os, sys, pysqlite3\n"
        "db = pysqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA user_version = 9999')\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert path.with_name("catalogue.db-wal").stat().st_size > 0
    assert "version 9999" in (await refusal(path)).message


@pytest.mark.parametrize("name", ["other program", "no tables of ours"])
async def test_the_database_of_another_program_is_refused(path: Path, name: str) -> None:
    path.parent.mkdir()
    subprocess.run(
        ["sqlite3", str(path), "CREATE TABLE bookmarks (url); PRAGMA user_version = 1;"], check=True
    )
    if name == "other program":
        subprocess.run(["sqlite3", str(path), "PRAGMA application_id = 42;"], check=True)
    path.chmod(0o644)
    assert "another program" in (await refusal(path)).message


def garbage(data: bytes) -> bytes:
    return b"no database at all\n" * 1000


def cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def shorter_than_a_header(data: bytes) -> bytes:
    return data[:60]


def scribbled_over(data: bytes) -> bytes:
    return data[: 4096 * 4] + b"\xa5" * (len(data) - 4096 * 4)


def without_a_schema(data: bytes) -> bytes:
    return data[:100] + b"\x00" * 3996 + data[4096:]


@pytest.mark.parametrize(
    "harm",
    [garbage, cut_short, shorter_than_a_header, scribbled_over, without_a_schema],
    ids=lambda f: f.__name__,
)
async def test_a_damaged_file_is_refused(path: Path, harm: Callable[[bytes], bytes]) -> None:
    await make(path, batches=500)
    path.write_bytes(harm(path.read_bytes()))
    error = await refusal(path)
    assert "damaged" in error.message or "not a SQLite database" in error.message
    assert error.hint and "backup" in error.hint


async def test_a_clean_close_spares_the_full_check_and_any_change_brings_it_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Path] = []
    check_pages = _opening._check_pages
    monkeypatch.setattr(
        _opening, "_check_pages", lambda path, *a, **k: (checked.append(path), check_pages(path, *a, **k))
    )
    await make(path, batches=1)
    await make(path)
    assert checked == []
    os.utime(path)
    await make(path)
    assert checked == [path]
    await make(path)
    assert checked == [path]


async def test_a_fifo_and_a_folder_are_refused(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(Fatal, match="not a regular file"):
        async with Catalogue.open(path):
            pass
    with pytest.raises(Fatal, match="not a regular file"):
        async with Catalogue.open(path.parent):
            pass


async def test_a_folder_that_cannot_be_made_is_fatal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Fatal, match="cannot be opened"):
        async with Catalogue.open(tmp_path / "file" / "catalogue.db"):
            pass


_MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /srv/far rw shared:2 - nfs4 server:/export rw,vers=4.2
31 30 254:1 / /srv/far/near rw - xfs /dev/vdb rw
32 22 0:31 / /srv/with\\040space rw - cifs //server/share rw
33 22 0:32 / /srv/fuse rw - fuse.sshfs me@host: rw
34 22 0:33 / /srv/local rw - fuse.mergerfs a:b rw
35 22 0:34 / /srv/over rw - ext4 /dev/vdc rw
36 35 0:35 / /srv/over rw - 9p share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv", None),
        ("/srv/far", "nfs4"),
        ("/srv/far/state/new/catalogue.db", "nfs4"),
        ("/srv/farther/catalogue.db", None),
        ("/srv/far/near/catalogue.db", None),
        ("/srv/with space/catalogue.db", "cifs"),
        ("/srv/fuse/catalogue.db", "fuse.sshfs"),
        ("/srv/local/catalogue.db", None),
        ("/srv/over/catalogue.db", "9p"),
    ],
)
def test_network_file_systems_are_known_by_the_mount_that_holds_the_path(
    folder: str, kind: str | None
) -> None:
    assert network_filesystem(Path(folder), _MOUNTS) == kind


async def test_a_catalogue_on_a_network_file_system_is_refused_before_anything_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_opening, "network_filesystem", lambda path: "nfs4")
    with pytest.raises(Fatal, match="network file system"):
        async with Catalogue.open(path):
            pass
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False), ((3, 7, 0), True), ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False),
        ((3, 45, 0), True), ((3, 50, 6), True), ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False),
        ((3, 53, 4), False),
    ],
)  # fmt: skip
def test_libraries_with_the_wal_reset_bug_are_refused(version: tuple[int, ...], affected: bool) -> None:
    assert _sqlite.is_affected(version) is affected
    if affected:
        with pytest.raises(Fatal, match="WAL-reset"):
            _sqlite.check_library(version)


async def test_rows_follow_those_they_hang_on_though_foreign_keys_are_off(path: Path) -> None:
    """As the shell of SQLite has them, in which people delete rows by hand."""
    async with Catalogue.open(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        hanging = db.execute(
            "SELECT t.name, k.'table' FROM sqlite_schema t, pragma_foreign_key_list(t.name) k"
            " WHERE t.type = 'table'"
        ).fetchall()
        assert len(hanging) > 15
        for child, parent in hanging:
            triggers = db.execute(
                "SELECT group_concat(sql) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?",
                (parent,),
            ).fetchone()[0]
            words = triggers.split() if triggers else []
            assert child in words, f"rows of {child} stay when {parent} is deleted from"
        db.executescript(
            "INSERT INTO events (event_id, name, drive_folder_id) VALUES ('gala', 'Gala', 'x');"
            "INSERT INTO event_objects (storage_id, key, event_id, photo_id, content)"
            " VALUES ('local', 'events/gala/1.jpg', 'gala', '1', 'x'); DELETE FROM events;"
        )
        assert db.execute("SELECT wanted FROM event_objects").fetchall() == [(0,)]


# --- migrations -----------------------------------------------------------------------------------

NEXT = len(shipped_migrations()) + 1
SECOND = Migration(
    NEXT,
    f"{NEXT:04}_next.sql",
    "BEGIN IMMEDIATE;\nCREATE TABLE second (a TEXT) STRICT; -- one; two\n"
    "CREATE TRIGGER t AFTER INSERT ON second BEGIN\n  DELETE FROM second WHERE a = ';';\nEND;\n"
    f"PRAGMA user_version = {NEXT};\nCOMMIT;\n",
)


def schema(path: Path) -> list[tuple[str, ...]]:
    connection = _sqlite.connect(path)
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
    version = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return [version, *rows]


def test_shipped_migrations_are_numbered_whole_transactions() -> None:
    migrations = shipped_migrations()
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    for migration in migrations:
        statements = [line for line in migration.sql.splitlines() if line and not line.startswith("--")]
        assert statements[0] == "BEGIN IMMEDIATE;"
        assert statements[-2:] == [f"PRAGMA user_version = {migration.number};", "COMMIT;"]


async def test_a_migrated_schema_is_the_fresh_one(tmp_path: Path) -> None:
    shipped = shipped_migrations()
    steps, fresh = tmp_path / "steps.db", tmp_path / "fresh.db"
    for count in range(1, len(shipped) + 1):
        async with Catalogue.open(steps, migrations=shipped[:count]):
            pass
    async with Catalogue.open(steps, migrations=(*shipped, SECOND)):
        pass
    async with Catalogue.open(fresh, migrations=(*shipped, SECOND)):
        pass
    assert schema(steps) == schema(fresh)
    assert schema(fresh)[0] == (NEXT,)


async def test_every_table_is_strict_and_the_catalogue_says_whose_it_is(path: Path) -> None:
    async with Catalogue.open(path) as catalogue, catalogue.reader() as db:
        loose = await db.execute_fetchall(
            "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict"
            " AND name NOT LIKE 'sqlite_%'"
        )
        assert list(loose) == []
        assert list(await db.execute_fetchall("PRAGMA application_id")) == [(APPLICATION_ID,)]
        assert list(await db.execute_fetchall("PRAGMA journal_mode")) == [("wal",)]


async def test_other_versions_of_sqlite_find_no_fault_with_a_job_that_waits(path: Path) -> None:
    """The program `sqlite3` of a system may be older, and its json_valid(NULL) is 0."""
    async with Catalogue.open(path) as catalogue:
        await catalogue.write(lambda db: db.execute("INSERT INTO jobs (kind) VALUES ('x')"))
        with closing(sqlite3.connect(path)) as other, other:
            assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            other.execute("UPDATE jobs SET subject = 'y'")
            with pytest.raises(sqlite3.IntegrityError):
                other.execute("UPDATE jobs SET result = '{'")


@pytest.mark.parametrize(
    "sql",
    [
        SECOND.sql.replace("PRAGMA user_version", "INSERT INTO nowhere VALUES (1);\nPRAGMA user_version"),
        SECOND.sql.replace("COMMIT;\n", ""),
        SECOND.sql.replace(f"user_version = {NEXT};", f"user_version = {NEXT + 1};\nSELECT * FROM nowhere;"),
    ],
)
async def test_a_failed_migration_leaves_no_trace(path: Path, sql: str) -> None:
    await make(path)
    before = schema(path)
    with pytest.raises((Fatal, _sqlite.Error)):
        async with Catalogue.open(path, migrations=(*shipped_migrations(), Migration(NEXT, "bad.sql", sql))):
            pass
    assert schema(path) == before
    await make(path)


def test_a_migration_outside_a_transaction_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    connection = _sqlite.connect(path)
    with pytest.raises(Fatal, match="BEGIN"):
        migrate(connection, (Migration(1, "0001_bare.sql", "PRAGMA user_version;\nCREATE TABLE a (b);\n"),))
    assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == []
    connection.close()


@given(st.binary(max_size=300))
def test_no_header_gets_past_the_check(data: bytes) -> None:
    """Whatever a file begins with, it is refused or empty: never taken for a catalogue."""
    descriptor = os.memfd_create("catalogue")
    try:
        os.write(descriptor, data)
        path = Path(f"/proc/self/fd/{descriptor}")
        if not data:
            _opening._refuse_unfit(path, 1)
            return
        with pytest.raises(Fatal):
            _opening._refuse_unfit(path, 1)
    finally:
        os.close(descriptor)


def test_importing_the_catalogue_loads_nothing_heavy() -> None:
    script = (
        "import sys, syncd.catalogue.database, syncd.catalogue.browse, syncd.catalogue.jobs\n"
        "print({'structlog', 'aiohttp', 'msgspec', 'click', 'PIL', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
