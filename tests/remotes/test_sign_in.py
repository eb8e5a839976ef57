"""Signing in to Google as a person, through a browser's redirect or a pasted answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import anyio
import pytest

from syncd.errors import AuthRejected, Refused
from syncd.remotes import oauth
from syncd.remotes.google_oauth import InstalledApp, TokenEndpoint
from syncd.remotes.oauth import SignedIn, SignIns, code_of
from syncd.remotes.tokens import TokenStore
from tests.fakes.faults import error, says, token_error
from tests.fakes.google_drive import ACCOUNT, FakeDrive
from tests.remotes.conftest import Clock, config_of


@pytest.fixture
async def provider(drive: FakeDrive, clock: Clock) -> AsyncIterator[InstalledApp]:
    config = config_of(drive)
    async with TokenEndpoint(config, sleep=clock.sleep) as endpoint:
        yield InstalledApp(config, endpoint, sleep=clock.sleep)


@pytest.fixture
async def sign_ins(store: TokenStore) -> AsyncIterator[SignIns]:
    async with SignIns(store) as running:
        yield running


async def consented(url: str) -> str:
    """Where Google sends the browser after the person's answer."""
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        assert answer.status == 302, await answer.text()
        return answer.headers["Location"]


async def visited(url: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as browser, browser.get(url) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_the_browser_brings_the_code_back(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns, store: TokenStore
) -> None:
    url, flow_id = await sign_ins.begin(provider)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(drive.auth_url)
    assert asked["scope"] == "https://www.googleapis.com/auth/drive.readonly"
    assert asked["code_challenge_method"] == "S256" and asked["access_type"] == "offline"
    assert asked["prompt"] == "consent" and asked["redirect_uri"].startswith("http://127.0.0.1:")
    back = await consented(url)
    status, page, headers = await visited(back)
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert f"Signed in as {ACCOUNT}" in page
    assert await sign_ins.wait(flow_id) == SignedIn("drive", ACCOUNT)
    assert await sign_ins.finish(flow_id, back) == SignedIn("drive", ACCOUNT)  # pasted as well: the same
    stored = await store.load("drive", ACCOUNT)
    assert stored is not None and stored.values["refresh_token"] in drive.refresh
    assert drive.calls["token"] == 1
    with pytest.raises(aiohttp.ClientConnectorError):  # nobody listens any more
        await visited(back)


@pytest.mark.parametrize("form", ["code", "quoted", "address", "query", "spaces"])
async def test_the_answer_is_pasted(
    provider: InstalledApp, sign_ins: SignIns, store: TokenStore, form: str
) -> None:
    url, flow_id = await sign_ins.begin(provider)
    back = await consented(url)
    query = urlsplit(back).query
    code = parse_qs(query)["code"][0]
    pasted = {
        "code": code,
        "quoted": code.replace("/", "%2F"),
        "address": back,
        "query": query,
        "spaces": f"  {back}\n",
    }[form]
    assert await sign_ins.finish(flow_id, pasted) == SignedIn("drive", ACCOUNT)
    assert await store.accounts("drive") == [ACCOUNT]


async def test_an_answer_to_another_question_is_refused(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns
) -> None:
    url, flow_id = await sign_ins.begin(provider)
    other_url, _ = await sign_ins.begin(provider)
    back, other = await consented(url), await consented(other_url)
    for wrong in (other, back.replace("state=", "x="), back.replace("state=", "state=x"), f"{back}&state=y"):
        with pytest.raises(Refused, match="another sign-in"):
            await sign_ins.finish(flow_id, wrong)
    host = back.partition("?")[0]
    status, page, _ = await visited(f"{host}?{urlsplit(other).query}")
    assert status == 400 and "another sign-in" in page
    state, other_host = parse_qs(urlsplit(other).query)["state"][0], other.partition("?")[0]
    status, page, _ = await visited(f"{other_host}?error=<script>&state={state}")
    assert status == 400 and "&lt;script&gt;" in page and "<script>" not in page
    for path in ("favicon.ico", ""):
        assert (await visited(host + path))[0] == 404
    assert drive.calls["token"] == 0
    assert (await visited(back))[0] == 200  # and it is still the right one


async def test_a_code_that_was_caught_is_worth_nothing_without_the_verifier(
    provider: InstalledApp, sign_ins: SignIns
) -> None:
    url, _ = await sign_ins.begin(provider)
    caught = parse_qs(urlsplit(await consented(url)).query)["code"][0]
    _, own_flow = await sign_ins.begin(provider)
    with pytest.raises(AuthRejected, match="mismatch"):
        await sign_ins.finish(own_flow, caught)


async def test_the_person_says_no(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns, store: TokenStore
) -> None:
    drive.denies = True
    url, flow_id = await sign_ins.begin(provider)
    back = await consented(url)
    with pytest.raises(Refused, match="access_denied"):
        await sign_ins.finish(flow_id, back)
    with pytest.raises(Refused, match="access_denied"), anyio.fail_after(5):  # who waits is told as well
        await sign_ins.wait(flow_id)
    assert await store.accounts("drive") == []


@pytest.mark.parametrize("wrong", ["", "  ", "x" * 9000, "4/0A\x1b[2J", "http://[x/?code=1"])
async def test_nonsense_is_no_code(provider: InstalledApp, sign_ins: SignIns, wrong: str) -> None:
    _, flow_id = await sign_ins.begin(provider)
    with pytest.raises(Refused):
        await sign_ins.finish(flow_id, wrong)


async def test_a_sign_in_without_the_right_to_read_is_refused(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns, store: TokenStore
) -> None:
    drive.granted_scope = "openid"
    url, flow_id = await sign_ins.begin(provider)
    with pytest.raises(AuthRejected, match="does not let syncd read") as caught:
        await sign_ins.finish(flow_id, await consented(url))
    assert caught.value.hint is not None and "tick the box" in caught.value.hint
    assert await store.accounts("drive") == []


async def test_a_sign_in_that_does_not_last_is_refused(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_access(self: FakeDrive, account: str, scope: str, **more: Any) -> Any:
        return aiohttp.web.json_response({"access_token": "ya29.x", "expires_in": 9})

    monkeypatch.setattr(FakeDrive, "_yes", only_access)
    url, flow_id = await sign_ins.begin(provider)
    with pytest.raises(AuthRejected, match="no lasting sign-in") as caught:
        await sign_ins.finish(flow_id, await consented(url))
    assert caught.value.hint is not None and "myaccount.google.com/permissions" in caught.value.hint


async def test_a_project_without_the_api_is_told_so(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns
) -> None:
    drive.fail("about", error(403, "accessNotConfigured"))
    url, flow_id = await sign_ins.begin(provider)
    with pytest.raises(AuthRejected) as caught:
        await sign_ins.finish(flow_id, await consented(url))
    assert caught.value.hint is not None and "enable the Google Drive API" in caught.value.hint


async def test_a_gateway_that_knows_only_files_is_enough(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns
) -> None:
    drive.fail("about", says(404, b"404: Not Found", "text/plain"))
    url, flow_id = await sign_ins.begin(provider)
    assert await sign_ins.finish(flow_id, await consented(url)) == SignedIn("drive", "me")


async def test_a_client_that_google_does_not_know(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns
) -> None:
    url, flow_id = await sign_ins.begin(provider)
    drive.fail("token", token_error("invalid_client", 401))
    with pytest.raises(AuthRejected) as caught:
        await sign_ins.finish(flow_id, await consented(url))
    assert caught.value.hint is not None and "client_id and client_secret" in caught.value.hint


async def test_no_client_no_sign_in(drive: FakeDrive, sign_ins: SignIns) -> None:
    config = replace(config_of(drive), client_id="")
    async with TokenEndpoint(config) as endpoint:
        with pytest.raises(Refused, match="no Google client"):
            await sign_ins.begin(InstalledApp(config, endpoint))


async def test_sign_ins_are_forgotten_in_time(provider: InstalledApp, store: TokenStore) -> None:
    async with SignIns(store, life_s=0.2) as sign_ins:
        url, flow_id = await sign_ins.begin(provider)
        back = await consented(url)
        with anyio.fail_after(5), pytest.raises(Refused, match="is over"):
            await sign_ins.wait(flow_id)
        with pytest.raises(Refused, match="is over"):
            await sign_ins.finish(flow_id, back)
        with pytest.raises(aiohttp.ClientConnectorError):
            await visited(back)
    assert await store.accounts("drive") == []


async def test_only_so_many_at_once(
    provider: InstalledApp, sign_ins: SignIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth, "MOST_FLOWS", 3)
    for _ in range(3):
        await sign_ins.begin(provider)
    with pytest.raises(Refused, match="too many"):
        await sign_ins.begin(provider)


async def test_where_nothing_may_listen_the_answer_is_pasted(
    provider: InstalledApp, sign_ins: SignIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(**how: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(anyio, "create_tcp_listener", forbidden)
    url, flow_id = await sign_ins.begin(provider)
    assert await sign_ins.finish(flow_id, await consented(url)) == SignedIn("drive", ACCOUNT)


async def test_signing_in_again_replaces_the_old_sign_in(
    drive: FakeDrive, provider: InstalledApp, sign_ins: SignIns, store: TokenStore
) -> None:
    for generation in (1, 2):
        url, flow_id = await sign_ins.begin(provider)
        await sign_ins.finish(flow_id, await consented(url))
        stored = await store.load("drive", ACCOUNT)
        assert stored is not None and stored.generation == generation
    assert await store.accounts("drive") == [ACCOUNT]


def test_providers_with_other_words() -> None:
    class Old:
        name = "smugmug"
        code_parameter = "oauth_verifier"
        state_parameter = "oauth_token"

    old: Any = Old()
    assert code_of("http://127.0.0.1:1/?oauth_token=t&oauth_verifier=123456", old, "t") == "123456"
    assert code_of("123456", old, "t") == "123456"
    with pytest.raises(Refused):
        code_of("http://127.0.0.1:1/?oauth_token=other&oauth_verifier=123456", old, "t")
