"""What happened, numbered: ids rise by exactly 1, so that a gap shows loss.

An entry has its id at once and is shown only once it is stored, so that no id that anybody has seen is ever
given to another entry, whatever the process dies of. Storing is in groups, within milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import anyio

from syncd.errors import Fatal, SyncdError
from syncd.text import now_text, printable

KEPT = 2_000
MOST_UNSTORED = 20_000
PAGE = 500
FLUSH_S = 3.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `at` is RFC 3339 in UTC; `subject` and `message` are safe on a terminal,
    `data` is as it came."""

    id: int
    at: str
    kind: str
    service: str
    subject: str
    message: str
    data: dict[str, Any]


class Activity:
    """The log of activity. `append` stores entries for good, and is called again with the same ones after it
    failed or was cancelled, so an id that is already stored must do no harm. `load(since, limit)` gives
    stored entries with ids above `since`, oldest first. `last_id` is the newest stored one."""

    def __init__(
        self,
        append: Callable[[list[Entry]], Awaitable[None]],
        last_id: int,
        load: Callable[[int, int], Awaitable[list[Entry]]] | None = None,
        *,
        now: Callable[[], str] = now_text,
    ) -> None:
        self._append = append
        self._load = load
        self._now = now
        self._given = last_id
        self._waiting: deque[Entry] = deque()
        self._shown: deque[Entry] = deque(maxlen=KEPT)
        self._last_shown = last_id
        self._work = anyio.Event()
        self._news = anyio.Event()

    @property
    def last_id(self) -> int:
        """The newest id that is shown."""
        return self._last_shown

    def emit(
        self, kind: str, service: str, subject: str, message: str, data: dict[str, Any] | None = None
    ) -> int:
        """Records that something happened and returns its id. Cheap; call it on the event loop. While
        nothing can be stored, the oldest beyond 20,000 are given up, and the gap in the ids shows it."""
        self._given += 1
        entry = Entry(
            self._given, self._now(), kind, service, printable(subject), printable(message), data or {}
        )
        if len(self._waiting) >= MOST_UNSTORED:
            self._waiting.popleft()
        self._waiting.append(entry)
        self._work.set()
        return entry.id

    async def run(self) -> None:
        """Stores and shows entries until cancelled; what is left then is stored before it ends. A storing
        that failed is tried again. Run it outside the supervisor, so that it outlives every service."""
        try:
            while True:
                await self._work.wait()
                self._work = anyio.Event()
                delay_s = 0.1
                while self._waiting:
                    try:
                        await self._store()
                    except Fatal:
                        raise
                    except SyncdError:
                        # Whoever writes the catalogue says what is wrong with it; here it only waits.
                        await anyio.sleep(delay_s)
                        delay_s = min(5.0, delay_s * 2)
        finally:
            with anyio.move_on_after(FLUSH_S, shield=True):
                with suppress(SyncdError):
                    while self._waiting:
                        await self._store()

    async def _store(self) -> None:
        group = list(self._waiting)
        await self._append(group)
        # More may have come, and the oldest may have been given up, while these were stored.
        while self._waiting and self._waiting[0].id <= group[-1].id:
            self._waiting.popleft()
        self._shown.extend(group)
        self._last_shown = group[-1].id
        news, self._news = self._news, anyio.Event()
        news.set()

    async def page(self, since: int, limit: int) -> tuple[list[Entry], int]:
        """At most `limit` entries with ids above `since`, oldest first, and the newest id of the log."""
        last_id = self._last_shown
        if since >= last_id or limit <= 0:
            return [], last_id
        if self._shown and since >= self._shown[0].id - 1:
            return list(islice((entry for entry in self._shown if entry.id > since), limit)), last_id
        if self._load is None:
            return list(self._shown)[:limit], last_id
        stored = await self._load(since, limit)
        # What is stored and not yet shown is left for the next page.
        return [entry for entry in stored if entry.id <= last_id], last_id

    async def follow(self, since: int) -> AsyncIterator[Entry]:
        """Entries above `since`, then each new one as it is stored, without gap, until closed. A follower
        has a place in the log and no queue: however slow, it costs no memory and loses nothing."""
        place = min(since, self._last_shown)
        while True:
            news = self._news
            entries, _ = await self.page(place, PAGE)
            for entry in entries:
                place = entry.id
                yield entry
            if not entries:
                if place < self._last_shown and self._news is news:
                    # The log was trimmed: what is missing there will not come.
                    place = self._last_shown
                    continue
                await news.wait()
