"""Brings scenes back from storage, each verified by SHA-256 before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import uuid4

import anyio
import anyio.to_thread

from syncd.catalogue import site as queries
from syncd.catalogue.site import LiveObject
from syncd.errors import AuthRejected, Refused, Transient
from syncd.flows.site import Site
from syncd.sinks.sink import Sink

Progress = Callable[[int, int], None]


class PulledFile(NamedTuple):
    """A scene's object as a local file."""

    scene_id: str
    path: str
    sha256: str


class SceneReason(NamedTuple):
    """A scene that could not be pulled, and why."""

    scene_id: str
    reason: str


@dataclass(slots=True)
class Pull:
    """What a pull brought."""

    files: list[PulledFile] = field(default_factory=list)
    failed: list[SceneReason] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape `pull` of the contract."""
        return {
            "pulled": len(self.files),
            "files": [item._asdict() for item in sorted(self.files)],
            "failed": [item._asdict() for item in sorted(self.failed)],
        }


async def pull(
    site: Site,
    to: Path,
    *,
    scene_ids: Collection[str] | None,
    batch: str | None,
    progress: Progress,
) -> Pull:
    """Downloads the live objects of these scenes, or of the batch, as `<to>/<scene_id>.<ext>`.

    A file that is there with the same bytes counts as pulled; one with others is never overwritten.
    Raises Refused when `to` cannot be made.
    """
    storage_id = site.storage_id
    async with site.catalogue.reader() as db:
        live = await queries.load_live(db, storage_id, scene_ids=scene_ids, batch=batch)
    result = Pull()
    found = {item.scene_id for item in live}
    result.failed.extend(
        SceneReason(scene_id, "not live: there is nothing of it in storage")
        for scene_id in sorted(set(scene_ids or ()) - found)
    )
    if not live:
        return result
    try:
        await anyio.to_thread.run_sync(lambda: to.mkdir(parents=True, exist_ok=True))
    except OSError as error:
        raise Refused(f"{to} cannot be made: {error.strerror}") from error
    sink = await site.sink(storage_id)
    queue = iter(live)
    done = 0

    async def worker() -> None:
        nonlocal done
        for item in queue:
            try:
                result.files.append(await _pull_one(sink, item, to))
            except (Refused, Transient, AuthRejected) as error:
                result.failed.append(SceneReason(item.scene_id, error.message))
            except OSError as error:
                result.failed.append(SceneReason(item.scene_id, error.strerror or str(error)))
            done += 1
            progress(done, len(live))

    async with anyio.create_task_group() as tasks:
        for _ in range(min(len(live), site.config.storage.concurrency)):
            tasks.start_soon(worker)
    return result


async def _pull_one(sink: Sink, item: LiveObject, to: Path) -> PulledFile:
    name = item.scene_id + PurePosixPath(item.key).suffix
    if "/" in name or name in {".", ".."}:
        raise Refused(f"{name!r} is no file name")
    target = to / name
    there = await anyio.to_thread.run_sync(_sha256_of, target)
    if there is not None:
        if there == item.object_sha256:
            return PulledFile(item.scene_id, str(target), there)
        raise Refused(f"{target} exists and is a different file")
    staged = to / f".syncd-{uuid4().hex}.part"
    try:
        digest = await sink.get(item.key, staged)
        if digest != item.object_sha256:
            raise Refused(f"storage sent other bytes than were uploaded (SHA-256 {digest})")
        # A link fails where the name was taken meanwhile; a rename would replace the file.
        await anyio.to_thread.run_sync(_link, staged, target)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: staged.unlink(missing_ok=True))
    return PulledFile(item.scene_id, str(target), digest)


def _link(staged: Path, target: Path) -> None:
    try:
        os.link(staged, target)
    except FileExistsError:
        raise
    except OSError:
        # File systems without hard links: claim the name first, then replace what was claimed.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        staged.replace(target)


def _sha256_of(path: Path) -> str | None:
    """None when there is nothing; a folder or a link counts as a different file."""
    import hashlib

    if not os.path.lexists(path):
        return None
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
