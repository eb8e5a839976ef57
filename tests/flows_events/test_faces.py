"""Who is in which photo, and who is not any more, on made-up encodings."""

from __future__ import annotations

import struct

import pytest

from syncd.catalogue import event_photos as queries
from syncd.catalogue import events, faces
from syncd.catalogue.drive import TreeItem
from syncd.catalogue.event_photos import Membership, PhotoRecord
from syncd.catalogue.faces import FaceRow
from syncd.flows import event_faces
from syncd.flows.event_faces import EventFaces
from tests.fakes.google_drive import ACCOUNT
from tests.flows_events.place import Place


def encoding(person: int, shift: float = 0.0) -> bytes:
    """People are 1.4 apart; `shift` is the distance from the person's own encoding."""
    values = [0.0] * 128
    values[person] = 1.0
    values[127] = shift
    return struct.pack("<128f", *values)


async def add(here: Place, event_id: str, photo_id: str, *people: bytes, content: str = "1") -> None:
    item = TreeItem(photo_id, "image", "folder", f"{photo_id}.jpg", content)
    member = Membership(photo_id, item, frozenset({event_id}))
    rows = tuple(FaceRow((number, 10, 10, 0), person) for number, person in enumerate(people))
    record = PhotoRecord(photo_id, content, "m", "s", 1, 8, 8, None, rows)
    await here.catalogue.write(lambda db: queries.set_members(db, ACCOUNT, [member], {event_id}))
    assert await here.catalogue.write(lambda db: queries.record(db, event_id, record))


async def search(here: Place, kept: EventFaces, event_id: str, person: bytes) -> list[tuple[str, float]]:
    found = await kept.search(event_id, [person], tolerance=0.6, limit=50, storage_id=here.site.storage_id)
    return [(photo.photo_id, round(photo.distance, 3)) for photo in found]


async def test_search_follows_what_comes_changes_and_leaves(here: Place) -> None:
    event, other = await here.event("one", "folder"), await here.event("two", "folder-2")
    kept = EventFaces(here.catalogue)
    await add(here, event, "a", encoding(1), encoding(2))
    await add(here, event, "b", encoding(1, 0.3), encoding(1, 0.5))
    await add(here, other, "c", encoding(1))
    assert await search(here, kept, event, encoding(1)) == [("a", 0.0), ("b", 0.3)]
    await add(here, event, "d", encoding(1, 0.1))
    await add(here, event, "a", encoding(3), content="2")
    assert await search(here, kept, event, encoding(1)) == [("d", 0.1), ("b", 0.3)]
    gone = [Membership("d", None, frozenset())]
    await here.catalogue.write(lambda db: queries.set_members(db, ACCOUNT, gone, {event}))
    assert await search(here, kept, event, encoding(1)) == [("b", 0.3)]
    assert await here.rows("SELECT count(*) FROM faces WHERE photo_id = 'd'") == [(0,)]
    assert await search(here, kept, other, encoding(1)) == [("c", 0.0)]


async def test_memory_holds_the_events_that_were_searched_last(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_faces, "_MOST_FACES", 3)
    kept = EventFaces(here.catalogue)
    names = [await here.event(name, f"folder-{name}") for name in ("one", "two", "three")]
    for name in names:
        await add(here, name, f"photo-{name}", encoding(1), encoding(2))
    for name in (*names, "one", "two"):
        assert await search(here, kept, name, encoding(1)) == [(f"photo-{name}", 0.0)]
        assert list(kept._kept) == [name]
    monkeypatch.setattr(event_faces, "_MOST_FACES", 4)
    for name, there in (("one", ["two", "one"]), ("two", ["one", "two"]), ("three", ["two", "three"])):
        await search(here, kept, name, encoding(1))
        assert list(kept._kept) == there


async def test_a_forgotten_person_stays_forgotten_in_this_event(here: Place) -> None:
    event, other = await here.event("one", "folder"), await here.event("two", "folder-2")
    kept = EventFaces(here.catalogue)
    await add(here, event, "a", encoding(1), encoding(2))
    await add(here, event, "b", encoding(1, 0.3))
    await add(here, other, "c", encoding(1))
    assert await kept.forget(event, [encoding(1)], 0.6) == 2
    assert await search(here, kept, event, encoding(1)) == []
    assert await search(here, kept, event, encoding(2)) == [("a", 0.0)]
    await add(here, event, "later", encoding(1, 0.2), encoding(2, 0.1))
    assert await search(here, kept, event, encoding(1)) == []
    assert await search(here, kept, event, encoding(2)) == [("a", 0.0), ("later", 0.1)]
    assert await search(here, kept, other, encoding(1)) == [("c", 0.0)]
    # A photo that comes from another event brings nobody back.
    item = TreeItem("c", "image", "folder", "c.jpg", "1")
    both = [Membership("c", item, frozenset({event, other}))]
    await here.catalogue.write(lambda db: queries.set_members(db, ACCOUNT, both, {event, other}))
    assert "c" in await here.photos(event) and await search(here, kept, event, encoding(1)) == []


async def test_forgetting_starts_again_when_faces_came_in_between(here: Place) -> None:
    event = await here.event("one", "folder")
    await add(here, event, "a", encoding(1))
    async with here.catalogue.reader() as db:
        version = await faces.version(db, event) or 0
    await add(here, event, "b", encoding(1))
    done = await here.catalogue.write(
        lambda db: faces.forget(db, event, [1], [encoding(1)], 0.6, of_version=version)
    )
    assert not done and await here.rows("SELECT count(*) FROM faces") == [(2,)]


async def test_a_deleted_event_leaves_nothing_but_objects_to_remove(here: Place) -> None:
    event = await here.event("one", "folder")
    await add(here, event, "a", encoding(1))
    await here.catalogue.write(lambda db: events.delete(db, event))
    for table in ("faces", "synced_photos", "event_wanted", "forgotten", "drive_feeds", "jobs"):
        assert await here.rows(f"SELECT count(*) FROM {table}") == [(0,)]
