"""What tests of the mirror share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.flows_mirror.place import Place, place
from tests.postgres import Database


@pytest.fixture
async def here(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path, database) as made:
        yield made
