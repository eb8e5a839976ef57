"""A library with pictures, a fake vision server, and the service between them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from syncd.api_metadata import MetadataAnswers
from syncd.catalogue.database import Catalogue
from syncd.config import AiConfig, Config
from syncd.errors import Transient
from syncd.flows import describe, describe_service
from syncd.flows.describe_service import DescribeService
from syncd.imaging.pool import ImagingPool
from syncd.remotes.http import NotFound
from syncd.remotes.pacer import Pacer
from tests.catalogue.library import rows
from tests.fakes.vision import EMBEDDING_MODEL, KEY, MODEL, FakeVision, fake_vision
from tests.remotes.conftest import Clock


@cache
def picture(number: int) -> bytes:
    """A JPEG, another one for each number."""
    buffer = io.BytesIO()
    made = Image.new("RGB", (1600, 900), (number * 67 % 256, number * 131 % 256, number * 29 % 256))
    made.paste((255, 255, 255), (number * 100 % 1500, 0, number * 100 % 1500 + 100, number * 90 % 900))
    made.save(buffer, "JPEG", quality=50)
    return buffer.getvalue()


class Pictures:
    """What the library's client does here: the bytes at an address."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: list[Exception] = []
        self.missing: set[str] = set()
        self.broken: set[str] = set()

    async def client(self) -> Pictures:
        return self

    async def picture(self, url: str) -> bytes:
        self.asked.append(url)
        if self.errors:
            raise self.errors.pop(0)
        if url in self.broken:
            raise Transient("the host of the pictures says 503")
        if url in self.missing:
            raise NotFound("the picture is gone")
        return picture(int("".join(filter(str.isdigit, url))))


class Handle:
    """What the supervisor gives to a service; keeps each change of state."""

    name = "describe"

    def __init__(self) -> None:
        self.states: list[tuple[str, str | None]] = []

    def ready(self) -> None:
        self.set_state("running")

    def set_state(self, state: Any, reason: str | None = None) -> None:
        if self.states[-1:] != [(state, reason)]:
            self.states.append((state, reason))


class Place:
    def __init__(self, catalogue: Catalogue, pool: ImagingPool, vision: FakeVision) -> None:
        self.catalogue = catalogue
        self.vision = vision
        self.pictures = Pictures()
        self.handle = Handle()
        self.told: list[str] = []
        self.day = "2026-11-21"
        self.config = replace(Config(), ai=self.ai())
        clock = Clock()
        self.service = DescribeService(
            catalogue=catalogue,
            library=self.pictures,
            pool=pool,
            config=lambda: self.config,
            emit=lambda kind, service, subject, message, data: self.told.append(message),
            today=lambda: self.day,
            sleep=clock.sleep,
            pacer=Pacer(1e6, clock=clock, sleep=clock.sleep),
        )
        self.api = MetadataAnswers(
            catalogue, self.service, lambda: self.config, lambda *told: self.told.append(told[3])
        )

    def ai(self, **given: Any) -> AiConfig:
        settings = {
            "base_url": self.vision.base_url, "api_key": KEY, "model": MODEL,
            "embedding_model": EMBEDDING_MODEL, "batch_size": 4,
        }  # fmt: skip
        return AiConfig(**{**settings, **given})

    def set(self, **given: Any) -> None:
        self.config = replace(self.config, ai=self.ai(**given))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.service.run, self.handle)
            yield
            tasks.cancel_scope.cancel()

    async def idle(self) -> None:
        """Until there is nothing to do now."""
        quiet = 0
        while quiet < 2:
            await anyio.sleep(0.005)
            self.service.wake()
            async with self.catalogue.reader() as db:
                is_idle = await self.service.is_idle(db)
            quiet = quiet + 1 if is_idle else 0

    async def until(self, status: str, count: int) -> None:
        """Until so many photos have this status."""
        while (await self.statuses()).get(status, 0) != count:
            await anyio.sleep(0.005)
            self.service.wake()

    async def statuses(self) -> dict[str, int]:
        return dict(
            await rows(self.catalogue, "SELECT processing_status, count(*) FROM ai_metadata GROUP BY 1")
        )

    async def jobs(self) -> list[tuple[Any, ...]]:
        return await rows(
            self.catalogue,
            "SELECT subject, state, attempts, error FROM jobs WHERE kind = 'describe' ORDER BY number",
        )


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ImagingPool]:
    (tmp_path / "staging").mkdir()
    async with ImagingPool(1, tmp_path / "staging") as running:
        yield running


@pytest.fixture
async def vision() -> AsyncIterator[FakeVision]:
    async with fake_vision() as running:
        yield running


@pytest.fixture
async def place(
    tmp_path: Path, pool: ImagingPool, vision: FakeVision, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    monkeypatch.setattr(describe, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(describe_service, "_FIRST_BACK_OFF_S", 0.02)
    async with Catalogue.open(tmp_path / "catalogue.db") as catalogue:
        made = Place(catalogue, pool, vision)
        async with made.service:
            yield made
