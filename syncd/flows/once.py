"""`syncd once`: one full sync without a daemon."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from syncd.config import Config
from syncd.errors import ExitCode, Fatal
from syncd.flows.report import SyncOptions, SyncRun
from syncd.heap import all_is_loaded
from syncd.imaging.pool import ImagingPool
from syncd.lock import acquire_lock
from syncd.state_dir import empty_staging, prepare_state_dir

if TYPE_CHECKING:
    from syncd.catalogue.database import Catalogue


@contextmanager
def catalogue_held(config: Config, db_path: Path) -> Iterator[Config]:
    """Settings for a run on the catalogue at `db_path`, whose folder's lock is held meanwhile.

    What is staged belongs to the catalogue of the state folder, and a daemon may be at work there: with
    another catalogue, the run gets a state folder of its own. Raises Fatal (exit 3) where the catalogue is
    in use, Fatal (exit 78) for a folder that cannot be used.
    """
    state_dir, folder = config.daemon.state_dir, db_path.parent
    if folder.resolve().is_relative_to(config.batches.images_dir.resolve()):
        raise Fatal(
            f"{db_path} lies inside {config.batches.images_dir}, which is never written to",
            hint="name another place with --db",
            exit_code=ExitCode.CONFIG,
        )
    with ExitStack() as stack:
        if folder.resolve() != state_dir.resolve():
            state_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncd-once-")))
        prepare_state_dir(state_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Fatal(
                f"{folder} cannot be made: {error.strerror}",
                hint="name another place with --db",
                exit_code=ExitCode.CONFIG,
            ) from error
        stack.enter_context(acquire_lock(folder))
        empty_staging(state_dir / "staging")
        yield replace(config, daemon=replace(config.daemon, state_dir=state_dir))


def workers_for(config: Config, options: SyncOptions, db_path: Path) -> ImagingPool:
    """The workers of a run. Where all photos will be read, they load what that needs while we load the rest,
    so ask for them early."""
    pool = ImagingPool(config.daemon.worker_count, config.daemon.state_dir / "staging")
    if not options.dry_run and not db_path.exists():
        pool.start()
    return pool


async def sync_once(
    config: Config,
    options: SyncOptions,
    db_path: Path,
    workers: ImagingPool,
    watch: Callable[[SyncRun], None],
) -> SyncRun:
    """One sync of the catalogue at `db_path`; `watch` is given the run as soon as there is one.

    Files that are still being written are waited for, up to a minute. Raises Fatal for a catalogue that
    cannot be used. The caller holds the catalogue (`catalogue_held`).
    """
    from syncd.catalogue import log
    from syncd.flows.site import Site
    from syncd.flows.site_service import log_run, sync_until_settled

    all_is_loaded()
    async with (
        workers as pool,
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
    from syncd.catalogue.database import Catalogue

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
