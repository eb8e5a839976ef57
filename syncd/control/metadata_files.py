"""Exports of what is written about photos: CSV (RFC 4180) and JSON, made page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from syncd.control.schema_metadata import Metadata, MetadataExport

FIELDS = MetadataExport.__struct_fields__


async def encoded(pages: AsyncIterator[Sequence[Metadata]], export_format: str) -> AsyncIterator[bytes]:
    """The pieces of a file, `csv` or `json`. Lists are joined by `;` in CSV; values are kept as they are."""
    if export_format == "csv":
        head: list[Sequence[str]] = [FIELDS]  # with the first page: where that fails, there is no file at all
        async for page in pages:
            yield _csv([*head, *map(_cells, page)])
            head = []
        return
    before = b'{"items":['
    async for page in pages:
        for item in page:
            yield before + msgspec.json.encode(_row(item))
            before = b","
    yield (b"" if before == b"," else before) + b'],"next_cursor":null}\n'


def _row(item: Metadata) -> MetadataExport:
    return msgspec.convert(item, MetadataExport, from_attributes=True)


def _cells(item: Metadata) -> list[str]:
    return [_cell(getattr(item, field)) for field in FIELDS]


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return ";".join(value)
        case _:
            return str(value)


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    import csv
    import io

    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode("utf-8", "replace")
