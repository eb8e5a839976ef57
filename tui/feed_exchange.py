"""The feed's calls about the exchange with other archives."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from syncd.control import schema
from syncd.text import human_count, human_size
from tui.asks_exchange import Analyze, CleanList, Export, Import, VerifyList
from tui.clean import asking, clean
from tui.paging import PAGE, pages
from tui.state import Keyed, ListArrived

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncd.control.client import ControlClient
    from tui.asks import Interest
    from tui.asks_exchange import ExchangeAsk, Trial

MOST_LISTS = 500
MOST_FILES = 2000


class ExchangeFeed:
    """The part of the feed's seam that is about the exchange."""

    _client: ControlClient
    _clock: Callable[[], float]

    async def _exchanges(self) -> ListArrived:
        items, more = await pages(
            lambda cursor: self._client.exchange_lists(limit=PAGE, cursor=cursor), MOST_LISTS
        )
        rows = tuple(Keyed(one.list_id, clean(one)) for one in items)
        return ListArrived("exchanges", self._clock(), rows, more=more)

    async def _files(self, interest: Interest) -> ListArrived:
        list_id, side = interest.files
        if not list_id:
            return ListArrived("files", self._clock(), (), interest.files)
        wanted = cast("schema.ExchangeSide", side)
        items, more = await pages(
            lambda cursor: self._client.exchange_list(list_id, side=wanted, limit=PAGE, cursor=cursor),
            MOST_FILES,
        )
        rows = tuple(Keyed(str(file.file_id), clean(file)) for file in items)
        return ListArrived("files", self._clock(), rows, interest.files, more)

    async def exchange_preview(self, list_id: str, file_id: int, of: str, width: int, height: int) -> bytes:
        preview = self._client.preview_exchange_file(
            list_id, file_id, of=of, width=width, height=height, image_format="rgb"
        )
        return await asking(preview)

    async def try_exchange(self, ask: Trial) -> str:
        return await asking(self._exchange(ask, dry_run=True))

    async def _do_exchange(self, ask: ExchangeAsk) -> str:
        match ask:
            case VerifyList(list_id):
                request = schema.ExchangeListRequest(list_id=list_id)
                found = await self._client.exchange_verify(request)
                wrong = f", {human_count(found.missing)} missing" if found.missing else ""
                wrong += f", {human_count(found.corrupt)} corrupt" if found.corrupt else ""
                return f"{human_count(found.ok)} of {human_count(found.total)} are as they came{wrong}"
            case CleanList(list_id):
                gone = await self._client.exchange_clean(schema.ExchangeListRequest(list_id=list_id))
                return f"{human_count(gone.removed)} staged files went, {human_size(gone.bytes)}"
            case Analyze() | Export() | Import():
                return await self._exchange(ask, dry_run=False)

    async def _exchange(self, ask: Trial, *, dry_run: bool) -> str:
        client, would = self._client, "would be " if dry_run else ""
        match ask:
            case Analyze(remote_db):
                analyze = schema.ExchangeAnalyzeRequest(remote_db=remote_db, dry_run=dry_run)
                return _analysis(await client.exchange_analyze(analyze))
            case Export(list_file, output_dir):
                export = schema.ExchangeExportRequest(
                    list_file=list_file, output_dir=output_dir, dry_run=dry_run
                )
                given = clean(await client.exchange_export(export))
                text = f"{human_count(given.exported)} {would}exported, {human_size(given.bytes)}"
                text += f"; {human_count(given.missing)} are missing here" if given.missing else ""
                return text + _why("could not be given", given.failed)
            case Import(list_id, import_dir):
                take = schema.ExchangeImportRequest(list_id=list_id, import_dir=import_dir, dry_run=dry_run)
                taken = clean(await client.exchange_import(take))
                text = f"{human_count(taken.imported)} {would}imported"
                text += f"; {human_count(taken.already_here)} are here already" if taken.already_here else ""
                text += f"; {human_count(taken.missing)} did not come" if taken.missing else ""
                return text + _why("are rejected", taken.rejected)


def _analysis(found: schema.ExchangeAnalysis) -> str:
    size = f", {human_size(found.total_bytes)}" if found.total_bytes is not None else ""
    text = f"they have {human_count(found.total_files)} that you lack{size}"
    if found.url_files:
        text += f", {human_count(found.url_files)} of them by address only"
    if found.near_matches:
        text += f"; {human_count(found.near_matches)} look like pictures of yours"
    return f"{text}; {human_count(found.only_here)} are only here, {human_count(found.both)} on both sides"


def _why(words: str, reasons: list[schema.FileReason]) -> str:
    if not reasons:
        return ""
    return f"; {human_count(len(reasons))} {words}, the first because {reasons[0].reason}"
