"""Objects of the site that may not be what the catalogue says, since a run was killed or failed between
storage and the record. Their keys were noted before storage was touched."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

from syncd.catalogue import site as queries
from syncd.catalogue.uploads import CatalogueUploads
from syncd.errors import AuthRejected, Refused, Transient
from syncd.flows.report import SyncRun
from syncd.flows.site_plan import BatchPlan

if TYPE_CHECKING:
    from syncd.flows.site import Site


async def doubt(site: Site, names: Collection[str]) -> None:
    """Asks storage about every such object that a version of these batches vouches for, and takes the word
    back where it is not there, or another: the plan that follows then puts it there again. Only by who has
    the turns of these batches. What cannot be asked now is asked again next time."""
    storage_id = site.storage_id
    async with site.catalogue.reader() as db:
        doubtful = await queries.load_doubtful(db, storage_id, names)
    if not doubtful:
        return
    try:
        sink = await site.sink(storage_id)
        for item in doubtful:
            stored = await sink.head(item.key)
            is_there = stored is not None and (stored.etag, stored.size_bytes) == (item.etag, item.size_bytes)
            await site.catalogue.write(partial(queries.decide_doubt, item=item, is_there=is_there))
    except (Transient, AuthRejected, Refused):
        return  # a run that needs storage says what is wrong with it


async def settle(site: Site, run: SyncRun, plans: Sequence[BatchPlan]) -> None:
    """Removes objects that nobody vouches for. Only while this run has the turn of every batch: then nobody
    else is uploading."""
    storage_id = site.storage_id
    async with site.catalogue.reader() as db:
        loose = await queries.load_loose(db, storage_id)
        unvouched = [key for key in loose if not await queries.is_referenced(db, key, storage_id)]
    unfinished = await CatalogueUploads(site.catalogue).pending(storage_id)
    if not unvouched and not unfinished:
        return
    waiting = {scene.upload_key for plan in plans for scene in plan.scenes}
    done = []
    try:
        sink = await site.sink(storage_id)  # which aborts what was left unfinished
        for key in unvouched:
            if key not in waiting:
                await sink.delete(key)
                done.append((storage_id, key))
    except (Transient, AuthRejected, Refused) as error:
        run.error = error
    await site.catalogue.write(lambda db: queries.settle_loose(db, done))
