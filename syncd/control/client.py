"""The client of the control API, for syncctl and the dashboard: one method a route, typed replies.

async with ControlClient(find_socket(config)) as client:
    status = await client.status()
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import msgspec

from syncd.control import schema
from syncd.control.client_base import (
    ApiError,
    DaemonUnavailable,
    api_error,
    decode,
    segment,
    target_of,
    whole,
)
from syncd.control.client_events import EventCalls
from syncd.control.client_exchange import ExchangeCalls
from syncd.control.client_library import LibraryCalls
from syncd.control.client_metadata import MetadataCalls
from syncd.control.client_names import NamesCalls

__all__ = ["ApiError", "ControlClient", "DaemonUnavailable"]

STREAM_SILENCE_S = 45.0
"""The server sends a comment every 15 s; three missed ones are a dead stream."""


class ControlClient(EventCalls, ExchangeCalls, LibraryCalls, MetadataCalls, NamesCalls):
    """Talks to the daemon at `socket_path`. `timeout_s` bounds the calls that only look something up; those
    that work (sync, pull, similar, verify) take the time they need, and end when the daemon does."""

    # --- what there is ----------------------------------------------------------------------------

    async def ready(self) -> bool:
        """Whether the daemon has started all its services."""
        try:
            await self._get(schema.Health, "/readyz")
        except ApiError as error:
            if error.status != 503:
                raise
            return False
        return True

    async def status(self) -> schema.Status:
        return await self._get(schema.Status, "/api/status")

    async def metrics(self) -> str:
        """Prometheus text."""
        return (await self._call("GET", "/metrics")).decode()

    async def openapi(self) -> dict[str, Any]:
        return await self._get(dict[str, Any], "/openapi.json")

    async def activity(self, since: int = 0, limit: int = 100) -> schema.ActivityPage:
        return await self._get(schema.ActivityPage, "/api/activity", since=since, limit=limit)

    async def follow_activity(self, since: int) -> AsyncIterator[schema.ActivityItem]:
        """Every item after id `since`, without a gap, for as long as the daemon lives; then, or when it is
        silent too long, DaemonUnavailable: call again with the last id seen. Close the iterator
        (contextlib.aclosing) to stop early."""
        target = target_of("/api/activity/stream", {"since": since})
        async with self.exchange("GET", target, {"Accept": "text/event-stream"}, b"") as answer:
            if answer.status >= 400:
                raise api_error(answer.status, await whole(answer.body))
            rest = b""
            while True:
                try:
                    with anyio.fail_after(STREAM_SILENCE_S):
                        rest += await anext(answer.body)
                except StopAsyncIteration:
                    raise DaemonUnavailable(self.socket_path, "the daemon ended the stream") from None
                *events, rest = rest.split(b"\n\n")
                for event in events:
                    for line in event.split(b"\n"):
                        if line.startswith(b"data:"):
                            yield decode(line[5:], schema.ActivityItem)

    # --- sync and jobs ----------------------------------------------------------------------------

    async def sync(self, request: schema.SyncRequest) -> schema.JobAccepted | schema.SyncReport:
        """A dry run answers with the plan as a SyncReport, everything else with its job."""
        if request.dry_run:
            return await self._post(schema.SyncReport, "/api/admin/sync", request, timeout_s=None)
        return await self._post(schema.JobAccepted, "/api/admin/sync", request, timeout_s=None)

    async def sync_status(self, job_id: str | None = None) -> schema.SyncReport:
        return await self._get(schema.SyncReport, "/api/admin/sync/status", job_id=job_id)

    async def jobs(
        self, state: str | None = None, kind: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> schema.JobPage:
        return await self._get(
            schema.JobPage, "/api/jobs", state=state, kind=kind, limit=limit, cursor=cursor
        )

    async def job(self, job_id: str) -> schema.Job:
        return await self._get(schema.Job, f"/api/jobs/{segment(job_id)}")

    async def retry_job(self, job_id: str) -> schema.Job:
        return await self._post(schema.Job, f"/api/jobs/{segment(job_id)}/retry")

    async def retry_failed_jobs(self) -> schema.RetriedJobs:
        return await self._post(schema.RetriedJobs, "/api/jobs/retry")

    async def cancel_job(self, job_id: str) -> schema.Job:
        return await self._post(schema.Job, f"/api/jobs/{segment(job_id)}/cancel")

    # --- the site ---------------------------------------------------------------------------------

    async def batches(self, limit: int = 100, cursor: str | None = None) -> schema.BatchPage:
        return await self._get(schema.BatchPage, "/api/batches", limit=limit, cursor=cursor)

    async def patch_batch(self, name: str, patch: schema.BatchPatch) -> schema.Batch:
        return decode(await self._call("PATCH", f"/api/batches/{segment(name)}", patch), schema.Batch)

    async def scenes(
        self,
        batch: str | None = None,
        live: bool | None = None,
        query: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> schema.ScenePage:
        return await self._get(
            schema.ScenePage, "/api/scenes", batch=batch, live=live, q=query, limit=limit, cursor=cursor
        )

    async def scene(self, scene_id: str) -> schema.Scene:
        return await self._get(schema.Scene, f"/api/scenes/{segment(scene_id)}")

    async def preview(
        self, version_id: int, width: int = 400, height: int = 400, image_format: str = "jpeg"
    ) -> bytes:
        """A small upright picture: `jpeg`, or `rgb` (two big-endian uint16 width and height, then RGB)."""
        query = {"version_id": version_id, "width": width, "height": height, "format": image_format}
        return await self._call("GET", target_of("/api/preview", query))

    async def pull(self, request: schema.PullRequest) -> schema.PullReport:
        return await self._post(schema.PullReport, "/api/pull", request, timeout_s=None)

    async def similar(
        self,
        picture: bytes | None = None,
        *,
        scene_id: str | None = None,
        max_distance: int = 8,
        limit: int = 50,
    ) -> schema.SimilarPage:
        """Live versions near `picture` (the bytes of an image file) or near `scene_id`'s, nearest first."""
        target = target_of("/api/similar", {"max_distance": max_distance, "limit": limit})
        wanted: bytes | msgspec.Struct
        wanted = picture if picture is not None else schema.SimilarRequest(scene_id=scene_id or "")
        return await self._post(schema.SimilarPage, target, wanted, timeout_s=None)

    async def verify(self, request: schema.VerifyRequest) -> schema.VerifyReport:
        return await self._post(schema.VerifyReport, "/api/verify", request, timeout_s=None)

    async def guards(self) -> schema.GuardPage:
        return await self._get(schema.GuardPage, "/api/guards")

    async def approve(self, guard_id: str) -> schema.GuardApproved:
        return await self._post(schema.GuardApproved, f"/api/approve/{segment(guard_id)}")

    # --- the daemon -------------------------------------------------------------------------------

    async def pause(self, service: str | None = None) -> schema.ServicesReply:
        """Holds one service, or all but `control`."""
        return await self._post(schema.ServicesReply, "/api/pause", schema.ServiceRequest(service=service))

    async def resume(self, service: str | None = None) -> schema.ServicesReply:
        return await self._post(schema.ServicesReply, "/api/resume", schema.ServiceRequest(service=service))

    async def reload(self) -> schema.ReloadReply:
        return await self._post(schema.ReloadReply, "/api/config/reload")

    async def show_config(self) -> schema.ConfigReply:
        return await self._get(schema.ConfigReply, "/api/config")
