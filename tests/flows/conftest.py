"""A place for each test, and one with a running daemon for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.place import Daemon, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "home")
    yield made
    made.remove()


@pytest.fixture
def daemon(place: Place) -> Iterator[Daemon]:
    """A daemon of the test's own, with the default settings of Place."""
    with place.daemon() as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that the tests of a module share, each with batches of its own; batches begin private."""
    made = Place(tmp_path_factory.mktemp("shared") / "home")
    made.configure(batches={"default_public": False}, guard={"max_delete": 3, "max_delete_percent": 5})
    with made.daemon() as running:
        yield running
    made.remove()
