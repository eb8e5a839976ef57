"""Google's notifications shorten the wait, and only Google's."""

from __future__ import annotations

import time
from dataclasses import replace

import aiohttp
import anyio

from syncd.catalogue.drive_channels import ChannelRow
from syncd.config import DriveConfig
from syncd.control import schema
from syncd.flows.events_push import LIFE_S, plan_channels
from tests.fakes.faults import error
from tests.fakes.google_drive import ACCOUNT, FakeDrive
from tests.flows_events.place import Place, picture
from tests.flows_events.test_service import Desk

HOOK = "https://photos.example.org/drive"


def test_each_feed_has_one_channel_that_is_renewed_in_time() -> None:
    now_ms = 1_000_000_000.0
    life_ms = LIFE_S * 1000

    def row(name: str, left: float, address: str = HOOK, drive: str = "", opened: bool = True) -> ChannelRow:
        return ChannelRow(
            name, "a", drive, address, "", "r" if opened else None, int(now_ms + left * life_ms)
        )

    mine, shared = ("a", ""), ("a", "shared")
    fresh, old, over = row("fresh", 0.9), row("old", 0.1), row("over", -0.1)
    asked, moved, other = (
        row("asked", 0.9, opened=False),
        row("moved", 0.9, "https://x.org"),
        row("o", 0.9, drive="d"),
    )
    assert plan_channels([mine, shared], [fresh], HOOK, now_ms) == ([shared], [])
    assert plan_channels([mine], [old], HOOK, now_ms) == ([mine], [])
    assert plan_channels([mine], [old, fresh], HOOK, now_ms) == ([], [old])
    assert plan_channels([mine], [over, asked, moved, other], HOOK, now_ms) == (
        [mine],
        [over, asked, moved, other],
    )
    assert plan_channels([], [fresh], HOOK, now_ms) == ([], [fresh])
    assert plan_channels([mine], [fresh], "", now_ms) == ([], [fresh])


async def test_a_notification_brings_the_photo_at_once(here: Place, fake: FakeDrive) -> None:
    desk = Desk(here)
    here.config = replace(here.config, drive=DriveConfig(push_url=HOOK, push_listen="127.0.0.1:0"))
    push = desk.service.push
    push._look_s = push._gather_s = 0.05
    folder = fake.add_folder("Wedding", fake.root)

    async def until(what: object) -> None:
        with anyio.fail_after(10):
            while not what():  # type: ignore[operator]
                await anyio.sleep(0.01)

    async def post(headers: dict[str, str], method: str = "POST") -> int:
        async with session.request(method, f"http://127.0.0.1:{push.port}/drive", headers=headers) as answer:
            return answer.status

    async with aiohttp.ClientSession() as session:
        async with desk.running():
            await desk.events.create(schema.EventRequest(name="Wedding", drive_folder_id=folder))
            await desk.events.enable("wedding", None)
            await until(lambda: fake.channels and push.port)
            (channel,) = fake.channels.values()
            assert channel.address == HOOK
            assert channel.expiration_ms / 1000 > time.time() + LIFE_S - 60
            await desk.becomes("wedding", lambda e: e.state == "idle")
            hello = channel.pushes[0]
            calls = fake.calls["changes.list"]
            assert await post(hello) == 204
            fake.add_file("a.jpg", folder, picture(1))
            told = channel.pushes[-1]
            for wrong in (
                {**told, "X-Goog-Channel-Token": "guess"},
                {**told, "X-Goog-Channel-ID": "other"},
                {**told, "X-Goog-Channel-Token": "\xff"},
                {},
            ):
                assert await post(wrong) == 404
            assert await post(told, "GET") == 404
            await anyio.sleep(0.4)
            assert fake.calls["changes.list"] == calls
            assert await post(told) == 204
            await desk.becomes("wedding", lambda e: e.photos == 1)
            assert fake.calls["changes.watch"] == 1
            stored = await here.rows("SELECT * FROM drive_channels")
            assert len(stored) == 1 and channel.token not in str(stored)

            await here.catalogue.write(  # as if most of its life were over
                lambda db: db.execute(
                    "UPDATE drive_channels SET expires_at_ms = ?", (int(time.time() * 1000) + 10**6,)
                )
            )
            await until(lambda: fake.channels and channel.id not in fake.channels)
            assert len(fake.channels) == 1
            await desk.events.disable("wedding")
            await until(lambda: not fake.channels)

        fake.fail("changes.watch", error(401, "push.webhookUrlUnauthorized"))
        async with desk.running():  # Google does not want to: polling goes on
            await desk.events.enable("wedding", None)
            await until(lambda: fake.calls["changes.watch"] == 3)
            fake.add_file("b.jpg", folder, picture(2))
            desk.service.look(ACCOUNT)
            await desk.becomes("wedding", lambda e: e.photos == 2 and e.state == "idle")
    assert await here.rows("SELECT * FROM drive_channels") == []
