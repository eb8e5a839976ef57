"""Events: what following costs in API calls, whether a long listing holds the event loop, and how long a
guest waits for the photos of themselves."""

from __future__ import annotations

import gc
import json
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import numpy as np

from benchmarks.drive_process import DriveProcess, drive_process
from benchmarks.measure import Result, fresh_place, percentile
from syncd.catalogue import event_photos, events
from syncd.catalogue.database import Catalogue
from syncd.catalogue.drive import TreeItem
from syncd.catalogue.event_photos import Membership, PhotoRecord
from syncd.catalogue.faces import FaceRow
from syncd.config import Config, DriveConfig
from syncd.flows.events import Follower
from syncd.imaging.pool import ImagingPool
from syncd.remotes.google_drive import GoogleDrive
from tests.flows.place import Daemon, Place, call, eventually
from tests.imaging.portraits import portraits
from tests.remotes.conftest import Bearer

INTERVAL_S = 30.0
INTERVALS = 3
MANY = 200
PHOTOS = 10_000
FACES = 3
GUESTS_PHOTOS = 50


def event_calls() -> Result:
    """API calls of an interval while nothing changes: 200 events that are followed, and one."""
    counts = {}
    with ExitStack() as stack:
        running = {}
        for number in (1, MANY):
            drive = stack.enter_context(drive_process(number))
            place = stack.enter_context(fresh_place(f"calls-{number}"))
            daemon = stack.enter_context(_following(place, drive))
            running[number] = drive, daemon
        for _, daemon in running.values():
            eventually(lambda daemon=daemon: _all_idle(daemon), 120, 0.5)
        before = {number: drive.calls() for number, (drive, _) in running.items()}
        time.sleep(INTERVALS * INTERVAL_S)
        for number, (drive, _) in running.items():
            after = drive.calls()
            counts[number] = {name: after[name] - before[number].get(name, 0) for name in after}
    polls = {number: of["changes.list"] for number, of in counts.items()}
    rates = {number: sum(of.values()) / INTERVALS for number, of in counts.items()}
    rows = [
        (f"{number} events", f"{rates[number]:.1f} calls an interval ({polls[number]} polls in {INTERVALS})")
        for number in counts
    ]
    # An interval is up to a tenth shorter than asked for, so that not all poll at once.
    kept = all(rate <= 2 for rate in rates.values())
    readme = f"{MANY} events that are followed: {rates[MANY]:.1f} API calls an interval (one: {rates[1]:.1f})"
    return Result(
        "event_calls", "API calls an interval, events that are followed", rows, readme, "2", kept,
        {"calls": {str(number): of for number, of in counts.items()}, "intervals": INTERVALS},
    )  # fmt: skip


def _following(place: Place, drive: DriveProcess) -> Any:
    key = place.home / "key.json"
    key.write_text(json.dumps(drive.key))
    minutes = INTERVAL_S / 60
    settings = {
        "service_account_file": str(key),
        "api_base_url": drive.base_url,
        "token_url": drive.token_url,
    }
    place.configure(drive={**settings, "default_interval_minutes": minutes, "requests_per_second": 1000})

    async def add() -> None:
        place.state.mkdir(mode=0o700, exist_ok=True)
        async with Catalogue.open(place.state / "catalogue.db") as catalogue:
            for n, folder in enumerate(drive.folders):
                await catalogue.write(
                    lambda db, n=n, folder=folder: events.create(
                        db, f"event-{n}", f"Event {n}", folder, publish=False, account=None, drive_id=""
                    )
                )
                await catalogue.write(lambda db, n=n: events.enable(db, f"event-{n}", None))

    anyio.run(add)
    return place.daemon()


def _all_idle(daemon: Daemon) -> bool:
    items = daemon.get("/api/events?limit=1000")["items"]
    return bool(items) and all(item["state"] == "idle" for item in items)


def event_listing() -> Result:
    """The longest time that the first listing of 10,000 photos, and the second, hold the event loop."""
    with drive_process(1, PHOTOS) as drive, TemporaryDirectory(prefix="syncd-listing-") as home:
        seconds, stalls_ms = anyio.run(_listing, drive, Path(home), backend_options={"use_uvloop": True})
    rows = [("first listing", f"{seconds:.1f} s"), ("longest hold", f"{max(stalls_ms):.0f} ms"),
            ("over 20 ms", f"{sum(ms > 20 for ms in stalls_ms)} times")]  # fmt: skip
    readme = f"the first listing of {PHOTOS:,} photos holds the event loop {max(stalls_ms):.0f} ms at most"
    return Result(
        "event_listing", f"First listing of {PHOTOS:,} photos", rows, readme, "20 ms", max(stalls_ms) <= 20,
        {"seconds": seconds, "longest_ms": max(stalls_ms)},
    )  # fmt: skip


class _One:
    """One account with one client."""

    def __init__(self, client: GoogleDrive) -> None:
        self._client = client

    async def names(self) -> list[str]:
        return ["a"]

    async def drive(self, account: str) -> GoogleDrive:
        return self._client

    def accept(self, account: str) -> None: ...

    def unusable(self) -> None: ...


async def _listing(drive: DriveProcess, home: Path) -> tuple[float, list[float]]:
    stalls_ms: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await anyio.sleep(0.002)
            stalls_ms.append((time.perf_counter() - began - 0.002) * 1000)

    settings = DriveConfig(api_base_url=drive.base_url, token_url=drive.token_url, requests_per_second=1000)
    async with (
        Catalogue.open(home / "catalogue.db") as catalogue,
        GoogleDrive(settings, Bearer(drive.token)) as client,
        anyio.create_task_group() as tasks,
    ):
        follower = Follower(
            "a", accounts=_One(client), catalogue=catalogue, config=Config, emit=lambda *args: None,
            on_work=lambda: None,
        )  # fmt: skip
        await catalogue.write(
            lambda db: events.create(db, "e", "E", drive.folders[0], publish=False, account="a", drive_id="")
        )
        await catalogue.write(lambda db: events.enable(db, "e", None))
        gc.freeze()  # as the daemon does once it is ready
        tasks.start_soon(watch)
        await anyio.sleep(0.2)
        stalls_ms.clear()
        began = time.perf_counter()
        await follower.poll()
        seconds = time.perf_counter() - began
        await catalogue.write(lambda db: events.ask_listing(db, "e"))
        await follower.poll()
        async with catalogue.reader() as db:
            known = len(await events.member_ids(db, "e"))
        tasks.cancel_scope.cancel()
    if known != PHOTOS:
        raise RuntimeError(f"{known} of {PHOTOS} photos are known")
    return seconds, stalls_ms


def face_search() -> Result:
    """A search over the socket in an event of 10,000 photos and 30,000 faces: with a picture that was seen
    before, and with ones that were not."""
    portrait = portraits()["obama.jpg"].read_bytes()
    seen_ms: list[float] = []
    unseen_ms: list[float] = []
    with fresh_place("search") as place:
        anyio.run(_fill, place, portrait)
        with place.daemon() as daemon:
            path = "/api/event/e/faces/search"

            def search(picture: bytes) -> float:
                began = time.perf_counter()
                answer = call(place.socket, "POST", path, picture)
                took_ms = (time.perf_counter() - began) * 1000
                if answer.status != 200 or len(answer.json["items"]) != GUESTS_PHOTOS:
                    raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
                return took_ms

            eventually(lambda: daemon.get("/api/status")["idle"], 30, 0.2)
            time.sleep(2)  # the models are loaded with the daemon, not with the first search
            first_ms = search(portrait)
            for n in range(60):
                seen_ms.append(search(portrait))
                if n % 3 == 0:  # what follows the picture's end makes it another one
                    unseen_ms.append(search(portrait + n.to_bytes(4, "big")))
    seen, unseen = statistics.median(seen_ms), statistics.median(unseen_ms)
    rows = [
        ("seen before", f"p50 {seen:.1f} ms, p95 {percentile(seen_ms, 95):.1f} ms"),
        ("not seen before", f"p50 {unseen:.0f} ms, p95 {percentile(unseen_ms, 95):.0f} ms"),
        ("the very first", f"{first_ms:.0f} ms (all faces of the event are loaded)"),
    ]
    readme = (
        f"face search among {PHOTOS:,} photos over the socket: p50 {seen:.1f} ms with a picture seen before, "
        f"{unseen:.0f} ms with a new one"
    )
    return Result(
        "face_search", f"Face search in an event of {PHOTOS:,} photos, {PHOTOS * FACES:,} faces", rows,
        readme, "p50 20 ms (seen before)", seen <= 20,
        {"seen_ms": seen_ms, "unseen_ms": unseen_ms, "first_ms": first_ms},
    )  # fmt: skip


async def _fill(place: Place, portrait: bytes) -> None:
    """Faces of strangers, and the guest on some of the photos, never twice the same."""
    chance = np.random.default_rng(1)
    numbers = chance.normal(0, 0.12, (PHOTOS * FACES, 128)).astype("<f4")
    async with ImagingPool(1, place.home / "staging") as pool:
        guest = np.frombuffer((await pool.find_faces_in(portrait)).faces[0].encoding, "<f4")
    noise = chance.normal(0, 0.02, (GUESTS_PHOTOS, 128)).astype("<f4")
    numbers[:: PHOTOS * FACES // GUESTS_PHOTOS] = guest + noise
    place.state.mkdir(mode=0o700, exist_ok=True)
    async with Catalogue.open(place.state / "catalogue.db") as catalogue:

        async def write(db: Any) -> None:
            await events.create(db, "e", "E", "folder", publish=False, account="a", drive_id="")
            items = [TreeItem(f"photo-{n}", "image", "folder", f"{n}.jpg", "c") for n in range(PHOTOS)]
            members = [Membership(item.item_id, item, frozenset({"e"})) for item in items]
            await event_photos.set_members(db, "a", members, {"e"})
            for n, item in enumerate(items):
                mine = numbers[n * FACES : (n + 1) * FACES]
                rows = tuple(FaceRow((0, 9, 9, 0), encoding.tobytes()) for encoding in mine)
                photo = PhotoRecord(item.item_id, "c", "m", "s", 1, 9, 9, None, rows)
                await event_photos.record(db, "e", photo)

        await catalogue.write(write)
