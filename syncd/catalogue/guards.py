"""Actions that wait for a person: at most one open guard of a kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite

from syncd.catalogue._sqlite import NOW
from syncd.model import Action

_COLUMNS = "id, kind, reason, created_at, actions, live, state"


@dataclass(frozen=True, slots=True)
class GuardRow:
    """One guard. `live` is how many versions were live when it was raised; `state` is `open`, `approved`
    (its actions may be carried out while they are called for) or `gone`."""

    id: str
    kind: str
    reason: str
    created_at: str
    actions: tuple[Action, ...]
    live: int
    state: str


async def raise_guard(
    db: aiosqlite.Connection, kind: str, reason: str, actions: Sequence[Action], live: int
) -> GuardRow:
    """Opens a guard, or brings the open one of this kind up to date: it keeps its id and age."""
    rows = await db.execute_fetchall(
        "INSERT INTO guards (kind, reason, actions, live) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind) WHERE state = 'open' DO UPDATE"
        " SET reason = excluded.reason, actions = excluded.actions, live = excluded.live"
        f" RETURNING {_COLUMNS}",
        (kind, reason, json.dumps([list(action) for action in actions]), live),
    )
    return next(_guard(row) for row in rows)


async def get(db: aiosqlite.Connection, guard_id: str) -> GuardRow | None:
    """The guard of this id ("g-3"), whatever its state."""
    rows = await db.execute_fetchall(f"SELECT {_COLUMNS} FROM guards WHERE id = ?", (guard_id,))
    return next((_guard(row) for row in rows), None)


async def listed(db: aiosqlite.Connection, state: str = "open") -> list[GuardRow]:
    """Guards in this state, oldest first."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM guards WHERE state = ? ORDER BY number", (state,)
    )
    return [_guard(row) for row in rows]


async def approve(db: aiosqlite.Connection, guard_id: str) -> GuardRow | None:
    """The guard, approved; None when it is not open (any more)."""
    rows = await db.execute_fetchall(
        f"UPDATE guards SET state = 'approved', decided_at = {NOW}"
        f" WHERE id = ? AND state = 'open' RETURNING {_COLUMNS}",
        (guard_id,),
    )
    return next((_guard(row) for row in rows), None)


async def approved_actions(db: aiosqlite.Connection, kind: str | None = None) -> frozenset[Action]:
    """All actions that a person has approved and that are not done with; of one kind of guard or all."""
    guards = await listed(db, "approved")
    return frozenset(
        action for guard in guards if kind is None or guard.kind == kind for action in guard.actions
    )


async def gone(
    db: aiosqlite.Connection,
    *,
    kind: str | None = None,
    guard_id: str | None = None,
    state: str | None = None,
) -> list[str]:
    """Closes guards whose cause is gone or whose actions are done, and returns their ids: those of this
    kind, this id, this state (open and approved ones when None), as far as named."""
    rows = await db.execute_fetchall(
        f"UPDATE guards SET state = 'gone', decided_at = coalesce(decided_at, {NOW}) WHERE state <> 'gone'"
        " AND (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR id = ?2) AND (?3 IS NULL OR state = ?3)"
        " RETURNING id",
        (kind, guard_id, state),
    )
    return sorted(row[0] for row in rows)


async def prune(db: aiosqlite.Connection, keep: int = 100) -> None:
    """Forgets guards that are gone, but for the newest `keep`: their lists of actions may be long."""
    await db.execute_fetchall(
        "DELETE FROM guards WHERE number IN"
        " (SELECT number FROM guards WHERE state = 'gone' ORDER BY number DESC LIMIT -1 OFFSET ?)",
        (keep,),
    )


def _guard(row: Any) -> GuardRow:
    id_, kind, reason, created_at, actions, live, state = row
    return GuardRow(
        id_, kind, reason, created_at, tuple(Action(*item) for item in json.loads(actions)), live, state
    )
