"""How fresh is what is known of Drive."""

from __future__ import annotations

import aiosqlite


async def feeds_read_at(db: aiosqlite.Connection) -> dict[str, str | None]:
    """By account that followed events use: when all of its feeds had last been read to their ends, None
    when one never was."""
    rows = await db.execute_fetchall(
        "SELECT e.account, iif(count(f.read_at) < count(*), NULL, min(f.read_at)) FROM"
        " (SELECT DISTINCT account, drive_id FROM events"
        " WHERE auto_sync_enabled = 1 AND account IS NOT NULL) e"
        " LEFT JOIN drive_feeds f USING (account, drive_id) GROUP BY e.account ORDER BY e.account"
    )
    return {row[0]: row[1] for row in rows}
