"""Two archives compared by SQL, in memory that does not grow with them.

SQLite as it is shipped sorts in memory, so each side's hashes are brought into order in pieces: a piece is
sorted, and goes into a table that is ordered by hash. What only they have is then one pass over both.
All of this blocks, and belongs into a thread; `progress` is called now and then and may raise to end it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncd.catalogue import _sqlite
from syncd.catalogue.exchange_images import LONGEST_TEXT
from syncd.catalogue.exchange_remote import Source, guarded, unreadable

_PIECE_ROWS = 120_000
_CACHE_KB = 8_000
ONLY_HERE_KEPT = 1_000
_TEXTS = (
    "title", "description", "author", "author_url", "license", "camera_make", "camera_model", "focal_length",
    "aperture", "shutter_speed", "taken_date", "upload_date", "page_url",
)  # fmt: skip
LARGEST_BYTES = 1 << 60
_SIZE = (
    f"CASE WHEN CAST(r.size_bytes AS INTEGER) BETWEEN 1 AND {LARGEST_BYTES - 1} OR r.size_bytes = 0"
    " THEN CAST(r.size_bytes AS INTEGER) END"
)
_IS_HASH = "typeof(sha256_hash) = 'text' AND length(sha256_hash) = 64"
# What is no hexadecimal number becomes NULL, which a primary key ignores.
_GATHER = "INSERT OR IGNORE INTO files SELECT unhex(sha256_hash) AS hash, id FROM source.images"


@dataclass(frozen=True, slots=True)
class Difference:
    """How two archives differ, in distinct files. `total_bytes` is None where a size is not known."""

    hash_files: int
    url_files: int
    total_bytes: int | None
    both: int
    only_here: int
    only_here_ids: tuple[int, ...]


def gather_hashes(uri: str, path: Path, target: Path, progress: Callable[[], None]) -> int:
    """Brings the distinct hashes of the archive at `uri` into the new file `target`; how many there are.
    `path` is how errors name it."""
    target.unlink(missing_ok=True)
    with closing(_scratch(target)) as db:
        try:
            db.execute("ATTACH ? AS source", (uri,))
            db.execute("CREATE TABLE files (hash BLOB PRIMARY KEY, id INTEGER) WITHOUT ROWID")
            db.execute("BEGIN")
            if _is_indexed(db, "source", "images", "sha256_hash"):
                progress()
                db.execute(f"{_GATHER} WHERE sha256_hash IS NOT NULL AND {_IS_HASH} ORDER BY sha256_hash")
            else:
                for after, until in _pieces(db):
                    progress()
                    db.execute(
                        f"{_GATHER} WHERE id > ? AND id <= ? AND {_IS_HASH} ORDER BY hash", (after, until)
                    )
            db.execute("COMMIT")
            return int(db.execute("SELECT count(*) FROM files").fetchone()[0])
        except _sqlite.Error as error:
            raise unreadable(path, error) from error


def _is_indexed(db: Any, schema: str, table: str, column: str) -> bool:
    """Whether an index of the table begins with the column: then rows come in its order without sorting."""
    names = [row[0] for row in db.execute("SELECT name FROM pragma_index_list(?, ?)", (table, schema))]
    return any(
        db.execute("SELECT name FROM pragma_index_info(?, ?) WHERE seqno = 0", (name, schema)).fetchone()
        == (column,)
        for name in names
    )


def _pieces(db: Any) -> Iterator[tuple[int, int]]:
    """Ranges of ids, each of so many rows that they may be sorted in memory: (after, until)."""
    after = -(2**63)
    while True:
        row = db.execute(
            f"SELECT id FROM source.images WHERE id > ? ORDER BY id LIMIT 1 OFFSET {_PIECE_ROWS - 1}",
            (after,),
        ).fetchone()
        yield after, row[0] if row else 2**63 - 1
        if row is None:
            return
        after = row[0]


class Comparison:
    """What only they have, from the gathered hashes of both sides. Close it; `scratch` is a new file that it
    works in."""

    def __init__(self, ours_uri: str, theirs: Source, here: Path, there: Path, scratch: Path) -> None:
        scratch.unlink(missing_ok=True)
        self._theirs = theirs
        self._columns = theirs.columns
        self._db = _scratch(scratch)
        try:
            for name, uri in (
                ("ours", ours_uri),
                ("theirs", theirs.uri),
                ("here", _sqlite.uri_of(here, "mode=ro&immutable=1")),
                ("there", _sqlite.uri_of(there, "mode=ro&immutable=1")),
            ):
                self._db.execute(f"ATTACH ? AS {name}", (uri,))
                self._db.execute(f"PRAGMA {name}.cache_size = -{_CACHE_KB}").close()
            # Tags and albums are looked up in the order of hashes, which is none.
            self._db.execute(f"PRAGMA main.cache_size = -{2 * _CACHE_KB}").close()
        except _sqlite.Error as error:
            self._db.close()
            raise unreadable(theirs.path, error) from error

    def close(self) -> None:
        self._db.close()

    def difference(self) -> Difference:
        """Finds out what is wanted, and counts."""
        try:
            return self._difference()
        except _sqlite.Error as error:
            raise unreadable(self._theirs.path, error) from error

    def _difference(self) -> Difference:
        db = self._db
        db.execute("BEGIN")
        db.execute("CREATE TABLE wanted (n INTEGER PRIMARY KEY, hash BLOB, url TEXT, theirs INTEGER)")
        hash_files = db.execute(
            "INSERT INTO wanted (hash, theirs) SELECT t.hash, t.id FROM there.files t"
            " WHERE NOT EXISTS (SELECT 1 FROM here.files h WHERE h.hash = t.hash) ORDER BY t.hash"
        ).rowcount
        there = _number(db, "SELECT count(*) FROM there.files")
        here = _number(db, "SELECT count(*) FROM here.files")
        only_here_ids = tuple(
            row[0]
            for row in db.execute(
                "SELECT h.id FROM here.files h"
                " WHERE NOT EXISTS (SELECT 1 FROM there.files t WHERE t.hash = h.hash)"
                f" LIMIT {ONLY_HERE_KEPT}"
            )
        )
        url_files = self._want_urls()
        db.execute("CREATE TABLE by_row (theirs INTEGER PRIMARY KEY)")
        db.execute("INSERT OR IGNORE INTO by_row SELECT theirs FROM wanted")
        self._gather_groups()
        db.execute("COMMIT")
        both = there - hash_files
        return Difference(hash_files, url_files, self._total_bytes(), both, here - both, only_here_ids)

    def _want_urls(self) -> int:
        """Rows of theirs without a hash whose address is not known here."""
        db = self._db
        db.execute("CREATE TABLE urls (url TEXT PRIMARY KEY, id INTEGER) WITHOUT ROWID")
        db.execute(
            "INSERT OR IGNORE INTO urls SELECT sound(CAST(url AS BLOB)), id FROM theirs.images"
            f" WHERE (sha256_hash IS NULL OR NOT ({_IS_HASH}) OR unhex(sha256_hash) IS NULL)"
            f" AND url <> '' AND length(url) <= {LONGEST_TEXT}"
        )
        if not _number(db, "SELECT count(*) FROM urls"):
            return 0
        db.execute("DELETE FROM urls WHERE url IN (SELECT CAST(url AS TEXT) FROM ours.images)")
        found: int = db.execute(
            "INSERT INTO wanted (url, theirs) SELECT url, id FROM urls ORDER BY url"
        ).rowcount
        return found

    def _gather_groups(self) -> None:
        """Tags, albums and collections of the wanted files: one pass over each of their tables."""
        for group, one, name in (
            ("tags", "tag", "json_group_array(substr(CAST(g.name AS TEXT), 1, 1000))"),
            ("albums", "album", self._set_json("albums", "album_id")),
            ("collections", "collection", self._set_json("collections", "collection_id")),
        ):
            self._db.execute(f"CREATE TABLE of_{group} (theirs INTEGER PRIMARY KEY, found TEXT)")
            members, needed = f"image_{group}", {"id"} | ({"name"} if group == "tags" else set())
            if not (
                needed <= self._columns.get(group, frozenset())
                and {"image_id", f"{one}_id"} <= self._columns.get(members, frozenset())
            ):
                continue
            # Along their index of members, groups come together by themselves; else they are sorted.
            by_index = _is_indexed(self._db, "theirs", members, "image_id")
            pairs = (
                f"by_row b CROSS JOIN theirs.{members} m" if by_index else f"theirs.{members} m JOIN by_row b"
            )
            self._db.execute(
                f"INSERT INTO of_{group} SELECT b.theirs, {name} FROM {pairs} ON m.image_id = b.theirs"
                f" CROSS JOIN theirs.{group} g ON g.id = m.{one}_id GROUP BY b.theirs"
            )

    def _set_json(self, table: str, key: str) -> str:
        columns = self._columns.get(table, frozenset())
        pairs = [
            f"'{name}', substr(CAST(g.{name} AS TEXT), 1, {LONGEST_TEXT})"
            for name in (key, "title", "url")
            if name in columns
        ]
        if "is_public" in columns:
            pairs.append("'is_public', CASE WHEN typeof(g.is_public) = 'integer' THEN g.is_public END")
        return f"json_group_array(json_object({', '.join(pairs)}))"

    def _total_bytes(self) -> int | None:
        if "size_bytes" not in self._columns["images"]:
            return None if _number(self._db, "SELECT count(*) FROM wanted") else 0
        row = self._db.execute(
            f"SELECT count(*) - count({_SIZE}), CAST(total({_SIZE}) AS INTEGER)"
            " FROM wanted w JOIN theirs.images r ON r.id = w.theirs"
        ).fetchone()
        return None if row[0] else row[1]

    def hashes_of_pictures(self) -> Iterator[tuple[int, str]]:
        """(number, perceptual hash) of the wanted files that have one."""
        if "perceptual_hash" in self._columns["images"]:
            yield from self._db.execute(
                "SELECT w.n, r.perceptual_hash FROM wanted w JOIN theirs.images r ON r.id = w.theirs"
                " WHERE w.hash IS NOT NULL AND typeof(r.perceptual_hash) = 'text'"
                " AND length(r.perceptual_hash) = 16"
            )

    def describe(self, folder: str, near: Iterable[tuple[int, int, int]]) -> None:
        """Writes what is to be kept of each wanted file into `scratch`, for `listed` and for
        `exchange.add_wanted`. Paths of theirs are relative to `folder`; `near` is (number, images.id of what
        looks like it here, distance)."""
        try:
            self._describe(folder, near)
        except _sqlite.Error as error:
            raise unreadable(self._theirs.path, error) from error

    def _describe(self, folder: str, near: Iterable[tuple[int, int, int]]) -> None:
        columns = self._columns["images"]
        texts = ", ".join(
            f"'{name}', substr(CAST(r.{name} AS TEXT), 1, {LONGEST_TEXT})"
            for name in _TEXTS
            if name in columns
        )
        groups = ", ".join(f"'{group}', json({group}.found)" for group in ("tags", "albums", "collections"))
        joins = " ".join(
            f"LEFT JOIN of_{group} AS {group} ON {group}.theirs = w.theirs"
            for group in ("tags", "albums", "collections")
        )
        picture = (
            "'perceptual_hash', CAST(r.perceptual_hash AS TEXT), " if "perceptual_hash" in columns else ""
        )
        path = "nullif(substr(CAST(r.local_path AS TEXT), 1, 4096), '')"
        db = self._db
        db.execute("BEGIN")
        db.execute("CREATE TABLE near (n INTEGER PRIMARY KEY, image_id INTEGER, distance INTEGER)")
        db.executemany("INSERT INTO near VALUES (?, ?, ?)", near)
        db.execute(
            "CREATE TABLE described (n INTEGER PRIMARY KEY, sha256 TEXT, url TEXT, size_bytes INTEGER,"
            " path TEXT, metadata TEXT)"
        )
        db.execute(
            "INSERT INTO described SELECT w.n, nullif(lower(hex(w.hash)), ''),"
            f" nullif(substr(CAST(r.url AS TEXT), 1, {LONGEST_TEXT}), ''),"
            f" {_SIZE if 'size_bytes' in columns else 'NULL'},"
            f" CASE WHEN substr({path}, 1, 1) = '/' THEN {path} ELSE ? || {path} END,"
            f" json_object({picture}{texts}{', ' if texts else ''}{groups})"
            f" FROM wanted w JOIN theirs.images r ON r.id = w.theirs {joins} ORDER BY w.n",
            (folder.rstrip("/") + "/",),
        )
        # Texts in some other encoding: nothing could read the archive's records with such bytes in them.
        sound = ", ".join(f"{name} = sound(CAST({name} AS BLOB))" for name in ("url", "path", "metadata"))
        together = "metadata || '/' || coalesce(path, '') || '/' || coalesce(url, '')"
        db.execute(f"UPDATE described SET {sound} WHERE is_unsound(CAST({together} AS BLOB))")
        db.execute("COMMIT")


def uri_of_scratch(scratch: Path) -> str:
    """For ATTACH, once nothing writes to it any more."""
    return _sqlite.uri_of(scratch, "mode=ro&immutable=1")


def listed(scratch: Path, rows: int) -> Iterator[list[tuple[str | None, str | None, int | None]]]:
    """(hash, address, size) of the described files, hashes in order and first, `rows` at a time."""
    with closing(guarded(_sqlite.connect(scratch, mode="ro", immutable=True))) as db:
        cursor = db.execute("SELECT sha256, url, size_bytes FROM described ORDER BY n")
        while found := cursor.fetchmany(rows):
            yield found


def picture_hashes(uri: str, path: Path) -> Iterator[tuple[int, str]]:
    """(images.id, perceptual hash) of every picture of the archive at `uri` that has one."""
    with closing(_connect(uri)) as db:
        try:
            columns = {row[1] for row in db.execute("PRAGMA table_info(images)")}
            if "perceptual_hash" in columns:
                yield from db.execute(
                    "SELECT id, perceptual_hash FROM images"
                    " WHERE typeof(perceptual_hash) = 'text' AND length(perceptual_hash) = 16"
                )
        except _sqlite.Error as error:
            raise unreadable(path, error) from error


def _connect(uri: str) -> Any:
    return guarded(_sqlite.connect_uri(uri))


def _scratch(path: Path) -> Any:
    """A file to work in: nothing of it has to outlive a crash."""
    db = guarded(_sqlite.connect(path, mode="rwc"))
    path.chmod(0o600)
    db.create_function("sound", 1, _sound, deterministic=True)
    db.create_function("is_unsound", 1, _is_unsound, deterministic=True)
    for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KB}"):
        db.execute(f"PRAGMA {setting}").fetchone()
    return db


def _sound(content: bytes | None) -> str | None:
    """A text of any bytes as one that can be read; NULL stays NULL."""
    return None if content is None else content.decode("utf-8", "replace")


def _is_unsound(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return True
    return False


def _number(db: Any, sql: str) -> int:
    return int(db.execute(sql).fetchone()[0])
