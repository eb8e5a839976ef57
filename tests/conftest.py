"""Fixtures that more than one part's tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import Database, PostgresServer, postgres_server
from tests.servers import SeaweedServer, seaweed


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Everything runs on asyncio: aiohttp, aiosqlite and aioboto3 do not run on trio."""
    return "asyncio"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """A real S3 server for the whole session; take a bucket of your own with `s3_server.make_bucket()`."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real Postgres server for the whole session; who stops it starts it again."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Database:
    """An empty database of one's own."""
    return Database(postgres, postgres.make_database())
