"""Finds the account that sees the folder of an event: one that was added before anybody had signed in, or
before its folder was shared."""

from __future__ import annotations

from collections.abc import Callable, Collection

import anyio

from syncd.catalogue import events as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.events import EventRow
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.flows.events import Accounts, find_account
from syncd.pollers.poller import Health
from syncd.remotes.drive_errors import QuotaExceeded
from syncd.remotes.http import NotFound

NOBODY = "nobody is signed in to Google Drive"
NOBODY_HINT = "syncctl auth drive"
_AGAIN_S = 60.0


class Homes:
    """Events without an account, and why. `on_news()` is called when something was found out, and
    `emit(event_id, message)` when nobody sees a folder."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        catalogue: Catalogue,
        emit: Callable[[str, str], object],
        on_news: Callable[[], object],
    ) -> None:
        self._accounts = accounts
        self._catalogue = catalogue
        self._emit = emit
        self._on_news = on_news
        self._unasked: dict[str, SyncdError] = {}
        self._due_s = 0.0
        self._wake = anyio.Event()
        self.nobody: Health | None = None
        """There is an event, and nobody who could be asked for its folder."""

    def look_again(self) -> None:
        """Somebody signed in, or changed an event: what was found before holds no more."""
        self._unasked.clear()
        self._due_s = 0.0
        self._wake.set()

    async def note(self, homeless: Collection[EventRow]) -> None:
        """These events have no account now."""
        names, trouble = await self._names() if homeless else ([], None)
        self.nobody = self._why_nobody(trouble) if homeless and not names else None
        ids = {event.event_id for event in homeless}
        self._unasked = {name: error for name, error in self._unasked.items() if name in ids}
        if names and anyio.current_time() >= self._due_s:
            self._wake.set()

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

    async def run(self) -> None:
        """Asks every account for the folders, at once and then from time to time. Where the network is bad
        an answer takes minutes, so nothing else may wait for this."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            async with self._catalogue.reader() as db:
                homeless = [event for event in await queries.active(db) if event.account is None]
            names, _ = await self._names() if homeless else ([], None)
            if names:  # else they are asked as soon as there are any
                self._due_s = anyio.current_time() + _AGAIN_S
                for event in homeless:
                    await self._find(event, names)

    async def _find(self, event: EventRow, names: list[str]) -> None:
        event_id = event.event_id
        account, folder, trouble = await find_account(self._accounts, event.drive_folder_id)
        self._unasked.pop(event_id, None)
        if account is not None and folder is not None:
            found = account, folder.id, folder.drive_id or ""
            await self._catalogue.write(lambda db: queries.set_account(db, event_id, *found))
        elif isinstance(trouble, Refused):
            await self._nobody_sees(event, trouble, names)
        elif trouble is not None:
            self._unasked[event_id] = trouble
        self._on_news()

    async def _nobody_sees(self, event: EventRow, refusal: Refused, names: list[str]) -> None:
        reason = str(refusal)
        if isinstance(refusal, NotFound):
            reason = f"there is no such folder for {', '.join(names)}: check its id, or share the folder"
        if event.listing_due or reason != event.blocked:
            await self._catalogue.write(lambda db: queries.note_lost(db, event.event_id, reason))
        if reason != event.blocked:
            self._emit(event.event_id, f"{event.name} waits: {reason}")

    async def _names(self) -> tuple[list[str], SyncdError | None]:
        """The accounts; none where what is stored about them cannot be read, and why not."""
        try:
            return await self._accounts.names(), None
        except (AuthRejected, Transient) as error:
            return [], error

    def _why_nobody(self, trouble: SyncdError | None) -> Health:
        """The next step is a sign-in, or to mend what is stored, or the key of the service account."""
        trouble = trouble or self._accounts.unusable()
        if trouble is None:
            return Health("needs_auth", NOBODY, NOBODY_HINT)
        return Health("needs_auth", trouble.message, trouble.hint)
