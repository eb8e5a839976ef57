"""What people are told by mail: once for each change, in groups, and nothing lost by a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncd.catalogue import event_photos, events, guards, notices
from syncd.catalogue.database import Catalogue
from syncd.catalogue.drive import TreeItem
from syncd.catalogue.event_photos import Membership, PhotoRecord
from syncd.catalogue.notices import Arrivals
from syncd.config import Config, NotifyConfig
from syncd.errors import Refused, SyncdError, Transient
from syncd.flows.notices import Notices, Pace, Trouble, plan_arrivals, service_troubles
from syncd.model import Action
from syncd.supervisor import ServiceInfo
from tests.fakes.smtp import smtp_server

PACE = Pace(look_s=0.02, settle_s=0.05, quiet_s=0.05, longest_s=1000, return_s=0.8)
ON = replace(Config(), notify=NotifyConfig("smtp://127.0.0.1:1", "a@example.org", ("b@example.org",)))
SIGN_IN = "ann: the sign-in has expired"


def info(name: str, state: str = "running", why: str | None = None, restarts: int = 0) -> ServiceInfo:
    return ServiceInfo(name, state, datetime.now(UTC), restarts, why)  # type: ignore[arg-type]


class Desk:
    """Notices over a real catalogue; mails go into a list, or meet `error`."""

    def __init__(self, catalogue: Catalogue, config: Config = ON, pace: Pace = PACE) -> None:
        self.catalogue = catalogue
        self.config = config
        self.pace = pace
        self.services = [info("drive"), info("site")]
        self.details: dict[str, Trouble] = {}
        self.mails: list[tuple[str, str]] = []
        self.error: SyncdError | None = None
        self.tries = 0
        self.notices = self.fresh()

    def fresh(self) -> Notices:
        return Notices(
            catalogue=self.catalogue,
            config=lambda: self.config,
            services=lambda: self.services,
            sources=[lambda: self.details],
            send=self._send,
            pace=self.pace,
        )

    async def _send(self, settings: NotifyConfig, subject: str, body: str) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.mails.append((subject, body))

    def name(self) -> str:
        return "mail"

    def ready(self) -> None:
        pass

    async def run_for(
        self, seconds: float = 0.25, *, until: int | None = None, without: str = ""
    ) -> list[str]:
        """Runs as after a restart; new subjects. Ends once so many mails were sent, or once `without` is no
        trouble any more."""
        before = len(self.mails)
        self.notices = self.fresh()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.notices.run, self)
            with anyio.move_on_after(seconds if until is None and not without else 10):
                while until is None or len(self.mails) - before < until:
                    await anyio.sleep(0.01)
                    if without and without not in await self.troubles():
                        break
            tasks.cancel_scope.cancel()
        return [subject.removeprefix("[syncd] ") for subject, _ in self.mails[before:]]

    async def troubles(self) -> dict[str, Any]:
        async with self.catalogue.reader() as db:
            return dict(await notices.troubles(db))

    async def event(self, name: str) -> None:
        await self.catalogue.write(
            lambda db: events.create(
                db, name, name, f"folder-{name}", publish=False, account="a", drive_id=""
            )
        )

    async def photo(self, event_id: str, photo_id: str) -> None:
        """The event gets one photo, as from a job."""
        item = TreeItem(photo_id, "image", f"folder-{event_id}", photo_id, "md5", "md5")

        async def write(db: Any) -> None:
            member = Membership(photo_id, item, frozenset({event_id}))
            await event_photos.set_members(db, "a", [member], {event_id})
            photo = PhotoRecord(photo_id, "md5", "md5", "sha", 1, 1, 1, None, ())
            assert await event_photos.record(db, event_id, photo)

        await self.catalogue.write(write)


@pytest.fixture
async def catalogue(tmp_path: Path) -> AsyncIterator[Catalogue]:
    async with Catalogue.open(tmp_path / "catalogue.db") as opened:
        yield opened


@pytest.fixture
def desk(catalogue: Catalogue) -> Desk:
    return Desk(catalogue)


def test_what_needs_a_person() -> None:
    services = [
        info("a"), info("b", "blocked", "root gone"), info("c", "failed"), info("d", "backing_off", "x"),
        info("e", "paused"), info("f", "starting", "boom", 7),
    ]  # fmt: skip
    assert service_troubles(services, {"f"}) == {
        "b": Trouble("blocked", "root gone"),
        "c": Trouble("failed", "failed"),
        "f": Trouble("failed", "it fails again and again: boom"),
    }


@pytest.mark.parametrize(
    ("quiet_s", "waited_s", "busy", "since_mail_s", "due"),
    [
        (4, 100, False, None, False),
        (5, 100, False, None, True),
        (-10, 100, False, None, True),  # the clock was set back
        (500, 599, True, None, False),
        (1, 600, True, None, True),
        (60, 400, False, 599, False),
        (60, 400, False, 600, True),
    ],
)
def test_a_burst_is_one_mail(
    quiet_s: float, waited_s: float, busy: bool, since_mail_s: float | None, due: bool
) -> None:
    one = Arrivals("e", "E", 3, quiet_s, waited_s, busy)
    ago_s = {} if since_mail_s is None else {"e": since_mail_s}
    assert plan_arrivals([one], ago_s, Pace()) == ([one] if due else [])


async def test_trouble_is_told_once_for_each_change(desk: Desk) -> None:
    assert await desk.run_for() == []
    desk.services = [info("drive", "needs_auth", SIGN_IN), info("site", "blocked", "12 of 40 files are gone")]
    desk.details = {"drive ann": Trouble("needs_auth", SIGN_IN)}
    assert await desk.run_for(until=1) == ["2 things need attention: drive ann, site"]
    assert SIGN_IN in desk.mails[0][1] and "12 of 40" in desk.mails[0][1]
    assert await desk.run_for() == []  # a restart meets the same again
    desk.services = [info("drive", "starting"), info("site", "starting")]
    desk.details = {}
    assert await desk.run_for(0.1) == []  # and has not met it yet
    desk.services = [info("drive", "needs_auth", SIGN_IN), info("site", "blocked", "13 of 40 files are gone")]
    assert await desk.run_for(until=1) == [
        f"drive needs attention: {SIGN_IN}"
    ]  # nobody else has that state now
    desk.services = [info("drive"), info("site")]
    assert await desk.run_for(without="drive") == []
    desk.services = [info("drive", "needs_auth", SIGN_IN), info("site")]
    assert await desk.run_for(until=1) == [f"drive needs attention: {SIGN_IN}"]


async def test_guards_lost_folders_and_what_other_parts_say(desk: Desk, catalogue: Catalogue) -> None:
    await desk.event("cup")
    await catalogue.write(lambda db: events.enable(db, "cup", None))
    await catalogue.write(lambda db: events.note_lost(db, "cup", "its folder\x1b is gone"))
    actions = [Action("remove", "s", "", "", "k")]
    guard = await catalogue.write(
        lambda db: guards.raise_guard(db, "removals", "9 files are gone", actions, 40)
    )
    for drift in (12, 13):
        await desk.notices.needs_attention("names", f"{drift} albums have drifted")
    assert await desk.run_for(until=2) == [
        "names needs attention: 13 albums have drifted",
        f"2 things need attention: event cup, guard {guard.id}",
    ]
    told = "\n".join(body for _, body in desk.mails)
    assert "13 albums have drifted" in told and "cup: its folder\\x1b is gone" in told and "9 files" in told
    await desk.notices.needs_attention("names", "14 albums have drifted")
    assert await desk.run_for() == []
    await desk.notices.settled("names")
    await desk.notices.needs_attention("names", "15 albums have drifted")
    await catalogue.write(lambda db: guards.gone(db, guard_id=guard.id))
    assert await desk.run_for(until=1) == ["names needs attention: 15 albums have drifted"]


async def test_what_passes_by_itself_and_what_ended_the_daemon(desk: Desk) -> None:
    desk.pace = PACE._replace(settle_s=1)
    desk.services = [info("drive", "blocked", "a moment")]
    await desk.run_for(0.02)
    desk.services = [info("drive")]
    assert await desk.run_for(without="drive") == []
    desk.error = Transient("down")
    desk.services = [info("drive", "failed", "the disk is full")]
    await desk.run_for(0.1)  # the last thing that the daemon does
    desk.error, desk.services = None, [info("drive")]
    assert await desk.run_for(until=1) == ["drive needs attention: the disk is full"]
    for restarts in range(5):
        desk.services = [info("drive", "backing_off", "boom", restarts)]
        assert service_troubles(desk.services, desk.notices._crashing(desk.services)) == {}
    desk.services = [info("drive", "starting", "boom", 5)]
    assert service_troubles(desk.services, desk.notices._crashing(desk.services))["drive"].state == "failed"


async def test_new_photos_are_told_of_in_groups_whatever_happens(desk: Desk, catalogue: Catalogue) -> None:
    await desk.event("cup")
    await desk.event("gala\x1b")
    await desk.photo("cup", "before-mail-was-wanted")
    assert await desk.run_for() == []
    desk.error = Transient("down")
    for n in range(3):
        await desk.photo("cup", f"p{n}")
    await desk.photo("gala\x1b", "p0")
    assert await desk.run_for() == []  # the server is down, and the daemon is killed
    assert desk.tries == 1  # it was left alone for a while
    assert desk.notices.trouble is not None and desk.notices.trouble.reason == "down"
    await catalogue.write(lambda db: event_photos.take_out(db, [("cup", "p2")]))
    desk.error = None
    assert await desk.run_for(until=1) == ["3 new photos in 2 events"]
    assert "2 new photos in cup\n  3 photos and 0 faces now" in desk.mails[0][1]
    assert "a new photo in gala\\x1b" in desk.mails[0][1]
    assert await desk.run_for() == []
    desk.config = Config()
    await desk.run_for(0.1)
    await desk.photo("cup", "p4")
    desk.config = ON
    assert await desk.run_for() == []  # it came while nobody wanted mail
    await desk.photo("cup", "p2")  # it is back
    assert await desk.run_for(until=1) == ["a new photo in cup"]


async def test_mail_waits_for_its_server_and_goes_on(catalogue: Catalogue, tmp_path: Path) -> None:
    with smtp_server() as post:
        port = post.port
    config = replace(ON, notify=replace(ON.notify, smtp_url=f"smtp://127.0.0.1:{port}"))
    mail = Notices(catalogue=catalogue, config=lambda: config, services=list, pace=PACE)

    class Handle:
        name = "mail"

        def ready(self) -> None: ...
        def set_state(self, state: Any, reason: Any = None) -> None: ...

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mail.run, Handle())
        await mail.needs_attention("names", "drift")
        with anyio.fail_after(10):
            while mail.trouble is None:
                await anyio.sleep(0.01)
        assert "cannot be reached" in mail.trouble.reason
        with smtp_server(port=port, post=post):
            mail.wake()
            with anyio.fail_after(10):
                while not post.mails:
                    await anyio.sleep(0.01)
        assert post.subjects == ["[syncd] names needs attention: drift"]
        tasks.cancel_scope.cancel()


async def test_a_refused_mail_is_no_end(desk: Desk) -> None:
    desk.error = Refused("550 no")
    await desk.notices.needs_attention("names", "drift")
    assert await desk.run_for() == []
    desk.error = None
    assert await desk.run_for(until=1) == ["names needs attention: drift"]
