"""The daemon's answers about descriptions: reading, review and finding."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict

import aiosqlite
import msgspec

from syncd.catalogue import descriptions
from syncd.catalogue import metadata as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.metadata import DESCRIBE, Edit, Filter, MetadataRow
from syncd.config import Config
from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.control.metadata_files import encoded
from syncd.flows.describe_service import DescribeService, Emit
from syncd.flows.meaning import Meaning

_HINT = "`syncctl meta list` shows them"
_PAGE = 1000
_KEPT_QUERIES = 64
_REASONS = {
    "pending": "not described yet",
    "processing": "being described",
    "failed": "could not be described",
}


class MetadataAnswers:
    """Implements `MetadataApi` of control/api.py. `on_approved` is called when there may be more, or less,
    that others may see."""

    def __init__(
        self,
        catalogue: Catalogue,
        service: DescribeService,
        config: Callable[[], Config],
        emit: Emit,
        on_approved: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._service = service
        self._config = config
        self._emit = emit
        self._on_approved = on_approved
        self._meaning = Meaning(catalogue)
        self._vectors: dict[tuple[str, str], bytes] = {}

    # --- reading ------------------------------------------------------------------------------------

    async def listed(
        self,
        status: str | None,
        q: str | None,
        album_key: str | None,
        min_confidence: float | None,
        limit: int,
        cursor: str | None,
    ) -> schema.MetadataPage:
        after = _number(cursor)
        chosen = Filter(status, q, album_key, min_confidence)
        async with self._catalogue.reader() as db:
            rows, last = await queries.page(db, chosen, limit=limit, after=after)
        return schema.MetadataPage(
            items=[_item(row) for row in rows], next_cursor=None if last is None else str(last)
        )

    async def get(self, metadata_id: int) -> schema.MetadataDetail:
        async with self._catalogue.reader() as db:
            rows = await queries.by_ids(db, [metadata_id])
            changes = await queries.history(db, metadata_id)
        if not rows:
            raise _unknown(metadata_id)
        history = [msgspec.convert(change, schema.MetadataChange, from_attributes=True) for change in changes]
        return schema.MetadataDetail(**asdict(rows[0]), history=history)

    async def export(
        self,
        format: str,
        status: str | None,
        q: str | None,
        album_key: str | None,
        min_confidence: float | None,
    ) -> AsyncIterator[bytes]:
        chosen = Filter(status, q, album_key, min_confidence)

        async def pages() -> AsyncIterator[Sequence[schema.Metadata]]:
            # A page at a time: a slow client holds neither memory nor a state of the catalogue.
            after: int | None = 0
            while after is not None:
                async with self._catalogue.reader() as db:
                    rows, after = await queries.page(db, chosen, limit=_PAGE, after=after)
                yield [_item(row) for row in rows]

        async for piece in encoded(pages(), format):
            yield piece

    # --- review -------------------------------------------------------------------------------------

    async def edit(self, metadata_id: int, patch: schema.MetadataPatch) -> schema.Metadata:
        change = Edit(
            None if patch.description is None else patch.description.strip(),
            _words(patch.tags),
            _words(patch.categories),
            patch.status,
            patch.changed_by,
            patch.reason,
        )
        row = await self._catalogue.write(lambda db: queries.edit(db, metadata_id, change))
        if row is None:
            raise _unknown(metadata_id)
        self._service.wake(edited=metadata_id)
        await self._tell_others()
        words = f"{row.filename}: {row.status}, version {row.version}, by {patch.changed_by}"
        self._emit("edited", self._service.name, str(metadata_id), words, {"reason": patch.reason})
        return _item(row)

    async def approve(self, request: schema.MetadataApproval) -> schema.MetadataApproved:
        by = request.approved_by
        skipped: list[queries.Unapproved] = []
        if request.ids is not None:
            ids = request.ids
            approved, skipped = await self._catalogue.write(lambda db: queries.approve(db, ids, by))
        else:
            album_key = request.album_key or None
            chosen = Filter(request.status, request.q, album_key, request.min_confidence)
            approved = await self._catalogue.write(lambda db: queries.approve_matching(db, chosen, by))
        for missing in skipped:
            if missing.status is None:
                raise _unknown(missing.id)
        if approved:
            await self._tell_others()
            words = f"{approved:,} descriptions approved by {by}" if approved != 1 else f"approved by {by}"
            self._emit("approved", self._service.name, "", words, {"count": approved})
        return schema.MetadataApproved(
            approved=approved,
            skipped=[schema.NotApproved(id=one.id, reason=_REASONS[str(one.status)]) for one in skipped],
        )

    async def _tell_others(self) -> None:
        if self._on_approved is not None:
            await self._on_approved()

    # --- finding ------------------------------------------------------------------------------------

    async def search(self, query: schema.MetadataQuery) -> schema.FoundMetadataPage:
        model = self._config().ai.embedding_model
        vector = await self._vector(model, query.text.strip())
        wanted = query.limit
        while True:
            near = await self._meaning.nearest(vector, model, wanted)
            async with self._catalogue.reader() as db:
                rows = await queries.by_ids(db, [one.id for one in near])
            # Photos that were removed keep their vectors.
            if len(rows) >= query.limit or len(near) < wanted:
                break
            wanted *= 2
        distances = {one.id: one.distance for one in near}
        return schema.FoundMetadataPage(
            items=[
                schema.FoundMetadata(**asdict(row), distance=distances[row.id]) for row in rows[: query.limit]
            ]
        )

    async def _vector(self, model: str, text: str) -> bytes:
        """Of the text; the last ones are kept, since the same is often asked again."""
        found = self._vectors.pop((model, text), None)
        if found is None:
            found = await self._service.embed(text)
        self._vectors[model, text] = found
        if len(self._vectors) > _KEPT_QUERIES:
            self._vectors.pop(next(iter(self._vectors)))
        return found

    # --- for the status and the jobs ------------------------------------------------------------------

    async def queue(self, db: aiosqlite.Connection) -> schema.QueueStatus:
        """Photos that are to be described; none wait where no model is set."""
        counts = await descriptions.counts(db)
        return schema.QueueStatus(
            waiting=counts.get("pending", 0) if self._service.is_configured else 0,
            running=counts.get("processing", 0),
            failed=counts.get("failed", 0),
        )

    async def is_idle(self, db: aiosqlite.Connection) -> bool:
        """There is nothing to do now."""
        return await self._service.is_idle(db)

    def retried(self, kind: str) -> None:
        """Somebody wants jobs of this kind done again."""
        if kind == DESCRIBE:
            self._service.wake(again=True)


def _item(row: MetadataRow) -> schema.Metadata:
    return msgspec.convert(row, schema.Metadata, from_attributes=True)


def _words(words: list[str] | None) -> list[str] | None:
    """Each once, whatever its case, without blanks around."""
    if words is None:
        return None
    kept: dict[str, str] = {}
    for word in words:
        text = " ".join(word.split())
        if text:
            kept.setdefault(text.casefold(), text)
    return list(kept.values())


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise Invalid(
            f"{cursor[:40]!r} is no cursor of this list", hint="pass next_cursor of the page before"
        )
    return int(cursor)


def _unknown(metadata_id: int) -> NotFound:
    return NotFound(f"there is no metadata {metadata_id}", hint=_HINT)
