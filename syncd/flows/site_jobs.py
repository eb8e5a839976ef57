"""What the jobs of the site do: sync, pull, verify. Their payloads are the requests of the control API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from syncd.catalogue.jobs import JobRow
from syncd.flows.jobs import Outcome, Progress
from syncd.flows.pull import pull
from syncd.flows.report import SyncOptions, SyncRun
from syncd.flows.site_service import SiteService
from syncd.flows.verify import verify

_ACTIONS_KEPT = 5_000


def site_handlers(service: SiteService, wake_drive: Callable[[], None]) -> dict[str, Any]:
    """The handlers by kind of job; `wake_drive` has photos of events looked for that `verify` misses."""

    async def sync(job: JobRow, progress: Progress) -> Outcome:
        wanted = job.payload.get("batch_filter") or None
        options = SyncOptions(
            frozenset(wanted) if wanted else None,
            db_only=job.payload.get("db_only", False),
            images_only=job.payload.get("images_only", False),
        )
        run = SyncRun(options, job_id=job.id)
        async with anyio.create_task_group() as tasks:

            async def show() -> None:
                while True:
                    progress(run.done_steps, run.total)
                    await anyio.sleep(0.2)

            tasks.start_soon(show)
            await service.sync(run, whole=True)
            tasks.cancel_scope.cancel()
        progress(run.done_steps, run.total)
        # The activity has them all; a job's row stays small.
        shape = run.as_dict(with_actions=len(run.actions) <= _ACTIONS_KEPT)
        return Outcome(run.state, shape, shape["error"])

    async def pull_scenes(job: JobRow, progress: Progress) -> Outcome:
        request = job.payload
        result = await pull(
            service.site,
            Path(request["to"]),
            scene_ids=request.get("scene_ids"),
            batch=request.get("batch"),
            progress=progress,
        )
        return Outcome("partial" if result.failed else "done", result.as_dict())

    async def verify_storage(job: JobRow, progress: Progress) -> Outcome:
        request = job.payload
        found = await verify(
            service.site,
            sample=request.get("sample", 100),
            deep=request.get("deep", False),
            repair=request.get("repair", False),
            progress=progress,
            wake=wake_drive,
        )
        shape = found.as_dict()
        wrong = shape["missing"] or shape["wrong"] or shape["orphaned"]
        return Outcome("refused" if found.guard_id else "partial" if wrong else "done", shape)

    return {"sync": sync, "pull": pull_scenes, "verify": verify_storage}
