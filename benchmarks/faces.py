"""Finding faces beside a loop of face_recognition with its defaults, on the same photos."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import numpy as np
from PIL import Image, ImageFilter

from benchmarks.measure import Result
from syncd.imaging.index import FaceIndex, IndexedFace
from syncd.imaging.pool import ImagingPool
from tests.imaging.portraits import portraits
from tests.pictures import make_picture

ROUNDS = 2
COPIES = 4
TOLERANCE = 0.6
GROUP_SIZE = (1600, 1067)
# Where the faces are in two of the portraits: (left, top, right, bottom) around the head.
HEADS = {"obama": (300, 60, 706, 470), "biden": (240, 200, 720, 760)}
Found = dict[str, list[list[float]]]

_PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import face_recognition
photos = json.load(sys.stdin)
found, began = {}, time.perf_counter()
for path in photos:
    picture = face_recognition.load_image_file(path)
    boxes = face_recognition.face_locations(picture)
    found[path] = [list(e) for e in face_recognition.face_encodings(picture, boxes)]
print(json.dumps([time.perf_counter() - began, found]))
"""


def faces() -> Result:
    """The portraits of face_recognition's own sdist, then group photos with faces of 45 to 90 pixels."""
    rows, numbers, speedups = [], {}, {}
    with TemporaryDirectory(prefix="syncd-faces-") as home:
        folder = Path(home)
        sets = {"portraits": _portraits(folder), "groups": _groups(folder)}
        for name, (photos, people) in sets.items():
            theirs_s, ours_s, stalls_ms = [], [], []
            for _ in range(ROUNDS):
                seconds, theirs = _peer(list(photos))
                theirs_s.append(seconds)
                seconds, ours, stall_ms = anyio.run(_ours, list(photos), folder / "staging")
                ours_s.append(seconds)
                stalls_ms.append(stall_ms)
            mine, other = (len(photos) / statistics.median(times) for times in (ours_s, theirs_s))
            speedups[name] = mine / other
            scores = [_score(photos, people, found) for found in (ours, theirs)]
            rows += [
                (f"{name}: syncd", f"{mine:.2f} photos/s, {scores[0]}"),
                (f"{name}: peer", f"{other:.2f} photos/s, {scores[1]}"),
                (f"{name}: ratio", f"{mine / other:.1f} x, event loop held {max(stalls_ms):.0f} ms at most"),
            ]
            numbers[name] = {"syncd_s": ours_s, "peer_s": theirs_s, "photos": len(photos),
                             "syncd": scores[0], "peer": scores[1], "stall_ms": max(stalls_ms)}  # fmt: skip
    search_ms = _search_ms()
    rows.append(("search", f"{search_ms:.1f} ms among 30,000 faces of 10,000 photos"))
    readme = (
        f"faces: {speedups['portraits']:.1f} x the photos per second of a face_recognition loop (portraits), "
        f"{speedups['groups']:.1f} x (groups); a search among 10,000 photos {search_ms:.1f} ms"
    )
    return Result(
        "faces", "Faces, beside a single-process loop of face_recognition", rows, readme,
        "a fifth of its time on portraits; search 20 ms", speedups["portraits"] >= 5 and search_ms <= 20,
        {**numbers, "search_ms": search_ms},
    )  # fmt: skip


def _portraits(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[float]]]:
    """Each portrait some times (as files of their own), with who is in it."""
    photos = {}
    for name, path in sorted(portraits().items()):
        for n in range(COPIES):
            copy = folder / f"{n}-{name}"
            copy.write_bytes(path.read_bytes())
            photos[str(copy)] = ["biden" if name == "biden.jpg" else "obama"]
    return photos, {}


def _groups(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[float]]]:
    """Two people's heads again and again, in several sizes, and one encoding of each to know them by."""
    files = portraits()
    heads = {name: Image.open(files[f"{name}.jpg"]).convert("RGB").crop(box) for name, box in HEADS.items()}
    photos = {}
    for seed, width in enumerate((90, 110, 140, 180)):
        chance = random.Random(seed)
        picture = make_picture(seed, *GROUP_SIZE)
        who = []
        for top in range(20, GROUP_SIZE[1] - 2 * width, 2 * width):
            for left in range(20, GROUP_SIZE[0] - width, 2 * width):
                name = chance.choice(sorted(heads))
                head = heads[name]
                size = width, width * head.height // head.width
                mask = Image.new("L", size, 0)
                mask.paste(255, (3, 3, size[0] - 3, size[1] - 3))
                small = head.resize(size, Image.Resampling.LANCZOS)
                picture.paste(small, (left, top), mask.filter(ImageFilter.GaussianBlur(2)))
                who.append(name)
        path = folder / f"group-{width}.jpg"
        picture.save(path, quality=90)
        photos[str(path)] = who
    _, known = _peer([str(files[f"{name}.jpg"]) for name in heads])
    return photos, {name: encodings[0] for name, encodings in zip(heads, known.values(), strict=True)}


def _peer(photos: list[str]) -> tuple[float, Found]:
    command = [sys.executable, "-c", _PEER]
    done = subprocess.run(command, input=json.dumps(photos), capture_output=True, text=True, check=True)
    seconds, found = json.loads(done.stdout)
    return seconds, found


async def _ours(photos: list[str], staging: Path) -> tuple[float, Found, float]:
    """Seconds, encodings, and the longest time in milliseconds that the event loop was held."""
    found: Found = {}
    stall_s = 0.0

    async def watch() -> None:
        nonlocal stall_s
        while True:
            began = time.perf_counter()
            await anyio.sleep(0.005)
            stall_s = max(stall_s, time.perf_counter() - began - 0.005)

    async def look(path: str) -> None:
        answer = await pool.find_faces(path)
        found[path] = [np.frombuffer(face.encoding, "<f4").tolist() for face in answer.faces]

    async with ImagingPool(2, staging, time_limit_s=120) as pool, anyio.create_task_group() as watching:
        await pool.find_faces(photos[0])  # the peer's models are loaded before its clock starts, too
        watching.start_soon(watch)
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for path in photos:
                tasks.start_soon(look, path)
        seconds = time.perf_counter() - began
        watching.cancel_scope.cancel()
    return seconds, found, stall_s * 1000


def _score(photos: dict[str, list[str]], people: dict[str, list[float]], found: Found) -> str:
    """Faces found, and the share of pairs of photos (or of faces, where there are many) told right."""
    count = sum(len(found[path]) for path in photos)
    faces = f"{count} of {sum(map(len, photos.values()))} faces"
    if people:
        known = sum(
            min(np.linalg.norm(np.array(e) - np.array(k)) for k in people.values()) <= TOLERANCE
            for path in photos
            for e in found[path]
        )
        return f"{faces}, {known} known"
    single = [(who[0], np.array(found[path][0])) for path, who in photos.items() if found[path]]
    right = [(a == b) == (np.linalg.norm(x - y) <= TOLERANCE) for (a, x), (b, y) in combinations(single, 2)]
    return f"{faces}, pairs right {sum(right) / len(right):.4f}"


def _search_ms() -> float:
    random_numbers = np.random.default_rng(1)
    encodings = random_numbers.normal(0, 0.12, (30_000, 128)).astype("<f4")
    rows: Any = (IndexedFace(i, f"photo-{i // 3}", row.tobytes()) for i, row in enumerate(encodings))
    index = FaceIndex(rows)
    took_ms = []
    for query in encodings[:50]:
        began = time.perf_counter()
        if index.search([query.tobytes()], TOLERANCE, 50)[0].distance > 0:
            raise RuntimeError("the face itself is not the nearest")
        took_ms.append((time.perf_counter() - began) * 1000)
    return statistics.median(took_ms)
