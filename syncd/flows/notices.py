"""Tells people by mail what they want to know though they are not looking: that something needs them, and
that an event has new photos.

What is to be told lies in the catalogue until a mail server has taken it, so neither a restart nor a server
that is down loses any of it. Nothing else waits for mail.
"""

from __future__ import annotations

import random
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import anyio

from syncd.catalogue import events, guards
from syncd.catalogue import notices as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.notices import Arrivals, TroubleRow
from syncd.config import Config, NotifyConfig
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import get_logger
from syncd.supervisor import ServiceHandle, ServiceInfo
from syncd.text import human_count, now_text, printable

Send = Callable[[NotifyConfig, str, str], Awaitable[None]]
"""remotes/mail.py's send_mail: settings, subject, body."""

_FIRST_BACK_OFF_S, _LONGEST_BACK_OFF_S = 2.0, 900.0
_OFTEN, _WINDOW_S = 5, 600.0
"""A service that crashes this often within this time does not get going by itself."""

_log = get_logger("mail")


class Trouble(NamedTuple):
    """Why something needs a person: `needs_auth`, `blocked`, `failed`, `guard`, or a word of its own."""

    state: str
    reason: str


class Waiting(NamedTuple):
    """Why mail waits, and since when (RFC 3339)."""

    reason: str
    since: str


class Pace(NamedTuple):
    """Seconds. Trouble is told of once it has lasted `settle_s`; photos once none has come for `quiet_s`, or
    the first has waited for `longest_s`, which also lies between two mails about one event. Trouble that was
    there before a restart is over when it has not been met again within `return_s`."""

    look_s: float = 1.0
    settle_s: float = 3.0
    quiet_s: float = 5.0
    longest_s: float = 600.0
    return_s: float = 60.0


def service_troubles(services: Iterable[ServiceInfo], crashing: Iterable[str]) -> dict[str, Trouble]:
    """Pure. The services that wait for a person; `crashing` are those that crash again and again."""
    found = {}
    for info in services:
        if info.state in ("needs_auth", "blocked", "failed"):
            found[info.name] = Trouble(info.state, info.last_error or info.state)
        elif info.name in crashing:
            found[info.name] = Trouble("failed", f"it fails again and again: {info.last_error}")
    return found


def _without_summaries(found: dict[str, Trouble]) -> dict[str, Trouble]:
    """`drive` is as the worst of its accounts: `drive ann@example.org` says the same, and whose it is."""
    return {
        what: trouble
        for what, trouble in found.items()
        if not any(name.startswith(f"{what} ") and found[name].state == trouble.state for name in found)
    }


def plan_arrivals(found: Iterable[Arrivals], since_mail_s: Mapping[str, float], pace: Pace) -> list[Arrivals]:
    """Pure. The events whose new photos are told of now; `since_mail_s` is how long ago each last was."""
    return [
        one
        for one in found
        if since_mail_s.get(one.event_id, pace.longest_s) >= pace.longest_s
        and ((not one.busy and abs(one.quiet_s) >= pace.quiet_s) or one.waited_s >= pace.longest_s)
    ]


class Notices:
    """Sends mail where `[notify]` wants it. `services` are those of the supervisor; each of `sources` tells
    what else needs a person at this moment. Other parts call `needs_attention`."""

    name = "mail"

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        config: Callable[[], Config],
        services: Callable[[], Sequence[ServiceInfo]],
        sources: Sequence[Callable[[], Mapping[str, Trouble]]] = (),
        send: Send | None = None,
        pace: Pace = Pace(),  # noqa: B008 - frozen
        rng: random.Random | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._config = config
        self._services = services
        self._sources = sources
        self._send = send or _by_smtp
        self._pace = pace
        self._rng = rng or random.Random()
        self._wake = anyio.Event()
        self._came_s: dict[str, float] = {}
        self._went_s: dict[str, float] = {}
        self._mailed_s: dict[str, float] = {}
        self._crashes: dict[str, deque[tuple[float, int]]] = {}
        self._failures = 0
        self._not_before_s = 0.0
        self.trouble: Waiting | None = None
        """None while mail does not wait for its server."""

    # --- what others ask ----------------------------------------------------------------------------

    async def needs_attention(self, what: str, reason: str, *, state: str = "attention") -> None:
        """`what` needs a person, for this reason; on disk when this returns. Say it as often as you like: one
        mail goes out for each change of `state` or `reason`, numbers in the reason aside."""
        await self._catalogue.write(lambda db: queries.raise_trouble(db, what, state, reason, seen=False))
        self._wake.set()

    async def settled(self, what: str) -> None:
        """`what` needs nobody any more; the next time it does is news."""
        await self._catalogue.write(lambda db: queries.drop_troubles(db, [what]))

    def wake(self) -> None:
        """Settings may have changed: what waits is tried at once."""
        self._failures, self._not_before_s = 0, 0.0
        self._wake.set()

    # --- running ------------------------------------------------------------------------------------

    async def run(self, handle: ServiceHandle) -> None:
        handle.ready()
        was_on: bool | None = None
        try:
            while True:
                self._wake = anyio.Event()
                settings = self._config().notify
                if was_on is not (is_on := bool(settings.smtp_url)):
                    await self._catalogue.write(queries.switch_on if is_on else queries.switch_off)
                    was_on = is_on
                if is_on:
                    await self.look()
                    await self.tell(settings)
                else:
                    self._heard(None)
                with anyio.move_on_after(self._pace.look_s if settings.smtp_url else None):
                    await self._wake.wait()
        finally:
            with anyio.move_on_after(2.0, shield=True):
                if self._config().notify.smtp_url:
                    await self.look()  # a service may have failed for good, which ends the daemon

    # --- looking ------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Writes down what needs a person now, and what does not any more."""
        services = self._services()
        found = service_troubles(services, self._crashing(services))
        for source in self._sources:
            found |= source()
        found = _without_summaries(found)
        async with self._catalogue.reader() as db:
            for guard in await guards.listed(db):
                found[f"guard {guard.id}"] = Trouble("guard", guard.reason)
            for lost in await queries.lost_events(db):
                found[f"event {lost.event_id}"] = Trouble("blocked", f"{lost.name}: {lost.reason}")
            known = await queries.troubles(db)
        now_s = anyio.current_time()
        for what, trouble in found.items():
            self._went_s.pop(what, None)
            self._came_s.setdefault(what, now_s)
            row = known.get(what)
            if row is None or (row.state, row.reason) != trouble:
                await self._catalogue.write(
                    lambda db, what=what, trouble=trouble: queries.raise_trouble(  # type: ignore[misc]
                        db, what, *trouble, seen=True
                    )
                )
        gone = [row for row in known.values() if row.seen and row.what not in found]
        over = [row.what for row in gone if self._is_over(row, now_s)]
        if over:
            await self._catalogue.write(lambda db: queries.drop_troubles(db, over))
        for what in over:
            self._came_s.pop(what, None)
            self._went_s.pop(what, None)

    def _is_over(self, row: TroubleRow, now_s: float) -> bool:
        """A service that starts has not yet met again what it met before. What ended the daemon is told of
        though it is over."""
        if row.state == "failed" and not row.told:
            return False
        patience_s = self._pace.settle_s if row.what in self._came_s else self._pace.return_s
        return now_s - self._went_s.setdefault(row.what, now_s) >= patience_s

    def _crashing(self, services: Iterable[ServiceInfo]) -> list[str]:
        now_s = anyio.current_time()
        found = []
        for info in services:
            seen = self._crashes.setdefault(info.name, deque())
            if not seen or seen[-1][1] != info.restarts:
                seen.append((now_s, info.restarts))
            while len(seen) > 1 and seen[1][0] < now_s - _WINDOW_S:
                seen.popleft()
            if seen[-1][0] >= now_s - _WINDOW_S and seen[-1][1] - seen[0][1] >= _OFTEN:
                found.append(info.name)
        return found

    # --- telling ------------------------------------------------------------------------------------

    async def tell(self, settings: NotifyConfig) -> None:
        """Sends what is due, unless the mail server is to be left alone for a while."""
        if anyio.current_time() < self._not_before_s:
            return
        try:
            await self._tell_troubles(settings)
            await self._tell_photos(settings)
        except (Transient, AuthRejected, Refused) as error:
            self._failures += 1
            back_off_s = min(_LONGEST_BACK_OFF_S, _FIRST_BACK_OFF_S * 2.0 ** min(self._failures - 1, 16))
            self._not_before_s = anyio.current_time() + back_off_s * self._rng.uniform(0.75, 1.0)
            self._heard(error)
            return

    async def _tell_troubles(self, settings: NotifyConfig) -> None:
        async with self._catalogue.reader() as db:
            rows = [row for row in (await queries.troubles(db)).values() if not row.told]
        now_s = anyio.current_time()
        due = [
            row
            for row in rows
            if not row.seen
            or row.state == "failed"
            or (
                row.what not in self._went_s
                and now_s - self._came_s.get(row.what, now_s) >= self._pace.settle_s
            )
        ]
        if not due:
            return
        first = f"{due[0].what} needs attention: {due[0].reason}"
        subject = first if len(due) == 1 else f"{len(due)} things need attention: {_names(due)}"
        await self._mail(
            settings, subject, [f"{row.what} ({row.state}, since {row.since})\n  {row.reason}" for row in due]
        )
        await self._catalogue.write(lambda db: queries.troubles_told(db, due))

    async def _tell_photos(self, settings: NotifyConfig) -> None:
        now_s = anyio.current_time()
        async with self._catalogue.reader() as db:
            found = await queries.arrivals(db)
            ago_s = {event_id: now_s - at_s for event_id, at_s in self._mailed_s.items()}
            due = plan_arrivals(found, ago_s, self._pace)
            ids = {one.event_id: await queries.new_photos(db, one.event_id) for one in due}
            counts = {one.event_id: (await events.counts(db, one.event_id)).get(one.event_id) for one in due}
        if not due:
            return
        words = {one.event_id: _photos(len(ids[one.event_id])) + f" in {one.name}" for one in due}
        total = sum(map(len, ids.values()))
        subject = words[due[0].event_id] if len(due) == 1 else f"{_photos(total)} in {len(due)} events"
        lines = []
        for one in due:
            line = words[one.event_id]
            if (all_of := counts[one.event_id]) is not None:
                line += f"\n  {human_count(all_of.photos)} photos and {human_count(all_of.faces)} faces now"
            lines.append(f"{line}\n  `syncctl events show {one.event_id}`")
        await self._mail(settings, subject, lines)
        everything = [row_id for rows in ids.values() for row_id in rows]
        await self._catalogue.write(lambda db: queries.photos_told(db, everything))
        self._mailed_s.update(dict.fromkeys(words, now_s))

    async def _mail(self, settings: NotifyConfig, subject: str, lines: Sequence[str]) -> None:
        footer = f"syncd on {socket.gethostname()}; `syncctl status` shows how it is now."
        body = "\n\n".join((*lines, f"-- \n{footer}"))
        shown = "\n".join(map(printable, body.split("\n")))
        await self._send(settings, f"[syncd] {_short(printable(subject))}", f"{shown}\n")
        self._failures = 0
        self._heard(None)

    def _heard(self, error: SyncdError | None) -> None:
        """Says each change once."""
        if error is None:
            if self.trouble is not None:
                _log.info("mail goes out again")
            self.trouble = None
            return
        reason = str(error) + (f" ({error.hint})" if error.hint else "")
        if self.trouble is None or self.trouble.reason != reason:
            _log.warning("mail waits", reason=reason)
        self.trouble = Waiting(reason, self.trouble.since if self.trouble else now_text())


def _photos(count: int) -> str:
    return "a new photo" if count == 1 else f"{human_count(count)} new photos"


def _names(rows: Sequence[TroubleRow]) -> str:
    return ", ".join(row.what for row in rows)


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


async def _by_smtp(settings: NotifyConfig, subject: str, body: str) -> None:
    from syncd.remotes.mail import send_mail

    await send_mail(settings, subject, body)
