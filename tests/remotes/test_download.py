"""Downloads: checked, resumed, bounded, and never anywhere but in the one new file."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from syncd.errors import Changed, Refused, Transient
from syncd.remotes.google_drive import GoogleDrive
from syncd.remotes.http import NotFound
from tests.fakes.faults import drop, error, html, redirect, says, slow, spoil, truncate, whole
from tests.fakes.google_drive import ACCOUNT, FakeDrive
from tests.remotes.conftest import Clock, client_of

CONTENT = os.urandom(3_000_001)


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def photo_of(drive: FakeDrive, content: bytes = CONTENT, **more: Any) -> str:
    return drive.add_file(more.pop("name", "DSC_1.JPG"), drive.root, content, **more)


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "one", "many"])
async def test_a_file_arrives_as_it_is(
    drive: FakeDrive, google: GoogleDrive, staging: Path, content: bytes
) -> None:
    file = await google.get_file(photo_of(drive, content))
    facts = await google.download(file, staging / "1")
    assert (staging / "1").read_bytes() == content
    assert stat.S_IMODE((staging / "1").stat().st_mode) == 0o600
    assert (facts.size_bytes, facts.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert facts.md5 == hashlib.md5(content).hexdigest()
    assert drive.calls["media"] == 1
    assert drive.requests[-1].headers["Accept-Encoding"] == "identity"


async def test_it_goes_on_where_the_connection_broke(
    drive: FakeDrive, google: GoogleDrive, staging: Path
) -> None:
    file = await google.get_file(photo_of(drive))
    drive.fail("media", truncate(0.5), drop(), html(503), truncate(0.5), error(403, "rateLimitExceeded"))
    await google.download(file, staging / "1")
    assert (staging / "1").read_bytes() == CONTENT
    ranges = [one.headers.get("Range") for one in drive.requests if one.operation == "media"]
    assert ranges[:2] == [None, "bytes=1500000-"]
    assert ranges[4] == ranges[5] != ranges[3]


async def test_progress_earns_more_attempts(drive: FakeDrive, google: GoogleDrive, staging: Path) -> None:
    content = os.urandom(24_000_000)
    file = await google.get_file(photo_of(drive, content))
    drive.fail("media", *[truncate(0.15)] * 9)
    await google.download(file, staging / "1")
    assert (staging / "1").read_bytes() == content
    assert drive.calls["media"] == 10


async def test_a_server_without_ranges(drive: FakeDrive, google: GoogleDrive, staging: Path) -> None:
    file = await google.get_file(photo_of(drive))
    drive.fail("media", truncate(0.5), whole())
    await google.download(file, staging / "1")
    assert (staging / "1").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content_range",
    ["bytes 5-14/3000001", "bytes 0-9/10", "bytes 1500000-1500009/77", "bytes=1500000-", "items 1-2/3", ""],
)
async def test_another_part_than_asked_for_is_not_taken(
    drive: FakeDrive, google: GoogleDrive, staging: Path, content_range: str
) -> None:
    file = await google.get_file(photo_of(drive))
    wrong = says(206, b"0123456789", "image/jpeg", Content_Range=content_range)
    drive.fail("media", truncate(0.5), wrong)
    await google.download(file, staging / "1")
    assert (staging / "1").read_bytes() == CONTENT
    assert (drive.calls["media"], drive.calls["files.get"]) == (3, 1)  # seen before it was written


async def test_damage_is_noticed_and_mended(drive: FakeDrive, google: GoogleDrive, staging: Path) -> None:
    file = await google.get_file(photo_of(drive))
    drive.fail("media", spoil(), says(200, b"<html>sign in</html>"))
    await google.download(file, staging / "1")
    assert (staging / "1").read_bytes() == CONTENT


async def test_lasting_damage_is_not_kept(drive: FakeDrive, google: GoogleDrive, staging: Path) -> None:
    file = await google.get_file(photo_of(drive))
    drive.fail("media", *[spoil()] * 6)
    with pytest.raises(Transient, match="arrived damaged"):
        await google.download(file, staging / "1")
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("content", [b"shorter", os.urandom(4_000_000), os.urandom(3_000_001)])
async def test_a_file_that_changes_meanwhile(
    drive: FakeDrive, google: GoogleDrive, staging: Path, content: bytes
) -> None:
    photo = photo_of(drive)
    file = await google.get_file(photo)
    drive.fail("media", truncate(0.5))
    drive.replace_content(photo, CONTENT[:1_600_000])
    await google.changes(await google.start_page_token())
    drive.replace_content(photo, content)
    with pytest.raises(Changed, match="changed while"):
        await google.download(file, staging / "1")
    assert list(staging.iterdir()) == []


async def test_a_file_that_goes_meanwhile(drive: FakeDrive, google: GoogleDrive, staging: Path) -> None:
    photo = photo_of(drive)
    file = await google.get_file(photo)
    drive.revoke(photo, ACCOUNT)
    with pytest.raises(NotFound):
        await google.download(file, staging / "1")
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("insufficientFilePermissions", "share it"),
        ("cannotDownloadAbusiveFile", "malware"),
        ("downloadQuotaExceeded", "tomorrow"),
        ("fileNotDownloadable", "no bytes"),
    ],
)
async def test_what_may_not_be_downloaded(
    drive: FakeDrive, google: GoogleDrive, staging: Path, reason: str, hint: str
) -> None:
    file = await google.get_file(photo_of(drive))
    drive.fail("media", truncate(0.5), error(403, reason))
    with pytest.raises(Refused, match=reason) as caught:
        await google.download(file, staging / "1")
    assert caught.value.hint is not None and hint in caught.value.hint
    assert drive.calls["media"] == 2
    assert list(staging.iterdir()) == []


async def test_a_document_has_no_bytes(drive: FakeDrive, google: GoogleDrive, staging: Path) -> None:
    file = await google.get_file(drive.add_doc("list", drive.root))
    with pytest.raises(Refused, match="fileNotDownloadable"):
        await google.download(file, staging / "1")


async def test_too_large_is_refused_by_size_and_by_length(
    drive: FakeDrive, google: GoogleDrive, staging: Path
) -> None:
    large = await google.get_file(photo_of(drive, b"x", claimed_size=2 << 30))
    with pytest.raises(Refused, match="2,147,483,648 bytes"):
        await google.download(large, staging / "1", limit_bytes=1 << 30)
    assert drive.calls["media"] == 0
    lying = await google.get_file(photo_of(drive, CONTENT, claimed_size=10))
    with pytest.raises(Refused, match="longer than"):
        await google.download(lying, staging / "2", limit_bytes=1 << 20)
    assert list(staging.iterdir()) == []


async def test_nothing_that_is_there_is_written_over(
    drive: FakeDrive, google: GoogleDrive, staging: Path, tmp_path: Path
) -> None:
    file = await google.get_file(photo_of(drive, name="../../etc/passwd"))
    (staging / "1").write_text("mine")
    (staging / "2").symlink_to(tmp_path / "elsewhere")
    for name in ("1", "2", "missing/3"):
        with pytest.raises(Refused, match="cannot write into"):
            await google.download(file, staging / name)
    assert (staging / "1").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists() and (staging / "2").is_symlink()
    assert drive.calls["media"] == 0


async def test_a_full_disk(drive: FakeDrive, google: GoogleDrive, staging: Path) -> None:
    file = await google.get_file(photo_of(drive))
    real = os.pwrite

    def full(descriptor: int, data: Any, offset: int) -> int:
        if offset > 1_000_000:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:7], offset) if offset % 2 else real(descriptor, data, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(Transient, match="the disk is full"):
            await google.download(file, staging / "1")
    assert list(staging.iterdir()) == []


async def test_a_cancelled_download_leaves_nothing(drive: FakeDrive, clock: Clock, staging: Path) -> None:
    async with client_of(drive, clock) as google:
        file = await google.get_file(photo_of(drive))
        drive.fail("media", truncate(0.5), slow(5))
        with anyio.move_on_after(0.4):
            await google.download(file, staging / "1")
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("is_elsewhere", [True, False])
async def test_bytes_may_lie_elsewhere_and_credentials_stay(
    drive: FakeDrive, google: GoogleDrive, staging: Path, is_elsewhere: bool
) -> None:
    seen: list[dict[str, str]] = []
    broken = [True]

    async def serve(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        first = int(request.headers.get("Range", "bytes=0-")[6:-1])
        if broken:
            broken.clear()
            return web.Response(status=503)
        return web.Response(body=CONTENT[first:])

    application = web.Application()
    application.router.add_get("/content", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    file = await google.get_file(photo_of(drive))
    away = f"http://127.0.0.1:{runner.addresses[0][1]}/content"
    home = f"/drive/v3/files/{file.id}?alt=media"
    drive.fail("media", *[redirect(away if is_elsewhere else home)] * 2)
    await google.download(file, staging / "1")
    await runner.cleanup()
    assert (staging / "1").read_bytes() == CONTENT
    assert len(seen) == (2 if is_elsewhere else 0)
    assert not any({"Authorization", "X-Goog-Drive-Resource-Keys"} & headers.keys() for headers in seen)


@pytest.mark.parametrize(
    "address", ["http://portal.example/login", "ftp://127.0.0.1/x", "https://", "http://[", ""]
)
async def test_a_redirect_into_the_open_is_not_followed(
    drive: FakeDrive, google: GoogleDrive, staging: Path, address: str
) -> None:
    file = await google.get_file(photo_of(drive))
    drive.fail("media", redirect(address), *[redirect(f"/drive/v3/files/{file.id}?alt=media")] * 5)
    await google.download(file, staging / "1")
    assert (staging / "1").read_bytes() == CONTENT and drive.calls["media"] == 7
