"""A feed without a daemon, and what a daemon might say: the same on every run."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import anyio

from syncd.control import schema
from tests.tui import fake_library
from tests.tui.fake_library import NOON, before
from tui.asks import AskFailed, Found, Interest, Photo, PhotoPage
from tui.state import (
    ActivitySnapshot,
    Connected,
    Connecting,
    Keyed,
    LibraryArrived,
    ListArrived,
    ListAsked,
    Lost,
    StatusArrived,
    SyncArrived,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.asks import Ask
    from tui.state import Event, ListName

NOW = NOON.timestamp()


def version(number: int, scene: str, stage: str, current: bool, live: bool, **more: Any) -> schema.Version:
    """A version of a scene."""
    suffix = {"initial_scan": "", "inverted_original_scans": "_inv", "final_crops": "_crop"}[stage]
    return schema.Version(
        version_id=number,
        version_type=stage,
        local_path=f"/archive/images/batch/{stage}/{scene}{suffix}.jpg",
        is_current=current,
        r2_key=f"scenes/{scene}.jpg" if live else None,
        url=f"https://photos.example/scenes/{scene}.jpg" if live else None,
        sha256=f"{number:064x}",
        size_bytes=150_000 + number * 4211,
        perceptual_hash="c3d2e1f0a5b49687",
        synced_at=before(minutes=number) if live else None,
        width=1600,
        height=1067,
        captured_at="1998-07-12T15:04:05",
        **more,
    )


def scene(number: int, batch: str = "2025-11-04-batch-1") -> schema.Scene:
    """A scene with three stages; every seventh has one, every ninth cannot be decoded."""
    name = f"IMG_{number:04}"
    scene_id = f"{batch}-{name}"
    if number % 9 == 5:
        broken = version(
            number * 3, scene_id, "initial_scan", True, False, failure="truncated JPEG: 3 of 9 blocks"
        )
        return schema.Scene(
            scene_id=scene_id,
            batch_name=batch,
            base_filename=name,
            capture_date=None,
            live=False,
            versions=[broken],
        )
    stages = (
        ["initial_scan"] if number % 7 == 3 else ["initial_scan", "inverted_original_scans", "final_crops"]
    )
    versions = [
        version(number * 3 + place, scene_id, stage, stage == stages[-1], stage == stages[-1])
        for place, stage in enumerate(stages)
    ]
    return schema.Scene(
        scene_id=scene_id, batch_name=batch, base_filename=name,
        capture_date="1998-07-12T15:04:05", live=True, versions=versions,
    )  # fmt: skip


def batches(count: int = 14) -> list[schema.Batch]:
    """Batches of all kinds."""
    return [
        schema.Batch(
            name=f"2025-{number % 12 + 1:02}-batch-{number}",
            is_public=number % 4 != 0,
            source_directory="final_crops" if number % 5 == 2 else None,
            scenes=120 + number * 37 % 400,
            versions=(120 + number * 37 % 400) * 3,
            live=0 if number % 4 == 0 else (120 + number * 37 % 400) - (number % 3),
            failed=number % 3 if number % 4 else 0,
            last_synced_at=before(minutes=3 * number**2 + 1) if number % 4 else None,
        )
        for number in range(1, count + 1)
    ]


def jobs() -> list[schema.Job]:
    """Jobs of all kinds."""
    rows = [
        (
            "j-101",
            "upload",
            "2025-02-batch-1-IMG_0307",
            "failed",
            5,
            "truncated JPEG: 3 of 9 blocks are there",
        ),
        (
            "j-102",
            "upload",
            "2025-03-batch-2-DSC_1180",
            "failed",
            3,
            "storage refused the object: AccessDenied",
        ),
        (
            "j-103",
            "record",
            "2025-03-batch-2/raw/A7_0012.ARW",
            "refused",
            1,
            "177 megapixels are more than 100",
        ),
        ("j-104", "sync", "2025-02-batch-1", "running", 1, None),
        ("j-105", "upload", "2025-02-batch-1-IMG_0331", "waiting", 2, "storage said 503 SlowDown"),
        ("j-106", "upload", "2025-02-batch-1-IMG_0332", "queued", 0, None),
        ("j-107", "sync", "every batch", "done", 1, None),
    ]
    return [
        schema.Job(
            id=key, kind=kind, subject=subject, state=state, attempts=tries,  # type: ignore[arg-type]
            created_at=before(minutes=9 + number), error=error,
            next_attempt_at=before(seconds=-30) if state == "waiting" else None,
            progress=schema.Progress(done=312, total=540) if state == "running" else schema.Progress(),
            updated_at=before(minutes=number * 2, seconds=7),
        )
        for number, (key, kind, subject, state, tries, error) in enumerate(rows)
    ]  # fmt: skip


def events() -> list[schema.Event]:
    """Events of all kinds."""
    failed = [
        schema.PhotoReason(photo_id=f"d-{n}", photo_name=f"DSC_{1170 + n}.NEF", reason=reason)
        for n, reason in enumerate(
            ["0 bytes", "truncated JPEG: 3 of 9 blocks", "the folder lets nobody download it", "not an image"]
        )
    ]
    folder = "1AbCdEfGhIjKlMnOpQrStUvWxYz0123{}"
    auth = "Google does not accept the sign-in any more (invalid_grant)"

    def event(number: int, name: str, state: str, **more: Any) -> schema.Event:
        fields: dict[str, Any] = {
            "event_id": name.lower().replace(" ", "-"), "name": name, "state": state, "enabled": True,
            "running": True, "drive_folder_id": folder.format(number), "account": "photos@club.example",
            "publish": False, "interval_minutes": 2, "last_sync_at": before(seconds=40 * number**3),
            "next_sync_at": before(seconds=-20 * number), "complete_as_of": before(minutes=7 * number),
            "photos": 1204 // number, "faces": 3310 // number, "failed": [], "last_error": None,
        }  # fmt: skip
        return schema.Event(**(fields | more))

    return [
        event(1, "Gala 2026", "idle", publish=True),
        event(2, "Cup Final", "backing_off", failed=failed, last_error="Drive said 503; tries again"),
        event(3, "Summer Camp", "syncing", interval_minutes=30, complete_as_of=None),
        event(
            4, "Open Day", "disabled", enabled=False, running=False, next_sync_at=None, interval_minutes=1440,
            last_sync_at=before(days=9),
        ),
        event(
            5, "Prom", "needs_auth", next_sync_at=None, last_sync_at=before(hours=6), last_error=auth,
            account="old@club.example", interval_minutes=60,
        ),
    ]  # fmt: skip


def photos(count: int = 30, distance: bool = False) -> tuple[Keyed[Photo], ...]:
    """Photos of an event with faces in them."""
    return tuple(
        Keyed(
            f"p-{n}",
            Photo(
                f"IMG_{900 + n:04}.jpg",
                tuple((600 + 100 * f, 1800 + 1300 * f, 1500 + 100 * f, 900 + 1300 * f) for f in range(n % 4)),
                (6000, 4000), before(minutes=n), "2026-05-30T13:51:07",
                f"https://photos.example/events/gala-2026/p-{n}.jpg", 0.3 + n / 100 if distance else None,
            ),
        )
        for n in range(1, count + 1)
    )  # fmt: skip


def guard(count: int = 214) -> schema.Guard:
    """A removal that waits."""
    return schema.Guard(
        id="g-17",
        kind="removals",
        reason="2025-04-batch-3 vanished: its folder is gone while the others are there",
        created_at=before(minutes=21),
        count=count,
        of=1902,
        actions=[
            schema.SyncAction(
                action="remove", scene_id=f"2025-04-batch-3-IMG_{n:04}", version_type="final_crops",
                local_path=f"/archive/images/2025-04-batch-3/final_crops/IMG_{n:04}_crop.jpg",
                key=f"scenes/2025-04-batch-3-IMG_{n:04}.jpg",
            )
            for n in range(1, count + 1)
        ],
    )  # fmt: skip


def activity(count: int = 60) -> list[schema.ActivityItem]:
    """A log with consecutive ids."""
    kinds = [
        ("uploaded", "site", "2025-02-batch-1-IMG_{n:04}", "uploaded 1.8 MB"),
        ("recorded", "batches", "2025-02-batch-1", "3 new versions"),
        ("uploaded", "site", "2025-02-batch-1-IMG_{n:04}", "uploaded 2.1 MB"),
        ("failed", "site", "2025-02-batch-1-IMG_{n:04}", "truncated JPEG: 3 of 9 blocks are there"),
        ("withdrawn", "site", "2025-04-batch-4", "private now: 31 scenes removed"),
        ("photos", "drive", "gala-2026", "3 new photos in gala-2026"),
    ]
    return [
        schema.ActivityItem(
            id=number, at=before(seconds=(count - number) * 4), kind=kinds[number % 6][0],
            service=kinds[number % 6][1], message=kinds[number % 6][3],
            subject=kinds[number % 6][2].format(n=number),
            data={"count": 3} if kinds[number % 6][0] == "photos" else {},
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


def status(**more: Any) -> schema.Status:
    """A busy daemon with something of everything."""
    fields: dict[str, Any] = {
        "version": "1.0",
        "uptime_s": 273_840.0,
        "services": [
            schema.ServiceStatus(name="batches", state="running", since=before(hours=5)),
            schema.ServiceStatus(
                name="site", state="backing_off", since=before(seconds=40), restarts=3,
                last_error="storage said 503 SlowDown",
            ),
            schema.ServiceStatus(name="control", state="running", since=before(days=3)),
        ],
        "queues": {
            "inspect": schema.QueueStatus(waiting=1204, running=2),
            "upload": schema.QueueStatus(waiting=12, running=4, failed=3),
        },
        "counts": schema.Counts(batches=14, public_batches=11, scenes=18_543, versions=55_102, live=17_902,
            events=5, event_photos=2_407, faces=6_618,
        ),
        "sources": [schema.SourceStatus(name="images", state="running", last_success_at=before(seconds=2))],
        "blocked": [],
        "watcher": schema.WatcherStatus(watches=61),
        "guards": 1,
        "throughput": schema.Throughput(uploaded=17_902, uploaded_bytes=26_000_000_000, inspected=55_102),
        "last_activity_id": 60,
        "storage": "local:/archive/storage",
    }  # fmt: skip
    return schema.Status(**(fields | more))


def idle_status(**more: Any) -> schema.Status:
    """A daemon that has nothing at all."""
    calm: dict[str, Any] = {
        "services": [
            schema.ServiceStatus(name=name, state="running", since=before(minutes=2))
            for name in ("batches", "site", "control")
        ],
        "queues": {"inspect": schema.QueueStatus(), "upload": schema.QueueStatus()},
        "counts": schema.Counts(),
        "guards": 0,
        "idle": True,
        "throughput": schema.Throughput(),
        "last_activity_id": 0,
    }
    return status(**(calm | more))


def sync_report(**more: Any) -> schema.SyncReport:
    """A sync in its middle."""
    fields: dict[str, Any] = {
        "job_id": "j-104", "state": "running", "scanned": 540, "uploaded": 300, "total": 540,
        "done_steps": 312,
        "failed": [schema.PathReason(path="a.jpg", reason="truncated")] * 2, "bytes": 48_000_000,
    }  # fmt: skip
    return schema.SyncReport(**(fields | more))


def picture(width: int, height: int) -> bytes:
    """A preview: a smooth picture of 3:2 that fits."""
    width, height = min(width, height * 3 // 2), min(height, width * 2 // 3)
    pixels = bytearray()
    for y in range(height):
        for x in range(width):
            sky = y * 5 < height * 3
            pixels += bytes(
                (60 + 90 * x // width, 110 + 80 * y // height, 200 - 60 * y // height) if sky
                else (90 + 60 * x // width, 120 - 40 * x // width, 50)
            )  # fmt: skip
    return struct.pack(">HH", width, height) + bytes(pixels)


class FakeFeed:
    """Implements the feed's seam. `kind`: full, empty, error (no daemon at the start) or stale (lost)."""

    where = "/run/syncd/syncd.sock"

    def __init__(self, kind: str = "full") -> None:
        self.kind = kind
        self.interest = Interest()
        self.asked: list[Ask] = []
        self.refreshed = 0
        self.refuse: AskFailed | None = None
        self.previews: list[int] = []
        self.event_previews: list[str] = []
        self.cursors: list[str | None] = []
        self.tried: list[Any] = []
        self.searched: list[tuple[str, bytes]] = []
        self.answered = anyio.Event()
        self.answered.set()
        self.send: Callable[[Event], None] = lambda event: None
        full = kind in ("full", "stale")
        self.status = status() if full else idle_status()
        self.lists: dict[ListName, tuple[Keyed[Any], ...]] = {
            "batches": tuple(Keyed(b.name, b) for b in (batches() if full else [])),
            "jobs": tuple(Keyed(j.id, j) for j in (jobs() if full else [])),
            "events": tuple(Keyed(e.event_id, e) for e in (events() if full else [])),
            "guards": tuple(Keyed(g.id, g) for g in ([guard()] if full else [])),
            "scenes": tuple(Keyed(s.scene_id, s) for s in ([scene(n) for n in range(1, 41)] if full else [])),
            "photos": (),
            "review": (),
            "files": (),
        }
        for name, rows in fake_library.lists().items():
            self.lists[name] = tuple(Keyed(key, row) for key, row in rows) if full else ()
        self.library = fake_library.library_status() if full else schema.LibraryStatus(
            in_progress=False, last_sync=None, albums_total=0, albums_synced=0, photos_total=0,
            photos_synced=0, errors=[],
        )  # fmt: skip
        self.items = activity() if full else []

    async def run(self, send: Callable[[Event], None]) -> None:
        self.send = send
        send(Connecting(NOW - 12, self.where))
        if self.kind == "error":
            send(
                Lost(
                    NOW - 12,
                    "no daemon answers at /run/syncd/syncd.sock: there is no such socket",
                    "start the daemon with `syncd run` (or `systemctl start syncd`)",
                    NOW + 3,
                )
            )
        else:
            self.talk()
        if self.kind == "stale":
            send(Lost(NOW - 12, "no daemon answers: it hung up", "", NOW + 3))
        await anyio.sleep_forever()

    def talk(self) -> None:
        """Says everything as a daemon does when one connects."""
        send = self.send
        send(Connected(NOW - 12))
        if self.items:
            send(ActivitySnapshot(tuple(self.items), self.items[-1].id))
            totals = self.status.throughput
            speeds = [8 + 6 * (n % 9) - 3 * (n % 4) + n // 5 for n in range(60)]
            for back in range(60, 0, -1):
                done = sum(speeds[60 - back :])
                grown = schema.Throughput(
                    uploaded=totals.uploaded - done,
                    uploaded_bytes=totals.uploaded_bytes - done * 690_000,
                    inspected=totals.inspected - done * 2,
                )
                send(StatusArrived(NOW - 2 - back * 2, status(throughput=grown)))
        send(StatusArrived(NOW - 2, self.status))
        if self.items:
            for back in range(4, 0, -1):
                send(SyncArrived(NOW - back * 2, sync_report(done_steps=312 - back * 12)))
            send(SyncArrived(NOW, sync_report()))
        else:
            send(SyncArrived(NOW, schema.SyncReport(state="done")))
        self.answer()

    def answer(self) -> None:
        """The lists that are looked at."""
        if self.kind == "error":
            return
        if self.interest.library:
            self.send(LibraryArrived(self.library))
        for name in sorted(self.interest.lists):
            subject = ("", "")
            rows = self.lists[name]
            if name in ("photos", "review", "files"):
                subject = getattr(self.interest, name)
                rows = self.of_subject(name, subject) if self.items else ()
                self.send(ListAsked(name, subject))
            if name == "scenes":
                batch, words = self.interest.scenes
                subject = (batch, words)
                rows = tuple(row for row in rows if words in row.value.base_filename)
                if self.interest.live_only:
                    rows = tuple(row for row in rows if row.value.live)
                self.send(ListAsked(name, subject))
            self.send(ListArrived(name, NOW, rows, subject))

    def of_subject(self, name: ListName, subject: tuple[str, str]) -> tuple[Keyed[Any], ...]:
        if name == "files":
            return tuple(Keyed(str(one.file_id), one) for one in fake_library.files(subject[1]))
        if name == "photos":
            rows = fake_library.shots(
                "approved" if subject[0] == "album" else "review", subject[0] == "meaning"
            )
            return tuple(Keyed(shot.photo_id, shot) for shot in rows)
        rows = fake_library.shots(subject[0])
        return tuple(Keyed(str(shot.meta_id), shot) for shot in rows if subject[1] in shot.description)

    def look(self, interest: Interest) -> None:
        if interest != self.interest:
            self.interest = interest
            self.answer()

    def refresh(self) -> None:
        self.refreshed += 1

    async def do(self, ask: Ask) -> str:
        self.asked.append(ask)
        await self.answered.wait()
        if self.refuse is not None:
            raise self.refuse
        return f"done: {type(ask).__name__}"

    async def plan(self, batch: str) -> schema.SyncReport:
        actions = [
            schema.SyncAction(
                action="upload", scene_id=f"{batch}-IMG_{n:04}", version_type="final_crops",
                local_path=f"/archive/{n}.jpg", key=f"scenes/{batch}-IMG_{n:04}.jpg",
            )
            for n in range(1, 13)
        ]  # fmt: skip
        return schema.SyncReport(state="done", dry_run=True, actions=actions, bytes=2_000_000)

    async def live_scenes(self, batch: str) -> schema.ScenePage:
        return schema.ScenePage(items=[scene(n, batch) for n in range(1, 19) if n % 9 != 5])

    async def stages(self, batch: str) -> list[Keyed[str]]:
        return [Keyed(name, name) for name in ("final_crops", "initial_scan", "inverted_original_scans")]

    async def event_photos(self, event_id: str, cursor: str | None = None) -> PhotoPage:
        self.cursors.append(cursor)
        return PhotoPage(photos()[20:]) if cursor else PhotoPage(photos()[:20], "p-20")

    async def find_person(self, event_id: str, picture: bytes) -> Found:
        self.searched.append((event_id, picture))
        if picture == b"landscape":
            raise AskFailed("there is no face in the picture", "take one where the face is larger")
        return Found(2 if picture == b"pair" else 1, photos(6, distance=True))

    async def event_preview(self, photo_id: str, width: int, height: int) -> bytes:
        self.event_previews.append(photo_id)
        return picture(width, height)

    async def review_ids(self, status: str, words: str) -> tuple[int, ...]:
        return tuple(row.value.meta_id for row in self.of_subject("review", (status, words)))

    async def names_dry_run(self, album_keys: tuple[str, ...] | None) -> schema.NamesReport:
        items = [n for n in fake_library.names() if n.action == "rename"]
        items = [n for n in items if album_keys is None or n.album_key in album_keys]
        return schema.NamesReport(items=items, renamed=len(items), kept=3, failed=[], dry_run=True)

    async def try_exchange(self, ask: Any) -> str:
        self.tried.append(ask)
        if self.refuse is not None:
            raise self.refuse
        if "nowhere" in str(ask):
            raise AskFailed("/nowhere is no database", "name the file that the other sent")
        return "they have 1,204 that you lack, 6.0 GB; 5 look like pictures of yours"

    async def library_preview(self, photo_id: str, width: int, height: int) -> bytes:
        self.event_previews.append(photo_id)
        return picture(width, height)

    async def exchange_preview(self, list_id: str, file_id: int, of: str, width: int, height: int) -> bytes:
        self.event_previews.append(f"{list_id} {file_id} {of}")
        if file_id % 6 == 0:
            raise AskFailed("the file is not at hand")
        return picture(width, height)

    async def preview(self, version_id: int, width: int, height: int) -> bytes:
        self.previews.append(version_id)
        return picture(width, height)
