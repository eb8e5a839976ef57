"""The routes of the control API, as data. A feature adds its table to ROUTES."""

from __future__ import annotations

import msgspec

from syncd.control import schema
from syncd.control.api import Api, Invalid
from syncd.control.route import CURSOR, LIMIT, Call, Param, Route
from syncd.control.routes_events import AUTH_ROUTES, EVENT_ROUTES
from syncd.control.routes_exchange import EXCHANGE_ROUTES
from syncd.control.routes_library import LIBRARY_ROUTES
from syncd.control.routes_metadata import METADATA_ROUTES
from syncd.control.routes_names import NAMES_ROUTES
from syncd.errors import Transient

SINCE = Param("since", int, "The id of the last item already seen", default=0)
JOB_STATES = ("queued", "running", "waiting", "done", "partial", "failed", "refused", "cancelled")
_PICTURE_TYPES = {"jpeg": "image/jpeg", "rgb": "application/octet-stream"}


async def _healthz(api: Api, call: Call) -> schema.Health:
    return schema.Health(status="ok")


async def _readyz(api: Api, call: Call) -> schema.Health:
    if not await api.ready():
        raise Transient("not every service has been started yet", retry_after_s=1)
    return schema.Health(status="ready")


async def _metrics(api: Api, call: Call) -> bytes:
    return await api.metrics()


async def _status(api: Api, call: Call) -> schema.Status:
    return msgspec.structs.replace(await api.status(), access="full" if call.access == "full" else "read")


async def _retry_failed_jobs(api: Api, call: Call) -> schema.RetriedJobs:
    return schema.RetriedJobs(retried=await api.retry_failed_jobs())


async def _similar(api: Api, call: Call) -> schema.SimilarPage:
    query = (call.query["max_distance"], call.query["limit"])
    if isinstance(call.body, schema.SimilarRequest):
        return await api.similar(None, call.body.scene_id, *query)
    if not call.body:
        raise Invalid("there is no picture", hint='send the bytes of an image, or JSON {"scene_id": …}')
    return await api.similar(call.body, None, *query)


async def _preview(api: Api, call: Call) -> bytes:
    version_id, event_photo, library_photo, *wanted = call.query.values()
    if [version_id, event_photo, library_photo].count(None) != 2:
        raise Invalid("name either version_id, event_photo or library_photo")
    if library_photo is not None:
        return await api.library.preview(library_photo, *wanted)
    if event_photo is not None:
        return await api.events.preview(event_photo, *wanted)
    return await api.preview(version_id, *wanted)


async def _guards(api: Api, call: Call) -> schema.GuardPage:
    """There are a few at most: the cursor is a place among them."""
    page = await api.guards()
    limit, cursor = call.query["limit"], call.query["cursor"] or "0"
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise Invalid(
            f"{cursor[:40]!r} is no cursor of this list", hint="pass next_cursor of the page before"
        )
    end = int(cursor) + limit
    following = str(end) if end < len(page.items) else None
    return schema.GuardPage(items=page.items[int(cursor) : end], next_cursor=following)


async def _stream(api: Api, call: Call) -> object:
    return api.follow_activity(call.query["since"])


async def _openapi(api: Api, call: Call) -> bytes:
    from syncd.control.openapi import document  # made on the first request: few ask

    return document(ROUTES)


DAEMON_ROUTES = (
    Route("GET", "/healthz", _healthz, {200: schema.Health}, "Alive"),
    Route("GET", "/readyz", _readyz, {200: schema.Health}, "Ready: every service has been started"),
    Route(
        "GET", "/metrics", _metrics, {200: bytes}, "Prometheus metrics",
        media_types=("text/plain; version=0.0.4; charset=utf-8",),
    ),
    Route("GET", "/openapi.json", _openapi, {200: bytes}, "This document"),
    Route("GET", "/api/status", _status, {200: schema.Status}, "Services, queues, counts, what is blocked"),
    Route(
        "GET", "/api/activity", lambda api, call: api.activity(**call.query), {200: schema.ActivityPage},
        "What happened, oldest first", "Ids rise by exactly 1, so that a gap shows loss.",
        params=(SINCE, LIMIT),
    ),
    Route(
        "GET", "/api/activity/stream", _stream, {200: schema.ActivityItem},
        "What happens, as Server-Sent Events",
        "`id` is the item's id, `event` its kind, `data` the item as JSON. The header Last-Event-ID goes "
        "before `since`. A comment comes every 15 s; a client that does not keep up is cut off.",
        params=(SINCE,), media_types=("text/event-stream",), stream=True, long=True,
    ),
    Route(
        "GET", "/api/jobs", lambda api, call: api.jobs(**call.query), {200: schema.JobPage}, "Durable jobs",
        params=(
            Param("state", str, "Only jobs in this state", choices=JOB_STATES),
            Param("kind", str, "Only jobs of this kind"),
            LIMIT, CURSOR,
        ),
    ),
    Route(
        "POST", "/api/jobs/retry", _retry_failed_jobs, {200: schema.RetriedJobs}, "Retry all failed jobs"
    ),
    Route("GET", "/api/jobs/{id}", lambda api, call: api.job(call.path["id"]), {200: schema.Job}, "One job"),
    Route(
        "POST", "/api/jobs/{id}/retry", lambda api, call: api.retry_job(call.path["id"]),
        {200: schema.Job}, "Try a failed job again now",
    ),
    Route(
        "POST", "/api/jobs/{id}/cancel", lambda api, call: api.cancel_job(call.path["id"]),
        {200: schema.Job}, "Cancel a job",
    ),
    Route(
        "GET", "/api/guards", _guards, {200: schema.GuardPage}, "What guards hold", params=(LIMIT, CURSOR)
    ),
    Route(
        "POST", "/api/approve/{guard_id}", lambda api, call: api.approve(call.path["guard_id"]),
        {200: schema.GuardApproved}, "Let a guarded removal happen",
        "Carries out only those of its actions that are still called for.",
    ),
    Route(
        "POST", "/api/pause", lambda api, call: api.pause(call.body.service), {200: schema.ServicesReply},
        "Hold one service, or all but `control`", body=schema.ServiceRequest,
    ),
    Route(
        "POST", "/api/resume", lambda api, call: api.resume(call.body.service), {200: schema.ServicesReply},
        "Release one service, or all", body=schema.ServiceRequest,
    ),
    Route("GET", "/api/config", lambda api, call: api.show_config(), {200: schema.ConfigReply}, "Settings"),
    Route(
        "POST", "/api/config/reload", lambda api, call: api.reload(), {200: schema.ReloadReply},
        "Read the configuration again, as SIGHUP does",
    ),
)  # fmt: skip

SITE_ROUTES = (
    Route(
        "POST", "/api/admin/sync", lambda api, call: api.sync(call.body),
        {202: schema.JobAccepted, 200: schema.SyncReport}, "Start a full sync",
        "Accepted as a job; a dry run answers 200 with the plan in `actions`.",
        body=schema.SyncRequest, long=True,
    ),
    Route(
        "GET", "/api/admin/sync/status", lambda api, call: api.sync_status(**call.query),
        {200: schema.SyncReport}, "The running sync, else the last",
        params=(Param("job_id", str, "The sync of this job instead"),),
    ),
    Route(
        "GET", "/api/batches", lambda api, call: api.batches(**call.query), {200: schema.BatchPage},
        "Batches", params=(LIMIT, CURSOR),
    ),
    Route(
        "PATCH", "/api/batches/{name}", lambda api, call: api.patch_batch(call.path["name"], call.body),
        {200: schema.Batch}, "Publish or withdraw a batch, or choose its stage", body=schema.BatchPatch,
    ),
    Route(
        "GET", "/api/scenes",
        lambda api, call: api.scenes(*call.query.values()), {200: schema.ScenePage},
        "Scenes and their versions",
        params=(
            Param("batch", str, "Only scenes of this batch"),
            Param("live", bool, "Only scenes that are, or are not, published"),
            Param("q", str, "Only scenes whose id holds this text"),
            LIMIT, CURSOR,
        ),
    ),
    Route(
        "GET", "/api/scenes/{scene_id}", lambda api, call: api.scene(call.path["scene_id"]),
        {200: schema.Scene}, "One scene",
    ),
    Route(
        "GET", "/api/preview",
        _preview, {200: bytes}, "A small upright picture",
        "`rgb` is two big-endian 16-bit numbers, width and height, and then width * height * 3 bytes.",
        params=(
            Param("version_id", int, "The version to show, see /api/scenes"),
            Param("event_photo", str, "Or the photo of an event, see /api/event/{id}/photos"),
            Param("library_photo", str, "Or the photo of the library, see /api/smugmug/photos/{albumId}"),
            Param("width", int, "The most pixels across", default=400, minimum=1, maximum=4096),
            Param("height", int, "The most pixels down", default=400, minimum=1, maximum=4096),
            Param("format", str, "What to answer with", default="jpeg", choices=("jpeg", "rgb")),
        ),
        media_types=tuple(_PICTURE_TYPES.values()),
        media_type=lambda call: _PICTURE_TYPES[call.query["format"]],
    ),
    Route(
        "POST", "/api/pull", lambda api, call: api.pull(call.body), {200: schema.PullReport},
        "Download scenes from storage",
        "Verified by SHA-256; an existing different file is never overwritten.",
        body=schema.PullRequest, long=True,
    ),
    Route(
        "POST", "/api/similar", _similar, {200: schema.SimilarPage}, "Live versions that look alike",
        "By the Hamming distance of perceptual hashes, nearest first. The body is an image, or JSON.",
        params=(
            Param("max_distance", int, "The most bits of difference", default=8, maximum=64),
            Param("limit", int, "The most items to answer with", default=50, minimum=1, maximum=1000),
        ),
        body=schema.SimilarRequest, picture=True, long=True,
    ),
    Route(
        "POST", "/api/verify", lambda api, call: api.verify(call.body), {200: schema.VerifyReport},
        "Compare catalogue and storage", body=schema.VerifyRequest, long=True,
    ),
)  # fmt: skip

ROUTES = (
    *DAEMON_ROUTES,
    *SITE_ROUTES,
    *EVENT_ROUTES,
    *AUTH_ROUTES,
    *EXCHANGE_ROUTES,
    *LIBRARY_ROUTES,
    *METADATA_ROUTES,
    *NAMES_ROUTES,
)
