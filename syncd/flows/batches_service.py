"""The service `batches`: watches the images folder, and says when it must not be believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import anyio
import anyio.to_thread

from syncd.catalogue import site as queries
from syncd.catalogue.database import Catalogue
from syncd.config import Config
from syncd.control import schema
from syncd.errors import SyncdError
from syncd.supervisor import ServiceHandle
from syncd.text import rfc3339
from syncd.watchers.folder import FolderWatcher
from syncd.watchers.roots import check_root

_LOOK_S = 5.0


class BatchesService:
    """Turns what happens below `images_dir` into hints for the site."""

    name = "batches"

    def __init__(
        self, config: Callable[[], Config], catalogue: Catalogue, hint: Callable[[str | None], None]
    ) -> None:
        self._config = config
        self._catalogue = catalogue
        self._hint = hint
        self._watcher: FolderWatcher | None = None
        self._overflows_before = 0
        self._blocked: str | None = None
        self._handle: ServiceHandle | None = None
        self._state = "starting"
        self._last_success_at: datetime | None = None

    async def run(self, handle: ServiceHandle) -> None:
        settings = self._config().batches
        if self._watcher is not None:
            self._overflows_before += self._watcher.overflows
        self._watcher = FolderWatcher(
            settings.images_dir, settings.stages, self._hint, rescan_minutes=settings.rescan_minutes
        )
        self._state, self._handle = "running", handle
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watcher.run)
                await self._look(handle)
                handle.ready()
                while True:
                    await anyio.sleep(_LOOK_S)
                    await self._look(handle)
        finally:
            self._state = "stopped"

    async def _look(self, handle: ServiceHandle) -> None:
        """Is the root as it should be? Everything is looked at again once it is."""
        try:
            async with self._catalogue.reader() as db:
                known = await queries.load_batch_names(db, with_files=True)
        except SyncdError:
            return  # the catalogue is busy; the next look is seconds away
        reason = await anyio.to_thread.run_sync(check_root, self._config().batches.images_dir, known)
        if reason is not None:
            self.block(reason)
            return
        self._last_success_at = datetime.now(UTC)
        handle.set_state("running")
        if self._blocked is not None:
            self._blocked = None
            self._hint(None)

    def block(self, reason: str) -> None:
        """The root must not be believed, whoever noticed it."""
        self._blocked = reason
        if self._handle is not None:
            self._handle.set_state("blocked", reason)

    def listing_took(self, duration_s: float) -> None:
        """Tells how long listing everything takes, in seconds."""
        if self._watcher is not None:
            self._watcher.listing_took(duration_s)

    def source(self) -> schema.SourceStatus:
        """The images folder as a source of photos, and when it was last seen whole."""
        at = self._last_success_at
        return schema.SourceStatus(
            name="batches",
            state="blocked" if self._blocked else self._state,
            last_success_at=rfc3339(at) if at else None,
        )

    def watcher(self) -> schema.WatcherStatus:
        """How the folder is watched."""
        if self._watcher is None:
            return schema.WatcherStatus()
        return schema.WatcherStatus(
            overflows=self._overflows_before + self._watcher.overflows,
            watches=self._watcher.watches,
            mode=self._watcher.mode,
            error=self._watcher.error,
        )
