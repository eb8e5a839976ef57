"""The service `faces`: decides whether faces are looked for in photos of events."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from syncd.catalogue import event_photos as photo_queries
from syncd.catalogue import events as queries
from syncd.catalogue.database import Catalogue
from syncd.config import Config
from syncd.imaging.faces import MISSING, MISSING_HINT, faces_available
from syncd.supervisor import ServiceHandle

_LOOK_S = 2.0


class FacesService:
    """Decides whether faces are looked for, and has those looked for that were not: while it runs, the
    settings want it and the extra is there. `warm_up` loads what finds faces."""

    name = "faces"

    def __init__(
        self,
        catalogue: Catalogue,
        config: Callable[[], Config],
        warm_up: Callable[[], None],
        available: Callable[[], bool] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._config = config
        self._warm_up = warm_up
        self._available = available or faces_available
        self._runs = False
        self.on_work: Callable[[], None] = lambda: None
        """Called when photos wait for their faces; the service `drive` does them."""

    @property
    def on(self) -> bool:
        """Whether the faces of a photo that comes in now are looked for."""
        return self._runs and self._config().faces.enabled and self._available()

    async def run(self, handle: ServiceHandle) -> None:
        self._runs = True
        was_on = is_warm = False
        try:
            handle.ready()
            while True:
                wanted = self._config().faces.enabled
                if wanted and not self._available() and await self._has_events():
                    handle.set_state("blocked", f"{MISSING}: {MISSING_HINT}")
                else:
                    handle.set_state("running")
                if self.on and (not was_on or await self._has_unindexed()):
                    await self._catalogue.write(photo_queries.queue_unindexed)
                    self.on_work()
                was_on = self.on
                if self.on and not is_warm and await self._has_faces():
                    self._warm_up()  # so that the first guest does not wait for it
                    is_warm = True
                await anyio.sleep(_LOOK_S)
        finally:
            self._runs = False

    async def _has_unindexed(self) -> bool:
        """A photo may have come in while faces were off for a moment only."""
        async with self._catalogue.reader() as db:
            return await photo_queries.has_unindexed(db)

    async def _has_faces(self) -> bool:
        async with self._catalogue.reader() as db:
            return await photo_queries.has_faces(db)

    async def _has_events(self) -> bool:
        """Who has no events misses nothing when the extra is not there."""
        async with self._catalogue.reader() as db:
            return (await queries.totals(db))[0] > 0
