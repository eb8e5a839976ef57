"""The Drive client against the fake: the feed, listings, files, channels, and each refusal by its reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.errors import AuthRejected, Refused, Transient
from syncd.remotes.drive_errors import InvalidPageToken, QuotaExceeded, next_reset
from syncd.remotes.drive_items import DriveItem, item_of
from syncd.remotes.google_drive import GoogleDrive
from syncd.remotes.http import NotFound
from syncd.remotes.pacer import RateLimited
from tests.fakes.faults import drop, error, html, lose, redirect, says, truncate
from tests.fakes.google_drive import ACCOUNT, FakeDrive
from tests.remotes.conftest import Bearer, Clock, client_of


async def drained(google: GoogleDrive, token: str, drive_id: str | None = None) -> tuple[list[Any], str]:
    changes: list[Any] = []
    while True:
        page = await google.changes(token, drive_id)
        changes += page.changes
        if page.new_start_page_token is not None:
            assert page.next_page_token is None
            return changes, page.new_start_page_token
        assert page.next_page_token is not None
        token = page.next_page_token


async def listed(google: GoogleDrive, folder: str, drive_id: str | None = None) -> list[DriveItem]:
    return [item async for item in google.list_folder(folder, drive_id)]


# --- what is read -----------------------------------------------------------------------------------


async def test_the_account_is_named(google: GoogleDrive) -> None:
    assert await google.about() == ACCOUNT


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
async def test_the_feed_gives_each_item_once_as_it_is_now(
    drive: FakeDrive, clock: Clock, page_size: int
) -> None:
    folder = drive.add_folder("Wedding", drive.root)
    async with client_of(drive, clock, page_size=page_size) as google:
        token = await google.start_page_token()
        kept = drive.add_file("DSC_1.JPG", folder, b"one", modified="2001-01-01T00:00:00.000Z")
        gone = drive.add_file("DSC_2.JPG", folder, b"two")
        drive.rename(kept, "DSC_1b.JPG")
        drive.delete(gone)
        drive.view(folder)
        changes, following = await drained(google, token)
        assert [change.file_id for change in changes] == [kept, gone, folder]
        assert [change.removed for change in changes] == [False, True, False]
        item = changes[0].item
        assert (item.name, item.parent_id, item.size_bytes) == ("DSC_1b.JPG", folder, 3)
        assert (item.md5, item.modified_at) == (
            "f97c5d29941bfb1b2fdab0874906ab82",
            "2001-01-01T00:00:00.000Z",
        )
        assert item.is_image and not item.trashed and item.version is not None
        assert (await drained(google, following)) == ([], following)


async def test_an_empty_page_is_not_the_last(drive: FakeDrive, google: GoogleDrive) -> None:
    token = await google.start_page_token()
    made = drive.add_file("a.jpg", drive.root)
    drive.empty_pages = 3
    changes, _ = await drained(google, token)
    assert [change.file_id for change in changes] == [made]


async def test_folders_shared_with_the_account_are_in_its_feed(drive: FakeDrive, clock: Clock) -> None:
    robot = "robot@project.iam.gserviceaccount.com"
    drive.add_account(robot)
    folder = drive.add_folder("Shared", drive.root)
    drive.share(folder, robot)
    async with client_of(drive, clock, account=robot) as google:
        token = await google.start_page_token()
        photo = drive.add_file("a.jpg", folder, b"x")
        changes, token = await drained(google, token)
        assert [(c.file_id, c.item and c.item.parent_id) for c in changes] == [(photo, folder)]
        assert [item.id for item in await listed(google, folder)] == [photo]
        assert (await google.get_folder(folder)).parent_id is None
        drive.revoke(folder, robot)
        changes, _ = await drained(google, token)
        assert [(c.file_id, c.removed) for c in changes] == [(folder, True)]
        with pytest.raises(NotFound):
            await google.get_file(photo)


async def test_a_shared_drive_has_a_feed_of_its_own(drive: FakeDrive, google: GoogleDrive) -> None:
    before = await google.start_page_token()
    shared = drive.add_shared_drive("Agency", ACCOUNT)
    assert (await drained(google, before))[0] == []  # that there is a drive concerns no file
    mine, theirs = await google.start_page_token(), await google.start_page_token(shared)
    photo = drive.add_file("a.jpg", shared, b"x")
    assert (await drained(google, mine))[0] == []
    changes, _ = await drained(google, theirs, shared)
    assert [change.file_id for change in changes] == [photo]
    assert changes[0].item.drive_id == shared
    assert [item.id for item in await listed(google, shared, shared)] == [photo]
    with pytest.raises(InvalidPageToken):
        await google.changes(mine, shared)
    drive.members[shared].clear()
    with pytest.raises(InvalidPageToken):  # to the feed, a drive that is out of reach is a lost place
        await google.changes(theirs, shared)
    with pytest.raises(NotFound):
        await google.start_page_token(shared)


async def test_a_listing_has_images_folders_and_shortcuts(drive: FakeDrive, google: GoogleDrive) -> None:
    folder = drive.add_folder("It's\\ours", drive.root)
    raw = drive.add_file("a.CR3", folder, b"raw", mime_type="application/octet-stream")
    heic = drive.add_file("b", folder, b"heic", mime_type="image/heif")
    sub = drive.add_folder("sub", folder)
    shortcut = drive.add_shortcut(raw, folder, "to raw")
    drive.add_file("c.mp4", folder, b"film", mime_type="video/mp4")
    drive.add_doc("list.jpg", folder)
    drive.trash(drive.add_file("d.jpg", folder, b"bin"))
    drive.add_file("deep.jpg", sub, b"deep")
    items = {item.id: item for item in await listed(google, folder)}
    assert set(items) == {raw, heic, sub, shortcut}
    assert items[shortcut].target is not None and items[shortcut].target.id == raw
    assert items[shortcut].size_bytes is None and items[sub].is_folder


async def test_long_listings_are_paged_and_begun_again(drive: FakeDrive, clock: Clock) -> None:
    folder = drive.add_folder("many", drive.root)
    made = [drive.add_file(f"{n}.jpg", folder, b"x") for n in range(7)]
    async with client_of(drive, clock, page_size=3) as google:
        seen = []
        async for item in google.list_folder(folder):
            seen.append(item.id)
            if len(seen) == 4:
                drive.lose_page_tokens()
        assert seen == made


async def test_an_incomplete_search_is_no_listing(drive: FakeDrive, google: GoogleDrive) -> None:
    folder = drive.add_folder("many", drive.root)
    photo = drive.add_file("a.jpg", folder, b"x")
    drive.incomplete_search = True
    seen = []
    with pytest.raises(Transient, match="whole folder"):
        async for item in google.list_folder(folder):
            seen.append(item.id)
    assert seen == [photo]


async def test_what_is_not_there(drive: FakeDrive, google: GoogleDrive) -> None:
    photo = drive.add_file("a.jpg", drive.root, b"x")
    with pytest.raises(Refused, match="is no folder"):
        await google.get_folder(photo)
    with pytest.raises(NotFound):
        await google.get_file("nothing/../here?alt=media")
    with pytest.raises(NotFound):
        await listed(google, "no-such-folder")
    assert drive.requests[-2].path.startswith("/drive/v3/files/nothing")


async def test_a_change_without_its_file_is_looked_up(drive: FakeDrive, google: GoogleDrive) -> None:
    photo = drive.add_file("a.jpg", drive.root, b"x")
    page = (
        b'{"newStartPageToken":"9","changes":[{"changeType":"drive","driveId":"d"},{"fileId":"%s"},'
        b'{"fileId":"gone","removed":false}]}' % photo.encode()
    )
    drive.fail("changes.list", says(200, page, "application/json"))
    changes = (await google.changes("1")).changes
    assert [(change.file_id, change.removed) for change in changes] == [(photo, False), ("gone", True)]


# --- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404, 410])
async def test_a_lost_page_token(drive: FakeDrive, google: GoogleDrive, status: int) -> None:
    token = await google.start_page_token()
    drive.lose_page_tokens()
    drive.lost_token_answer = status
    with pytest.raises(InvalidPageToken):
        await google.changes(token)
    assert drive.calls["changes.list"] == 1
    assert (await google.changes(await google.start_page_token())).new_start_page_token


@pytest.mark.parametrize(
    ("fault", "kind", "hint"),
    [
        (error(403, "insufficientFilePermissions"), Refused, "share it"),
        (error(403, "insufficientPermissions"), AuthRejected, "sign in again"),
        (error(403, "accessNotConfigured"), AuthRejected, "enable the Google Drive API"),
        (error(403, "somethingNew"), Refused, None),
        (error(401, "authError", location="Authorization", location_type="header"), AuthRejected, "sign in"),
        (error(400, "invalidParameter", location="fields"), Refused, None),
        (error(404, "notFound", location="fileId"), NotFound, "deleted"),
    ],
)
async def test_refusals_are_not_tried_again(
    drive: FakeDrive, google: GoogleDrive, fault: Any, kind: type[Exception], hint: str | None
) -> None:
    drive.fail("files.get", fault)
    with pytest.raises(kind) as caught:
        await google.get_file("x")
    assert type(caught.value) is kind
    assert (hint is None) == (caught.value.hint is None) or hint in caught.value.hint
    assert drive.calls["files.get"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        error(403, "rateLimitExceeded"),
        error(403, "userRateLimitExceeded"),
        error(429, "rateLimitExceeded"),
        error(500, "backendError"),
        error(503, "internalError"),
        html(502),
        html(200),
        html(404),
        html(403),
        html(401),
        says(200, b"[1, 2]", "application/json"),
        says(200, b'{"id": ', "application/json"),
        says(200, b"[" * 100_000, "application/json"),
        redirect("http://127.0.0.1:1/sign-in"),
        drop(),
        lose(),
        truncate(0.5),
        truncate(0.0),
    ],
)
async def test_what_passes_is_tried_again(
    drive: FakeDrive, google: GoogleDrive, clock: Clock, fault: Any
) -> None:
    photo = drive.add_file("a.jpg", drive.root, b"x")
    drive.fail("files.get", fault, fault)
    assert (await google.get_file(photo)).name == "a.jpg"
    assert drive.calls["files.get"] == 3
    assert sum(clock.backed_off) == pytest.approx(3.0, abs=0.1)


async def test_persistent_trouble_gives_up_after_1_2_4_8_16_seconds(
    drive: FakeDrive, google: GoogleDrive, clock: Clock
) -> None:
    drive.fail("about", *[error(500, "backendError")] * 6)
    with pytest.raises(Transient, match="cannot see whose Drive this is: Google Drive says 500 backendError"):
        await google.about()
    assert clock.backed_off == [1, 2, 4, 8, 16]
    assert await google.about() == ACCOUNT


@pytest.mark.parametrize(
    "fault",
    [
        error(403, "dailyLimitExceeded"),
        error(429, "rateLimitExceeded", "Quota exceeded for 'Queries' and limit 'Queries per day' of Drive"),
    ],
)
async def test_the_daily_quota_parks_the_account(
    drive: FakeDrive, google: GoogleDrive, clock: Clock, fault: Any
) -> None:
    drive.fail("about", fault)
    with pytest.raises(QuotaExceeded, match=r"until \d{4}-\d\d-\d\d 0[78]:00 UTC") as caught:
        await google.about()
    assert caught.value.retry_after_s is not None and 0 < caught.value.retry_after_s <= 25 * 3600
    with pytest.raises(QuotaExceeded, match="until"):  # without asking
        await google.start_page_token()
    assert len(drive.requests) == 1
    clock.now += caught.value.retry_after_s
    assert await google.about() == ACCOUNT


def test_the_quota_resets_at_midnight_in_california() -> None:
    assert next_reset(datetime(2026, 1, 5, 7, 59, tzinfo=UTC)) == datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert next_reset(datetime(2026, 1, 5, 8, 0, tzinfo=UTC)) == datetime(2026, 1, 6, 8, tzinfo=UTC)
    assert next_reset(datetime(2026, 7, 5, 8, 0, tzinfo=UTC)) == datetime(2026, 7, 6, 7, tzinfo=UTC)
    # the night in which summer time ends
    assert next_reset(datetime(2026, 11, 1, 6, 59, tzinfo=UTC)) == datetime(2026, 11, 1, 7, tzinfo=UTC)
    assert next_reset(datetime(2026, 11, 1, 7, 0, tzinfo=UTC)) == datetime(2026, 11, 2, 8, tzinfo=UTC)


async def test_retry_after_is_obeyed(drive: FakeDrive, google: GoogleDrive, clock: Clock) -> None:
    drive.fail("about", error(429, "rateLimitExceeded", headers={"Retry-After": "30"}))
    assert await google.about() == ACCOUNT
    assert sum(clock.backed_off) == pytest.approx(30, abs=0.1)


async def test_a_long_retry_after_is_told_and_kept(
    drive: FakeDrive, google: GoogleDrive, clock: Clock
) -> None:
    drive.fail("about", error(429, "rateLimitExceeded", headers={"Retry-After": "600"}))
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            await google.about()
        assert caught.value.retry_after_s == pytest.approx(600 - 60 * _, abs=0.1)
        clock.now += 60
    assert len(drive.requests) == 1
    clock.now += 480
    assert await google.about() == ACCOUNT


async def test_banned_it_asks_once_a_minute(drive: FakeDrive, google: GoogleDrive, clock: Clock) -> None:
    drive.fail("about", *[error(403, "userRateLimitExceeded")] * 8)
    began = clock.now
    while True:
        try:
            await google.about()
            break
        except RateLimited:
            clock.now += 1
    assert len(drive.requests) == 9
    assert clock.now - began >= 31 + 3 * 60
    assert not google.pacer.banned
    await google.about()


async def test_a_stale_token_is_renewed_once(drive: FakeDrive, clock: Clock) -> None:
    bearer = Bearer("ya29.stale", drive.issue_token(ACCOUNT))
    async with client_of(drive, clock, authoriser=bearer) as google:
        assert await google.about() == ACCOUNT
        drive.expire_access_tokens()
        bearer.tokens = ["ya29.stale", "ya29.staler"]
        with pytest.raises(AuthRejected):
            await google.about()
    assert [one.status for one in drive.requests] == [401, 200, 401, 401]


async def test_tokens_are_not_sent_elsewhere(drive: FakeDrive, google: GoogleDrive) -> None:
    drive.fail("about", *[redirect(f"{drive.base_url}/elsewhere")] * 6)
    with pytest.raises(Transient, match="a redirect, which is not followed"):
        await google.about()
    assert drive.calls["unknown"] == 0


async def test_pages_that_lead_nowhere(drive: FakeDrive, google: GoogleDrive) -> None:
    drive.fail("changes.list", says(200, b'{"changes": []}', "application/json"))
    with pytest.raises(Transient, match="without a token"):
        await google.changes("1")
    both = b'{"changes": [], "nextPageToken": "2", "newStartPageToken": "3"}'
    drive.fail("changes.list", says(200, both, "application/json"))
    page = await google.changes("1")
    assert (page.next_page_token, page.new_start_page_token) == ("2", None)  # nothing is skipped
    drive.fail("changes.list", says(200, b'{"changes": [7], "nextPageToken": "2"}', "application/json"))
    with pytest.raises(Transient, match="no list"):
        await google.changes("1")
    same = says(200, b'{"files": [], "nextPageToken": "2"}', "application/json")
    drive.fail("files.list", same, same)
    with pytest.raises(Transient, match="circle"):
        await listed(google, drive.root)


@pytest.mark.parametrize(
    "found",
    [
        {"id": "x", "size": "12x", "parents": [], "trashed": "yes", "shortcutDetails": [], "md5Checksum": 5},
        {"id": "x", "size": "٣", "name": None, "capabilities": "none", "parents": "p"},
        {"id": "x", "size": "9" * 40},
    ],
)
def test_odd_resources_are_read_as_far_as_they_make_sense(found: dict[str, Any]) -> None:
    item = item_of(found)
    assert (item.id, item.size_bytes, item.md5, item.parent_id, item.trashed) == (
        "x",
        None,
        None,
        None,
        False,
    )
    assert item.can_download and item.target is None


# --- channels ---------------------------------------------------------------------------------------


async def test_channels(drive: FakeDrive, google: GoogleDrive) -> None:
    token = await google.start_page_token()
    words = {"channel_id": "c-1", "channel_token": "opaque"}
    with pytest.raises(Refused, match="HTTPS"):
        await google.watch(token, address="http://example.com/hook", **words)
    channel = await google.watch(token, address="https://example.com/hook", **words)
    drive.add_file("a.jpg", drive.root, b"x")
    states = [push["X-Goog-Resource-State"] for push in drive.channels["c-1"].pushes]
    assert states == ["sync", "change"] and channel.expires_at_ms is not None
    await google.stop(channel)
    await google.stop(channel)
    assert drive.channels == {}
