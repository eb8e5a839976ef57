"""A fake Drive, a clock that only sleeping moves, and clients that use both."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncd.config import DriveConfig
from syncd.remotes.google_drive import GoogleDrive
from syncd.remotes.http import ApiClient, Request
from syncd.remotes.pacer import Pacer
from syncd.remotes.tokens import TokenStore
from tests.fakes.google_drive import ACCOUNT, FakeDrive, fake_drive
from tests.fakes.smugmug import FakeSmugmug, fake_smugmug


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, wait_s: float) -> None:
        self.slept.append(wait_s)
        self.now += wait_s
        await anyio.lowlevel.checkpoint()

    @property
    def backed_off(self) -> list[float]:
        """Without the pacer's own short waits."""
        return [round(wait_s, 3) for wait_s in self.slept if wait_s >= 0.2]


class Bearer:
    """Always the same token, unless there is a next one for a 401."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.rejections = 0

    async def authorise(self, request: Request) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens[0]}"}

    async def rejected(self, headers: Mapping[str, str]) -> bool:
        self.rejections += 1
        if len(self.tokens) == 1:
            return False
        self.tokens.pop(0)
        return True


def config_of(drive: FakeDrive, **more: Any) -> DriveConfig:
    return DriveConfig(
        client_id=drive.client_id,
        client_secret=drive.client_secret,
        api_base_url=drive.base_url,
        auth_url=drive.auth_url,
        token_url=drive.token_url,
        **{"requests_per_second": 1000, **more},
    )


@asynccontextmanager
async def client_of(
    drive: FakeDrive, clock: Clock, *, account: str = ACCOUNT, authoriser: Any = None, **more: Any
) -> AsyncIterator[GoogleDrive]:
    pacer = Pacer(more.pop("requests_per_second", 1000), clock=clock, sleep=clock.sleep)
    made = GoogleDrive(
        config_of(drive),
        authoriser or Bearer(drive.issue_token(account)),
        pacer=pacer,
        sleep=clock.sleep,
        jitter=lambda: 1.0,
        **more,
    )
    async with made:
        yield made


def api_of(base_url: str, clock: Clock, *, requests_per_second: float = 1000, **more: Any) -> ApiClient:
    pacer = Pacer(requests_per_second, clock=clock, sleep=clock.sleep)
    return ApiClient("the API", base_url, pacer=pacer, sleep=clock.sleep, jitter=lambda: 1.0, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def drive() -> AsyncIterator[FakeDrive]:
    async with fake_drive() as running:
        yield running


@pytest.fixture
async def google(drive: FakeDrive, clock: Clock) -> AsyncIterator[GoogleDrive]:
    async with client_of(drive, clock) as opened:
        yield opened


@pytest.fixture
async def smug() -> AsyncIterator[FakeSmugmug]:
    async with fake_smugmug() as running:
        yield running


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
async def store(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> TokenStore:
    with contextlib.suppress(KeyError):
        monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    return await TokenStore.open(state_dir)
