"""The asker's side: files of a folder are checked, taken, and recorded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import aiosqlite
import anyio.to_thread
import msgspec

from syncd.catalogue import _sqlite, exchange_images
from syncd.catalogue import exchange as queries
from syncd.catalogue.exchange import Done, FileRow
from syncd.catalogue.exchange_archive import Archive
from syncd.catalogue.exchange_images import NewImage
from syncd.control import schema
from syncd.errors import Refused, SyncdError, Transient
from syncd.flows import exchange_copy as copying
from syncd.flows import exchange_files as formats
from syncd.flows.exchange_copy import Folder, Gone
from syncd.flows.exchange_export import lock_name
from syncd.flows.exchange_files import Given
from syncd.flows.exchange_home import find_list, home_of, staging_of
from syncd.flows.exchange_names import file_name, safe_author
from syncd.flows.exchange_room import check_room
from syncd.flows.exchange_work import NAMED, PAGE_FILES, Operation, in_threads
from syncd.flows.jobs import Progress
from syncd.text import printable

_UNRECORDABLE = (_sqlite.Error, ValueError, TypeError, AttributeError, OverflowError)
"""What may come of values that somebody else wrote, of any length and size."""


class _Wanted(NamedTuple):
    """An entry of the manifest, and the file of the list that it is."""

    entry: Given
    row: FileRow


class _Taken(NamedTuple):
    """A file in its place."""

    wanted: _Wanted
    path: str
    was_there: bool


async def take(
    archive: Archive, list_id: str, import_dir: Path, *, dry_run: bool, progress: Progress
) -> schema.ExchangeImported:
    """Takes what `import_dir` holds for the list; interrupted, it goes on where it was. Raises NotFound for
    a list that is not known, Refused for a folder that cannot be used, Transient when the disk is full."""
    found = await find_list(archive, list_id)
    if found.role != "asks":
        raise Refused(
            "this archive gives the files of that list, it does not ask for them",
            hint="the owner of the other archive imports",
        )
    with copying.open_folder(import_dir) as folder:
        copying.refuse_locked(folder, lock_name(found.list_id))
        work = _Import(archive, found, folder, dry_run=dry_run, progress=progress)
        return await work.run()


class _Import:
    """One import on its way."""

    def __init__(
        self,
        archive: Archive,
        found: queries.ListRow,
        folder: Folder,
        *,
        dry_run: bool,
        progress: Progress,
    ) -> None:
        self._archive = archive
        self._list = found
        self._folder = folder
        self._dry_run = dry_run
        self._progress = progress
        self._home = home_of(archive)
        self._staging = staging_of(archive, found.list_id)
        self._rejected: list[schema.FileReason] = []
        self._rejected_count = 0
        self._seen: set[int] = set()
        # What came before an interruption needs no second look; who asks again after the end does so because
        # something is missing, or is not as it came.
        self._trusts_sizes = found.status in ("running", "failed")

    async def run(self) -> schema.ExchangeImported:
        name = formats.manifest_name(self._list.list_id)
        try:
            descriptor = self._folder.open_file(name)
        except Gone as error:
            raise Refused(
                f"{printable(str(self._folder.path))} holds no export of that list: there is no {name}",
                hint="name the folder that was exported into; an export that was interrupted has none yet",
            ) from error
        except Refused as error:
            raise Refused(f"{printable(str(self._folder.path / name))}: {error.message}") from error
        with os.fdopen(descriptor, "rb") as file:
            reader = formats.Reader(self._folder.path / name, file)
            head = reader.head(formats.ManifestHead, formats.MANIFEST_KIND, "the manifest of an export")
            if head.list_id != self._list.list_id:
                raise Refused(f"{reader} is the manifest of another list, {printable(head.list_id)}")
            if self._dry_run:
                return await self._check_all(reader.given())
            await check_room(self._archive, self._home, self._folder, name)
            return await self._take_all(reader.given())

    # --- a dry run --------------------------------------------------------------------------------

    async def _check_all(self, entries: Iterator[Given | Refused]) -> schema.ExchangeImported:
        """Reads every file and takes none."""
        counts = {"imported": 0, "already_here": 0}
        done = size_bytes = 0
        while page := await self._next(entries):
            wanted, held = page
            for one, outcome in zip(wanted, await in_threads(self._hash, wanted), strict=True):
                if isinstance(outcome, SyncdError):
                    self._reject(one.entry.file, outcome.message)
                elif one.entry.sha256 in held and one.row.status not in queries.ARRIVED:
                    counts["already_here"] += 1
                else:
                    counts[one.row.status if one.row.status in counts else "imported"] += 1
                    size_bytes += one.entry.size_bytes
            done += len(wanted)
            self._progress(done, self._list.total_files)
        arrived = sum(counts.values())
        return schema.ExchangeImported(
            list_id=self._list.list_id, imported=counts["imported"], already_here=counts["already_here"],
            rejected=self._rejected, dry_run=True, bytes=size_bytes,
            missing=max(0, self._list.total_files - arrived - self._rejected_count),
        )  # fmt: skip

    def _hash(self, wanted: _Wanted) -> SyncdError | None:
        try:
            descriptor = self._open(wanted.entry)
            try:
                _compare(copying.read_hash(descriptor), wanted.entry)
            finally:
                os.close(descriptor)
        except SyncdError as error:
            return error
        return None

    # --- for real ---------------------------------------------------------------------------------

    async def _take_all(self, entries: Iterator[Given | Refused]) -> schema.ExchangeImported:
        archive, list_id = self._archive, self._list.list_id
        await anyio.to_thread.run_sync(self._make_staging)
        await archive.write(lambda db: queries.reset(db, list_id, ("missing", "rejected", "failed")))
        await archive.write(lambda db: queries.set_list(db, list_id, folder=str(self._folder.path)))
        async with Operation(archive, "import", list_id, str(self._folder.path)) as operation:
            done = 0
            while page := await self._next(entries):
                wanted, held = page
                await self._take_page(operation, wanted, held)
                done += len(wanted)
                self._progress(done, self._list.total_files)
            await archive.write(
                lambda db: queries.note_absent(db, list_id, operation.operation_id, "it is not in the folder")
            )
            await self._note_known_by_url()
            await anyio.to_thread.run_sync(partial(shutil.rmtree, self._staging, ignore_errors=True))
            counts = await archive.read(lambda db: queries.counts(db, list_id))
            size_bytes = await archive.read(lambda db: queries.total_bytes(db, list_id, ("imported",)))
            arrived = sum(counts.get(status, 0) for status in queries.ARRIVED)
            bad = self._rejected_count + counts.get("missing", 0)
            await operation.finish(arrived + bad, arrived, bad)
        return schema.ExchangeImported(
            list_id=list_id, imported=counts.get("imported", 0), already_here=counts.get("already_here", 0),
            rejected=self._rejected, missing=counts.get("missing", 0), bytes=size_bytes,
        )  # fmt: skip

    def _make_staging(self) -> None:
        folder = self._home.folder
        try:
            if not folder.exists():
                folder.mkdir(mode=0o700, parents=True)
                folder.chmod(0o755 if self._home.is_relative else 0o700)
            self._staging.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise copying.refusal(
                error, f"{printable(str(self._home.folder))} cannot be written to"
            ) from error

    async def _next(self, entries: Iterator[Given | Refused]) -> tuple[list[_Wanted], dict[str, int]] | None:
        """The next files that the list asks for, each once, and which of them are here; None at the end.
        What is not believed or not asked for is rejected."""
        lines = await anyio.to_thread.run_sync(lambda: list(islice(entries, PAGE_FILES)))
        if not lines:
            return None
        believed = []
        for line in lines:
            if isinstance(line, Refused):
                self._reject(formats.manifest_name(self._list.list_id), line.message)
            elif reason := formats.wrong_place(line):
                self._reject(line.file, reason)
            elif int(line.sha256[:15], 16) in self._seen:
                self._reject(line.file, "it is in the manifest twice")
            else:
                self._seen.add(int(line.sha256[:15], 16))
                believed.append(line)
        hashes, urls = {line.sha256 for line in believed}, {line.url for line in believed if line.url}
        rows = await self._archive.read(lambda db: queries.files_named(db, self._list.list_id, hashes, urls))
        held = await self._archive.read(lambda db: exchange_images.held(db, hashes))
        by_name = {row.name: row for row in rows}
        wanted = []
        for line in believed:
            row = by_name.get(line.sha256) or by_name.get(line.url or "")
            if row is None:
                self._reject(line.file, "the list does not ask for it")
            else:
                wanted.append(_Wanted(line, row))
        return wanted, held

    async def _take_page(self, operation: Operation, wanted: Sequence[_Wanted], held: dict[str, int]) -> None:
        already, fresh = [], []
        are_whole = await in_threads(self._is_whole, wanted)
        for one, is_whole in zip(wanted, are_whole, strict=True):
            if is_whole:
                continue
            is_lost = one.row.status == "imported" and one.row.image_id is not None
            if one.entry.sha256 in held and not is_lost:
                already.append(
                    Done(
                        one.row.file_id,
                        "already_here",
                        one.entry.sha256,
                        image_id=held[one.entry.sha256],
                        size_bytes=one.entry.size_bytes,
                    )
                )
            else:
                fresh.append(one)
        await operation.note(already)
        outcomes = await in_threads(self._take_one, fresh)
        taken = [outcome for outcome in outcomes if isinstance(outcome, _Taken)]
        await anyio.to_thread.run_sync(
            _flush_folders, {Path(self._absolute(one.path)).parent for one in taken}
        )
        await self._record(operation, taken)
        refused = []
        for one, outcome in zip(fresh, outcomes, strict=True):
            if isinstance(outcome, Transient):
                raise outcome
            if isinstance(outcome, Gone):
                refused.append(Done(one.row.file_id, "missing", one.entry.sha256, reason=outcome.message))
            elif isinstance(outcome, SyncdError):
                refused.append(self._turn_down(one, outcome.message))
        await operation.note(refused)

    def _turn_down(self, one: _Wanted, reason: str) -> Done:
        self._reject(one.entry.file, reason)
        return Done(one.row.file_id, "rejected", one.entry.sha256, reason=reason)

    async def _record(self, operation: Operation, taken: Sequence[_Taken]) -> None:
        """Rows of files that are in their places: together, or where that fails one by one, each of them
        whole or not at all. A file that cannot be recorded does not stay."""
        try:
            if taken:
                await self._archive.write(partial(self._add, operation.operation_id, taken))
            return
        except _UNRECORDABLE:
            pass
        for one in taken:
            try:
                await self._archive.write(partial(self._add, operation.operation_id, [one]))
            except _UNRECORDABLE as error:
                if not one.was_there:
                    await anyio.to_thread.run_sync(partial(_remove, self._absolute(one.path)))
                await operation.note([self._turn_down(one.wanted, f"it cannot be recorded: {error}")])

    async def _add(self, operation_id: str, taken: Sequence[_Taken], db: aiosqlite.Connection) -> None:
        done = []
        for (entry, row), path, _ in taken:
            image = NewImage(
                url=entry.url or row.url, metadata=_metadata(entry, row), sha256=entry.sha256,
                local_path=path, size_bytes=entry.size_bytes, list_id=self._list.list_id,
            )  # fmt: skip
            lost = row.image_id if row.status == "imported" else None
            image_id = await exchange_images.add(db, image, self._archive.columns, lost)
            done.append(
                Done(row.file_id, "imported", entry.sha256, path, entry.size_bytes, image_id=image_id)
            )
        await queries.note_done(db, operation_id, done)

    async def _note_known_by_url(self) -> None:
        """Files that nobody has, but whose address and story they told: those are known here from now on."""
        list_id, after = self._list.list_id, 0

        async def add(rows: Sequence[FileRow], db: aiosqlite.Connection) -> None:
            for row in rows:
                image = NewImage(url=row.url, metadata=_told(row), list_id=list_id)
                image_id = await exchange_images.add(db, image, self._archive.columns)
                await queries.set_image(db, row.file_id, image_id)

        while rows := await self._archive.read(
            lambda db, after=after: queries.files(  # type: ignore[misc]
                db, list_id, after=after, limit=PAGE_FILES, statuses=("missing",), only_url=True
            )
        ):
            after = rows[-1].file_id
            await self._archive.write(partial(add, [row for row in rows if row.image_id is None]))

    # --- one file, in a thread --------------------------------------------------------------------

    def _take_one(self, wanted: _Wanted) -> _Taken | SyncdError:
        try:
            source = self._open(wanted.entry)
        except SyncdError as error:
            return error
        staged = self._staging / f"{wanted.row.file_id}-{uuid4().hex[:8]}.part"
        try:
            _compare(copying.copy(source, staged, shared=self._home.is_relative), wanted.entry)
            return self._place(staged, wanted)
        except SyncdError as error:
            return error
        finally:
            os.close(source)
            staged.unlink(missing_ok=True)

    def _is_whole(self, wanted: _Wanted) -> bool:
        """Whether the file has come before, and is still here as it came."""
        entry, row = wanted
        if row.status not in queries.ARRIVED or row.image_id is None:
            return False
        if row.status == "already_here":
            return True
        try:
            descriptor = copying.open_source(self._archive.folder / (row.local_path or row.export_path or ""))
        except SyncdError:
            return False
        try:
            if os.fstat(descriptor).st_size != entry.size_bytes:
                return False
            return self._trusts_sizes or copying.read_hash(descriptor).sha256 == entry.sha256
        finally:
            os.close(descriptor)

    def _open(self, entry: Given) -> int:
        first, part, name = entry.file.split("/")
        with self._folder.below(first, part) as parent:
            descriptor = parent.open_file(name)
        if os.fstat(descriptor).st_size != entry.size_bytes:
            os.close(descriptor)
            raise Refused("it is not as long as the manifest says: it was cut short or changed")
        return descriptor

    def _place(self, staged: Path, wanted: _Wanted) -> _Taken:
        entry = wanted.entry
        author = safe_author(_metadata(entry, wanted.row).get("author"))
        name = entry.name or Path(entry.file).name
        with (
            copying.open_folder(self._home.folder) as home,
            home.below(author, make=True, shared=self._home.is_relative) as folder,
        ):
            for whole_hash in (False, True):
                chosen = file_name(name, entry.sha256, whole_hash=whole_hash)
                path = f"{author}/{chosen}"
                recorded = f"images/{path}" if self._home.is_relative else str(self._home.folder / path)
                if copying.place(staged, folder, chosen):
                    return _Taken(wanted, recorded, was_there=False)
                with suppress(Refused):
                    descriptor = folder.open_file(chosen)
                    try:
                        # An import that was killed before it could record it has put it there.
                        if copying.read_hash(descriptor).sha256 == entry.sha256:
                            return _Taken(wanted, recorded, was_there=True)
                    finally:
                        os.close(descriptor)
        raise Refused("another file has its name")

    def _absolute(self, path: str) -> str:
        return str(self._archive.folder / path)

    def _reject(self, file: str, reason: str) -> None:
        self._rejected_count += 1
        if len(self._rejected) < NAMED:
            self._rejected.append(schema.FileReason(file=file[:1000], reason=reason))


def _compare(content: copying.Content, entry: Given) -> None:
    if content.sha256 != entry.sha256:
        raise Refused(f"its bytes are others than the manifest says (SHA-256 {content.sha256})")


def _told(row: FileRow) -> dict[str, Any]:
    """What was kept of the file at analysis, without what nobody said."""
    kept = msgspec.json.decode(row.metadata or "{}")
    return {name: value for name, value in kept.items() if value is not None}


def _metadata(entry: Given, row: FileRow) -> dict[str, Any]:
    """What the giver says now, and where that is nothing, what was kept at analysis."""
    return {**_told(row), **msgspec.to_builtins(entry.metadata)}


def _flush_folders(folders: set[Path]) -> None:
    for path in folders:
        with copying.open_folder(path) as folder:
            folder.flush()


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - text as it was recorded
