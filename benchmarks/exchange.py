"""The exchange: a million rows compared with a million, and 2 GB given and taken."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, fresh_place
from tests.flows.place import Daemon, call
from tests.flows_exchange.indafoto import SHAPE

_ROWS = 1_000_000
_SHARE = 0.8
"""Of each archive's files the other has so many."""
_FILES, _FILE_BYTES = 400, 5_000_000


def exchange_analyze() -> Result:
    """Two archives of a million photos with tags and albums, a fifth of each unknown to the other."""
    with fresh_place("analyze") as place:
        ours, theirs = place.home / "ours.db", place.home / "theirs.db"
        _fill_database(ours, 0)
        _fill_database(theirs, round(_ROWS * (1 - _SHARE)))
        took_s: list[float] = []
        with place.daemon() as daemon:
            before_mb = _peak_mb(daemon)
            for _ in range(3):
                began = time.perf_counter()
                found = _call(daemon, "analyze", remote_db=str(theirs), db=str(ours))
                took_s.append(time.perf_counter() - began)
            peak_mb = _peak_mb(daemon)
    if found["hash_files"] != round(_ROWS * (1 - _SHARE)):
        raise RuntimeError(f"{found['hash_files']} files are wanted")
    best_s = statistics.median(took_s)
    rows = [
        ("median", f"{best_s:.1f} s   ({', '.join(f'{one:.1f}' for one in took_s)})"),
        ("daemon at most", f"{peak_mb:.0f} MB   ({before_mb:.0f} MB before)"),
    ]
    readme = f"1,000,000 rows compared with 1,000,000: {best_s:.1f} s, {peak_mb:.0f} MB"
    return Result(
        "exchange_analyze", "A million rows compared with a million", rows, readme, "10 s, 200 MB",
        best_s <= 10 and peak_mb <= 200, {"took_s": took_s, "peak_mb": peak_mb},
    )  # fmt: skip


def exchange_copy() -> Result:
    """2 GB in files of 5 MB: export and import, each against `cp -r` and `sha256sum` of the same files."""
    with fresh_place("copy") as place:
        theirs, ours = place.home / "theirs", place.home / "ours"
        _fill_files(theirs)
        ours.mkdir()
        with closing(sqlite3.connect(ours / "indafoto.db")) as db:
            db.executescript(SHAPE)
        disk, plain = place.home / "disk", place.home / "plain"
        exports, imports, peers = [], [], []
        with place.daemon() as daemon:
            here, there = str(ours / "indafoto.db"), str(theirs / "indafoto.db")
            for _ in range(3):
                found = _call(daemon, "analyze", remote_db=there, db=here)
                peers.append(_peer(theirs / "images", plain))
                os.sync()
                began = time.perf_counter()
                given = _call(daemon, "export", list_file=found["list_file"], output_dir=str(disk), db=there)
                exports.append(time.perf_counter() - began)
                os.sync()
                began = time.perf_counter()
                taken = _call(daemon, "import", list_id=found["list_id"], import_dir=str(disk), db=here)
                imports.append(time.perf_counter() - began)
                if (given["exported"], taken["imported"]) != (_FILES, _FILES):
                    raise RuntimeError(f"{given} {taken}")
                _forget(ours, disk)
    ratios = [
        statistics.median(a / b for a, b in zip(times, peers, strict=True)) for times in (exports, imports)
    ]
    rows = [
        (name, f"{statistics.median(times):.2f} s   ({', '.join(f'{one:.2f}' for one in times)})")
        for name, times in (("export", exports), ("import", imports), ("cp + sha256sum", peers))
    ]
    rows.append(("ratios", f"{ratios[0]:.2f} and {ratios[1]:.2f}"))
    readme = f"2 GB exported and imported: {ratios[0]:.2f} and {ratios[1]:.2f} x `cp` plus `sha256sum`"
    return Result(
        "exchange_copy", "Export and import of 2 GB in files of 5 MB", rows, readme, "1.3",
        max(ratios) <= 1.3, {"export_s": exports, "import_s": imports, "peer_s": peers},
    )  # fmt: skip


def _call(daemon: Daemon, what: str, **body: str) -> Any:
    answer = call(daemon.place.socket, "POST", f"/api/exchange/{what}", body, timeout_s=300)
    if answer.status != 200:
        raise RuntimeError(f"{what}: {answer.status} {answer.body!r}")
    return answer.json


def _peak_mb(daemon: Daemon) -> float:
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("the kernel tells no peak")


def _fill_database(path: Path, first: int) -> None:
    """A million rows of photos from number `first` on, each with two tags and an album."""

    def photos() -> Iterator[tuple[Any, ...]]:
        for number in range(first, first + _ROWS):
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            author = f"author-{number % 1000}"
            yield (
                sha256[:36], f"https://img.example.com/{number}/large.jpg", f"images/{author}/{number}.jpg",
                sha256, f"Title {number}", author, "CC BY 2.5", "Canon", "EOS 5D", "50 mm", "f/2.8", "1/250",
                "2009-01-01", "2010-01-01", f"https://example.com/{number}",
            )  # fmt: skip

    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("PRAGMA synchronous = OFF;" + SHAPE)
        db.executemany(
            "INSERT INTO images (uuid, url, local_path, sha256_hash, title, author, license, camera_make,"
            " camera_model, focal_length, aperture, shutter_speed, taken_date, upload_date, page_url)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            photos(),
        )
        db.executemany("INSERT INTO tags (name) VALUES (?)", ((f"tag {n}",) for n in range(500)))
        db.executemany("INSERT INTO albums (title) VALUES (?)", ((f"album {n}",) for n in range(500)))
        ids = range(1, _ROWS + 1)
        db.executemany(
            "INSERT INTO image_tags VALUES (?, ?)",
            ((n, t) for n in ids for t in (n % 250 + 1, n % 250 + 251)),
        )
        db.executemany("INSERT INTO image_albums VALUES (?, ?)", ((n, n % 500 + 1) for n in ids))


def _fill_files(folder: Path) -> None:
    images = folder / "images" / "anna"
    images.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "indafoto.db")) as db, db:
        db.executescript(SHAPE)
        for number in range(_FILES):
            content = os.urandom(_FILE_BYTES)
            (images / f"{number}.jpg").write_bytes(content)
            db.execute(
                "INSERT INTO images (local_path, sha256_hash, author) VALUES (?, ?, 'anna')",
                (f"images/anna/{number}.jpg", hashlib.sha256(content).hexdigest()),
            )


def _peer(source: Path, target: Path) -> float:
    """Seconds that copying the files, and hashing the copies, take."""
    os.sync()
    began = time.perf_counter()
    subprocess.run(["cp", "-r", source, target], check=True)
    files = sorted(str(path) for path in target.rglob("*.jpg"))
    subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)
    took_s = time.perf_counter() - began
    shutil.rmtree(target)
    return took_s


def _forget(ours: Path, disk: Path) -> None:
    shutil.rmtree(disk)
    shutil.rmtree(ours / "images")
    with closing(sqlite3.connect(ours / "indafoto.db")) as db, db:
        db.execute("DELETE FROM images")


if __name__ == "__main__":
    for benchmark in (exchange_analyze, exchange_copy):
        print(json.dumps(benchmark().as_dict(), indent=1))
