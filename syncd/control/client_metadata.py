"""The client's calls about descriptions of the library's photos."""

from __future__ import annotations

from syncd.control import schema
from syncd.control.client_base import Connections, decode


class MetadataCalls(Connections):
    """One method a route."""

    async def metadata(
        self,
        limit: int = 100,
        cursor: str | None = None,
        *,
        status: str | None = None,
        query: str | None = None,
        album_key: str | None = None,
        min_confidence: float | None = None,
    ) -> schema.MetadataPage:
        """What is written about photos, by id; `query` are words that all have to be in it."""
        return await self._get(
            schema.MetadataPage,
            "/api/metadata",
            status=status,
            q=query,
            album_key=album_key,
            min_confidence=min_confidence,
            limit=limit,
            cursor=cursor,
        )

    async def metadata_detail(self, metadata_id: int) -> schema.MetadataDetail:
        """One, with its history."""
        return await self._get(schema.MetadataDetail, f"/api/metadata/{metadata_id}")

    async def edit_metadata(self, metadata_id: int, patch: schema.MetadataPatch) -> schema.Metadata:
        return decode(await self._call("PATCH", f"/api/metadata/{metadata_id}", patch), schema.Metadata)

    async def approve_metadata(self, request: schema.MetadataApproval) -> schema.MetadataApproved:
        return await self._post(schema.MetadataApproved, "/api/metadata/approve", request, timeout_s=None)

    async def search_metadata(self, text: str, limit: int = 50) -> schema.FoundMetadataPage:
        """Photos by meaning, nearest first."""
        request = schema.MetadataQuery(text=text, limit=limit)
        return await self._post(schema.FoundMetadataPage, "/api/metadata/search", request, timeout_s=None)
