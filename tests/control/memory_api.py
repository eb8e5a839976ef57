"""The daemon's side of the control API, in memory: small, but it really keeps what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec

from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import AuthRejected, Fatal, Refused, Transient
from tests.control.memory_events import MemoryAccounts, MemoryEvents
from tests.control.memory_exchange import MemoryExchange
from tests.control.memory_library import MemoryLibrary
from tests.control.memory_metadata import MemoryMetadata
from tests.control.memory_names import MemoryNames

AT = "2026-11-21T12:00:00Z"
ODD_NAME = "Été ~2 100% a+b?#&;ø日本\n'\"\\"


def item(number: int) -> schema.ActivityItem:
    return schema.ActivityItem(
        id=number, at=AT, kind="uploaded", service="site", subject=f"s{number}", message="two\nlines"
    )


def job(job_id: str, state: schema.JobState = "failed") -> schema.Job:
    return schema.Job(
        id=job_id, kind="upload", subject="x", state=state, attempts=1, created_at=AT,
        next_attempt_at=None, error=None, progress=schema.Progress(),
    )  # fmt: skip


def scene(batch: str, base: str, live: bool) -> schema.Scene:
    version = schema.Version(
        version_id=1, version_type="final_crops", local_path="/a/b.jpg", is_current=True, r2_key=None,
        url=None, sha256="0" * 64, size_bytes=3, perceptual_hash=None, synced_at=None,
    )  # fmt: skip
    return schema.Scene(
        scene_id=f"{batch}-{base}", batch_name=batch, base_filename=base, capture_date=None, live=live,
        versions=[version],
    )  # fmt: skip


class MemoryApi:
    def __init__(self) -> None:
        self.is_ready = True
        self.events = MemoryEvents()
        self.accounts = MemoryAccounts()
        self.exchange = MemoryExchange()
        self.library = MemoryLibrary()
        self.metadata = MemoryMetadata()
        self.names = MemoryNames()
        self.items = [item(number) for number in range(1, 6)]
        self.grown = anyio.Event()
        self.followers = 0
        self.pictures: list[bytes] = []
        self.job_rows = {name: job(name) for name in ("j1", "j2", ODD_NAME)}
        self.paused: set[str] = set()
        self.batch_rows = {
            name: schema.Batch(
                name=name, is_public=False, source_directory="final_crops", scenes=1, versions=1, live=0,
                failed=0, last_synced_at=None,
            )
            for name in ("roll", ODD_NAME)
        }  # fmt: skip
        self.scene_rows = [scene("roll", "1", True), scene(ODD_NAME, "2", False)]
        self.errors: dict[str, Exception] = {
            "refused": Refused("the file is gone", hint="look again"),
            "auth": AuthRejected("sign in first"),
            "transient": Transient("storage is down", retry_after_s=7),
            "fatal": Fatal("cannot go on"),
            "bug": KeyError("secret internals"),
            "connection": ConnectionResetError("a remote hung up"),
        }

    def record(self, count: int) -> None:
        self.items += [item(len(self.items) + 1 + number) for number in range(count)]
        self.grown.set()
        self.grown = anyio.Event()

    async def ready(self) -> bool:
        return self.is_ready

    async def status(self) -> schema.Status:
        return schema.Status(
            version="1", uptime_s=1.5, services=self._services(), queues={"upload": schema.QueueStatus()},
            counts=schema.Counts(), sources=[], blocked=[], watcher=schema.WatcherStatus(),
        )  # fmt: skip

    def _services(self) -> list[schema.ServiceStatus]:
        return [
            schema.ServiceStatus(name=name, state="paused" if name in self.paused else "running", since=AT)
            for name in ("batches", "site")
        ]

    async def activity(self, since: int, limit: int) -> schema.ActivityPage:
        return schema.ActivityPage(items=self.items[since:][:limit], last_id=len(self.items))

    async def follow_activity(self, since: int) -> AsyncIterator[schema.ActivityItem]:
        self.followers += 1
        try:
            while True:
                grown = self.grown
                for found in self.items[since:]:
                    since = found.id
                    yield found
                if since == len(self.items):
                    await grown.wait()
        finally:
            self.followers -= 1

    async def sync(self, request: schema.SyncRequest) -> schema.JobAccepted | schema.SyncReport:
        if request.dry_run:
            return schema.SyncReport(state="done", dry_run=True, scanned=len(request.batches))
        return schema.JobAccepted(job_id="j9")

    async def sync_status(self, job_id: str | None = None) -> schema.SyncReport:
        if job_id == "none":
            raise NotFound("there is no job 'none'")
        return schema.SyncReport(state="done")

    async def jobs(
        self, state: str | None, kind: str | None, limit: int, cursor: str | None
    ) -> schema.JobPage:
        rows = [row for row in self.job_rows.values() if state in (None, row.state)]
        try:
            start = int(cursor or 0)
        except ValueError:
            raise Invalid("cursor: expected the next_cursor of another page") from None
        more = start + limit < len(rows)
        return schema.JobPage(
            items=rows[start : start + limit], next_cursor=str(start + limit) if more else None
        )

    async def job(self, job_id: str) -> schema.Job:
        if job_id in self.errors:
            raise self.errors[job_id]
        if job_id not in self.job_rows:
            raise NotFound(f"there is no job {job_id!r}")
        return self.job_rows[job_id]

    async def retry_job(self, job_id: str) -> schema.Job:
        self.job_rows[job_id] = job((await self.job(job_id)).id, "queued")
        return self.job_rows[job_id]

    async def retry_failed_jobs(self) -> int:
        failed = [row.id for row in self.job_rows.values() if row.state == "failed"]
        for job_id in failed:
            await self.retry_job(job_id)
        return len(failed)

    async def cancel_job(self, job_id: str) -> schema.Job:
        self.job_rows[job_id] = job((await self.job(job_id)).id, "cancelled")
        return self.job_rows[job_id]

    async def batches(self, limit: int, cursor: str | None) -> schema.BatchPage:
        return schema.BatchPage(items=list(self.batch_rows.values())[:limit])

    async def patch_batch(self, name: str, patch: schema.BatchPatch) -> schema.Batch:
        if name not in self.batch_rows:
            raise NotFound(f"there is no batch {name!r}")
        given = {
            field: value
            for field, value in msgspec.structs.asdict(patch).items()
            if value is not msgspec.UNSET
        }
        if given.get("source_directory") == "nonsense":
            raise Invalid("source_directory: there is no stage 'nonsense'")
        self.batch_rows[name] = msgspec.structs.replace(self.batch_rows[name], **given)
        return self.batch_rows[name]

    async def scenes(
        self, batch: str | None, live: bool | None, query: str | None, limit: int, cursor: str | None
    ) -> schema.ScenePage:
        rows = [
            row
            for row in self.scene_rows
            if batch in (None, row.batch_name) and live in (None, row.live) and (query or "") in row.scene_id
        ]
        return schema.ScenePage(items=rows[:limit])

    async def scene(self, scene_id: str) -> schema.Scene:
        for row in self.scene_rows:
            if row.scene_id == scene_id:
                return row
        raise NotFound(f"there is no scene {scene_id!r}")

    async def preview(self, version_id: int, width: int, height: int, image_format: str) -> bytes:
        if version_id != 1:
            raise NotFound("there is no such version")
        return f"{image_format} {width}x{height}".encode()

    async def pull(self, request: schema.PullRequest) -> schema.PullReport:
        if request.batch == "endless":
            await anyio.sleep_forever()
        files = [
            schema.PulledFile(scene_id=name, path=str(Path(request.to, name)), sha256="0" * 64)
            for name in request.scene_ids or ()
        ]
        return schema.PullReport(pulled=len(files), files=files)

    async def similar(
        self, picture: bytes | None, scene_id: str | None, max_distance: int, limit: int
    ) -> schema.SimilarPage:
        if picture is not None:
            self.pictures.append(picture)
        found = schema.SimilarItem(
            scene_id=scene_id or "picture", version_id=limit, distance=max_distance, r2_key="k", url=None
        )
        return schema.SimilarPage(items=[found])

    async def verify(self, request: schema.VerifyRequest) -> schema.VerifyReport:
        wrong = [schema.WrongObject(key="k", expected="a", found="b")] if request.deep else []
        return schema.VerifyReport(checked=int(request.sample), ok=1, wrong=wrong)

    async def guards(self) -> schema.GuardPage:
        held = schema.Guard(id="g1", kind="removal", reason="many", created_at=AT, count=60, actions=[])
        return schema.GuardPage(items=[held])

    async def approve(self, guard_id: str) -> schema.GuardApproved:
        if guard_id != "g1":
            raise NotFound(f"there is no guard {guard_id!r}")
        return schema.GuardApproved(id=guard_id, job_id="j1", count=60)

    async def pause(self, service: str | None) -> schema.ServicesReply:
        if service == "nobody":
            raise NotFound("there is no service 'nobody'")
        self.paused |= {service} if service else {"batches", "site"}
        return schema.ServicesReply(services=self._services())

    async def resume(self, service: str | None) -> schema.ServicesReply:
        self.paused -= {service} if service else {"batches", "site"}
        return schema.ServicesReply(services=self._services())

    async def reload(self) -> schema.ReloadReply:
        return schema.ReloadReply(applied=["guard.max_delete"], needs_restart=[])

    async def show_config(self) -> schema.ConfigReply:
        return schema.ConfigReply(path=None, settings={"storage": {"secret_access_key": "***"}})

    async def metrics(self) -> bytes:
        return b"# HELP syncd_up x\nsyncd_up 1\n"
