"""The fake Drive against what is known of the real one."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.fakes.drive_language import SCHEMAS, Query, Wrong, apply_fields, parse_fields
from tests.fakes.google_drive import ACCOUNT, FakeDrive, fake_drive
from tests.fakes.google_sign_in import JWT_GRANT, READONLY

ROBOT = "robot@project.iam.gserviceaccount.com"
FEED = (
    "nextPageToken,newStartPageToken,changes(removed,fileId,file(id,name,parents,trashed,size,md5Checksum))"
)


class Browser:
    """Plain requests, as curl would send them."""

    def __init__(self, drive: FakeDrive, session: aiohttp.ClientSession) -> None:
        self.drive = drive
        self.session = session
        self.headers = {"Authorization": f"Bearer {drive.issue_token(ACCOUNT)}"}

    async def get(self, path: str, **params: str) -> tuple[int, Any]:
        url = f"{self.drive.base_url}/drive/v3{path}"
        async with self.session.get(url, params=params, headers=self.headers) as answer:
            return answer.status, await answer.json()

    async def reason(self, path: str, **params: str) -> tuple[int, str, str | None]:
        status, body = await self.get(path, **params)
        first = body["error"]["errors"][0]
        assert body["error"]["code"] == status
        return status, first["reason"], first.get("location")

    async def token(self, **form: str) -> tuple[int, Any]:
        async with self.session.post(self.drive.token_url, data=form) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with fake_drive() as drive, aiohttp.ClientSession() as session:
        yield Browser(drive, session)


# --- the feed ---------------------------------------------------------------------------------------


async def test_one_live_entry_an_item_oldest_first_and_state_as_of_now(browser: Browser) -> None:
    drive = browser.drive
    token = (await browser.get("/changes/startPageToken"))[1]["startPageToken"]
    first, second = drive.add_file("a.jpg", drive.root, b"1"), drive.add_file("b.jpg", drive.root, b"22")
    drive.rename(first, "c.jpg")
    _, page = await browser.get("/changes", pageToken=token, pageSize="1", fields=FEED)
    assert [change["fileId"] for change in page["changes"]] == [second]
    assert "newStartPageToken" not in page
    drive.rename(first, "d.jpg")
    _, last = await browser.get("/changes", pageToken=page["nextPageToken"], fields=FEED)
    assert [change["file"]["name"] for change in last["changes"]] == ["d.jpg"]
    assert last["changes"][0]["file"]["size"] == "1"
    assert "nextPageToken" not in last
    _, end = await browser.get("/changes", pageToken=last["newStartPageToken"], fields=FEED)
    assert end == {"newStartPageToken": last["newStartPageToken"], "changes": []}


async def test_tombstones_carry_only_the_id(browser: Browser) -> None:
    drive = browser.drive
    photo = drive.add_file("a.jpg", drive.root, b"1")
    token = (await browser.get("/changes/startPageToken"))[1]["startPageToken"]
    drive.trash(photo)
    _, page = await browser.get("/changes", pageToken=token, fields=FEED)
    assert page["changes"][0]["file"]["trashed"] is True
    drive.delete(photo)
    _, page = await browser.get("/changes", pageToken=token, fields=FEED)
    assert page["changes"] == [{"removed": True, "fileId": photo}]
    _, page = await browser.get("/changes", pageToken=token, fields=FEED, includeRemoved="false")
    assert page["changes"] == []


async def test_a_folder_s_own_entry_is_all_there_is_unless_asked(browser: Browser) -> None:
    drive = browser.drive
    folder = drive.add_folder("f", drive.root)
    inside = drive.add_file("a.jpg", folder, b"1")
    token = (await browser.get("/changes/startPageToken"))[1]["startPageToken"]
    drive.trash(folder)
    _, page = await browser.get("/changes", pageToken=token, fields=FEED)
    assert [change["fileId"] for change in page["changes"]] == [folder]
    assert (await browser.get(f"/files/{inside}", fields="trashed,explicitlyTrashed"))[1] == {
        "trashed": True,
        "explicitlyTrashed": False,
    }
    drive.descendant_entries = True
    drive.restore(folder)
    _, page = await browser.get("/changes", pageToken=token, fields=FEED)
    assert [change["fileId"] for change in page["changes"]] == [inside, folder]


async def test_shared_items_are_hidden_by_restrict_to_my_drive(browser: Browser) -> None:
    drive = browser.drive
    drive.add_account("other@example.com")
    theirs = drive.add_folder("theirs", drive.roots["other@example.com"])
    token = (await browser.get("/changes/startPageToken"))[1]["startPageToken"]
    drive.share(theirs, ACCOUNT)
    _, page = await browser.get("/changes", pageToken=token, fields=FEED, restrictToMyDrive="true")
    assert page["changes"] == []
    _, page = await browser.get("/changes", pageToken=token, fields=FEED)
    assert page["changes"][0]["file"]["name"] == "theirs"
    assert "parents" not in page["changes"][0]["file"]


async def test_a_new_membership_is_one_entry_about_the_drive(browser: Browser) -> None:
    token = (await browser.get("/changes/startPageToken"))[1]["startPageToken"]
    shared = browser.drive.add_shared_drive("Agency", ACCOUNT)
    browser.drive.add_file("a.jpg", shared, b"1")
    asked = "changes(changeType,driveId,removed,fileId,file(id))"
    _, page = await browser.get("/changes", pageToken=token, fields=asked)
    (change,) = page["changes"]
    assert (change["changeType"], change["driveId"], change["removed"]) == ("drive", shared, False)
    assert not {"file", "fileId"} & change.keys()


async def test_tokens_belong_to_their_feed(browser: Browser) -> None:
    drive = browser.drive
    shared = drive.add_shared_drive("Agency", ACCOUNT)
    all_drives = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}
    mine = (await browser.get("/changes/startPageToken"))[1]["startPageToken"]
    theirs = (await browser.get("/changes/startPageToken", driveId=shared, **all_drives))[1]["startPageToken"]
    assert await browser.reason("/changes", pageToken=theirs) == (400, "invalid", "pageToken")
    assert (await browser.reason("/changes", pageToken=mine, driveId=shared, **all_drives))[0] == 400
    assert (await browser.get("/changes", pageToken=theirs, driveId=shared, **all_drives))[0] == 200
    assert (await browser.reason("/changes", pageToken=theirs, driveId=shared))[0] == 403
    assert await browser.reason("/changes") == (400, "required", "pageToken")
    for status in (400, 403, 404, 410):
        drive.lost_token_answer = status
        assert (await browser.reason("/changes", pageToken="nonsense"))[0] == status


# --- files ------------------------------------------------------------------------------------------


async def test_fields_are_applied(browser: Browser) -> None:
    drive = browser.drive
    photo = drive.add_file("a.jpg", drive.root, b"1")
    path = f"/files/{photo}"
    assert set((await browser.get(path))[1]) == {"kind", "id", "name", "mimeType"}
    assert (await browser.get(path, fields=""))[1] == {}
    _, found = await browser.get(path, fields="size,capabilities/canDownload,imageMediaMetadata(width)")
    assert found == {
        "size": "1",
        "capabilities": {"canDownload": True},
        "imageMediaMetadata": {"width": 6000},
    }
    assert await browser.reason(path, fields="nonsense") == (400, "invalidParameter", "fields")
    assert (await browser.reason("/about"))[:2] == (400, "required")
    listed = (await browser.get("/files", q=f"'{drive.root}' in parents"))[1]["files"]
    assert listed == [{"kind": "drive#file", "id": photo, "name": "a.jpg", "mimeType": "image/jpeg"}]


def test_masks() -> None:
    mask = parse_fields("files(id, capabilities/*),nextPageToken", SCHEMAS["files"])
    value = {"files": [{"id": "1", "name": "n", "capabilities": {"canEdit": False}}], "kind": "k"}
    assert apply_fields(mask, value) == {"files": [{"id": "1", "capabilities": {"canEdit": False}}]}
    assert apply_fields(parse_fields("*", SCHEMAS["files"]), value) == value
    for wrong in ("files(id", "files(id))", "id", ",", "files(,)", "files/nope"):
        with pytest.raises(Wrong):
            parse_fields(wrong, SCHEMAS["files"])


def test_queries() -> None:
    photo = {
        "name": "It's a\\b.JPG", "mimeType": "image/jpeg", "parents": ["P"], "trashed": False,
        "modifiedTime": "2026-01-02T00:00:00.000Z",
    }  # fmt: skip
    yes = [
        "",
        "'P' in parents and trashed = false",
        "('Q' in parents or 'P' in parents) and (mimeType contains 'image/' or mimeType = 'x')",
        "name = 'it\\'s A\\\\b.jpg'",
        "not trashed = true and mimeType != 'x'",
        "modifiedTime > '2026-01-01T00:00:00' and modifiedTime <= '2026-01-02T00:00:00'",
    ]
    no = ["'Q' in parents", "trashed = true", "trashed != false", "mimeType contains 'jpeg'", "name = 'x'"]
    assert [Query(text).matches(photo) for text in yes] == [True] * len(yes)
    assert [Query(text).matches(photo) for text in no] == [False] * len(no)
    wrong = ["'P' in", "P in parents", "trashed = 'x'", "(trashed = true", "name", "trashed = true or", "'x"]
    for text in [*wrong, "trashed = true)", "size > '3'", "\x00"]:
        with pytest.raises(Wrong):
            Query(text)


async def test_listings_are_paged_by_tokens_of_their_own(browser: Browser) -> None:
    drive = browser.drive
    folder = drive.add_folder("f", drive.root)
    made = [drive.add_file(f"{n}.jpg", folder, b"x") for n in range(5)]
    drive.trash(made[1])
    query = {"q": f"'{folder}' in parents", "pageSize": "2"}
    seen, token = [], {}
    while True:
        _, page = await browser.get("/files", **query, **token)
        seen += [file["id"] for file in page["files"]]
        if "nextPageToken" not in page:
            break
        token = {"pageToken": page["nextPageToken"]}
    assert seen == made  # the trash included
    assert await browser.reason("/files", pageToken="x", **query) == (400, "invalid", "pageToken")
    assert await browser.reason("/files", q="'") == (400, "invalid", "q")
    assert await browser.reason("/files", q="'nope' in parents") == (404, "notFound", "fileId")
    for size in ("0", "-1", "1001"):
        assert await browser.reason("/files", pageSize=size) == (400, "invalidParameter", "page_size")
    assert (await browser.reason("/files", pageSize="NOPE"))[:2] == (400, "invalid")


async def test_bytes(browser: Browser) -> None:
    drive = browser.drive
    photo, empty = drive.add_file("a.jpg", drive.root, b"0123456789"), drive.add_file("b", drive.root, b"")
    url = f"{drive.base_url}/drive/v3/files"

    async def media(item: str, asked: str | None) -> tuple[int, str | None, bytes]:
        headers = browser.headers | ({"Range": asked} if asked else {})
        async with browser.session.get(f"{url}/{item}?alt=media", headers=headers) as answer:
            return answer.status, answer.headers.get("Content-Range"), await answer.read()

    assert await media(photo, None) == (200, None, b"0123456789")
    assert await media(photo, "bytes=3-5") == (206, "bytes 3-5/10", b"345")
    assert await media(photo, "bytes=8-") == (206, "bytes 8-9/10", b"89")
    assert await media(photo, "bytes=10-") == (416, "bytes */10", b"")
    assert await media(empty, None) == (200, None, b"")
    assert (await media(empty, "bytes=0-"))[:2] == (416, "bytes */0")
    doc = drive.add_doc("d", drive.root)
    assert await browser.reason(f"/files/{doc}", alt="media") == (403, "fileNotDownloadable", "alt")
    drive.abusive.add(photo)
    assert (await browser.reason(f"/files/{photo}", alt="media"))[1] == "cannotDownloadAbusiveFile"
    shared = drive.add_shared_drive("Agency", ACCOUNT)
    on_it = drive.add_file("a.jpg", shared, b"1")
    assert await browser.reason(f"/files/{on_it}") == (404, "notFound", "fileId")
    assert (await browser.get(f"/files/{on_it}", supportsAllDrives="true"))[0] == 200
    assert drive.calls["media"] == 8 and drive.units >= 8 * 200


async def test_shortcuts_have_no_bytes(browser: Browser) -> None:
    drive = browser.drive
    photo = drive.add_file("a.jpg", drive.root, b"1")
    shortcut = drive.add_shortcut(photo, drive.root)
    _, found = await browser.get(f"/files/{shortcut}", fields="size,md5Checksum,shortcutDetails")
    assert found == {"shortcutDetails": {"targetId": photo, "targetMimeType": "image/jpeg"}}


async def test_who_may_ask(browser: Browser) -> None:
    drive = browser.drive
    good = browser.headers
    browser.headers = {}
    status, body = await browser.get("/files")
    assert (status, body["error"]["status"]) == (403, "PERMISSION_DENIED")
    browser.headers = {"Authorization": "Bearer nonsense"}
    assert await browser.reason("/files") == (401, "authError", "Authorization")
    browser.headers = {"Authorization": f"Bearer {drive.issue_token(ACCOUNT, 'openid')}"}
    assert (await browser.reason("/files"))[:2] == (403, "insufficientPermissions")
    metadata = f"{READONLY.replace('readonly', 'metadata.readonly')}"
    browser.headers = {"Authorization": f"Bearer {drive.issue_token(ACCOUNT, metadata)}"}
    assert (await browser.get("/files"))[0] == 200
    photo = drive.add_file("a.jpg", drive.root, b"1")
    assert (await browser.reason(f"/files/{photo}", alt="media"))[1] == "insufficientPermissions"
    browser.headers = good
    drive.expire_access_tokens()
    assert (await browser.reason("/files"))[0] == 401


# --- signing in -------------------------------------------------------------------------------------


async def test_a_code_needs_its_verifier_and_works_once(browser: Browser) -> None:
    drive = browser.drive
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code", "client_id": drive.client_id, "redirect_uri": "http://127.0.0.1:1",
        "scope": READONLY, "state": "s", "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip

    async def code() -> str:
        async with browser.session.get(drive.auth_url, params=asked, allow_redirects=False) as answer:
            back = parse_qs(urlsplit(answer.headers["Location"]).query)
            assert answer.status == 302 and back["state"] == ["s"]
            return back["code"][0]

    form = {
        "grant_type": "authorization_code", "client_id": drive.client_id,
        "client_secret": drive.client_secret, "redirect_uri": "http://127.0.0.1:1",
    }  # fmt: skip
    status, body = await browser.token(**form, code=await code(), code_verifier="w" * 43)
    assert (status, body["error"]) == (400, "invalid_grant")
    right = await code()
    status, body = await browser.token(**form, code=right, code_verifier=verifier)
    assert status == 200 and body["refresh_token"] in drive.refresh and body["expires_in"] == 3599
    status, body = await browser.token(**form, code=right, code_verifier=verifier)
    assert (status, body["error"]) == (400, "invalid_grant")
    form["client_secret"] = "wrong"
    assert (await browser.token(**form, code="x"))[0] == 401
    asked["redirect_uri"] = "https://evil.example.com"
    async with browser.session.get(drive.auth_url, params=asked, allow_redirects=False) as answer:
        assert answer.status == 400


async def test_refreshing(browser: Browser) -> None:
    drive = browser.drive
    form = {
        "grant_type": "refresh_token", "client_id": drive.client_id, "client_secret": drive.client_secret,
        "refresh_token": drive.issue_refresh_token(ACCOUNT),
    }  # fmt: skip
    status, body = await browser.token(**form)
    assert status == 200 and "refresh_token" not in body
    drive.rotates = drive.life_as_text = True
    status, body = await browser.token(**form)
    assert body["expires_in"] == "3599" and body["refresh_token"] != form["refresh_token"]
    status, body = await browser.token(**form)
    assert (status, body["error"]) == (400, "invalid_grant")


async def test_assertions_are_verified(browser: Browser) -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    drive = browser.drive
    key_file = drive.add_service_account(ROBOT)
    key = serialization.load_pem_private_key(key_file["private_key"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    now = int(time.time())
    claims = {"iss": ROBOT, "aud": drive.token_url, "scope": READONLY, "iat": now, "exp": now + 3600}

    def signed(**more: Any) -> str:
        parts = [{"alg": "RS256", "typ": "JWT"}, claims | more]
        text = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
        )
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    assert (await browser.token(grant_type=JWT_GRANT, assertion=signed()))[0] == 200
    for wrong in ({"aud": "https://x"}, {"exp": now + 7200}, {"exp": now - 1}, {"iss": "x"}, {"scope": ""}):
        status, body = await browser.token(grant_type=JWT_GRANT, assertion=signed(**wrong))
        assert (status, body["error"]) == (400, "invalid_grant"), wrong
    forged = signed()[:-8] + "AAAAAAAA"
    assert (await browser.token(grant_type=JWT_GRANT, assertion=forged))[0] == 400
    assert (await browser.token(grant_type=JWT_GRANT, assertion="x.y"))[0] == 400
