"""Reads for people: batches, scenes and versions as the control API shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import aiosqlite


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch with its counts: `versions` are files as last read (not superseded), `live` those in
    storage, `failed` photos that could not be published."""

    name: str
    is_public: bool
    source_directory: str | None
    scenes: int
    versions: int
    live: int
    failed: int
    last_synced_at: str | None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version. `gone`: its file was not there when last looked; `superseded`: a newer row has the same
    file; `failure`: why it cannot be published, None when it can."""

    version_id: int
    scene_id: str
    version_type: str
    local_path: str
    relative_path: str
    is_current: bool
    r2_key: str | None
    storage_id: str | None
    sha256: str | None
    size_bytes: int
    perceptual_hash: str | None
    synced_at: str | None
    width: int | None
    height: int | None
    captured_at: str | None
    content_type: str | None
    needs_rendering: bool
    gone: bool
    superseded: bool
    failure: str | None


@dataclass(frozen=True, slots=True)
class SceneRow:
    """One scene with its versions, the current one first, then newest first."""

    scene_id: str
    batch_name: str
    base_filename: str
    capture_date: str | None
    versions: tuple[VersionRow, ...]

    @property
    def live(self) -> bool:
        return any(version.r2_key is not None for version in self.versions)


@dataclass(frozen=True, slots=True)
class CountsRow:
    """What the catalogue holds; `versions` are those not superseded."""

    batches: int
    public_batches: int
    scenes: int
    versions: int
    live: int


@dataclass(frozen=True, slots=True)
class SimilarRow:
    """A live version and how many bits of 64 its perceptual hash is away."""

    scene_id: str
    version_id: int
    distance: int
    r2_key: str


# Photos of a batch are the subjects from "<batch>/" up to "<batch>0": "0" follows "/" in ASCII.
_BATCHES = """
    SELECT b.batch_name, b.is_public, b.source_directory,
        (SELECT count(*) FROM scenes s WHERE s.batch_name = b.batch_name),
        (SELECT count(*) FROM scenes s JOIN image_versions v USING (scene_id)
            WHERE s.batch_name = b.batch_name AND v.superseded_at IS NULL),
        (SELECT count(*) FROM scenes s JOIN image_versions v USING (scene_id)
            WHERE s.batch_name = b.batch_name AND v.r2_key IS NOT NULL),
        (SELECT count(*) FROM jobs j WHERE j.kind = 'photo' AND j.state = 'failed'
            AND j.subject >= b.batch_name || '/' AND j.subject < b.batch_name || '0'),
        b.last_synced_at
    FROM public_site_batches b
"""
_VERSIONS = """
    SELECT v.version_id, v.scene_id, v.version_type, v.local_path, v.relative_path, v.is_current, v.r2_key,
        v.storage_id, v.sha256, v.size_bytes, v.perceptual_hash, v.synced_at, v.width, v.height,
        v.captured_at, v.content_type, v.needs_rendering, v.gone_at IS NOT NULL,
        v.superseded_at IS NOT NULL, coalesce(j.error, v.decode_error)
    FROM image_versions v LEFT JOIN jobs j ON j.kind = 'photo' AND j.state = 'failed'
        AND j.subject = v.relative_path AND v.superseded_at IS NULL
"""
_SCENES = "SELECT s.scene_id, s.batch_name, s.base_filename, s.capture_date FROM scenes s"
_IS_LIVE = "EXISTS (SELECT 1 FROM image_versions v WHERE v.scene_id = s.scene_id AND v.r2_key IS NOT NULL)"


async def batches(
    db: aiosqlite.Connection, limit: int = 100, cursor: str | None = None
) -> tuple[list[BatchRow], str | None]:
    """Batches by name, and the cursor of the next page (a name), None at the end."""
    rows = await db.execute_fetchall(
        f"{_BATCHES} WHERE ?1 IS NULL OR b.batch_name > ?1 ORDER BY b.batch_name LIMIT ?2",
        (cursor, limit + 1),
    )
    found = [_batch(row) for row in rows]
    return found[:limit], found[limit - 1].name if len(found) > limit else None


async def batch(db: aiosqlite.Connection, name: str) -> BatchRow | None:
    """One batch, None when there is none of this name."""
    rows = await db.execute_fetchall(f"{_BATCHES} WHERE b.batch_name = ?", (name,))
    return next((_batch(row) for row in rows), None)


async def update_batch(db: aiosqlite.Connection, name: str, **changes: bool | str | None) -> bool:
    """Sets `is_public` and `source_directory` as far as given; False when there is no such batch."""
    if not changes.keys() <= {"is_public", "source_directory"}:
        raise TypeError(f"not settings of a batch: {', '.join(changes)}")
    columns = ", ".join(["batch_name = batch_name", *(f"{column} = ?" for column in changes)])
    async with db.execute(
        f"UPDATE public_site_batches SET {columns} WHERE batch_name = ?", (*changes.values(), name)
    ) as cursor:
        return cursor.rowcount > 0


async def scenes(
    db: aiosqlite.Connection,
    *,
    batch: str | None = None,
    live: bool | None = None,
    query: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> tuple[list[SceneRow], str | None]:
    """Scenes by id with all their versions, and the cursor of the next page (a scene id), None at the
    end. `query` is part of a scene's id or file name, in any ASCII case."""
    conditions = [
        "s.scene_id > :cursor" if cursor is not None else "",
        "s.batch_name = :batch" if batch is not None else "",
        "" if live is None else _IS_LIVE if live else f"NOT {_IS_LIVE}",
        r"(s.scene_id LIKE :like ESCAPE '\' OR s.base_filename LIKE :like ESCAPE '\')" if query else "",
    ]
    where = " AND ".join(filter(None, conditions)) or "TRUE"
    rows = list(
        await db.execute_fetchall(
            f"{_SCENES} WHERE {where} ORDER BY s.scene_id LIMIT :limit",
            {"cursor": cursor, "batch": batch, "like": f"%{_escaped(query or '')}%", "limit": limit + 1},
        )
    )
    found = await _with_versions(db, rows[:limit])
    return found, found[-1].scene_id if len(rows) > limit else None


async def scene(db: aiosqlite.Connection, scene_id: str) -> SceneRow | None:
    """One scene with all its versions."""
    rows = await db.execute_fetchall(f"{_SCENES} WHERE s.scene_id = ?", (scene_id,))
    return next(iter(await _with_versions(db, list(rows))), None)


async def version(db: aiosqlite.Connection, version_id: int) -> VersionRow | None:
    """One version."""
    rows = await db.execute_fetchall(f"{_VERSIONS} WHERE v.version_id = ?", (version_id,))
    return next((_version(row) for row in rows), None)


async def counts(db: aiosqlite.Connection) -> CountsRow:
    """Counts of everything, for the status."""
    rows = await db.execute_fetchall(
        "SELECT (SELECT count(*) FROM public_site_batches),"
        " (SELECT count(*) FROM public_site_batches WHERE is_public = 1),"
        " (SELECT count(*) FROM scenes),"
        " (SELECT count(*) FROM image_versions INDEXED BY image_versions_scene WHERE superseded_at IS NULL),"
        " (SELECT count(*) FROM image_versions WHERE r2_key IS NOT NULL)"
    )
    return next(CountsRow(*row) for row in rows)


async def similar(
    db: aiosqlite.Connection,
    perceptual_hash: str,
    *,
    max_distance: int,
    limit: int = 50,
    except_scene: str | None = None,
) -> list[SimilarRow]:
    """Live versions within `max_distance` bits of this hash (16 hex digits), nearest first, ties by scene
    id. Only on a reader: `hamming` is a function of reading connections, and runs in their thread."""
    rows = await db.execute_fetchall(
        "SELECT scene_id, version_id, distance, r2_key FROM (SELECT scene_id, version_id, r2_key,"
        " hamming(perceptual_hash, ?1) AS distance FROM image_versions"
        " WHERE r2_key IS NOT NULL AND perceptual_hash IS NOT NULL AND scene_id IS NOT ?2)"
        " WHERE distance <= ?3 ORDER BY distance, scene_id LIMIT ?4",
        (perceptual_hash, except_scene, max_distance, limit),
    )
    return [SimilarRow(*row) for row in rows]


async def _with_versions(db: aiosqlite.Connection, rows: list[Any]) -> list[SceneRow]:
    versions: dict[str, list[VersionRow]] = {row[0]: [] for row in rows}
    found = await db.execute_fetchall(
        f"{_VERSIONS} WHERE v.scene_id IN (SELECT value FROM json_each(?))"
        " ORDER BY v.is_current DESC, v.version_id DESC",
        (json.dumps(list(versions)),),
    )
    for row in found:
        versions[row[1]].append(_version(row))
    return [SceneRow(*(*row, tuple(versions[row[0]]))) for row in rows]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


def _batch(row: Any) -> BatchRow:
    return BatchRow(row[0], bool(row[1]), *row[2:])


def _version(row: Any) -> VersionRow:
    values = list(row)
    for place in (5, 16, 17, 18):  # the columns that are yes or no
        values[place] = bool(values[place])
    return VersionRow(*values)
