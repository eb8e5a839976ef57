"""Carries out the plan of one scene: read, record, upload, remove, in that order, each step confirmed
before the next is begun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import anyio

from syncd.catalogue import site as queries
from syncd.errors import AuthRejected, Changed, Refused, Transient
from syncd.flows.batching import Coalescer
from syncd.flows.report import SyncRun
from syncd.flows.site_plan import BatchPlan, Candidate, Removal, ScenePlan, SiteRules
from syncd.model import Action, PhotoFacts, Rendition
from syncd.sinks.sink import Sink, StoredObject, Upload

CACHE_CONTROL = "public, max-age=300"
"""An object's bytes may be replaced under the same key, so caches may keep it for minutes only."""

_LOOK_AGAIN_S = 1.0
# Pictures made for the web that may lie on disk at once, waiting for their upload.
_STAGED = 24


class Writer(Protocol):
    """What scene work needs of the catalogue: one coalescing queue for each kind of record."""

    scenes: Coalescer[queries.SceneRecord, dict[str, int]]
    uploads: Coalescer[queries.ConfirmedUpload, None]
    removals: Coalescer[queries.RemovedObject, None]
    loose: Coalescer[tuple[str, str], None]


class Reader(Protocol):
    """What scene work needs of the worker processes."""

    async def inspect(self, path: str, root: str | None = None) -> PhotoFacts: ...
    async def render(self, path: str, destination: Path, expect_sha256: str) -> Rendition: ...


@dataclass(slots=True)
class _Version:
    """The version to upload, whether it was just recorded or known before."""

    version_id: int
    sha256: str
    md5: str
    size_bytes: int
    content_type: str
    needs_rendering: bool
    decode_error: str | None


class SceneWork:
    """Does scenes of one run. Storage errors do not stop the recording of what is on disk: they are kept in
    `run.error`, and later uploads of the run are not tried."""

    def __init__(
        self,
        run: SyncRun,
        rules: SiteRules,
        *,
        root: str,
        pool: Reader,
        sink: Callable[[], Awaitable[Sink]],
        writer: Writer,
        staging_dir: Path,
        emit: Callable[[str, str, str], None],
    ) -> None:
        self._run = run
        self._rules = rules
        self._root = root
        self._pool = pool
        self._sink = sink
        self._writer = writer
        self._staging_dir = staging_dir
        self._emit = emit
        self._staged = anyio.Semaphore(_STAGED)

    async def do(self, batch: BatchPlan, scene: ScenePlan, held: frozenset[str]) -> None:
        """All steps of one scene. `held` are keys whose removal waits for a person."""
        try:
            facts, files = await self._read(scene)
        except Changed:
            self._run.look_again_in(batch.batch_name, _LOOK_AGAIN_S)
            return
        waits = any(removal.key in held for removal in scene.removals)
        ids = await self._record(batch, scene, facts, files, waits=waits)
        # What was live stays live until its successor is.
        if scene.upload_key is not None and not await self._upload(batch, scene, facts, ids):
            return
        for removal in scene.removals:
            if removal.key not in held:
                await self._remove(scene, removal)

    # --- read and record ----------------------------------------------------------------------------

    async def _read(self, scene: ScenePlan) -> tuple[dict[str, PhotoFacts], list[queries.FileRecord]]:
        facts: dict[str, PhotoFacts] = {}
        files = []
        for candidate in scene.records:
            seen, known = candidate.seen, candidate.known
            try:
                read = await self._pool.inspect(seen.local_path, self._root)
            except Changed:
                raise
            except (Refused, Transient) as error:
                self._failed(seen.local_path, error.message)
                continue
            if read.stat != seen.stat:
                raise Changed(f"{seen.local_path} changed after it was listed")
            facts[seen.relative_path] = read
            same = known is not None and known.sha256 == read.sha256 and known.scene_id == scene.scene_id
            files.append(queries.FileRecord(seen, read, known.version_id if known else None, same))
        return facts, files

    async def _record(
        self,
        batch: BatchPlan,
        scene: ScenePlan,
        facts: dict[str, PhotoFacts],
        files: list[queries.FileRecord],
        *,
        waits: bool,
    ) -> dict[str, int]:
        """Version ids by relative path. Counts and shows what is new; failed pictures are listed here."""
        current = scene.current.seen.relative_path if scene.current else None
        unread = current is not None and scene.current in scene.records and current not in facts
        set_current = scene.set_current and not unread and not waits
        if not (files or set_current or (scene.is_new and not scene.records)):
            return {}
        loose = None
        if scene.upload_key is not None and not unread:
            loose = (self._rules.storage_id, scene.upload_key)
        ids = await self._writer.scenes.add(
            queries.SceneRecord(
                scene.scene_id,
                batch.batch_name,
                scene.base_filename,
                tuple(files),
                set_current,
                current,
                _capture_date(scene, facts, self._rules.stages),
                loose,
            )
        )
        for file in files:
            if file.facts.decode_error is not None:
                self._failed(file.seen.local_path, file.facts.decode_error)
            if file.same_content:
                continue
            self._did(Action("record", scene.scene_id, file.seen.stage, file.seen.local_path, None))
            self._run.recorded.add(file.seen.local_path)
            if scene.upload_key is None or file.seen.relative_path != current:
                self._emit("recorded", scene.scene_id, f"recorded {file.seen.relative_path}")
        return ids

    # --- upload and remove --------------------------------------------------------------------------

    async def _upload(
        self,
        batch: BatchPlan,
        scene: ScenePlan,
        facts: dict[str, PhotoFacts],
        ids: dict[str, int],
    ) -> bool:
        """True when the scene's current version is live afterwards."""
        current, key = scene.current, scene.upload_key
        if current is None or key is None:
            return False
        version = _version(current, facts, ids)
        if version is None or version.decode_error is not None:
            return False
        known = current.known
        if (
            known is not None
            and known.version_id == version.version_id
            and known.r2_key == key
            and known.storage_id == self._rules.storage_id
            and known.sha256 == version.sha256
        ):
            return True  # read again, found the same: what is live is what is here
        if self._run.error is not None:
            return False
        path = current.seen.local_path
        try:
            if not ids:
                await self._writer.loose.add((self._rules.storage_id, key))
            stored, sha256 = await self._put(version, key, path)
        except Changed:
            self._run.look_again_in(batch.batch_name, _LOOK_AGAIN_S)
            return False
        except Refused as error:
            self._failed(path, error.message)
            return False
        except (Transient, AuthRejected) as error:
            self._run.error = self._run.error or error
            return False
        await self._writer.uploads.add(
            queries.ConfirmedUpload(
                version.version_id,
                scene.scene_id,
                key,
                self._rules.storage_id,
                sha256,
                stored.size_bytes,
                stored.etag,
            )
        )
        self._run.uploaded += 1
        self._run.bytes += stored.size_bytes
        self._did(Action("upload", scene.scene_id, current.seen.stage, path, key))
        self._emit("uploaded", scene.scene_id, f"uploaded {key}")
        return True

    async def _put(self, version: _Version, key: str, path: str) -> tuple[StoredObject, str]:
        """The confirmed object and the SHA-256 of its bytes."""
        async with self._staged if version.needs_rendering else nullcontext():
            return await put_version(
                await self._sink(),
                self._pool,
                self._staging_dir,
                key=key,
                path=path,
                sha256=version.sha256,
                md5=version.md5,
                size_bytes=version.size_bytes,
                content_type=version.content_type,
                needs_rendering=version.needs_rendering,
            )

    async def _remove(self, scene: ScenePlan, removal: Removal) -> None:
        if self._run.error is not None:
            return
        version = removal.version
        try:
            if removal.delete_object:
                # Killed before the record, the next run must not believe that it is live.
                await self._writer.loose.add((self._rules.storage_id, removal.key))
                await (await self._sink()).delete(removal.key)
        except Refused as error:
            self._failed(version.local_path, error.message)
            return
        except (Transient, AuthRejected) as error:
            self._run.error = self._run.error or error
            return
        await self._writer.removals.add(
            queries.RemovedObject(version.version_id, removal.key, self._rules.storage_id)
        )
        self._run.removed += 1
        self._did(Action("remove", scene.scene_id, version.stage, version.local_path, removal.key))
        self._emit("removed", scene.scene_id, f"removed {removal.key}")

    # --- telling ------------------------------------------------------------------------------------

    def _did(self, action: Action) -> None:
        self._run.actions.append(action)
        self._run.done_steps += 1

    def _failed(self, path: str, reason: str) -> None:
        self._run.failed[path] = reason
        self._run.done_steps += 1
        self._emit("failed", path, reason)


async def put_version(
    sink: Sink,
    pool: Reader,
    staging_dir: Path,
    *,
    key: str,
    path: str,
    sha256: str,
    md5: str,
    size_bytes: int,
    content_type: str,
    needs_rendering: bool,
) -> tuple[StoredObject, str]:
    """Puts a file, or the JPEG rendered from it, under `key`; the confirmed object and the SHA-256 of its
    bytes. Raises what sinks and workers raise, Changed when the file is not the one that was recorded."""
    if not needs_rendering:
        upload = Upload(key, Path(path), size_bytes, sha256, md5, content_type, CACHE_CONTROL)
        return await sink.put(upload), sha256
    staged = staging_dir / f"{uuid4().hex}.jpg"
    try:
        made = await pool.render(path, staged, sha256)
        upload = Upload(
            key,
            staged,
            made.size_bytes,
            made.sha256,
            made.md5,
            "image/jpeg",
            CACHE_CONTROL,
            source_sha256=sha256,
        )
        return await sink.put(upload), upload.sha256
    finally:
        staged.unlink(missing_ok=True)


def _version(current: Candidate, facts: dict[str, PhotoFacts], ids: dict[str, int]) -> _Version | None:
    path = current.seen.relative_path
    read, known = facts.get(path), current.known
    if read is not None:
        return _Version(
            ids[path],
            read.sha256,
            read.md5,
            read.stat.size_bytes,
            read.content_type or "application/octet-stream",
            read.needs_rendering,
            read.decode_error,
        )
    if known is None or not current.unchanged:
        return None
    return _Version(
        known.version_id,
        known.sha256,
        known.md5,
        known.stat.size_bytes,
        known.content_type or "application/octet-stream",
        known.needs_rendering,
        known.decode_error,
    )


def _capture_date(scene: ScenePlan, facts: dict[str, PhotoFacts], stages: tuple[str, ...]) -> str | None:
    """EXIF date of the best version that has one: best stage first, newest within it."""
    rank = {stage: place for place, stage in enumerate(stages)}
    dated = []
    for candidate in scene.candidates:
        read = facts.get(candidate.seen.relative_path)
        moment = read.captured_at if read else candidate.known.captured_at if candidate.known else None
        if moment is not None:
            place = rank.get(candidate.seen.stage, len(rank))
            dated.append((-place, candidate.seen.stat.mtime_ns, moment))
    return max(dated)[2] if dated else None
