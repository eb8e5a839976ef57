"""`syncd once`: one full sync without a daemon."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from syncd.catalogue import log
from syncd.catalogue.database import Catalogue
from syncd.config import Config
from syncd.flows.report import SyncOptions, SyncRun
from syncd.flows.site import Site
from syncd.flows.site_service import log_run, sync_until_settled
from syncd.imaging.pool import ImagingPool


async def sync_once(
    config: Config, options: SyncOptions, db_path: Path, watch: Callable[[SyncRun], None]
) -> SyncRun:
    """One sync of the catalogue at `db_path`; `watch` is given the run as soon as there is one.

    Files that are still being written are waited for, up to a minute. Raises Fatal for a catalogue that
    cannot be used. The caller holds the lock of the catalogue's folder.
    """
    staging_dir = config.daemon.state_dir / "staging"
    is_first = not options.dry_run and not db_path.exists()  # noqa: ASYNC240 - nothing else runs yet
    async with ImagingPool(config.daemon.worker_count, staging_dir) as pool:
        if is_first:
            await pool.start()  # everything will be read: what that needs is loaded meanwhile
        async with (
            _catalogue(db_path, dry_run=options.dry_run) as catalogue,
            Site(config, catalogue, pool) as site,
        ):
            row = None
            if not options.dry_run:
                await catalogue.write(log.fail_interrupted)
                row = await catalogue.write(log.start)
            run = SyncRun(options)
            watch(run)
            await sync_until_settled(site, run)
            if row is not None:
                await log_run(site, run, row)
            return run


@asynccontextmanager
async def _catalogue(path: Path, *, dry_run: bool) -> AsyncIterator[Catalogue]:
    """The catalogue, or for a dry run where there is none yet an empty one that leaves no trace."""
    if not dry_run or path.exists():  # noqa: ASYNC240 - nothing else runs yet
        async with Catalogue.open(path) as catalogue:
            yield catalogue
        return
    folder = Path(tempfile.mkdtemp(prefix="syncd-dry-run-"))
    try:
        async with Catalogue.open(folder / "catalogue.db") as catalogue:
            yield catalogue
    finally:
        shutil.rmtree(folder, ignore_errors=True)
