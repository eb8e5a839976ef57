"""Names of albums in step: renamed on SmugMug first, then in the mirror, each step in the journal.

A change is `begun` before SmugMug is asked and `confirmed` after; the mirror follows until both agree. What a
crash leaves behind is settled by asking SmugMug what the album is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import anyio
import anyio.to_thread

from syncd.catalogue import names as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.names import AlbumRow, ChangeRow
from syncd.config import Config
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.flows.names_plan import AlbumFacts, PlannedName, plan_names
from syncd.flows.names_rules import Hint, Seen
from syncd.log import get_logger
from syncd.remotes import http
from syncd.remotes.smugmug_items import AlbumInfo
from syncd.sinks.postgres import AlbumNames, NameChange, Statistics
from syncd.text import rfc3339

NAMES = "names"
"""The service, and the sender of its activity."""
APPLY, AUTO, ROLLBACK = "apply", "auto", "rollback"
"""Where a change comes from, as the journal says it."""
MOST_IN_AN_HOUR = 20
"""Names that are changed without a person."""

_SILENCES = 3
"""After so many albums in a row without an answer, SmugMug is not asked about the others."""

Progress = Callable[[int, int], None]
Emit = Callable[[str, str, str, str, dict[str, Any] | None], object]

_log = get_logger(NAMES)


class AlbumNamer(Protocol):
    """The part of the SmugMug client that names need."""

    async def album(self, album_key: str) -> AlbumInfo: ...
    async def rename_album(self, album_key: str, name: str) -> AlbumInfo: ...


class MirrorNames(Protocol):
    """The part of the mirror that names need."""

    async def rename_album(self, album_key: str, new_name: str, change: NameChange) -> None: ...
    async def names(self) -> dict[str, AlbumNames]: ...
    async def statistics(self) -> Statistics: ...


class Reason(NamedTuple):
    """Why an album was not renamed."""

    album_key: str
    reason: str


class Wish(NamedTuple):
    """One album is to be renamed, if it is still called `old_name`."""

    album_key: str
    old_name: str
    new_name: str


@dataclass(slots=True)
class Done:
    """What became of wishes. Of those `renamed` on SmugMug the mirror does not have `behind` yet; `same` had
    the wanted name already; `unsure` are those of `failed` that will be finished later; `rejected` is why
    SmugMug was asked no more."""

    renamed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    failed: list[Reason] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    behind: list[Reason] = field(default_factory=list)
    rejected: AuthRejected | None = None
    items: list[PlannedName] = field(default_factory=list)


_Ending = Literal["renamed", "same", "failed", "unsure"]


class Names:
    """Plans and changes names; one at a time, whoever asks."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        smugmug: Callable[[], Awaitable[AlbumNamer]],
        mirror: Callable[[], MirrorNames | None],
        config: Callable[[], Config],
        emit: Emit,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.catalogue = catalogue
        self.mirror = mirror
        self._smugmug = smugmug
        self._config = config
        self._emit = emit
        self._now = now
        self._busy = anyio.Lock()
        self._pushing = anyio.Lock()

    # --- plans --------------------------------------------------------------------------------------

    async def plan(
        self, only: Collection[str] | None = None, *, threshold: float | None, today: date | None = None
    ) -> list[PlannedName]:
        """See `plan_names`; of the catalogue as it is."""
        async with self.catalogue.reader() as db:
            rows = await queries.snapshot(db)
        today = today or self._now().astimezone().date()
        facts = [facts_of(row) for row in rows]
        return await anyio.to_thread.run_sync(
            partial(plan_names, facts, threshold=threshold, today=today, only=only)
        )

    async def signed_in(self) -> None:
        """Raises AuthRejected, with the next step, where nobody is."""
        await self._smugmug()

    # --- changes ------------------------------------------------------------------------------------

    async def apply(
        self,
        only: Collection[str] | None,
        threshold: float | None,
        *,
        changed_by: str,
        source: str = APPLY,
        most: int | None = None,
        without: Callable[[PlannedName], bool] = lambda item: False,
        progress: Progress = lambda done, total: None,
    ) -> Done:
        """Carries the plan out, for at most `most` albums and none that `without` holds back."""
        async with self._busy:
            client = await self._smugmug()
            await self._settle(client)
            items = await self.plan(only, threshold=threshold)
            wishes = [
                Wish(item.album_key, item.old_name, item.new_name)
                for item in items
                if item.action == "rename" and not without(item)
            ]
            done = await self._grant(client, wishes[:most], changed_by, source, progress)
            done.items = items
            return done

    async def rollback(
        self, changes: Callable[[Any], Awaitable[list[ChangeRow]]], *, changed_by: str, progress: Progress
    ) -> Done:
        """Restores names from before the changes that the query `changes` finds. An album that is not called
        as the last of them left it is in `failed`."""
        async with self._busy:
            client = await self._smugmug()
            await self._settle(client)
            async with self.catalogue.reader() as db:
                rows = await changes(db)
            undone = [row for row in rows if row.state != "confirmed"]
            done = await self._grant(client, wishes_back(rows), changed_by, ROLLBACK, progress)
            done.failed += [Reason(row.album_key, f"change {row.id} was not carried out") for row in undone]
            return done

    async def settle(self) -> bool:
        """Finishes what a crash or an unsure answer left. False where SmugMug does not know yet."""
        async with self._busy:
            async with self.catalogue.reader() as db:
                if not await queries.begun(db):
                    return True
            return await self._settle(await self._smugmug())

    async def push(self, only: Collection[str] | None = None) -> list[Reason]:
        """Tells the mirror of changes that it does not have; why some are still to come."""
        mirror = self.mirror()
        if mirror is None:
            return []
        async with self._pushing:  # an older name must not arrive after a newer one
            return await self._push(mirror, only)

    async def _push(self, mirror: MirrorNames, only: Collection[str] | None) -> list[Reason]:
        async with self.catalogue.reader() as db:
            rows = await queries.unmirrored(db, only)
            titles = await queries.titles(db, removed=True)
        behind: dict[str, str] = {}
        for at, row in enumerate(rows):
            if row.album_key in behind:
                continue
            try:
                # What SmugMug calls it now, which is not what an old change says.
                await mirror.rename_album(row.album_key, titles.get(row.album_key, row.new_name), row)
            except SyncdError as error:
                reason = _said(error)
                await self.catalogue.write(partial(queries.not_mirrored, change_id=row.id, error=reason))
                behind[row.album_key] = reason
                if not isinstance(error, Refused):  # nobody answers, or lets us in: nor for the others
                    behind |= {later.album_key: reason for later in rows[at:]}
                    break
            else:
                await self.catalogue.write(partial(queries.mirrored, change_id=row.id))
        return [Reason(*item) for item in behind.items()]

    # --- steps --------------------------------------------------------------------------------------

    async def _grant(
        self, client: AlbumNamer, wishes: Sequence[Wish], changed_by: str, source: str, progress: Progress
    ) -> Done:
        done = Done()
        silences = 0
        for at, wish in enumerate(wishes):
            progress(at, len(wishes))
            try:
                ending, reason = await self._rename(client, wish, changed_by, source)
            except AuthRejected as error:
                done.failed += [Reason(later.album_key, _said(error)) for later in wishes[at:]]
                done.rejected = error
                break
            if ending in ("renamed", "same"):
                (done.renamed if ending == "renamed" else done.same).append(wish.album_key)
            else:
                done.failed.append(Reason(wish.album_key, reason))
                if ending == "unsure":
                    done.unsure.append(wish.album_key)
            silences = silences + 1 if ending == "unsure" else 0
            if silences == _SILENCES:
                done.failed += [Reason(later.album_key, reason) for later in wishes[at + 1 :]]
                break
        progress(len(wishes), len(wishes))
        done.behind = await self.push(done.renamed)
        for key, reason in done.behind:
            _log.error("the mirror does not have a name yet", album_key=key, reason=reason)
            self._emit("mirror_behind", NAMES, key, f"the mirror does not have its name yet: {reason}", None)
        return done

    async def _rename(
        self, client: AlbumNamer, wish: Wish, changed_by: str, source: str
    ) -> tuple[_Ending, str]:
        """One album. Raises AuthRejected where SmugMug lets us do nothing more."""
        key, old_name, new_name = wish
        if old_name == new_name:
            return "same", ""
        try:
            found = await client.album(key)
        except http.NotFound:
            return "failed", "the album is gone from SmugMug"
        except Refused as error:
            return "failed", _said(error)
        except Transient as error:
            return "unsure", _said(error)
        if found.name != old_name:
            await self._note(found)
            if found.name == new_name:
                return "same", ""
            return "failed", f"it is called {found.name!r} now, no longer {old_name!r}: somebody renamed it"
        change_id = await self.catalogue.write(
            partial(
                queries.begin,
                album_key=key,
                old_name=old_name,
                new_name=new_name,
                changed_by=changed_by,
                source=source,
            )
        )
        return await self._carry_out(client, change_id, wish)

    async def _carry_out(self, client: AlbumNamer, change_id: int, wish: Wish) -> tuple[_Ending, str]:
        key, _, new_name = wish
        try:
            album = await client.rename_album(key, new_name)
        except Transient as error:
            return "unsure", f"{_said(error)}; it is finished once SmugMug answers"
        except (AuthRejected, Refused) as error:
            gone = isinstance(error, http.NotFound)
            reason = "the album is gone from SmugMug" if gone else _said(error)
            await self._fail(change_id, wish, reason)
            if isinstance(error, AuthRejected):
                raise
            return "failed", reason
        await self._confirm(change_id, wish, album)
        if album.name != new_name:
            return "failed", f"SmugMug made {album.name!r} of {new_name!r}"
        return "renamed", ""

    async def _settle(self, client: AlbumNamer) -> bool:
        async with self.catalogue.reader() as db:
            rows = await queries.begun(db)
        settled = True
        for row in rows:
            wish = Wish(row.album_key, row.old_name, row.new_name)
            try:
                found = await client.album(row.album_key)
            except Refused as error:
                gone = isinstance(error, http.NotFound)
                await self._fail(row.id, wish, "the album is gone from SmugMug" if gone else _said(error))
                continue
            except Transient:
                settled = False
                continue
            if found.name == row.new_name:
                await self._confirm(row.id, wish, found)
            elif found.name == row.old_name:
                ending, _ = await self._carry_out(client, row.id, wish)
                settled = settled and ending != "unsure"
            else:
                await self._note(found)
                await self._fail(row.id, wish, f"it is called {found.name!r} now: somebody renamed it")
        return settled

    async def _note(self, album: AlbumInfo) -> None:
        """Somebody else gave it this name."""
        await self.catalogue.write(
            partial(
                queries.set_title, album_key=album.album_key, title=album.name, updated=album.last_updated
            )
        )

    async def _confirm(self, change_id: int, wish: Wish, album: AlbumInfo) -> None:
        await self.catalogue.write(
            partial(queries.confirm, change_id=change_id, name=album.name, updated=album.last_updated)
        )
        data = {"change_id": change_id, "old_name": wish.old_name, "new_name": album.name}
        self._emit("renamed", NAMES, wish.album_key, f"{wish.old_name} is called {album.name} now", data)

    async def _fail(self, change_id: int, wish: Wish, reason: str) -> None:
        await self.catalogue.write(partial(queries.fail, change_id=change_id, error=reason))
        data = {"change_id": change_id, "reason": reason}
        self._emit("rename_failed", NAMES, wish.album_key, f"{wish.old_name} keeps its name: {reason}", data)

    # --- without a person ---------------------------------------------------------------------------

    async def auto(self) -> Done | None:
        """Renames what has drifted, each album to each name once: a person who takes a name back is not
        argued with. What failed is tried again a day later. None when the hour's names are used up."""
        an_hour_ago, yesterday = (rfc3339(self._now() - timedelta(hours=hours)) for hours in (1, 24))
        async with self.catalogue.reader() as db:
            used = await queries.count_since(db, AUTO, an_hour_ago)
            given = await queries.given(db, failed_since=yesterday)
        if used >= MOST_IN_AN_HOUR:
            return None
        return await self.apply(
            None,
            self._config().names.drift_threshold,
            changed_by="syncd",
            source=AUTO,
            most=MOST_IN_AN_HOUR - used,
            without=lambda item: (item.album_key, item.new_name) in given,
        )


def wishes_back(changes: Sequence[ChangeRow]) -> list[Wish]:
    """Pure. For each album of these changes, oldest first: back to what it was called before the first."""
    first: dict[str, ChangeRow] = {}
    last: dict[str, ChangeRow] = {}
    for change in changes:
        if change.state == "confirmed":
            first.setdefault(change.album_key, change)
            last[change.album_key] = change
    wishes = [Wish(key, last[key].new_name, first[key].old_name) for key in first]
    return [wish for wish in wishes if wish.old_name != wish.new_name]


def facts_of(row: AlbumRow) -> AlbumFacts:
    """A row of the catalogue as the plan wants it."""
    return AlbumFacts(
        album_key=row.album_key,
        name=row.title,
        photo_count=row.photo_count,
        image_count=row.image_count,
        is_read=row.is_read,
        album_date=row.album_date,
        days=row.days,
        seen=[Seen(one.teams, one.event, one.approved, one.photos) for one in row.seen],
        hint=Hint(row.hint.teams, row.hint.event, row.hint.sport) if row.hint else None,
    )


def _said(error: SyncdError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
