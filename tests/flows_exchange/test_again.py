"""What is asked for once more: what was damaged or lost meanwhile is mended, and nothing else is touched."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.catalogue import exchange, exchange_images
from syncd.errors import Transient
from tests.flows_exchange.conftest import Desk
from tests.flows_exchange.indafoto import Indafoto


@pytest.fixture
def theirs(tmp_path: Path) -> Indafoto:
    made = Indafoto(tmp_path / "theirs")
    for number in range(4):
        made.add(b"photo %d" % number * 200, author="Anna", title=f"no {number}")
    return made


def damage(path: Path) -> None:
    """Other bytes, as many as before."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"!")


def status(archive: Indafoto) -> str:
    ((found,),) = archive.sql("SELECT status FROM sync_export_lists")
    return str(found)


async def test_what_was_damaged_is_given_and_taken_again(
    desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    found = await desk.analyze(ours.path, theirs.path)
    await desk.verify(ours.path, found.list_id)
    assert status(ours) == "pending"  # nothing has come that could be sound
    await desk.export(theirs.path, found.list_file, disk)
    photos = sorted(disk.rglob("*.jpg"))
    damage(photos[0])
    photos[1].unlink()
    taken = await desk.take(ours.path, found.list_id, disk)
    assert (taken.imported, taken.missing, len(taken.rejected)) == (2, 1, 1)
    assert (await desk.verify(ours.path, found.list_id)).ok == 2
    assert status(ours) == "partial"
    assert (await desk.export(theirs.path, found.list_file, disk)).exported == 4
    taken = await desk.take(ours.path, found.list_id, disk)
    assert (taken.imported, taken.missing, taken.rejected) == (4, 0, [])
    await desk.verify(ours.path, found.list_id)
    assert status(ours) == "verified"

    arrived = sorted((ours.folder / "images" / "Anna").iterdir())
    arrived[0].unlink()
    damage(arrived[1])
    edited = arrived[1].read_bytes()
    verified = await desk.verify(ours.path, found.list_id)
    assert (verified.ok, verified.missing, verified.corrupt) == (2, 1, 1)
    before = ours.sql("SELECT id, title FROM images ORDER BY id")
    taken = await desk.take(ours.path, found.list_id, disk)
    assert (taken.imported, taken.rejected) == (4, [])
    assert (await desk.verify(ours.path, found.list_id)).ok == 4
    assert status(ours) == "verified"
    assert len(ours.hashes()) == 4 and ours.sql("SELECT id, title FROM images ORDER BY id") == before
    assert arrived[1].read_bytes() == edited  # it may be the owner's own work


async def test_one_disk_for_two_friends(desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path) -> None:
    disk, others = tmp_path / "disk", Indafoto(tmp_path / "others")
    first = await desk.analyze(ours.path, theirs.path)
    second = await desk.analyze(others.path, theirs.path)
    for found in (first, second):
        await desk.export(theirs.path, found.list_file, disk)
    assert (await desk.clean(theirs.path, first.list_id)).removed == 1  # its manifest
    taken = await desk.take(others.path, second.list_id, disk)
    assert (taken.imported, taken.missing) == (4, 0)
    assert (await desk.clean(theirs.path, second.list_id)).removed == 5
    assert list(disk.iterdir()) == []


async def test_a_dry_run_is_not_recorded(
    desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path
) -> None:
    found = await desk.analyze(ours.path, theirs.path)
    dry = await desk.export(theirs.path, found.list_file, tmp_path / "disk", dry_run=True)
    assert (dry.exported, dry.missing) == (4, 0)
    assert theirs.sql("SELECT count(*) FROM sync_export_lists") == [(0,)]
    assert not (tmp_path / "disk").exists()


async def test_of_two_rows_the_one_whose_file_is_there_is_given(
    desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path
) -> None:
    ((sha256, place),) = theirs.sql("SELECT sha256_hash, local_path FROM images WHERE title = 'no 1'")
    for path in ("images/gone-1.jpg", place, "images/gone-2.jpg"):
        theirs.sql("INSERT INTO images (sha256_hash, local_path) VALUES (upper(?), ?)", sha256, path)
    theirs.sql("UPDATE images SET local_path = 'images/gone-0.jpg' WHERE title = 'no 1'")
    found = await desk.analyze(ours.path, theirs.path)
    for dry_run in (True, False):
        given = await desk.export(theirs.path, found.list_file, tmp_path / "disk", dry_run=dry_run)
        assert (given.exported, given.missing) == (4, 0)


async def test_what_was_placed_before_the_disk_was_full_needs_no_room(
    desk: Desk, ours: Indafoto, theirs: Indafoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    found = await desk.analyze(ours.path, theirs.path)
    await desk.export(theirs.path, found.list_file, disk)

    async def full(*about: object) -> int:
        raise Transient("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(exchange_images, "add", full)
        with pytest.raises(Transient):
            await desk.take(ours.path, found.list_id, disk)
    placed = sorted(ours.folder.rglob("*.jpg"))
    assert len(placed) == 4 and ours.hashes() == set()
    placed[0].unlink()
    for free, arrives in ((1399, False), (1400, True)):  # there is room for one of four
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        if arrives:
            assert (await desk.take(ours.path, found.list_id, disk)).imported == 4
            continue
        with pytest.raises(Transient, match="do not fit"):
            await desk.take(ours.path, found.list_id, disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert (await desk.take(ours.path, found.list_id, disk)).imported == 4  # nothing more is needed
    with pytest.raises(Transient, match="do not fit"):
        await desk.export(theirs.path, found.list_file, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


async def test_a_list_that_was_not_finished_goes_with_the_next_analysis(
    desk: Desk, ours: Indafoto, theirs: Indafoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await desk.analyze(ours.path, theirs.path)

    with monkeypatch.context() as patch:

        async def full(*about: object, **more: object) -> None:
            patch.setattr(exchange, "drop_list", full)
            raise Transient("the disk is full")

        patch.setattr(exchange, "add_wanted", full)
        with pytest.raises((Transient, ExceptionGroup)):
            await desk.analyze(ours.path, theirs.path, list_id="half-made")
    assert ours.sql("SELECT count(*) FROM sync_export_lists") == [(2,)]
    second = await desk.analyze(ours.path, theirs.path)
    lists = ours.sql("SELECT list_id, status FROM sync_export_lists ORDER BY id")
    assert lists == [(first.list_id, "pending"), (second.list_id, "pending")]
