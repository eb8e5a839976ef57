"""What people ask about names of albums: implements `NamesApi` of control/api.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from syncd.catalogue import names as queries
from syncd.catalogue.jobs import JobRow
from syncd.catalogue.names import ChangeRow, HintRow
from syncd.config import Config
from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.control.schema_names import moment_of
from syncd.errors import Refused
from syncd.flows.jobs import JobRunner, Outcome, Progress
from syncd.flows.names import Names, Reason
from syncd.flows.names_check import check_names
from syncd.flows.names_plan import PlannedName
from syncd.flows.names_rules import one_line, teams_of
from syncd.flows.names_service import NamesService
from syncd.text import rfc3339

JOB_APPLY, JOB_ROLLBACK = "names_apply", "names_rollback"

Shape = TypeVar("Shape", bound=schema.Reply)


class NamesAnswers:
    """Names for people. Renaming is a job, so that it shows, can be cancelled, and outlives a restart."""

    def __init__(
        self, *, names: Names, service: NamesService, jobs: JobRunner, config: Callable[[], Config]
    ) -> None:
        self._names = names
        self._service = service
        self._jobs = jobs
        self._config = config
        self._catalogue = names.catalogue

    @property
    def handlers(self) -> Mapping[str, Callable[[JobRow, Progress], Awaitable[Outcome]]]:
        """For the runner of jobs."""
        return {JOB_APPLY: self._do_apply, JOB_ROLLBACK: self._do_rollback}

    def try_again(self) -> None:
        """A person wants what is left to be tried now."""
        self._service.look()

    def blocked(self) -> list[schema.Blocked]:
        """Alerts, for the status."""
        since = self._service.alerts_since
        return [schema.Blocked(what="names", reason=alert, since=since) for alert in self._service.alerts]

    # --- looking ------------------------------------------------------------------------------------

    async def plan(
        self, album_keys: list[str] | None, threshold: float | None, limit: int | None, cursor: str | None
    ) -> schema.NamesPlan:
        await self._known(album_keys)
        threshold = self._config().names.drift_threshold if threshold is None else threshold
        items = await self._names.plan(album_keys, threshold=threshold)
        if cursor is not None:
            keys = [item.album_key for item in items]
            if cursor not in keys:
                raise Invalid("cursor: expected the next_cursor of another page")
            items = items[keys.index(cursor) + 1 :]
        more = limit is not None and len(items) > limit
        items = items[:limit]
        following = items[-1].album_key if more else None
        return schema.NamesPlan(items=_items(items), threshold=threshold, next_cursor=following)

    async def verify(self, album_keys: list[str] | None) -> schema.NamesVerified:
        await self._known(album_keys)
        mirror = self._names.mirror()
        there = await mirror.names() if mirror is not None else None
        async with self._catalogue.reader() as db:
            titles = await queries.titles(db)
            counts = await queries.photo_counts(db)
            begun = {row.album_key for row in await queries.begun(db)}
        if album_keys is not None:
            counts = {key: count for key, count in counts.items() if key in album_keys}
        checked = check_names(titles, counts, there, begun)
        items = [
            schema.NamesVerifyItem(
                album_key=one.album_key,
                name=one.name,
                photo_count=one.photo_count,
                synced=not one.issues,
                issues=one.issues,
                mirror_photo_count=one.mirrored,
            )
            for one in checked
        ]
        synced = sum(item.synced for item in items)
        return schema.NamesVerified(
            checked=len(items),
            synced=synced,
            out_of_sync=len(items) - synced,
            items=items,
            mirror=mirror is not None,
        )

    async def stats(self) -> schema.NamesStats:
        mirror = self._names.mirror()
        if mirror is None:
            async with self._catalogue.reader() as db:
                counts = await queries.photo_counts(db)
            photos = sum(counts.values())
            return schema.NamesStats(
                total_albums=len(counts),
                total_photos=photos,
                photos_with_album_key=photos,
                photos_without_album_key=0,
                recently_updated=0,
                alerts=[],
                mirror=False,
            )
        found = await mirror.statistics()
        return schema.NamesStats(**found._asdict(), alerts=await self._service.find_alerts())

    async def log(self, limit: int, cursor: str | None) -> schema.NamesLog:
        if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
            raise Invalid("cursor: expected the next_cursor of another page")
        async with self._catalogue.reader() as db:
            rows = await queries.log(db, before=int(cursor) if cursor else None, limit=limit + 1)
        has_mirror = self._names.mirror() is not None
        following = str(rows[limit - 1].id) if len(rows) > limit else None
        return schema.NamesLog(
            items=[_change(row, has_mirror) for row in rows[:limit]], next_cursor=following
        )

    # --- changing -----------------------------------------------------------------------------------

    async def apply(self, request: schema.NamesApply) -> schema.NamesReport:
        await self._known(request.album_keys)
        if request.dry_run:
            items = await self._names.plan(request.album_keys or None, threshold=self._threshold(request))
            renamed = sum(item.action == "rename" for item in items)
            return self._report(request, items, renamed=renamed)
        await self._names.signed_in()
        subject = ", ".join(request.album_keys) if request.album_keys else "all albums"
        return await self._as_job(JOB_APPLY, subject[:200], request, schema.NamesReport)

    async def rollback(self, request: schema.NamesRollback) -> schema.NamesRestored:
        if request.since is not None:
            try:
                since = rfc3339(moment_of(request.since, datetime.now(UTC)))
            except ValueError as error:
                raise Invalid(str(error)) from None
            # Done again after a restart, the job must mean the same time.
            request = msgspec.structs.replace(request, since=since)
        else:
            ids = request.change_ids or []
            async with self._catalogue.reader() as db:
                known = {row.id for row in await queries.by_ids(db, ids)}
            for number in ids:
                if number not in known:
                    raise NotFound(f"there is no change {number}", hint="`syncctl names log` shows them")
        await self._names.signed_in()
        subject = f"since {request.since}" if request.since else f"{len(request.change_ids or []):,} changes"
        return await self._as_job(JOB_ROLLBACK, subject, request, schema.NamesRestored)

    async def hint(self, album_key: str, request: schema.NameHintRequest) -> schema.NameHint:
        await self._known([album_key])
        hint = HintRow(teams_of(request.teams), one_line(request.event), one_line(request.sport))
        await self._catalogue.write(partial(queries.put_hint, album_key=album_key, hint=hint))
        self._service.look()
        threshold = self._config().names.drift_threshold
        items = await self._names.plan([album_key], threshold=threshold)
        return schema.NameHint(
            album_key=album_key,
            teams=list(hint.teams),
            event=hint.event,
            sport=hint.sport,
            plan=_items(items)[0],
        )

    # --- jobs ---------------------------------------------------------------------------------------

    async def _do_apply(self, job: JobRow, progress: Progress) -> Outcome:
        request = msgspec.convert(job.payload, schema.NamesApply)
        done = await self._names.apply(
            request.album_keys or None,
            self._threshold(request),
            changed_by=request.changed_by,
            progress=progress,
        )
        if done.unsure or done.behind:
            self._service.look()
        report = self._report(
            request,
            done.items,
            renamed=len(done.renamed),
            failed=_reasons(done.failed),
            mirror_failed=_reasons(done.behind),
        )
        return _outcome(report, done.failed + done.behind)

    async def _do_rollback(self, job: JobRow, progress: Progress) -> Outcome:
        request = msgspec.convert(job.payload, schema.NamesRollback)
        found: Callable[[Any], Awaitable[list[ChangeRow]]]
        if request.since is not None:
            found = partial(queries.since, at=request.since)
        else:
            found = partial(queries.by_ids, ids=request.change_ids or [])
        done = await self._names.rollback(found, changed_by=request.changed_by, progress=progress)
        if done.unsure or done.behind:
            self._service.look()
        report = schema.NamesRestored(
            restored=len(done.renamed),
            refused=_reasons(done.failed),
            mirror_failed=_reasons(done.behind),
        )
        return _outcome(report, done.failed + done.behind)

    async def _as_job(self, kind: str, subject: str, request: schema.Request, shape: type[Shape]) -> Shape:
        job = await self._jobs.submit(kind, subject, msgspec.to_builtins(request))
        row = await self._jobs.outcome(job.id)
        if row.result is None:
            raise Refused(row.error or f"{kind} was {row.state}", hint=f"`syncctl jobs retry {row.id}`")
        return msgspec.convert(row.result, shape)

    # --- shapes -------------------------------------------------------------------------------------

    def _threshold(self, request: schema.NamesApply) -> float | None:
        """None for chosen albums, which are renamed whatever their drift."""
        if request.threshold is not None or request.album_keys:
            return request.threshold
        return self._config().names.drift_threshold

    def _report(
        self,
        request: schema.NamesApply,
        items: list[PlannedName],
        *,
        renamed: int,
        failed: Sequence[schema.AlbumReason] = (),
        mirror_failed: Sequence[schema.AlbumReason] = (),
    ) -> schema.NamesReport:
        threshold = self._threshold(request)
        skipped = sum(item.action == "skip" for item in items)
        return schema.NamesReport(
            items=_items(items),
            renamed=renamed,
            kept=len(items) - renamed - len(failed) - skipped,
            skipped=skipped,
            failed=list(failed),
            dry_run=request.dry_run,
            mirror_failed=list(mirror_failed),
            threshold=0 if threshold is None else threshold,
        )

    async def _known(self, album_keys: list[str] | None) -> None:
        if album_keys is None:
            return
        async with self._catalogue.reader() as db:
            titles = await queries.titles(db)
        for key in album_keys:
            if key not in titles:
                raise NotFound(f"there is no album {key!r}", hint="`syncctl smugmug albums` shows them")


def _items(items: list[PlannedName]) -> list[schema.NameItem]:
    return [schema.NameItem(**asdict(item)) for item in items]


def _reasons(reasons: list[Reason]) -> list[schema.AlbumReason]:
    return [schema.AlbumReason(album_key=key, reason=reason) for key, reason in reasons]


def _outcome(report: schema.Reply, failed: list[Reason]) -> Outcome:
    first = f"{failed[0].album_key}: {failed[0].reason}" if failed else None
    return Outcome("partial" if failed else "done", msgspec.to_builtins(report), first)


def _change(row: ChangeRow, has_mirror: bool) -> schema.NameChange:
    confirmed = row.state == "confirmed"
    return schema.NameChange(
        id=row.id,
        album_key=row.album_key,
        old_name=row.old_name,
        new_name=row.new_name,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
        source=row.source,
        state=row.state,  # type: ignore[arg-type]
        error=row.error,
        mirrored=row.mirrored_at is not None if has_mirror and confirmed else None,
    )
