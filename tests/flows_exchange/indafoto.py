"""An indafoto.db made by hand, as the crawler of that name makes it, with its files."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

SHAPE = """
CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT UNIQUE, url TEXT, local_path TEXT, sha256_hash TEXT,
    title TEXT, description TEXT, author TEXT, author_url TEXT, license TEXT, camera_make TEXT,
    camera_model TEXT, focal_length TEXT, aperture TEXT, shutter_speed TEXT, taken_date TEXT,
    upload_date TEXT, page_url TEXT
);
CREATE INDEX idx_images_url ON images (url);
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT, collection_id TEXT UNIQUE, title TEXT, url TEXT, is_public BOOLEAN
);
CREATE TABLE albums (
    id INTEGER PRIMARY KEY AUTOINCREMENT, album_id TEXT UNIQUE, title TEXT, url TEXT, is_public BOOLEAN
);
CREATE TABLE image_collections (
    image_id INTEGER, collection_id INTEGER, FOREIGN KEY (image_id) REFERENCES images (id),
    FOREIGN KEY (collection_id) REFERENCES collections (id), PRIMARY KEY (image_id, collection_id)
);
CREATE TABLE image_albums (
    image_id INTEGER, album_id INTEGER, FOREIGN KEY (image_id) REFERENCES images (id),
    FOREIGN KEY (album_id) REFERENCES albums (id), PRIMARY KEY (image_id, album_id)
);
CREATE TABLE tags (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, count INTEGER);
CREATE TABLE image_tags (
    image_id INTEGER, tag_id INTEGER, FOREIGN KEY (image_id) REFERENCES images (id),
    FOREIGN KEY (tag_id) REFERENCES tags (id), PRIMARY KEY (image_id, tag_id)
);
"""
GROUPS = {"albums": "album_id", "collections": "collection_id"}


class Indafoto:
    """The archive in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "indafoto.db"
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path)) as db:
            db.executescript(SHAPE)

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as db, db:
            return db.execute(statement, values).fetchall()

    def add(
        self,
        content: bytes | None,
        *,
        place: str = "",
        tags: tuple[str, ...] = (),
        albums: tuple[str, ...] = (),
        collections: tuple[str, ...] = (),
        **columns: Any,
    ) -> str:
        """A photo with its file (None: known only by its address); its hash."""
        sha256 = hashlib.sha256(content).hexdigest() if content is not None else ""
        if content is not None:
            place = place or f"images/{columns.get('author') or 'x'}/{sha256[:8]}.jpg"
            (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / place).write_bytes(content)
            columns = {"local_path": place, "sha256_hash": sha256} | columns
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("PRAGMA synchronous = OFF")  # a test's archive need not outlive a power cut
            image_id = db.execute(
                f"INSERT INTO images ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                tuple(columns.values()),
            ).lastrowid
            for name in tags:
                db.execute("INSERT OR IGNORE INTO tags (name, count) VALUES (?, 1)", (name,))
                db.execute("INSERT INTO image_tags SELECT ?, id FROM tags WHERE name = ?", (image_id, name))
            for table, names in (("albums", albums), ("collections", collections)):
                for name in names:
                    db.execute(
                        f"INSERT OR IGNORE INTO {table} ({GROUPS[table]}, title, is_public) VALUES (?, ?, 1)",
                        (f"{table}-{name}", name),
                    )
                    db.execute(
                        f"INSERT INTO image_{table} SELECT ?, id FROM {table} WHERE title = ?",
                        (image_id, name),
                    )
        return sha256

    @staticmethod
    def hash_of(content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    def hashes(self) -> set[str]:
        """Hashes of the files that the archive holds, each read from its file."""
        found = set()
        rows = self.sql(
            "SELECT local_path, sha256_hash FROM images WHERE local_path <> '' AND sha256_hash <> ''"
        )
        for path, sha256 in rows:
            content = (self.folder / path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == sha256
            found.add(sha256)
        return found


def told_of(db: Path, sha256: str) -> dict[str, Any]:
    """What an archive tells of a file: its texts, tags, albums and collections."""
    with closing(sqlite3.connect(db)) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM images WHERE sha256_hash = ?", (sha256,)).fetchone())
        groups = {
            table: sorted(
                one[0]
                for one in connection.execute(
                    f"SELECT g.{name} FROM image_{table} m JOIN {table} g ON g.id = m.{key}"
                    " WHERE m.image_id = ?",
                    (row["id"],),
                )
            )
            for table, name, key in (
                ("tags", "name", "tag_id"),
                ("albums", "title", "album_id"),
                ("collections", "title", "collection_id"),
            )
        }
    ours = ("id", "uuid", "local_path", "size_bytes", "version_id", "list_id")
    return {name: value for name, value in row.items() if value is not None and name not in ours} | groups
