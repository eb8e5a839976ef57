"""Finds the photos of a person in an event, and forgets a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import anyio
import anyio.to_thread

from syncd.catalogue import events, faces
from syncd.catalogue.database import Catalogue
from syncd.errors import Transient
from syncd.model import FacesFound

if TYPE_CHECKING:
    from syncd.imaging.index import FaceIndex

_TRIES = 20
_MOST_FACES = 1_000_000
"""Of all events together, in memory (0.9 GB); the event that is searched is there whole in any case."""


class Finder(Protocol):
    """Finds faces in a picture that somebody waits with; imaging/pool.py does."""

    async def find_faces_in(self, data: bytes, *, max_side: int = 1600, upsample: int = 1) -> FacesFound: ...


class FoundPhoto(NamedTuple):
    """A photo of the person: the nearest face in it, as (top, right, bottom, left), in pixels of the upright
    original of `width` x `height`."""

    photo_id: str
    photo_name: str
    distance: float
    box: tuple[int, int, int, int]
    key: str | None
    width: int | None
    height: int | None


@dataclass(slots=True)
class _Kept:
    """An event's faces in memory; `version` is that of the catalogue they were read from."""

    version: int
    index: FaceIndex
    ids: set[int]
    boxes: dict[int, tuple[int, int, int, int]]
    last_id: int


class EventFaces:
    """The faces of events, each event's in memory from its first search on."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kept: dict[str, _Kept] = {}
        self._turn = anyio.Lock()

    async def search(
        self, event_id: str, encodings: list[bytes], *, tolerance: float, limit: int, storage_id: str
    ) -> list[FoundPhoto]:
        """Photos with a face within `tolerance` of any of `encodings`, nearest first, one row a photo."""
        async with self._turn:
            kept = await self._current(event_id)
            matches = await anyio.to_thread.run_sync(kept.index.search, encodings, tolerance, limit)
            boxes = {match.face_id: kept.boxes[match.face_id] for match in matches}
        async with self._catalogue.reader() as db:
            facts = await events.photo_facts(db, event_id, [match.photo_id for match in matches], storage_id)
        return [
            FoundPhoto(
                match.photo_id, facts[match.photo_id][0], match.distance, boxes[match.face_id],
                *facts[match.photo_id][1:],
            )
            for match in matches
            if match.photo_id in facts
        ]  # fmt: skip

    async def forget(self, event_id: str, encodings: list[bytes], tolerance: float) -> int:
        """Removes these people's faces, and keeps them out of the event; returns how many were removed."""
        for _ in range(_TRIES):
            async with self._turn:
                kept = await self._current(event_id)
                near = await anyio.to_thread.run_sync(kept.index.faces_within, encodings, tolerance)
                version = kept.version
            done = await self._catalogue.write(
                lambda db, near=near, version=version: faces.forget(  # type: ignore[misc]
                    db, event_id, near, encodings, tolerance, of_version=version
                )
            )
            if done:
                return len(near)
        raise Transient("faces keep arriving", hint="try again in a moment")

    def drop(self, event_id: str) -> None:
        """The event is gone, and what is kept of it."""
        self._kept.pop(event_id, None)

    async def _current(self, event_id: str) -> _Kept:
        """What is kept, brought up to date: only what is new is read."""
        from syncd.imaging.index import FaceIndex

        async with self._catalogue.reader() as db:
            version = await faces.version(db, event_id) or 0
            kept = self._kept.get(event_id)
            if kept is not None and kept.version == version:
                self._keep(event_id, kept)
                return kept
            if kept is None:
                kept = _Kept(-1, FaceIndex(), set(), {}, 0)
            ids = await faces.id_rows(db, event_id)
            new = await faces.face_rows(db, event_id, after=kept.last_id)
        await anyio.to_thread.run_sync(_update, kept, ids, new)
        kept.version = version
        self._keep(event_id, kept)
        return kept

    def _keep(self, event_id: str, kept: _Kept) -> None:
        """The events last searched stay in memory, as long as there is room."""
        self._kept.pop(event_id, None)
        self._kept[event_id] = kept
        while len(self._kept) > 1 and sum(len(each.ids) for each in self._kept.values()) > _MOST_FACES:
            self._kept.pop(next(iter(self._kept)))


def _update(kept: _Kept, id_rows: list[Any], face_rows: list[Any]) -> None:
    """Runs in a thread: with many faces this is long."""
    ids, new = {row[0] for row in id_rows}, map(faces.stored_face, face_rows)
    gone = kept.ids - ids
    if gone:
        kept.index.remove_faces(gone)
        for face_id in gone:
            del kept.boxes[face_id]
    by_photo: dict[str, list[tuple[int, bytes]]] = {}
    for face in new:
        by_photo.setdefault(face.photo_id, []).append((face.face_id, face.encoding))
        kept.boxes[face.face_id] = face.box
        kept.last_id = face.face_id
    for photo_id, rows in by_photo.items():
        kept.index.add(photo_id, rows)
    kept.ids = ids
