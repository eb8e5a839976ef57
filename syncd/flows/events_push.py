"""Google says when a feed has something new, where it can reach this machine: a hint that shortens the wait.

Polling goes on all the same, since notifications get lost. Facts:
https://developers.google.com/workspace/drive/api/guides/push
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import anyio
import anyio.to_thread

from syncd.catalogue import drive_channels as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.drive_channels import ChannelRow
from syncd.config import Config
from syncd.errors import SyncdError
from syncd.flows.events import Accounts
from syncd.log import get_logger
from syncd.remotes.drive_items import Channel

if TYPE_CHECKING:
    from aiohttp import web

LIFE_S = 7 * 86_400.0
"""The longest that Google keeps a channel of changes open."""
_EARLY = 0.2
"""A channel is renewed when this share of its life is left."""
_LOOK_S = 30.0
_AGAIN_S = 600.0
_LONGEST_NOTE_BYTES = 64 << 10
_GATHER_S = 2.0
"""A burst of notifications is one hint."""

Feed = tuple[str, str]
_log = get_logger("push")


class ChannelPlan(NamedTuple):
    """Feeds that need a channel, and channels that are not needed any more."""

    wanted: list[Feed]
    over: list[ChannelRow]


def plan_channels(
    feeds: Collection[Feed], rows: Collection[ChannelRow], address: str, now_ms: float
) -> ChannelPlan:
    """Pure. One open channel for each feed, at `address` (none where that is empty), renewed before its end:
    the old one goes once the new one is open."""
    good: dict[Feed, ChannelRow] = {}
    for row in sorted(rows, key=lambda row: row.expires_at_ms or 0):
        is_open = row.resource_id is not None and (row.expires_at_ms or 0) > now_ms
        if is_open and row.address == address and (row.account, row.drive_id) in feeds:
            good[row.account, row.drive_id] = row
    fresh_ms = now_ms + LIFE_S * _EARLY * 1000
    wanted = [feed for feed in feeds if feed not in good or (good[feed].expires_at_ms or 0) < fresh_ms]
    return ChannelPlan(wanted if address else [], [row for row in rows if row not in good.values()])


class Push:
    """Keeps channels open and hears what comes on them. `hint(account)` is called when there may be news."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        catalogue: Catalogue,
        config: Callable[[], Config],
        hint: Callable[[str], None],
        look_s: float = _LOOK_S,
        gather_s: float = _GATHER_S,
    ) -> None:
        self._accounts = accounts
        self._catalogue = catalogue
        self._config = config
        self._hint = hint
        self._look_s = look_s
        self._gather_s = gather_s
        self._hinted: set[str] = set()
        self._news = anyio.Event()
        self._not_before_s: dict[Feed, float] = {}
        self._trouble: str | None = None
        self.port = 0
        """Where it listens."""

    async def run(self) -> None:
        """Until cancelled. Without `push_url` it only ends channels that are left."""
        if not self._config().drive.push_url:
            await self._look()
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            tasks.start_soon(self._pass_on)
            while True:
                await self._look()
                await anyio.sleep(self._look_s)

    # --- channels -----------------------------------------------------------------------------------

    async def _look(self) -> None:
        async with self._catalogue.reader() as db:
            feeds = await queries.followed_feeds(db)
            rows = await queries.channels(db)
        address = self._config().drive.push_url
        plan = plan_channels(feeds, rows, address, time.time() * 1000)
        for feed in plan.wanted:
            if anyio.current_time() >= self._not_before_s.get(feed, 0.0):
                await self._open(feed, feeds, address)
        for row in plan.over:
            await self._close(row)

    async def _open(self, feed: Feed, feeds: Mapping[Feed, str], address: str) -> None:
        account, drive_id = feed
        token = secrets.token_urlsafe(32)
        row = ChannelRow(str(uuid4()), account, drive_id, address, _sha256(token), None, None)
        await self._catalogue.write(lambda db: queries.add_channel(db, row))
        try:
            client = await self._accounts.drive(account)
            made = await client.watch(
                feeds[feed],
                address=address,
                channel_id=row.channel_id,
                channel_token=token,
                expires_at_ms=int((time.time() + LIFE_S) * 1000),
                drive_id=drive_id or None,
            )
        except SyncdError as error:
            await self._catalogue.write(lambda db: queries.drop_channel(db, row.channel_id))
            self._not_before_s[feed] = anyio.current_time() + _AGAIN_S
            self._say(f"Google does not notify {account}: {error}")
            return
        # Google opens one for an hour where it does not say for how long.
        expires_at_ms = made.expires_at_ms or int((time.time() + 3600) * 1000)
        await self._catalogue.write(
            lambda db: queries.open_channel(db, made.id, made.resource_id, expires_at_ms)
        )
        self._say(None)

    async def _close(self, row: ChannelRow) -> None:
        """One that Google cannot be asked to end ends by itself; what comes on it is not heard."""
        await self._catalogue.write(lambda db: queries.drop_channel(db, row.channel_id))
        if row.resource_id is None:
            return
        try:
            client = await self._accounts.drive(row.account)
            await client.stop(Channel(row.channel_id, row.resource_id, row.expires_at_ms))
        except SyncdError as error:
            _log.info("a channel was left open", account=row.account, reason=str(error))

    def _say(self, trouble: str | None) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble is None:
            _log.info("Google notifies of changes")
        else:
            _log.warning("no notifications, only polling", reason=trouble)

    # --- notifications ------------------------------------------------------------------------------

    async def _listen(self) -> None:
        await anyio.to_thread.run_sync(_import_web)
        from aiohttp import web

        app = web.Application(client_max_size=_LONGEST_NOTE_BYTES)
        app.router.add_route("*", "/{path:.*}", self._note)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        host, _, port = self._config().drive.push_listen.rpartition(":")
        try:
            await runner.setup()
            while True:
                try:
                    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
                    break
                except OSError as error:
                    self._say(f"cannot listen on {host}:{port}: {error.strerror}")
                    await anyio.sleep(self._look_s)
            self.port = runner.addresses[0][1]
            await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(2.0, shield=True):
                await runner.cleanup()

    async def _note(self, request: web.Request) -> web.Response:
        """Nothing signs a notification: the channel and its token show that it is Google's."""
        from aiohttp import web

        channel_id = request.headers.get("X-Goog-Channel-ID", "")
        if request.method != "POST" or not channel_id:
            return web.Response(status=404)
        async with self._catalogue.reader() as db:
            row = await queries.channel(db, channel_id)
        shown = _sha256(request.headers.get("X-Goog-Channel-Token", ""))
        if row is None or not hmac.compare_digest(shown, row.token_sha256):
            return web.Response(status=404)
        if request.headers.get("X-Goog-Resource-State") != "sync":  # that one only says hello
            self._hinted.add(row.account)
            self._news.set()
        return web.Response(status=204)

    async def _pass_on(self) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            hinted, self._hinted = self._hinted, set()
            for account in hinted:
                self._hint(account)
            await anyio.sleep(self._gather_s)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _import_web() -> None:
    from aiohttp import web  # noqa: F401
