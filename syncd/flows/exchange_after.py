"""After an import: reading again what arrived, and removing what was staged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import aiosqlite
import anyio.to_thread

from syncd.catalogue import exchange as queries
from syncd.catalogue.exchange import Done, FileRow, ListRow
from syncd.catalogue.exchange_archive import Archive
from syncd.control import schema
from syncd.errors import Refused, SyncdError
from syncd.flows import exchange_copy as copying
from syncd.flows import exchange_files as formats
from syncd.flows.exchange_copy import Folder, Gone
from syncd.flows.exchange_export import lock_name, staging_name
from syncd.flows.exchange_home import find_list, staging_of
from syncd.flows.exchange_work import NAMED, PAGE_FILES, Operation, in_threads
from syncd.flows.jobs import Progress


async def verify(archive: Archive, list_id: str, *, progress: Progress) -> schema.ExchangeVerified:
    """Reads every file that was imported for the list. Raises NotFound."""
    found = await find_list(archive, list_id)
    counts = {"ok": 0, "missing": 0, "corrupt": 0}
    problems: list[schema.FileReason] = []
    async with Operation(archive, "verify", found.list_id, str(archive.path)) as operation:
        after = 0
        while rows := await archive.read(partial(_imported, found.list_id, after)):
            after = rows[-1].file_id
            outcomes = await in_threads(partial(_check, archive.folder), rows)
            await archive.write(partial(_note, operation.operation_id, outcomes))
            for outcome in outcomes:
                counts[outcome.status] += 1
                if outcome.reason is not None and len(problems) < NAMED:
                    name = outcome.path or outcome.sha256 or ""
                    problems.append(schema.FileReason(file=name, reason=outcome.reason))
            progress(sum(counts.values()), found.processed_files)
        bad = counts["missing"] + counts["corrupt"]
        await operation.finish(sum(counts.values()), counts["ok"], bad)
        if not bad:
            listed = await archive.read(lambda db: queries.counts(db, found.list_id))
            whole = counts["ok"] and sum(listed.get(status, 0) for status in queries.ARRIVED) == sum(
                listed.values()
            )
            # Nothing has come yet, or what did not come is still to come.
            status = "verified" if whole else "partial" if counts["ok"] else found.status
            await archive.write(lambda db: queries.set_list(db, found.list_id, status=status))
    return schema.ExchangeVerified(
        list_id=found.list_id, total=sum(counts.values()), **counts, problems=problems
    )


async def _imported(list_id: str, after: int, db: aiosqlite.Connection) -> list[FileRow]:
    return await queries.files(db, list_id, after=after, limit=PAGE_FILES, statuses=("imported",))


async def _note(operation_id: str, outcomes: Sequence[Done], db: aiosqlite.Connection) -> None:
    await queries.note_checked(db, operation_id, outcomes)


def _check(folder: Path, row: FileRow) -> Done:
    path = row.local_path or row.export_path or ""
    # A file that was asked for by its address has its hash in its image's row.
    expected = row.sha256 or row.found_sha256
    try:
        descriptor = copying.open_source(folder / path)
        try:
            content = copying.read_hash(descriptor)
        finally:
            os.close(descriptor)
    except Gone as error:
        return Done(row.file_id, "missing", expected, path, reason=error.message)
    except (SyncdError, OSError) as error:
        return Done(row.file_id, "corrupt", expected, path, reason=str(error))
    if content.sha256 != expected:
        return Done(row.file_id, "corrupt", expected, path, reason="its bytes are not those that came")
    return Done(row.file_id, "ok", expected, path)


async def clean(archive: Archive, list_id: str) -> schema.ExchangeCleaned:
    """Removes what an import or an export staged for the list: half-made files, and on the giver's side the
    copies in the folder. What arrived stays. Raises NotFound."""
    found = await find_list(archive, list_id)
    removed, size_bytes = await anyio.to_thread.run_sync(_remove_staging, staging_of(archive, found.list_id))
    if found.role == "gives" and found.folder is not None:
        more, more_bytes = await _clean_export(archive, found, Path(found.folder))
        removed, size_bytes = removed + more, size_bytes + more_bytes
    return schema.ExchangeCleaned(list_id=found.list_id, removed=removed, bytes=size_bytes)


async def _clean_export(archive: Archive, found: ListRow, path: Path) -> tuple[int, int]:
    if not await anyio.to_thread.run_sync(path.is_dir):
        return 0, 0
    with (
        copying.open_folder(path) as folder,
        copying.locked(folder, lock_name(found.list_id)),
    ):
        removed, size_bytes = await anyio.to_thread.run_sync(
            _remove_staging, path / staging_name(found.list_id)
        )
        others = await anyio.to_thread.run_sync(_named_by_others, folder, found.list_id)
        after = 0
        while rows := await archive.read(
            lambda db, after=after: queries.files(  # type: ignore[misc]
                db, found.list_id, after=after, limit=1_000, statuses=queries.GIVEN
            )
        ):
            after = rows[-1].file_id
            places = [row.export_path for row in rows if row.export_path and row.export_path not in others]
            for size in await in_threads(partial(_unlink, folder), places):
                removed, size_bytes = removed + (size is not None), size_bytes + (size or 0)
        manifest = formats.manifest_name(found.list_id)
        if (size := await anyio.to_thread.run_sync(_unlink, folder, manifest)) is not None:
            removed, size_bytes = removed + 1, size_bytes + size
        await anyio.to_thread.run_sync(_remove_empty, folder)
    await archive.write(lambda db: queries.reset(db, found.list_id, ("exported",)))
    return removed, size_bytes


def _named_by_others(folder: Folder, list_id: str) -> set[str]:
    """Places of files that the manifest of another list in the folder names, too: they are somebody's."""
    found = set()
    for name in os.listdir(folder.descriptor):  # noqa: PTH208 - of the folder that is held open
        if not fnmatch(name, formats.manifest_name("*")) or name == formats.manifest_name(list_id):
            continue
        with suppress(Refused), os.fdopen(folder.open_file(name), "rb") as file:
            reader = formats.Reader(folder.path / name, file)
            reader.head(formats.ManifestHead, formats.MANIFEST_KIND, "the manifest of an export")
            found |= {entry.file for entry in reader.given() if isinstance(entry, formats.Given)}
    return found


def _remove_staging(folder: Path) -> tuple[int, int]:
    """How many files went, and their bytes."""
    if folder.is_symlink() or not folder.is_dir():
        return 0, 0
    sizes = [entry.lstat().st_size for entry in folder.iterdir() if not entry.is_dir()]
    shutil.rmtree(folder, ignore_errors=True)
    return len(sizes), sum(sizes)


def _unlink(folder: Folder, place: str) -> int | None:
    """Removes what syncd put at `place`; its size, None when it was not there."""
    *names, name = place.split("/")
    with suppress(Refused, OSError), folder.below(*names) as parent:
        facts = os.stat(name, dir_fd=parent.descriptor, follow_symlinks=False)
        os.unlink(name, dir_fd=parent.descriptor)
        return facts.st_size
    return None


def _remove_empty(folder: Folder) -> None:
    """Folders that nothing is left in."""
    with suppress(Refused, OSError), folder.below("files") as files:
        for name in os.listdir(files.descriptor):  # noqa: PTH208 - of the folder that is held open
            with suppress(OSError):
                os.rmdir(name, dir_fd=files.descriptor)
    with suppress(OSError):
        os.rmdir("files", dir_fd=folder.descriptor)
