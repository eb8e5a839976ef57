"""What is written about the library's photos, as people read it, change it and approve it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiosqlite

from syncd.catalogue._sqlite import NOW
from syncd.catalogue.words import match_of, texts_of
from syncd.errors import Refused

DESCRIBE = "describe"
"""Kind of the one job that a photo has once its description was begun, until it is written."""


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """One photo's. `albums` are the titles of the albums that it is in, `album_keys` their keys."""

    id: int
    image_key: str
    filename: str
    status: str
    description: str
    tags: list[str]
    categories: list[str]
    confidence: float | None
    approved: bool
    approved_by: str | None
    approved_at: str | None
    version: int
    error: str | None
    attempts: int
    photo_id: int
    title: str
    caption: str
    teams: list[str]
    event: str
    sport: str
    model: str | None
    described_at: str | None
    updated_at: str
    thumbnail_url: str | None
    web_url: str | None
    albums: list[str]
    album_keys: list[str]


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change, see metadata_history."""

    version: int
    changed_at: str
    changed_by: str
    change_reason: str
    previous_description: str | None
    new_description: str | None
    previous_tags: list[str] | None
    new_tags: list[str] | None
    previous_categories: list[str] | None
    new_categories: list[str] | None
    previous_status: str | None
    new_status: str | None


class Filter(NamedTuple):
    """Which photos: all that fit. `words` is what a person typed."""

    status: str | None = None
    words: str | None = None
    album_key: str | None = None
    min_confidence: float | None = None

    def sql(self) -> tuple[str, str, dict[str, Any]]:
        """FROM (with `m` for ai_metadata and `p` for smugmug_photos), WHERE, and the values of both."""
        tables, found = _FROM, ["p.removed_at IS NULL"]
        values: dict[str, Any] = self._asdict()
        if self.status is not None:
            found.append("m.processing_status = :status")
        if self.words is not None and self.words.strip():
            values["words"] = match_of(self.words)
            # The words first: they are few, and come in the order of the ids.
            tables = f"metadata_words w CROSS JOIN {_FROM}"
            found.append("w.metadata_words MATCH :words AND m.id = w.rowid" if values["words"] else "FALSE")
        if self.album_key is not None:
            found.append(
                "EXISTS (SELECT 1 FROM smugmug_album_photos ap JOIN smugmug_albums a ON a.id = ap.album_id"
                " WHERE ap.photo_id = p.id AND a.album_key = :album_key AND a.removed_at IS NULL)"
            )
        if self.min_confidence is not None:
            found.append("m.confidence_score >= :min_confidence")
        return tables, " AND ".join(found), values


class Edit(NamedTuple):
    """A change that a person makes; None leaves a field as it is."""

    description: str | None = None
    tags: Sequence[str] | None = None
    categories: Sequence[str] | None = None
    status: str | None = None
    changed_by: str = "api"
    reason: str = ""


_FROM = "ai_metadata m JOIN smugmug_photos p ON p.id = m.photo_id"
_ALBUMS = (
    "(SELECT json_group_array(json_array(title, album_key)) FROM (SELECT a.title, a.album_key"
    " FROM smugmug_album_photos ap JOIN smugmug_albums a ON a.id = ap.album_id"
    " WHERE ap.photo_id = p.id AND a.removed_at IS NULL ORDER BY a.title, a.id))"
)
_COLUMNS = (
    "m.id, p.image_key, p.filename, m.processing_status, m.ai_description, m.ai_tags, m.ai_categories,"
    " m.confidence_score, m.approved, m.approved_by, m.approved_at, m.version, m.error, m.attempts, p.id,"
    " p.title, p.caption, m.teams, m.event, m.sport, m.model, m.described_at, m.updated_at,"
    f" p.thumbnail_url, p.web_url, {_ALBUMS}"
)


# --- reading ---------------------------------------------------------------------------------------


async def page(
    db: aiosqlite.Connection, chosen: Filter, *, limit: int = 100, after: int = 0
) -> tuple[list[MetadataRow], int | None]:
    """What is written about the photos that fit, by id, and the id that the next page comes after, None at
    the end."""
    tables, where, values = chosen.sql()
    order = "w.rowid" if tables != _FROM else "m.id"
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM {tables} WHERE {where} AND {order} > :after ORDER BY {order} LIMIT :limit",
        {**values, "after": after, "limit": limit + 1},
    )
    found = [_row(row) for row in rows]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


async def by_ids(db: aiosqlite.Connection, ids: Sequence[int]) -> list[MetadataRow]:
    """Those of these that there are, in the order of `ids`."""
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE p.removed_at IS NULL"
        " AND m.id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    found = {row[0]: _row(row) for row in rows}
    return [found[metadata_id] for metadata_id in ids if metadata_id in found]


async def history(db: aiosqlite.Connection, metadata_id: int, limit: int = 1000) -> list[ChangeRow]:
    """What was changed, newest first."""
    rows = await db.execute_fetchall(
        "SELECT version, changed_at, changed_by, change_reason, previous_description, new_description,"
        " previous_tags, new_tags, previous_categories, new_categories, previous_status, new_status"
        " FROM metadata_history WHERE metadata_id = ? ORDER BY id DESC LIMIT ?",
        (metadata_id, limit),
    )
    return [ChangeRow(*row[:6], *map(_list, row[6:10]), *row[10:]) for row in rows]


async def vectors_after(
    db: aiosqlite.Connection, seq: int, model: str, limit: int = 4096
) -> tuple[int, list[tuple[int, bytes | None]]]:
    """(id, vector by this model, None where there is none any more) of what changed after `seq`, and how far
    that goes."""
    rows = list(
        await db.execute_fetchall(
            "SELECT v.seq, v.metadata_id, iif(m.embedding_model = ?, m.embedding, NULL)"
            " FROM metadata_vectors v LEFT JOIN ai_metadata m ON m.id = v.metadata_id"
            " WHERE v.seq > ? ORDER BY v.seq LIMIT ?",
            (model, seq, limit),
        )
    )
    return (rows[-1][0] if rows else seq), [(row[1], row[2]) for row in rows]


# --- changing --------------------------------------------------------------------------------------


async def edit(db: aiosqlite.Connection, metadata_id: int, change: Edit) -> MetadataRow | None:
    """The row after the change, None where there is none. What a person writes wins over a model that is at
    it, and stands for review where it was not approved. Refused where there is nothing to approve yet."""
    old = next(iter(await by_ids(db, [metadata_id])), None)
    if old is None:
        return None
    description = old.description if change.description is None else change.description
    tags = old.tags if change.tags is None else list(change.tags)
    categories = old.categories if change.categories is None else list(change.categories)
    is_rewritten = (description, tags, categories) != (old.description, old.tags, old.categories)
    status = change.status or old.status
    if is_rewritten and change.status is None and old.status != "approved":
        status = "review"
    if status in ("review", "approved") and not description and not is_rewritten and status != old.status:
        raise Refused(
            f"{old.filename} is not described yet: there is nothing to review", hint="give a description"
        )
    if not is_rewritten and status == old.status:
        return old
    await db.execute(
        "UPDATE ai_metadata SET ai_description = :description, ai_tags = :tags, ai_categories = :categories,"
        " embedding = iif(:embed, NULL, embedding), embedding_model = iif(:embed, NULL, embedding_model),"
        " processing_status = :status, approved = (:status = 'approved'),"
        " approved_by = iif(:status <> 'approved', NULL, iif(approved, approved_by, :by)),"
        f" approved_at = iif(:status <> 'approved', NULL, iif(approved, approved_at, {NOW})),"
        " attempts = iif(:status = 'pending', 0, attempts), error = NULL,"
        f" version = version + 1, updated_at = {NOW} WHERE id = :id",
        {
            "id": metadata_id,
            "description": description,
            "tags": to_json(tags),
            "categories": to_json(categories),
            "embed": description != old.description,
            "status": status,
            "by": change.changed_by,
        },
    )
    new = (await by_ids(db, [metadata_id]))[0]
    await note_change(db, old, new, change.changed_by, change.reason)
    if status != old.status:
        await drop_job(db, metadata_id)
    return new


async def note_change(
    db: aiosqlite.Connection, old: MetadataRow, new: MetadataRow, changed_by: str, reason: str
) -> None:
    """Keeps what was, and who changed it why."""
    await db.execute(
        "INSERT INTO metadata_history (metadata_id, version, previous_description, new_description,"
        " previous_tags, new_tags, previous_categories, new_categories, previous_status, new_status,"
        " changed_by, change_reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.id,
            new.version,
            old.description,
            new.description,
            to_json(old.tags),
            to_json(new.tags),
            to_json(old.categories),
            to_json(new.categories),
            old.status,
            new.status,
            changed_by,
            reason,
        ),
    )


async def drop_job(db: aiosqlite.Connection, metadata_id: int) -> None:
    """Nothing is left to do for the photo, or it is begun anew."""
    await db.execute("DELETE FROM jobs WHERE kind = ? AND item = ?", (DESCRIBE, str(metadata_id)))


class Unapproved(NamedTuple):
    """A photo that could not be approved; `status` None: there is no such photo."""

    id: int
    status: str | None


async def approve(
    db: aiosqlite.Connection, ids: Iterable[int], approved_by: str
) -> tuple[int, list[Unapproved]]:
    """How many of these were approved just now, and those that are not described. Nothing is done when one
    of them does not exist."""
    wanted = list(dict.fromkeys(ids))
    chosen = json.dumps(wanted)
    rows = await db.execute_fetchall(
        f"SELECT m.id, m.processing_status FROM {_FROM} WHERE p.removed_at IS NULL"
        " AND m.id IN (SELECT value FROM json_each(?))",
        (chosen,),
    )
    known = {row[0]: row[1] for row in rows}
    missing = [Unapproved(one, None) for one in wanted if one not in known]
    if missing:
        return 0, missing
    undescribed = [
        Unapproved(one, known[one]) for one in wanted if known[one] in ("pending", "processing", "failed")
    ]
    return await _approve(db, "SELECT value FROM json_each(:ids)", {"ids": chosen}, approved_by), undescribed


async def approve_matching(db: aiosqlite.Connection, chosen: Filter, approved_by: str) -> int:
    """How many of those that fit were approved just now; in review, where no status is chosen."""
    tables, where, values = chosen._replace(status=chosen.status or "review").sql()
    return await _approve(db, f"SELECT m.id FROM {tables} WHERE {where}", values, approved_by)


async def _approve(db: aiosqlite.Connection, which: str, values: dict[str, Any], approved_by: str) -> int:
    async with db.execute(
        "UPDATE ai_metadata SET processing_status = 'approved', approved = 1, approved_by = :by,"
        f" approved_at = {NOW}, updated_at = {NOW}"
        f" WHERE processing_status IN ('review', 'rejected') AND id IN ({which})",
        {**values, "by": approved_by},
    ) as cursor:
        return cursor.rowcount


def to_json(words: Iterable[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def _list(text: str | None) -> list[str] | None:
    return None if text is None else texts_of(text)


def _row(row: Any) -> MetadataRow:
    *values, albums = row
    for place in (5, 6, 17):
        values[place] = texts_of(values[place])
    values[8] = bool(values[8])
    pairs = json.loads(albums)
    return MetadataRow(*values, *([pair[place] for pair in pairs] for place in (0, 1)))
