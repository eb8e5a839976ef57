"""The service, the jobs and the answers for people, running as in the daemon."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from syncd.api_events import events_now
from syncd.config import FacesConfig, GuardConfig
from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import AuthRejected
from syncd.flows import events_api
from syncd.flows.events_api import Events
from syncd.flows.events_service import DriveService
from syncd.flows.faces_service import FacesService
from syncd.flows.jobs import JobRunner
from syncd.flows.previews import Previews
from syncd.flows.verify import verify
from syncd.model import Face, FacesFound
from syncd.text import now_text
from tests.fakes.faults import error, says, slow
from tests.fakes.google_drive import ACCOUNT, FakeDrive
from tests.flows_events.place import Place, picture
from tests.flows_events.test_faces import encoding


class Handle:
    name = "drive"

    def __init__(self) -> None:
        self.state: tuple[str, str | None] = ("starting", None)

    def ready(self) -> None:
        self.state = ("running", None)

    def set_state(self, state: str, reason: str | None = None) -> None:
        self.state = (state, reason)


class Desk:
    """The service `drive` with everything around it."""

    def __init__(self, here: Place) -> None:
        self.here = here
        self.told: list[tuple[str, str, str]] = []
        self.warmed = 0
        self.faces = FacesService(here.catalogue, lambda: here.config, self._warm_up, lambda: True)
        self.service = DriveService(
            accounts=here.accounts,
            catalogue=here.catalogue,
            pool=here.site.pool,
            storage=here.site,
            faces=self.faces,
            config=lambda: here.config,
            emit=self._emit,
        )
        handlers: dict[str, Any] = {}
        self.jobs = JobRunner(here.catalogue, handlers)
        self.events = Events(
            catalogue=here.catalogue,
            site=here.site,
            accounts=here.accounts,
            service=self.service,
            jobs=self.jobs,
            previews=Previews(here.catalogue, here.site.pool, here.config.daemon.state_dir / "previews"),
            config=lambda: here.config,
            emit=self._emit,
        )
        handlers.update(self.events.handlers)
        self.handle = Handle()

    def _warm_up(self) -> None:
        self.warmed += 1

    def _emit(self, kind: str, service: str, subject: str, message: str, data: Any) -> None:
        self.told.append((kind, subject, message))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.service.run, self.handle)
            tasks.start_soon(self.jobs.run)
            yield
            tasks.cancel_scope.cancel()

    async def becomes(self, event_id: str, test: Callable[[schema.Event], bool]) -> schema.Event:
        with anyio.move_on_after(10):
            while not test(await self.events.get(event_id)):
                await anyio.sleep(0.02)
        event = await self.events.get(event_id)
        assert test(event), event
        return event


@pytest.fixture
def desk(here: Place) -> Desk:
    return Desk(here)


async def test_an_event_from_its_making_to_its_end(desk: Desk, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    photo = fake.add_file("a.jpg", folder, picture(1))
    address = f"https://drive.google.com/drive/folders/{folder}?usp=sharing"
    async with desk.running():
        made = await desk.events.create(
            schema.EventRequest(name="Anna & Ben 2026", drive_folder_id=address, publish=True)
        )
        again = await desk.events.create(schema.EventRequest(name="Anna & Ben 2026", drive_folder_id=folder))
        assert (made.event_id, again.event_id) == ("anna-ben-2026", "anna-ben-2026-2")
        assert (made.state, made.enabled, made.account) == ("disabled", False, ACCOUNT)
        assert made.interval_minutes == 2 and isinstance(made.interval_minutes, int)
        assert (await desk.events.enable(made.event_id, None)).interval_minutes == 2
        event = await desk.becomes(made.event_id, lambda e: e.photos == 1 and e.state == "idle")
        assert (event.in_folder, event.indexed) == (1, 0)
        assert event.running and event.next_sync_at is not None and event.last_sync_at is not None
        assert event.complete_as_of is not None
        assert (await desk.events.enable(made.event_id, 0.5)).interval_minutes == 0.5
        page = await desk.events.photos(made.event_id, 10, None)
        assert [item.photo_name for item in page.items] == ["a.jpg"] and page.items[0].url
        found = await verify(desk.here.site, progress=lambda done, total: None)
        assert found.orphaned == []
        small = await desk.events.preview(photo, 4, 4, "jpeg")
        assert small.startswith(b"\xff\xd8") and await desk.events.preview(photo, 4, 4, "jpeg") == small
        await desk.events.disable(made.event_id)
        assert (await desk.events.get(made.event_id)).state == "disabled"
        late = fake.add_file("b.jpg", folder, picture(2))
        job = await desk.events.sync(made.event_id)
        outcome = await desk.jobs.outcome(job.job_id)
        assert (outcome.state, outcome.error) == ("done", None)
        event = await desk.events.get(made.event_id)
        assert (event.photos, event.state) == (2, "disabled")
        stored = desk.here.config.storage.base_path / "events" / made.event_id / f"{late}.jpg"
        assert stored.exists()
        await desk.events.remove(made.event_id)
        with anyio.fail_after(10):
            while stored.exists():
                await anyio.sleep(0.02)
        with pytest.raises(NotFound):
            await desk.events.get(made.event_id)
    assert [item.event_id for item in (await desk.events.listed(10, None)).items] == ["anna-ben-2026-2"]
    arrived = [message for kind, _, message in desk.told if kind == "photos"]
    assert sum(1 if words.startswith("a ") else int(words.split()[0]) for words in arrived) == 2


async def test_what_is_no_folder_is_said(desk: Desk, fake: FakeDrive) -> None:
    file = fake.add_file("a.jpg", fake.root, picture(1))
    for wrong in (file, "1unknown", "not an id!"):
        with pytest.raises(Invalid):
            await desk.events.create(schema.EventRequest(name="x", drive_folder_id=wrong))


async def test_an_event_without_a_sign_in_waits_for_one(desk: Desk, fake: FakeDrive) -> None:
    fake.add_file("a.jpg", fake.root, picture(1))
    desk.here.accounts.signed_in = []
    async with desk.running():
        made = await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id="root"))
        await desk.events.enable(made.event_id, None)
        await desk.becomes(made.event_id, lambda e: e.state == "needs_auth")
        assert desk.handle.state[0] == "needs_auth"
        desk.here.accounts.signed_in = [ACCOUNT]
        desk.service.signed_in(ACCOUNT)
        event = await desk.becomes(made.event_id, lambda e: e.photos == 1 and e.state == "idle")
        assert desk.handle.state[0] == "running"
        again = await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id="root"))
        assert again.drive_folder_id == event.drive_folder_id == fake.root


async def test_an_event_whose_folder_nobody_sees_says_so_and_ends_its_jobs(
    desk: Desk, fake: FakeDrive
) -> None:
    folder = fake.add_folder("Wedding", fake.add_account("ann@example.org"))
    fake.add_file("a.jpg", folder, picture(1))
    accounts = desk.here.accounts
    accounts.signed_in = []
    async with desk.running():
        made = await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id=folder))
        await desk.events.enable(made.event_id, None)
        accounts.key_trouble = AuthRejected("key.json cannot be read", hint="name another")
        desk.service.look()
        event = await desk.becomes(made.event_id, lambda e: e.last_error == "key.json cannot be read")
        assert event.state == "needs_auth"
        assert desk.handle.state == ("needs_auth", "key.json cannot be read: name another")

        accounts.signed_in, accounts.key_trouble = [ACCOUNT], None
        desk.service.signed_in(ACCOUNT)
        event = await desk.becomes(made.event_id, lambda e: e.state == "blocked")
        assert f"no such folder for {ACCOUNT}" in (event.last_error or "")
        with anyio.fail_after(5):
            job = await desk.jobs.outcome((await desk.events.sync(made.event_id)).job_id)
        assert (job.state, job.error) == ("failed", event.last_error)
        async with desk.here.catalogue.reader() as db:
            now = await events_now(db, desk.service)
        (blocked,) = now.blocked
        assert (blocked.what, now.is_idle) == ("event wedding", True)
        assert blocked.reason == f"Wedding: {event.last_error}" and blocked.since <= now_text()
        assert [kind for kind, _, _ in desk.told].count("blocked") == 1

        fake.fail("files.get", *[error(401, "authError")] * 100)
        desk.service.look()
        event = await desk.becomes(made.event_id, lambda e: e.state == "needs_auth")
        assert desk.handle.state[0] == "needs_auth"
        fake.script.faults.clear()
        fake.share(folder, ACCOUNT)
        desk.service.try_again()
        await desk.becomes(made.event_id, lambda e: e.photos == 1 and e.state == "idle")
        async with desk.here.catalogue.reader() as db:
            assert (await events_now(db, desk.service)).blocked == []


async def test_an_event_that_was_never_followed_is_listed_when_asked_for(desk: Desk, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    fake.add_file("a.jpg", folder, picture(1))
    fake.fail("files.list", error(503, "backendError"), error(503, "backendError"))
    async with desk.running():
        made = await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id=folder))
        with anyio.fail_after(15):
            job = await desk.jobs.outcome((await desk.events.sync(made.event_id)).job_id)
        event = await desk.events.get(made.event_id)
        assert (job.state, event.photos, event.state, event.next_sync_at) == ("done", 1, "disabled", None)
        fake.fail("files.get", error(403, "insufficientFilePermissions"))
        job = await desk.jobs.outcome((await desk.events.sync(made.event_id)).job_id)
        assert job.state == "failed" and "insufficientFilePermissions" in (job.error or "")


async def test_nothing_waits_for_an_answer_about_a_new_event(
    desk: Desk, fake: FakeDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_api, "_ASK_S", 0.5)
    folder = fake.add_folder("Wedding", fake.root)
    fake.add_file("a.jpg", folder, picture(1))
    await desk.here.event("other", fake.add_folder("Other", fake.root), account=None)
    fake.fail("files.get", slow(30), slow(30))
    async with desk.running():
        with anyio.fail_after(15):  # not the 30 s that the answers take
            while not fake.calls["files.get"]:
                await anyio.sleep(0.01)
            made = await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id=folder))
        assert made.account is None and desk.handle.state[0] == "running"
        account = "UPDATE events SET account = ?, listing_due = 1 WHERE event_id = ?"
        await desk.here.catalogue.write(lambda db: db.execute(account, (ACCOUNT, made.event_id)))
        desk.service.look(ACCOUNT)
        await desk.becomes(made.event_id, lambda e: e.photos == 1)
        assert (await desk.events.get("other")).account is None


async def test_a_listing_that_a_guard_holds_back_is_refused(desk: Desk, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    for number in range(3):
        fake.add_file(f"{number}.jpg", folder, picture(number))
    desk.here.config = replace(desk.here.config, guard=GuardConfig(max_delete=1))
    async with desk.running():
        made = await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id=folder))
        await desk.events.enable(made.event_id, None)
        await desk.becomes(made.event_id, lambda e: e.photos == 3 and e.state == "idle")
        await desk.events.disable(made.event_id)
        fake.fail("files.list", says(200, b'{"files": []}', "application/json"))
        job = await desk.jobs.outcome((await desk.events.sync(made.event_id)).job_id)
        assert (job.state, (await desk.events.get(made.event_id)).photos) == ("refused", 3)


@pytest.mark.parametrize(
    ("operation", "code", "reason", "state"),
    [
        ("changes.list", 403, "dailyLimitExceeded", "quota"),
        ("media", 403, "dailyLimitExceeded", "quota"),
        ("changes.list", 401, "authError", "needs_auth"),
        ("media", 403, "accessNotConfigured", "needs_auth"),
        ("changes.list", 503, "backendError", "backing_off"),
    ],
)
async def test_an_account_that_cannot_go_on_is_left_alone_and_then_goes_on(
    desk: Desk, fake: FakeDrive, operation: str, code: int, reason: str, state: str
) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    async with desk.running():
        made = await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id=folder))
        await desk.events.enable(made.event_id, None)
        await desk.becomes(made.event_id, lambda e: e.state == "idle")
        fake.add_file("a.jpg", folder, picture(1))
        fake.fail(operation, *[error(code, reason)] * (2 if code == 503 else 1))
        desk.service.look(ACCOUNT)
        event = await desk.becomes(made.event_id, lambda e: e.state == state)
        assert event.photos == 0 and event.last_error
        calls = fake.calls.total()
        await anyio.sleep(0.3)
        assert fake.calls.total() == calls
        assert [kind for kind, _, _ in desk.told].count("account") == 1
        if state == "backing_off":
            desk.service.signed_in(ACCOUNT)
        else:
            desk.service.try_again()
        event = await desk.becomes(made.event_id, lambda e: e.photos == 1 and e.state == "idle")
        assert event.failed == []


async def test_faces_that_were_not_looked_for_are_looked_for_later(
    desk: Desk, fake: FakeDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_faces(path: str, root: str | None = None, **settings: Any) -> FacesFound:
        return FacesFound("", 8, 8, (Face((1, 2, 3, 4), encoding(0)),))

    async def find_faces_in(data: bytes, **settings: Any) -> FacesFound:
        faces = {b"none": 0, b"one": 1, b"two": 2}[data]
        return FacesFound("", 8, 8, tuple(Face((0, 1, 1, 0), encoding(n)) for n in range(faces)))

    monkeypatch.setattr(desk.here.site.pool, "find_faces", find_faces)
    monkeypatch.setattr(desk.here.site.pool, "find_faces_in", find_faces_in)
    folder = fake.add_folder("Wedding", fake.root)
    photo = fake.add_file("a.jpg", folder, picture(1))
    async with desk.running():
        made = await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id=folder))
        await desk.events.enable(made.event_id, None)
        await desk.becomes(made.event_id, lambda e: e.photos == 1 and e.faces == 0)
        desk.here.config = replace(desk.here.config, faces=FacesConfig())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.faces.run, Handle())
            await desk.becomes(made.event_id, lambda e: e.faces == 1 and e.state == "idle")
            # A photo that comes while faces are off for less than the service takes to see it.
            on, desk.here.config = (
                desk.here.config,
                replace(desk.here.config, faces=FacesConfig(enabled=False)),
            )
            second = fake.add_file("b.jpg", folder, picture(2))
            desk.service.look()
            await desk.becomes(made.event_id, lambda e: e.photos == 2 and e.state == "idle")
            desk.here.config = on
            await desk.becomes(made.event_id, lambda e: e.faces == 2 and e.state == "idle")
            # Nor is one forgotten whose event is not followed: a person asks for it.
            await desk.events.disable(made.event_id)
            unindex = "UPDATE synced_photos SET faces_indexed = 0 WHERE photo_id = ?"
            await desk.here.catalogue.write(lambda db: db.execute(unindex, (second,)))
            assert (await desk.events.get(made.event_id)).indexed == 1
            await desk.jobs.outcome((await desk.events.sync(made.event_id)).job_id)
            assert (await desk.events.get(made.event_id)).indexed == 2
            fake.trash(second)
            await desk.jobs.outcome((await desk.events.sync(made.event_id)).job_id)
            tasks.cancel_scope.cancel()
        for start in (1, 2):  # the first guest does not wait for the models
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(desk.faces.run, Handle())
                with anyio.fail_after(5):
                    while desk.warmed < start:
                        await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        found = await desk.events.search_faces(made.event_id, b"two", None, 50)
        assert found.faces_in_query == 2
        assert [(i.photo_id, i.photo_name, i.distance, i.box) for i in found.items] == [
            (photo, "a.jpg", 0.0, (1, 2, 3, 4))
        ]
        with pytest.raises(Invalid, match="no face"):
            await desk.events.search_faces(made.event_id, b"none", None, 50)
        with pytest.raises(Invalid, match="2 faces"):
            await desk.events.forget_faces(made.event_id, b"two", None, None)
        assert (await desk.events.forget_faces(made.event_id, b"one", None, None)).forgotten == 1
        assert (await desk.events.search_faces(made.event_id, b"one", None, 50)).items == []


async def test_objects_of_events_are_verified_and_fetched_again(desk: Desk, fake: FakeDrive) -> None:
    folder = fake.add_folder("Wedding", fake.root)
    photos = [fake.add_file(f"{n}.jpg", folder, picture(n)) for n in range(5)]
    site, base = desk.here.site, desk.here.config.storage.base_path / "events" / "wedding"

    async def check(**options: Any) -> Any:
        return await verify(site, progress=lambda done, total: None, wake=desk.service.wake, **options)

    async with desk.running():
        request = schema.EventRequest(name="Wedding", drive_folder_id=folder, publish=True)
        await desk.events.create(request)
        await desk.events.enable("wedding", None)
        await desk.becomes("wedding", lambda e: e.photos == 5 and e.state == "idle")
        found = await check(deep=True)
        assert (found.checked, found.ok, found.missing, found.wrong, found.orphaned) == (5, 5, [], [], [])
        await desk.events.disable("wedding")  # what it has published stays, and is looked after

        lost, changed, rotten = (base / f"{photo}.jpg" for photo in photos[:3])
        lost.unlink()
        changed.write_bytes(b"other")
        stat = rotten.stat()
        rotten.write_bytes(rotten.read_bytes()[:-1] + b"!")  # same length, and its time is put back
        os.utime(rotten, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        (base / "stranger.jpg").write_bytes(b"nobody put me here")
        assert len((await check(deep=True)).wrong) == 2
        found = await check(deep=True, repair=True)
        keys = [f"events/wedding/{photo}.jpg" for photo in photos]
        assert (found.checked, found.ok, found.missing) == (5, 2, [keys[0]])
        assert sorted(wrong.key for wrong in found.wrong) == sorted(keys[1:3])
        assert (found.orphaned, found.repaired) == (["events/wedding/stranger.jpg"], 4)
        found = await check(deep=True)
        assert (found.ok, found.missing, found.wrong, found.orphaned) == (5, [], [], [])
        assert changed.read_bytes() == picture(1)

        lost.unlink()
        fake.fail("media", *[error(404, "notFound")] * 9)
        found = await check(repair=True)
        assert (found.missing, found.repaired) == ([keys[0]], 0)
        assert [photo.photo_name for photo in (await desk.events.get("wedding")).failed] == ["0.jpg"]
        page = await desk.events.photos("wedding", 10, None)
        assert [item.photo_name for item in page.items if item.url is None] == ["0.jpg"]
        lost.parent.rename(base.with_name("away"))
        assert (await check(repair=True, sample=50)).checked <= 3
