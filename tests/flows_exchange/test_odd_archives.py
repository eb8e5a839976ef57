"""Archives of other hands: values of any type and encoding, other columns, tables that are not there."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.catalogue import exchange as queries
from syncd.catalogue.exchange_archive import open_archive
from syncd.errors import Refused
from tests.flows_exchange.conftest import Desk
from tests.flows_exchange.indafoto import Indafoto, told_of

PHOTO = b"a photo" * 100
ODD = {
    "numbers for names": (
        "CREATE TABLE a (id INTEGER PRIMARY KEY, album_id INTEGER, title TEXT, url TEXT, is_public TEXT)",
        "INSERT INTO a SELECT id, 77, title, url, 'yes' FROM albums", "DROP TABLE albums",
        "ALTER TABLE a RENAME TO albums",
    ),
    "no columns": ("ALTER TABLE albums DROP COLUMN is_public", "ALTER TABLE albums DROP COLUMN url"),
    "no key": (
        "CREATE TABLE a (id INTEGER PRIMARY KEY, title TEXT)", "INSERT INTO a SELECT id, title FROM albums",
        "DROP TABLE albums", "ALTER TABLE a RENAME TO albums",
    ),
    "other encodings": (
        "UPDATE images SET title = CAST(x'4be970' AS TEXT), author = x'ff00', taken_date = 2020",
        "UPDATE images SET local_path = CAST(local_path AS BLOB)",
        "UPDATE tags SET name = CAST(x'e9' AS TEXT)", "UPDATE albums SET title = x'e9', is_public = 1e30",
        "INSERT INTO images (url) VALUES (CAST(x'61e9' AS TEXT)), (CAST(x'61ea' AS TEXT))",
    ),
    "sizes": (
        "ALTER TABLE images ADD COLUMN size_bytes", "ALTER TABLE images ADD COLUMN perceptual_hash",
        "UPDATE images SET size_bytes = 'abc', perceptual_hash = 1234567890123456",
        "INSERT INTO images (url, size_bytes) VALUES ('a', 9223372036854775807), ('b', 1152921504606846975),"
        " ('c', 1152921504606846975)",
    ),
}  # fmt: skip


async def test_archives_of_other_hands_are_given_and_taken(desk: Desk, tmp_path: Path) -> None:
    for name, statements in ODD.items():
        theirs, ours = Indafoto(tmp_path / f"{name} theirs"), Indafoto(tmp_path / f"{name} ours")
        sha256 = theirs.add(PHOTO, author="Anna", title="Title", tags=("tag",), albums=("one",))
        theirs.sql("UPDATE images SET description = ?", "é" * 2_000_000)
        for statement in statements:
            theirs.sql(statement)
        for db in (ours.path, None) if name == "other encodings" else (ours.path,):
            found = await desk.analyze(db, theirs.path)
            disk = tmp_path / f"disk of {found.list_id}"
            given = await desk.export(theirs.path, found.list_file, disk)
            assert (given.exported, given.failed) == (1, []), name
            taken = await desk.take(db, found.list_id, disk)
            assert (taken.imported, taken.rejected) == (1, []), name
            assert (await desk.verify(db, found.list_id)).ok == 1, name
        told = told_of(ours.path, sha256)
        assert told["description"] == "é" * 10_000
        if name == "other encodings":
            assert (told["title"], told["tags"], told["albums"]) == ("K\ufffdp", ["\ufffd"], ["\ufffd"])
            continue
        assert (told["title"], told["tags"], told["albums"]) == ("Title", ["tag"], ["one"])


async def test_an_archive_without_columns_takes(desk: Desk, tmp_path: Path) -> None:
    theirs, ours = Indafoto(tmp_path / "theirs"), Indafoto(tmp_path / "ours")
    theirs.add(PHOTO, tags=("tag",), albums=("one",), collections=("c",))
    ours.sql("ALTER TABLE albums DROP COLUMN is_public")
    ours.sql("ALTER TABLE image_collections RENAME TO away")
    found = await desk.analyze(ours.path, theirs.path)
    await desk.export(theirs.path, found.list_file, tmp_path / "disk")
    assert (await desk.take(ours.path, found.list_id, tmp_path / "disk")).imported == 1
    assert ours.sql("SELECT title FROM albums JOIN image_albums m ON m.album_id = albums.id") == [("one",)]


async def test_images_without_numbers_are_refused(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE images (id, url TEXT, local_path TEXT, sha256_hash TEXT)")
        db.execute("INSERT INTO images VALUES (1, NULL, 'a.jpg', ?)", ("a" * 64,))
    assert (await desk.analyze(None, path, dry_run=True)).hash_files == 1  # each has one all the same
    with pytest.raises(Refused, match="no integer primary key"):
        await desk.analyze(path, Indafoto(tmp_path / "theirs").path)
    for number in ("NULL", "'k1'", "1"):
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(f"INSERT INTO images VALUES ({number}, NULL, 'b.jpg', ?)", ("b" * 64,))
        with pytest.raises(Refused, match="no integer primary key"):
            await desk.analyze(None, path)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("DELETE FROM images WHERE local_path = 'b.jpg'")


async def test_what_is_too_large_is_turned_down(desk: Desk, tmp_path: Path) -> None:
    theirs, ours, disk = Indafoto(tmp_path / "theirs"), Indafoto(tmp_path / "ours"), tmp_path / "disk"
    for number in range(2):
        theirs.add(PHOTO + b"%d" % number, albums=("one",))
    found = await desk.analyze(ours.path, theirs.path)
    await desk.export(theirs.path, found.list_file, disk)
    manifest = disk / f"manifest-{found.list_id}.jsonl"
    head, first, second = (json.loads(line) for line in manifest.read_bytes().splitlines())
    first["metadata"]["albums"][0]["is_public"] = 10**30
    long = {**second, "name": "x" * (3 << 20)}
    manifest.write_text("".join(f"{json.dumps(line)}\n" for line in (head, long, first, second)))
    taken = await desk.take(ours.path, found.list_id, disk)
    assert (taken.imported, len(taken.rejected)) == (1, 2)
    assert "line 2: it is too long" in taken.rejected[0].reason
    assert len(list((ours.folder / "images").rglob("*.jpg"))) == 1


OLD_SCRIPTS = """
CREATE TABLE sync_operations (id INTEGER PRIMARY KEY, operation_id TEXT UNIQUE, start_time TEXT,
    end_time TEXT, status TEXT, source_db_path TEXT, total_files INTEGER, processed_files INTEGER,
    error_count INTEGER);
CREATE TABLE sync_export_lists (id INTEGER PRIMARY KEY, operation_id TEXT, list_id TEXT UNIQUE,
    created_time TEXT, total_files INTEGER, processed_files INTEGER, status TEXT,
    FOREIGN KEY (operation_id) REFERENCES sync_operations (operation_id));
INSERT INTO sync_export_lists (list_id, created_time) VALUES ('0123', '2025-01-02T10:00:00.123456'),
    ('4567', NULL);
"""


async def test_lists_of_scripts_of_old_are_shown(desk: Desk, tmp_path: Path) -> None:
    archive = Indafoto(tmp_path / "ours")
    with closing(sqlite3.connect(archive.path)) as db:
        db.executescript(OLD_SCRIPTS)
    async with open_archive(archive.path, desk.catalogue, read_only=True) as looked_at:
        assert not await looked_at.read(queries.has_exchange)
    async with desk.archive(archive.path) as worked_on:
        assert await worked_on.read(queries.has_exchange)
        found, _ = await worked_on.read(lambda db: queries.lists(db, 10, None))
    assert [(one.list_id, one.status, one.total_files, one.created_at[:10]) for one in found] == [
        ("4567", "pending", 0, "1970-01-01"),
        ("0123", "pending", 0, "2025-01-02"),
    ]
