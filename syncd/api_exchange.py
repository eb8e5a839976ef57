"""The daemon's answers about the exchange between archives."""

from __future__ import annotations

import json
import secrets
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import aiosqlite
import msgspec

from syncd.catalogue import exchange as queries
from syncd.catalogue import jobs as job_queries
from syncd.catalogue.exchange import FileRow, ListRow
from syncd.catalogue.exchange_archive import Archive
from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import Refused
from syncd.flows import exchange_service as service
from syncd.flows.exchange_home import find_list
from syncd.flows.exchange_service import ExchangeService
from syncd.flows.previews import Previews
from syncd.imaging.pool import ImagingPool

Shape = TypeVar("Shape", bound=schema.Reply)


class ExchangeAnswers:
    """Implements `syncd.control.api.ExchangeApi`."""

    def __init__(self, exchange: ExchangeService, previews: Previews, pool: ImagingPool) -> None:
        self._service = exchange
        self._previews = previews
        self._pool = pool
        self.jobs = exchange.jobs

    async def analyze(self, request: schema.ExchangeAnalyzeRequest) -> schema.ExchangeAnalysis:
        _absolute(remote_db=request.remote_db, db=request.db)
        # The id is given now: a job that is done again makes the same list, not a second one.
        more = {"list_id": secrets.token_hex(8)}
        return await self._done(service.ANALYZE, request.remote_db, request, schema.ExchangeAnalysis, more)

    async def export(self, request: schema.ExchangeExportRequest) -> schema.ExchangeExported:
        _absolute(list_file=request.list_file, output_dir=request.output_dir, db=request.db)
        return await self._done(service.EXPORT, request.list_file, request, schema.ExchangeExported)

    async def take(self, request: schema.ExchangeImportRequest) -> schema.ExchangeImported:
        _absolute(import_dir=request.import_dir, db=request.db)
        await self._known(request.list_id, request.db)
        return await self._done(service.IMPORT, request.list_id, request, schema.ExchangeImported)

    async def verify(self, request: schema.ExchangeListRequest) -> schema.ExchangeVerified:
        _absolute(db=request.db)
        await self._known(request.list_id, request.db)
        return await self._done(service.VERIFY, request.list_id, request, schema.ExchangeVerified)

    async def clean(self, request: schema.ExchangeListRequest) -> schema.ExchangeCleaned:
        _absolute(db=request.db)
        await self._known(request.list_id, request.db)
        return await self._done(service.CLEAN, request.list_id, request, schema.ExchangeCleaned)

    async def receipt(self, request: schema.ExchangeReceiptRequest) -> schema.ExchangeReceipt:
        _absolute(receipt_file=request.receipt_file, db=request.db)
        return await self._done(service.RECEIPT, request.receipt_file, request, schema.ExchangeReceipt)

    async def lists(self, db: str | None, limit: int, cursor: str | None) -> schema.ExchangeListPage:
        _absolute(db=db)
        before = _cursor(cursor)
        async with self._service.archive(db, read_only=True) as archive:
            if not await archive.read(queries.has_exchange):
                return schema.ExchangeListPage(items=[])
            rows, last = await archive.read(partial(_lists, limit, before))
        items = [schema.ExchangeList(**_list(row)) for row in rows]
        return schema.ExchangeListPage(items=items, next_cursor=None if last is None else str(last))

    async def show(
        self, list_id: str, db: str | None, side: schema.ExchangeSide, limit: int, cursor: str | None
    ) -> schema.ExchangeShown:
        _absolute(db=db)
        after = _cursor(cursor) or 0
        async with self._service.archive(db, read_only=True) as archive:
            found = await find_list(archive, list_id)
            if side == "ours":
                items, last = await _ours(archive, found, after, limit)
            else:
                rows = await archive.read(
                    lambda db: queries.files(
                        db, found.list_id, after=after, limit=limit + 1, near=side == "near"
                    )
                )
                last = rows[limit - 1].file_id if len(rows) > limit else None
                items = await _files(archive, rows[:limit])
        return schema.ExchangeShown(
            **_list(found), items=items, next_cursor=None if last is None else str(last)
        )

    async def preview(
        self,
        list_id: str,
        file_id: str,
        of: Literal["theirs", "near", "ours"],
        width: int,
        height: int,
        image_format: Literal["jpeg", "rgb"],
    ) -> bytes:
        number = int(file_id) if file_id.isascii() and file_id.isdecimal() and len(file_id) < 19 else -1
        async with self._service.archive(None, read_only=True) as archive:
            found = await find_list(archive, list_id)
            if of == "ours":
                known = number in json.loads(found.only_here_ids or "[]")
                path, name = await _held(archive, number if known else None)
            else:
                row = await archive.read(lambda db: queries.file(db, found.list_id, number))
                known = row is not None
                path, name = await _picture(archive, found, row, of) if row is not None else (None, "")
            if not known:
                raise NotFound(f"there is no file {file_id!r} in that list")
        if path is None:
            raise NotFound("there is no such picture to be read from here")
        make = partial(self._pool.preview, str(path), width, height, image_format)
        return await self._previews.of_content(f"{name}-{width}x{height}.{image_format}", make)

    async def _known(self, list_id: str, db: str | None) -> None:
        """A list that is not known is said so before a job is made of it."""
        async with self._service.archive(db, read_only=True) as archive:
            await find_list(archive, list_id)

    async def _done(
        self,
        kind: str,
        subject: str,
        request: schema.Request,
        shape: type[Shape],
        more: dict[str, str] | None = None,
    ) -> Shape:
        """Long work is a job, so that it shows, can be cancelled, and outlives whoever asked for it. Who asks
        again, after the daemon was restarted say, joins the work that is going on."""
        payload = {**msgspec.to_builtins(request), **(more or {})}
        async with self._service.catalogue.reader() as db:
            same = [job for job in await job_queries.open_of(db, kind) if job.payload == payload]
        job = same[0] if same else await self._service.jobs.submit(kind, subject, payload)
        row = await self._service.jobs.outcome(job.id)
        if row.state in ("failed", "refused") or row.result is None:
            hint = (row.result or {}).get("hint")
            raise Refused(row.error or f"the job was {row.state}", hint=hint)
        return msgspec.convert(row.result, shape)


def _absolute(**paths: str | None) -> None:
    for name, path in paths.items():
        if path is not None and not Path(path).is_absolute():
            raise Invalid(f"`{name}` must be an absolute path", hint="syncctl resolves it for you")


def _cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise Invalid(f"{cursor!r} is no cursor of this list", hint="pass next_cursor of the page before")
    return int(cursor)


async def _lists(
    limit: int, before: int | None, db: aiosqlite.Connection
) -> tuple[list[ListRow], int | None]:
    return await queries.lists(db, limit, before)


def _list(row: ListRow) -> dict[str, Any]:
    names = schema.ExchangeList.__struct_fields__
    found = {name: getattr(row, name) for name in names if name != "error_count"}
    return {**found, "error_count": row.error_count}


async def _files(archive: Archive, rows: list[FileRow]) -> list[schema.ExchangeFile]:
    near_ids = {row.near_image_id for row in rows if row.near_image_id is not None}
    images = (
        await archive.read(partial(queries.images_by_id, ids=near_ids, columns=archive.columns))
        if near_ids
        else {}
    )
    return [_file(row, images) for row in rows]


def _file(row: FileRow, images: dict[int, dict[str, Any]]) -> schema.ExchangeFile:
    told = json.loads(row.metadata or "{}")
    near = None
    if row.near_image_id is not None:
        near = schema.ExchangeNear(
            image_id=row.near_image_id, distance=row.near_distance or 0,
            local_path=images.get(row.near_image_id, {}).get("local_path"),
        )  # fmt: skip
    path = row.remote_path or row.local_path or row.export_path or row.url or ""
    return schema.ExchangeFile(
        file_id=row.file_id, sha256=row.sha256, url=row.url, size_bytes=row.size_bytes,
        name=path.rpartition("/")[2], title=told.get("title"), author=told.get("author"), status=row.status,
        reason=row.reason, near=near,
    )  # fmt: skip


async def _ours(
    archive: Archive, found: ListRow, after: int, limit: int
) -> tuple[list[schema.ExchangeFile], int | None]:
    """What only this archive has: the first thousand that were found at analysis. The cursor is a place."""
    ids: list[int] = json.loads(found.only_here_ids or "[]")
    page = ids[after : after + limit]
    images = await archive.read(partial(queries.images_by_id, ids=page, columns=archive.columns))
    items = [
        schema.ExchangeFile(
            file_id=one["id"],
            sha256=one["sha256"],
            url=one["url"],
            size_bytes=None,
            name=(one["local_path"] or one["url"] or "").rpartition("/")[2],
            title=one["title"],
            author=one["author"],
            status="here",
            reason=None,
        )
        for image_id in page
        if (one := images.get(image_id)) is not None
    ]
    return items, after + limit if len(ids) > after + limit else None


async def _picture(
    archive: Archive, found: ListRow, row: FileRow, of: Literal["theirs", "near"]
) -> tuple[Path | None, str]:
    """Where the picture is, and a name for it that changes with its content."""
    if of == "near":
        return await _held(archive, row.near_image_id)
    is_here = found.role == "gives" or row.status in queries.ARRIVED
    path = (row.local_path if is_here else None) or row.remote_path
    return (archive.folder / path if path else None), row.sha256 or f"exchange-{row.file_id}"


async def _held(archive: Archive, image_id: int | None) -> tuple[Path | None, str]:
    """The same of a picture that this archive holds."""
    if image_id is None:
        return None, ""
    images = await archive.read(partial(queries.images_by_id, ids=[image_id], columns=archive.columns))
    one = images.get(image_id)
    if one is None or not one["local_path"]:
        return None, ""
    return archive.folder / one["local_path"], one["sha256"] or f"image-{image_id}"
