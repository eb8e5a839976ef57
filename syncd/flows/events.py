"""Events: folders of Google Drive that are followed. Read from top to bottom: feed, listings, sweep.

All that is asked of one account is asked one after the other and recorded before the next is asked, so what
is recorded is never older than what was. A feed serves every event in it; a listing makes sure once a day,
and whenever the place in the feed was lost. What is to be downloaded is a job (flows/event_photos.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

import anyio

from syncd.catalogue import drive, events
from syncd.catalogue.database import Catalogue
from syncd.catalogue.drive import TreeItem
from syncd.catalogue.events import EventRow
from syncd.config import Config
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.flows.events_plan import Seen, Tree
from syncd.flows.events_route import LOST, Routed, route, route_changes, sweep, tree_item
from syncd.pollers.drive import Feed
from syncd.remotes.drive_errors import InvalidPageToken
from syncd.remotes.drive_items import Change, ChangePage, Channel, Downloaded, DriveItem
from syncd.remotes.http import NotFound
from syncd.text import now_text

Emit = Callable[[str, str, str, dict[str, Any]], None]
"""Tells people: kind, subject, message, data."""

LISTING_AGE_S = 86_400.0
"""A folder is listed this often though nothing seems amiss."""
_AT_ONCE = 500


class DriveClient(Protocol):
    """What events need of a Drive client; errors as in remotes/google_drive.py."""

    async def start_page_token(self, drive_id: str | None = None) -> str: ...
    async def changes(self, page_token: str, drive_id: str | None = None) -> ChangePage: ...
    def list_folder(self, folder_id: str, drive_id: str | None = None) -> AsyncIterator[DriveItem]: ...
    async def get_file(self, file_id: str, resource_key: str | None = None) -> DriveItem: ...
    async def download(
        self, file: DriveItem, destination: Any, *, limit_bytes: int | None = None
    ) -> Downloaded: ...
    async def watch(
        self,
        page_token: str,
        *,
        address: str,
        channel_id: str,
        channel_token: str,
        expires_at_ms: int | None = None,
        drive_id: str | None = None,
    ) -> Channel: ...
    async def stop(self, channel: Channel) -> None: ...


class Accounts(Protocol):
    """The accounts that somebody signed in to; remotes/google_accounts.py has them."""

    async def names(self) -> list[str]: ...
    async def drive(self, account: str) -> DriveClient: ...
    def unusable(self) -> AuthRejected | None: ...
    def accept(self, account: str) -> None: ...


class Follower:
    """Follows the events of one account. `on_work` is called after photos were given jobs, or objects have
    to be taken out of storage."""

    def __init__(
        self,
        account: str,
        *,
        accounts: Accounts,
        catalogue: Catalogue,
        config: Callable[[], Config],
        emit: Emit,
        on_work: Callable[[], None],
    ) -> None:
        self.account = account
        self._accounts = accounts
        self._catalogue = catalogue
        self._config = config
        self._emit = emit
        self._on_work = on_work
        self._turn = anyio.Lock()
        self.listing: set[str] = set()
        """Events whose folders are being listed."""
        self.last_success_at: str | None = None
        """When the account's feeds and folders were last read to their ends."""

    async def poll(self) -> None:
        """Reads the feeds of the account's events to their ends and lists what has to be listed. Raises what
        the client raises; what was recorded until then stays, and the rest is due again."""
        async with self._turn:
            began = now_text()
            client = await self._accounts.drive(self.account)
            async with self._catalogue.reader() as db:
                active = await events.active(db, self.account)
            feeds = sorted({event.drive_id for event in active if event.enabled})
            for drive_id in feeds:
                await self._read_feed(client, drive_id)
                await self._catalogue.write(
                    lambda db, drive_id=drive_id: events.ask_listings(  # type: ignore[misc]
                        db, self.account, drive_id, older_than_s=LISTING_AGE_S
                    )
                )
            await self._list_due(client, began)
            await self._settle_pending(client)
            for drive_id in feeds:
                await self._catalogue.write(
                    lambda db, drive_id=drive_id: events.note_read(db, self.account, drive_id, began)  # type: ignore[misc]
                )
            await self._catalogue.write(events.note_complete)
            self.last_success_at = now_text()

    # --- the feed -----------------------------------------------------------------------------------

    async def _read_feed(self, client: DriveClient, drive_id: str) -> None:
        account = self.account

        async def record(changes: Sequence[Change], token: str, at_end: bool) -> None:
            async def write(db: Any) -> Routed:
                routed = await route_changes(db, account, drive_id, changes)
                await drive.set_page_token(db, account, drive_id, token, at_end=at_end)
                return routed

            self._tell(await self._catalogue.write(write))

        feed: Feed[Change] = Feed(client, drive_id, record)
        async with self._catalogue.reader() as db:
            token = await drive.page_token(db, account, drive_id)
        if token is not None:
            try:
                await feed.drain(token)
                return
            except InvalidPageToken:
                self._emit(
                    "token",
                    account,
                    "the place in Drive's log of changes was lost; folders are listed anew",
                    {},
                )
        fresh = await feed.start()

        async def begin(db: Any) -> None:
            await drive.set_page_token(db, account, drive_id, fresh, at_end=True)
            await events.ask_listings(db, account, drive_id)

        await self._catalogue.write(begin)

    # --- listings -----------------------------------------------------------------------------------

    async def _list_due(self, client: DriveClient, began: str) -> None:
        """Lists the folders that are due, all of them before anything is concluded from what is absent: it
        may have moved from the one to the other."""
        async with self._catalogue.reader() as db:
            due = [event for event in await events.active(db, self.account) if event.listing_due]
        found: list[tuple[EventRow, set[str], set[str]]] = []
        failure: Transient | None = None
        self.listing = {event.event_id for event in due}
        try:
            for event in due:
                try:
                    listed = await self._list_event(client, event)
                except Transient as error:
                    failure = error
                    break
                except Refused as error:
                    await self._refused(event, error)
                    continue
                if listed is not None:
                    found.append((event, *listed))
            for event, folders, seen in found:
                await self._sweep(event, folders, seen, began)
        finally:
            self.listing = set()
        if failure is not None:
            raise failure

    async def _list_event(self, client: DriveClient, event: EventRow) -> tuple[set[str], set[str]] | None:
        """Records what the event's folder holds: ids of the folders listed, and of all that was seen in them.
        None where the folder cannot be seen."""
        root_id = event.drive_folder_id
        try:
            root = tree_item(await client.get_file(root_id))
        except NotFound:
            root = None
        if root is None or root.kind != "folder":
            await self._catalogue.write(lambda db: events.note_lost(db, event.event_id, LOST))
            self._emit("blocked", event.event_id, f"{event.name} waits: {LOST}", {})
            return None
        if event.blocked:
            await self._catalogue.write(lambda db: events.note_found(db, event.event_id))
        await self._route([Seen(root_id, root)], root_id)
        listed: set[str] = set()
        seen: set[str] = set()
        todo: list[str] = [root_id]
        while todo:
            folder_id = todo.pop(0)
            if folder_id in listed:
                continue
            children = await self._list_folder(client, folder_id)
            listed.add(folder_id)
            seen.update(child.item_id for child in children)
            for target in [child.target_id for child in children if child.kind == "shortcut"]:
                if target and target not in seen:
                    await self._look(client, target)
            todo += await self._below(event.event_id, folder_id, children)
        return listed, seen

    async def _below(self, event_id: str, folder_id: str, children: Sequence[TreeItem]) -> list[str]:
        """What else belongs to the event: subfolders, and folders that shortcuts name."""
        async with self._catalogue.reader() as db:
            items = {item.item_id: item for item in await drive.skeleton(db, self.account)}
            tree = Tree(items, await drive.roots(db, self.account))
        if event_id not in tree.inside(folder_id):
            return []
        names = [child.target_id or child.item_id for child in children if child.kind != "image"]
        return [name for name in names if (item := items.get(name)) is not None and item.kind == "folder"]

    async def _settle_pending(self, client: DriveClient) -> None:
        """Lists folders that came into a tree, and asks for what shortcuts name."""
        while True:
            async with self._catalogue.reader() as db:
                pending = await drive.pending(db, self.account)
            if not pending:
                return
            for item in pending:
                if item.pending == "look":
                    await self._look(client, item.item_id)
                else:
                    await self._list_folder(client, item.item_id)

    async def _list_folder(self, client: DriveClient, folder_id: str) -> list[TreeItem]:
        """Records what is directly in a folder, and returns it."""
        async with self._catalogue.reader() as db:
            known = await drive.items(db, self.account, [folder_id])
        drive_id = known[0].drive_id if known else ""
        children = []
        try:
            async for child in client.list_folder(folder_id, drive_id or None):
                item = tree_item(child)
                if item is not None:
                    children.append(item)
        except NotFound:
            children = []  # the feed says what became of it, and what was in it
        # Not the whole of a large folder on the event loop at once; with the last part it is listed.
        for start in range(0, len(children) or 1, _AT_ONCE):
            part = children[start : start + _AT_ONCE]
            is_last = start + _AT_ONCE >= len(children)
            await self._route([Seen(item.item_id, item) for item in part], folder_id if is_last else "")
        return children

    async def _look(self, client: DriveClient, item_id: str) -> None:
        """Asks what a shortcut names. What is no photo and no folder is remembered as nothing."""
        item: TreeItem | None = None
        try:
            item = tree_item(await client.get_file(item_id))
        except Refused:
            item = None  # it dangles: deleted, or not shared with this account
        if item is None or item.kind == "shortcut":
            item = TreeItem(item_id, "unknown")
        await self._route([Seen(item_id, item)], item_id)

    async def _sweep(self, event: EventRow, folders: set[str], seen: set[str], began: str) -> None:
        guard = self._config().guard

        async def write(db: Any) -> Any:
            swept = await sweep(
                db,
                self.account,
                event.event_id,
                folders,
                seen,
                max_delete=guard.max_delete,
                max_delete_percent=guard.max_delete_percent,
            )
            as_of = None if swept.held else began
            await events.note_listed(db, event.event_id, as_of=as_of, error=swept.reason)
            return swept

        swept = await self._catalogue.write(write)
        if swept.held:
            self._emit("guard", swept.guard_id or "", swept.reason or "", {})
        elif swept.left:
            self._emit("left", event.event_id, f"{swept.left:,} photos left {event.name}", {})
        self._on_work()

    async def _refused(self, event: EventRow, error: SyncdError) -> None:
        reason = str(error)
        await self._catalogue.write(lambda db: events.note_error(db, event.event_id, reason))
        if reason != event.last_error:
            self._emit("failed", event.event_id, f"{event.name} could not be listed: {reason}", {})

    # --- recording ----------------------------------------------------------------------------------

    async def _route(self, seen: Sequence[Seen], asked: str) -> None:
        self._tell(await self._catalogue.write(lambda db: route(db, self.account, seen, asked)))

    def _tell(self, routed: Routed) -> None:
        for event_id in routed.lost:
            self._emit("blocked", event_id, f"{event_id} waits: {LOST}", {})
        for event_id in routed.found:
            self._emit("found", event_id, f"the folder of {event_id} is there again", {})
        counts: dict[str, int] = {}
        for event_id, _ in routed.left:
            counts[event_id] = counts.get(event_id, 0) + 1
        for event_id, count in counts.items():
            self._emit("left", event_id, f"{count:,} photos left {event_id}", {"count": count})
        if routed.queued or routed.left:
            self._on_work()


async def find_account(
    accounts: Accounts, folder_id: str
) -> tuple[str | None, DriveItem | None, SyncdError | None]:
    """The first account that sees the folder, and the folder; else the last refusal or accident."""
    trouble: SyncdError | None = None
    for name in await accounts.names():
        try:
            return name, await (await accounts.drive(name)).get_file(folder_id), None
        except SyncdError as error:
            # An account that could not be asked says less than one that does not see the folder.
            trouble = error if trouble is None or not isinstance(error, NotFound) else trouble
    return None, None, trouble
