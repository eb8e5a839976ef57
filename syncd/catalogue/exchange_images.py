"""How an imported file becomes a row of `images`, with its tags, albums and collections."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiosqlite

from syncd.catalogue import _sqlite

TEXTS = (
    "title", "description", "author", "author_url", "license", "camera_make", "camera_model", "focal_length",
    "aperture", "shutter_speed", "taken_date", "upload_date", "page_url", "perceptual_hash",
)  # fmt: skip
LONGEST_TEXT = 10_000
"""Characters of a text that are told to others."""
_GROUPS = {"albums": "album_id", "collections": "collection_id"}


@dataclass(frozen=True, slots=True)
class NewImage:
    """A file that is in its place. Without `sha256` and `local_path` it is known only by its `url`."""

    url: str | None
    metadata: Mapping[str, Any]
    sha256: str | None = None
    local_path: str | None = None
    size_bytes: int | None = None
    list_id: str | None = None


async def held(db: aiosqlite.Connection, hashes: Collection[str]) -> dict[str, int]:
    """images.id by hash, of those of these hashes that the archive has."""
    rows = await db.execute_fetchall(
        "SELECT sha256_hash, id FROM images WHERE sha256_hash IN (SELECT value FROM json_each(?1))"
        " OR sha256_hash IN (SELECT upper(value) FROM json_each(?1))",
        (json.dumps(list(hashes)),),
    )
    return {row[0].lower(): row[1] for row in rows}


async def add(
    db: aiosqlite.Connection, image: NewImage, columns: Collection[str], lost: int | None = None
) -> int:
    """Records the image and what it belongs to; its images.id. `columns` are those that the archive has.
    A row that was known only by this address is it from now on, and so is `lost`, whose file was not as it
    should be."""
    values: dict[str, Any] = {
        "url": image.url, "local_path": image.local_path, "sha256_hash": image.sha256,
        "size_bytes": image.size_bytes, "list_id": image.list_id,
        **{name: image.metadata.get(name) for name in TEXTS},
    }  # fmt: skip
    values = {name: value for name, value in values.items() if value is not None and name in columns}
    known = lost or await _known_by_url(db, image.url)
    if known is not None:
        changes = ", ".join(f"{name} = ?" for name in values)
        await db.execute(f"UPDATE images SET {changes} WHERE id = ?", (*values.values(), known))
        image_id = known
    else:
        if "uuid" in columns:
            values["uuid"] = str(uuid4())
        image_id = await _insert(db, values)
    await _add_tags(db, image_id, image.metadata.get("tags") or ())
    for table, key in _GROUPS.items():
        for one in image.metadata.get(table) or ():
            await _add_to_group(db, image_id, table, key, one)
    return image_id


async def described(
    db: aiosqlite.Connection, ids: Collection[int], columns: Collection[str]
) -> dict[int, dict[str, Any]]:
    """What the archive tells of these images, by images.id: as in `NewImage.metadata`, and `url`."""
    some = json.dumps(list(ids))
    texts = [name for name in (*TEXTS, "url") if name in columns]
    wanted = "(SELECT value FROM json_each(?))"
    # An indafoto.db may hold values of any type, where a text is expected, too.
    rows = await db.execute_fetchall(
        f"SELECT id, {', '.join(_text_of(name) for name in texts)} FROM images WHERE id IN {wanted}", (some,)
    )
    found: dict[int, dict[str, Any]] = {
        row[0]: {name: value for name, value in zip(texts, row[1:], strict=True) if value is not None}
        for row in rows
    }
    if "name" in await _columns(db, "tags", "image_tags"):
        for image_id, name in await db.execute_fetchall(
            f"SELECT m.image_id, {_text_of('g.name')} FROM image_tags m JOIN tags g ON g.id = m.tag_id"
            f" WHERE m.image_id IN {wanted} AND g.name IS NOT NULL ORDER BY g.name",
            (some,),
        ):
            found[image_id].setdefault("tags", []).append(name)
    for table, key in _GROUPS.items():
        names = await _group_columns(db, table, key)
        if not names:
            continue
        values_of = [
            f"CASE WHEN typeof(g.{name}) = 'integer' THEN g.{name} END"
            if name == "is_public"
            else _text_of(f"g.{name}")
            for name in names
        ]
        for image_id, *values in await db.execute_fetchall(
            f"SELECT m.image_id, {', '.join(values_of)} FROM image_{table} m"
            f" JOIN {table} g ON g.id = m.{key} WHERE m.image_id IN {wanted} ORDER BY g.id",
            (some,),
        ):
            found[image_id].setdefault(table, []).append(dict(zip(names, values, strict=True)))
    return found


def _text_of(column: str) -> str:
    return f"substr(CAST({column} AS TEXT), 1, {LONGEST_TEXT})"


async def _known_by_url(db: aiosqlite.Connection, url: str | None) -> int | None:
    if not url:
        return None
    rows = await db.execute_fetchall(
        "SELECT id FROM images WHERE url = ? AND coalesce(sha256_hash, '') = ''"
        " AND coalesce(local_path, '') = '' LIMIT 1",
        (url,),
    )
    return next((int(row[0]) for row in rows), None)


async def _insert(db: aiosqlite.Connection, values: dict[str, Any]) -> int:
    sql = "INSERT INTO images ({}) VALUES ({}) RETURNING id"
    try:
        rows = await db.execute_fetchall(
            sql.format(", ".join(values), ", ".join("?" * len(values))), tuple(values.values())
        )
    except _sqlite.IntegrityError:
        # Archives of old allow each address once; what was there under it before has another content.
        if values.pop("url", None) is None:
            raise
        rows = await db.execute_fetchall(
            sql.format(", ".join(values), ", ".join("?" * len(values))), tuple(values.values())
        )
    return int(next(iter(rows))[0])


async def _add_tags(db: aiosqlite.Connection, image_id: int, tags: Collection[str]) -> None:
    if not tags or "name" not in await _columns(db, "tags", "image_tags"):
        return
    for name in dict.fromkeys(tags):
        rows = list(await db.execute_fetchall("SELECT id FROM tags WHERE name = ?", (name,)))
        if not rows:
            rows = list(await db.execute_fetchall("INSERT INTO tags (name) VALUES (?) RETURNING id", (name,)))
        await _link(db, "image_tags", "tag_id", image_id, rows[0][0])


async def _add_to_group(
    db: aiosqlite.Connection, image_id: int, table: str, key: str, one: Mapping[str, Any]
) -> None:
    """`key` names a group; one without it is found by its title and address."""
    names = await _group_columns(db, table, key)
    told = [name for name in names if name != "is_public"]
    if not told:
        return
    same = [key] if key in told and one.get(key) is not None else told
    rows = list(
        await db.execute_fetchall(
            f"SELECT id FROM {table} WHERE {' AND '.join(f'{name} IS ?' for name in same)} LIMIT 1",
            [one.get(name) for name in same],
        )
    )
    if not rows:
        rows = list(
            await db.execute_fetchall(
                f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
                " RETURNING id",
                [one.get(name) for name in names],
            )
        )
    await _link(db, f"image_{table}", key, image_id, rows[0][0])


async def _link(db: aiosqlite.Connection, table: str, key: str, image_id: int, group_id: int) -> None:
    await db.execute(
        f"INSERT INTO {table} (image_id, {key}) SELECT ?1, ?2"
        f" WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE image_id = ?1 AND {key} = ?2)",
        (image_id, group_id),
    )


async def _group_columns(db: aiosqlite.Connection, table: str, key: str) -> list[str]:
    """What the archive keeps of an album or a collection; nothing where it has none of them."""
    there = await _columns(db, table, f"image_{table}")
    return [name for name in (key, "title", "url", "is_public") if name in there]


async def _columns(db: aiosqlite.Connection, table: str, members: str) -> set[str]:
    """Columns of the table; none where it, or the table of its members, is not there."""
    there: set[str] = set()
    if list(await db.execute_fetchall(f"PRAGMA table_info({members})")):
        there = {row[1] for row in await db.execute_fetchall(f"PRAGMA table_info({table})")}
    return there if "id" in there else set()
