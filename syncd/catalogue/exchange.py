"""Queries of the exchange that are the same in every archive: operations, lists, and their files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiosqlite

from syncd.catalogue import _sqlite
from syncd.catalogue._sqlite import NOW

_LIST = (
    # Lists of scripts of old may lack anything but their id.
    "id, list_id, role, coalesce(status, 'pending'),"
    " coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', created_time), '1970-01-01T00:00:00.000Z'),"
    " coalesce(remote, ''), list_file, coalesce(total_files, 0), hash_files, url_files, total_bytes,"
    " coalesce(processed_files, 0), near_matches, only_here, only_here_ids, asker_key, folder, error,"
    " coalesce((SELECT o.error_count FROM sync_operations o"
    " WHERE o.operation_id = sync_export_lists.operation_id), 0)"
)
ARRIVED = ("imported", "already_here")
GIVEN = ("exported", "delivered")


@dataclass(frozen=True, slots=True)
class ListRow:
    """A list of files that this archive asks for, or gives. `number` orders them by age."""

    number: int
    list_id: str
    role: str
    status: str
    created_at: str
    remote: str
    list_file: str | None
    total_files: int
    hash_files: int
    url_files: int
    total_bytes: int | None
    processed_files: int
    near_matches: int
    only_here: int
    only_here_ids: str | None
    asker_key: str | None
    folder: str | None
    error: str | None
    error_count: int


class FileRow(NamedTuple):
    """A file of a list. `image_id` is this archive's row of it, where `local_path` and `found_sha256` are."""

    file_id: int
    image_id: int | None
    export_path: str | None
    status: str
    sha256: str | None
    url: str | None
    size_bytes: int | None
    metadata: str | None
    remote_path: str | None
    near_image_id: int | None
    near_distance: int | None
    reason: str | None
    local_path: str | None
    found_sha256: str | None

    @property
    def name(self) -> str:
        """What the file is called in reports: its hash, or its address where it has none."""
        return self.sha256 or self.url or ""


class Done(NamedTuple):
    """What became of one file of a list."""

    file_id: int
    status: str
    sha256: str | None
    path: str | None = None
    size_bytes: int | None = None
    reason: str | None = None
    image_id: int | None = None


_FILE = (
    "SELECT f.id, f.image_id, f.export_path, f.status, f.sha256_hash, f.url, f.size_bytes, f.metadata,"
    " f.remote_path, f.near_image_id, f.near_distance, f.error_message,"
    # An indafoto.db may hold values of any type.
    " CAST(i.local_path AS TEXT), CAST(i.sha256_hash AS TEXT)"
    " FROM sync_export_files f LEFT JOIN images i ON i.id = f.image_id"
)


# --- operations -----------------------------------------------------------------------------------


async def begin(
    db: aiosqlite.Connection, operation_id: str, kind: str, list_id: str | None, source: str
) -> None:
    """An operation starts. Those of its list that a killed daemon left running were interrupted."""
    await db.execute(
        f"UPDATE sync_operations SET status = 'interrupted', end_time = {NOW}"
        " WHERE list_id = ? AND status = 'running'",
        (list_id,),
    )
    await db.execute(
        "INSERT INTO sync_operations (operation_id, start_time, status, source_db_path, kind, list_id)"
        f" VALUES (?, {NOW}, 'running', ?, ?, ?)",
        (operation_id, source, kind, list_id),
    )
    if list_id is not None:
        await db.execute(
            "UPDATE sync_export_lists SET operation_id = ?, status = 'running', error = NULL"
            " WHERE list_id = ?",
            (operation_id, list_id),
        )


async def end(
    db: aiosqlite.Connection,
    operation_id: str,
    status: str,
    *,
    total: int = 0,
    processed: int = 0,
    errors: int = 0,
    error: str | None = None,
) -> None:
    """The operation is over: `completed`, `partial` or `failed`; its list is as it is."""
    await db.execute(
        f"UPDATE sync_operations SET end_time = {NOW}, status = ?, total_files = ?, processed_files = ?,"
        " error_count = ?, error = ? WHERE operation_id = ?",
        (status, total, processed, errors, error, operation_id),
    )


async def last_start(db: aiosqlite.Connection, list_id: str, kind: str) -> str | None:
    """When the last operation of this kind began for the list; RFC 3339 in UTC."""
    rows = await db.execute_fetchall(
        "SELECT max(start_time) FROM sync_operations WHERE list_id = ? AND kind = ?", (list_id, kind)
    )
    return next(iter(rows))[0]  # type: ignore[no-any-return]


# --- lists ----------------------------------------------------------------------------------------


async def drop_list(db: aiosqlite.Connection, list_id: str) -> None:
    """Forgets a list that was not finished, with its files."""
    await db.execute("DELETE FROM sync_export_lists WHERE list_id = ?", (list_id,))


async def drop_unfinished(db: aiosqlite.Connection) -> None:
    """Forgets lists whose analysis came to no end, and could not be forgotten then: the disk was full."""
    await db.execute(
        "DELETE FROM sync_export_lists WHERE role = 'asks' AND status IN ('running', 'failed')"
        " AND list_file IS NOT NULL AND NOT EXISTS (SELECT 1 FROM sync_operations o"
        " WHERE o.list_id = sync_export_lists.list_id AND o.kind = 'analyze' AND o.status = 'completed')"
    )


async def add_list(db: aiosqlite.Connection, list_id: str, **values: object) -> None:
    """A new list; `values` are columns of sync_export_lists."""
    await db.execute(
        f"INSERT INTO sync_export_lists (list_id, created_time{''.join(f', {name}' for name in values)})"
        f" VALUES (?, {NOW}{', ?' * len(values)})",
        (list_id, *values.values()),
    )


async def set_list(db: aiosqlite.Connection, list_id: str, **values: object) -> None:
    """Changes columns of a list."""
    changes = ", ".join(f"{name} = ?" for name in values)
    await db.execute(f"UPDATE sync_export_lists SET {changes} WHERE list_id = ?", (*values.values(), list_id))


async def get_list(db: aiosqlite.Connection, list_id: str) -> ListRow | None:
    """The list of this id, or the only one whose id begins so."""
    rows = list(
        await db.execute_fetchall(
            f"SELECT {_LIST} FROM sync_export_lists WHERE list_id = ?1"
            " OR (length(?1) >= 4 AND substr(list_id, 1, length(?1)) = ?1)"
            " ORDER BY list_id = ?1 DESC LIMIT 2",
            (list_id,),
        )
    )
    if len(rows) > 1 and rows[0][1] != list_id:
        return None
    return ListRow(*rows[0]) if rows else None


async def lists(db: aiosqlite.Connection, limit: int, before: int | None) -> tuple[list[ListRow], int | None]:
    """Lists, newest first, and the number of the last where there are more."""
    rows = list(
        await db.execute_fetchall(
            f"SELECT {_LIST} FROM sync_export_lists WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2",
            (before, limit + 1),
        )
    )
    found = [ListRow(*row) for row in rows[:limit]]
    return found, found[-1].number if len(rows) > limit else None


async def has_exchange(db: aiosqlite.Connection) -> bool:
    """Whether the archive has the tables of the exchange; those of scripts of old are none."""
    rows = await db.execute_fetchall(
        "SELECT 1 FROM pragma_table_info('sync_export_lists') WHERE name = 'role'"
    )
    return bool(list(rows))


async def counts(db: aiosqlite.Connection, list_id: str) -> dict[str, int]:
    """How many files of the list are in each status."""
    rows = await db.execute_fetchall(
        "SELECT status, count(*) FROM sync_export_files WHERE list_id = ? GROUP BY status", (list_id,)
    )
    return {row[0]: row[1] for row in rows}


async def total_bytes(db: aiosqlite.Connection, list_id: str, statuses: Collection[str]) -> int:
    """The bytes of the files of the list in these statuses."""
    rows = await db.execute_fetchall(
        "SELECT CAST(total(size_bytes) AS INTEGER) FROM sync_export_files"
        " WHERE list_id = ? AND status IN (SELECT value FROM json_each(?))",
        (list_id, json.dumps(list(statuses))),
    )
    return int(next(iter(rows))[0])


# --- files ----------------------------------------------------------------------------------------


async def attach(db: aiosqlite.Connection, list_id: str, uri: str) -> None:
    """Makes what `Comparison.describe` wrote known to this connection, until `Archive.detach`."""
    try:
        await db.execute(f'ATTACH ? AS "{scratch_name(list_id)}"', (uri,))
    except _sqlite.Error as error:
        if "already in use" not in str(error):  # a transaction that was rolled back has left it
            raise


def scratch_name(list_id: str) -> str:
    """What `attach` calls the database."""
    return f"exchange {list_id}"


async def add_wanted(db: aiosqlite.Connection, list_id: str, after: int, until: int) -> None:
    """The described files of these numbers, from what is attached."""
    name = scratch_name(list_id)
    await db.execute(
        "INSERT INTO sync_export_files (list_id, sha256_hash, url, size_bytes, metadata, remote_path,"
        " near_image_id, near_distance)"
        " SELECT ?, d.sha256, d.url, d.size_bytes, d.metadata, d.path, near.image_id, near.distance"
        f' FROM "{name}".described d LEFT JOIN "{name}".near near ON near.n = d.n'
        " WHERE d.n > ? AND d.n <= ? ORDER BY d.n",
        (list_id, after, until),
    )


async def add_asked(
    db: aiosqlite.Connection, list_id: str, files: Sequence[tuple[str | None, str | None, int | None]]
) -> None:
    """Files that a list asks for: (hash, address, size). Those that are there twice count once."""
    await db.executemany(
        "INSERT OR IGNORE INTO sync_export_files (list_id, sha256_hash, url, size_bytes) VALUES (?, ?, ?, ?)",
        [(list_id, *file) for file in files],
    )


async def count_asked(db: aiosqlite.Connection, list_id: str) -> None:
    """The counts of a list, from its files."""
    await db.execute(
        "UPDATE sync_export_lists SET (total_files, hash_files, total_bytes) = (SELECT count(*),"
        " count(sha256_hash), CASE WHEN count(*) = count(size_bytes)"
        " THEN CAST(total(size_bytes) AS INTEGER) END"
        " FROM sync_export_files WHERE list_id = ?1) WHERE list_id = ?1",
        (list_id,),
    )
    await db.execute(
        "UPDATE sync_export_lists SET url_files = total_files - hash_files WHERE list_id = ?", (list_id,)
    )


async def match_images(db: aiosqlite.Connection, list_id: str) -> None:
    """Finds this archive's image of each file of the list: one pass over `images`, whose hashes have no
    index in an indafoto.db."""
    await db.execute("UPDATE sync_export_files SET image_id = NULL WHERE list_id = ?", (list_id,))
    await db.execute(
        "UPDATE sync_export_files AS f SET image_id = i.id FROM images i"
        " WHERE f.list_id = ? AND f.sha256_hash = lower(i.sha256_hash) AND i.local_path <> ''",
        (list_id,),
    )
    await db.execute(
        "UPDATE sync_export_files AS f SET image_id = i.id FROM images i"
        " WHERE f.list_id = ? AND f.sha256_hash IS NULL AND f.url = i.url AND i.local_path <> ''",
        (list_id,),
    )


async def other_places(
    db: aiosqlite.Connection, list_id: str, after: int, limit: int
) -> list[tuple[int, int, str, str]]:
    """Files of the list that this archive has more than once, in the order of its images: (images.id, file of
    the list, where it is, where the image that was found first is). Starts after the image of that id."""
    rows = await db.execute_fetchall(
        "SELECT i.id, f.id, CAST(i.local_path AS TEXT), CAST(found.local_path AS TEXT)"
        " FROM images i CROSS JOIN sync_export_files f"
        " ON f.list_id = ?1 AND f.sha256_hash = lower(i.sha256_hash)"
        " JOIN images found ON found.id = f.image_id"
        " WHERE i.id > ?2 AND i.id <> f.image_id AND i.local_path <> '' ORDER BY i.id LIMIT ?3",
        (list_id, after, limit),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def files(
    db: aiosqlite.Connection,
    list_id: str,
    *,
    after: int = 0,
    limit: int,
    statuses: Collection[str] | None = None,
    near: bool = False,
    only_url: bool = False,
) -> list[FileRow]:
    """Files of the list in their order, after the one of this id."""
    wanted = None if statuses is None else json.dumps(list(statuses))
    rows = await db.execute_fetchall(
        f"{_FILE} WHERE f.list_id = ?1 AND f.id > ?2"
        " AND (?3 IS NULL OR f.status IN (SELECT value FROM json_each(?3)))"
        f"{' AND f.near_image_id IS NOT NULL' if near else ''}"
        f"{' AND f.sha256_hash IS NULL' if only_url else ''} ORDER BY f.id LIMIT ?4",
        (list_id, after, wanted, limit),
    )
    return [FileRow(*row) for row in rows]


async def file(db: aiosqlite.Connection, list_id: str, file_id: int) -> FileRow | None:
    """One file of the list."""
    rows = await db.execute_fetchall(f"{_FILE} WHERE f.list_id = ? AND f.id = ?", (list_id, file_id))
    return next((FileRow(*row) for row in rows), None)


async def files_named(
    db: aiosqlite.Connection, list_id: str, hashes: Collection[str], urls: Collection[str]
) -> list[FileRow]:
    """Files of the list with these hashes, and those without a hash that have these addresses."""
    some = "(SELECT value FROM json_each(?))"
    found: list[FileRow] = []
    for condition, names in ((f"f.sha256_hash IN {some}", hashes),
                             (f"f.sha256_hash IS NULL AND f.url IN {some}", urls)):  # fmt: skip
        if names:
            rows = await db.execute_fetchall(
                f"{_FILE} WHERE f.list_id = ? AND {condition}", (list_id, json.dumps(list(names)))
            )
            found += [FileRow(*row) for row in rows]
    return found


async def note_done(db: aiosqlite.Connection, operation_id: str, done: Sequence[Done]) -> None:
    """What became of these files, on the list and in the record of the operation."""
    await db.executemany(
        "UPDATE sync_export_files SET status = ?, export_path = coalesce(?, export_path),"
        " size_bytes = coalesce(?, size_bytes), error_message = ?, image_id = coalesce(?, image_id)"
        " WHERE id = ?",
        [(d.status, d.path, d.size_bytes, d.reason, d.image_id, d.file_id) for d in done],
    )
    await note_checked(db, operation_id, done)


async def note_checked(db: aiosqlite.Connection, operation_id: str, done: Sequence[Done]) -> None:
    """What an operation found of these files; the list stays as it is."""
    await db.executemany(
        "INSERT INTO sync_files (operation_id, image_id, file_path, file_hash, status, error_message)"
        " VALUES (?, coalesce(?, (SELECT image_id FROM sync_export_files WHERE id = ?)), ?, ?, ?, ?)",
        [(operation_id, d.image_id, d.file_id, d.path, d.sha256, d.status, d.reason) for d in done],
    )


async def note_absent(db: aiosqlite.Connection, list_id: str, operation_id: str, reason: str) -> int:
    """The files of the list that neither came nor were turned down are missing; how many those are."""
    await db.execute(
        "UPDATE sync_export_files SET status = 'missing', error_message = ?"
        " WHERE list_id = ? AND status IN ('pending', 'missing')",
        (reason, list_id),
    )
    await db.execute(
        "INSERT INTO sync_files (operation_id, file_hash, file_path, status, error_message)"
        " SELECT ?, sha256_hash, url, 'missing', error_message FROM sync_export_files"
        " WHERE list_id = ? AND status = 'missing'",
        (operation_id, list_id),
    )
    return (await counts(db, list_id)).get("missing", 0)


async def reset(db: aiosqlite.Connection, list_id: str, statuses: Collection[str]) -> None:
    """The files of the list in these statuses are to be done again."""
    await db.execute(
        "UPDATE sync_export_files SET status = 'pending', error_message = NULL"
        " WHERE list_id = ? AND status IN (SELECT value FROM json_each(?))",
        (list_id, json.dumps(list(statuses))),
    )


async def set_image(db: aiosqlite.Connection, file_id: int, image_id: int) -> None:
    """The file of the list is this archive's image."""
    await db.execute("UPDATE sync_export_files SET image_id = ? WHERE id = ?", (image_id, file_id))


async def note_delivered(db: aiosqlite.Connection, list_id: str, hashes: Collection[str]) -> None:
    """The receipt says that these files arrived."""
    await db.execute(
        "UPDATE sync_export_files SET status = 'delivered'"
        " WHERE list_id = ?1 AND (sha256_hash IN (SELECT value FROM json_each(?2))"
        # What was asked for by its address is known here by the place that its content gave it.
        " OR (sha256_hash IS NULL AND substr(export_path, 10, 64) IN (SELECT value FROM json_each(?2))))",
        (list_id, json.dumps(list(hashes))),
    )


async def images_by_id(
    db: aiosqlite.Connection, ids: Collection[int], columns: Collection[str]
) -> dict[int, dict[str, Any]]:
    """id, local_path, url, sha256, title and author of these images, as far as they are still there."""
    rows = await db.execute_fetchall(
        "SELECT id, CAST(local_path AS TEXT), CAST(url AS TEXT), CAST(sha256_hash AS TEXT),"
        f" {', '.join(_text_of(name, columns) for name in ('title', 'author'))}"
        " FROM images WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    names = ("id", "local_path", "url", "sha256", "title", "author")
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def _text_of(name: str, columns: Collection[str]) -> str:
    return f"CAST({name} AS TEXT)" if name in columns else "NULL"
