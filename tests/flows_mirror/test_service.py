"""The service `mirror`: quiet while Postgres is down, loud once when it needs a person, and it catches up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from syncd.catalogue import mirror as queries
from syncd.config import MirrorConfig
from syncd.errors import Refused
from syncd.flows.mirror import Told
from syncd.flows.mirror_service import MirrorService
from syncd.supervisor import ServiceHandle, State
from tests.flows_mirror.place import Place


class Service(ServiceHandle):
    """A running service, what it said about itself, and its settings."""

    name = "mirror"

    def __init__(self, here: Place, dsn: str) -> None:
        self.here = here
        self.states: list[tuple[str, str | None]] = []
        self.said: list[str] = []
        self.service = MirrorService(catalogue=here.catalogue, config=lambda: self.config, emit=self.emit)
        self.config = replace(here.config, mirror=MirrorConfig(dsn))

    def emit(self, kind: str, service: str, subject: str, message: str, data: dict[str, Any] | None) -> None:
        self.said.append(message)

    def ready(self) -> None:
        pass

    def set_state(self, state: State, reason: str | None = None) -> None:
        if (state, reason) not in self.states[-1:]:
            self.states.append((state, reason))

    @property
    def state(self) -> str:
        return self.states[-1][0]

    async def reload(self, dsn: str) -> None:
        self.config = replace(self.config, mirror=MirrorConfig(dsn))
        await self.service.wake(again=True)

    async def marks(self) -> queries.QueueRow:
        async with self.here.catalogue.reader() as db:
            return await self.service.queue(db)

    async def is_idle(self) -> bool:
        async with self.here.catalogue.reader() as db:
            return await self.service.is_idle(db)


@asynccontextmanager
async def running(here: Place, dsn: str) -> AsyncIterator[Service]:
    made = Service(here, dsn)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.service.run, made)
        await until(lambda: bool(made.states))
        yield made
        tasks.cancel_scope.cancel()


async def until(holds: Callable[[], Any]) -> None:
    with anyio.fail_after(10):
        while True:
            found = holds()
            if await found if hasattr(found, "__await__") else found:
                return
            await anyio.sleep(0.02)


async def test_a_mirror_is_followed_through_all_that_happens_to_it(here: Place) -> None:
    await here.album("AAA", "One", 3)
    await here.synced()
    wrong = here.database.dsn.replace("syncd-test-password", "not-the-password")
    async with running(here, "") as daemon:
        assert daemon.state == "running"
        assert await daemon.is_idle()
        assert await daemon.marks() == (0, 0, None)  # nobody waits for a mirror that there is not

        await daemon.reload(wrong)
        assert await daemon.marks() == (3, 0, None)
        await until(lambda: daemon.state == "needs_auth")
        assert "not-the-password" not in str(daemon.states)
        assert await daemon.is_idle()

        await daemon.reload(here.database.dsn)
        await until(daemon.is_idle)
        assert here.rows("count(*), min(album_name)") == [(3, "One")]
        await until(lambda: daemon.state == "running")
        assert daemon.said == ["3 rows written"]

        here.database.server.stop()
        try:
            await here.sql("UPDATE smugmug_photos SET caption = 'while it was away'")
            await until(lambda: daemon.state == "backing_off")
            assert (await daemon.marks()).waiting == 3
            assert await daemon.is_idle()  # what waits for Postgres is not waited for
        finally:
            here.database.server.start()
        await until(lambda: daemon.state == "running")
        assert here.rows("count(*), min(caption)") == [(3, "while it was away")]
        assert [state for state, _ in daemon.states].count("needs_auth") == 1
        async with here.catalogue.reader() as db:
            assert await daemon.service.last_success_at(db)

        # Others' rows get their album; a complete sync of the library has everything compared.
        url = "https://photos.smugmug.com/photos/AAA/x/y.jpg"
        here.database.run("INSERT INTO photo_metadata (imageurl) VALUES (%s)", url)
        here.database.run("UPDATE photo_metadata SET caption = 'drift' WHERE image_key = 'p1'")
        await here.synced("2026-01-02T00:00:00.000Z")
        await until(lambda: not here.rows("1, 1", "caption = 'drift'"))
        await daemon.service.wake(again=True)
        await until(lambda: here.rows("album_key, album_name", "image_key IS NULL") == [("AAA", "One")])

        # Another database is filled anew.
        another = here.database.server.make_database()
        await daemon.reload(here.database.server.dsn(another))
        await until(daemon.is_idle)
        counted = here.database.server.run(another, "SELECT count(*), min(caption) FROM photo_metadata")
        assert counted == [(3, "while it was away")]


async def test_a_table_that_is_refused_says_so(here: Place) -> None:
    await here.album("AAA", "One", 1)
    here.database.run("CREATE TABLE photo_metadata (title integer)")
    async with running(here, here.database.dsn) as daemon:
        await until(lambda: daemon.state == "backing_off")
        assert 'column "title" is integer' in str(daemon.states[-1][1])
        assert "TYPE text" in str(daemon.states[-1][1])
        here.database.run("ALTER TABLE photo_metadata ALTER COLUMN title TYPE text")
        await daemon.service.wake(again=True)
        await until(lambda: daemon.state == "running")
        assert here.rows("image_key, album_key") == [("p0", "AAA")]


@pytest.mark.parametrize("how_many", [1, 3])
async def test_rows_that_are_turned_down_keep_no_other_back(here: Place, how_many: int) -> None:
    await here.album("AAA", "One", 40)
    await here.work.fill()
    here.database.run(
        "ALTER TABLE photo_metadata ADD CHECK (caption <> 'bad'), ADD CHECK (album_name <> 'bad')"
    )
    bad = [(f"p{number * 13}",) for number in range(how_many)]
    await here.sql("UPDATE smugmug_photos SET caption = 'bad' WHERE image_key = ?", bad)
    assert await here.work.tell() == Told(written=40 - how_many, turned_down=how_many)
    async with here.catalogue.reader() as db:
        queue = await queries.queue(db)
        assert not await queries.is_due(db)
    assert queue[:2] == (0, how_many)
    assert "check constraint" in str(queue.error)
    assert await here.work.tell() == Told()  # not again and again
    await here.sql("UPDATE smugmug_photos SET caption = 'good' WHERE image_key = ?", bad)
    assert await here.work.tell() == Told(written=how_many)
    await here.sql("UPDATE smugmug_albums SET title = 'bad'")
    assert await here.work.tell() == Told(turned_down=1)


async def test_a_table_that_takes_no_row_is_refused_as_a_whole(here: Place) -> None:
    await here.album("AAA", "One", 100)
    await here.work.fill()
    here.database.run("ALTER TABLE photo_metadata ADD CHECK (false)")
    with pytest.raises(Refused, match="photo_metadata takes no rows"):
        await here.work.tell()
    async with here.catalogue.reader() as db:
        assert (await queries.queue(db)).failed == 20
