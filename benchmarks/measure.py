"""What the benchmarks share: photos, places, rclone, and how results are written."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.flows.place import BIN, Place, environment
from tests.pictures import make_jpeg
from tests.servers import SeaweedServer


@dataclass
class Result:
    """One benchmark: rows for the table, one line for the README, and whether the limit was kept."""

    name: str
    title: str
    rows: list[tuple[str, str]]
    readme: str
    limit: str
    kept: bool
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def fresh_place(name: str) -> Iterator[Place]:
    with TemporaryDirectory(prefix=f"syncd-bench-{name}-") as home:
        place = Place(Path(home) / "home")
        try:
            yield place
        finally:
            place.remove()


def fill(images: Path, count: int, batches: int = 3) -> None:
    """`count` different photos of 1600 x 1067 pixels, about 150 kB each."""
    paths = [images / f"batch-{n % batches + 1}/final_crops/frame-{n:05}.jpg" for n in range(count)]
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as processes:
        for path, data in zip(paths, processes.map(make_jpeg, range(count), chunksize=8), strict=True):
            path.write_bytes(data)


def fill_tiny(images: Path, count: int, batches: int = 20) -> None:
    """`count` different JPEGs of a few hundred bytes; what follows the picture's end makes them different."""
    picture = make_jpeg(1, 32, 24, quality=50)
    for n in range(count):
        path = images / f"batch-{n % batches + 1:02}/final_crops/frame-{n:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture + n.to_bytes(4, "big"))


def timed(command: Sequence[object], **more: str) -> float:
    """Wall time of a whole process in seconds, start-up included. Raises when it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env=environment() | more
    )
    took_s = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}:\n{done.stderr[-3000:]}")
    return took_s


def once(place: Place) -> float:
    return timed([BIN / "syncd", "once", "--config", place.config])


def on_s3(place: Place, server: SeaweedServer) -> None:
    """Sets the place's storage to a new bucket."""
    place.configure(
        storage={
            "type": "r2", "endpoint_url": server.endpoint, "access_key_id": server.access_key,
            "secret_access_key": server.secret_key, "bucket_name": server.make_bucket(),
        }
    )  # fmt: skip


def rclone_environment(server: SeaweedServer) -> Mapping[str, str]:
    """A remote `s3:` that needs no configuration file."""
    return {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_S3_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": server.access_key,
        "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": server.secret_key,
    }


def rclone(source: Path, target: str, server: SeaweedServer | None = None) -> float:
    command = [BIN / "rclone", "copy", source, target, "--transfers", 32, "--checkers", 32]
    more = rclone_environment(server) if server else {"RCLONE_CONFIG": os.devnull}
    return timed(command, **more)


def alternate(
    rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Seconds of both, taken in turns, so that what else the machine does falls on both."""
    mine, other = [], []
    for _ in range(rounds):
        mine.append(ours())
        other.append(theirs())
    return mine, other


def compared(ours: list[float], theirs: list[float], peer: str) -> tuple[list[tuple[str, str]], float]:
    """Rows of a table and the median of the ratios of neighbouring runs."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))

    def words(times: list[float]) -> str:
        return f"{statistics.median(times):.2f} s   ({', '.join(f'{t:.2f}' for t in times)})"

    return [("syncd", words(ours)), (peer, words(theirs)), ("ratio", f"{ratio:.2f}")], ratio


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
