"""The SmugMug client against a fake that checks every signature."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from PIL import Image

from syncd.config import SmugmugConfig
from syncd.errors import Refused, Transient
from syncd.remotes import smugmug as client_module
from syncd.remotes.http import NotFound
from syncd.remotes.smugmug import SmugMug
from syncd.remotes.smugmug_errors import Conflict, GrantMissing
from syncd.remotes.smugmug_items import Page
from syncd.remotes.smugmug_oauth import Signer
from tests.fakes.faults import drop, html, lose, says, truncate
from tests.fakes.smugmug import NICKNAME, FakeSmugmug, before, refuse
from tests.remotes.conftest import Clock
from tests.remotes.smugmug_client import albums, client_of, images


@pytest.fixture
async def client(smug: FakeSmugmug, clock: Clock) -> AsyncIterator[SmugMug]:
    async with client_of(smug, clock) as opened:
        yield opened


# --- lists --------------------------------------------------------------------------------------------


async def test_all_albums_and_photos_with_one_request_a_page(smug: FakeSmugmug, clock: Clock) -> None:
    keys = [smug.add_album(f"Album {number}", keywords="a; b") for number in range(120)]
    smug.edit_album(keys[5], privacy="Private")
    taken = datetime(2026, 5, 30, 11, 28, 12)
    many = smug.fill(keys[0], 260, first=taken, seeds=3)
    async with client_of(smug, clock) as client:
        found, pages = await albums(client)
        assert [album.album_key for album in found] == keys[::-1]
        assert [(page.start, page.total, len(page.items)) for page in pages] == [
            (1, 120, 50),
            (51, 120, 50),
            (101, 120, 20),
        ]
        assert found[114].privacy == "Private" and found[-1].image_count == 260
        assert (found[0].keywords, found[0].url_path) == (("a", "b"), "/Album-119")
        photos, photo_pages = await images(client, keys[0])
        assert [photo.image_key for photo in photos] == many and len(photo_pages) == 6
        assert photos[0].captured_at == "2026-05-30T11:28:12"  # not the shifted DateTimeOriginal
        assert photos[0].album_key == keys[0] and photos[0].md5 is not None and photos[0].archived_url
        assert await images(client, keys[1]) == ([], [Page((), 0, 1, None)])
        again, _ = await images(client, keys[0], photo_pages[3].next_path)
        assert [photo.image_key for photo in again] == many[200:]
    assert smug.calls == {"user.albums": 3, "album.images": 6 + 1 + 2}
    asked = smug.requests[-1].query
    assert asked["_expand"] == "ImageMetadata" and asked["_verbosity"] == "1" and "_shorturis" in asked
    assert all(one.headers["Authorization"].startswith("OAuth ") for one in smug.requests)
    assert "oauth" not in str([one.query for one in smug.requests])


async def test_counts_are_not_trusted(smug: FakeSmugmug, clock: Clock) -> None:
    album = smug.add_album("Clamped")
    keys = smug.fill(album, 25, seeds=2)
    smug.page_limit, smug.as_text = 10, True
    async with client_of(smug, clock, page_size=1000) as client:
        photos, pages = await images(client, album)
        assert [photo.image_key for photo in photos] == keys
        assert [len(page.items) for page in pages] == [10, 10, 5] and {page.total for page in pages} == {25}
        smug.fail("album.images", before(lambda: None), before(lambda: smug.take_out(album, keys[0])))
        shifted, pages = await images(client, album)
        assert [page.total for page in pages] == [25, 24, 24]  # so that the reader begins again
        assert keys[10] not in [photo.image_key for photo in shifted]


async def test_a_page_that_is_never_found_is_walked_round(
    smug: FakeSmugmug, client: SmugMug, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [None, smug.add_folder("2025"), smug.add_folder("2026")]
    folders.append(smug.add_folder("June", folders[2]))
    keys = {smug.add_album(f"Album {n}", folders[n % 4]) for n in range(60)}
    smug.lost_pages = {("user.albums", 51)}
    found, pages = await albums(client)
    assert {album.album_key for album in found} == keys and len(found) == 60
    assert [(page.start, page.total, len(page.items)) for page in pages] == [(1, 60, 50), (51, 60, 10)]
    assert smug.calls["album"] == 0  # their albums came with the folders
    smug.lost_pages = {("user.albums", 1)}
    found, pages = await albums(client)
    assert {album.album_key for album in found} == keys and [page.total for page in pages] == [60]
    monkeypatch.setattr(client_module, "_NODE", {})  # as where nothing is expanded
    assert {album.album_key for album in (await albums(client))[0]} == keys


async def test_an_account_that_is_none(smug: FakeSmugmug, clock: Clock) -> None:
    async with client_of(smug, clock, account="me@example.com") as client:
        with pytest.raises(NotFound) as caught:
            await albums(client)
    assert caught.value.hint is not None and "not an e-mail address" in caught.value.hint
    async with client_of(smug, clock, account="") as client:
        assert await client.nickname() == await client.nickname() == NICKNAME
    assert smug.calls["authuser"] == 1


async def test_an_album_that_goes_in_mid_pass(smug: FakeSmugmug, client: SmugMug) -> None:
    album = smug.add_album("Gone soon")
    smug.fill(album, 60, seeds=2)
    smug.fail("album.images", before(lambda: None), before(lambda: smug.remove_album(album)))
    with pytest.raises(NotFound):
        await images(client, album)
    with pytest.raises(NotFound):
        await client.album(album)
    with pytest.raises(NotFound):
        await client.album_image(album, "k")


async def test_one_album_and_one_photo(smug: FakeSmugmug, client: SmugMug) -> None:
    album, other = smug.add_album("One", security_type="Password"), smug.add_album("Two", privacy="Unlisted")
    image = smug.add_image(album, "IMG_1.HEIC", seed=3, width=2000, height=1000, caption="x")
    smug.collect(image, other)
    smug.replace_image(image, seed=4)
    assert (await client.album(album)).security_type == "Password"
    one = await client.album_image(other, image)
    assert (one.album_key, one.serial, one.file_name, one.is_collected) == (other, 1, "IMG_1_heic.JPG", True)
    assert one.large_url is not None and "/X3/" in one.large_url
    assert one.captured_at is None and one.caption == "x"
    assert max(Image.open(io.BytesIO(await client.large_picture(one.thumbnail_url or ""))).size) == 1600
    for status in (404, 403):
        smug.fail("image", refuse(status))
        assert max(Image.open(io.BytesIO(await client.large_picture(one.thumbnail_url or ""))).size) == 150


# --- pictures -----------------------------------------------------------------------------------------


async def test_pictures(smug: FakeSmugmug, client: SmugMug) -> None:
    album = smug.add_album("Private", privacy="Private")
    image, video = smug.add_image(album, "a.jpg", seed=1), smug.add_image(album, "b.mp4")
    (photo, clip), _ = await images(client, album)
    assert photo.thumbnail_url and photo.archived_url and clip.archived_url and clip.thumbnail_url
    assert Image.open(io.BytesIO(await client.picture(photo.thumbnail_url))).size == (150, 100)
    assert await client.picture(photo.archived_url) == smug.images[image].original
    assert (await client.picture(clip.thumbnail_url)).startswith(b"\xff\xd8")
    with pytest.raises(Refused, match="sent video/mp4 instead"):
        await client.picture(clip.archived_url)
    smug.fail("photo", html(200), says(404, b"gone"), truncate(), drop())
    with pytest.raises(Refused, match="sent text/html instead"):
        await client.picture(photo.thumbnail_url)
    with pytest.raises(NotFound) as caught:
        await client.picture(photo.thumbnail_url)
    assert caught.value.hint is not None and "sync the album" in caught.value.hint
    assert (await client.picture(photo.thumbnail_url)).endswith(b"\xff\xd9")
    smug.grant(NICKNAME, "Public", "Read")
    with pytest.raises(Refused) as refused:
        await client.picture(photo.thumbnail_url)
    assert not isinstance(refused.value, NotFound) and smug.images[video].is_video


async def test_pictures_come_from_smugmug_only_and_are_not_endless(
    smug: FakeSmugmug, clock: Clock, client: SmugMug, monkeypatch: pytest.MonkeyPatch
) -> None:
    for elsewhere in (
        "https://photos.smugmug.com.example.com/a.jpg",
        "https://user@127.0.0.1:9/a.jpg",
        "http://photos.smugmug.com/a.jpg",
        "https://photos.smugmug.com:8443/a.jpg",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "//photos.smugmug.com/a.jpg",
        "http://[::1/a.jpg",
        "",
    ):
        with pytest.raises(Refused, match=r"address|not its own"):
            await client.picture(elsewhere)
    assert not smug.requests
    abroad = SmugMug(SmugmugConfig(), Signer("k", "s"))
    with pytest.raises(Refused, match="not its own"):
        await abroad.picture(f"{smug.photos_url}/a.jpg")
    album = smug.add_album("A")
    smug.add_image(album, "a.jpg")
    (photo,), _ = await images(client, album)
    monkeypatch.setattr(client_module, "PICTURE_LIMIT_BYTES", 1000)
    with pytest.raises(Refused, match="longer than 1,000 bytes"):
        await client.picture(photo.archived_url or "")


async def test_pictures_on_the_apis_own_host_share_its_pace(smug: FakeSmugmug, clock: Clock) -> None:
    album = smug.add_album("A")
    smug.add_image(album, "a.jpg")
    smug.photos_url = smug.base_url
    async with client_of(smug, clock, requests_per_second=4) as client:
        (photo,), _ = await images(client, album)
        clock.slept.clear()
        for _ in range(3):
            await client.picture(photo.thumbnail_url or "")
        assert sum(clock.slept) == pytest.approx(0.75)


# --- renaming -----------------------------------------------------------------------------------------


async def test_a_new_name(smug: FakeSmugmug, client: SmugMug) -> None:
    album = smug.add_album("Old")
    info = await client.rename_album(album, "Lions vs Tigers - May 30")
    assert (info.album_key, info.name, info.url_name) == (album, "Lions vs Tigers - May 30", "Old")
    assert smug.requests[-1].headers["Content-Type"] == "application/json"
    for wrong in ("", "  ", "x" * 256):
        with pytest.raises(Refused, match="1 to 255 characters"):
            await client.rename_album(album, wrong)
    with pytest.raises(NotFound):
        await client.rename_album("nothing", "x")
    smug.fail("album.patch", refuse(409, "Conflict"))
    with pytest.raises(Conflict, match="409"):
        await client.rename_album(album, "y")
    assert smug.calls["album.patch"] == 3


@pytest.mark.parametrize("accident", [refuse(504), html(502), lose(), says(200, b"", "application/json")])
async def test_an_unsure_rename_is_read_back(smug: FakeSmugmug, client: SmugMug, accident: Any) -> None:
    """Before the accident the rename was done, or it was not: once is enough in either case."""
    album = smug.add_album("Old")
    smug.fail("album.patch", accident)
    smug.fail("album", before(lambda: smug.rename_album(album, "New")))
    assert (await client.rename_album(album, "New")).name == "New"
    assert (smug.calls["album.patch"], smug.calls["album"]) == (1, 1)
    smug.fail("album.patch", refuse(504))
    assert (await client.rename_album(album, "Newer")).name == "Newer" == smug.albums[album].name
    assert smug.calls["album.patch"] == 3


async def test_a_rename_that_never_gets_through(smug: FakeSmugmug, client: SmugMug) -> None:
    album = smug.add_album("Old")
    smug.fail("album.patch", *[refuse(503)] * 9)
    with pytest.raises(Transient, match="503"):
        await client.rename_album(album, "New")
    assert smug.calls["album.patch"] == 3 and smug.albums[album].name == "Old"
    smug.script.faults.clear()
    smug.fail("album.patch", says(200, b'{"Response":{},"Code":200}', "application/json"))
    with pytest.raises(Refused, match="still Old"):
        await client.rename_album(album, "New")


async def test_the_right_to_rename_is_another_grant(smug: FakeSmugmug, client: SmugMug) -> None:
    album = smug.add_album("Old")
    smug.grant(NICKNAME, "Full", "Read")
    with pytest.raises(GrantMissing, match="not granted the required permissions") as caught:
        await client.rename_album(album, "New")
    assert caught.value.hint is not None
    assert "Permissions: Modify" in caught.value.hint and "Authorized Services" in caught.value.hint
    assert client.rejection is None  # reading goes on
    assert (await client.album(album)).name == "Old"
