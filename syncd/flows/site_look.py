"""Looks at batches and plans them: what is on disk against what the catalogue knows.

Most batches are as they were. A plan is a pure function, so for a batch whose inputs are those of an
earlier, empty plan it is not made again: a digest of the inputs is kept with the batch.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from syncd.catalogue import site as queries
from syncd.catalogue.database import Catalogue
from syncd.config import BatchesConfig
from syncd.flows.report import SyncOptions
from syncd.flows.site_plan import BatchKnowledge, BatchPlan, SiteRules, plan_batch
from syncd.model import BatchListing, BatchSettings
from syncd.watchers.listing import list_tree


@dataclass(slots=True)
class Look:
    """The plans of the batches looked at, by name; where files are still being written, and for how many
    seconds more; and the memos of batches that turned out to be settled."""

    plans: list[BatchPlan] = field(default_factory=list)
    unsettled_s: dict[str, float] = field(default_factory=dict)
    memos: dict[str, str] = field(default_factory=dict)


class Looker:
    """Makes looks, and remembers which scene holds which id."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._owners: dict[str, tuple[str, str]] | None = None

    def forget(self) -> None:
        """Somebody else changed the catalogue: who holds which scene id is to be read again."""
        self._owners = None

    async def conflicts(self) -> list[str]:
        """Scenes whose plain id another batch's scene held first, for people."""
        return [
            f"{batch}/{base} is published as {scene_id}: {batch}-{base} was taken"
            for scene_id, (batch, base) in sorted((await self._scene_owners()).items())
            if scene_id != f"{batch}-{base}"
        ]

    async def _scene_owners(self) -> dict[str, tuple[str, str]]:
        if self._owners is None:
            async with self._catalogue.reader() as db:
                self._owners = await queries.load_scene_owners(db)
        return self._owners

    async def look(
        self, settings: BatchesConfig, rules: SiteRules, options: SyncOptions, names: Collection[str]
    ) -> Look:
        """Lists and plans these batches. A dry run leaves no trace in what is remembered."""
        listings: dict[str, BatchListing] = {}

        async def list_all() -> None:
            listings.update(
                await anyio.to_thread.run_sync(
                    list_tree, settings.images_dir, settings.stages, settings.settle_seconds, names
                )
            )

        # The disk and the catalogue wait for each other's sake only where they are compared.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(list_all)
            async with self._catalogue.reader() as db:
                batches = await queries.load_batches(db, names)
                rows = await queries.load_plan_rows(db, names)
        look, digests = await anyio.to_thread.run_sync(_compare, listings, batches, rows, rules, options)
        open_names = listings.keys() - {plan.batch_name for plan in look.plans}
        if open_names:
            owners = await self._scene_owners()
            async with self._catalogue.reader() as db:
                scene_ids = await queries.load_scene_ids(db, open_names)
                versions = await queries.load_versions(db, open_names)
            taken = dict(owners) if options.dry_run else owners
            for name in sorted(open_names):
                fresh = BatchSettings(name, settings.default_public, None)
                knowledge = BatchKnowledge(
                    batches[name].settings if name in batches else fresh,
                    tuple(versions.get(name, ())),
                    scene_ids.get(name, {}),
                    is_new=name not in batches,
                )
                plan = await anyio.to_thread.run_sync(_plan, listings[name], knowledge, rules, taken, options)
                taken.update((s.scene_id, (name, s.base_filename)) for s in plan.scenes if s.is_new)
                look.plans.append(plan)
                if name in digests and plan.is_empty and not plan.failed:
                    look.memos[name] = json.dumps([digests[name], plan.scene_count, plan.version_count])
        look.plans.sort(key=lambda plan: plan.batch_name)
        for name, listing in listings.items():
            if listing.unsettled_s is not None:
                look.unsettled_s[name] = listing.unsettled_s
        return look


def _compare(
    listings: Mapping[str, BatchListing],
    batches: Mapping[str, queries.BatchRow],
    rows: Mapping[str, list[queries.Row]],
    rules: SiteRules,
    options: SyncOptions,
) -> tuple[Look, dict[str, str]]:
    """In a thread: the plans of settled batches, and the digests of those that may turn out to be."""
    look, digests = Look(), {}
    again = {path.partition("/")[0] for path in options.look_again}
    for name, listing in listings.items():
        batch = batches.get(name)
        if batch is None:
            if not listing.files and not listing.error:
                look.plans.append(BatchPlan(name, skipped=listing.skipped, ignored=listing.ignored))
            continue
        if listing.error or listing.unsettled or name in again:
            continue
        digest = _digest(listing, batch.settings, rows.get(name, []), rules)
        if batch.memo is not None:
            settled_digest, scene_count, version_count = json.loads(batch.memo)
            if settled_digest == digest:
                plan = BatchPlan(
                    name,
                    is_public=batch.settings.is_public,
                    skipped=listing.skipped,
                    ignored=listing.ignored,
                    scanned=len(listing.files),
                    unchanged=len(listing.files),
                    scene_count=scene_count,
                    version_count=version_count,
                )
                look.plans.append(plan)
                continue
        digests[name] = digest
    return look, digests


def _digest(listing: BatchListing, settings: BatchSettings, rows: list[queries.Row], rules: SiteRules) -> str:
    """Of everything that the plan depends on. The first characters change with what a plan means."""
    files = "\n".join(
        f"{seen.local_path}\0{stat.ctime_ns}\0{stat.mtime_ns}\0{stat.size_bytes}\0{stat.inode}"
        for seen in listing.files
        for stat in (seen.stat,)
    )
    # Version 2 of marshal writes each value out; later ones would write references, which vary.
    inputs = marshal.dumps((files, repr(settings), repr(rules), rows), 2)
    return "1-" + hashlib.blake2b(inputs, digest_size=16).hexdigest()


def _plan(
    listing: BatchListing,
    knowledge: BatchKnowledge,
    rules: SiteRules,
    taken: Mapping[str, tuple[str, str]],
    options: SyncOptions,
) -> BatchPlan:
    """In a thread: there may be many files."""
    reads_files = not (options.dry_run or options.images_only)
    same = frozenset() if reads_files else _same_content(listing, knowledge)
    return plan_batch(listing, knowledge, rules, taken, same_content=same, look_again=options.look_again)


def _same_content(listing: BatchListing, knowledge: BatchKnowledge) -> frozenset[str]:
    """Known files that were touched and still hold the same bytes: a dry run has to read them to foresee
    that nothing will be done, and a run that records nothing to know that they are what was recorded."""
    known = {v.relative_path: v for v in knowledge.versions if not v.superseded}
    same = set()
    for seen in listing.files:
        version = known.get(seen.relative_path)
        if version is None or (version.stat == seen.stat and version.local_path == seen.local_path):
            continue
        if version.stat.size_bytes == seen.stat.size_bytes and _sha256(seen.local_path) == version.sha256:
            same.add(seen.relative_path)
    return frozenset(same)


def _sha256(path: str) -> str | None:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(path, flags), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
