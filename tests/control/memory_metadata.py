"""Descriptions of a small library, in memory, and calls of every route about them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.control.metadata_files import encoded
from syncd.errors import Refused, Transient

AT = "2026-11-21T12:00:00Z"

# method, target, body, status
METADATA_CALLS: list[tuple[str, str, Any, int]] = [
    ("GET", "/api/metadata", None, 200),
    ("GET", "/api/metadata?status=review&q=cup+final&album_key=abc&min_confidence=0.5&limit=1", None, 200),
    ("GET", "/api/metadata?limit=1&cursor=1", None, 200),
    ("GET", "/api/metadata?status=&q=", None, 200),
    ("GET", "/api/metadata?q=%22%20OR%20NEAR(", None, 200),
    ("GET", "/api/metadata/1", None, 200),
    ("GET", "/api/metadata/export", None, 200),
    ("GET", "/api/metadata/export?format=csv&status=review&q=a&album_key=b&min_confidence=1", None, 200),
    ("PATCH", "/api/metadata/1", {"description": "A goal", "changed_by": "eva", "reason": "wrong"}, 200),
    ("PATCH", "/api/metadata/1", {"tags": [], "categories": ["a"]}, 200),
    ("PATCH", "/api/metadata/1", {"status": "pending"}, 200),
    ("POST", "/api/metadata/approve", {"ids": [1, 2]}, 200),
    ("POST", "/api/metadata/approve", {"status": "review", "q": "goal", "min_confidence": 1}, 200),
    ("POST", "/api/metadata/approve", {"album_key": "abc", "approved_by": "eva"}, 200),
    ("POST", "/api/metadata/approve", {"status": "review", "q": "", "album_key": None}, 200),
    ("POST", "/api/metadata/search", {"text": "a goal", "limit": 1}, 200),
    # errors
    ("GET", "/api/metadata/99", None, 404),
    ("GET", "/api/metadata/none", None, 404),
    ("GET", "/api/metadata/0", None, 404),
    ("GET", "/api/metadata/99999999999999999999", None, 404),
    ("PATCH", "/api/metadata/99", {"tags": []}, 404),
    ("PATCH", "/api/metadata/none", {"tags": []}, 404),
    ("POST", "/api/metadata/approve", {"ids": [99]}, 404),
    ("DELETE", "/api/metadata/1", None, 405),
    ("POST", "/api/metadata/search", {"text": "no model"}, 409),
    ("GET", "/api/metadata?status=lost", None, 422),
    ("GET", "/api/metadata?q=%00", None, 422),
    ("GET", "/api/metadata?min_confidence=1.5", None, 422),
    ("GET", "/api/metadata/export?format=xml", None, 422),
    ("PATCH", "/api/metadata/1", {}, 422),
    ("PATCH", "/api/metadata/1", None, 422),
    ("PATCH", "/api/metadata/1", {"changed_by": "eva"}, 422),
    ("PATCH", "/api/metadata/1", {"status": "processing"}, 422),
    ("PATCH", "/api/metadata/1", {"description": " "}, 422),
    ("PATCH", "/api/metadata/1", {"description": "a\0"}, 422),
    ("PATCH", "/api/metadata/1", {"description": "x" * 10_001}, 422),
    ("PATCH", "/api/metadata/1", {"tags": "a"}, 422),
    ("PATCH", "/api/metadata/1", {"tags": ["a"], "changed_by": ""}, 422),
    ("PATCH", "/api/metadata/1", {"caption": "a"}, 422),
    ("POST", "/api/metadata/approve", {}, 422),
    ("POST", "/api/metadata/approve", {"ids": []}, 422),
    ("POST", "/api/metadata/approve", {"q": " ", "album_key": ""}, 422),
    ("POST", "/api/metadata/approve", {"ids": ["1"]}, 422),
    ("POST", "/api/metadata/approve", {"ids": [1], "q": "a"}, 422),
    ("POST", "/api/metadata/approve", {"min_confidence": -0.1}, 422),
    ("POST", "/api/metadata/search", {}, 422),
    ("POST", "/api/metadata/search", {"text": ""}, 422),
    ("POST", "/api/metadata/search", {"text": " "}, 422),
    ("POST", "/api/metadata/search", {"text": "a", "limit": 0}, 422),
]

METADATA_COMMANDS: list[tuple[str, type[Any]]] = [
    ("meta list", schema.MetadataPage),
    ("meta list --status review --q goal --album abc --limit 1", schema.MetadataPage),
    ("meta show 1", schema.MetadataDetail),
    ("meta edit 1 --description Goal --tags a,b --categories c --by eva --reason wrong", schema.Metadata),
    ("meta send-back 1 --by eva --reason blurred", schema.MetadataPage),
    ("meta reject 1 2 --by eva --reason private", schema.MetadataPage),
    ("meta approve 1", schema.MetadataApproved),
    ("meta approve --all --q goal --yes", schema.MetadataApproved),
    ("meta search a goal", schema.FoundMetadataPage),
    ("meta export --format csv", dict[str, Any]),
]
"""Command lines of syncctl, and what each shows."""


def metadata(number: int, **given: Any) -> schema.Metadata:
    made = schema.Metadata(
        id=number, image_key=f"k{number}", filename=f"IMG_{number}.jpg", albums=["Cup; 2026"],
        album_keys=["abc"], status="review", description="A goal\x1b[2J", tags=["goal", "cup"],
        categories=["sport"], confidence=0.75, approved=False, approved_by=None, approved_at=None, version=1,
        error=None, attempts=1,
    )  # fmt: skip
    return msgspec.structs.replace(made, **given)


class MemoryMetadata:
    def __init__(self) -> None:
        self.rows = {number: metadata(number) for number in (1, 2)}
        self.history: dict[int, list[schema.MetadataChange]] = {}
        self.asked: list[Any] = []
        self.breaks_off = False

    def _row(self, metadata_id: int) -> schema.Metadata:
        if metadata_id not in self.rows:
            raise NotFound(f"there is no metadata {metadata_id}", hint="`syncctl meta list` shows them")
        return self.rows[metadata_id]

    async def listed(
        self,
        status: str | None,
        q: str | None,
        album_key: str | None,
        min_confidence: float | None,
        limit: int,
        cursor: str | None,
    ) -> schema.MetadataPage:
        self.asked.append((status, q, album_key, min_confidence))
        if not (cursor or "0").isdecimal():
            raise Invalid("cursor: expected the next_cursor of another page")
        found = [
            row for row in self.rows.values() if status in (None, row.status) and row.id > int(cursor or 0)
        ]
        following = str(found[limit - 1].id) if len(found) > limit else None
        return schema.MetadataPage(items=found[:limit], next_cursor=following)

    async def get(self, metadata_id: int) -> schema.MetadataDetail:
        row = self._row(metadata_id)
        return schema.MetadataDetail(
            **msgspec.structs.asdict(row), history=self.history.get(metadata_id, [])[::-1]
        )

    async def edit(self, metadata_id: int, patch: schema.MetadataPatch) -> schema.Metadata:
        old = self._row(metadata_id)
        wanted = msgspec.structs.asdict(patch)
        given = {
            name: wanted[name]
            for name in ("description", "tags", "categories", "status")
            if wanted[name] is not None
        }
        new = msgspec.structs.replace(old, **given, version=old.version + 1)
        self.rows[metadata_id] = new
        change = schema.MetadataChange(
            version=new.version, changed_at=AT, changed_by=patch.changed_by, change_reason=patch.reason,
            previous_description=old.description, new_description=new.description, previous_tags=old.tags,
            new_tags=new.tags, previous_categories=old.categories, new_categories=new.categories,
            previous_status=old.status, new_status=new.status,
        )  # fmt: skip
        self.history.setdefault(metadata_id, []).append(change)
        return new

    async def approve(self, request: schema.MetadataApproval) -> schema.MetadataApproved:
        self.asked.append(request)
        ids = request.ids if request.ids is not None else list(self.rows)
        skipped = [
            schema.NotApproved(id=i, reason="pending") for i in ids if self._row(i).status == "pending"
        ]
        for i in ids:
            self.rows[i] = msgspec.structs.replace(
                self._row(i),
                status="approved",
                approved=True,
                approved_by=request.approved_by,
                approved_at=AT,
            )
        return schema.MetadataApproved(approved=len(ids) - len(skipped), skipped=skipped)

    async def search(self, query: schema.MetadataQuery) -> schema.FoundMetadataPage:
        self.asked.append(query)
        if query.text == "no model":
            raise Refused("no embedding model is set", hint="set embedding_model in [ai] of syncd.toml")
        found = [
            schema.FoundMetadata(**msgspec.structs.asdict(row), distance=0.25 * row.id)
            for row in self.rows.values()
        ]
        return schema.FoundMetadataPage(items=found[: query.limit])

    async def export(
        self,
        format: str,
        status: str | None,
        q: str | None,
        album_key: str | None,
        min_confidence: float | None,
    ) -> AsyncIterator[bytes]:
        self.asked.append((format, status, q, album_key, min_confidence))

        async def pages() -> AsyncIterator[Sequence[schema.Metadata]]:
            yield list(self.rows.values())[:1]
            if self.breaks_off:
                raise Transient("the disk is gone")
            yield list(self.rows.values())[1:]

        async for piece in encoded(pages(), format):
            yield piece
