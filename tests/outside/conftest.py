"""Installations to try, on a local folder and on a real S3 server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.outside.installation import Daemon, Installation
from tests.servers import SeaweedServer

NewPlace = Callable[..., Installation]


@pytest.fixture
def new_place(tmp_path: Path) -> Iterator[NewPlace]:
    """Makes installations, each in a folder of its own; their sockets' folders go afterwards."""
    made: list[Installation] = []

    def make(server: SeaweedServer | None = None) -> Installation:
        made.append(Installation(tmp_path / f"place-{len(made)}", server))
        return made[-1]

    yield make
    for place in made:
        shutil.rmtree(place.socket_dir, ignore_errors=True)


@pytest.fixture
def place(new_place: NewPlace) -> Installation:
    """Everything public by default, storage in a folder."""
    return new_place()


@pytest.fixture
def s3_place(new_place: NewPlace, s3_server: SeaweedServer) -> Installation:
    """Everything public by default, storage in a bucket of its own on a real S3 server."""
    return new_place(s3_server)


@pytest.fixture
def daemon(place: Installation) -> Iterator[Daemon]:
    """A running daemon on `place`."""
    with place.daemon() as running:
        yield running


@pytest.fixture(params=["local", "s3"])
def either(request: pytest.FixtureRequest, new_place: NewPlace) -> Installation:
    """The same test on a folder and on S3."""
    if request.param == "local":
        return new_place()
    return new_place(request.getfixturevalue("s3_server"))
