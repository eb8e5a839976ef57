"""A library of 50,000 photos into an empty Postgres, and once more when nothing has changed; beside it, plain
COPY of the same rows into a table of the same columns and indexes."""

from __future__ import annotations

import json
import time
from array import array
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import psycopg

from benchmarks.measure import Result
from syncd.catalogue.database import Catalogue
from syncd.config import GuardConfig
from syncd.flows.mirror import Mirroring, Told
from syncd.sinks.postgres import PostgresMirror
from tests.postgres import PostgresServer, postgres_server

KEYWORDS = json.dumps(["soccer", "girls", "u14"])
PHOTOS, PER_ALBUM, WITH_VECTORS, DIMENSIONS = 50_000, 200, 1_000, 1_536


def mirror() -> Result:
    """At least 10,000 rows a second; a pass over all of it with nothing to do in less than a second."""
    with TemporaryDirectory(prefix="syncd-bench-mirror-") as folder, postgres_server() as server:
        numbers = anyio.run(_measure, Path(folder), server, backend_options={"use_uvloop": True})
    rate, nothing_s, copy_rate = numbers["rows_per_s"], numbers["nothing_s"], numbers["copy_rows_per_s"]
    rows = [
        ("into empty", f"{rate:,.0f} rows/s (COPY of the same rows alone: {copy_rate:,.0f})"),
        ("event loop", f"held for {numbers['held_ms']:.0f} ms at most"),
        ("nothing changed", f"{nothing_s:.2f} s to compare all; {numbers['look_ms']:.1f} ms to see no marks"),
        ("with vectors", f"{numbers['vector_rows_per_s']:,.0f} rows/s of {DIMENSIONS:,} dimensions"),
    ]
    readme = (
        f"mirror of {PHOTOS:,} photos into an empty Postgres: {rate:,.0f} rows/s; compared again with nothing"
        f" changed: {nothing_s:.2f} s"
    )
    return Result(
        "mirror", f"{PHOTOS:,} photos into Postgres", rows, readme, "10,000 rows/s at least; 1 s",
        rate >= 10_000 and nothing_s < 1, numbers,
    )  # fmt: skip


async def _measure(folder: Path, server: PostgresServer) -> dict[str, Any]:
    name = server.make_database()
    sink = PostgresMirror(server.dsn(name))
    async with Catalogue.open(folder / "catalogue.db") as catalogue:
        await catalogue.write(_library)
        work = Mirroring(sink, catalogue)
        await work.fill()  # connected, and the tables are there
        took_s, held_ms = await _watched(work)
        compare_s = []
        for _ in range(3):
            began = time.perf_counter()
            told = (await work.compare(GuardConfig())).plus(await work.tell())
            compare_s.append(time.perf_counter() - began)
            if told != Told():
                raise RuntimeError(f"something was told twice: {told}")
        began = time.perf_counter()
        await work.tell()
        look_s = time.perf_counter() - began
        await catalogue.write(_vectors)
        began = time.perf_counter()
        if (told := await work.tell()).written != WITH_VECTORS:
            raise RuntimeError(f"vectors were not told: {told}")
        vectors_s = time.perf_counter() - began
        await sink.close()
    return {
        "rows_per_s": PHOTOS / took_s,
        "held_ms": held_ms,
        "nothing_s": min(compare_s),
        "look_ms": look_s * 1000,
        "vector_rows_per_s": WITH_VECTORS / vectors_s,
        "copy_rows_per_s": PHOTOS / await anyio.to_thread.run_sync(_copy, server, name),
    }


async def _watched(work: Mirroring) -> tuple[float, float]:
    """Seconds for all rows, and the longest time in milliseconds that the event loop was held."""
    held_s = 0.0

    async def watch() -> None:
        nonlocal held_s
        while True:
            began = time.perf_counter()
            await anyio.sleep(0.005)
            held_s = max(held_s, time.perf_counter() - began - 0.005)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        began = time.perf_counter()
        told = await work.tell()
        took_s = time.perf_counter() - began
        tasks.cancel_scope.cancel()
    if told.written != PHOTOS:
        raise RuntimeError(f"not everything was told: {told}")
    return took_s, held_s * 1000


async def _library(db: Any) -> None:
    albums = [(f"Al{n:05}", f"Team {n} vs Team {n + 1} - May 30") for n in range(PHOTOS // PER_ALBUM)]
    await db.executemany("INSERT INTO smugmug_albums (album_key, title) VALUES (?, ?)", albums)
    photos = [
        (
            f"k{n:07}", f"DSC_{n}.JPG", f"a photo of that day, number {n}", KEYWORDS,
            f"2024-05-30T10:{n // 60 % 60:02}:{n % 60:02}",
            f"https://photos.smugmug.com/photos/i-k{n}/0/0a1b2c3d/Th/i-k{n}-Th.jpg",
            f"https://photos.smugmug.com/photos/i-k{n}/0/0a1b2c3d/X3/i-k{n}-X3.jpg",
        )
        for n in range(PHOTOS)
    ]  # fmt: skip
    await db.executemany(
        "INSERT INTO smugmug_photos (image_key, filename, caption, keywords, date_taken, thumbnail_url,"
        " large_url, width, height) VALUES (?, ?, ?, ?, ?, ?, ?, 6000, 4000)",
        photos,
    )
    await db.execute(
        "INSERT INTO smugmug_album_photos (album_id, photo_id)"
        f" SELECT 1 + (id - 1) / {PER_ALBUM}, id FROM smugmug_photos"
    )
    await db.execute(
        "INSERT INTO ai_metadata (photo_id, ai_description, ai_tags, ai_categories, teams, sport,"
        " confidence_score, processing_status, approved) SELECT id, ?, ?, ?, ?, 'soccer', 0.9, 'approved', 1"
        " FROM smugmug_photos",
        (
            "A player in red takes the ball past two defenders in blue while the keeper waits on her line.",
            '["ball", "goal", "grass"]', '["sport"]', '["Reds", "Blues"]',
        ),
    )  # fmt: skip
    await db.execute("UPDATE smugmug_account SET last_sync = '2026-01-01T00:00:00.000Z'")


async def _vectors(db: Any) -> None:
    vector = array("f", [((n * 37) % 101 - 50) / 997 for n in range(DIMENSIONS)]).tobytes()
    sql = "UPDATE ai_metadata SET embedding = ? WHERE photo_id <= ?"
    await db.execute(sql, (vector, WITH_VECTORS))


def _copy(server: PostgresServer, name: str) -> float:
    """Seconds to COPY the rows from memory into an empty table."""
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        connection.execute("CREATE TABLE plain (LIKE photo_metadata INCLUDING ALL)")
        rows = connection.execute("SELECT * FROM photo_metadata").fetchall()
        began = time.perf_counter()
        with connection.transaction(), connection.cursor().copy("COPY plain FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return time.perf_counter() - began
