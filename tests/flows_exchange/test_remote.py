"""Somebody else's database: read without a trace, refused with a reason."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from syncd.catalogue.exchange_remote import open_source
from syncd.errors import Refused
from syncd.flows.exchange_near import Near, find_near
from syncd.lock import acquire_lock
from tests.flows_exchange.conftest import Desk, desk_in, snapshot
from tests.flows_exchange.indafoto import Indafoto


@pytest.fixture
def theirs(tmp_path: Path) -> Indafoto:
    made = Indafoto(tmp_path / "theirs")
    for number in range(60):
        made.add(b"photo %d" % number, url=f"https://x/{number}")
    return made


def write_other(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(statement)


async def test_what_is_no_archive_is_refused(desk: Desk, theirs: Indafoto, tmp_path: Path) -> None:
    good = theirs.path.read_bytes()
    bad: dict[str, tuple[bytes, str]] = {
        "text": (b"hello\n" * 50, "not a SQLite database"),
        "empty": (b"", "is empty"),
        "encrypted": (zlib.compress(good), "encrypted"),
        "cut": (good[: len(good) - 8192], "damaged"),
        "flipped": (good[:8192] + bytes(b ^ 0x5A for b in good[8192:20000]) + good[20000:], "damaged"),
        "format": (good[:18] + b"\x03\x03" + good[20:], "newer SQLite"),
        "newer": (good[:60] + b"\x00\x00\x27\x0f" + good[64:68] + b"sycd" + good[72:], "newer syncd"),
    }
    for name, (content, words) in bad.items():
        path = tmp_path / f"{name}.db"
        path.write_bytes(content)
        with pytest.raises(Refused) as refused:
            await desk.analyze(None, path)
        assert words in refused.value.message and refused.value.hint, (name, refused.value.message)
        assert path.read_bytes() == content
    others: dict[str, tuple[str, str]] = {
        "other": ("CREATE TABLE songs (id)", "no table `images`"),
        "view": ("CREATE TABLE t (id); CREATE VIEW images AS SELECT id FROM t", "no table `images`"),
        "schema": ("CREATE TABLE images (id INTEGER PRIMARY KEY, url TEXT)", "lacks sha256_hash, local_path"),
    }
    for name, (statement, words) in others.items():
        write_other(tmp_path / f"{name}.db", statement)
        with pytest.raises(Refused, match=words):
            await desk.analyze(None, tmp_path / f"{name}.db")
    # the last opens as a file, and cannot be read as from a disk that is broken
    for path in (tmp_path, tmp_path / "none.db", Path("/dev/null"), Path("/proc/self/mem")):
        with pytest.raises(Refused):
            await desk.analyze(None, path)
    with pytest.raises(Refused, match="this archive itself"):
        await desk.analyze(None, desk.catalogue.path)
    with pytest.raises(Refused, match="this archive itself"):
        await desk.analyze(theirs.path, theirs.path)
    huge = tmp_path / "huge.db"
    with huge.open("wb") as file:
        file.write(good)
        file.truncate(65 << 30)
    with pytest.raises(Refused, match="too large"):
        await desk.analyze(None, huge)
    huge.unlink()
    leftovers = [path.name for path in desk.folder.iterdir() if path.name.startswith("exchange-")]
    assert leftovers == []


async def test_one_that_is_being_written_is_copied_first(desk: Desk, theirs: Indafoto) -> None:
    with closing(sqlite3.connect(theirs.path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE images SET sha256_hash = upper(sha256_hash)")
        writer.execute("INSERT INTO images (sha256_hash, url) VALUES (?, 'https://new')", ("f" * 64,))
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM images")
        before = theirs.path.read_bytes(), Path(f"{theirs.path}-wal").read_bytes()
        found = await desk.analyze(None, theirs.path)
        assert (found.hash_files, found.both) == (61, 0)
        assert (theirs.path.read_bytes(), Path(f"{theirs.path}-wal").read_bytes()) == before
        writer.execute("ROLLBACK")


async def test_one_that_was_left_with_its_log_is_read_with_it(
    desk: Desk, theirs: Indafoto, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(theirs.path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO images (sha256_hash) VALUES (?)", ("f" * 64,))
        copy = tmp_path / "left"
        copy.mkdir()
        for suffix in ("", "-wal"):
            (copy / f"a.db{suffix}").write_bytes(Path(f"{theirs.path}{suffix}").read_bytes())
    before = snapshot(copy)
    assert (await desk.analyze(None, copy / "a.db")).hash_files == 61
    assert snapshot(copy) == before


async def test_odd_values_do_no_harm(desk: Desk, theirs: Indafoto) -> None:
    odd: list[tuple[Any, ...]] = [
        ("0" * 64, b"\xff\xfe", b"\x00\x01", "x" * 100_000),
        ("1" * 64, 17, 2.5, "a\0b"),
        ("zz" * 32, None, None, "no hash"),
        (b"\x00" * 64, "https://blob", None, "a blob"),
        ("2" * 63, "https://short", None, "too short"),
        ("", "", None, "nothing"),
    ]  # fmt: skip
    for sha256, url, path, title in odd:
        theirs.sql(
            "INSERT INTO images (sha256_hash, url, local_path, title) VALUES (?, ?, ?, ?)",
            sha256, url, path, title,
        )  # fmt: skip
    theirs.sql("DROP TABLE image_albums")
    theirs.sql("INSERT INTO tags (name) VALUES (x'ff00')")
    theirs.sql("INSERT INTO image_tags SELECT 1, id FROM tags")
    found = await desk.analyze(None, theirs.path)
    assert (found.hash_files, found.url_files) == (62, 2)
    async with desk.archive(None) as archive:
        rows = await archive.read(
            lambda db: db.execute_fetchall(
                "SELECT max(length(metadata)), sum(json_valid(metadata)) FROM sync_export_files"
            )
        )
    assert next(iter(rows))[0] < 11_000
    assert next(iter(rows))[1] == 64


async def test_what_looks_like_ours_is_told_apart(desk: Desk, tmp_path: Path) -> None:
    async with desk_in(tmp_path / "friend") as friend:
        ours = [("a", "00ff00ff00ff00ff"), ("b", "123456789abcdef0")]
        theirs = [("c", "00ff00ff00ff00fe"), ("d", "ffffffffffffffff"), ("e", None)]
        for owner, rows in ((desk, ours), (friend, theirs)):
            for letter, picture in rows:
                sql = (
                    "INSERT INTO images (sha256_hash, local_path, perceptual_hash, size_bytes)"
                    " VALUES (?, ?, ?, 7)"
                )
                values = (letter * 64, f"/photos/{letter}.jpg", picture)
                await owner.catalogue.write(lambda db, v=values, s=sql: db.execute(s, v))
        found = await desk.analyze(None, friend.catalogue.path)
        assert (found.total_files, found.near_matches, found.total_bytes) == (3, 1, 21)
        with acquire_lock(friend.folder), pytest.raises(Refused, match="in use by"):
            await desk.analyze(friend.catalogue.path, theirs_path(tmp_path))
        shown = await desk.analyze(friend.catalogue.path, theirs_path(tmp_path), dry_run=True)
        assert shown.only_here == 3


def theirs_path(folder: Path) -> Path:
    """An archive with nothing in it."""
    return Indafoto(folder / f"empty-{len(list(folder.iterdir()))}").path


async def test_an_archive_that_works_keeps_its_log(desk: Desk, theirs: Indafoto) -> None:
    """One that another program has open, in another mode, is worked on all the same, and is still there."""
    with closing(sqlite3.connect(theirs.path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("INSERT INTO images (sha256_hash) VALUES (?)", ("f" * 64,))
        found = await desk.analyze(theirs.path, theirs_path(theirs.folder))
        assert (found.only_here, found.total_files) == (61, 0)
        assert other.execute("SELECT count(*) FROM images").fetchone() == (61,)
        assert other.execute("SELECT role, status FROM sync_export_lists").fetchall() == [("asks", "pending")]


def test_the_nearest_is_found() -> None:
    ours = [(1, "0" * 16), (2, "f" * 16), (3, "00000000000000ff"), (4, "not a hash"), (5, "0" * 15 + "1")]
    theirs = [(10, "0" * 15 + "3"), (11, "00000000000000fe"), (12, "0f0f0f0f0f0f0f0f"), (13, "f" * 16)]
    assert list(find_near(theirs, ours)) == [Near(10, 5, 1), Near(11, 3, 1), Near(13, 2, 0)]
    assert list(find_near(theirs, [])) == []


def test_a_database_is_only_looked_at(theirs: Indafoto, tmp_path: Path) -> None:
    before = snapshot(theirs.folder)
    source = open_source(theirs.path, tmp_path / "copy.db")
    with closing(source.connect()) as connection, pytest.raises(Exception, match="readonly"):
        connection.execute("DELETE FROM images")
    assert (source.kind, source.is_copy, source.is_unchanged()) == ("indafoto", False, True)
    assert snapshot(theirs.folder) == before
    theirs.sql("INSERT INTO images (url) VALUES ('x')")
    assert not source.is_unchanged()
