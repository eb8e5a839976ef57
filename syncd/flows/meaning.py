"""Descriptions by meaning: every vector in memory, and exact cosine distances to all of them.

One float32 matrix; a search is one product of a matrix and a vector, which is limited by the memory that it
reads: 4 bytes a dimension and photo, some 10 ms for 50,000 photos with 768 numbers each. What changed in the
catalogue is read again before each search, and only that. numpy is loaded on first use, in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.to_thread

from syncd.catalogue import metadata as queries
from syncd.catalogue.database import Catalogue

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_FLOAT_BYTES = 4


class Near(NamedTuple):
    """A photo's metadata, and how far its description is: 0 the same, 1 unrelated, 2 the opposite."""

    id: int
    distance: float


class Vectors:
    """Unit vectors of one length by id. For one thread at a time."""

    def __init__(self) -> None:
        self._matrix: npt.NDArray[np.float32] | None = None
        self._ids: list[int] = []
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def put(self, changed: list[tuple[int, bytes | None]]) -> None:
        """Takes these as they are now; None removes one. Vectors of another length than the first are left
        out: nothing can be compared with them."""
        for number, vector in changed:
            if vector is None:
                self._remove(number)
            else:
                self._set(number, vector)

    def nearest(self, vector: bytes, limit: int) -> list[Near]:
        """The nearest ones, nearest first, ties by id; none for a vector of another length."""
        import numpy as np

        if self._matrix is None or len(vector) != self._matrix.shape[1] * _FLOAT_BYTES or not self._ids:
            return []
        # Not `@`: that is BLAS, whose threads wait for each other where the machine has other work.
        closeness = np.einsum("ij,j->i", self._matrix[: len(self)], np.frombuffer(vector, "<f4"))
        count = min(limit, len(self))
        best = np.argpartition(-closeness, count - 1)[:count]
        found = [
            Near(self._ids[row], round(min(2.0, max(0.0, 1.0 - float(closeness[row]))), 6)) for row in best
        ]
        return sorted(found, key=lambda near: (near.distance, near.id))

    def _set(self, number: int, vector: bytes) -> None:
        import numpy as np

        if self._matrix is None:
            self._matrix = np.empty((64, len(vector) // _FLOAT_BYTES), np.float32)
        if len(vector) != self._matrix.shape[1] * _FLOAT_BYTES:
            self._remove(number)
            return
        row = self._rows.get(number)
        if row is None:
            row = len(self._ids)
            if row == len(self._matrix):
                grown = np.empty((row + row // 2, self._matrix.shape[1]), np.float32)
                grown[:row] = self._matrix
                self._matrix = grown
            self._ids.append(number)
            self._rows[number] = row
        self._matrix[row] = np.frombuffer(vector, "<f4")

    def _remove(self, number: int) -> None:
        """The last row takes the place of the one that goes."""
        row = self._rows.pop(number, None)
        last = len(self._ids) - 1
        if row is None or self._matrix is None:
            return
        moved = self._ids.pop()
        if row != last:
            self._matrix[row] = self._matrix[last]
            self._ids[row] = moved
            self._rows[moved] = row
        if not self._ids:
            self._matrix = None  # the next model may give other lengths


class Meaning:
    """The vectors of the catalogue, and what is near to one."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._turn = anyio.Lock()
        self._forget("")

    def _forget(self, model: str) -> None:
        self._model, self._seq, self._vectors = model, 0, Vectors()

    async def nearest(self, vector: bytes, model: str, limit: int) -> list[Near]:
        """The descriptions nearest to a vector that `model` made, nearest first."""
        async with self._turn:
            if model != self._model:
                self._forget(model)
            await self._refresh()
            return await anyio.to_thread.run_sync(self._vectors.nearest, vector, limit)

    async def _refresh(self) -> None:
        while True:
            async with self._catalogue.reader() as db:
                seq, changed = await queries.vectors_after(db, self._seq, self._model)
            if not changed:
                return
            await anyio.to_thread.run_sync(self._vectors.put, changed)
            self._seq = seq
