"""Multipart uploads begun and not ended."""

from __future__ import annotations

from dataclasses import dataclass

import aiosqlite

from syncd.catalogue.database import Catalogue


@dataclass(frozen=True, slots=True)
class CatalogueUploads:
    """The ledger of a sink, in the catalogue: each call returns once it is on disk."""

    catalogue: Catalogue

    async def begun(self, storage_id: str, key: str, upload_id: str) -> None:
        async def note(db: aiosqlite.Connection) -> None:
            await db.execute(
                "INSERT OR REPLACE INTO uploads_in_progress (storage_id, key, upload_id) VALUES (?, ?, ?)",
                (storage_id, key, upload_id),
            )

        await self.catalogue.write(note)

    async def ended(self, storage_id: str, upload_id: str) -> None:
        async def forget(db: aiosqlite.Connection) -> None:
            await db.execute(
                "DELETE FROM uploads_in_progress WHERE storage_id = ? AND upload_id = ?",
                (storage_id, upload_id),
            )

        await self.catalogue.write(forget)

    async def pending(self, storage_id: str) -> list[tuple[str, str]]:
        """(key, upload_id) of uploads begun and not ended, oldest first."""
        async with self.catalogue.reader() as db:
            rows = await db.execute_fetchall(
                "SELECT key, upload_id FROM uploads_in_progress WHERE storage_id = ?"
                " ORDER BY begun_at, upload_id",
                (storage_id,),
            )
            return [(key, upload_id) for key, upload_id in rows]
