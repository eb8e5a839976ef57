"""What tests of events share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncd.imaging.pool import ImagingPool
from tests.fakes.google_drive import FakeDrive, fake_drive
from tests.flows_events.place import Place, place


@pytest.fixture
async def fake() -> AsyncIterator[FakeDrive]:
    async with fake_drive() as running:
        yield running


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ImagingPool]:
    staging = tmp_path / "staging"
    staging.mkdir()
    async with ImagingPool(1, staging) as running:
        yield running


@pytest.fixture
async def here(fake: FakeDrive, pool: ImagingPool, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(fake, pool, tmp_path) as made:
        yield made
