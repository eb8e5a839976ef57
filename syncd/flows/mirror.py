"""Keeping a Postgres mirror like the catalogue: what is marked is told in batches, and now and then the whole
mirror is compared, for others may write to it too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import anyio.to_thread

from syncd.catalogue import mirror as queries
from syncd.catalogue import names as name_queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.mirror import AlbumName, Local, Mark, Pair
from syncd.config import GuardConfig
from syncd.errors import Refused
from syncd.flows.removal_guard import removal_limit
from syncd.sinks.postgres import Key, PostgresMirror, RemoteRow, Session
from syncd.sinks.postgres_errors import BadRow
from syncd.sinks.postgres_rows import MirrorRow
from syncd.sinks.postgres_schema import PHOTOS

_BATCH = 1_000
_BATCH_BYTES = 2_000_000
"""Of embeddings in a batch: as text they are three times as long."""
_TURNED_DOWN_MOST = 20
"""A table that takes none of so many rows is not tried with all others."""
_RETRY_S = 3600.0


class Told(NamedTuple):
    """What was done to the mirror. `left` are rows of photos that the library does not have, too many to
    remove unasked."""

    written: int = 0
    removed: int = 0
    filled: int = 0
    turned_down: int = 0
    left: int = 0

    def plus(self, other: Told) -> Told:
        return Told(*(one + two for one, two in zip(self, other, strict=True)))


class Comparison(NamedTuple):
    """What is amiss: (album id, photo id) to be told again, rows that no photo is behind, and how many of
    those are too many to remove unasked."""

    wanted: list[tuple[int, int]]
    stale: list[Key]
    left: int


def plan_comparison(
    local: Iterable[Local], remote: Iterable[RemoteRow], *, is_complete: bool, guard: GuardConfig
) -> Comparison:
    """Pure. `is_complete`: the library was read to its end once, so that what is not here is nowhere."""
    known = {row[:2]: row[2:] for row in local}
    missing = known.copy()
    wanted: dict[tuple[int, int], None] = {}
    stale: list[Key] = []
    ours = 0
    for album_key, image_key, digest, is_ours in remote:
        ours += is_ours
        key = (album_key, image_key)
        if key not in known:
            if is_ours:
                stale.append(Key(*key))
            continue
        missing.pop(key, None)
        album_id, photo_id, told = known[key]
        if told != digest:
            wanted[album_id, photo_id] = None
    wanted |= {(album_id, photo_id): None for album_id, photo_id, _ in missing.values()}
    if not is_complete:
        return Comparison(list(wanted), [], 0)
    if len(stale) > removal_limit(guard.max_delete, guard.max_delete_percent, ours):
        return Comparison(list(wanted), [], len(stale))
    return Comparison(list(wanted), stale, 0)


def row_of(pair: Pair) -> MirrorRow:
    """The mirror's row of a photo in an album."""
    return MirrorRow(
        pair.image_key, pair.album_key, pair.album_name, pair.image_url, pair.thumbnail_url, pair.sport,
        pair.date_taken, pair.filename, pair.title, pair.caption, pair.keywords, pair.description, pair.tags,
        pair.categories, pair.teams, pair.event, pair.confidence, pair.width, pair.height, pair.embedding,
    )  # fmt: skip


class Mirroring:
    """The work on one mirror. Every method raises what keeps the mirror from being reached or written."""

    def __init__(self, sink: PostgresMirror, catalogue: Catalogue) -> None:
        self._sink = sink
        self._catalogue = catalogue
        self._has_strays = True
        """There are rows without an album, as far as is known."""

    async def is_another(self) -> bool:
        """Whether this is not the database, or not the table, that was compared last."""
        async with self._catalogue.reader() as db:
            state = await queries.state(db)
        return state.identity != self._sink.identity

    async def fill(self) -> int:
        """Gives rows of others that have no album theirs: the one that their URL names, else the only one
        that holds their photo. How many."""
        async with self._sink.session() as session:
            filled = await session.fill_from_urls()
            if image_keys := await session.images_without_album():
                async with self._catalogue.reader() as db:
                    albums = await queries.only_albums(db, image_keys)
                keys = [Key(album_key, image_key) for image_key, album_key in albums.items()]
                filled += await session.fill_from_images(keys)
            if filled:
                await self._name_all(session)
        return filled

    async def tell(self) -> Told:
        """Tells the mirror all that is marked and due."""
        total = await self._tell_names()
        while (told := await self._tell_batch(total.turned_down)) is not None:
            total = total.plus(told)
        return total

    async def compare(self, guard: GuardConfig) -> Told:
        """Compares every row with what it should be, and marks what differs; rows of ours that no photo is
        behind are removed, and albums get their names."""
        remote: list[RemoteRow] = []
        async with self._sink.session() as session:
            async for chunk in session.rows():
                remote += chunk
            async with self._catalogue.reader() as db:
                local = await queries.local_rows(db)
                state = await queries.state(db)

            def plan() -> Comparison:
                return plan_comparison(local, remote, is_complete=state.last_sync is not None, guard=guard)

            found = await anyio.to_thread.run_sync(plan)
            removed = await session.remove(found.stale) if found.stale else 0
            written = await self._name_all(session)
            identity = self._sink.identity

        async def write(db: Any) -> None:
            await queries.mark(db, found.wanted)
            await queries.forget_unknown(db)
            await queries.compared(db, identity, state.last_sync)

        await self._catalogue.write(write)
        return Told(written, removed, left=found.left)

    # --- in batches ---------------------------------------------------------------------------------

    async def _tell_batch(self, turned_down: int) -> Told | None:
        """One batch, None when nothing is due."""
        batch: list[Pair] = []
        try:
            async with self._sink.session() as session:
                # Read while no rename is under way, so that no old name comes after a new one.
                async with self._catalogue.reader() as db:
                    batch += _portion(await queries.pairs(db, _BATCH))
                if not batch:
                    return None
                digests = await self._put(session, batch)
        except BadRow as error:
            return await self._tell_halves(batch, error, turned_down)
        return await self._note(batch, digests)

    async def _tell_halves(self, batch: Sequence[Pair], error: BadRow, turned_down: int) -> Told:
        """Finds the rows that Postgres does not take, and tells all others."""
        if turned_down >= _TURNED_DOWN_MOST:
            raise Refused(f"{PHOTOS} takes no rows: {error}", hint=error.hint)
        if len(batch) == 1:
            await self._turn_down([batch[0].mark], error)
            return Told(turned_down=1)
        total = Told()
        for part in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            try:
                async with self._sink.session() as session:
                    digests = await self._put(session, part)
            except BadRow as inner:
                told = await self._tell_halves(part, inner, turned_down + total.turned_down)
            else:
                told = await self._note(part, digests)
            total = total.plus(told)
        return total

    async def _put(self, session: Session, batch: Sequence[Pair]) -> dict[Key, int]:
        """Brings photos in that are there, and takes out those that are not; the digests of their rows."""
        digests: dict[Key, int] = {}
        if present := [pair for pair in batch if pair.is_present]:
            if self._has_strays:
                # A row that somebody else made of the same photo becomes the one of this album.
                alone = [Key(pair.album_key, pair.image_key) for pair in present if pair.albums == 1]
                await session.fill_from_images(alone)
            digests = await session.put([row_of(pair) for pair in present])
        if absent := [Key(pair.album_key, pair.image_key) for pair in batch if not pair.is_present]:
            await session.remove(absent)
        return digests

    async def _note(self, batch: Sequence[Pair], digests: dict[Key, int]) -> Told:
        rows = [
            (
                pair.mark.album_id,
                pair.mark.photo_id,
                digests.get(Key(pair.album_key, pair.image_key)) if pair.is_present else None,
            )
            for pair in batch
        ]
        await self._catalogue.write(lambda db: queries.told(db, [pair.mark for pair in batch], rows))
        written = sum(pair.is_present for pair in batch)
        return Told(written, len(batch) - written)

    async def _turn_down(self, marks: Sequence[Mark], error: BadRow) -> None:
        words = f"{error} ({error.hint})" if error.hint else str(error)
        await self._catalogue.write(lambda db: queries.turned_down(db, marks, words, _RETRY_S))

    # --- names --------------------------------------------------------------------------------------

    async def _tell_names(self) -> Told:
        """The marked names of albums; a rename that is under way comes before or after, never between."""
        albums: list[AlbumName] = []
        try:
            async with self._sink.session() as session:
                async with self._catalogue.reader() as db:
                    albums += await queries.album_names(db)
                self._has_strays = await session.has_strays()
                if not albums:
                    return Told()
                written = await session.name_albums({album.album_key: album.name for album in albums})
        except BadRow as error:
            await self._turn_down([album.mark for album in albums], error)
            return Told(turned_down=len(albums))
        await self._catalogue.write(lambda db: queries.told(db, [album.mark for album in albums], ()))
        return Told(written)

    async def _name_all(self, session: Session) -> int:
        async with self._catalogue.reader() as db:
            titles = await name_queries.titles(db)
        return await session.name_albums(titles)


def _portion(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """As many of the first as make a batch of decent size."""
    size_bytes = 0
    for number, pair in enumerate(pairs, 1):
        size_bytes += len(pair.embedding or b"")
        if size_bytes >= _BATCH_BYTES:
            return pairs[:number]
    return pairs
