"""Access tokens: renewed early, by one task, stored before use; and service accounts."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncd.errors import AuthRejected, Transient
from syncd.remotes.google_accounts import GoogleAccounts
from syncd.remotes.google_oauth import InvalidGrant, TokenEndpoint, UserTokens
from syncd.remotes.tokens import TokenStore
from tests.fakes.faults import drop, html, says, slow, token_error
from tests.fakes.google_drive import ACCOUNT, FakeDrive
from tests.remotes.conftest import Clock, config_of

ROBOT = "robot@project.iam.gserviceaccount.com"


class Now:
    """Unix time that a test may move."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


async def sign_in(drive: FakeDrive, store: TokenStore, account: str = ACCOUNT) -> str:
    token = drive.issue_refresh_token(account)
    await store.save("drive", account, {"refresh_token": token}, expected_generation=None)
    return token


@asynccontextmanager
async def tokens_of(
    drive: FakeDrive, store: TokenStore, clock: Clock, now: Any = time.time
) -> AsyncIterator[UserTokens]:
    config = config_of(drive)
    async with TokenEndpoint(config, clock=now, sleep=clock.sleep) as endpoint:
        yield UserTokens(ACCOUNT, config, store, endpoint, clock=now)


@pytest.fixture
async def tokens(drive: FakeDrive, store: TokenStore, clock: Clock) -> AsyncIterator[UserTokens]:
    await sign_in(drive, store)
    async with tokens_of(drive, store, clock) as made:
        yield made


async def ask_together(tokens: UserTokens, count: int = 50) -> list[str | Exception]:
    got: list[str | Exception] = []

    async def ask() -> None:
        try:
            got.append(await tokens.access_token())
        except (AuthRejected, Transient) as error:
            got.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(ask)
    return got


async def test_fifty_callers_cause_one_refresh(drive: FakeDrive, tokens: UserTokens) -> None:
    for round_number in range(1, 6):
        got = await ask_together(tokens)
        assert len(got) == 50 and len(set(got)) == 1
        assert drive.calls["token"] == round_number
        drive.expire_access_tokens()
        await tokens.rejected({"Authorization": f"Bearer {got[0]}"})
    assert drive.refreshes == 5


async def test_fifty_callers_share_one_failure(drive: FakeDrive, tokens: UserTokens) -> None:
    drive.fail("token", *[html(503)] * 2)
    got = await ask_together(tokens)
    assert {type(one) for one in got} == {Transient} and drive.calls["token"] == 2
    assert len(set(await ask_together(tokens))) == 1


async def test_a_late_401_does_not_throw_the_new_token_away(drive: FakeDrive, tokens: UserTokens) -> None:
    old = await tokens.access_token()
    await tokens.rejected({"Authorization": f"Bearer {old}"})
    new = await tokens.access_token()
    assert new != old
    await tokens.rejected({"Authorization": f"Bearer {old}"})
    assert await tokens.access_token() == new and drive.refreshes == 2


async def test_renewed_before_it_ends(drive: FakeDrive, store: TokenStore, clock: Clock) -> None:
    await sign_in(drive, store)
    now = Now()
    async with tokens_of(drive, store, clock, now) as tokens:
        first = await tokens.access_token()
        assert tokens.expires_at == pytest.approx(time.time() + 3599, abs=5)
        now.ahead_s = 3599 - 230
        assert await tokens.access_token() == first
        now.ahead_s = 3599 - 220
        assert await tokens.access_token() != first


@pytest.mark.parametrize(
    ("expires_in", "life_s"), [('"3599"', 3599), ("20", 20), ('"soon"', 300), ("-1", 300), ("null", 300)]
)
async def test_lives_of_all_forms(
    drive: FakeDrive, tokens: UserTokens, expires_in: str, life_s: float
) -> None:
    body = f'{{"access_token": "ya29.x", "expires_in": {expires_in}}}'
    drive.fail("token", says(200, body.encode(), "application/json"))
    assert await tokens.access_token() == "ya29.x"
    assert tokens.expires_at == pytest.approx(time.time() + life_s, abs=5)


async def test_a_restart_needs_no_refresh(
    drive: FakeDrive, tokens: UserTokens, store: TokenStore, clock: Clock
) -> None:
    token = await tokens.access_token()
    async with tokens_of(drive, store, clock) as again:
        assert await again.access_token() == token
        assert drive.calls["token"] == 1
        await again.rejected({"Authorization": f"Bearer {token}"})
        assert await again.access_token() != token  # the stored one was refused: it is not taken again


async def test_a_rotated_refresh_token_is_stored_before_use(
    drive: FakeDrive, tokens: UserTokens, store: TokenStore
) -> None:
    drive.rotates = True
    for _ in range(3):
        token = await tokens.access_token()
        stored = await store.load("drive", ACCOUNT)
        assert stored is not None and set(drive.refresh) == {stored.values["refresh_token"]}
        assert stored.values["access_token"] == token
        await tokens.rejected({"Authorization": f"Bearer {token}"})


async def test_a_renewal_is_kept_though_its_caller_is_cancelled(
    drive: FakeDrive, tokens: UserTokens, store: TokenStore
) -> None:
    drive.rotates = True
    drive.fail("token", slow(0.3))
    with anyio.move_on_after(0.05) as scope:
        await tokens.access_token()
    assert scope.cancel_called
    stored = await store.load("drive", ACCOUNT)
    assert stored is not None and set(drive.refresh) == {stored.values["refresh_token"]}
    assert await tokens.access_token() == stored.values["access_token"]
    assert drive.refreshes == 1


async def test_waiters_of_a_cancelled_leader_are_served(drive: FakeDrive, tokens: UserTokens) -> None:
    drive.fail("token", slow(0.2))
    leader = anyio.CancelScope()
    got: list[str] = []

    async def lead() -> None:
        with leader:
            await tokens.access_token()

    async def follow() -> None:
        got.append(await tokens.access_token())

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await anyio.sleep(0.05)
        group.start_soon(follow)
        leader.cancel()
    assert len(got) == 1 and drive.refreshes == 1


async def test_invalid_grant_says_what_to_do_and_asks_no_more(
    drive: FakeDrive, tokens: UserTokens, store: TokenStore
) -> None:
    before = await store.load("drive", ACCOUNT)
    drive.revoke_refresh_tokens()
    for _ in range(3):
        with pytest.raises(InvalidGrant, match="expired or revoked") as caught:
            await tokens.access_token()
        assert caught.value.hint is not None
        assert '"Testing"' in caught.value.hint and "7 days" in caught.value.hint
    assert drive.calls["token"] == 1
    assert tokens.rejection is not None
    assert await store.load("drive", ACCOUNT) == before  # nothing is deleted
    await sign_in(drive, store)  # and a new sign-in takes effect by itself
    assert await tokens.access_token() in drive.access
    assert tokens.rejection is None


async def test_a_sign_in_during_a_refusal_is_found(
    drive: FakeDrive, tokens: UserTokens, store: TokenStore
) -> None:
    drive.revoke_refresh_tokens()
    drive.fail("token", slow(0.3))
    async with anyio.create_task_group() as group:
        group.start_soon(tokens.access_token)
        await anyio.sleep(0.1)
        new = await sign_in(drive, store)
    stored = await store.load("drive", ACCOUNT)
    assert stored is not None and stored.values["refresh_token"] == new
    assert drive.calls["token"] == 2 and tokens.rejection is None


async def test_a_sign_in_during_a_renewal_is_not_overwritten(
    drive: FakeDrive, tokens: UserTokens, store: TokenStore
) -> None:
    drive.fail("token", slow(0.3))
    async with anyio.create_task_group() as group:
        group.start_soon(tokens.access_token)
        await anyio.sleep(0.1)
        new = await sign_in(drive, store)
    stored = await store.load("drive", ACCOUNT)
    assert stored is not None and stored.values["refresh_token"] == new
    assert await tokens.access_token() == stored.values["access_token"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (token_error("server_error", 500), None),
        (token_error("temporarily_unavailable"), None),
        (token_error("internal_failure"), None),
        (token_error("rate", 429), None),
        (html(502), None),
        (html(200), None),
        (html(400), None),
        (drop(), None),
        (says(200, b'{"access_token": "a\\nb"}', "application/json"), Transient),
        (says(200, b'{"access_token": 5}', "application/json"), Transient),
        (token_error("invalid_client", 401), AuthRejected),
        (token_error("invalid_scope"), AuthRejected),
    ],
)
async def test_what_the_token_endpoint_may_say(
    drive: FakeDrive, tokens: UserTokens, fault: Any, kind: type[Exception] | None
) -> None:
    drive.fail("token", fault)
    if kind is not None:
        with pytest.raises(kind) as caught:
            await tokens.access_token()
        assert type(caught.value) is kind
    assert await tokens.access_token() in drive.access
    assert drive.calls["token"] == 2


async def test_nobody_signed_in(drive: FakeDrive, store: TokenStore, clock: Clock) -> None:
    async with tokens_of(drive, store, clock) as tokens:
        with pytest.raises(AuthRejected, match="nobody is signed in"):
            await tokens.access_token()
    assert drive.calls["token"] == 0


# --- accounts ---------------------------------------------------------------------------------------


def key_file(drive: FakeDrive, tmp_path: Path, **more: Any) -> str:
    path = tmp_path / "service.json"
    path.write_text(json.dumps({**drive.add_service_account(ROBOT), **more}))
    return str(path)


async def test_service_accounts_and_people_side_by_side(
    drive: FakeDrive, store: TokenStore, clock: Clock, tmp_path: Path
) -> None:
    config = replace(config_of(drive), service_account_file=key_file(drive, tmp_path))
    async with GoogleAccounts(config, store, sleep=clock.sleep) as accounts:
        assert await accounts.names() == [ROBOT]
        await sign_in(drive, store)
        assert await accounts.names() == [ROBOT, ACCOUNT]
        robot = accounts.tokens(ROBOT)
        first = await robot.access_token()
        await robot.rejected({"Authorization": "Bearer an older one"})
        assert await robot.access_token() == first and drive.calls["token"] == 1
        for name in (ROBOT, ACCOUNT):
            client = await accounts.drive(name)
            assert await client.about() == name
            assert await accounts.drive(name) is client
        drive.revoke_refresh_tokens()
        drive.expire_access_tokens()
        with pytest.raises(AuthRejected):
            await (await accounts.drive(ACCOUNT)).about()
        assert await (await accounts.drive(ROBOT)).about() == ROBOT
        states = {one.account: (one.state, (one.expires_at or "")[19:]) for one in await accounts.status()}
        assert states == {ROBOT: ("ready", "Z"), ACCOUNT: ("needs_auth", "")}
    assert await store.accounts("drive") == [ACCOUNT]


@pytest.mark.parametrize(
    "content",
    [None, "", "[]", "{}", '{"type": "authorized_user"}', '{"type": "service_account", "client_email": 5}'],
)
async def test_a_key_file_that_is_none(
    drive: FakeDrive, store: TokenStore, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "service.json"
    if content is not None:
        path.write_text(content)
    async with GoogleAccounts(replace(config_of(drive), service_account_file=str(path)), store) as accounts:
        await sign_in(drive, store)
        assert await accounts.names() == [ACCOUNT]
        trouble, person = await accounts.status()
        assert (trouble.state, person.state) == ("needs_auth", "ready")
        assert trouble.hint is not None and "service_account_file" in trouble.hint


@pytest.mark.parametrize("more", [{"private_key": "nonsense"}, {"client_email": "other@example.com"}])
async def test_a_service_account_that_google_refuses(
    drive: FakeDrive, store: TokenStore, clock: Clock, tmp_path: Path, more: dict[str, str]
) -> None:
    config = replace(config_of(drive), service_account_file=key_file(drive, tmp_path, **more))
    async with GoogleAccounts(config, store, sleep=clock.sleep) as accounts:
        name = (await accounts.names())[0]
        with pytest.raises(AuthRejected):
            await (await accounts.drive(name)).about()
        assert (await accounts.status())[0].state == "needs_auth"
