"""What `GET /api/status` says, told from the catalogue and the running parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from syncd import __version__
from syncd.activity import Activity
from syncd.api_events import EventsNow, events_now, photo_queue
from syncd.api_library import LibraryAnswers, LibraryNow
from syncd.api_metadata import MetadataAnswers
from syncd.api_mirror import MirrorNow, mirror_now
from syncd.catalogue import browse, guards
from syncd.catalogue import jobs as job_queries
from syncd.catalogue.event_photos import EVENT_PHOTO
from syncd.catalogue.metadata import DESCRIBE
from syncd.config import Config
from syncd.control import schema
from syncd.flows.batches_service import BatchesService
from syncd.flows.events_service import DriveService
from syncd.flows.library_service import SMUGMUG
from syncd.flows.mirror_service import MirrorService
from syncd.flows.site_service import SiteService
from syncd.supervisor import ServiceInfo
from syncd.text import rfc3339

_LOOK_AT_COUNTS_S = 0.5
"""While there is work, counts of the catalogue are this old at the most, however often they are asked for."""


class _Counted(NamedTuple):
    """What the catalogue held at `at_s` (time.monotonic)."""

    at_s: float
    counts: browse.CountsRow
    jobs: dict[str, dict[str, int]]
    guards: int
    conflicts: list[str]
    events: EventsNow
    describe: schema.QueueStatus
    is_described: bool
    library: LibraryNow
    mirror: MirrorNow


class StatusView:
    """Looks at everything that the status tells of."""

    def __init__(
        self,
        config: Callable[[], Config],
        activity: Activity,
        site: SiteService,
        batches: BatchesService,
        drive: DriveService,
        metadata: MetadataAnswers,
        library: LibraryAnswers,
        mirror: MirrorService,
    ) -> None:
        self._config = config
        self._activity = activity
        self._service = site
        self._batches = batches
        self._drive = drive
        self._metadata = metadata
        self._library = library
        self._mirror = mirror
        self._catalogue = site.site.catalogue
        self._started = time.monotonic()
        self._counted_at = (False, -1)
        self._counted: _Counted | None = None

    async def now(self, services: Sequence[ServiceInfo]) -> schema.Status:
        """The status, with the services as the supervisor has them."""
        config = self._config()
        found = await self._counts()
        counts, job_counts, events = found.counts, found.jobs, found.events
        waiting, running = self._service.site.pool.queue
        photos_failed = job_counts.get(job_queries.PHOTO, {}).get("failed", 0)
        of_photos = (job_queries.PHOTO, EVENT_PHOTO, DESCRIBE, SMUGMUG)
        states = [of for kind, of in job_counts.items() if kind not in of_photos]

        def jobs_in(*names: str) -> int:
            return sum(state.get(name, 0) for state in states for name in names)

        queues = {
            "site": schema.QueueStatus(waiting=self._service.waiting, running=len(self._service.running)),
            "photos": schema.QueueStatus(waiting=waiting, running=running, failed=photos_failed),
            "jobs": schema.QueueStatus(
                waiting=jobs_in("queued", "waiting"), running=jobs_in("running"), failed=jobs_in("failed")
            ),
            "drive": photo_queue(job_counts.get(EVENT_PHOTO, {})),
            "smugmug": found.library.queue,
            "describe": found.describe,
            "mirror": found.mirror.queue,
        }
        is_at_rest = (
            self._service.is_idle
            and events.is_idle
            and found.is_described
            and found.library.is_idle
            and found.mirror.is_idle
        )
        idle = is_at_rest and not any(
            queues[name].waiting or queues[name].running for name in ("photos", "jobs")
        )
        return schema.Status(
            version=__version__,
            uptime_s=round(time.monotonic() - self._started, 3),
            services=[service_status(info) for info in services],
            queues=queues,
            counts=schema.Counts(
                batches=counts.batches,
                public_batches=counts.public_batches,
                scenes=counts.scenes,
                versions=counts.versions,
                live=counts.live,
                events=events.events,
                event_photos=events.photos,
                faces=events.faces,
                albums=found.library.albums,
                library_photos=found.library.photos,
            ),
            sources=[
                self._batches.source(),
                *events.sources,
                *filter(None, [found.library.source, found.mirror.source]),
            ],
            blocked=[*_blocked(services), *events.blocked],
            watcher=self._batches.watcher(),
            idle=idle,
            guards=found.guards,
            conflicts=found.conflicts,
            throughput=schema.Throughput(
                uploaded=self._service.totals["uploaded"],
                uploaded_bytes=self._service.totals["uploaded_bytes"],
                inspected=self._service.site.pool.inspected,
            ),
            storage=self._service.site.storage_id.partition("#")[0],
            state_dir=str(config.daemon.state_dir),
            last_activity_id=self._activity.last_id,
        )

    async def _counts(self) -> _Counted:
        now = time.monotonic()
        # Once there is nothing to do, the counts are those of what was just done.
        seen = (self._service.is_idle, self._activity.last_id)
        is_stale = seen[0] and seen != self._counted_at
        if self._counted is None or is_stale or now - self._counted.at_s > _LOOK_AT_COUNTS_S:
            self._counted_at = seen
            async with self._catalogue.reader() as db:
                self._counted = _Counted(
                    now,
                    await browse.counts(db),
                    await job_queries.queue_counts(db),
                    len(await guards.listed(db)),
                    await self._service.site.conflicts(),
                    await events_now(db, self._drive),
                    await self._metadata.queue(db),
                    await self._metadata.is_idle(db),
                    await self._library.now(db),
                    await mirror_now(db, self._mirror),
                )
        return self._counted


def _blocked(services: Sequence[ServiceInfo]) -> list[schema.Blocked]:
    return [
        schema.Blocked(what=info.name, reason=info.last_error or info.state, since=_time(info))
        for info in services
        if info.state in ("blocked", "needs_auth", "failed")
    ]


def _time(info: ServiceInfo) -> str:
    return rfc3339(info.since)


def service_status(info: ServiceInfo) -> schema.ServiceStatus:
    """A service as the API shows it."""
    return schema.ServiceStatus(
        name=info.name,
        state=info.state,
        since=_time(info),
        restarts=info.restarts,
        last_error=info.last_error,
    )
