"""What comes from somebody else: edited lists, wrong manifests, and files that are not what they say."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncd.control.api import NotFound
from syncd.errors import Refused, Transient
from syncd.flows import exchange_copy
from syncd.flows.exchange_names import file_name, safe_author, safe_name
from tests.flows_exchange.conftest import Desk, snapshot
from tests.flows_exchange.indafoto import Indafoto


def photo(number: int) -> bytes:
    return b"photo %d" % number * 200


@pytest.fixture
def theirs(tmp_path: Path) -> Indafoto:
    made = Indafoto(tmp_path / "theirs")
    for number in range(12):
        made.add(photo(number), author="Anna", title=f"no {number}")
    return made


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write_lines(path: Path, lines: list[Any]) -> None:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))


async def test_a_manifest_is_not_believed(
    desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path
) -> None:
    disk, secret = tmp_path / "disk", tmp_path / "secret.jpg"
    secret.write_bytes(photo(99))
    found = await desk.analyze(ours.path, theirs.path)
    await desk.export(theirs.path, found.list_file, disk)
    manifest = disk / f"manifest-{found.list_id}.jsonl"
    head, *entries = lines_of(manifest)
    entries.sort(key=lambda entry: entry["metadata"]["title"].rjust(6))

    def at(number: int) -> Path:
        return disk / entries[number]["file"]

    at(0).write_bytes(photo(99))  # other bytes, and of another length
    at(1).write_bytes(photo(2)[: len(photo(1))])  # other bytes of the same length
    at(2).write_bytes(photo(2)[:100])
    at(3).unlink()
    at(3).symlink_to(secret)
    at(4).unlink()
    os.mkfifo(at(4))
    at(5).unlink()
    at(6).unlink()
    at(6).mkdir()
    twice, climbing, absolute = dict(entries[7]), dict(entries[8]), dict(entries[9])
    climbing["file"] = "files/../../secret.jpg"
    absolute["file"] = str(secret)
    upper = dict(entries[10])
    upper["file"] = upper["file"].upper()
    stranger = {**entries[11], "sha256": "0" * 64, "file": f"files/00/{'0' * 64}.jpg"}
    write_lines(manifest, [head, *entries[:8], twice, climbing, absolute, upper, stranger, "{", entries[11]])
    before = snapshot(tmp_path / "disk"), secret.read_bytes()
    dry = await desk.take(ours.path, found.list_id, disk, dry_run=True)
    taken = await desk.take(ours.path, found.list_id, disk)
    assert (snapshot(tmp_path / "disk"), secret.read_bytes()) == before
    assert (dry.imported, len(dry.rejected)) == (2, len(taken.rejected) + 1)  # what is gone is told apart
    assert (taken.imported, taken.already_here) == (2, 0)
    assert taken.missing == 1 + 3  # one that is gone, and three whose places were not believed
    reasons = " | ".join(one.reason for one in taken.rejected)
    for words in (
        "not as long", "others than the manifest", "symbolic link", "named pipe", "a folder", "twice",
        "not the one that its content", "does not ask", "line 15",
    ):  # fmt: skip
        assert words in reasons, words
    assert ours.hashes() == {Indafoto.hash_of(photo(7)), Indafoto.hash_of(photo(11))}
    assert not [path for path in ours.folder.rglob("*") if path.is_symlink() or path.suffix == ".part"]
    statuses = dict(ours.sql("SELECT status, count(*) FROM sync_files GROUP BY status"))
    assert statuses["rejected"] == 6 and statuses["imported"] == 2

    # what was mended comes with the next run, and the counts are those of the whole list
    shutil.rmtree(disk)
    theirs.sql("UPDATE images SET title = 'new' WHERE title = 'no 3'")
    await desk.export(theirs.path, found.list_file, disk)
    again = await desk.take(ours.path, found.list_id, disk)
    assert (again.imported, again.missing, again.rejected) == (12, 0, [])
    assert ours.sql("SELECT count(*) FROM images WHERE title = 'new'") == [(1,)]
    with pytest.raises(Refused, match="holds no export of that list"):
        await desk.take(ours.path, found.list_id, tmp_path)
    manifest.rename(tmp_path / "away")
    manifest.symlink_to(tmp_path / "away")
    with pytest.raises(Refused, match=rf"{manifest.name}: a symbolic link"):
        await desk.take(ours.path, found.list_id, disk)
    with pytest.raises(NotFound, match="no list"):
        await desk.take(ours.path, "unknown", disk)


EDITS: dict[str, tuple[Callable[[list[Any]], list[Any]], str]] = {
    "no list": (lambda lines: lines[1:], "is not a list"),
    "empty": (lambda lines: [], "is not a list"),
    "newer": (lambda lines: [{**lines[0], "schema": 2}, *lines[1:]], "newer syncd"),
    "bad id": (lambda lines: [{**lines[0], "list_id": "../x"}, *lines[1:]], "line 1"),
    "cut short": (lambda lines: lines[:-1], "holds 11 files and announces 12"),
    "no JSON": (lambda lines: [*lines[:3], "{", *lines[4:]], "line 4"),
    "wrong hash": (
        lambda lines: [lines[0], {"sha256": "../../etc/passwd"}, *lines[2:]],
        "line 2: its sha256",
    ),
    "upper case": (lambda lines: [lines[0], {"sha256": "A" * 64}, *lines[2:]], "line 2: its sha256"),
    "nothing named": (lambda lines: [lines[0], {"size_bytes": 1}, *lines[2:]], "neither"),
    "unknown field": (lambda lines: [lines[0], {**lines[1], "path": "/etc"}, *lines[2:]], "unknown field"),
    "negative": (lambda lines: [lines[0], {**lines[1], "size_bytes": -1}, *lines[2:]], "no size"),
    "too long": (lambda lines: [lines[0], {"url": "x" * (2 << 20)}, *lines[2:]], "too long"),
}


async def test_edited_lists_are_refused(desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path) -> None:
    found = await desk.analyze(ours.path, theirs.path)
    assert found.list_file is not None
    good = lines_of(Path(found.list_file))
    edited, disk = tmp_path / "edited.jsonl", tmp_path / "disk"
    for name, (edit, words) in EDITS.items():
        write_lines(edited, edit(good))
        with pytest.raises(Refused) as refused:
            await desk.export(theirs.path, str(edited), disk)
        assert words in refused.value.message, (name, refused.value.message)
        assert refused.value.hint
    assert not disk.exists()
    for unreadable in (tmp_path / "none", "/proc/self/mem"):
        with pytest.raises(Refused, match="cannot be read"):
            await desk.export(theirs.path, str(unreadable), disk)
    with pytest.raises(Refused, match="this archive made that list"):
        await desk.export(ours.path, found.list_file, disk)
    # asking for the same twice, and for what is not there, harms nobody
    write_lines(edited, [{**good[0], "total_files": 3}, good[1], good[1], {"url": "https://nowhere"}])
    given = await desk.export(theirs.path, str(edited), disk)
    assert (given.exported, given.missing) == (1, 1)
    with pytest.raises(Refused, match="gives the files"):
        await desk.take(theirs.path, found.list_id, disk)


async def test_files_that_changed_and_disks_that_are_full(
    desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    places = [path for (path,) in theirs.sql("SELECT local_path FROM images ORDER BY id")]
    (theirs.folder / places[0]).write_bytes(b"edited")
    (theirs.folder / places[1]).unlink()
    (theirs.folder / places[2]).unlink()
    (theirs.folder / places[2]).symlink_to("/etc/passwd")
    theirs.sql("UPDATE images SET local_path = '/dev/zero' WHERE local_path = ?", places[3])
    found = await desk.analyze(ours.path, theirs.path)
    given = await desk.export(theirs.path, found.list_file, disk)
    assert (given.exported, given.missing, len(given.failed)) == (8, 1, 3)
    reasons = " | ".join(one.reason for one in given.failed)
    assert "another SHA-256" in reasons and "symbolic link" in reasons and "a device" in reasons

    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Refused, match="cannot be made"):
        await desk.export(theirs.path, found.list_file, tmp_path / "file" / "disk")
    with (
        exchange_copy.open_folder(disk) as folder,
        exchange_copy.locked(folder, f".syncd-export-{found.list_id}.lock"),
    ):
        with pytest.raises(Refused, match="is running"):
            await desk.export(theirs.path, found.list_file, disk)
        with pytest.raises(Refused, match="is running"):
            await desk.take(ours.path, found.list_id, disk)

    real = exchange_copy.copy
    written = 0

    def full(source: int, target: Path, **how: Any) -> exchange_copy.Content:
        nonlocal written
        written += 1
        if written > 3:
            raise Transient("the disk is full")
        return real(source, target, **how)

    monkeypatch.setattr(exchange_copy, "copy", full)
    with pytest.raises(Transient, match="disk is full"):
        await desk.take(ours.path, found.list_id, disk)
    assert len(ours.hashes()) == 3
    assert {path.stat().st_mode & 0o777 for path in disk.rglob("*.jpg")} == {0o644}  # for somebody else
    (operation,) = ours.sql("SELECT status, error FROM sync_operations WHERE kind = 'import'")
    assert operation == ("failed", "the disk is full")
    monkeypatch.undo()
    taken = await desk.take(ours.path, found.list_id, disk)
    assert (taken.imported, taken.missing) == (8, 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    with pytest.raises(Transient, match="do not fit"):
        await desk.export(theirs.path, found.list_file, tmp_path / "other")


async def test_receipts_are_signed(desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    found = await desk.analyze(ours.path, theirs.path)
    await desk.export(theirs.path, found.list_file, disk)
    receipt = await desk.receipt(ours.path, await desk.take(ours.path, found.list_id, disk))
    checked = await desk.check(theirs.path, receipt)
    assert (checked.arrived, checked.is_asker, checked.missing) == (12, True, 0)
    assert theirs.sql("SELECT DISTINCT status FROM sync_export_files") == [("delivered",)]
    assert (desk.folder / "exchange.key").stat().st_mode & 0o777 == 0o600
    content = receipt.read_bytes()
    for forged in (content.replace(b'"arrived":12', b'"arrived":13'), content[: len(content) // 2], b""):
        receipt.write_bytes(forged)
        with pytest.raises(Refused):
            await desk.check(theirs.path, receipt)
    receipt.write_bytes(content)
    with pytest.raises(Refused, match="for who gives"):
        await desk.check(ours.path, receipt)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna", "Anna"), ("", "-"), (" . ", "-"), ("..", "-"), ("../../x", "_.._x"), ("a/b\\c", "a_b_c"),
        ("con", "_con"), ("NUL.txt", "_NUL.txt"), ("e\u0301", "é"), ("a\u202eb\x1b", "ab"),
        ("x" * 200, "x" * 80),
        ("a\tb\nc", "a b c"), ("é" * 50, "é" * 40), (".hidden", "hidden"),
    ],
)  # fmt: skip
def test_names_are_safe(text: str, expected: str) -> None:
    assert safe_name(text, "-") == expected


def test_names_tell_contents_apart() -> None:
    assert file_name("Kép.JPG", "ab" * 32) == "Kép-abababababababab.jpg"
    assert file_name("a.b/..", "ab" * 32).startswith("a.b_-")
    assert file_name("IMG.jpg", "a" * 64).lower() != file_name("img.JPG", "b" * 64).lower()
    assert safe_author(None) == "unknown"
