"""Names of a small library, in memory, and calls of every route about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.control.schema_names import moment_of
from syncd.errors import AuthRejected

AT = "2026-11-21T12:00:00Z"

# method, target, body, status
NAMES_CALLS: list[tuple[str, str, Any, int]] = [
    ("GET", "/api/names/plan", None, 200),
    ("GET", "/api/names/plan?album_keys=aaa,bbb&threshold=12.5", None, 200),
    ("GET", "/api/names/plan?limit=1", None, 200),
    ("POST", "/api/names/apply", {"dry_run": True}, 200),
    ("POST", "/api/names/apply", {"album_keys": ["aaa"], "threshold": 0, "changed_by": "eva"}, 200),
    ("POST", "/api/names/apply", None, 200),
    ("GET", "/api/names/verify", None, 200),
    ("GET", "/api/names/verify?album_keys=bbb", None, 200),
    ("GET", "/api/names/stats", None, 200),
    ("GET", "/api/names/log", None, 200),
    ("GET", "/api/names/log?limit=1&cursor=9", None, 200),
    ("POST", "/api/names/rollback", {"since": "1h"}, 200),
    ("POST", "/api/names/rollback", {"since": "2026-11-21T12:00:00+01:00", "changed_by": "eva"}, 200),
    ("POST", "/api/names/rollback", {"change_ids": [1]}, 200),
    ("PUT", "/api/names/hints/aaa", {"teams": ["A", "B"], "event": "E", "sport": "S"}, 200),
    ("PUT", "/api/names/hints/aaa", {}, 200),
    # errors
    ("GET", "/api/names/plan?album_keys=none", None, 404),
    ("GET", "/api/names/verify?album_keys=none", None, 404),
    ("POST", "/api/names/rollback", {"change_ids": [99]}, 404),
    ("PUT", "/api/names/hints/none", {"event": "E"}, 404),
    ("GET", "/api/names/hints/aaa", None, 405),
    ("POST", "/api/names/apply", {"album_keys": ["signed-out"]}, 409),
    ("GET", "/api/names/plan?threshold=101", None, 422),
    ("GET", "/api/names/plan?threshold=nan", None, 422),
    ("GET", "/api/names/plan?limit=0", None, 422),
    ("GET", "/api/names/log?cursor=x", None, 422),
    ("POST", "/api/names/apply", {"threshold": -1}, 422),
    ("POST", "/api/names/apply", {"threshold": 100.5}, 422),
    ("POST", "/api/names/apply", {"album_keys": "aaa"}, 422),
    ("POST", "/api/names/apply", {"album_keys": [""]}, 422),
    ("POST", "/api/names/apply", {"album_keys": ["a\0"]}, 422),
    ("POST", "/api/names/apply", {"changed_by": ""}, 422),
    ("POST", "/api/names/apply", {"album_key": "aaa"}, 422),
    ("POST", "/api/names/rollback", {}, 422),
    ("POST", "/api/names/rollback", {"since": "1h", "change_ids": [1]}, 422),
    ("POST", "/api/names/rollback", {"since": "yesterday"}, 422),
    ("POST", "/api/names/rollback", {"since": "1w"}, 422),
    ("POST", "/api/names/rollback", {"since": "-1h"}, 422),
    ("POST", "/api/names/rollback", {"since": "999999999d"}, 422),
    ("POST", "/api/names/rollback", {"since": "2026-11-21T12:00:00"}, 422),
    ("POST", "/api/names/rollback", {"change_ids": []}, 422),
    ("PUT", "/api/names/hints/aaa", {"teams": "A,B"}, 422),
    ("PUT", "/api/names/hints/aaa", {"teams": ["A", " "]}, 422),
    ("PUT", "/api/names/hints/aaa", {"event": "x" * 201}, 422),
    ("PUT", "/api/names/hints/aaa", {"teams": ["a\0b"]}, 422),
]

NAMES_COMMANDS: list[tuple[str, type[Any]]] = [
    ("names plan", schema.NamesPlan),
    ("names plan --album aaa --album bbb", schema.NamesPlan),
    ("names apply --dry-run --threshold 5", schema.NamesReport),
    ("names apply --album aaa", schema.NamesReport),
    ("names verify --album aaa --verbose", schema.NamesVerified),
    ("names stats", schema.NamesStats),
    ("names log --limit 5", schema.NamesLog),
    ("names rollback --since 90s", schema.NamesRestored),
    ("names rollback --change 1", schema.NamesRestored),
    ("names hint aaa --teams A,B --event E --sport S", schema.NameHint),
    ("names hint aaa --clear", schema.NameHint),
]
"""Command lines of syncctl, and what each shows."""


def change(number: int, old_name: str, new_name: str, **given: Any) -> schema.NameChange:
    made = schema.NameChange(
        id=number, album_key="aaa", old_name=old_name, new_name=new_name, changed_at=AT, changed_by="eva",
        source="apply", state="confirmed", mirrored=True,
    )  # fmt: skip
    return msgspec.structs.replace(made, **given)


class MemoryNames:
    """`wanted` are the canonical names; `failed` and `behind` go into every report."""

    def __init__(self) -> None:
        self.names = {"aaa": "DSC upload 3", "bbb": "Gala\x1b[2J - May 30"}
        self.wanted = {"aaa": "A vs B - May 30", "bbb": "Gala\x1b[2J - May 30"}
        self.changes: list[schema.NameChange] = []
        self.failed: list[schema.AlbumReason] = []
        self.behind: list[schema.AlbumReason] = []
        self.out_of_sync: dict[str, str] = {}
        self.mirror = True
        self.alerts: list[str] = []
        self.asked: list[Any] = []

    def _keys(self, album_keys: list[str] | None) -> list[str]:
        for key in album_keys or ():
            if key == "signed-out":
                raise AuthRejected("nobody is signed in to SmugMug", hint="syncctl auth smugmug")
            if key not in self.names:
                raise NotFound(f"there is no album {key!r}", hint="`syncctl smugmug albums` shows them")
        return list(self.names) if album_keys is None else album_keys

    def _items(self, album_keys: list[str] | None) -> list[schema.NameItem]:
        return [
            schema.NameItem(
                album_key=key, old_name=self.names[key], new_name=self.wanted[key],
                drift_score=77 if self.names[key] != self.wanted[key] else 0,
                action="rename" if self.names[key] != self.wanted[key] else "keep", reason="teams by hand",
            )
            for key in self._keys(album_keys)
        ]  # fmt: skip

    async def plan(
        self, album_keys: list[str] | None, threshold: float | None, limit: int | None, cursor: str | None
    ) -> schema.NamesPlan:
        self.asked.append((album_keys, threshold))
        return schema.NamesPlan(items=self._items(album_keys)[:limit], threshold=threshold or 20)

    async def apply(self, request: schema.NamesApply) -> schema.NamesReport:
        self.asked.append(request)
        items = self._items(request.album_keys)
        renamed = [item for item in items if item.action == "rename"]
        for item in () if request.dry_run else renamed:
            self.changes.append(change(len(self.changes) + 1, item.old_name, item.new_name))
            self.names[item.album_key] = item.new_name
        return schema.NamesReport(
            items=items, renamed=len(renamed), kept=len(items) - len(renamed), failed=self.failed,
            dry_run=request.dry_run, mirror_failed=self.behind,
        )  # fmt: skip

    async def verify(self, album_keys: list[str] | None) -> schema.NamesVerified:
        items = [
            schema.NamesVerifyItem(
                album_key=key, name=self.names[key], photo_count=1234, synced=key not in self.out_of_sync,
                issues=[self.out_of_sync[key]] if key in self.out_of_sync else [],
                mirror_photo_count=1200 if self.mirror else None,
            )
            for key in self._keys(album_keys)
        ]  # fmt: skip
        synced = sum(item.synced for item in items)
        return schema.NamesVerified(
            checked=len(items), synced=synced, out_of_sync=len(items) - synced, items=items,
            mirror=self.mirror,
        )  # fmt: skip

    async def stats(self) -> schema.NamesStats:
        return schema.NamesStats(
            total_albums=2, total_photos=12345, photos_with_album_key=12345, photos_without_album_key=0,
            recently_updated=7, alerts=self.alerts, mirror=self.mirror,
        )  # fmt: skip

    async def log(self, limit: int, cursor: str | None) -> schema.NamesLog:
        if cursor is not None and not cursor.isdecimal():
            raise Invalid("cursor: expected the next_cursor of another page")
        return schema.NamesLog(items=self.changes[::-1][:limit])

    async def rollback(self, request: schema.NamesRollback) -> schema.NamesRestored:
        self.asked.append(request)
        if request.since is not None:
            moment_of(request.since, datetime.now(UTC))
        for number in request.change_ids or ():
            if number != 1:
                raise NotFound(f"there is no change {number}", hint="`syncctl names log` shows them")
        return schema.NamesRestored(restored=1, refused=self.failed, mirror_failed=self.behind)

    async def hint(self, album_key: str, request: schema.NameHintRequest) -> schema.NameHint:
        return schema.NameHint(
            album_key=album_key, teams=request.teams, event=request.event, sport=request.sport,
            plan=self._items([album_key])[0],
        )  # fmt: skip
