"""What Drive holds: items, who sees them, and one log of changes for each account and each shared drive."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"


@dataclass
class Item:
    id: str
    name: str
    mime_type: str
    owner: str | None
    parent: str | None
    drive_id: str | None = None
    content: bytes | None = None
    claimed_size: int | None = None
    trashed: bool = False
    deleted: bool = False
    shared_with: set[str] = field(default_factory=set)
    hidden_from: set[str] = field(default_factory=set)
    target: str | None = None
    target_mime_type: str = ""
    version: int = 1
    revision: int = 1
    created: str = ""
    modified: str = ""
    can_download: bool = True


@dataclass
class Log:
    """One live entry an item: a newer one replaces it and gets a new number."""

    last: int
    entries: dict[str, tuple[int, str]] = field(default_factory=dict)
    issued: set[str] = field(default_factory=set)

    def add(self, item_id: str, time: str) -> None:
        self.last += 1
        self.entries.pop(item_id, None)
        self.entries[item_id] = (self.last, time)

    def since(self, token: int) -> list[tuple[int, str, str]]:
        """(number, item, time) of the entries from `token` on, oldest first."""
        return [(number, item, time) for item, (number, time) in self.entries.items() if number >= token]

    def issue(self, number: int) -> str:
        self.issued.add(str(number))
        return str(number)


class Model:
    """The state, and what people do to it. `descendant_entries` makes moves and trashings of a folder log
    everything below it as well, which nobody may count on."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.roots: dict[str, str] = {}
        self.members: dict[str, set[str]] = {}
        self.logs: dict[str, Log] = {}
        self.descendant_entries = False
        self._numbers = itertools.count(1)
        self._now = datetime(2026, 6, 14, 18, 0, tzinfo=UTC)

    # --- who is there ---------------------------------------------------------------------------------

    def add_account(self, account: str) -> str:
        """The account's root folder."""
        if account not in self.roots:
            root = self._new("My Drive", FOLDER, account, None)
            self.roots[account] = root.id
            self.logs[account] = Log(48_000 + 1_000 * len(self.logs))
        return self.roots[account]

    def add_shared_drive(self, name: str, *members: str) -> str:
        """A shared drive; its id is also that of its root folder."""
        root = self._new(name, FOLDER, None, None)
        root.drive_id = root.id
        self.members[root.id] = set(members)
        self.logs[root.id] = Log(90_000 + 1_000 * len(self.logs))
        for member in members:  # one entry of its own kind, and none for what is on the drive
            self.add_account(member)
            self.logs[member].add(root.id, root.created)
        return root.id

    # --- what people do -------------------------------------------------------------------------------

    def add_folder(self, name: str, parent: str) -> str:
        return self._add(name, FOLDER, parent).id

    def add_file(
        self,
        name: str,
        parent: str,
        content: bytes = b"",
        *,
        mime_type: str = "image/jpeg",
        modified: str | None = None,
        claimed_size: int | None = None,
    ) -> str:
        """`claimed_size` stands in the metadata in place of the content's own."""
        item = self._add(name, mime_type, parent, content=content, claimed_size=claimed_size)
        item.modified = modified or item.modified
        return item.id

    def add_doc(self, name: str, parent: str) -> str:
        """A Docs-editors file: no bytes, no checksum."""
        return self._add(name, "application/vnd.google-apps.document", parent).id

    def add_shortcut(self, target: str, parent: str, name: str | None = None) -> str:
        to = self.items[target]
        item = self._add(name or to.name, SHORTCUT, parent, target=target, target_mime_type=to.mime_type)
        return item.id

    def replace_content(self, item_id: str, content: bytes) -> None:
        item = self.items[item_id]
        item.content, item.revision, item.modified = content, item.revision + 1, self._tick()
        self._log(item)

    def rename(self, item_id: str, name: str) -> None:
        self.items[item_id].name = name
        self._log(self.items[item_id])

    def move(self, item_id: str, parent: str) -> None:
        item = self.items[item_id]
        before = self._watchers(item)
        if item_id in self._line(parent):
            raise ValueError("a folder cannot be moved into itself")
        item.parent, item.drive_id = parent, self.items[parent].drive_id
        for below in self.below(item_id):
            below.drive_id = item.drive_id
        self._log(item, before, deep=True)

    def trash(self, item_id: str) -> None:
        self.items[item_id].trashed = True
        self._log(self.items[item_id], deep=True)

    def restore(self, item_id: str) -> None:
        self.items[item_id].trashed = False
        self._log(self.items[item_id], deep=True)

    def delete(self, item_id: str) -> None:
        """For good, and everything below."""
        item = self.items[item_id]
        watchers = self._watchers(item)
        for below in self.below(item_id):
            below.deleted = True
        item.deleted = True
        self._log(item, watchers, deep=True)

    def share(self, item_id: str, account: str) -> None:
        self.items[item_id].shared_with.add(account)
        self.items[item_id].hidden_from.discard(account)
        self._log(self.items[item_id], deep=True)

    def revoke(self, item_id: str, account: str) -> None:
        """The account loses an item and everything below it."""
        item = self.items[item_id]
        before = self._watchers(item)
        item.shared_with.discard(account)
        item.hidden_from.add(account)
        self._log(item, before, deep=True)

    def view(self, item_id: str) -> None:
        """Noise: an entry although nothing changed."""
        self._log(self.items[item_id])

    # --- what is there --------------------------------------------------------------------------------

    def below(self, item_id: str) -> Iterator[Item]:
        """All items under a folder."""
        for item in list(self.items.values()):
            if item.id != item_id and item_id in self._line(item.id):
                yield item

    def children(self, folder: str, account: str) -> list[Item]:
        """The items directly in a folder that the account sees, outside the trash."""
        return [
            item
            for item in self.items.values()
            if item.parent == folder and self.visible(item, account) and not self.in_trash(item)
        ]

    def tree(self, folder: str, account: str) -> dict[str, Item]:
        """What is in a folder and its subfolders, for this account and outside the trash."""
        found: dict[str, Item] = {}
        todo = [folder] if self._reachable(folder, account) else []
        while todo:
            for item in self.children(todo.pop(), account):
                found[item.id] = item
                if item.mime_type == FOLDER:
                    todo.append(item.id)
        return found

    def _reachable(self, folder: str, account: str) -> bool:
        item = self.items[folder]
        return self.visible(item, account) and not self.in_trash(item)

    def in_trash(self, item: Item) -> bool:
        return any(self.items[one].trashed for one in self._line(item.id))

    def visible(self, item: Item, account: str) -> bool:
        if item.deleted:
            return False
        if item.drive_id is not None:
            return account in self.members[item.drive_id]
        line = [self.items[one] for one in self._line(item.id)]
        if any(account in one.hidden_from for one in line):
            return False
        return item.owner == account or any(account in one.shared_with for one in line)

    def in_my_drive(self, item: Item, account: str) -> bool:
        return item.drive_id is None and self.roots[account] in self._line(item.id)

    def resource(self, item: Item, account: str) -> dict[str, Any]:
        """The whole file resource, as this account sees it."""
        found: dict[str, Any] = {
            "kind": "drive#file",
            "id": item.id,
            "name": item.name,
            "mimeType": item.mime_type,
            "trashed": self.in_trash(item),
            "explicitlyTrashed": item.trashed,
            "createdTime": item.created,
            "modifiedTime": item.modified,
            "version": str(item.version),
            "ownedByMe": item.owner == account,
            "capabilities": {"canDownload": item.can_download},
        }
        if item.parent is not None and self.visible(self.items[item.parent], account):
            found["parents"] = [item.parent]
        if item.drive_id is not None:
            found["driveId"] = item.drive_id
        if item.target is not None:
            found["shortcutDetails"] = {"targetId": item.target, "targetMimeType": item.target_mime_type}
        if item.content is not None:
            size = len(item.content) if item.claimed_size is None else item.claimed_size
            found |= {
                "size": str(size),
                "md5Checksum": hashlib.md5(item.content).hexdigest(),
                "sha1Checksum": hashlib.sha1(item.content).hexdigest(),
                "sha256Checksum": hashlib.sha256(item.content).hexdigest(),
                "headRevisionId": f"0B{item.id}-{item.revision}",
                "originalFilename": item.name,
                "fileExtension": item.name.rpartition(".")[2] if "." in item.name else "",
            }
            if item.mime_type.startswith("image/"):
                found["imageMediaMetadata"] = {"width": 6000, "height": 4000, "rotation": 0}
        return found

    # --- inside ---------------------------------------------------------------------------------------

    def _line(self, item_id: str) -> list[str]:
        """The item and what it is in, up to the top."""
        line = []
        at: str | None = item_id
        while at is not None:
            line.append(at)
            at = self.items[at].parent
        return line

    def _add(self, name: str, mime_type: str, parent: str, **more: Any) -> Item:
        within = self.items[parent]
        item = self._new(name, mime_type, within.owner, parent, drive_id=within.drive_id, **more)
        self._log(item)
        return item

    def _new(self, name: str, mime_type: str, owner: str | None, parent: str | None, **more: Any) -> Item:
        item_id = f"1fAkE{next(self._numbers):05d}{hashlib.sha256(name.encode()).hexdigest()[:18]}"
        now = self._tick()
        self.items[item_id] = item = Item(
            item_id, name, mime_type, owner, parent, created=now, modified=now, **more
        )
        return item

    def _tick(self) -> str:
        self._now += timedelta(seconds=1)
        return self._now.strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def _watchers(self, item: Item) -> set[str]:
        """The logs that an item's changes stand in. Those of a shared drive stand in its own log only."""
        if item.drive_id is not None:
            return {item.drive_id}
        return {account for account in self.roots if self.visible(item, account)}

    def _log(self, item: Item, before: set[str] | None = None, *, deep: bool = False) -> None:
        item.version += 1
        now = self._tick()
        for watcher in (before or set()) | self._watchers(item):
            if deep and self.descendant_entries:
                for below in self.below(item.id):
                    self.logs[watcher].add(below.id, now)
            self.logs[watcher].add(item.id, now)
            self.changed(watcher)

    def changed(self, corpus: str) -> None:
        """Called after each entry in a log."""
