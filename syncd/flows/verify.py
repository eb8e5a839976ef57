"""Compares the catalogue with storage: what is missing, what is wrong, what nobody vouches for."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import anyio

from syncd.catalogue import event_objects, event_photos, guards
from syncd.catalogue import site as queries
from syncd.catalogue.event_objects import EventObject
from syncd.catalogue.site import LiveObject
from syncd.errors import Refused
from syncd.flows.removal_guard import judge, removal_limit
from syncd.flows.scene_work import put_version
from syncd.flows.site import Site
from syncd.model import Action
from syncd.sinks.sink import Sink, StoredObject

ORPHANS = "orphans"
"""The kind of guard that holds back the removal of objects which nobody vouches for."""

OWN_FOLDERS = ("scenes/", "events/")
"""Below the prefix, what lies in these is syncd's own; everything else in the bucket is not looked at."""

PATIENCE_S = 30.0
"""Photos of events that are fetched again are waited for while one comes at least this often."""
_LOOK_S = 0.2

Vouched = LiveObject | EventObject
Progress = Callable[[int, int], None]
Item = TypeVar("Item")


class WrongObject(NamedTuple):
    """An object whose bytes are not those that were confirmed: SHA-256 expected and found."""

    key: str
    expected: str
    found: str


@dataclass(slots=True)
class Verification:
    """What a verification found; `ok` counts objects."""

    checked: int = 0
    ok: int = 0
    missing: list[str] = field(default_factory=list)
    wrong: list[WrongObject] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    repaired: int = 0
    guard_id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape `verify` of the contract."""
        return {
            "checked": self.checked,
            "ok": self.ok,
            "missing": sorted(self.missing),
            "wrong": [item._asdict() for item in sorted(self.wrong)],
            "orphaned": sorted(self.orphaned),
            "repaired": self.repaired,
            "guard_id": self.guard_id,
        }


async def verify(
    site: Site,
    *,
    sample: float = 100,
    deep: bool = False,
    repair: bool = False,
    progress: Progress,
    wake: Callable[[], None] = lambda: None,
    patience_s: float = PATIENCE_S,
) -> Verification:
    """Looks at `sample` percent of the live objects of scenes and events. `wake` is called when photos of
    events have to be fetched again. An object counts as right when storage names the same
    length and ETag as when it was confirmed; where they differ, and always with `deep`, its bytes are read
    and hashed."""
    found = Verification()
    prefix, storage_id = site.config.storage.prefix, site.storage_id
    sink = await site.sink(storage_id)
    listed: dict[str, StoredObject] = {}
    for folder in OWN_FOLDERS:
        async for stored in sink.list(prefix + folder):
            listed[stored.key] = stored
    # Read after the listing, so that what was uploaded meanwhile is known and not taken for an orphan.
    async with site.catalogue.reader() as db:
        live: list[Vouched] = [*await queries.load_live(db, storage_id)]
        live += await event_objects.confirmed_objects(db, storage_id)
        vouched = await event_objects.object_keys(db, storage_id)
    keys = {item.key for item in live} | vouched
    strangers = [key for key in listed if key not in keys and key not in site.in_flight]
    if sample < 100:
        live = random.sample(live, math.ceil(len(live) * sample / 100))

    bad: list[Vouched] = []
    done = 0

    async def check(item: Vouched) -> None:
        nonlocal done
        if not await _check(site, sink, item, listed.get(item.key), found, deep=deep):
            bad.append(item)
        done += 1
        progress(done, len(live))

    async def look(key: str) -> None:
        if await sink.head(key) is not None:  # it may have been withdrawn since it was listed
            found.orphaned.append(key)

    await _each(strangers, look, site.config.storage.concurrency)
    await _each(live, check, site.config.storage.concurrency)
    if repair:
        await _repair(site, sink, [item for item in bad if isinstance(item, LiveObject)], found)
        photos = [item for item in bad if isinstance(item, EventObject)]
        await _fetch_again(site, storage_id, photos, found, wake, patience_s)
        await _remove_orphans(site, sink, found)
    return found


async def _each(items: list[Item], do: Callable[[Item], Awaitable[None]], at_once: int) -> None:
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await do(item)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(at_once, len(items))):
            tasks.start_soon(worker)


async def _check(
    site: Site, sink: Sink, item: Vouched, stored: StoredObject | None, found: Verification, *, deep: bool
) -> bool:
    """False for an object to repair. One that is replaced or withdrawn meanwhile is neither good nor bad."""
    stored = stored or await sink.head(item.key)
    same = stored and stored.etag == item.object_etag and stored.size_bytes == item.object_size_bytes
    digest = item.object_sha256 if same else ""
    if stored is not None and (deep or not same):
        try:
            digest = await sink.digest(item.key)
        except Refused:
            stored = None
    if digest == item.object_sha256 and stored is not None:
        found.checked += 1
        found.ok += 1
        return True
    if not await _is_settled(site, sink, item):
        return True
    found.checked += 1
    if stored is None:
        found.missing.append(item.key)
    else:
        found.wrong.append(WrongObject(item.key, item.object_sha256, digest))
    return False


async def _is_settled(site: Site, sink: Sink, item: Vouched) -> bool:
    if item.key in site.in_flight or sink.storage_id != site.storage_id:
        return False
    async with site.catalogue.reader() as db:
        if isinstance(item, EventObject):
            return await event_objects.is_confirmed_as(db, sink.storage_id, item.key, item.object_sha256)
        return await queries.is_live_as(db, item.version_id, item.key, item.object_sha256)


async def _repair(site: Site, sink: Sink, bad: list[LiveObject], found: Verification) -> None:
    """Uploads again from the local file, provided that it still is what was recorded."""
    for item in bad:
        # Held until the row is written, so that no sync replaces or withdraws the object meanwhile.
        async with site.turns.hold({item.batch_name}):
            if await _is_settled(site, sink, item) and await _put_again(site, sink, item):
                found.repaired += 1


async def _put_again(site: Site, sink: Sink, item: LiveObject) -> bool:
    try:
        stored, sha256 = await put_version(
            sink,
            site.pool,
            site.staging_dir,
            key=item.key,
            path=item.local_path,
            sha256=item.source_sha256,
            md5=item.md5,
            size_bytes=item.source_size_bytes,
            content_type=item.content_type,
            needs_rendering=item.needs_rendering,
        )
    except Refused:
        return False  # still listed as missing or wrong: the local file is not what it was
    confirmed = queries.ConfirmedUpload(
        item.version_id, item.scene_id, item.key, sink.storage_id, sha256, stored.size_bytes, stored.etag
    )
    await site.catalogue.write(lambda db: queries.confirm_uploads(db, [confirmed]))
    return True


async def _fetch_again(
    site: Site,
    storage_id: str,
    bad: list[EventObject],
    found: Verification,
    wake: Callable[[], None],
    patience_s: float,
) -> None:
    """Photos of events are not on this machine: their jobs fetch them from Drive. Those that cannot now are
    tried again later, and stand in `jobs`."""
    if not bad:
        return
    await site.catalogue.write(lambda db: event_objects.put_again(db, storage_id, bad))
    wake()
    waiting = {item.key for item in bad}
    until_s = anyio.current_time() + patience_s
    while waiting and anyio.current_time() < until_s:
        async with site.catalogue.reader() as db:
            busy = await event_photos.are_busy(db, {item.photo_id for item in bad})
            there = await event_objects.confirmed_among(db, storage_id, waiting)
        if there:
            waiting -= there
            found.repaired += len(there)
            until_s = anyio.current_time() + patience_s
        if not busy:
            return
        await anyio.sleep(_LOOK_S)


async def _remove_orphans(site: Site, sink: Sink, found: Verification) -> None:
    """Removes what nobody vouches for, unless it is so much that a person should look first."""
    actions = [Action("remove", "", "", "", key) for key in found.orphaned]
    async with site.catalogue.reader() as db:
        live = await queries.count_live(db)
        approved = await guards.approved_actions(db, ORPHANS)
    limit = removal_limit(site.config.guard.max_delete, site.config.guard.max_delete_percent, live)
    verdict = judge(actions, (), limit=limit, recent=0, approved=approved)
    if verdict.held:
        reason = f"{len(actions):,} objects in storage belong to nothing here; that is more than {limit:,}"
        guard = await site.catalogue.write(
            lambda db: guards.raise_guard(db, ORPHANS, reason, verdict.held, live)
        )
        found.guard_id = guard.id
    else:
        await site.catalogue.write(lambda db: guards.gone(db, kind=ORPHANS))
    # No sync may begin to upload under a key that is being removed.
    async with site.turns.hold({*await site.batch_names(), *found.orphaned}):
        for action in actions:
            key = action.key or ""
            if action in verdict.held or key in site.in_flight or sink.storage_id != site.storage_id:
                continue
            async with site.catalogue.reader() as db:
                if await queries.is_referenced(db, key, sink.storage_id):
                    continue
                if await event_objects.is_vouched(db, sink.storage_id, key):
                    continue
            await sink.delete(key)
            found.repaired += 1
