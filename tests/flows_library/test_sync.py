"""What one sync reads, records, concludes and tells, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncd.catalogue import guards, library
from syncd.catalogue.library import AccountRow
from syncd.errors import AuthRejected, Refused, Transient
from syncd.flows.library import GUARD, UNSETTLED, Wanted
from syncd.flows.library_plan import LOCKED
from syncd.remotes.pacer import RateLimited
from syncd.text import now_text, rfc3339
from tests.flows_library.place import Place


def filled(here: Place, *counts: int) -> list[str]:
    keys = [here.model.add_album(f"Album {number}") for number in range(len(counts))]
    for key, count in zip(keys, counts, strict=True):
        here.model.fill(key, count)
    here.client.requests.clear()
    return keys


async def synced(here: Place, *counts: int) -> list[str]:
    keys = filled(here, *counts)
    await here.sync()
    here.client.requests.clear()
    here.told.clear()
    return keys


async def test_first_sync_takes_no_more_requests_than_pages(here: Place) -> None:
    filled(here, 7, 3, 0, 1)
    sync = await here.sync()
    assert sync is not None
    assert here.client.requests == {"albums": 2, "images": 3 + 1 + 1 + 1}
    assert (sync.photos, sync.pages) == (11, 6)
    assert await here.albums() == here.model_albums()
    assert await here.photos() == here.model_photos()
    assert isinstance((await here.rows("SELECT last_sync FROM smugmug_account"))[0][0], str)
    assert ("album", "library", "3 new albums") in here.told
    assert sum(told[0] == "photos" for told in here.told) == 3
    here.client.requests.clear()
    await here.sync()
    assert here.client.requests == {"albums": 2}


async def test_what_changed_is_told_in_groups(here: Place) -> None:
    one, two = await synced(here, 6, 4)
    first, second, third, *_ = (shown.image_key for shown in here.model.albums[one].shown)
    here.model.rename_album(two, "Cup \x1b[2J final")
    here.model.fill(one, 3)
    here.model.replace_image(first, seed=77)
    here.model.take_out(one, second)
    here.model.move_image(third, one, two)
    await here.sync()
    assert set(here.told) == {
        ("renamed", two, "Album 1 is called Cup \x1b[2J final now"),
        ("photos", one, "Album 0: 3 photos added, 1 photo replaced"),
        ("photos", two, "Cup \x1b[2J final: 1 photo added"),
        ("removed", one, "Album 0: 2 photos removed, 1 of them in another album"),
    }
    removed = "SELECT image_key FROM smugmug_photos WHERE removed_at IS NOT NULL"
    assert await here.rows(removed) == [(second,)]
    here.told.clear()
    here.model.remove_album(two)
    await here.sync()
    assert here.told == [("removed", two, "Cup \x1b[2J final is not in the library any more")]
    assert await here.one("SELECT removed_at IS NULL FROM smugmug_albums WHERE album_key = ?", two) == 0
    assert here.client.requests["album"] == 1, "an album is gone only when it is not found by its key"


async def test_an_album_stamped_just_now_is_read_once_more(here: Place) -> None:
    (key,) = filled(here, 2)
    here.model.now = datetime.now(UTC).replace(tzinfo=None)
    here.model.frozen = True
    here.model.rearrange(key)
    await here.sync()
    here.model.edit_image(here.model.albums[key].shown[0].image_key, caption="within the same second")
    await here.sync()
    assert here.client.requests["images"] == 2
    assert await here.photos() == here.model_photos()
    long_ago = rfc3339(datetime.now(UTC) + timedelta(minutes=2))
    await here.do("UPDATE smugmug_albums SET read_began_at = ?", long_ago)
    await here.sync()
    assert here.client.requests["images"] == 2


async def test_captions_are_found_by_the_sweep_within_its_budget(here: Place) -> None:
    keys = await synced(here, 9, 9, 9, 3)
    here.model.edit_image(here.model.albums[keys[0]].shown[0].image_key, caption="edited", keywords=["a"])
    await here.sync(Wanted(sweep=True))
    assert here.client.requests["images"] == 0, "everything was read lately"
    aged = rfc3339(datetime.now(UTC) - timedelta(hours=13))
    await here.do("UPDATE smugmug_albums SET read_began_at = ?", aged)
    for _ in range(13):  # an hour each: what may be spent grows with the time
        account = await here.one("SELECT swept_until FROM smugmug_account")
        earlier = datetime.fromisoformat(account) - timedelta(hours=1)
        await here.do("UPDATE smugmug_account SET swept_until = ?", rfc3339(earlier))
        before = here.client.requests["images"]
        await here.sync(Wanted(sweep=True))
        assert here.client.requests["images"] - before <= 3
    assert here.client.requests["images"] == 10, "every page once"
    assert await here.photos() == here.model_photos()


async def test_much_that_is_gone_waits_for_a_person(here: Place) -> None:
    one, two = await synced(here, 12, 5)
    shown, here.model.albums[one].shown = here.model.albums[one].shown, []
    here.model.albums[one].images_updated = here.model.changed()
    sync = await here.sync()
    assert sync is not None
    assert sync.held is not None
    assert "12 of 17 photos" in sync.held
    assert len((await here.albums())[one][1]) == 12
    assert [told[0] for told in here.told] == ["guard"]
    await here.sync()
    assert [told[0] for told in here.told] == ["guard"], "said once"

    here.model.albums[one].shown = shown  # it was an accident
    here.model.albums[one].images_updated = here.model.changed()
    await here.sync()
    async with here.catalogue.reader() as db:
        assert await guards.listed(db) == []
    assert await here.albums() == here.model_albums()

    here.model.remove_album(one)
    here.client.requests.clear()
    await here.sync()
    assert here.client.requests["album"] == 0
    async with here.catalogue.reader() as db:
        (guard,) = await guards.listed(db)
    assert (guard.kind, len(guard.actions)) == (GUARD, 13)
    await here.catalogue.write(lambda db: guards.approve(db, guard.id))
    await here.sync()
    assert await here.albums() == here.model_albums() == {two: ("Album 1", here.model_albums()[two][1])}
    assert await here.one("SELECT count(*) FROM smugmug_photos WHERE removed_at IS NOT NULL") == 12


async def test_what_comes_back_is_what_it_was(here: Place) -> None:
    one, _ = await synced(here, 4, 2)
    ids = await here.rows("SELECT id, image_key FROM smugmug_photos ORDER BY id")
    album = here.model.albums.pop(one)
    await here.sync()
    assert await here.albums() == here.model_albums()
    assert await here.one("SELECT count(*) FROM smugmug_photos WHERE removed_at IS NULL") == 2
    here.model.albums[one] = album
    await here.sync()
    assert await here.albums() == here.model_albums()
    assert await here.photos() == here.model_photos()
    assert await here.rows("SELECT id, image_key FROM smugmug_photos ORDER BY id") == ids
    assert await here.one("SELECT count(*) FROM smugmug_photos WHERE album_id IS NULL") == 0


async def test_an_album_that_goes_while_it_is_read(here: Place) -> None:
    one, two = filled(here, 5, 5)

    def go(what: str, key: str) -> None:
        if (what, here.client.requests[what]) == ("images", 2) and two in here.model.albums:
            here.model.remove_album(two)

    here.client.on_request = go
    await here.sync()
    assert set(await here.albums()) == {one}
    assert await here.albums() == here.model_albums()


async def test_locked_albums_are_recorded_and_others_go_on(here: Place) -> None:
    one, two = filled(here, 2, 2)
    here.model.edit_album(two, security_type="Password")
    sync = await here.sync()
    assert sync is not None
    assert sync.failed == {two: LOCKED}
    assert await here.rows("SELECT album_key, last_error FROM smugmug_albums ORDER BY id DESC") == [
        (one, None),
        (two, LOCKED),
    ]
    here.model.edit_album(two, security_type="None")
    await here.sync()
    assert await here.albums() == here.model_albums()
    assert await here.one("SELECT count(*) FROM smugmug_albums WHERE last_error IS NOT NULL") == 0


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (RateLimited("SmugMug says 429", retry_after_s=1800), True),
        (AuthRejected("revoked"), True),
        (Transient("SmugMug says 500"), False),
        (Refused("SmugMug says 403"), False),
    ],
    ids=["429", "401", "500", "403"],
)
async def test_one_album_that_cannot_be_read(here: Place, error: Exception, ends: bool) -> None:
    one, two, three = filled(here, 4, 4, 4)

    def fail(what: str, key: str) -> None:
        if (what, key) == ("images", two):
            raise error

    here.client.on_request = fail
    if ends:
        with pytest.raises(type(error)):
            await here.sync()
        assert await here.one("SELECT last_sync FROM smugmug_account") is None
    else:
        sync = await here.sync()
        assert sync is not None
        assert sync.failed == {two: str(error)}
        found = await here.albums()
        assert (len(found[one][1]), len(found[two][1]), len(found[three][1])) == (4, 0, 4)
    here.client.on_request = lambda what, key: None
    await here.sync()
    assert await here.albums() == here.model_albums()


async def test_many_albums_in_a_row_mean_that_smugmug_is_down(here: Place) -> None:
    filled(here, *[1] * 9)

    def fail(what: str, key: str) -> None:
        if what == "images":
            raise Transient("SmugMug says 503")

    here.client.on_request = fail
    with pytest.raises(Transient, match="503"):
        await here.sync()
    assert here.client.requests["images"] <= 6


async def test_pages_that_do_not_fit_together_take_nothing_out(here: Place) -> None:
    (key,) = await synced(here, 7)
    gone = here.model.albums[key].shown[3].image_key
    here.model.take_out(key, gone)
    here.client.total_off = 1  # for good: then what was counted is wrong, and it is not read for ever
    await here.sync()
    assert here.client.requests["images"] == 4
    assert gone in (await here.albums())[key][1]
    await here.sync()
    assert here.client.requests["images"] == 4

    def shift(what: str, _: str) -> None:
        if what == "images":
            here.client.total_off += 1

    here.client.on_request = shift
    here.model.rearrange(key)
    sync = await here.sync()
    assert sync is not None
    assert sync.failed == {key: UNSETTLED}
    here.client.on_request, here.client.total_off = lambda what, key: None, 0
    await here.sync()
    assert await here.albums() == here.model_albums()


async def test_a_list_of_albums_that_comes_short_takes_nothing_out(here: Place) -> None:
    one, *_ = await synced(here, 1, 1, 1, 1, 1)
    here.model.remove_album(one)

    def add(what: str, _: str) -> None:
        if what == "albums" and here.client.requests["albums"] in (2, 4):
            here.model.add_album("New")

    here.client.on_request = add
    await here.sync()
    assert one in await here.albums()
    here.client.on_request = lambda what, key: None
    await here.sync()
    assert await here.albums() == here.model_albums()


async def test_a_killed_sync_goes_on_where_it_stopped(here: Place) -> None:
    filled(here, 20)
    assert await here.sync(cut=6) is None
    read = here.client.requests["images"]
    assert read > 2
    await here.sync()
    assert here.client.requests["images"] <= 7 + 1, "only the page on its way is asked for again"
    assert await here.albums() == here.model_albums()


async def test_replaced_photos_are_described_again_unless_a_person_approved(here: Place) -> None:
    (key,) = await synced(here, 3)
    person, machine, rejected = (shown.image_key for shown in here.model.albums[key].shown)
    await here.do("UPDATE smugmug_photos SET perceptual_hash = 'f0f0f0f0f0f0f0f0', hashed_serial = 0")
    ids = dict(
        await here.rows(
            "SELECT p.image_key, m.id FROM ai_metadata m JOIN smugmug_photos p ON p.id = photo_id"
        )
    )
    approve = (
        "UPDATE ai_metadata SET ai_description = 'A goal', processing_status = 'approved', approved = 1,"
        " approved_by = ?, approved_at = ? WHERE id = ?"
    )
    await here.do(approve, "eva", now_text(), ids[person])
    await here.do(approve, "syncd", now_text(), ids[machine])
    await here.do(
        "UPDATE ai_metadata SET processing_status = 'rejected', attempts = 3 WHERE id = ?", ids[rejected]
    )
    for image_key in (person, machine, rejected):
        here.model.replace_image(image_key, seed=5)
    await here.sync()
    states = dict(
        await here.rows("SELECT id, processing_status || ' ' || version || ' ' || attempts FROM ai_metadata")
    )
    assert states == {ids[person]: "approved 2 0", ids[machine]: "pending 2 0", ids[rejected]: "pending 2 0"}
    history = dict(await here.rows("SELECT metadata_id, change_reason FROM metadata_history"))
    assert history[ids[person]] == "the photo was replaced; the approved description was kept"
    assert history[ids[machine]] == "the photo was replaced"
    assert await here.one("SELECT count(*) FROM smugmug_photos WHERE perceptual_hash IS NOT NULL") == 0
    assert any("approved descriptions kept for 1 of the replaced" in told[2] for told in here.told)


async def test_a_photo_in_process_is_looked_at_again(here: Place) -> None:
    key = here.model.add_album("Album")
    here.model.now = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=10)
    photo = here.model.add_image(key, "new.jpg", processing=True)
    broken = here.model.add_image(key, "broken.jpg", processing=True, broken=True)
    await here.sync()
    assert await here.one("SELECT count(*) FROM ai_metadata") == 0
    here.model.finish_processing(photo)
    await here.sync()
    described = "SELECT p.image_key FROM ai_metadata m JOIN smugmug_photos p ON p.id = m.photo_id"
    assert await here.rows(described) == [(photo,)]
    await here.sync()
    assert here.client.requests["images"] == 2
    assert await here.one("SELECT is_processing FROM smugmug_photos WHERE image_key = ?", broken) == 0


async def test_the_wait_that_smugmug_asked_for_is_remembered(here: Place) -> None:
    at = now_text()
    await here.catalogue.write(lambda db: library.set_health(db, "backing_off", "429", at))
    async with here.catalogue.reader() as db:
        assert await library.account(db) == AccountRow(None, None, "backing_off", "429", at)
