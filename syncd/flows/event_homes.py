"""Finds the account that sees the folder of an event: one that was added before anybody had signed in, or
before its folder was shared."""

from __future__ import annotations

from collections.abc import Callable, Collection

import anyio

from syncd.catalogue import events as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.events import EventRow
from syncd.errors import AuthRejected, Refused, SyncdError
from syncd.flows.events import Accounts, find_account
from syncd.pollers.poller import Health
from syncd.remotes.drive_errors import QuotaExceeded
from syncd.remotes.http import NotFound

NOBODY = "nobody is signed in to Google Drive"
NOBODY_HINT = "syncctl auth drive"
_AGAIN_S = 60.0


class Homes:
    """Events without an account, and why. `emit(event_id, message)` hears when nobody sees a folder."""

    def __init__(
        self, *, accounts: Accounts, catalogue: Catalogue, emit: Callable[[str, str], object]
    ) -> None:
        self._accounts = accounts
        self._catalogue = catalogue
        self._emit = emit
        self._due_s = 0.0
        self._unasked: dict[str, SyncdError] = {}
        self.nobody: Health | None = None
        """There is an event, and nobody who could be asked for its folder."""

    def look_again(self) -> None:
        """Somebody signed in, or changed an event: what was found before holds no more."""
        self._unasked.clear()
        self._due_s = 0.0

    def health(self, event_id: str) -> Health:
        """Why nobody could be asked for the event's folder, as the health of an account."""
        error = self._unasked.get(event_id)
        if error is None:
            return self.nobody or Health()
        if isinstance(error, AuthRejected):
            return Health("needs_auth", str(error), error.hint)
        return Health("quota" if isinstance(error, QuotaExceeded) else "backing_off", str(error), error.hint)

    @property
    def troubles(self) -> list[tuple[str, Health]]:
        """(event_id, health) of the events for whose folders nobody could be asked."""
        return [(event_id, self.health(event_id)) for event_id in sorted(self._unasked)]

    async def find(self, homeless: Collection[EventRow]) -> None:
        """Asks every account for the folders of these events: at once, and then from time to time."""
        names = await self._accounts.names() if homeless else []
        self.nobody = self._why_nobody() if homeless and not names else None
        ids = {event.event_id for event in homeless}
        self._unasked = {name: error for name, error in self._unasked.items() if name in ids}
        if not names or anyio.current_time() < self._due_s:
            return
        self._due_s = anyio.current_time() + _AGAIN_S
        for event in homeless:
            await self._find(event, names)

    async def _find(self, event: EventRow, names: list[str]) -> None:
        event_id = event.event_id
        account, folder, trouble = await find_account(self._accounts, event.drive_folder_id)
        self._unasked.pop(event_id, None)
        if account is not None and folder is not None:
            drive_id = folder.drive_id or ""
            await self._catalogue.write(lambda db: queries.set_account(db, event_id, account, drive_id))
        elif isinstance(trouble, Refused):
            await self._nobody_sees(event, trouble, names)
        elif trouble is not None:
            self._unasked[event_id] = trouble

    async def _nobody_sees(self, event: EventRow, refusal: Refused, names: list[str]) -> None:
        reason = str(refusal)
        if isinstance(refusal, NotFound):
            reason = f"there is no such folder for {', '.join(names)}: check its id, or share the folder"
        if event.listing_due or reason != event.blocked:
            await self._catalogue.write(lambda db: queries.note_lost(db, event.event_id, reason))
        if reason != event.blocked:
            self._emit(event.event_id, f"{event.name} waits: {reason}")

    def _why_nobody(self) -> Health:
        """The next step is a sign-in, or a right key of the service account."""
        unusable = self._accounts.unusable()
        if unusable is None:
            return Health("needs_auth", NOBODY, NOBODY_HINT)
        return Health("needs_auth", unusable.message, unusable.hint)
