"""Channels on which Google says that a feed has something new."""

from __future__ import annotations

from typing import NamedTuple

import aiosqlite


class ChannelRow(NamedTuple):
    """One channel. `resource_id` is None until Google has answered; `expires_at_ms` is Unix time."""

    channel_id: str
    account: str
    drive_id: str
    address: str
    token_sha256: str
    resource_id: str | None
    expires_at_ms: int | None


async def channels(db: aiosqlite.Connection) -> list[ChannelRow]:
    """Every channel that is, or may be, open."""
    rows = await db.execute_fetchall(
        "SELECT channel_id, account, drive_id, address, token_sha256, resource_id, expires_at_ms"
        " FROM drive_channels ORDER BY expires_at_ms, channel_id"
    )
    return [ChannelRow(*row) for row in rows]


async def channel(db: aiosqlite.Connection, channel_id: str) -> ChannelRow | None:
    """The channel of this id."""
    return next((row for row in await channels(db) if row.channel_id == channel_id), None)


async def add_channel(db: aiosqlite.Connection, row: ChannelRow) -> None:
    """A channel is about to be asked for: its first notification may come before the answer."""
    await db.execute("INSERT INTO drive_channels VALUES (?, ?, ?, ?, ?, ?, ?)", row)


async def open_channel(
    db: aiosqlite.Connection, channel_id: str, resource_id: str, expires_at_ms: int | None
) -> None:
    """Google has opened it."""
    await db.execute(
        "UPDATE drive_channels SET resource_id = ?, expires_at_ms = ? WHERE channel_id = ?",
        (resource_id, expires_at_ms, channel_id),
    )


async def drop_channel(db: aiosqlite.Connection, channel_id: str) -> None:
    """It is over; what still comes on it is nobody's."""
    await db.execute("DELETE FROM drive_channels WHERE channel_id = ?", (channel_id,))


async def followed_feeds(db: aiosqlite.Connection) -> dict[tuple[str, str], str]:
    """(account, drive_id) of the feeds that events follow, with where each was read to."""
    rows = await db.execute_fetchall(
        "SELECT account, drive_id, page_token FROM drive_feeds f WHERE EXISTS (SELECT 1 FROM events e"
        " WHERE e.account = f.account AND e.drive_id = f.drive_id AND e.auto_sync_enabled = 1)"
    )
    return {(row[0], row[1]): row[2] for row in rows}
