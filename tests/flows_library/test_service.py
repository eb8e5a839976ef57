"""The service, its jobs and its answers against a SmugMug on loopback, running as in the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncd.api_library import LibraryAnswers, LibraryNow
from syncd.catalogue import jobs as job_queries
from syncd.catalogue import library
from syncd.catalogue.database import Catalogue
from syncd.catalogue.jobs import JobRow
from syncd.config import Config
from syncd.control.api import Invalid, NotFound
from syncd.errors import AuthRejected
from syncd.flows.jobs import JobRunner
from syncd.flows.library_pictures import LibraryPictures
from syncd.flows.library_service import LibraryService
from syncd.flows.previews import Previews
from syncd.imaging.pool import ImagingPool
from syncd.remotes.smugmug import SmugMug
from tests.fakes.faults import drop, says
from tests.fakes.smugmug import NICKNAME, FakeSmugmug, fake_smugmug, refuse
from tests.remotes.conftest import Clock
from tests.remotes.smugmug_client import client_of, config_of


class Handle:
    name = "smugmug"

    def __init__(self) -> None:
        self.state: tuple[str, str | None] = ("starting", None)

    def ready(self) -> None:
        self.state = ("running", None)

    def set_state(self, state: str, reason: str | None = None) -> None:
        self.state = (state, reason)


class Desk:
    """The service `smugmug` with everything around it; nobody is signed in before `sign_in`."""

    def __init__(self, smug: FakeSmugmug, catalogue: Catalogue, pool: ImagingPool, folder: Path) -> None:
        self.smug = smug
        self.pool = pool
        self.catalogue = catalogue
        self.config = Config(smugmug=config_of(smug, page_size=5))
        self.clock = Clock()
        self.made: SmugMug | None = None
        self.told: list[tuple[str, str, str]] = []
        self.handle = Handle()
        self.service = LibraryService(
            access=self, catalogue=catalogue, pool=pool, config=lambda: self.config, emit=self._emit
        )
        self.jobs = JobRunner(catalogue, {})
        previews = Previews(catalogue, pool, folder / "previews")
        self.answers = LibraryAnswers(
            catalogue=catalogue,
            access=self,
            service=self.service,
            pictures=LibraryPictures(self.client, catalogue, pool, previews, folder / "staging"),
            config=lambda: self.config,
        )

    def _emit(self, kind: str, service: str, subject: str, message: str, data: Any = None) -> None:
        assert service == "smugmug"
        self.told.append((kind, subject, message))

    async def account(self) -> str | None:
        return NICKNAME if self.made is not None else None

    async def client(self) -> SmugMug:
        if self.made is None:
            raise AuthRejected("nobody is signed in to SmugMug", hint="sign in: syncctl auth smugmug")
        return self.made

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.service.run, self.handle)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def ended(self, job_id: str) -> Any:
        async def over() -> JobRow | None:
            async with self.catalogue.reader() as db:
                job = await job_queries.get(db, job_id)
            assert job is not None
            return None if job.state in job_queries.OPEN_STATES else job

        return await until(over)

    async def now(self) -> LibraryNow:
        async with self.catalogue.reader() as db:
            return await self.answers.now(db)


async def until(look: Callable[[], Any]) -> Any:
    with anyio.fail_after(10):
        while True:
            if found := await look():
                return found
            await anyio.sleep(0.02)


@pytest.fixture
async def smug() -> AsyncIterator[FakeSmugmug]:
    async with fake_smugmug() as running:
        yield running


@pytest.fixture
async def desk(smug: FakeSmugmug, tmp_path: Path) -> AsyncIterator[Desk]:
    staging = tmp_path / "staging"
    staging.mkdir()
    async with Catalogue.open(tmp_path / "catalogue.db") as catalogue, ImagingPool(1, staging) as pool:
        yield Desk(smug, catalogue, pool, tmp_path)


@pytest.fixture
async def signed_in(desk: Desk) -> AsyncIterator[Desk]:
    async with client_of(desk.smug, desk.clock, page_size=5) as client:
        desk.made = client
        yield desk


async def test_who_has_no_smugmug_hears_nothing_of_it(desk: Desk) -> None:
    desk.config = Config()
    async with desk.running():
        await until(lambda: _is(desk.service._poller._last_s is not None))
        assert desk.told == [] and desk.service.health.state == "running"
        # What was wanted while there was a key is not left without an answer.
        job = await desk.service.submit("everything", {"full": False})
        assert (await desk.ended(job.id)).state == "failed"


async def test_before_anybody_signed_in(desk: Desk) -> None:
    desk.smug.add_album("Cup")
    with pytest.raises(AuthRejected) as refusal:
        await desk.answers.sync(full=False)
    assert "syncctl auth smugmug" in (refusal.value.hint or "")
    async with desk.running():
        await until(lambda: _is(desk.handle.state[0] == "needs_auth"))
        assert "syncctl auth smugmug" in str(desk.handle.state[1])
        status = await desk.answers.sync_status()
        assert (status.in_progress, status.account, status.albums_total) == (False, None, 0)
        assert "syncctl auth smugmug" in status.errors[0]
        assert (await desk.now()).is_idle
        async with client_of(desk.smug, desk.clock) as client:
            desk.made = client
            desk.smug.fill(next(iter(desk.smug.albums)), 150, seeds=1)
            desk.smug.latency_s = 0.1
            desk.service.signed_in(NICKNAME)

            async def in_its_midst() -> bool:
                status = await desk.answers.sync_status()
                return status.in_progress and status.photos_synced > 0

            await until(in_its_midst)
            assert (await desk.answers.sync_status()).errors == [], "what was said before holds no more"
            await until(lambda: _is(desk.handle.state == ("running", None)))
            desk.smug.latency_s = 0.0
            await until(lambda: _albums(desk, 1))
            assert [told[0] for told in desk.told].count("account") == 2, "said once, and that it goes on"
            desk.smug.revoke(NICKNAME)
            job = await desk.ended((await desk.answers.sync(full=False)).job_id)
            assert job.state == "failed"
            with pytest.raises(AuthRejected):
                await desk.answers.sync(full=True)


async def _is(value: bool) -> bool:
    return value


async def _albums(desk: Desk, count: int) -> bool:
    status = await desk.answers.sync_status()
    return not status.in_progress and status.albums_synced == count


async def test_jobs_albums_photos_and_the_rest(signed_in: Desk) -> None:
    desk, smug = signed_in, signed_in.smug
    one, two = smug.add_album("Cup final", keywords="cup; final"), smug.add_album("Gala")
    smug.fill(one, 12, seeds=3)
    video = smug.add_image(two, "clip.mp4")
    async with desk.running():
        await until(lambda: _albums(desk, 2))
        first = await desk.answers.sync(full=True)
        again = await desk.answers.sync(full=True)
        assert first.job_id == again.job_id, "one that has not begun is the same"
        full = await desk.ended(first.job_id)
        assert (full.state, full.progress_done, full.progress_total) == ("done", 13, 13)
        assert smug.calls["album.images"] == 2 * (3 + 1)
        assert smug.calls["user.albums"] == 2
        only = await desk.answers.sync_album(two)
        assert (await desk.ended(only.job_id)).state == "done"
        assert smug.calls["album.images"] == 9
        new = smug.add_album("New")
        smug.fill(new, 1)
        assert (await desk.ended((await desk.answers.sync_album(new)).job_id)).state == "done"
        with pytest.raises(NotFound):
            await desk.answers.sync_album("none")

        page = await desk.answers.albums(2, None)
        rest = await desk.answers.albums(2, page.next_cursor)
        albums = [*page.items, *rest.items]
        assert [(a.title, a.image_count, a.photos_synced, a.is_current) for a in albums] == [
            ("Cup final", 12, 12, True),
            ("Gala", 1, 1, True),
            ("New", 1, 1, True),
        ]
        assert albums[0].keywords == ["cup", "final"]
        photos = await desk.answers.photos(one, 10, None)
        more = await desk.answers.photos(str(albums[0].id), 10, photos.next_cursor)
        keys = [shown.image_key for shown in smug.albums[one].shown]
        assert [photo.image_key for photo in (*photos.items, *more.items)] == keys
        assert photos.items[0].date_taken == "2026-05-30T14:00:00"
        assert photos.items[0].ai is None
        for wrong in ("x", "-1", "1" * 30):
            with pytest.raises(Invalid):
                await desk.answers.photos(one, 10, wrong)
        with pytest.raises(NotFound):
            await desk.answers.photos("none", 10, None)
        await until(lambda: _idle(desk))
        status = await desk.answers.sync_status()
        assert (status.hashed, status.to_hash, status.hash_errors) == (13, 0, 0), "a video has no hash"
        assert (status.photos_total, status.photos_synced, status.errors) == (14, 14, [])
        assert smug.calls["photo"] == 13
        now = await desk.now()
        assert (now.albums, now.photos, now.queue.waiting, now.queue.failed) == (3, 14, 0, 0)
        assert now.source is not None
        assert now.source.last_success_at is not None

        picture = await desk.answers.preview(photos.items[0].image_key, 60, 60, "jpeg")
        assert picture[:2] == b"\xff\xd8"
        await desk.answers.preview(str(photos.items[0].id), 60, 60, "jpeg")
        assert (smug.calls["photo"], smug.calls["album.image"]) == (14, 0), "a thumbnail shows enough; kept"
        for side in (300, 320):
            await desk.answers.preview(photos.items[0].image_key, side, side, "jpeg")
        assert smug.calls["album.image"] == 1
        assert (await desk.answers.photos(one, 1, None)).items[0].large_url is not None
        assert (await desk.answers.preview(video, 60, 60, "rgb"))[:2] == b"\x00\x3c"
        with pytest.raises(NotFound):
            await desk.answers.preview("none", 60, 60, "jpeg")


async def _idle(desk: Desk) -> bool:
    return (await desk.now()).is_idle


async def test_retry_after_parks_and_cancelled_jobs_stay_cancelled(signed_in: Desk) -> None:
    desk, smug = signed_in, signed_in.smug
    smug.fill(smug.add_album("Cup"), 12)
    smug.limit = 3
    async with desk.running():
        accepted = await desk.answers.sync(full=True)

        async def parked() -> bool:
            return (await desk.answers.sync_status()).state == "waiting"

        await until(parked)
        status = await desk.answers.sync_status()
        assert "429" in status.errors[0]
        assert status.resume_at is not None
        assert status.photos_synced in (5, 10), "pages are kept as they come"
        (job,) = await _open_jobs(desk)
        assert (job.id, job.state) == (accepted.job_id, "waiting")
        assert "429" in str(job.error)
        asked = len(smug.api_calls())
        assert (await desk.now()).is_idle
        await desk.answers.sync(full=False)
        await anyio.sleep(0.4)
        assert len(smug.api_calls()) == asked, "nobody asks before the time that was named"
        for job in await _open_jobs(desk):
            assert await desk.jobs.cancel(job.id)
    smug.limit = 1000
    desk.clock.now += 10_000
    held = again(desk)
    async with held.running():  # after a restart
        held.service.signed_in(NICKNAME)
        await anyio.sleep(0.5)
        assert len(smug.api_calls()) == asked
    past = "2026-01-01T00:00:00.000Z"
    await desk.catalogue.write(lambda db: library.set_health(db, "backing_off", "429", past))
    held = again(desk)
    async with held.running():
        await until(lambda: _albums(held, 1))
    assert await _open_jobs(desk) == []
    async with desk.catalogue.reader() as db:
        found, _ = await job_queries.page(db)
    assert {job.state for job in found} == {"cancelled"}


def again(desk: Desk) -> Desk:
    """After a restart."""
    made = Desk(desk.smug, desk.catalogue, desk.pool, Path("/nowhere"))
    made.made = desk.made
    return made


async def test_a_job_that_is_cancelled_or_held_in_its_midst(signed_in: Desk) -> None:
    desk, smug = signed_in, signed_in.smug
    smug.fill(smug.add_album("Cup"), 60, seeds=2)
    async with desk.running():
        await until(lambda: _albums(desk, 1))
        smug.latency_s = 0.03
        before = smug.calls["album.images"]
        job = await desk.answers.sync(full=True)
        await until(lambda: _is(smug.calls["album.images"] > before + 1))
        assert await desk.jobs.cancel(job.job_id)
        await until(lambda: _is(desk.service.current is None))
        assert smug.calls["album.images"] < before + 12
        assert (await desk.ended(job.job_id)).state == "cancelled"
        held = await desk.answers.sync(full=True)
        before = smug.calls["album.images"]
        await until(lambda: _is(smug.calls["album.images"] > before + 4))
    (waiting,) = await _open_jobs(desk)
    assert (waiting.id, waiting.state) == (held.job_id, "queued")
    async with desk.running():
        assert (await desk.ended(held.job_id)).state == "done"
    assert smug.calls["album.images"] <= before + 12 + 1, "it went on where it was"


async def _open_jobs(desk: Desk) -> list[JobRow]:
    async with desk.catalogue.reader() as db:
        return await job_queries.open_of(db, "smugmug")


async def test_thumbnails_that_cannot_be_hashed_say_why(signed_in: Desk) -> None:
    desk, smug = signed_in, signed_in.smug
    album = smug.add_album("Cup")
    keys = smug.fill(album, 4)
    smug.images[keys[0]].extra["ThumbnailUrl"] = f"{smug.photos_url}/photos/i-{keys[0]}/9/00/Th/x.jpg"
    smug.images[keys[2]].extra["ThumbnailUrl"] = "http://192.0.2.1/elsewhere.jpg"
    smug.fail("photo", drop(), says(200, b"no picture", "image/jpeg"))
    async with desk.running():
        await until(lambda: _albums(desk, 1))

        async def hashed() -> bool:
            status = await desk.answers.sync_status()
            return (status.hashed, status.to_hash) == (1, 0)

        await until(hashed)
        photos = (await desk.answers.photos(album, 10, None)).items
        assert [photo.perceptual_hash is None for photo in photos].count(False) == 1
        assert all(photo.hash_error for photo in photos if photo.perceptual_hash is None)
        assert (await desk.answers.sync_status()).hash_errors == 3
        await desk.ended((await desk.answers.sync(full=True)).job_id)

        async def repaired() -> bool:
            return (await desk.answers.sync_status()).hashed == 2

        await until(repaired)


async def test_an_accident_is_met_by_the_next_sync_alone(signed_in: Desk) -> None:
    desk, smug = signed_in, signed_in.smug
    smug.fill(smug.add_album("Cup"), 2)
    desk.config = replace(desk.config, smugmug=replace(desk.config.smugmug, interval_minutes=0.005))
    smug.fail("user.albums", *[refuse(500)] * 6)
    async with desk.running():
        await until(lambda: _albums(desk, 1))
        added = smug.fill(smug.add_album("New"), 1)
        await until(lambda: _albums(desk, 2))
        assert added
        assert [told for told in desk.told if told[0] == "account"][-1][2] == "SmugMug answers again"
