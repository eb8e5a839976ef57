"""Queries of the site flow: what is known of batches, and the record of what was done."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiosqlite

from syncd.model import BatchSettings, FileStat, KnownVersion, PhotoFacts, SeenFile

Row = Any

NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch as it is known. `memo` is what the flow noted when nothing was to be done for it."""

    settings: BatchSettings
    memo: str | None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One read file. `replaces` is the row of an earlier read of it, `same_content` when its bytes are
    those of that row: then the row is kept and only told about the file's new stat and place."""

    seen: SeenFile
    facts: PhotoFacts
    replaces: int | None = None
    same_content: bool = False


@dataclass(frozen=True, slots=True)
class SceneRecord:
    """What is recorded of one scene in one transaction. `current` is the relative path of the file that
    becomes current, None for none; `set_current` False leaves that as it is."""

    scene_id: str
    batch_name: str
    base_filename: str
    files: tuple[FileRecord, ...]
    set_current: bool
    current: str | None
    capture_date: str | None
    loose: tuple[str, str] | None = None
    """(storage_id, key) of the upload that follows."""


@dataclass(frozen=True, slots=True)
class ConfirmedUpload:
    """An object that storage has confirmed."""

    version_id: int
    scene_id: str
    key: str
    storage_id: str
    sha256: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class RemovedObject:
    """An object that storage has confirmed to be gone."""

    version_id: int
    key: str
    storage_id: str


_SOME = "(SELECT value FROM json_each(?))"
_THAT_MATTER = (
    "FROM scenes s JOIN image_versions v USING (scene_id)"
    f" WHERE s.batch_name IN {_SOME} AND (v.superseded_at IS NULL OR v.r2_key IS NOT NULL)"
)

_VERSION_COLUMNS = """
    v.version_id, v.scene_id, v.version_type, v.relative_path, v.local_path,
    v.ctime_ns, v.mtime_ns, v.size_bytes, v.inode, v.sha256, v.md5, v.is_current, v.gone_at IS NOT NULL,
    v.r2_key, v.storage_id, v.object_sha256, v.content_type, v.needs_rendering, v.decode_error,
    v.captured_at, v.superseded_at IS NOT NULL
"""


async def load_batch_names(db: aiosqlite.Connection, *, with_files: bool = False) -> frozenset[str]:
    """Names of all batches, or of those that held a file when they were last looked at."""
    sql = "SELECT batch_name FROM public_site_batches b"
    if with_files:
        sql += (
            " WHERE EXISTS (SELECT 1 FROM scenes s JOIN image_versions v USING (scene_id)"
            " WHERE s.batch_name = b.batch_name AND v.gone_at IS NULL AND v.superseded_at IS NULL)"
        )
    return frozenset(row[0] for row in await db.execute_fetchall(sql))


async def load_scene_owners(db: aiosqlite.Connection) -> dict[str, tuple[str, str]]:
    """(batch_name, base_filename) of every scene id."""
    rows = await db.execute_fetchall("SELECT scene_id, batch_name, base_filename FROM scenes")
    return {scene_id: (batch, base) for scene_id, batch, base in rows}


async def load_batches(db: aiosqlite.Connection, names: Collection[str]) -> dict[str, BatchRow]:
    """The batches of these names that are known."""
    rows = await db.execute_fetchall(
        "SELECT batch_name, is_public, source_directory, memo FROM public_site_batches"
        f" WHERE batch_name IN {_SOME}",
        (json.dumps(list(names)),),
    )
    return {row[0]: BatchRow(BatchSettings(row[0], bool(row[1]), row[2]), row[3]) for row in rows}


async def load_scene_ids(db: aiosqlite.Connection, names: Collection[str]) -> dict[str, dict[str, str]]:
    """Scene ids by base filename, by batch."""
    rows = await db.execute_fetchall(
        f"SELECT batch_name, base_filename, scene_id FROM scenes WHERE batch_name IN {_SOME}",
        (json.dumps(list(names)),),
    )
    found: dict[str, dict[str, str]] = {}
    for name, base, scene_id in rows:
        found.setdefault(name, {})[base] = scene_id
    return found


async def load_plan_rows(db: aiosqlite.Connection, names: Collection[str]) -> dict[str, list[Row]]:
    """Of each version that matters, what a plan depends on, by batch: only to be compared."""
    rows = await db.execute_fetchall(
        "SELECT s.batch_name, v.version_id, v.scene_id, v.version_type, v.relative_path, v.local_path,"
        " v.ctime_ns, v.mtime_ns, v.size_bytes, v.inode, v.is_current, v.gone_at IS NULL, v.r2_key,"
        f" v.storage_id, v.decode_error, v.superseded_at IS NULL {_THAT_MATTER}",
        (json.dumps(list(names)),),
    )
    return _by_batch(rows)


async def load_versions(db: aiosqlite.Connection, names: Collection[str]) -> dict[str, list[KnownVersion]]:
    """The versions that matter, by batch."""
    rows = await db.execute_fetchall(
        f"SELECT s.batch_name, {_VERSION_COLUMNS} {_THAT_MATTER}", (json.dumps(list(names)),)
    )
    return {name: [_version(row) for row in found] for name, found in _by_batch(rows).items()}


def _by_batch(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return found


def _version(row: Row) -> KnownVersion:
    return KnownVersion(
        row[1], row[2], row[3], row[4], row[5], FileStat(row[6], row[7], row[8], row[9]), row[10], row[11],
        row[12] == 1, row[13] == 1, row[14], row[15], row[16], row[17], row[18] == 1, row[19], row[20],
        row[21] == 1,
    )  # fmt: skip


async def _many(db: aiosqlite.Connection, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """`executemany`, but nothing for no rows: each call is a change of thread."""
    found = list(rows)
    if found:
        await db.executemany(sql, found)


async def add_batches(db: aiosqlite.Connection, names: Iterable[str], is_public: bool) -> None:
    """Rows for batches seen for the first time."""
    await _many(
        db,
        "INSERT OR IGNORE INTO public_site_batches (batch_name, is_public) VALUES (?, ?)",
        [(name, int(is_public)) for name in names],
    )


async def record_scenes(db: aiosqlite.Connection, scenes: Sequence[SceneRecord]) -> dict[str, int]:
    """Records what was read of these scenes; returns the version id of each recorded relative path."""
    await _many(
        db,
        "INSERT OR IGNORE INTO scenes (scene_id, batch_name, base_filename) VALUES (?, ?, ?)",
        [(scene.scene_id, scene.batch_name, scene.base_filename) for scene in scenes],
    )
    kept = [(scene, file) for scene in scenes for file in scene.files if file.same_content]
    fresh = [(scene, file) for scene in scenes for file in scene.files if not file.same_content]
    await _many(
        db,
        f"UPDATE image_versions SET superseded_at = {NOW}, is_current = 0 WHERE version_id = ?",
        [(file.replaces,) for _, file in fresh if file.replaces is not None],
    )
    ids = await _insert_versions(db, fresh)
    await _many(
        db,
        "UPDATE image_versions SET local_path = ?, ctime_ns = ?, mtime_ns = ?, size_bytes = ?, inode = ?,"
        " perceptual_hash = ?, decode_error = ?, gone_at = NULL WHERE version_id = ?",
        [
            (f.seen.local_path, *f.facts.stat, f.facts.perceptual_hash, f.facts.decode_error, f.replaces)
            for _, f in kept
        ],
    )
    ids.update((file.seen.relative_path, file.replaces) for _, file in kept if file.replaces is not None)
    choosing = [scene for scene in scenes if scene.set_current]
    await _many(
        db,
        "UPDATE image_versions SET is_current = 0 WHERE scene_id = ? AND is_current = 1",
        [(scene.scene_id,) for scene in choosing],
    )
    await _many(
        db,
        "UPDATE image_versions SET is_current = 1"
        " WHERE scene_id = ? AND relative_path = ? AND superseded_at IS NULL",
        [(scene.scene_id, scene.current) for scene in choosing if scene.current is not None],
    )
    await _many(
        db,
        "UPDATE scenes SET capture_date = ? WHERE scene_id = ? AND capture_date IS NOT ?",
        [(scene.capture_date, scene.scene_id, scene.capture_date) for scene in scenes],
    )
    await note_loose(db, [scene.loose for scene in scenes if scene.loose is not None])
    return ids


async def _insert_versions(
    db: aiosqlite.Connection, fresh: Sequence[tuple[SceneRecord, FileRecord]]
) -> dict[str, int]:
    if not fresh:
        return {}
    # The ids are given out here, inside the writer's transaction, so that many rows go in with one call.
    rows = list(await db.execute_fetchall("SELECT seq FROM sqlite_sequence WHERE name = 'image_versions'"))
    first = (rows[0][0] if rows else 0) + 1
    ids = {file.seen.relative_path: first + place for place, (_, file) in enumerate(fresh)}
    await _many(
        db,
        "INSERT INTO image_versions (version_id, scene_id, version_type, relative_path, local_path,"
        " perceptual_hash, sha256, md5, size_bytes, ctime_ns, mtime_ns, inode, content_type, image_format,"
        " needs_rendering, width, height, captured_at, camera_make, camera_model, focal_length, aperture,"
        f" shutter_speed, decode_error) VALUES ({','.join('?' * 24)})",
        [
            (
                ids[f.seen.relative_path], scene.scene_id, f.seen.stage, f.seen.relative_path,
                f.seen.local_path, f.facts.perceptual_hash, f.facts.sha256, f.facts.md5,
                f.facts.stat.size_bytes, f.facts.stat.ctime_ns, f.facts.stat.mtime_ns, f.facts.stat.inode,
                f.facts.content_type, f.facts.image_format, int(f.facts.needs_rendering), f.facts.width,
                f.facts.height, f.facts.captured_at, f.facts.camera_make, f.facts.camera_model,
                f.facts.focal_length, f.facts.aperture, f.facts.shutter_speed, f.facts.decode_error,
            )
            for scene, f in fresh
        ],
    )  # fmt: skip
    return ids


async def note_loose(db: aiosqlite.Connection, objects: Iterable[tuple[str, str]]) -> None:
    """Storage may hold objects under these (storage_id, key) that no live version vouches for."""
    await _many(db, "INSERT OR IGNORE INTO loose_objects (storage_id, key) VALUES (?, ?)", objects)


async def settle_loose(db: aiosqlite.Connection, objects: Iterable[tuple[str, str]]) -> None:
    """These (storage_id, key) are settled: a live version vouches for the object, or it is gone."""
    await _many(db, "DELETE FROM loose_objects WHERE storage_id = ? AND key = ?", objects)


async def load_loose(db: aiosqlite.Connection, storage_id: str) -> list[str]:
    """Keys of this storage that are not settled."""
    rows = await db.execute_fetchall("SELECT key FROM loose_objects WHERE storage_id = ?", (storage_id,))
    return [row[0] for row in rows]


class Doubtful(NamedTuple):
    """A live version whose object storage may not hold as it was confirmed."""

    version_id: int
    storage_id: str
    key: str
    etag: str | None
    size_bytes: int | None


async def load_doubtful(db: aiosqlite.Connection, storage_id: str, names: Collection[str]) -> list[Doubtful]:
    """The live versions of these batches whose keys are not settled."""
    rows = await db.execute_fetchall(
        "SELECT v.version_id, l.storage_id, l.key, v.object_etag, v.object_size_bytes FROM loose_objects l"
        " JOIN image_versions v ON v.r2_key = l.key AND v.storage_id = l.storage_id"
        " JOIN scenes USING (scene_id)"
        " WHERE l.storage_id = ? AND batch_name IN (SELECT value FROM json_each(?))",
        (storage_id, json.dumps(list(names))),
    )
    return [Doubtful(*row) for row in rows]


async def decide_doubt(db: aiosqlite.Connection, item: Doubtful, *, is_there: bool) -> None:
    """Storage has it as it was confirmed: settled. Else the version is not live, and its key stays loose."""
    if is_there:
        await settle_loose(db, [(item.storage_id, item.key)])
    else:
        await db.execute(
            "UPDATE image_versions SET r2_key = NULL WHERE version_id = ? AND r2_key = ?",
            (item.version_id, item.key),
        )


async def confirm_uploads(db: aiosqlite.Connection, uploads: Sequence[ConfirmedUpload]) -> None:
    """Moves the scene's `r2_key` to the version whose object storage has confirmed."""
    await _many(
        db,
        "INSERT OR IGNORE INTO loose_objects (storage_id, key)"
        " SELECT storage_id, r2_key FROM image_versions"
        " WHERE scene_id = ? AND r2_key IS NOT NULL AND storage_id = ? AND r2_key <> ?",
        [(upload.scene_id, upload.storage_id, upload.key) for upload in uploads],
    )
    await _many(
        db,
        "UPDATE image_versions SET r2_key = NULL WHERE scene_id = ? AND r2_key IS NOT NULL",
        [(upload.scene_id,) for upload in uploads],
    )
    await _many(
        db,
        f"UPDATE image_versions SET r2_key = ?, storage_id = ?, object_sha256 = ?, object_size_bytes = ?,"
        f" object_etag = ?, synced_at = {NOW} WHERE version_id = ?",
        [(u.key, u.storage_id, u.sha256, u.size_bytes, u.etag, u.version_id) for u in uploads],
    )
    await settle_loose(db, [(upload.storage_id, upload.key) for upload in uploads])


async def confirm_removals(db: aiosqlite.Connection, removed: Sequence[RemovedObject]) -> None:
    """These versions are no longer live: storage has confirmed that their objects are gone."""
    await _many(
        db,
        "UPDATE image_versions SET r2_key = NULL WHERE version_id = ? AND r2_key = ?",
        [(item.version_id, item.key) for item in removed],
    )
    await settle_loose(db, [(item.storage_id, item.key) for item in removed])


async def mark_gone(db: aiosqlite.Connection, gone: Iterable[int], back: Iterable[int]) -> None:
    """Files that were not there when last looked, and files that are there again as they were."""
    await _many(
        db,
        f"UPDATE image_versions SET gone_at = {NOW} WHERE version_id = ? AND gone_at IS NULL",
        [(id_,) for id_ in gone],
    )
    await _many(db, "UPDATE image_versions SET gone_at = NULL WHERE version_id = ?", [(id_,) for id_ in back])


async def note_memos(db: aiosqlite.Connection, memos: Mapping[str, str]) -> None:
    """Keeps a memo with each of these batches."""
    await _many(
        db,
        "UPDATE public_site_batches SET memo = ? WHERE batch_name = ?",
        [(memo, name) for name, memo in memos.items()],
    )


async def note_synced(db: aiosqlite.Connection, names: Iterable[str]) -> None:
    """The batches were looked at whole and agree with storage."""
    await _many(
        db,
        f"UPDATE public_site_batches SET last_synced_at = {NOW} WHERE batch_name = ?",
        [(name,) for name in names],
    )


@dataclass(frozen=True, slots=True)
class LiveObject:
    """What storage should hold for a live version, and where its bytes come from."""

    version_id: int
    scene_id: str
    batch_name: str
    key: str
    object_sha256: str
    object_size_bytes: int
    object_etag: str
    local_path: str
    source_sha256: str
    source_size_bytes: int
    md5: str
    content_type: str
    needs_rendering: bool


async def load_live(
    db: aiosqlite.Connection,
    storage_id: str,
    *,
    scene_ids: Collection[str] | None = None,
    batch: str | None = None,
) -> list[LiveObject]:
    """Live versions whose object is in this storage, by key; of all scenes, some, or one batch's."""
    conditions, parameters = ["v.r2_key IS NOT NULL", "v.storage_id = ?"], [storage_id]
    if scene_ids is not None:
        conditions.append(f"s.scene_id IN ({','.join('?' * len(scene_ids))})")
        parameters.extend(scene_ids)
    if batch is not None:
        conditions.append("s.batch_name = ?")
        parameters.append(batch)
    rows = await db.execute_fetchall(
        "SELECT v.version_id, v.scene_id, s.batch_name, v.r2_key, v.object_sha256, v.object_size_bytes,"
        " v.object_etag, v.local_path, v.sha256, v.size_bytes, v.md5, v.content_type, v.needs_rendering"
        f" FROM image_versions v JOIN scenes s USING (scene_id) WHERE {' AND '.join(conditions)}"
        " ORDER BY v.r2_key",
        parameters,
    )
    return [LiveObject(*row) for row in rows]


async def is_referenced(db: aiosqlite.Connection, key: str, storage_id: str) -> bool:
    """True while a live version says that `key` is its object."""
    rows = await db.execute_fetchall(
        "SELECT 1 FROM image_versions WHERE r2_key = ? AND storage_id = ? LIMIT 1", (key, storage_id)
    )
    return bool(list(rows))


async def is_live_as(db: aiosqlite.Connection, version_id: int, key: str, object_sha256: str) -> bool:
    """True while this version is live under `key` with these bytes: it was neither withdrawn nor replaced."""
    rows = await db.execute_fetchall(
        "SELECT 1 FROM image_versions WHERE version_id = ? AND r2_key = ? AND object_sha256 = ?",
        (version_id, key, object_sha256),
    )
    return bool(list(rows))


async def count_live(db: aiosqlite.Connection) -> int:
    """How many versions are live."""
    rows = list(await db.execute_fetchall("SELECT count(*) FROM image_versions WHERE r2_key IS NOT NULL"))
    return int(rows[0][0])
