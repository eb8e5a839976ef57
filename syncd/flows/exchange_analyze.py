"""What another archive has and this one lacks, as a list to send."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread

from syncd.catalogue import exchange as queries
from syncd.catalogue import exchange_compare as comparing
from syncd.catalogue import exchange_remote as remote
from syncd.catalogue.exchange_archive import Archive
from syncd.catalogue.exchange_compare import Comparison, Difference
from syncd.catalogue.exchange_remote import Source
from syncd.control import schema
from syncd.errors import Refused
from syncd.flows import exchange_files as formats
from syncd.flows.exchange_near import Near, find_near
from syncd.flows.exchange_work import Operation
from syncd.flows.jobs import Progress
from syncd.text import now_text, printable

_ROWS_AT_ONCE = 10_000
_STEPS = 100
"""What the comparison itself counts as, of the steps that are shown."""


async def analyze(
    archive: Archive,
    remote_db: Path,
    *,
    list_id: str,
    lists_dir: Path,
    scratch_dir: Path,
    key: str,
    dry_run: bool,
    progress: Progress,
) -> schema.ExchangeAnalysis:
    """Compares, and unless it is a dry run stores the list as `list_id` and writes it below `lists_dir`.
    `key` is the public key for receipts. The other archive is only read. Raises Refused for what is no
    archive that can be read, or is this one."""
    if await anyio.to_thread.run_sync(lambda: remote_db.exists() and remote_db.samefile(archive.path)):
        raise Refused(f"{printable(str(remote_db))} is this archive itself", hint="name the other's database")
    work = _Analysis(archive, remote_db, scratch_dir, list_id, progress)
    try:
        difference = await work.compare()
        near = [] if difference.hash_files == 0 else await anyio.to_thread.run_sync(work.near)
        list_file = None
        if not dry_run:
            list_file = lists_dir / f"{list_id}.list.jsonl"
            await work.store(difference, near, list_file, key)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(work.close)
    progress(_STEPS, _STEPS)
    return schema.ExchangeAnalysis(
        list_id=None if dry_run else list_id, list_file=None if list_file is None else str(list_file),
        total_files=difference.hash_files + difference.url_files, hash_files=difference.hash_files,
        url_files=difference.url_files, total_bytes=difference.total_bytes, dry_run=dry_run,
        near_matches=len(near), only_here=difference.only_here, both=difference.both,
        remote_db=str(remote_db),
    )  # fmt: skip


class _Analysis:
    """One comparison, with the files that it works in."""

    def __init__(
        self, archive: Archive, remote_db: Path, scratch_dir: Path, list_id: str, progress: Progress
    ) -> None:
        self._archive = archive
        self._remote_db = remote_db
        self._list_id = list_id
        self._progress = progress
        self._copy, self._here, self._there, self._scratch = (
            scratch_dir / f"exchange-{list_id}-{name}.db" for name in ("copy", "here", "there", "work")
        )
        self._source: Source | None = None
        self._comparison: Comparison | None = None

    @property
    def _compared(self) -> Comparison:
        assert self._comparison is not None
        return self._comparison

    async def compare(self) -> Difference:
        """Both sides at once, in threads. What was written meanwhile is read again, from a copy."""
        for copy in (False, True):
            source = await anyio.to_thread.run_sync(
                partial(remote.open_source, self._remote_db, self._copy, copy=copy)
            )
            self._source = source
            failure: Exception | None = None
            try:
                difference = await self._compare(source)
            except Refused as error:
                failure = error
            if await anyio.to_thread.run_sync(source.is_unchanged):
                if failure is not None:
                    raise failure
                return difference
            await anyio.to_thread.run_sync(self.close)
        raise Refused(f"{printable(str(self._remote_db))} changes all the time")

    async def _compare(self, source: Source) -> Difference:
        cancelled = False
        errors: list[Exception] = []

        def check() -> None:
            if cancelled or errors:
                raise Refused("cancelled")

        async def run(work: Callable[[], object]) -> None:
            try:
                await anyio.to_thread.run_sync(work)
            except Exception as error:  # noqa: BLE001 - the first is raised below, without its group
                errors.append(error)

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, partial(remote.quick_check, source))
                for uri, path, target in (
                    (source.uri, source.path, self._there),
                    (self._archive.uri, self._archive.path, self._here),
                ):
                    tasks.start_soon(run, partial(comparing.gather_hashes, uri, path, target, check))
        except anyio.get_cancelled_exc_class():
            cancelled = True
            raise
        if errors:
            raise errors[0]
        _give_back()
        self._progress(_STEPS // 2, _STEPS)
        return await anyio.to_thread.run_sync(self._difference, source)

    def _difference(self, source: Source) -> Difference:
        self._comparison = Comparison(self._archive.uri, source, self._here, self._there, self._scratch)
        return self._comparison.difference()

    def near(self) -> list[Near]:
        """In a thread. Nothing is loaded where either side has no perceptual hashes."""
        theirs = self._compared.hashes_of_pictures()
        first = next(theirs, None)
        if first is None:
            return []
        ours = comparing.picture_hashes(self._archive.uri, self._archive.path)
        return list(find_near(_and(first, theirs), ours))

    async def store(self, difference: Difference, near: Sequence[Near], list_file: Path, key: str) -> None:
        """The list into the archive and into its file; neither where this fails."""
        archive, list_id = self._archive, self._list_id
        total = difference.hash_files + difference.url_files
        await archive.write(queries.drop_unfinished)
        await archive.write(lambda db: queries.drop_list(db, list_id))
        await archive.write(
            lambda db: queries.add_list(
                db,
                list_id,
                role="asks",
                status="running",
                remote=str(self._remote_db),
                list_file=str(list_file),
                total_files=total,
                hash_files=difference.hash_files,
                url_files=difference.url_files,
                total_bytes=difference.total_bytes,
                near_matches=len(near),
                only_here=difference.only_here,
                only_here_ids=str(list(difference.only_here_ids)),
            )
        )
        head = formats.ListHead(
            kind=formats.LIST_KIND, schema=formats.SCHEMA, list_id=list_id, created_at=now_text(),
            by=os.uname().nodename, key=key, total_files=total,
        )  # fmt: skip
        try:
            async with Operation(archive, "analyze", list_id, str(self._remote_db)) as operation:
                await anyio.to_thread.run_sync(self._describe, near)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.to_thread.run_sync, self._write_list, head, list_file)
                    tasks.start_soon(self._store_files, total)
                await operation.finish(total, total, 0)
            await archive.write(lambda db: queries.set_list(db, list_id, status="pending"))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await archive.write(lambda db: queries.drop_list(db, list_id))
                await anyio.to_thread.run_sync(partial(list_file.unlink, missing_ok=True))
            raise

    def _describe(self, near: Sequence[Near]) -> None:
        """In a thread. The comparison ends here: what it wrote is read by others from now on."""
        self._compared.describe(str(self._remote_db.parent), near)
        self._compared.close()
        self._comparison = None
        _give_back()

    async def _store_files(self, total: int) -> None:
        """The files into the archive, in pieces: others write to it meanwhile."""
        uri = comparing.uri_of_scratch(self._scratch)
        try:
            await self._archive.write(lambda db: queries.attach(db, self._list_id, uri))
            for after in range(0, total, _ROWS_AT_ONCE):
                await self._archive.write(
                    partial(
                        queries.add_wanted, list_id=self._list_id, after=after, until=after + _ROWS_AT_ONCE
                    )
                )
                self._progress(_STEPS // 2 + after * _STEPS // 2 // total, _STEPS)
        finally:
            with anyio.CancelScope(shield=True):
                await self._archive.detach(queries.scratch_name(self._list_id))

    def _write_list(self, head: formats.ListHead, list_file: Path) -> None:
        """The list as a file to send. In a thread."""
        staged = list_file.with_suffix(".part")
        list_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with staged.open("wb") as file:
                file.write(formats.encode(head))
                for rows in comparing.listed(self._scratch, _ROWS_AT_ONCE):
                    file.write(
                        b"".join(
                            formats.encode(formats.Asked(sha256=sha256, url=url, size_bytes=size_bytes))
                            for sha256, url, size_bytes in rows
                        )
                    )
                file.flush()
                os.fsync(file.fileno())
            staged.replace(list_file)
        finally:
            staged.unlink(missing_ok=True)

    def close(self) -> None:
        _give_back()
        if self._comparison is not None:
            self._comparison.close()
            self._comparison = None
        if self._source is not None:
            self._source.discard()
        for path in (self._copy, self._here, self._there, self._scratch):
            path.unlink(missing_ok=True)


def _and(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _give_back() -> None:
    """Lets the system have what was freed: each thread's allocator keeps the megabytes that sorting took."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
