"""The photos that are to be described, and how far each is. `ai_metadata` says what is to be done; a row of
`jobs` stands beside each photo that was begun, so that it shows, and can be tried again or cancelled."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import aiosqlite

from syncd.catalogue import metadata, settings
from syncd.catalogue._sqlite import NOW
from syncd.catalogue.metadata import DESCRIBE, to_json
from syncd.catalogue.words import texts_of

BUDGET = "describe_day"
"""Setting: the day (UTC) of the last photo that was sent to the model, and how many were on it."""
UNFINDABLE = "cannot be found by meaning"
"""Begins the error of a description that has no vector."""
AUTO = "syncd"
"""Who approved what nobody looked at."""


class Work(NamedTuple):
    """One photo to be described. `version` tells whether somebody changed it meanwhile."""

    id: int
    version: int
    attempts: int
    filename: str
    serial: int
    large_url: str | None
    thumbnail_url: str | None
    title: str
    caption: str
    keywords: list[str]
    albums: list[str]


class Written(NamedTuple):
    """What the model wrote."""

    description: str
    tags: Sequence[str]
    categories: Sequence[str]
    confidence: float | None
    teams: Sequence[str]
    event: str
    sport: str


_DUE = (
    "ai_metadata m JOIN smugmug_photos p ON p.id = m.photo_id"
    f" LEFT JOIN jobs j ON j.kind = '{DESCRIBE}' AND j.item = CAST(m.id AS TEXT)"
    " WHERE m.processing_status = 'pending' AND p.removed_at IS NULL AND p.is_processing = 0"
)
_NOT_WAITING = f"NOT (j.state IS 'waiting' AND j.next_attempt_at > {NOW})"


async def claim(
    db: aiosqlite.Connection, *, limit: int, busy: Collection[int], day: str, daily_limit: int
) -> list[Work]:
    """Takes up to `limit` photos that are due, oldest first, never more than the day
    (YYYY-MM-DD) has left; `daily_limit` 0 is without limit. They are `processing` from now on."""
    if daily_limit:
        limit = min(limit, daily_limit - await sent_on(db, day))
    if limit <= 0:
        return []
    rows = await db.execute_fetchall(
        "SELECT m.id, m.version, m.attempts + 1, p.filename, p.serial, p.large_url, p.thumbnail_url, p.title,"
        " p.caption, p.keywords, (SELECT json_group_array(a.title) FROM smugmug_album_photos ap"
        " JOIN smugmug_albums a ON a.id = ap.album_id WHERE ap.photo_id = p.id AND a.removed_at IS NULL)"
        f" FROM {_DUE} AND {_NOT_WAITING} AND m.id NOT IN (SELECT value FROM json_each(?))"
        " ORDER BY m.id LIMIT ?",
        (json.dumps(list(busy)), limit),
    )
    found = [_work(row) for row in rows]
    for work in found:
        await db.execute(
            "UPDATE ai_metadata SET processing_status = 'processing', attempts = attempts + 1,"
            f" updated_at = {NOW} WHERE id = ?",
            (work.id,),
        )
        await db.execute(
            "INSERT INTO jobs (kind, item, subject, state, attempts) VALUES (?, ?, ?, 'running', ?)"
            " ON CONFLICT (kind, item) WHERE item IS NOT NULL DO UPDATE SET state = 'running',"
            f" subject = excluded.subject, attempts = excluded.attempts, next_attempt_at = NULL,"
            f" updated_at = {NOW}",
            (DESCRIBE, str(work.id), work.filename, work.attempts),
        )
    await _spend(db, day, len(found))
    return found


async def record(
    db: aiosqlite.Connection, work: Work, written: Written, model: str, *, approve: bool
) -> bool:
    """The photo is described: for review, or approved. False, and nothing is kept, when somebody changed it
    or it was replaced meanwhile."""
    if not await _is_ours(db, work):
        return False
    old = next(iter(await metadata.by_ids(db, [work.id])), None)
    is_again = old is not None and old.description != ""
    await db.execute(
        "UPDATE ai_metadata SET ai_description = ?, ai_tags = ?, ai_categories = ?, confidence_score = ?,"
        " teams = ?, event = ?, sport = ?, model = ?, serial = ?, embedding = NULL, embedding_model = NULL,"
        f" processing_status = ?, approved = ?, approved_by = ?, approved_at = iif(?, {NOW}, NULL),"
        f" version = version + ?, error = NULL, described_at = {NOW}, updated_at = {NOW} WHERE id = ?",
        (
            written.description,
            to_json(written.tags),
            to_json(written.categories),
            written.confidence,
            to_json(written.teams),
            written.event,
            written.sport,
            model,
            work.serial,
            "approved" if approve else "review",
            approve,
            AUTO if approve else None,
            approve,
            is_again,
            work.id,
        ),
    )
    if is_again and old is not None:
        new = (await metadata.by_ids(db, [work.id]))[0]
        await metadata.note_change(db, old, new, model, "described again")
    await metadata.drop_job(db, work.id)
    return True


async def fail(db: aiosqlite.Connection, work: Work, error: str, next_attempt_at: str | None) -> None:
    """The attempt failed: the photo is tried again at `next_attempt_at`, without it is `failed` until
    somebody has it tried again."""
    if not await _is_ours(db, work):
        return
    await db.execute(
        f"UPDATE ai_metadata SET processing_status = ?, error = ?, updated_at = {NOW} WHERE id = ?",
        ("failed" if next_attempt_at is None else "pending", error, work.id),
    )
    state = "failed" if next_attempt_at is None else "waiting"
    await _job(db, work, state, error, next_attempt_at)


async def put_back(db: aiosqlite.Connection, work: Work, day: str) -> None:
    """Nothing was wrong with the photo: neither the attempt nor the budget counts."""
    if not await _is_ours(db, work):
        return
    await db.execute(
        "UPDATE ai_metadata SET processing_status = 'pending', attempts = max(0, attempts - 1),"
        f" updated_at = {NOW} WHERE id = ?",
        (work.id,),
    )
    await db.execute(
        "UPDATE jobs SET attempts = max(0, attempts - 1) WHERE kind = ? AND item = ?",
        (DESCRIBE, str(work.id)),
    )
    await _job(db, work, "queued", None, None)
    await _spend(db, day, -1)


async def interrupted(db: aiosqlite.Connection) -> None:
    """What a killed daemon left processing is to be done again."""
    await db.execute(
        "UPDATE ai_metadata SET processing_status = 'pending', attempts = max(0, attempts - 1)"
        " WHERE processing_status = 'processing'"
    )
    await db.execute(
        f"UPDATE jobs SET state = 'queued', attempts = max(0, attempts - 1), updated_at = {NOW}"
        " WHERE kind = ? AND state = 'running'",
        (DESCRIBE,),
    )


async def tidy(db: aiosqlite.Connection) -> None:
    """Removes jobs of photos for which nothing is left to do."""
    await db.execute(
        "DELETE FROM jobs WHERE kind = ? AND state <> 'running' AND NOT EXISTS (SELECT 1 FROM ai_metadata m"
        " JOIN smugmug_photos p ON p.id = m.photo_id WHERE m.id = CAST(jobs.item AS INTEGER)"
        " AND p.removed_at IS NULL AND m.processing_status IN ('pending', 'processing', 'failed'))",
        (DESCRIBE,),
    )


async def counts(db: aiosqlite.Connection) -> dict[str, int]:
    """How many present photos are `pending`, `processing` and `failed`."""
    rows = await db.execute_fetchall(
        "SELECT m.processing_status, count(*) FROM ai_metadata m JOIN smugmug_photos p ON p.id = m.photo_id"
        " WHERE m.processing_status IN ('pending', 'processing', 'failed') AND p.removed_at IS NULL"
        " GROUP BY m.processing_status"
    )
    return {row[0]: row[1] for row in rows}


async def next_due_in_s(db: aiosqlite.Connection) -> float | None:
    """Seconds until a photo is due, 0 when one is now, None when none will be."""
    rows = await db.execute_fetchall(f"SELECT 1 FROM {_DUE} AND {_NOT_WAITING} LIMIT 1")
    if list(rows):
        return 0.0
    rows = await db.execute_fetchall(
        f"SELECT (julianday(min(j.next_attempt_at)) - julianday('now')) * 86400 FROM {_DUE}"
    )
    wait_s = next((row[0] for row in rows), None)
    return None if wait_s is None else max(0.0, float(wait_s))


async def sent_on(db: aiosqlite.Connection, day: str) -> int:
    """How many photos were sent to the model on this day."""
    kept = await settings.get(db, BUDGET, {})
    return int(kept["photos"]) if kept.get("day") == day else 0


def _work(row: Any) -> Work:
    return Work(*row[:-2], *map(texts_of, row[-2:]))


async def _spend(db: aiosqlite.Connection, day: str, photos: int) -> None:
    if photos:
        spent = max(0, await sent_on(db, day) + photos)
        await settings.put(db, BUDGET, {"day": day, "photos": spent})


async def _is_ours(db: aiosqlite.Connection, work: Work) -> bool:
    rows = await db.execute_fetchall(
        "SELECT 1 FROM ai_metadata WHERE id = ? AND version = ? AND processing_status = 'processing'",
        (work.id, work.version),
    )
    return bool(list(rows))


async def _job(
    db: aiosqlite.Connection, work: Work, state: str, error: str | None, next_attempt_at: str | None
) -> None:
    await db.execute(
        "UPDATE jobs SET state = ?, error = coalesce(?, error), next_attempt_at = ?,"
        f" updated_at = {NOW} WHERE kind = ? AND item = ? AND state = 'running'",
        (state, error, next_attempt_at, DESCRIBE, str(work.id)),
    )


# --- embeddings ------------------------------------------------------------------------------------


class Text(NamedTuple):
    """A description that has no vector yet."""

    id: int
    description: str


async def due_texts(db: aiosqlite.Connection, limit: int, busy: Collection[int]) -> list[Text]:
    """Descriptions that are to be embedded, but for those of `busy` ids."""
    rows = await db.execute_fetchall(
        "SELECT id, ai_description FROM ai_metadata WHERE embedding IS NULL AND ai_description <> ''"
        " AND processing_status NOT IN ('pending', 'processing')"
        " AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
        (json.dumps(list(busy)), limit),
    )
    return [Text(*row) for row in rows]


async def set_vectors(db: aiosqlite.Connection, vectors: Sequence[tuple[Text, bytes]], model: str) -> None:
    """Keeps the vectors of those descriptions that are still what was embedded."""
    await db.executemany(
        "UPDATE ai_metadata SET embedding = ?, embedding_model = ?,"
        f" error = iif(error LIKE '{UNFINDABLE}%', NULL, error) WHERE id = ? AND ai_description = ?",
        [(vector, model, text.id, text.description) for text, vector in vectors],
    )


async def note_unembedded(db: aiosqlite.Connection, text: Text, error: str) -> None:
    """The description stands, and cannot be found by meaning."""
    await db.execute(
        "UPDATE ai_metadata SET error = ? WHERE id = ? AND ai_description = ? AND embedding IS NULL",
        (error, text.id, text.description),
    )


async def forget_other_models(db: aiosqlite.Connection, model: str) -> int:
    """Vectors of another model are not to be compared with those of this one; returns how many go."""
    async with db.execute(
        "UPDATE ai_metadata SET embedding = NULL, embedding_model = NULL"
        " WHERE embedding IS NOT NULL AND embedding_model <> ?",
        (model,),
    ) as cursor:
        return cursor.rowcount
