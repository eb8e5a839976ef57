"""Whatever people do to a folder: a client that follows the feed ends with what the folder holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.remotes.drive_errors import InvalidPageToken
from syncd.remotes.drive_items import DriveItem
from syncd.remotes.google_drive import GoogleDrive
from syncd.remotes.http import NotFound
from tests.fakes.faults import drop, error, html, lose, truncate
from tests.fakes.google_drive import ACCOUNT, FOLDER, FakeDrive, fake_drive
from tests.remotes.conftest import Clock, client_of

ACTIONS = ("add", "folder", "replace", "rename", "move", "trash", "restore", "delete", "view", "shortcut")
FAULTS = {
    "rate": error(403, "userRateLimitExceeded"),
    "wait": error(429, "rateLimitExceeded", headers={"Retry-After": "3"}),
    "server": error(500, "backendError"),
    "html": html(502),
    "sign-in page": html(200),
    "drop": drop(),
    "lose": lose(),
    "cut": truncate(0.6),
}


@dataclass
class Follower:
    """The least that follows a folder: what it holds, and where in the feed it is."""

    google: GoogleDrive
    folder: str
    token: str | None = None
    known: dict[str, DriveItem] = field(default_factory=dict)
    listings: int = 0

    async def sync(self) -> None:
        if self.token is None:
            await self._list()
        try:
            await self._follow()
        except InvalidPageToken:
            await self._list()
            await self._follow()

    async def _list(self) -> None:
        self.listings += 1
        self.token = await self.google.start_page_token()  # first, or what happens meanwhile is lost
        self.known = await self._tree(self.folder)

    async def _tree(self, folder: str) -> dict[str, DriveItem]:
        found: dict[str, DriveItem] = {}
        try:
            items = [item async for item in self.google.list_folder(folder)]
        except NotFound:  # gone since it was named; the feed has yet to say so
            return found
        for item in items:
            found[item.id] = item
            if item.is_folder:
                found |= await self._tree(item.id)
        return found

    async def _follow(self) -> None:
        while True:
            assert self.token is not None
            page = await self.google.changes(self.token)
            for change in page.changes:
                await self._apply(change.file_id, change.item)
            self.token = page.next_page_token or page.new_start_page_token
            if page.new_start_page_token is not None:
                return

    async def _apply(self, file_id: str, item: DriveItem | None) -> None:
        old = self.known.get(file_id)
        inside = item is not None and not item.trashed and item.parent_id in {self.folder, *self._folders()}
        if item is not None and inside:
            self.known[file_id] = item
            if item.is_folder and (old is None or old.parent_id != item.parent_id):
                self.known |= await self._tree(file_id)
        elif old is not None:
            self._forget(file_id)

    def _folders(self) -> set[str]:
        return {item.id for item in self.known.values() if item.is_folder}

    def _forget(self, file_id: str) -> None:
        for below in [item.id for item in self.known.values() if item.parent_id == file_id]:
            self._forget(below)
        self.known.pop(file_id, None)


def act(drive: FakeDrive, action: str, pick: int, to: int, folders: list[str]) -> None:
    """One thing that somebody does."""
    fixed = {drive.root, *folders[:2]}
    there = [item.id for item in drive.items.values() if not item.deleted and item.id not in fixed]
    live = [folder for folder in folders if not drive.items[folder].deleted]
    into = live[to % len(live)]
    if action == "add" or not there:
        drive.add_file(f"{pick}.jpg", into, bytes([pick]))
        return
    if action == "folder":
        folders.append(drive.add_folder(f"f{pick}", into))
        return
    item = drive.items[there[pick % len(there)]]
    if action == "replace" and item.content is not None:
        drive.replace_content(item.id, item.content + bytes([to]))
    elif action == "rename":
        drive.rename(item.id, f"renamed {to}.jpg")
    elif action == "move" and item.id not in drive._line(into):
        drive.move(item.id, into)
    elif action == "shortcut":
        drive.add_shortcut(item.id, into)
    elif action in ("trash", "restore", "delete", "view"):
        getattr(drive, action)(item.id)


def held(drive: FakeDrive, folder: str) -> dict[str, Any]:
    return {
        item.id: (item.name, item.parent, drive.resource(item, ACCOUNT).get("md5Checksum"))
        for item in drive.tree(folder, ACCOUNT).values()
        if item.mime_type != FOLDER or item.parent is not None
    }


STEP = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 200), st.integers(0, 200))
ROUND = st.tuples(
    st.lists(STEP, max_size=8),
    st.lists(st.sampled_from(sorted(FAULTS)), max_size=3),
    st.lists(STEP, max_size=4),
    st.booleans(),
)


def meddling(drive: FakeDrive, step: tuple[str, int, int], folders: list[str]) -> Any:
    """Somebody goes on while a page is read: just after it was put together."""

    async def meddle(request: Any, handler: Any) -> Any:
        answer = await handler(request)
        act(drive, *step, folders)
        return answer

    return meddle


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rounds=st.lists(ROUND, min_size=1, max_size=5),
    page_size=st.integers(1, 5),
    noisy=st.booleans(),
    empty_pages=st.integers(0, 2),
)
async def test_the_feed_and_listings_give_what_the_folder_holds(
    rounds: list[tuple[list[tuple[str, int, int]], list[str], list[tuple[str, int, int]], bool]],
    page_size: int,
    noisy: bool,
    empty_pages: int,
) -> None:
    clock = Clock()
    async with fake_drive() as drive, client_of(drive, clock, page_size=page_size) as google:
        drive.descendant_entries = noisy
        watched, elsewhere = drive.add_folder("Wedding", drive.root), drive.add_folder("else", drive.root)
        folders = [watched, elsewhere]
        for name in ("one", "two"):  # to be moved in and out with what is in them
            folders.append(drive.add_folder(name, elsewhere))
            drive.add_file(f"{name}.jpg", folders[-1], name.encode())
        follower = Follower(google, watched)
        lost = 0
        for steps, faults, meddled, loses in rounds:
            for step in steps:
                act(drive, *step, folders)
            for fault in faults:
                drive.fail("*", FAULTS[fault])
            for step in meddled:
                drive.fail(
                    "files.list" if follower.token is None or loses else "*", meddling(drive, step, folders)
                )
            drive.empty_pages = empty_pages
            if loses and follower.token is not None:
                drive.lose_page_tokens()
                lost += 1
            await follower.sync()
            drive.script.faults.clear()
            await follower.sync()  # quiet now
            known = {item.id: (item.name, item.parent_id, item.md5) for item in follower.known.values()}
            assert known == held(drive, watched)
        assert follower.listings == 1 + lost
