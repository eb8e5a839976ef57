"""What Drive was last seen to hold: accounts, their change logs, and the folder trees that events look at."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

import aiosqlite

from syncd.catalogue._sqlite import NOW

Kind = Literal["folder", "image", "shortcut", "unknown"]
Pending = Literal["list", "look"]


class TreeItem(NamedTuple):
    """One item of a tree. `content` changes when the bytes do: the MD5, or the revision where there is none.
    `unknown` is the target of a shortcut that was not asked for yet, or is nothing that events look at.
    `drive_id` is that of the shared drive it is on, "" for none. `pending`: it has to be listed or asked for
    before what is known of it is complete."""

    item_id: str
    kind: Kind
    parent_id: str | None = None
    name: str = ""
    content: str = ""
    md5: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    mime_type: str = ""
    target_id: str | None = None
    resource_key: str | None = None
    drive_id: str = ""
    pending: Pending | None = None


class Root(NamedTuple):
    """The folder of an event that is followed, or is to be listed once. `lost`: it cannot be seen."""

    event_id: str
    folder_id: str
    lost: bool


_COLUMNS = (
    "item_id, kind, parent_id, name, content, md5, sha256, size_bytes, mime_type, target_id, resource_key,"
    " drive_id, pending"
)

ACTIVE = "(auto_sync_enabled = 1 OR listing_due = 1)"
"""SQL: the event is followed, or is to be listed once."""


# --- accounts and feeds ----------------------------------------------------------------------------


class AccountRow(NamedTuple):
    """How an account was when it was last asked; `resume_at` is when it is asked again."""

    account: str
    state: str
    reason: str | None
    since: str
    resume_at: str | None


async def accounts(db: aiosqlite.Connection) -> dict[str, AccountRow]:
    """Every account that was asked, by name."""
    rows = await db.execute_fetchall("SELECT account, state, reason, since, resume_at FROM drive_accounts")
    return {row[0]: AccountRow(*row) for row in rows}


async def set_account(
    db: aiosqlite.Connection, account: str, state: str, reason: str | None, resume_at: str | None
) -> None:
    """Remembers how the account is; `since` stays while its state does."""
    await db.execute(
        "INSERT INTO drive_accounts (account, state, reason, resume_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account) DO UPDATE SET reason = excluded.reason, resume_at = excluded.resume_at,"
        f" since = iif(state = excluded.state, since, {NOW}), state = excluded.state",
        (account, state, reason, resume_at),
    )


async def page_token(db: aiosqlite.Connection, account: str, drive_id: str) -> str | None:
    """Where the feed was read to, None when it was never begun."""
    rows = await db.execute_fetchall(
        "SELECT page_token FROM drive_feeds WHERE account = ? AND drive_id = ?", (account, drive_id)
    )
    return next((row[0] for row in rows), None)


async def set_page_token(
    db: aiosqlite.Connection, account: str, drive_id: str, token: str, *, at_end: bool
) -> None:
    """The feed is read up to `token`; events that follow it show the same."""
    await db.execute(
        "INSERT INTO drive_feeds (account, drive_id, page_token) VALUES (?, ?, ?)"
        " ON CONFLICT (account, drive_id) DO UPDATE SET page_token = excluded.page_token",
        (account, drive_id, token),
    )
    if at_end:
        await db.execute(
            f"UPDATE drive_feeds SET read_at = {NOW} WHERE account = ? AND drive_id = ?", (account, drive_id)
        )
    await db.execute(
        "UPDATE events SET drive_start_page_token = ?3 WHERE account = ?1 AND drive_id = ?2"
        f" AND {ACTIVE} AND drive_start_page_token IS NOT ?3",
        (account, drive_id, token),
    )


async def drop_idle_feeds(db: aiosqlite.Connection) -> None:
    """Forgets feeds that no event follows: begun anew later, they would only bring what a listing brings."""
    await db.execute(
        "DELETE FROM drive_feeds WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.auto_sync_enabled = 1"
        " AND e.account = drive_feeds.account AND e.drive_id = drive_feeds.drive_id)"
    )


# --- the trees -------------------------------------------------------------------------------------


async def roots(db: aiosqlite.Connection, account: str) -> list[Root]:
    """The folders of the account's active events."""
    rows = await db.execute_fetchall(
        f"SELECT event_id, drive_folder_id, blocked IS NOT NULL FROM events WHERE account = ? AND {ACTIVE}",
        (account,),
    )
    return [Root(event_id, folder_id, bool(lost)) for event_id, folder_id, lost in rows]


async def skeleton(db: aiosqlite.Connection, account: str) -> list[TreeItem]:
    """Everything but images: what tells which events a photo belongs to."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM drive_items WHERE account = ? AND kind <> 'image'", (account,)
    )
    return [TreeItem(*row) for row in rows]


async def items(db: aiosqlite.Connection, account: str, ids: Iterable[str]) -> list[TreeItem]:
    """The items of these ids, as far as they are known."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM drive_items WHERE account = ?"
        " AND item_id IN (SELECT value FROM json_each(?))",
        (account, json.dumps(list(ids))),
    )
    return [TreeItem(*row) for row in rows]


async def children(
    db: aiosqlite.Connection, account: str, folder_ids: Collection[str], *, images_only: bool = False
) -> list[TreeItem]:
    """What is known directly in these folders."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM drive_items WHERE account = ?"
        " AND parent_id IN (SELECT value FROM json_each(?))" + (" AND kind = 'image'" * images_only),
        (account, json.dumps(list(folder_ids))),
    )
    return [TreeItem(*row) for row in rows]


async def child_ids(
    db: aiosqlite.Connection, account: str, folder_ids: Collection[str], *, images_only: bool = False
) -> set[str]:
    """Only their ids: there may be very many."""
    rows = await db.execute_fetchall(
        "SELECT item_id FROM drive_items WHERE account = ?"
        " AND parent_id IN (SELECT value FROM json_each(?))" + (" AND kind = 'image'" * images_only),
        (account, json.dumps(list(folder_ids))),
    )
    return {row[0] for row in rows}


async def pending(db: aiosqlite.Connection, account: str) -> list[TreeItem]:
    """Items that have to be listed or asked for."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM drive_items WHERE account = ? AND pending IS NOT NULL ORDER BY item_id",
        (account,),
    )
    return [TreeItem(*row) for row in rows]


async def keep_items(db: aiosqlite.Connection, account: str, kept: Iterable[TreeItem]) -> None:
    """Records these items as they are now."""
    await db.executemany(
        f"INSERT OR REPLACE INTO drive_items (account, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [(account, *item) for item in kept],
    )


async def forget_items(db: aiosqlite.Connection, account: str, ids: Iterable[str]) -> None:
    """These items are of no interest (any more)."""
    await db.executemany(
        "DELETE FROM drive_items WHERE account = ? AND item_id = ?", [(account, item_id) for item_id in ids]
    )
