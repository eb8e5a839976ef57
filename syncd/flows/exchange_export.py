"""The giver's side: the files that a list asks for, in a folder, with a manifest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

import aiosqlite
import anyio.to_thread

from syncd.catalogue import exchange as queries
from syncd.catalogue import exchange_images
from syncd.catalogue.exchange import Done, FileRow, ListRow
from syncd.catalogue.exchange_archive import Archive
from syncd.control import schema
from syncd.errors import Refused, SyncdError, Transient
from syncd.flows import exchange_copy as copying
from syncd.flows import exchange_files as formats
from syncd.flows.exchange_copy import Folder, Gone
from syncd.flows.exchange_work import NAMED, PAGE_FILES, Operation, in_threads
from syncd.flows.jobs import Progress
from syncd.text import human_size, now_text, printable

_LINES_AT_ONCE = 5_000
_OTHERS_AT_ONCE = 1_000
_SPARE_BYTES = 16 << 20


def staging_name(list_id: str) -> str:
    """The folder below the output that holds what is not whole yet."""
    return f".syncd-export-{list_id}"


def lock_name(list_id: str) -> str:
    return f".syncd-export-{list_id}.lock"


async def export(
    archive: Archive, list_file: Path, output_dir: Path, *, dry_run: bool, progress: Progress
) -> schema.ExchangeExported:
    """Copies what `list_file` asks for into `output_dir`. Asked for again with the same list it goes on.
    Raises Refused for a list or a folder that cannot be used, Transient when the disk is full."""
    list_id, is_new = await _load(archive, list_file)
    if dry_run:
        try:
            return await _foresee(archive, list_id, output_dir, progress)
        finally:
            if is_new:  # nothing was asked for yet
                await archive.write(lambda db: queries.drop_list(db, list_id))
    work = _Export(archive, list_id, output_dir, progress)
    return await work.run(list_file)


async def _load(archive: Archive, list_file: Path) -> tuple[str, bool]:
    """Reads the list into the archive's records; its id, and whether it was not there."""

    def look() -> formats.ListHead:
        with formats.reading(list_file) as reader:
            head = reader.head(formats.ListHead, formats.LIST_KIND, "a list of files to exchange")
            count = sum(1 for _ in reader.asked())
        if count != head.total_files:
            raise Refused(
                f"{printable(str(list_file))} holds {count:,} files and announces {head.total_files:,}",
                hint="it was cut short, or edited: then write the right total_files into its first line",
            )
        return head

    head = await anyio.to_thread.run_sync(look)
    known = await archive.read(lambda db: queries.get_list(db, head.list_id))
    if known is not None and known.list_id == head.list_id and known.role != "gives":
        raise Refused(
            "this archive made that list: it asks for what is not here",
            hint="send the list to the owner of the files, who exports",
        )
    values = {"list_file": str(list_file), "remote": head.by[:200], "asker_key": head.key[:200]}
    if known is None or known.list_id != head.list_id:
        await archive.write(lambda db: queries.add_list(db, head.list_id, role="gives", **values))
    else:
        await archive.write(lambda db: queries.set_list(db, head.list_id, **values))
    with formats.reading(list_file) as reader:
        reader.head(formats.ListHead, formats.LIST_KIND, "a list of files to exchange")
        entries = reader.asked()

        def page() -> list[tuple[str | None, str | None, int | None]]:
            rows = []
            for entry in entries:
                rows.append((entry.sha256, entry.url, entry.size_bytes))
                if len(rows) == _LINES_AT_ONCE:
                    break
            return rows

        while rows := await anyio.to_thread.run_sync(page):
            await archive.write(partial(_add, head.list_id, rows))
    await archive.write(lambda db: queries.match_images(db, head.list_id))
    await _prefer_what_is_there(archive, head.list_id)
    await archive.write(lambda db: queries.count_asked(db, head.list_id))
    return head.list_id, known is None


async def _prefer_what_is_there(archive: Archive, list_id: str) -> None:
    """Of several images with the same hash, one whose file is there is taken."""
    after = 0

    def better(other: tuple[int, int, str, str]) -> bool:
        _, _, path, first = other
        return not _is_file(archive.folder / first) and _is_file(archive.folder / path)

    async def take(chosen: Sequence[tuple[int, int]], db: aiosqlite.Connection) -> None:
        for file_id, image_id in chosen:
            await queries.set_image(db, file_id, image_id)

    while others := await archive.read(
        partial(queries.other_places, list_id=list_id, after=after, limit=_OTHERS_AT_ONCE)
    ):
        after = others[-1][0]
        outcomes = await in_threads(better, others)
        chosen = [
            (other[1], other[0]) for other, is_better in zip(others, outcomes, strict=True) if is_better
        ]
        if chosen:
            await archive.write(partial(take, chosen))


def _is_file(path: Path) -> bool:
    try:
        os.close(copying.open_source(path))
    except SyncdError:
        return False
    return True


async def _add(list_id: str, rows: Sequence[tuple[str | None, str | None, int | None]], db: object) -> None:
    await queries.add_asked(db, list_id, rows)  # type: ignore[arg-type]


async def _foresee(
    archive: Archive, list_id: str, output_dir: Path, progress: Progress
) -> schema.ExchangeExported:
    """What an export would do, by whether the files are there."""
    found = await _list(archive, list_id)
    exported = size_bytes = after = 0
    missing: list[schema.FileReason] = []
    failed: list[schema.FileReason] = []
    while rows := await archive.read(partial(_page, list_id, after)):
        after = rows[-1].file_id
        for row, outcome in zip(rows, await in_threads(partial(_look, archive.folder), rows), strict=True):
            if isinstance(outcome, int):
                exported, size_bytes = exported + 1, size_bytes + outcome
            else:
                kind = missing if isinstance(outcome, Gone) else failed
                kind.append(schema.FileReason(file=row.name, reason=str(outcome)))
        progress(exported + len(missing) + len(failed), found.total_files)
    return schema.ExchangeExported(
        list_id=list_id, exported=exported, missing=len(missing), failed=failed[:NAMED], bytes=size_bytes,
        output_dir=str(output_dir), dry_run=True, missing_files=missing[:NAMED],
    )  # fmt: skip


async def _list(archive: Archive, list_id: str) -> ListRow:
    found = await archive.read(lambda db: queries.get_list(db, list_id))
    assert found is not None
    return found


async def _page(list_id: str, after: int, db: object, statuses: Sequence[str] | None = None) -> list[FileRow]:
    return await queries.files(db, list_id, after=after, limit=PAGE_FILES, statuses=statuses)  # type: ignore[arg-type]


def _look(folder: Path, row: FileRow) -> int | SyncdError:
    """The size of the file, or why there is none."""
    try:
        descriptor = copying.open_source(_source(folder, row))
    except SyncdError as error:
        return error
    size_bytes = os.fstat(descriptor).st_size
    os.close(descriptor)
    return size_bytes


def _source(folder: Path, row: FileRow) -> Path:
    """Where the archive has the file. Raises Gone when it has none."""
    if not row.local_path:
        raise Gone("this archive has no such file")
    return folder / row.local_path


class _Export:
    """One export on its way."""

    def __init__(self, archive: Archive, list_id: str, output_dir: Path, progress: Progress) -> None:
        self._archive = archive
        self._list_id = list_id
        self._output_dir = output_dir
        self._progress = progress
        self._staging = output_dir / staging_name(list_id)
        self._trusts_sizes = False

    async def run(self, list_file: Path) -> schema.ExchangeExported:
        with (
            copying.open_folder(self._output_dir, make=True) as folder,
            copying.locked(folder, lock_name(self._list_id)),
        ):
            return await self._run(folder, list_file)

    async def _run(self, folder: Folder, list_file: Path) -> schema.ExchangeExported:
        archive, list_id = self._archive, self._list_id
        found = await _list(archive, list_id)
        moved = found.folder is not None and found.folder != str(self._output_dir)
        # What was placed before an interruption needs no second look; who asks again after the end does so
        # because something in the folder is not right.
        self._trusts_sizes = found.status in ("running", "failed")
        again = (*(queries.GIVEN if moved else ()), "missing", "failed")
        await archive.write(lambda db: queries.reset(db, list_id, again))
        await archive.write(lambda db: queries.set_list(db, list_id, folder=str(self._output_dir)))
        await self._check_room()
        async with Operation(archive, "export", list_id, str(list_file)) as operation:
            await anyio.to_thread.run_sync(self._make_staging, folder)
            after = done = 0
            while rows := await archive.read(partial(_page, list_id, after)):
                after = rows[-1].file_id
                outcomes = await in_threads(partial(self._give, folder), rows)
                finished = [outcome for outcome in outcomes if isinstance(outcome, Done)]
                await anyio.to_thread.run_sync(_flush, folder, finished)
                await operation.note(finished)
                for outcome in outcomes:
                    if isinstance(outcome, SyncdError):
                        raise outcome
                done += len(rows)
                self._progress(done, found.total_files)
            manifest = await self._write_manifest(folder)
            await anyio.to_thread.run_sync(partial(shutil.rmtree, self._staging, ignore_errors=True))
            return await self._report(operation, manifest)

    def _make_staging(self, folder: Folder) -> None:
        with (
            folder.below(staging_name(self._list_id), make=True),
            folder.below("files", make=True, shared=True),
        ):
            return

    async def _check_room(self) -> None:
        """Refuses before anything is copied when it cannot fit. Blocks that are shared need no room."""
        needed = after = 0
        first: FileRow | None = None
        while rows := await self._archive.read(partial(_page, self._list_id, after, statuses=("pending",))):
            after = rows[-1].file_id
            sizes = await in_threads(partial(_look, self._archive.folder), rows)
            for row, size in zip(rows, sizes, strict=True):
                if isinstance(size, int):
                    needed, first = needed + size, first or row
        free = await anyio.to_thread.run_sync(lambda: shutil.disk_usage(self._output_dir).free)
        if needed + _SPARE_BYTES > free and first is not None:
            raise Transient(
                f"{human_size(needed)} do not fit into {printable(str(self._output_dir))}:"
                f" {human_size(free)} are free",
                hint="name a folder on a larger disk, or free some space; nothing was copied",
            )

    def _give(self, folder: Folder, row: FileRow) -> Done | SyncdError:
        """One file into the folder. In a thread. A full disk is returned, everything else is an outcome."""
        try:
            if row.status in queries.GIVEN and row.export_path and self._is_there(folder, row):
                return Done(row.file_id, row.status, row.sha256)
            return self._copy(folder, row)
        except Gone as error:
            return Done(row.file_id, "missing", row.sha256, reason=error.message)
        except Refused as error:
            return Done(row.file_id, "failed", row.sha256, reason=error.message)
        except Transient as error:
            return error

    def _is_there(self, folder: Folder, row: FileRow) -> bool:
        *names, name = (row.export_path or "").split("/")
        try:
            with folder.below(*names) as parent:
                descriptor = parent.open_file(name)
        except Refused:
            return False
        try:
            if os.fstat(descriptor).st_size != row.size_bytes:
                return False
            return self._trusts_sizes or copying.read_hash(descriptor).sha256 == name.partition(".")[0]
        finally:
            os.close(descriptor)

    def _copy(self, folder: Folder, row: FileRow) -> Done:
        source_path = _source(self._archive.folder, row)
        source = copying.open_source(source_path)
        staged = self._staging / f"{row.file_id}-{uuid4().hex[:8]}.part"
        try:
            before = os.fstat(source)
            place = formats.place_of(row.sha256, source_path.name) if row.sha256 else None
            if place is not None and self._was_placed(folder, place, row.sha256 or ""):
                return Done(row.file_id, "exported", row.sha256, place, before.st_size)
            content = copying.copy(source, staged, shared=True)
            if row.sha256 is not None and content.sha256 != row.sha256:
                raise Refused("the file changed: it has another SHA-256 now")
            if not copying.is_as_was(source, before):
                raise Refused("the file changed while it was copied")
            place = place or formats.place_of(content.sha256, source_path.name)
            _, part, name = place.split("/")
            with folder.below("files", part, make=True, shared=True) as parent:
                copying.replace(staged, parent, name)
            return Done(row.file_id, "exported", content.sha256, place, content.size_bytes)
        finally:
            os.close(source)
            staged.unlink(missing_ok=True)

    def _was_placed(self, folder: Folder, place: str, sha256: str) -> bool:
        """Whether a run that was killed before it could record it has put the file there."""
        *names, name = place.split("/")
        try:
            with folder.below(*names) as parent:
                descriptor = parent.open_file(name)
        except Refused:
            return False
        try:
            return copying.read_hash(descriptor).sha256 == sha256
        finally:
            os.close(descriptor)

    async def _write_manifest(self, folder: Folder) -> str:
        name = formats.manifest_name(self._list_id)
        staged = self._staging / name
        counts = await self._archive.read(lambda db: queries.counts(db, self._list_id))
        total = sum(counts.get(status, 0) for status in queries.GIVEN)
        head = formats.ManifestHead(
            kind=formats.MANIFEST_KIND, schema=formats.SCHEMA, list_id=self._list_id, created_at=now_text(),
            by=os.uname().nodename, total_files=total,
        )  # fmt: skip
        with staged.open("wb") as file:
            file.write(formats.encode(head))
            after = 0
            while rows := await self._archive.read(
                partial(_page, self._list_id, after, statuses=queries.GIVEN)
            ):
                after = rows[-1].file_id
                ids = [row.image_id for row in rows if row.image_id is not None]
                about = await self._archive.read(
                    partial(exchange_images.described, ids=ids, columns=self._archive.columns)
                )
                lines = b"".join(_entry(row, about.get(row.image_id or 0, {})) for row in rows)
                await anyio.to_thread.run_sync(file.write, lines)
            file.flush()
            os.fchmod(file.fileno(), copying.SHARED_FILE)
            await anyio.to_thread.run_sync(os.fsync, file.fileno())
        copying.replace(staged, folder, name)
        await anyio.to_thread.run_sync(folder.flush)
        return str(self._output_dir / name)

    async def _report(self, operation: Operation, manifest: str) -> schema.ExchangeExported:
        list_id = self._list_id
        counts = await self._archive.read(lambda db: queries.counts(db, list_id))
        size_bytes = await self._archive.read(lambda db: queries.total_bytes(db, list_id, queries.GIVEN))
        given = sum(counts.get(status, 0) for status in queries.GIVEN)
        missing, failed = [await self._named(status) for status in ("missing", "failed")]
        bad = counts.get("missing", 0) + counts.get("failed", 0)
        await operation.finish(given + bad, given, bad)
        return schema.ExchangeExported(
            list_id=list_id, exported=given, missing=counts.get("missing", 0), failed=failed,
            bytes=size_bytes, output_dir=str(self._output_dir), missing_files=missing, manifest=manifest,
        )  # fmt: skip

    async def _named(self, status: str) -> list[schema.FileReason]:
        rows = await self._archive.read(
            lambda db: queries.files(db, self._list_id, limit=NAMED, statuses=(status,))
        )
        return [schema.FileReason(file=row.name, reason=row.reason or "") for row in rows]


def _entry(row: FileRow, about: dict[str, object]) -> bytes:
    """A line of the manifest. For a file that had no hash, the record has the one that was found."""
    import msgspec

    place = row.export_path or ""
    url = about.pop("url", None) or row.url
    return formats.encode(
        formats.Given(
            sha256=place.rpartition("/")[2].partition(".")[0],
            size_bytes=row.size_bytes or 0,
            file=place,
            url=None if url is None else str(url),
            name=Path(row.local_path or "").name.encode("utf-8", "replace").decode(),
            metadata=msgspec.convert(about, formats.Metadata, strict=False),
        )
    )


def _flush(folder: Folder, done: Sequence[Done]) -> None:
    """Makes the names of what was placed durable, before it is recorded."""
    for part in {place.split("/")[1] for one in done if (place := one.path)}:
        with folder.below("files", part) as parent:
            parent.flush()
