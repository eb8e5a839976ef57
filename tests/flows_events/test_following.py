"""What happens in Drive happens in the catalogue, with a fake Drive and everything else real."""

from __future__ import annotations

import pytest

from syncd.catalogue import events as queries
from syncd.catalogue import guards as guard_queries
from syncd.errors import Transient
from tests.fakes.faults import error
from tests.fakes.google_drive import ACCOUNT, FakeDrive
from tests.flows_events.place import Place, held_by, picture


async def test_a_new_event_gets_what_is_there_and_what_comes(here: Place, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    below = fake.add_folder("Party", folder)
    for number in range(5):
        fake.add_file(f"{number}.jpg", folder if number % 2 else below, picture(number))
    fake.add_file("elsewhere.jpg", fake.root, picture(99))
    fake.add_doc("plan", folder)
    event = await here.event("wedding", folder)
    await here.quiet()
    assert await here.photos(event) == held_by(fake, folder)
    late = fake.add_file("late.jpg", below, picture(7))
    fake.calls.clear()
    await here.quiet()
    assert late in await here.photos(event)
    assert fake.calls == {"changes.list": 1, "media": 1}
    status = await here.status(event)
    assert status.complete_as_of == status.checked_as_of is not None
    tokens = (
        "SELECT drive_start_page_token, page_token FROM events JOIN drive_feeds USING (account, drive_id)"
    )
    assert len(set((await here.rows(tokens))[0])) == 1


async def test_noise_costs_nothing(here: Place, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    photo = fake.add_file("a.jpg", folder, picture(1))
    await here.event("wedding", folder)
    await here.quiet()
    fake.view(photo)
    fake.calls.clear()
    await here.quiet()
    assert fake.calls == {"changes.list": 1}


async def test_many_events_cost_what_one_costs(here: Place, fake: FakeDrive) -> None:
    here.accounts._page_size = 1000
    for number in range(30):
        folder = fake.add_folder(f"Event {number}", fake.root)
        await here.event(f"event-{number}", folder)
    await here.quiet()
    fake.calls.clear()
    await here.quiet()
    assert fake.calls == {"changes.list": 1}


@pytest.mark.parametrize("deep", [False, True])
async def test_every_way_out_and_back(here: Place, fake: FakeDrive, deep: bool) -> None:
    fake.descendant_entries = deep
    folder = fake.add_folder("Wedding", fake.root)
    below = fake.add_folder("Party", folder)
    away = fake.add_folder("Away", fake.root)
    photo = fake.add_file("a.jpg", below, picture(1))
    other = fake.add_file("b.jpg", folder, picture(2))
    event = await here.event("wedding", folder)
    await here.quiet()

    async def becomes(*expected: str) -> None:
        await here.quiet()
        assert set(await here.photos(event)) == set(expected)
        assert await here.photos(event) == held_by(fake, folder)

    fake.move(below, away)
    await becomes(other)
    fake.move(below, folder)
    await becomes(photo, other)
    fake.trash(below)
    await becomes(other)
    fake.restore(below)
    await becomes(photo, other)
    fake.move(photo, away)
    await becomes(other)
    fake.move(photo, folder)
    await becomes(photo, other)
    fake.trash(photo)
    await becomes(other)
    fake.restore(photo)
    await becomes(photo, other)
    fake.revoke(photo, ACCOUNT)
    await becomes(other)
    fake.share(photo, ACCOUNT)
    await becomes(photo, other)
    fake.delete(below)
    fake.replace_content(other, picture(3))
    fake.rename(other, "c.jpg")
    await becomes(photo, other)
    assert await here.rows("SELECT count(*), count(DISTINCT photo_id) FROM synced_photos") == [(2, 2)]
    assert here.downloads()[other] == 2


async def test_a_photo_that_moves_between_events_is_not_downloaded_again(
    here: Place, fake: FakeDrive
) -> None:
    one, two = fake.add_folder("One", fake.root), fake.add_folder("Two", fake.root)
    below = fake.add_folder("Below", one)
    photo = fake.add_file("a.jpg", below, picture(1))
    first, second = await here.event("one", one), await here.event("two", two)
    third = await here.event("three", below)
    await here.quiet()
    assert photo in await here.photos(first) and photo in await here.photos(third)
    fake.move(below, two)
    await here.quiet()
    assert await here.photos(first) == {}
    assert photo in await here.photos(second) and photo in await here.photos(third)
    assert here.downloads() == {photo: 1}


async def test_shortcuts_are_followed_one_level(here: Place, fake: FakeDrive) -> None:
    folder, away = fake.add_folder("Wedding", fake.root), fake.add_folder("Away", fake.root)
    deeper = fake.add_folder("Deeper", away)
    direct = fake.add_file("a.jpg", away, picture(1))
    hidden = fake.add_file("b.jpg", deeper, picture(2))
    single = fake.add_file("c.jpg", fake.root, picture(3))
    doc = fake.add_doc("plan", fake.root)
    event = await here.event("wedding", folder)
    await here.quiet()
    to_folder = fake.add_shortcut(away, folder)
    to_photo = fake.add_shortcut(single, folder)
    fake.add_shortcut(doc, folder)
    fake.add_shortcut(folder, folder)
    await here.quiet()
    assert set(await here.photos(event)) == {direct, single}
    later = fake.add_file("d.jpg", away, picture(4))
    fake.replace_content(single, picture(5))
    await here.quiet()
    assert await here.photos(event) == held_by(fake, folder)
    assert later in await here.photos(event) and hidden not in await here.photos(event)
    fake.trash(to_folder)
    fake.delete(single)
    await here.quiet()
    assert await here.photos(event) == {}
    fake.trash(to_photo)
    await here.quiet()
    assert await here.rows("SELECT count(*) FROM drive_items WHERE pending IS NOT NULL") == [(0,)]


@pytest.mark.parametrize("answer", [400, 403, 404, 410])
async def test_a_lost_place_in_the_feed_costs_a_listing_and_no_download(
    here: Place, fake: FakeDrive, answer: int
) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    kept = [fake.add_file(f"{n}.jpg", folder, picture(n)) for n in range(4)]
    event = await here.event("wedding", folder)
    await here.quiet()
    fake.lost_token_answer = answer
    gone, fresh = kept[0], fake.add_file("new.jpg", folder, picture(9))
    fake.delete(gone)
    fake.lose_page_tokens()
    await here.quiet()
    assert await here.photos(event) == held_by(fake, folder)
    assert here.downloads() == dict.fromkeys((*kept, fresh), 1)
    assert [kind for kind, _, _ in here.told].count("token") == 1


async def test_a_short_listing_waits_for_a_person_and_the_feed_does_not(here: Place, fake: FakeDrive) -> None:
    here.accounts._page_size = 100
    folder = fake.add_folder("Wedding", fake.root)
    photos = [fake.add_file(f"{n}.jpg", folder, picture(n)) for n in range(60)]
    event = await here.event("wedding", folder)
    await here.quiet()
    for photo in photos[:55]:
        fake.delete(photo)
    fake.lose_page_tokens()
    await here.quiet()
    assert len(await here.photos(event)) == 60
    held = await here.status(event)
    assert held.complete_as_of != held.last_sync_at and "55 of 60" in (held.last_error or "")
    guards = await here.rows("SELECT kind, state, json_array_length(actions) FROM guards")
    assert guards == [(f"event:{event}", "open", 55)]
    fake.delete(photos[55])
    await here.quiet()
    assert len(await here.photos(event)) == 59
    row = (await here.rows("SELECT id FROM guards"))[0][0]
    await here.catalogue.write(lambda db: guard_queries.approve(db, row))
    await here.catalogue.write(lambda db: queries.ask_listing(db, event))
    await here.quiet()
    assert await here.photos(event) == held_by(fake, folder)
    assert (await here.status(event)).last_error is None
    assert await here.rows("SELECT state FROM guards") == [("gone",)]


async def test_a_folder_that_vanishes_blocks_its_event_until_it_is_back(here: Place, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    photo = fake.add_file("a.jpg", folder, picture(1))
    event = await here.event("wedding", folder)
    await here.quiet()
    fake.trash(folder)
    await here.quiet()
    assert await here.photos(event) == {} and (await here.status(event)).blocked
    fake.restore(folder)
    await here.quiet()
    assert set(await here.photos(event)) == {photo} and (await here.status(event)).blocked is None


async def test_what_cannot_be_a_photo_is_said_and_the_rest_goes_on(here: Place, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    good = fake.add_file("../../etc/\x1b[2Jpasswd.jpg", folder, picture(1))
    empty = fake.add_file("empty.jpg", folder, b"")
    fake.add_file("huge.jpg", folder, picture(2), claimed_size=2 * 1024**3)
    fake.add_file("text.jpg", folder, b"<html>no picture</html>")
    event = await here.event("wedding", folder)
    await here.quiet()
    assert set(await here.photos(event)) == {good}
    reasons = await here.failed(event)
    assert (
        set(reasons) == {"empty.jpg", "huge.jpg", "text.jpg"} and reasons["empty.jpg"] == "the file is empty"
    )
    assert list((here.config.daemon.state_dir / "staging").iterdir()) == []
    fake.replace_content(empty, picture(5))
    await here.quiet()
    assert empty in await here.photos(event) and "empty.jpg" not in await here.failed(event)


async def test_published_photos_are_in_storage_and_leave_it(here: Place, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    photo = fake.add_file("a.jpg", folder, picture(1))
    event = await here.event("wedding", folder, publish=True)
    await here.quiet()
    stored = here.config.storage.base_path / "events" / event / f"{photo}.jpg"
    assert stored.read_bytes() == picture(1)
    fake.replace_content(photo, picture(2))
    await here.quiet()
    assert stored.read_bytes() == picture(2)
    fake.trash(photo)
    await here.quiet()
    await here.work.withdraw()
    assert not stored.exists() and await here.rows("SELECT count(*) FROM event_objects") == [(0,)]


async def test_events_on_a_shared_drive_and_on_another_account(here: Place, fake: FakeDrive) -> None:
    drive_id = fake.add_shared_drive("Studio", ACCOUNT)
    studio = fake.add_folder("Gala", drive_id)
    below = fake.add_folder("Below", studio)
    one = fake.add_file("a.jpg", below, picture(1))
    mine = fake.add_folder("Mine", fake.root)
    gala = await here.event("gala", studio, drive_id=drive_id)
    own = await here.event("own", mine)
    theirs = fake.add_folder("Theirs", fake.add_account("second@example.com"))
    two = fake.add_file("b.jpg", theirs, picture(2))
    other = await here.event("other", theirs, account="second@example.com")
    second = here.follower_of("second@example.com")
    await second.poll()
    await here.quiet()
    assert set(await here.photos(gala)) == {one} and set(await here.photos(other)) == {two}
    late = fake.add_file("late.jpg", below, picture(3))
    fake.calls.clear()
    await here.quiet()
    assert set(await here.photos(gala)) == {one, late}
    assert fake.calls == {"changes.list": 2, "media": 1}
    moving = fake.add_folder("Moving", mine)
    three = fake.add_file("c.jpg", moving, picture(4))
    await here.quiet()
    assert set(await here.photos(own)) == {three}
    fake.move(moving, studio)
    await here.quiet()
    assert set(await here.photos(gala)) == {one, late, three} and await here.photos(own) == {}
    assert here.downloads() == {one: 1, two: 1, late: 1, three: 1}


async def test_a_photo_that_cannot_be_had_now_is_tried_again(here: Place, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    photo = fake.add_file("a.jpg", folder, picture(1))
    event = await here.event("wedding", folder)
    fake.fail("media", error(503, "backendError"), error(503, "backendError"))
    await here.quiet()
    assert await here.photos(event) == {} and "503" in (await here.failed(event))["a.jpg"]
    state = await here.status(event)
    assert state.complete_as_of is None and state.checked_as_of is not None
    assert await here.rows("SELECT state, attempts FROM jobs") == [("waiting", 1)]
    past = "UPDATE jobs SET next_attempt_at = '2026-01-01T00:00:00.000Z'"
    await here.catalogue.write(lambda db: db.execute(past))
    await here.quiet()
    assert set(await here.photos(event)) == {photo} and await here.failed(event) == {}
    assert (await here.status(event)).complete_as_of is not None


async def test_storage_that_is_away_keeps_no_photo_out_of_its_event(
    here: Place, fake: FakeDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    photo = fake.add_file("a.jpg", folder, picture(1))
    event = await here.event("wedding", folder, publish=True)

    async def away(storage_id: str | None = None) -> None:
        raise Transient("no route to storage")

    with monkeypatch.context() as patch:
        patch.setattr(here.site, "sink", away)
        await here.quiet()
    assert set(await here.photos(event)) == {photo}
    assert await here.failed(event) == {"a.jpg": "storage: no route to storage"}
    await here.catalogue.write(lambda db: queries.ask_listing(db, event))
    await here.quiet()
    assert await here.failed(event) == {}
    assert (here.config.storage.base_path / "events" / event / f"{photo}.jpg").exists()
