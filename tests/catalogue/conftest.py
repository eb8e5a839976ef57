"""A real catalogue in a folder of the test."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from syncd.catalogue.database import Catalogue

Shell = Callable[[str], str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalogue.db"


@pytest.fixture
async def catalogue(path: Path) -> AsyncIterator[Catalogue]:
    async with Catalogue.open(path) as opened:
        yield opened


@pytest.fixture
def shell(path: Path) -> Shell:
    """Runs SQL in the sqlite3 program, as a person would."""

    def run(sql: str) -> str:
        done = subprocess.run(
            ["sqlite3", str(path), sql], capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    return run
