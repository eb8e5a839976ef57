"""The client's calls about the names of albums."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.control import schema
from syncd.control.client_base import Connections, decode, segment, target_of


class NamesCalls(Connections):
    """One method a route. Those that ask SmugMug or the mirror take the time they need."""

    async def names_plan(
        self, album_keys: Sequence[str] = (), threshold: float | None = None
    ) -> schema.NamesPlan:
        """All albums, or those of the keys; nothing is changed."""
        target = target_of("/api/names/plan", {"album_keys": _keys(album_keys), "threshold": threshold})
        return decode(await self._call("GET", target, timeout_s=None), schema.NamesPlan)

    async def apply_names(self, request: schema.NamesApply) -> schema.NamesReport:
        return await self._post(schema.NamesReport, "/api/names/apply", request, timeout_s=None)

    async def verify_names(self, album_keys: Sequence[str] = ()) -> schema.NamesVerified:
        target = target_of("/api/names/verify", {"album_keys": _keys(album_keys)})
        return decode(await self._call("GET", target, timeout_s=None), schema.NamesVerified)

    async def names_stats(self) -> schema.NamesStats:
        return decode(await self._call("GET", "/api/names/stats", timeout_s=None), schema.NamesStats)

    async def names_log(self, limit: int = 100, cursor: str | None = None) -> schema.NamesLog:
        """Changes of names, newest first."""
        return await self._get(schema.NamesLog, "/api/names/log", limit=limit, cursor=cursor)

    async def rollback_names(self, request: schema.NamesRollback) -> schema.NamesRestored:
        return await self._post(schema.NamesRestored, "/api/names/rollback", request, timeout_s=None)

    async def hint_name(self, album_key: str, request: schema.NameHintRequest) -> schema.NameHint:
        """Takes the place of the album's hint; an empty request removes it."""
        path = f"/api/names/hints/{segment(album_key)}"
        return decode(await self._call("PUT", path, request), schema.NameHint)


def _keys(album_keys: Sequence[str]) -> str | None:
    return ",".join(album_keys) or None
