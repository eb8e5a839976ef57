"""What the SmugMug client makes of refusals, accidents and a clock that is wrong."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncd.errors import AuthRejected, Refused, Transient
from syncd.log import configure_logging, get_logger
from syncd.remotes.http import NotFound
from syncd.remotes.pacer import RateLimited
from syncd.remotes.smugmug import SmugMug
from syncd.remotes.smugmug_errors import ClockWrong, GrantMissing
from syncd.remotes.smugmug_items import Page
from syncd.remotes.smugmug_oauth import Signer
from tests.fakes.faults import drop, html, redirect, says, slow, truncate
from tests.fakes.smugmug import NICKNAME, FakeSmugmug, refuse
from tests.remotes.conftest import Clock
from tests.remotes.smugmug_client import albums, client_of


@pytest.fixture
async def client(smug: FakeSmugmug, clock: Clock) -> AsyncIterator[SmugMug]:
    async with client_of(smug, clock) as opened:
        yield opened


async def test_a_nonce_that_was_used_is_tried_again(smug: FakeSmugmug, client: SmugMug, clock: Clock) -> None:
    smug.fail("user.albums", refuse(401, "oauth_problem%3Dnonce_used"))
    assert await albums(client) == ([], [Page((), 0, 1, None)])
    used = [one.headers["Authorization"] for one in smug.requests]
    assert len(set(used)) == 2 and clock.backed_off == [1.0]


@pytest.mark.parametrize(
    ("accident", "hint"),
    [
        (refuse(401, "oauth_problem%3Dtoken_revoked"), "syncctl auth smugmug"),
        (refuse(401, "oauth_problem%3Dconsumer_key_unknown"), "api_key and api_secret"),
        (says(401, b"oauth_problem=signature_invalid", "text/plain"), "api_key and api_secret"),
        (html(401), "syncctl auth smugmug"),
    ],
    ids=["revoked", "key", "signature", "page"],
)
async def test_a_sign_in_that_is_refused(
    smug: FakeSmugmug, client: SmugMug, accident: Any, hint: str
) -> None:
    smug.fail("user.albums", accident)
    with pytest.raises(AuthRejected) as caught:
        await albums(client)
    assert caught.value.hint is not None and hint in caught.value.hint
    assert client.rejection is caught.value and smug.calls["user.albums"] == 1
    await albums(client)
    assert client.rejection is None


@pytest.mark.parametrize("off_s", [7200, -7200])
async def test_a_clock_that_is_wrong(smug: FakeSmugmug, clock: Clock, off_s: float) -> None:
    token = smug.issue_token(NICKNAME)
    signer = Signer(smug.api_key, smug.api_secret, *token, clock=lambda: time.time() + off_s)
    async with client_of(smug, clock, signer=signer) as client:
        with pytest.raises(ClockWrong, match="this machine's clock is wrong") as caught:
            await albums(client)
        assert caught.value.hint is not None and "set the clock" in caught.value.hint
        assert client.rejection is None and smug.calls["user.albums"] == 1
        with pytest.raises(ClockWrong):  # and it asks no more for a minute
            await client.album("a")
    assert smug.calls["album"] == 0


async def test_a_clock_that_the_date_gives_away(smug: FakeSmugmug, client: SmugMug) -> None:
    smug.fail("user.albums", says(401, b"<html>no</html>", Date="Fri, 20 Nov 2020 12:00:00 GMT"))
    with pytest.raises(ClockWrong, match=r"wrong by [\d,]+ minutes \(fast\)"):
        await albums(client)


async def test_too_many_requests(smug: FakeSmugmug, client: SmugMug, clock: Clock) -> None:
    smug.fail("user.albums", refuse(429, Retry_After="1800"))
    with pytest.raises(RateLimited) as caught:
        await albums(client)
    assert caught.value.retry_after_s == 1800
    with pytest.raises(RateLimited) as held:
        await client.album("a")
    assert held.value.retry_after_s == pytest.approx(1800) and smug.calls["album"] == 0
    clock.now += 1801
    assert (await albums(client))[0] == []
    smug.fail("user.albums", refuse(429, Retry_After="3"), refuse(503), refuse(500), slow(0.01))
    clock.slept.clear()
    assert (await albums(client))[0] == []
    assert clock.backed_off == [3.0, 2.0, 4.0] and smug.calls["user.albums"] == 6


async def test_the_end_of_the_window_counts_without_retry_after(smug: FakeSmugmug, client: SmugMug) -> None:
    smug.fail("user.albums", refuse(429, X_RateLimit_Reset=str(int(time.time()) + 600)))
    with pytest.raises(RateLimited) as caught:
        await albums(client)
    assert caught.value.retry_after_s == pytest.approx(600, abs=5)


@pytest.mark.parametrize(
    ("accident", "kind", "words"),
    [
        (refuse(403, "Forbidden"), Refused, "403"),
        (refuse(403, "The%20user%20has%20not%20granted%20it"), GrantMissing, "has not granted it"),
        (refuse(400, "Bad Request"), Refused, "Bad Request"),
        (says(404, b"", "text/plain"), NotFound, "404"),
        (says(403, b"permission%20denied", "text/plain"), Refused, "permission denied"),
        (says(200, b'{"Response":{},"Code":404,"Message":"Not Found"}', "application/json"), NotFound, "404"),
        (says(200, b'{"Response":{},"Code":"403","Message":"No"}', "application/json"), Refused, "403"),
    ],
)
async def test_what_is_refused(
    smug: FakeSmugmug, client: SmugMug, accident: Any, kind: type[Exception], words: str
) -> None:
    smug.fail("album", accident)
    with pytest.raises(kind, match=words):
        await client.album("k")
    assert smug.calls["album"] == 1


@pytest.mark.parametrize(
    "accident",
    [
        html(200), html(403), html(404), says(200, b"", "application/json"), refuse(500), refuse(502), drop(),
        says(200, b'{"Code":200,"Message":"Ok"}', "application/json"), truncate(),
        redirect("https://login.example/"), says(200, b'{"Response":{},"Code":503}', "application/json"),
        says(200, b"[" * 100_000, "application/json"),
    ],
    ids=lambda _: "",
)  # fmt: skip
async def test_what_passes_is_tried_again(smug: FakeSmugmug, client: SmugMug, accident: Any) -> None:
    album = smug.add_album("A")
    smug.fail("album", accident, accident)
    assert (await client.album(album)).name == "A"
    assert smug.calls["album"] == 3
    smug.fail("user.albums", *[accident] * 9)
    with pytest.raises(Transient):  # and never taken for an account without albums
        await albums(client)


async def test_what_has_moved_is_followed_on_our_host_only(smug: FakeSmugmug, client: SmugMug) -> None:
    album = smug.add_album("A")
    target = f"https://evil.example/api/v2/album/{album}?APIKey=k"
    smug.fail("album", redirect(target))
    assert (await client.album("old")).album_key == album
    assert [one.path for one in smug.requests] == ["/api/v2/album/old", f"/api/v2/album/{album}"]
    assert "APIKey" not in smug.requests[-1].query
    assert len({one.headers["Authorization"] for one in smug.requests}) == 2
    smug.fail("album", *[redirect(target)] * 9)
    with pytest.raises(Transient, match="from one address to the next"):
        await client.album("old")


async def test_no_secret_is_in_a_log_or_message(smug: FakeSmugmug, clock: Clock) -> None:
    token, secret = smug.issue_token(NICKNAME)
    stream = io.StringIO()
    configure_logging(stream=stream, as_json=True)
    signer = Signer(smug.api_key, smug.api_secret, token, secret)
    words = []
    async with client_of(smug, clock, signer=signer) as client:
        for accident in (
            refuse(400, f"bad {token} {smug.api_key}"),
            refuse(401, f"oauth_problem%3Dtoken_rejected {token}"),
            refuse(404, secret), drop(),
        ):  # fmt: skip
            smug.fail("album", accident, *[drop()] * 9)
            try:
                await client.album("k")
            except (AuthRejected, Refused, Transient) as error:
                words.append(f"{error} {error.hint} {error!r}")
                get_logger("test").exception("no", error=error)
            smug.script.faults.clear()
    assert len(words) == 4
    for text in (*words, stream.getvalue()):
        assert not [one for one in (token, secret, smug.api_key, smug.api_secret) if one in text]
    configure_logging()
