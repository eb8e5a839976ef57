"""The client's calls about the exchange between archives."""

from __future__ import annotations

from syncd.control import schema
from syncd.control.client_base import Connections, segment, target_of


class ExchangeCalls(Connections):
    """One method a route. Those that work take the time they need."""

    async def exchange_analyze(self, request: schema.ExchangeAnalyzeRequest) -> schema.ExchangeAnalysis:
        return await self._post(schema.ExchangeAnalysis, "/api/exchange/analyze", request, timeout_s=None)

    async def exchange_export(self, request: schema.ExchangeExportRequest) -> schema.ExchangeExported:
        return await self._post(schema.ExchangeExported, "/api/exchange/export", request, timeout_s=None)

    async def exchange_import(self, request: schema.ExchangeImportRequest) -> schema.ExchangeImported:
        return await self._post(schema.ExchangeImported, "/api/exchange/import", request, timeout_s=None)

    async def exchange_verify(self, request: schema.ExchangeListRequest) -> schema.ExchangeVerified:
        return await self._post(schema.ExchangeVerified, "/api/exchange/verify", request, timeout_s=None)

    async def exchange_clean(self, request: schema.ExchangeListRequest) -> schema.ExchangeCleaned:
        return await self._post(schema.ExchangeCleaned, "/api/exchange/clean", request, timeout_s=None)

    async def exchange_receipt(self, request: schema.ExchangeReceiptRequest) -> schema.ExchangeReceipt:
        return await self._post(schema.ExchangeReceipt, "/api/exchange/receipt", request, timeout_s=None)

    async def exchange_lists(
        self, db: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> schema.ExchangeListPage:
        """Lists that the archive made or was given, newest first."""
        return await self._get(
            schema.ExchangeListPage, "/api/exchange/lists", db=db, limit=limit, cursor=cursor
        )

    async def exchange_list(
        self,
        list_id: str,
        db: str | None = None,
        side: schema.ExchangeSide = "theirs",
        limit: int = 100,
        cursor: str | None = None,
    ) -> schema.ExchangeShown:
        """One list with a page of its files, of one side."""
        path = f"/api/exchange/lists/{segment(list_id)}"
        return await self._get(schema.ExchangeShown, path, db=db, side=side, limit=limit, cursor=cursor)

    async def preview_exchange_file(
        self,
        list_id: str,
        file_id: int,
        *,
        of: str = "theirs",
        width: int = 400,
        height: int = 400,
        image_format: str = "jpeg",
    ) -> bytes:
        """As `preview`, of a file of a list (`theirs`) where it can be read from here, of the picture of ours
        that looks like it (`near`), or of one that the side `ours` listed. 404 where there is none."""
        path = f"/api/exchange/lists/{segment(list_id)}/preview/{file_id}"
        query = {"of": of, "width": width, "height": height, "format": image_format}
        return await self._call("GET", target_of(path, query))
