"""Reads a change log of Google Drive to its end, each page recorded before the next is asked for.

https://developers.google.com/workspace/drive/api/guides/manage-changes
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from syncd.errors import Transient

_PATIENCE = 10
"""Pages may come empty, with the token that they were asked for by."""

Change_co = TypeVar("Change_co", covariant=True)
Change = TypeVar("Change")


class Page(Protocol[Change_co]):
    """A page of the log: `next_page_token` while there is more, `new_start_page_token` at the end."""

    @property
    def changes(self) -> Sequence[Change_co]: ...
    @property
    def next_page_token(self) -> str | None: ...
    @property
    def new_start_page_token(self) -> str | None: ...


class Log(Protocol[Change_co]):
    """What a feed needs of a Drive client."""

    async def start_page_token(self, drive_id: str | None = None) -> str: ...
    async def changes(self, page_token: str, drive_id: str | None = None) -> Page[Change_co]: ...


class Feed(Generic[Change]):
    """The log of an account (`drive_id` "") or of a shared drive. One serves every event in it.

    `record(changes, token, at_end)` stores the changes with the token that follows them, in one transaction:
    a page that was not recorded is read again.
    """

    def __init__(
        self,
        log: Log[Change],
        drive_id: str,
        record: Callable[[Sequence[Change], str, bool], Awaitable[None]],
    ) -> None:
        self._log = log
        self._drive_id = drive_id or None
        self._record = record

    async def start(self) -> str:
        """Where the log stands now. To be stored before anything is listed."""
        return await self._log.start_page_token(self._drive_id)

    async def drain(self, token: str) -> int:
        """Reads from `token` to the end; the number of pages. Raises what the client raises."""
        pages = stuck = 0
        while True:
            page = await self._log.changes(token, self._drive_id)
            pages += 1
            following = page.next_page_token or page.new_start_page_token
            if following is None:
                raise Transient("Google Drive gave a page of changes without a token")
            at_end = page.next_page_token is None
            stuck = 0 if at_end or following != token else stuck + 1
            if stuck > _PATIENCE:
                raise Transient("Google Drive gives the same page of changes again and again")
            await self._record(page.changes, following, at_end)
            if at_end:
                return pages
            token = following
