"""The service `exchange`: work on lists as durable jobs, and the inbox that imports by itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.to_thread
import msgspec

from syncd.catalogue import exchange as queries
from syncd.catalogue import jobs as job_queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.exchange_archive import Archive, open_archive
from syncd.catalogue.jobs import JobRow
from syncd.config import Config
from syncd.control import schema
from syncd.errors import Refused, SyncdError
from syncd.flows import exchange_copy as copying
from syncd.flows import exchange_files as formats
from syncd.flows.exchange_after import clean, verify
from syncd.flows.exchange_analyze import analyze
from syncd.flows.exchange_export import export, lock_name
from syncd.flows.exchange_import import take
from syncd.flows.exchange_receipt import SigningKey, check_receipt, write_receipt
from syncd.flows.jobs import JobRunner, Outcome, Progress
from syncd.log import get_logger
from syncd.supervisor import ServiceHandle, describe
from syncd.text import printable

Emit = Callable[[str, str, str, str, dict[str, Any] | None], object]
"""activity.emit: kind, service, subject, message, data."""
Shape = TypeVar("Shape", bound=schema.Request)

_log = get_logger("exchange")

_INBOX_LOOK_S = 5.0
_INBOX_AGAIN_S = 30.0
_MOST_DOUBLINGS = 7
ANALYZE, EXPORT, IMPORT = "exchange_analyze", "exchange_export", "exchange_import"
VERIFY, CLEAN, RECEIPT = "exchange_verify", "exchange_clean", "exchange_receipt"


class ExchangeService:
    """Does what is asked for, one piece of work on an archive at a time. Pausing it holds its jobs."""

    name = "exchange"

    def __init__(self, catalogue: Catalogue, config: Callable[[], Config], emit: Emit) -> None:
        self.catalogue = catalogue
        self._config = config
        self._emit = emit
        self._locks: dict[str, anyio.Lock] = {}
        self._waiting: dict[_Manifest, float] = {}
        self._tried: Counter[_Manifest] = Counter()
        self.jobs = JobRunner(
            catalogue,
            {
                ANALYZE: self._handler(self._analyze),
                EXPORT: self._handler(self._export),
                IMPORT: self._handler(self._import),
                VERIFY: self._handler(self._verify),
                CLEAN: self._handler(self._clean),
                RECEIPT: self._handler(self._receipt),
            },
        )

    @property
    def _state_dir(self) -> Path:
        return self._config().daemon.state_dir

    async def run(self, handle: ServiceHandle) -> None:
        handle.ready()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.jobs.run)
            while True:
                inbox = self._config().exchange.inbox
                trouble = await self._look_into(Path(inbox)) if inbox else None
                handle.set_state("blocked" if trouble else "running", trouble)
                await anyio.sleep(_INBOX_LOOK_S)

    @asynccontextmanager
    async def archive(self, db: str | None, *, read_only: bool = False) -> AsyncIterator[Archive]:
        """The archive at `db`, None for the catalogue; to be written to by one at a time."""
        path = Path(db) if db is not None else self.catalogue.path
        if read_only:
            async with open_archive(path, self.catalogue, read_only=True) as archive:
                yield archive
            return
        name = await anyio.to_thread.run_sync(os.path.realpath, path)
        async with (
            self._locks.setdefault(name, anyio.Lock()),
            open_archive(path, self.catalogue) as archive,
        ):
            yield archive

    # --- jobs -------------------------------------------------------------------------------------

    def _handler(
        self, work: Callable[[dict[str, Any], Progress], Awaitable[Outcome]]
    ) -> Callable[[JobRow, Progress], Awaitable[Outcome]]:
        async def run(job: JobRow, progress: Progress) -> Outcome:
            try:
                return await work(job.payload, progress)
            except Exception as error:  # noqa: BLE001 - one job's failure is not the service's
                known = _known(error)
                if known is None:
                    _log.error("exchange failed", kind=job.kind, error=describe(error), exc_info=True)
                    return Outcome("failed", {"hint": "the daemon's log says more"}, describe(error))
                if job.payload.get("dry_run"):
                    # Who tries a path that is wrong is told so: no work failed that somebody has to see to.
                    return Outcome("refused", {"hint": known.hint}, str(known))
                self._emit("failed", self.name, job.subject, f"{job.kind}: {known}", None)
                return Outcome("failed", {"hint": known.hint}, str(known))

        return run

    async def _analyze(self, payload: dict[str, Any], progress: Progress) -> Outcome:
        list_id = payload.pop("list_id")
        request = msgspec.convert(payload, schema.ExchangeAnalyzeRequest)
        key = "" if request.dry_run else await anyio.to_thread.run_sync(SigningKey(self._state_dir).public)
        async with self.archive(request.db, read_only=request.dry_run) as archive:
            found = await analyze(
                archive,
                Path(request.remote_db),
                list_id=list_id,
                lists_dir=self._state_dir / "exchange",
                scratch_dir=self._state_dir / "staging",
                key=key,
                dry_run=request.dry_run,
                progress=progress,
            )
        words = f"{found.total_files:,} files are only in {request.remote_db}"
        self._say(found.list_id or "dry run", words, {"total_files": found.total_files})
        return Outcome("done", msgspec.to_builtins(found))

    async def _export(self, payload: dict[str, Any], progress: Progress) -> Outcome:
        request = msgspec.convert(payload, schema.ExchangeExportRequest)
        images_dir = self._config().batches.images_dir
        if await anyio.to_thread.run_sync(_is_within, Path(request.output_dir), images_dir):
            raise Refused(
                f"{printable(request.output_dir)} lies inside images_dir, which is never written to",
                hint="name a folder somewhere else",
            )
        async with self.archive(request.db) as archive:
            done = await export(
                archive,
                Path(request.list_file),
                Path(request.output_dir),
                dry_run=request.dry_run,
                progress=progress,
            )
        if not request.dry_run:
            words = f"{done.exported:,} files given into {done.output_dir}"
            self._say(done.list_id, words, {"exported": done.exported, "missing": done.missing})
        return Outcome("partial" if done.missing or done.failed else "done", msgspec.to_builtins(done))

    async def _import(self, payload: dict[str, Any], progress: Progress) -> Outcome:
        request = msgspec.convert(payload, schema.ExchangeImportRequest)
        async with self.archive(request.db) as archive:
            done = await take(
                archive,
                request.list_id,
                Path(request.import_dir),
                dry_run=request.dry_run,
                progress=progress,
            )
            if not request.dry_run:
                folder = self._state_dir / "exchange"
                receipt = await write_receipt(archive, done, folder, SigningKey(self._state_dir))
                done = msgspec.structs.replace(done, receipt=str(receipt))
        if not request.dry_run:
            words = f"{done.imported:,} files taken from {request.import_dir}"
            self._say(done.list_id, words, {"imported": done.imported, "missing": done.missing})
        return Outcome("partial" if done.missing or done.rejected else "done", msgspec.to_builtins(done))

    async def _verify(self, payload: dict[str, Any], progress: Progress) -> Outcome:
        request = msgspec.convert(payload, schema.ExchangeListRequest)
        async with self.archive(request.db) as archive:
            found = await verify(archive, request.list_id, progress=progress)
        return Outcome("partial" if found.missing or found.corrupt else "done", msgspec.to_builtins(found))

    async def _clean(self, payload: dict[str, Any], progress: Progress) -> Outcome:
        request = msgspec.convert(payload, schema.ExchangeListRequest)
        async with self.archive(request.db) as archive:
            return Outcome("done", msgspec.to_builtins(await clean(archive, request.list_id)))

    async def _receipt(self, payload: dict[str, Any], progress: Progress) -> Outcome:
        request = msgspec.convert(payload, schema.ExchangeReceiptRequest)
        async with self.archive(request.db) as archive:
            found = await check_receipt(archive, Path(request.receipt_file))
        return Outcome("done" if found.is_asker else "partial", msgspec.to_builtins(found))

    def _say(self, subject: str, words: str, data: dict[str, Any]) -> None:
        self._emit("exchange", self.name, subject, words, data)

    # --- the inbox --------------------------------------------------------------------------------

    async def _look_into(self, inbox: Path) -> str | None:
        """Imports what is whole and was asked for by the catalogue; why the inbox cannot be looked into."""
        try:
            manifests = await anyio.to_thread.run_sync(_manifests, inbox)
        except OSError as error:
            return f"the inbox {printable(str(inbox))} cannot be read: {error.strerror or error}"
        now = anyio.current_time()
        for known in (self._waiting, self._tried):
            for gone in known.keys() - set(manifests):
                del known[gone]
        for one in manifests:
            path, tries = one.path, self._tried[one]
            if self._waiting.get(one, 0.0) > now:
                continue
            # What fails again and again (no room, say) is tried less and less often.
            self._waiting[one] = now + _INBOX_AGAIN_S * 2 ** min(tries, _MOST_DOUBLINGS)
            list_id = path.name.removeprefix("manifest-").removesuffix(".jsonl")
            if not await self._is_wanted(one, list_id) or not await anyio.to_thread.run_sync(_is_whole, path):
                continue
            self._tried[one] += 1
            request = schema.ExchangeImportRequest(list_id=list_id, import_dir=str(path.parent))
            await self.jobs.submit(IMPORT, list_id, msgspec.to_builtins(request))
        return None

    async def _is_wanted(self, one: _Manifest, list_id: str) -> bool:
        """Whether the catalogue still waits for what the manifest may bring: for all of it, or for what was
        missing when the manifest before it came."""
        async with self.catalogue.reader() as db:
            found = await queries.get_list(db, list_id)
            if found is None or found.list_id != list_id or found.role != "asks":
                return False
            if any(job.subject == list_id for job in await job_queries.open_of(db, IMPORT)):
                return False  # it is on its way
            if found.status != "partial":
                return found.status in ("pending", "failed")
            last = await queries.last_start(db, list_id, "import")
        return last is not None and datetime.fromisoformat(last).timestamp() < one.modified_ns / 1e9


def _known(error: Exception) -> SyncdError | None:
    """What an error, or one of several that came together, says to whoever asked; None for a mistake here."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.errno is not None:
        return copying.refusal(error, f"{printable(str(error.filename or 'a file'))} cannot be worked on")
    return error if isinstance(error, SyncdError) else None


class _Manifest(NamedTuple):
    """A manifest in the inbox; one that was written again is another."""

    path: Path
    modified_ns: int
    size_bytes: int


def _is_within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _manifests(inbox: Path) -> list[_Manifest]:
    """Manifests in the inbox and in the folders directly in it."""
    found = [*inbox.glob("manifest-*.jsonl")]
    for folder in inbox.iterdir():
        if folder.is_dir() and not folder.is_symlink():
            found += folder.glob("manifest-*.jsonl")
    manifests = []
    for path in sorted(found):
        with suppress(FileNotFoundError):
            facts = path.lstat()
            manifests.append(_Manifest(path, facts.st_mtime_ns, facts.st_size))
    return manifests


def _is_whole(manifest: Path) -> bool:
    """Whether all files that a manifest names have come, by their sizes, and nobody exports there any more;
    a file share brings them in any order. What is wrong with it comes out when it is imported."""
    try:
        list_id = manifest.name.removeprefix("manifest-").removesuffix(".jsonl")
        with copying.open_folder(manifest.parent) as folder:
            copying.refuse_locked(folder, lock_name(list_id))
        with formats.reading(manifest) as reader:
            reader.head(formats.ManifestHead, formats.MANIFEST_KIND, "the manifest of an export")
            for entry in reader.given():
                if isinstance(entry, Refused) or formats.wrong_place(entry) is not None:
                    continue
                if (manifest.parent / entry.file).lstat().st_size < entry.size_bytes:
                    return False
    except (OSError, Refused):
        return False
    return True
