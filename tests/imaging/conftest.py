from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncd.imaging.pool import ImagingPool


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ImagingPool]:
    async with ImagingPool(2, tmp_path / "staging") as started:
        yield started
