"""Rows of the mirror as statements: one JSON document a batch, so that a batch is one round trip, needs no
temporary table and works through a transaction pooler."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from syncd.sinks.postgres_schema import EMBEDDING, WRITER, Column, Table

_ALBUM_SEGMENT = r"^https?://photos\.smugmug\.com/photos/([^/?#]+)/"
_IMAGE_SEGMENT = r"/i-([A-Za-z0-9]+)(?:/|$)"
_DIGEST_APART: Final = frozenset(("album_name", "album_key", "image_key"))
"""Not in a row's digest: the album's name is the album's affair, the keys say which row it is."""


class MirrorRow(NamedTuple):
    """One photo in one album, in the catalogue's terms. `embedding` is little-endian float32, `photo_date`
    has no zone. None and empty: nothing to say, which leaves alone what somebody else wrote."""

    image_key: str
    album_key: str
    album_name: str
    imageurl: str | None = None
    thumbnailurl: str | None = None
    sport_type: str | None = None
    photo_date: str | None = None
    filename: str | None = None
    title: str | None = None
    caption: str | None = None
    keywords: Sequence[str] = ()
    description: str | None = None
    tags: Sequence[str] = ()
    categories: Sequence[str] = ()
    teams: Sequence[str] = ()
    event: str | None = None
    confidence: float | None = None
    width: int | None = None
    height: int | None = None
    embedding: bytes | None = None


# --- values ---------------------------------------------------------------------------------------------


def document(rows: Sequence[MirrorRow], table: Table) -> str:
    """The rows as JSON for `upsert` and `digests`: a list of objects with the keys c0, c1 …"""
    items: list[dict[str, Any]] = [{} for _ in rows]
    for number, name in enumerate(table.written):
        key, write, place = f"c{number}", _writer(name, table.columns[name]), MirrorRow._fields.index(name)
        for item, row in zip(items, rows, strict=True):
            if (value := write(row[place])) is not None:
                item[key] = value
    return msgspec.json.encode(items).decode()


def _writer(name: str, column: Column) -> Callable[[Any], Any]:
    if name == EMBEDDING:
        size = column.size if column.form in ("vector", "halfvec") else -1
        return lambda value: _vector(value, size, "{}" if column.form == "_N" else "[]")
    if name == "photo_date":
        return lambda value: _time(value, column)
    if name in ("keywords", "tags", "categories", "teams"):
        return _LISTS.get(column.form, _joined)
    if name in ("confidence", "width", "height"):
        return lambda value: value
    return _some_text if column.not_null else _text


def clean(text: str) -> str:
    """Without what Postgres cannot hold: NUL, and halves of characters."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _text(value: str | None) -> str | None:
    if value and value.isascii() and "\0" not in value:
        return value
    return clean(value) if value else None


def _some_text(value: str | None) -> str:
    return clean(value or "")


def _time(value: str | None, column: Column) -> str | None:
    try:
        taken = datetime.fromisoformat(value or "").replace(tzinfo=None).isoformat()
    except ValueError:
        return None
    return taken + "Z" if column.form == "timestamptz" else taken


def _vector(value: bytes | None, size: int, brackets: str) -> str | None:
    if value is None:
        return None
    numbers = array("f", value)
    if size > 0 and len(numbers) != size:
        return None  # of another model than the column is for
    return brackets[0] + ",".join([format(number, ".9g") for number in numbers]) + brackets[1]


def _array(values: Sequence[str]) -> str | None:
    if not values:
        return None
    plain = '","'.join(values)
    if (
        plain.isascii()
        and plain.isprintable()
        and "\\" not in plain
        and plain.count('"') == 2 * len(values) - 2
    ):
        return f'{{"{plain}"}}'
    escaped = [clean(value).replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(escaped) + '"}'


def _json(values: Sequence[str]) -> str | None:
    return msgspec.json.encode([clean(value) for value in values]).decode() if values else None


def _joined(values: Sequence[str]) -> str | None:
    return ";".join(clean(value) for value in values) or None


_LISTS = {"_S": _array, "json": _json, "jsonb": _json}


# --- statements -----------------------------------------------------------------------------------------


def upsert(table: Table) -> str:
    """Brings the rows of one document in; parameter: the document. Rows that are right are not touched, the
    others come back as from `digests`. In rows that somebody else made, what the catalogue has nothing to
    say of stays."""
    names = table.written
    batch = _batch(table)
    data = [name for name in names if name not in ("album_key", "image_key")]
    news = {name: _new(table, name) for name in data}
    differs = " OR ".join(
        f"{_comparable(column, f't.{column.sql}')} IS DISTINCT FROM {_comparable(column, news[name])}"
        for name, column in table.columns.items()
        if name in news
    )
    sets = [f"{table[name]} = {new}" for name, new in news.items()] + _touched(table)
    columns = [table[name] for name in names]
    values = [f"b.{table[name]}" for name in names]
    if "synced_by" in table.columns:
        columns.append(table["synced_by"])
        values.append(f"'{WRITER}'")
    same = " AND ".join(f"t.{table[key]} = b.{table[key]}" for key in ("album_key", "image_key"))
    row = f"RETURNING t.{table['album_key']}, t.{table['image_key']}, {_digest(table)}"
    return (
        f"WITH b AS MATERIALIZED ({batch}), changed AS ("
        f"UPDATE {table.sql} t SET {', '.join(sets)} FROM b WHERE {same} AND ({differs}) {row}),"
        f" added AS (INSERT INTO {table.sql} AS t ({', '.join(columns)}) SELECT {', '.join(values)} FROM b"
        f" WHERE NOT EXISTS (SELECT 1 FROM {table.sql} t WHERE {same}) {row})"
        f" SELECT * FROM changed UNION ALL SELECT * FROM added"
    )


def digests(table: Table) -> str:
    """(album_key, image_key, digest) of the rows of one document; parameter: the document of keys."""
    album, image = table["album_key"], table["image_key"]
    return (
        f"SELECT t.{album}, t.{image}, {_digest(table)} FROM json_to_recordset(%s::json) AS k(a text, i text)"
        f" JOIN {table.sql} t ON t.{album} = k.a AND t.{image} = k.i"
    )


def all_digests(table: Table) -> str:
    """(album_key, image_key, digest, whether syncd made it) of every row that has both keys."""
    album, image = table["album_key"], table["image_key"]
    made = f"coalesce(t.{table['synced_by']} = '{WRITER}', false)"
    return (
        f"SELECT t.{album}, t.{image}, {_digest(table)}, {made} FROM {table.sql} t"
        f" WHERE t.{album} IS NOT NULL AND t.{image} IS NOT NULL"
    )


def delete(table: Table) -> str:
    """Removes rows that syncd made; parameter: the document of keys."""
    album, image = table["album_key"], table["image_key"]
    return (
        f"DELETE FROM {table.sql} t USING json_to_recordset(%s::json) AS k(a text, i text)"
        f" WHERE t.{album} = k.a AND t.{image} = k.i AND t.{table['synced_by']} = '{WRITER}'"
    )


def rename(table: Table) -> str:
    """Gives every row of albums the albums' names; parameter: a document of {a: key, n: name}."""
    album, name = table["album_key"], table["album_name"]
    return (
        f"UPDATE {table.sql} t SET {', '.join([f'{name} = k.n', *_touched(table)])}"
        f" FROM json_to_recordset(%s::json) AS k(a text, n text)"
        f" WHERE t.{album} = k.a AND t.{name} IS DISTINCT FROM k.n"
    )


def keys_from_urls(table: Table) -> str:
    """Gives rows without an album the one that their image URL names, and where they have no image key
    either, that of the URL. No parameters."""
    url, image = f"t.{table['imageurl']}", f"t.{table['image_key']}"
    found = (
        f"SELECT t.tableoid AS o, t.ctid AS c, substring({url} FROM '{_ALBUM_SEGMENT}') AS album,"
        f" coalesce({image}, substring({url} FROM '{_IMAGE_SEGMENT}')) AS image FROM {table.sql} t"
        f" WHERE t.{table['album_key']} IS NULL AND {url} ~ '{_ALBUM_SEGMENT}'"
    )
    return _fill(table, found, "found.album NOT LIKE 'i-%%'")


def keys_from_images(table: Table) -> str:
    """Gives rows without an album the only one that holds their photo; parameter: a document of
    {a: album key, i: image key}."""
    image = f"coalesce(t.{table['image_key']}, substring(t.{table['imageurl']} FROM '{_IMAGE_SEGMENT}'))"
    found = (
        f"SELECT t.tableoid AS o, t.ctid AS c, k.a AS album, k.i AS image FROM {table.sql} t"
        f" JOIN json_to_recordset(%s::json) AS k(a text, i text) ON {image} = k.i"
        f" WHERE t.{table['album_key']} IS NULL"
    )
    return _fill(table, found, "true")


def images_without_album(table: Table) -> str:
    """The image keys of rows that have no album. No parameters."""
    image = f"coalesce(t.{table['image_key']}, substring(t.{table['imageurl']} FROM '{_IMAGE_SEGMENT}'))"
    return (
        f"SELECT DISTINCT {image} FROM {table.sql} t"
        f" WHERE t.{table['album_key']} IS NULL AND {image} IS NOT NULL"
    )


def _fill(table: Table, found: str, condition: str) -> str:
    album, image = table["album_key"], table["image_key"]
    once = ""
    if table.is_unique:  # a second row of the same photo and album has to stay as it is
        condition += (
            f" AND NOT EXISTS (SELECT 1 FROM {table.sql} x WHERE x.{album} = found.album"
            f" AND x.{image} = found.image)"
        )
        once = "DISTINCT ON (album, coalesce(image, o::text || c::text))"
    sets = [f"{album} = one.album", f"{image} = one.image", *_touched(table)]
    return (
        f"WITH found AS ({found}), one AS (SELECT {once} * FROM found WHERE {condition})"
        f" UPDATE {table.sql} t SET {', '.join(sets)} FROM one WHERE t.tableoid = one.o AND t.ctid = one.c"
    )


def _batch(table: Table) -> str:
    """The document as rows, with the table's own column names and types."""
    names = table.written
    shape = ", ".join(f"c{number} text" for number in range(len(names)))
    values = ", ".join(
        f"c{number}::{table.columns[name].type_sql} AS {table[name]}" for number, name in enumerate(names)
    )
    return f"SELECT {values} FROM json_to_recordset(%s::json) AS d({shape})"


def _new(table: Table, name: str) -> str:
    """The value that a row gets: others' values are not wiped out for want of one."""
    column = table.columns[name]
    ours, theirs = f"b.{column.sql}", f"t.{column.sql}"
    said = f"nullif({ours}, '')" if column.not_null and column.form == "S" else ours
    return f"CASE WHEN t.{table['synced_by']} = '{WRITER}' THEN {ours} ELSE coalesce({said}, {theirs}) END"


def _comparable(column: Column, value: str) -> str:
    """The value in a form that can be compared whatever the search path, and fast."""
    if column.form == "json":
        return f"({value})::text"
    if column.form in ("vector", "halfvec"):
        return f"{column.type_sql}_send({value})"
    return f"({value})"


def _touched(table: Table) -> list[str]:
    column = table.columns.get("updated_at")
    return [] if column is None or column.is_computed else [f"{column.sql} = now()::{column.type_sql}"]


def _digest(table: Table) -> str:
    """A number that is another one once somebody has changed what syncd writes, whatever the types."""
    columns = [table.columns[name] for name in table.written if name not in _DIGEST_APART]
    values = ", ".join(_comparable(column, f"t.{column.sql}") for column in columns)
    return f"hashtextextended(ROW({values})::text, 0)"
