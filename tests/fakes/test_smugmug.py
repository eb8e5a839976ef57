"""The fake SmugMug against what is known of the real one."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import aiohttp
import pytest
from PIL import Image

from tests.fakes.smugmug import NICKNAME, FakeSmugmug, before, fake_smugmug, refuse
from tests.fakes.smugmug_sign_in import base_string, sign


class Browser:
    """Plain requests, signed by hand."""

    def __init__(self, smug: FakeSmugmug, session: aiohttp.ClientSession) -> None:
        self.smug = smug
        self.session = session
        self.token = smug.issue_token(NICKNAME)
        self.nonce = 0

    def header(self, method: str, url: str, **changes: str) -> dict[str, str]:
        self.nonce += 1
        own = {
            "oauth_consumer_key": self.smug.api_key,
            "oauth_nonce": f"nonce{self.nonce}",
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_timestamp": str(int(time.time())),
            "oauth_token": self.token[0],
            **changes,
        }
        own = {name: value for name, value in own.items() if value}
        text = base_string(method, url, own)
        own = {"oauth_signature": sign(text, self.smug.api_secret, self.token[1]), **own}
        return {"Authorization": "OAuth " + ", ".join(f'{n}="{quote(v, safe="")}"' for n, v in own.items())}

    async def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        json: Any = None,
        oauth: dict[str, str] | None = None,
        **params: Any,
    ) -> tuple[int, Any]:
        url = self.smug.base_url + path + (f"?{urlencode(params)}" if params else "")
        headers = {"Accept": "application/json", **self.header(method, url, **(oauth or {}))}
        async with self.session.request(method, url, json=json, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def plain(self, url: str, **headers: str) -> tuple[int, str, bytes]:
        async with self.session.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location") or answer.content_type, await answer.read()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with fake_smugmug() as smug, aiohttp.ClientSession() as session:
        yield Browser(smug, session)


def test_the_signature_of_the_documented_example() -> None:
    url = "https://api.smugmug.com/api/v2/album/HZMsPf!images?count=100&start=1&_shorturis=&_filter=ImageKey,FileName"
    own = {
        "oauth_consumer_key": "ckey123", "oauth_nonce": "abcdef0123456789", "oauth_version": "1.0",
        "oauth_signature_method": "HMAC-SHA1", "oauth_timestamp": "1700000000", "oauth_token": "tok789",
    }  # fmt: skip
    text = base_string("GET", url, own)
    assert text.startswith(
        "GET&https%3A%2F%2Fapi.smugmug.com%2Fapi%2Fv2%2Falbum%2FHZMsPf%21images&_filter%3D"
    )
    assert sign(text, "csecret456", "tsecret000") == "NsuBZV+O8ItQ30S0Qc5FwMGMMl4="


@pytest.mark.parametrize(
    ("oauth", "problem"),
    [
        ({"oauth_nonce": "same"}, "nonce_used"),
        ({"oauth_timestamp": "1700000000"}, "timestamp_refused"),
        ({"oauth_token": "nobody"}, "token_rejected"),
        ({"oauth_consumer_key": "other"}, "consumer_key_unknown"),
        ({"oauth_signature_method": "PLAINTEXT"}, "signature_method_rejected"),
        ({"oauth_nonce": ""}, "parameter_absent"),
        ({"oauth_signature": "AAAA"}, "signature_invalid"),
    ],
)
async def test_every_signature_is_checked(browser: Browser, oauth: dict[str, str], problem: str) -> None:
    if problem == "nonce_used":
        assert (await browser.ask("/api/v2!authuser", oauth=oauth))[0] == 200
    status, body = await browser.ask("/api/v2!authuser", oauth=oauth)
    assert (status, body["Code"]) == (401, 401)
    assert "%3D" in body["Message"] and problem in body["Message"]
    browser.smug.revoke(NICKNAME)
    assert (await browser.ask("/api/v2!authuser"))[0] == 401


async def test_an_envelope_echoes_the_address_and_shapes_what_it_holds(browser: Browser) -> None:
    album = browser.smug.add_album("Smith Wedding")
    browser.smug.add_image(album, "a.jpg")
    status, body = await browser.ask(f"/api/v2/album/{album}", APIKey="k")
    found = body["Response"]
    assert (status, body["Code"], body["Message"]) == (200, 200, "Ok")
    assert found["Uri"] == f"/api/v2/album/{album}?APIKey=k"
    assert (found["Locator"], found["LocatorType"], found["EndpointType"]) == ("Album", "Object", "Album")
    assert found["Album"]["Uris"]["AlbumImages"]["Uri"] == f"/api/v2/album/{album}!images"
    short = (
        await browser.ask(f"/api/v2/album/{album}", _shorturis="", _filter="Name,AlbumKey", _verbosity=1)
    )[1]
    assert short["Response"]["Album"].keys() == {"Name", "AlbumKey", "Uris"}
    assert short["Response"]["Album"]["Uris"]["AlbumImages"] == f"/api/v2/album/{album}!images"
    assert "EndpointType" not in short["Response"]
    none = (await browser.ask(f"/api/v2/album/{album}", _filter="Name", _filteruri=""))[1]["Response"][
        "Album"
    ]
    assert none == {"Name": "Smith Wedding"}
    page = await browser.plain(f"{browser.smug.base_url}/api/v2/album/{album}?APIKey={browser.smug.api_key}")
    assert page[:2] == (200, "text/html")


async def test_pages_are_clamped_and_lead_to_each_other(browser: Browser) -> None:
    smug = browser.smug
    album = smug.add_album("Many")
    keys = smug.fill(album, 230, seeds=2)
    path: str | None = f"/api/v2/album/{album}!images?count=500&_expand=ImageMetadata"
    got: list[str] = []
    while path is not None:
        address = urlsplit(path)
        status, body = await browser.ask(
            address.path, **dict(parse_qsl(address.query, keep_blank_values=True))
        )
        images, pages = body["Response"]["AlbumImage"], body["Response"]["Pages"]
        assert (status, pages["Total"], pages["Count"]) == (200, 230, len(images))
        assert len(body["Expansions"]) == len(images)  # the next address keeps what was asked for
        got += [image["ImageKey"] for image in images]
        path = pages.get("NextPage")
    assert got == keys and smug.calls["album.images"] == 3
    beyond = (await browser.ask(f"/api/v2/album/{album}!images", start=231))[1]["Response"]
    assert "AlbumImage" not in beyond and (beyond["Pages"]["Total"], beyond["Pages"]["Count"]) == (230, 0)
    smug.as_text = True
    assert (await browser.ask(f"/api/v2/album/{album}!images"))[1]["Response"]["Pages"]["Total"] == "230"
    assert (await browser.ask(f"/api/v2/album/{album}!images", start="x"))[0] == 400


async def test_an_empty_list_has_no_key(browser: Browser) -> None:
    album = browser.smug.add_album("Empty")
    found = (await browser.ask(f"/api/v2/album/{album}!images"))[1]["Response"]
    assert "AlbumImage" not in found and found["Pages"]["Total"] == 0


async def test_which_stamps_move(browser: Browser) -> None:
    smug = browser.smug
    album, other = smug.add_album("One"), smug.add_album("Two")
    image = smug.add_image(album, "a.jpg")

    def stamps(key: str) -> tuple[Any, Any]:
        return smug.albums[key].last_updated, smug.albums[key].images_updated

    start = stamps(album)
    smug.edit_image(image, caption="new")
    assert stamps(album) == start and smug.images[image].updated_at > start[1]
    smug.rename_album(album, "Uno")
    assert stamps(album)[0] > start[0] and stamps(album)[1] == start[1]
    smug.collect(image, other)
    assert stamps(other)[1] > stamps(album)[1]
    smug.rearrange(album)
    assert stamps(album)[1] > start[1]
    smug.take_out(album, image)
    assert image in smug.images
    smug.remove_album(other)
    assert image not in smug.images and [gone.key for gone in smug.deleted] == [other]
    smug.frozen = True
    assert smug.changed() == smug.changed()


async def test_what_a_photo_says(browser: Browser) -> None:
    smug = browser.smug
    album = smug.add_album("A", allow_downloads=False)
    taken = datetime(2026, 5, 30, 11, 28, 12)
    image = smug.add_image(album, "IMG_7058.HEIC", taken_at=taken, keywords=["a", "b"], latitude=47.97)
    smug.add_image(album, "clip.MOV", processing=True)
    body = (await browser.ask(f"/api/v2/album/{album}!images", _expand="ImageMetadata"))[1]
    photo, video = body["Response"]["AlbumImage"]
    assert (photo["FileName"], photo["Format"], photo["Keywords"]) == ("IMG_7058_heic.JPG", "JPG", "a; b")
    assert photo["DateTimeOriginal"] == "2026-05-30T18:28:12+00:00"
    metadata = body["Expansions"][f"/api/v2/image/{image}-0!metadata"]["ImageMetadata"]
    assert (metadata["DateTimeCreated"], metadata["Aperture"]) == ("2026-05-30T11:28:12", "")
    assert (photo["Latitude"][:5], photo["Longitude"]) == ("47.97", "0")
    assert video["IsVideo"] and video["Processing"] and "ArchivedMD5" not in video
    assert (video["ComponentFileTypes"], "DateTimeOriginal" in video) == ([], False)
    _, kind, content = await browser.plain(photo["ArchivedUri"])
    assert (kind, len(content)) == ("image/jpeg", photo["ArchivedSize"])
    assert hashlib.md5(content).hexdigest() == photo["ArchivedMD5"]
    thumbnail = Image.open(io.BytesIO((await browser.plain(photo["ThumbnailUrl"]))[2]))
    assert max(thumbnail.size) == 150
    smug.replace_image(image, seed=99)
    assert (await browser.plain(photo["ThumbnailUrl"]))[0] == 404
    one = (await browser.ask(f"/api/v2/album/{album}/image/{image}"))[1]["Response"]["AlbumImage"]
    assert one["Serial"] == 1 and one["ArchivedMD5"] != photo["ArchivedMD5"]
    sizes = (await browser.ask(f"/api/v2/image/{image}-1!sizedetails"))[1]["Response"]["ImageSizeDetails"]
    assert sizes["ImageSizeSmall"]["Width"] == 400 and "ImageSizeLarge" not in sizes
    assert (await browser.plain(sizes["ImageSizeSmall"]["Url"]))[0] == 200


async def test_who_sees_what(browser: Browser) -> None:
    smug = browser.smug
    public, unlisted, private, locked = (
        smug.add_album("Public", allow_downloads=True),
        smug.add_album("Unlisted", privacy="Unlisted"),
        smug.add_album("Private", privacy="Private"),
        smug.add_album("Locked", security_type="Password"),
    )
    images = {key: smug.add_image(key, "a.jpg") for key in (public, unlisted, private, locked)}
    smug.edit_image(smug.add_image(public, "hidden.jpg"), hidden=True)
    owner = (await browser.ask(f"/api/v2/user/{NICKNAME}!albums"))[1]["Response"]["Album"]
    assert {album["AlbumKey"] for album in owner} == images.keys()
    assert all(album["ResponseLevel"] == "Full" and album["Privacy"] for album in owner)
    thumbnail = (await browser.ask(f"/api/v2/album/{private}!images"))[1]["Response"]["AlbumImage"][0][
        "ThumbnailUrl"
    ]
    assert (await browser.plain(thumbnail))[0] == 403
    assert (await browser.plain(thumbnail, **browser.header("GET", thumbnail)))[0] == 200
    smug.grant(NICKNAME, "Public", "Read")
    listed = (await browser.ask(f"/api/v2/user/{NICKNAME}!albums"))[1]["Response"]["Album"]
    assert [(album["Name"], album["ResponseLevel"]) for album in listed] == [
        ("Locked", "Password"),
        ("Public", "Public"),
    ]
    assert "Privacy" not in listed[1]
    found = (await browser.ask(f"/api/v2/album/{public}!images"))[1]["Response"]
    assert (found["Pages"]["Total"], "ArchivedUri" in found["AlbumImage"][0]) == (1, True)
    for key, status in ((unlisted, 200), (private, 404), (locked, 404), ("nothing", 404)):
        assert (await browser.ask(f"/api/v2/album/{key}!images"))[0] == status
    assert (await browser.ask("/api/v2/user/me@example.com!albums"))[0] == 404


async def test_renaming(browser: Browser) -> None:
    smug = browser.smug
    album, other = smug.add_album("Old name"), smug.add_album("Other")
    path = f"/api/v2/album/{album}"
    status, body = await browser.ask(path, method="PATCH", json={"Name": "Nëw! name"})
    assert (status, body["Response"]["Album"]["Name"]) == (200, "Nëw! name")
    assert (body["Response"]["Album"]["UrlName"], smug.albums[album].name) == ("Old-Name", "Nëw! name")
    assert (await browser.ask(path, method="PATCH", json={"Name": "Other"}))[0] == 200  # names may repeat
    for wrong, expected in (
        ({"Name": "x" * 256}, 400),
        ({"Color": "red"}, 400),
        ([], 400),
        ({"UrlName": "a"}, 400),
    ):
        assert (await browser.ask(path, method="PATCH", json=wrong))[0] == expected
    clash = {"UrlName": smug.albums[other].url_name}
    assert (await browser.ask(path, method="PATCH", json=clash))[0] == 409
    smug.grant(NICKNAME, "Full", "Read")
    status, body = await browser.ask(path, method="PATCH", json={"Name": "No"})
    assert (status, "not%20granted" in body["Message"]) == (403, True)


async def test_the_tree(browser: Browser) -> None:
    smug = browser.smug
    folder = smug.add_folder("2026")
    album = smug.add_album("Smith Wedding", folder)
    user = (await browser.ask(f"/api/v2/user/{NICKNAME}"))[1]["Response"]["User"]
    root = user["Uris"]["Node"]["Uri"]
    children = (await browser.ask(f"{root}!children"))[1]["Response"]["Node"]
    assert [(node["Type"], node["NodeID"]) for node in children] == [("Folder", folder)]
    body = (await browser.ask(f"/api/v2/node/{folder}!children", _expand="Album"))[1]
    link = body["Response"]["Node"][0]["Uris"]["Album"]["Uri"]
    assert body["Expansions"][link]["Album"]["UrlPath"] == "/2026/Smith-Wedding"
    assert link == f"/api/v2/album/{album}"


async def test_accidents_and_limits(browser: Browser) -> None:
    smug = browser.smug
    smug.fail("authuser", refuse(503), refuse(429, Retry_After="1800"), before(lambda: smug.revoke(NICKNAME)))
    assert [(await browser.ask("/api/v2!authuser"))[0] for _ in range(3)] == [503, 429, 401]
    assert [one.status for one in smug.api_calls()] == [503, 429, 401]
    browser.token = smug.issue_token(NICKNAME)
    smug.limit = 2
    url = f"{smug.base_url}/api/v2!authuser"
    for remaining, status in (("0", 200), ("0", 429)):
        async with browser.session.get(url, headers=browser.header("GET", url)) as answer:
            assert (answer.status, answer.headers["X-RateLimit-Remaining"]) == (status, remaining)
    assert 0 < int(answer.headers["Retry-After"]) <= 3601
    assert int(answer.headers["X-RateLimit-Reset"]) > time.time()
    assert "ETag" not in answer.headers


async def test_the_pages_of_a_sign_in(browser: Browser) -> None:
    smug = browser.smug
    url = f"{smug.base_url}/services/oauth/1.0a/getRequestToken"
    browser.token = "", ""
    assert (await browser.plain(url, **browser.header("GET", url)))[2].startswith(
        b"oauth_problem=parameter_absent"
    )
    status, _, body = await browser.plain(url, **browser.header("GET", url, oauth_callback="oob"))
    given = dict(parse_qsl(body.decode()))
    assert (status, given["oauth_callback_confirmed"]) == (200, "true")
    browser.token = given["oauth_token"], given["oauth_token_secret"]
    consent = {"oauth_token": given["oauth_token"], "Access": "Full", "Permissions": "Modify"}
    page = (await browser.plain(f"{smug.base_url}/services/oauth/1.0a/authorize?{urlencode(consent)}"))[
        2
    ].decode()
    code = page.partition("<b>")[2].partition("</b>")[0]
    assert len(code) == 6 and code.isdecimal()
    exchange = f"{smug.base_url}/services/oauth/1.0a/getAccessToken"
    for verifier, status in (("000000x", 401), (code, 200), (code, 401)):  # single use
        answer = await browser.plain(exchange, **browser.header("GET", exchange, oauth_verifier=verifier))
        assert answer[0] == status
        if status == 200:
            granted = dict(parse_qsl(answer[2].decode()))
    token = smug.tokens[granted["oauth_token"]]
    assert (token.nickname, token.access, token.permissions) == (NICKNAME, "Full", "Modify")
