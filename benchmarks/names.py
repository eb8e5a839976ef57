"""Plans of album names, from the catalogue to the last score."""

from __future__ import annotations

import gc
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import aiosqlite
import anyio

from benchmarks.measure import Result
from syncd.catalogue.database import Catalogue
from syncd.config import Config
from syncd.flows.names import AlbumNamer, Names

_ALBUMS, _PHOTOS = 1_000, 50
_LIMIT_S = 0.5


async def _fill(db: aiosqlite.Connection) -> None:
    """Albums of all kinds: teams that a model saw, hints, dates to cut off, and strays."""
    names = (
        "DSC_upload {n}",
        "Spring Cup {n} - May 30",
        "Smith Wedding {n} (2024-06-03)",
        "Team {n} vs Team B",
    )
    await db.executemany(
        "INSERT INTO smugmug_albums (id, album_key, title, image_count, synced_at) VALUES (?, ?, ?, ?, 'x')",
        [(n, f"k{n}", names[n % len(names)].format(n=n), _PHOTOS) for n in range(1, _ALBUMS + 1)],
    )
    photos = [(album, n) for album in range(1, _ALBUMS + 1) for n in range(_PHOTOS)]
    await db.executemany(
        "INSERT INTO smugmug_photos (id, image_key, filename, date_taken) VALUES (?, ?, ?, ?)",
        [
            (at, f"p{at}", f"{at}.jpg", f"2024-{album % 12 + 1:02}-{n % (album % 5 + 1) + 1:02}T10:00:00")
            for at, (album, n) in enumerate(photos, 1)
        ],
    )
    await db.executemany(
        "INSERT INTO smugmug_album_photos (album_id, photo_id) VALUES (?, ?)",
        [(album, at) for at, (album, _) in enumerate(photos, 1)],
    )
    await db.executemany(
        "INSERT INTO ai_metadata (photo_id, teams, event, processing_status) VALUES (?, ?, ?, 'review')",
        [
            (at, f'["Team {album}", "Visitors"]' if n % 3 else "[]", f"Event {album}" if n % 2 else "")
            for at, (album, n) in enumerate(photos, 1)
        ],
    )


async def _nobody() -> AlbumNamer:
    raise RuntimeError("a plan asks nobody")


async def _measure(folder: Path, rounds: int) -> list[float]:
    async with Catalogue.open(folder / "catalogue.db") as catalogue:
        await catalogue.write(_fill)
        names = Names(
            catalogue=catalogue,
            smugmug=_nobody,
            mirror=lambda: None,
            config=Config,
            emit=lambda *entry: None,
        )
        took_s = []
        for _ in range(rounds):
            gc.collect()
            began_s = time.perf_counter()
            plan = await names.plan(threshold=20)
            took_s.append(time.perf_counter() - began_s)
            if len(plan) != _ALBUMS or sum(item.action == "rename" for item in plan) < _ALBUMS / 2:
                raise RuntimeError("the plan is not what it should be")
    return took_s


def names_plan() -> Result:
    """1,000 albums with 50,000 described photos, read from the catalogue and planned."""
    with TemporaryDirectory(prefix="syncd-bench-names-") as folder:
        took_s = anyio.run(_measure, Path(folder), 8)[1:]  # the first loads what it needs
    median_s = statistics.median(took_s)
    rows = [("median", f"{median_s * 1000:.0f} ms"), ("most", f"{max(took_s) * 1000:.0f} ms")]
    return Result(
        "names_plan",
        f"Plan of the names of {_ALBUMS:,} albums with {_ALBUMS * _PHOTOS:,} photos",
        rows,
        f"a plan of names over {_ALBUMS:,} albums: {median_s:.2f} s",
        f"{_LIMIT_S} s",
        median_s <= _LIMIT_S,
        {"median_s": median_s, "all_s": took_s},
    )
