"""Signing in to SmugMug, and the account that comes of it."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from syncd.api_accounts import AccountsAnswers, DriveAccess, LargePictures, SmugmugAccess
from syncd.config import Config, SmugmugConfig
from syncd.control import schema
from syncd.control.api import NotFound
from syncd.errors import AuthRejected, Refused, Transient
from syncd.remotes.http import Request
from syncd.remotes.oauth import SignedIn, SignIns
from syncd.remotes.smugmug_errors import ClockWrong
from syncd.remotes.smugmug_oauth import Signer, SmugmugSignIn
from syncd.remotes.tokens import TokenStore
from tests.fakes.faults import html, says
from tests.fakes.smugmug import NICKNAME, FakeSmugmug, refuse
from tests.remotes.conftest import Clock
from tests.remotes.smugmug_client import config_of


@pytest.fixture
async def sign_ins(store: TokenStore) -> AsyncIterator[SignIns]:
    async with SignIns(store) as running:
        yield running


@pytest.fixture
def provider(smug: FakeSmugmug, clock: Clock) -> SmugmugSignIn:
    return SmugmugSignIn(config_of(smug), sleep=clock.sleep)


async def visited(url: str) -> tuple[int, str, str]:
    """What a browser is shown, and where it is sent."""
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        return answer.status, await answer.text(), answer.headers.get("Location", "")


async def test_the_signature_of_the_documented_example() -> None:
    signer = Signer(
        "ckey123",
        "csecret456",
        "tok789",
        "tsecret000",
        clock=lambda: 1700000000.9,
        nonce=lambda: "abcdef0123456789",
    )
    path = "https://api.smugmug.com/api/v2/album/HZMsPf!images?count=100&start=1&_shorturis="
    for query in ("&_filter=ImageKey,FileName", "&_filter=ImageKey%2CFileName"):
        header = (await signer.authorise(Request("GET", path + query, None)))["Authorization"]
        assert header.startswith("OAuth ") and 'oauth_signature="NsuBZV%2BO8ItQ30S0Qc5FwMGMMl4%3D"' in header
    spaced = "https://api.smugmug.com/api/v2/x?a=b%20c"
    assert signer.header("GET", spaced) == signer.header("GET", spaced.replace("%20", "+"))
    assert not await signer.rejected({})
    fresh = Signer("ckey123", "csecret456")
    assert fresh.header("GET", path) != fresh.header("GET", path) and "oauth_token" not in fresh.header(
        "GET", path
    )


async def test_the_browser_brings_the_answer_back(
    smug: FakeSmugmug, provider: SmugmugSignIn, sign_ins: SignIns, store: TokenStore, state_dir: Path
) -> None:
    url, flow_id = await sign_ins.begin(provider)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{smug.base_url}/services/oauth/1.0a/authorize?")
    assert (asked["Access"], asked["Permissions"]) == ("Full", "Modify")
    status, _, back = await visited(url)
    assert status == 302 and back.startswith("http://127.0.0.1:")
    status, page, _ = await visited(back)
    assert (status, f"Signed in as {NICKNAME}" in page) == (200, True)
    assert await sign_ins.wait(flow_id) == SignedIn("smugmug", NICKNAME)
    assert await sign_ins.finish(flow_id, back) == SignedIn("smugmug", NICKNAME)  # pasted as well: the same
    stored = await store.load("smugmug", NICKNAME)
    assert stored is not None and stored.values["token"] in smug.tokens
    assert (stored.values["access"], stored.values["permissions"]) == ("Full", "Modify")
    kept = state_dir / "secrets.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not [
        value
        for value in (stored.values["token"], stored.values["token_secret"])
        if value in kept.read_text()
    ]
    sent = smug.requests
    assert [one.operation for one in sent] == ["getRequestToken", "authorize", "getAccessToken", "authuser"]
    assert not [one for one in sent if one.operation != "authorize" and "oauth" in str(one.query)]


async def test_a_code_of_six_digits_where_nobody_can_listen(
    smug: FakeSmugmug, provider: SmugmugSignIn, sign_ins: SignIns, store: TokenStore
) -> None:
    url, flow_id = await sign_ins.begin(provider, by_code=True)
    status, page, back = await visited(url)
    code = page.partition("<b>")[2].partition("</b>")[0]
    assert (status, back, len(code), code.isdecimal()) == (200, "", 6, True)
    with pytest.raises(AuthRejected, match="verifier_invalid") as caught:
        await sign_ins.finish(flow_id, "x" + code[1:])
    assert caught.value.hint is not None and "five minutes" in caught.value.hint
    assert await sign_ins.finish(flow_id, f"  {code}\n") == SignedIn("smugmug", NICKNAME)
    assert await store.accounts("smugmug") == [NICKNAME]


async def test_an_answer_to_another_question_is_refused(
    smug: FakeSmugmug, provider: SmugmugSignIn, sign_ins: SignIns
) -> None:
    _, flow_id = await sign_ins.begin(provider)
    other, _ = await sign_ins.begin(provider)
    _, _, back = await visited(other)
    with pytest.raises(Refused, match="another sign-in"):
        await sign_ins.finish(flow_id, back)
    smug.denies = True
    url, flow_id = await sign_ins.begin(provider)
    with pytest.raises(Refused, match="turned down \\(user_refused\\)"):
        await sign_ins.finish(flow_id, (await visited(url))[2])
    assert smug.calls["getAccessToken"] == 0


@pytest.mark.parametrize(
    ("accident", "kind", "words"),
    [
        (refuse(401, "oauth_problem%3Dconsumer_key_unknown"), AuthRejected, "api_key and api_secret"),
        (says(401, b"oauth_problem=timestamp_refused", "text/plain"), ClockWrong, "set the clock"),
        (says(400, b"oauth_problem=parameter_absent", "text/plain"), AuthRejected, "api_key and api_secret"),
        (html(503), Transient, ""),
        (html(200), Transient, "oauth_base_url"),
    ],
    ids=["key", "clock", "parameter", "trouble", "page"],
)
async def test_a_sign_in_that_cannot_begin(
    smug: FakeSmugmug,
    provider: SmugmugSignIn,
    sign_ins: SignIns,
    accident: Any,
    kind: type[Exception],
    words: str,
) -> None:
    smug.fail("getRequestToken", accident, accident, accident)
    with pytest.raises(kind) as caught:
        await sign_ins.begin(provider)
    assert words in (getattr(caught.value, "hint", "") or "")


async def test_a_used_nonce_is_no_end(smug: FakeSmugmug, provider: SmugmugSignIn, sign_ins: SignIns) -> None:
    smug.fail("getRequestToken", says(401, b"oauth_problem=nonce_used", "text/plain"))
    smug.fail("getAccessToken", says(401, b"oauth_problem=nonce_used", "text/plain"))
    url, flow_id = await sign_ins.begin(provider)
    assert await sign_ins.finish(flow_id, (await visited(url))[2]) == SignedIn("smugmug", NICKNAME)


async def test_without_a_key_or_with_the_wrong_account(
    smug: FakeSmugmug, sign_ins: SignIns, store: TokenStore
) -> None:
    with pytest.raises(Refused, match="no SmugMug API key") as caught:
        await sign_ins.begin(SmugmugSignIn(SmugmugConfig()))
    assert caught.value.hint is not None and "api.smugmug.com/api/developer/apply" in caught.value.hint
    provider = SmugmugSignIn(config_of(smug, nickname="me@example.com"))
    url, flow_id = await sign_ins.begin(provider)
    with pytest.raises(AuthRejected, match="this is acme at SmugMug") as wrong:
        await sign_ins.finish(flow_id, (await visited(url))[2])
    assert wrong.value.hint is not None and 'nickname = "acme"' in wrong.value.hint
    assert await store.accounts("smugmug") == []


# --- the account --------------------------------------------------------------------------------------


class Place:
    """Settings that can change, and what was heard of sign-ins."""

    def __init__(self, smug: FakeSmugmug) -> None:
        self.config = Config(smugmug=config_of(smug))
        self.heard: list[str] = []

    def set(self, **changes: Any) -> None:
        self.config = replace(self.config, smugmug=replace(self.config.smugmug, **changes))


@pytest.fixture
def place(smug: FakeSmugmug) -> Place:
    return Place(smug)


@pytest.fixture
async def access(place: Place, store: TokenStore) -> AsyncIterator[SmugmugAccess]:
    async with SmugmugAccess(lambda: place.config, store) as made:
        yield made


@pytest.fixture
async def accounts(place: Place, access: SmugmugAccess, store: TokenStore) -> AsyncIterator[AccountsAnswers]:
    heed = {"smugmug": place.heard.append}
    async with (
        DriveAccess(lambda: place.config, store) as drive,
        AccountsAnswers(store, drive, access, heed) as answers,
    ):
        yield answers


async def status_of(accounts: AccountsAnswers) -> schema.Account:
    (found,) = [one for one in (await accounts.status()).items if one.provider == "smugmug"]
    return found


async def signed_in(accounts: AccountsAnswers) -> schema.SignedIn:
    started = await accounts.start("smugmug")
    _, _, back = await visited(started.url)
    answer = schema.SignInAnswer(flow_id=started.flow_id, redirect_url=back)
    return await accounts.finish("smugmug", answer)


async def test_a_sign_in_takes_effect_at_once_and_a_revoked_one_shows(
    smug: FakeSmugmug, place: Place, access: SmugmugAccess, accounts: AccountsAnswers
) -> None:
    before = await status_of(accounts)
    assert (before.state, before.account, before.hint) == ("needs_auth", "", "sign in: syncctl auth smugmug")
    assert await access.account() is None
    with pytest.raises(AuthRejected) as nobody:
        await access.client()
    assert nobody.value.hint == "sign in: syncctl auth smugmug"

    assert await signed_in(accounts) == schema.SignedIn(provider="smugmug", account=NICKNAME)
    assert await access.account() == NICKNAME
    now = await status_of(accounts)
    assert (now.state, now.scopes, now.hint) == ("ready", ["Access=Full", "Permissions=Modify"], None)
    client = await access.client()
    assert client is await access.client() and await client.nickname() == NICKNAME
    album = smug.add_album("A")
    assert (await client.album(album)).name == "A"
    image = smug.add_image(album, "a.jpg", width=900, height=600)
    thumbnail = (await client.album_image(album, image)).thumbnail_url or ""
    large = await (await LargePictures(access).client()).picture(thumbnail)
    assert large == smug.images[image].original  # 900 pixels: no rendering is larger

    smug.revoke(NICKNAME)
    with pytest.raises(AuthRejected):
        await client.album(album)
    revoked = await status_of(accounts)
    assert (revoked.state, revoked.hint) == ("needs_auth", "sign in again: syncctl auth smugmug")
    await signed_in(accounts)
    again = await access.client()
    assert (await again.album(album)).name == "A" and (await status_of(accounts)).state == "ready"
    assert again.pacer is client.pacer  # one pace, whoever asks
    assert place.heard == [NICKNAME, NICKNAME]


async def test_changed_settings(
    smug: FakeSmugmug, place: Place, access: SmugmugAccess, accounts: AccountsAnswers
) -> None:
    await signed_in(accounts)
    old = await access.client()
    place.set(requests_per_second=7)
    assert await access.client() is old
    await access.renew()
    assert await access.client() is not old
    place.set(nickname="ACME")
    await access.renew()
    assert await access.account() == NICKNAME
    place.set(nickname="other")
    await access.renew()
    assert await access.account() is None
    found = await status_of(accounts)
    assert (found.account, found.state) == ("other", "needs_auth")
    place.set(nickname="", api_key="", api_secret="")
    await access.renew()
    with pytest.raises(AuthRejected, match="no SmugMug API key"):
        await access.client()
    assert (
        await status_of(accounts)
    ).hint == "set api_key and api_secret under [smugmug], then sign in: syncctl auth smugmug"
    with pytest.raises(NotFound):
        await accounts.start("flickr")


async def test_what_is_not_set_up_is_not_shown(place: Place, access: SmugmugAccess) -> None:
    place.config = Config()
    await access.renew()
    assert await access.status() == []


async def test_a_store_that_cannot_be_opened(
    place: Place, access: SmugmugAccess, accounts: AccountsAnswers, state_dir: Path
) -> None:
    await signed_in(accounts)
    kept = state_dir / "secrets.json"
    kept.write_text(kept.read_text().replace('"account": "acme"', '"account": "evil"'))
    assert (await status_of(accounts)).state == "needs_auth"
    with pytest.raises(AuthRejected):
        await access.account()
