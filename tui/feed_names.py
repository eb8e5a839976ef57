"""The feed's calls about the names of albums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncd.control import schema
from syncd.text import human_count
from tui.asks import AskFailed
from tui.asks_library import ApplyNames, HintName, UndoNames
from tui.clean import asking, clean
from tui.feed_library import who
from tui.paging import PAGE, pages
from tui.state import Keyed, ListArrived

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from syncd.control.client import ControlClient
    from tui.asks_library import NamesAsk

MOST_CHANGES = 1000


class NamesFeed:
    """The part of the feed's seam that is about names."""

    _client: ControlClient
    _clock: Callable[[], float]

    async def _names(self) -> ListArrived:
        plan = await self._client.names_plan()
        rows = tuple(Keyed(item.album_key, clean(item)) for item in plan.items)
        return ListArrived("names", self._clock(), rows, more=plan.next_cursor is not None)

    async def _changes(self) -> ListArrived:
        items, more = await pages(lambda cursor: self._client.names_log(PAGE, cursor), MOST_CHANGES)
        rows = tuple(Keyed(str(change.id), clean(change)) for change in items)
        return ListArrived("changes", self._clock(), rows, more=more)

    async def names_dry_run(self, album_keys: tuple[str, ...] | None) -> schema.NamesReport:
        return clean(await asking(self._client.apply_names(_request(album_keys, dry_run=True))))

    async def _do_names(self, ask: NamesAsk) -> str:
        match ask:
            case ApplyNames(album_keys):
                report = clean(await self._client.apply_names(_request(album_keys)))
                but = _but(report.failed, report.mirror_failed)
                return _done(f"{human_count(report.renamed)} renamed{but}", report.renamed, report.failed)
            case UndoNames(ids):
                request = schema.NamesRollback(change_ids=list(ids), changed_by=who())
                done = clean(await self._client.rollback_names(request))
                but = _but(done.refused, done.mirror_failed)
                what = (
                    "1 album has its name"
                    if done.restored == 1
                    else f"{done.restored:,} albums have their names"
                )
                return _done(f"{what} from before{but}", done.restored, done.refused)
            case HintName(album_key, teams, event, sport):
                hint = schema.NameHintRequest(teams=list(teams), event=event, sport=sport)
                kept = clean(await self._client.hint_name(album_key, hint))
                return f"it would be called {kept.plan.new_name}"


def _done(text: str, number: int, reasons: list[schema.AlbumReason]) -> str:
    """The text; what was done to none is a failure. Raises AskFailed."""
    if reasons and not number:
        raise AskFailed(text)
    return text


def _request(album_keys: tuple[str, ...] | None, dry_run: bool = False) -> schema.NamesApply:
    keys = list(album_keys) if album_keys is not None else None
    return schema.NamesApply(album_keys=keys, dry_run=dry_run, changed_by=who())


def _but(failed: Sequence[schema.AlbumReason], lagging: Sequence[schema.AlbumReason]) -> str:
    text = f", {human_count(len(failed))} not: {failed[0].reason}" if failed else ""
    return f"{text}; the mirror has {human_count(len(lagging))} to catch up" if lagging else text
