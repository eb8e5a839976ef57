"""Exact nearest neighbours among the faces of one event, in memory.

Encodings lie in one float32 matrix; a search is a matrix product for each query face and block, which is
limited by the memory it reads: below 1 ms for 30,000 faces, 0.4 s for a million (on a busy machine of 2
cores). A row takes 528 bytes, and up to a quarter more while the index grows. For one thread at a time; numpy
is loaded on first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DIMENSIONS = 128
_BLOCK_ROWS = 32_768
# How far float32 sums of 128 products may be off, relative to the squared lengths; what is near enough to the
# limit by them is computed again in float64.
_ROUNDING = 1e-5


class IndexedFace(NamedTuple):
    """A row of the index. `face_id` is the caller's; `encoding` is 128 little-endian float32."""

    face_id: int
    photo_id: str
    encoding: bytes


class Match(NamedTuple):
    """The nearest face of one photo; `distance` is Euclidean, to the nearest of the query's faces."""

    photo_id: str
    face_id: int
    distance: float


class FaceIndex:
    """The faces of one event. Photos are added whole: adding one again replaces its faces."""

    def __init__(self, rows: Iterable[IndexedFace] = ()) -> None:
        import numpy as np

        self._count = 0
        self._encodings: npt.NDArray[np.float32] = np.empty((0, DIMENSIONS), np.float32)
        self._norms: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._face_ids: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._photos: npt.NDArray[np.int32] = np.empty(0, np.int32)  # number of the photo of each row
        self._photo_ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._append(list(rows))

    def __len__(self) -> int:
        """Faces."""
        return self._count

    @property
    def size_bytes(self) -> int:
        """Memory of the matrix and its columns."""
        arrays = (self._encodings, self._norms, self._face_ids, self._photos)
        return sum(array.nbytes for array in arrays)

    def add(self, photo_id: str, faces: Iterable[tuple[int, bytes]]) -> None:
        """The faces (`face_id`, `encoding`) of a photo, in place of those it had."""
        self.remove(photo_id)
        self._append([IndexedFace(face_id, photo_id, encoding) for face_id, encoding in faces])

    def remove(self, photo_id: str) -> int:
        """Forget the photo; how many faces it had."""
        number = self._numbers.get(photo_id)
        if number is None:
            return 0
        return self._keep(self._photos[: self._count] != number)

    def remove_faces(self, face_ids: Iterable[int]) -> int:
        """Forget single faces (a forgotten person's); how many there were."""
        import numpy as np

        unwanted = np.fromiter(face_ids, np.int64)
        return self._keep(~np.isin(self._face_ids[: self._count], unwanted))

    def search(self, encodings: Sequence[bytes], tolerance: float, limit: int | None = None) -> list[Match]:
        """For each photo with a face within `tolerance` of any of `encodings` its nearest one; nearest
        first, ties by `photo_id`, at most `limit`."""
        import numpy as np

        if not encodings or not self._count:
            return []
        rows, distances = self._within(_matrix(encodings), tolerance, limit)
        order = np.lexsort((self._face_ids[rows], distances))
        photos = self._photos[rows[order]]
        _, first = np.unique(photos, return_index=True)
        best = order[first]
        if limit is not None and limit < best.size:
            furthest = np.partition(distances[best], limit)[limit] if limit else -1.0
            best = best[distances[best] <= furthest]
        matches = [
            Match(self._photo_ids[self._photos[rows[i]]], int(self._face_ids[rows[i]]), float(distances[i]))
            for i in best
        ]
        matches.sort(key=lambda match: (match.distance, match.photo_id))
        return matches if limit is None else matches[:limit]

    def faces_within(self, encodings: Sequence[bytes], tolerance: float) -> list[int]:
        """The `face_id` of every face within `tolerance` of any of `encodings`."""
        if not encodings or not self._count:
            return []
        rows, _ = self._within(_matrix(encodings), tolerance)
        return [int(face_id) for face_id in self._face_ids[rows]]

    def _within(
        self, queries: npt.NDArray[np.float32], tolerance: float, limit: int | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Rows whose smallest distance to the queries is within `tolerance`, and that distance; with a limit
        at least those of so many nearest photos."""
        import numpy as np

        query_norms = np.einsum("ij,ij->i", queries, queries)
        longest = float(query_norms.max()) + float(self._norms[: self._count].max())
        slack = _ROUNDING * longest
        bound = tolerance * tolerance + slack
        parts, found = [], []
        for start in range(0, self._count, _BLOCK_ROWS):
            block = self._encodings[start : min(start + _BLOCK_ROWS, self._count)]
            products = block @ queries.T
            squares = (query_norms - 2 * products).min(axis=1) + self._norms[start : start + len(block)]
            near = np.flatnonzero(squares <= bound)
            parts.append(near + start)
            found.append(squares[near])
        rows = np.concatenate(parts)
        if limit and rows.size > limit:
            rows = self._nearest(rows, np.concatenate(found), limit, slack)
        distances = np.full(rows.size, np.inf)
        candidates = self._encodings[rows].astype(np.float64)
        for query in queries.astype(np.float64):
            differences = candidates - query
            np.minimum(distances, np.sqrt(np.einsum("ij,ij->i", differences, differences)), out=distances)
        inside = distances <= tolerance
        return rows[inside], distances[inside]

    def _nearest(
        self, rows: npt.NDArray[np.int64], squares: npt.NDArray[np.float32], limit: int, slack: float
    ) -> npt.NDArray[np.int64]:
        """Those of the rows that may be among the `limit` nearest photos, `squares` being off by `slack`."""
        import numpy as np

        order = np.argsort(squares)
        _, best = np.unique(self._photos[rows[order]], return_index=True)
        if best.size <= limit:
            return rows
        furthest = squares[order[np.partition(best, limit - 1)[limit - 1]]]
        kept: npt.NDArray[np.int64] = rows[squares <= furthest + 2 * slack]
        return kept

    def _append(self, rows: list[IndexedFace]) -> None:
        import numpy as np

        if not rows:
            return
        end = self._count + len(rows)
        if end > len(self._encodings):
            self._resize(max(end, len(self._encodings) * 5 // 4) if self._count else end)
        new = slice(self._count, end)
        encodings = _matrix([row.encoding for row in rows])
        self._encodings[new] = encodings
        self._norms[new] = np.einsum("ij,ij->i", encodings, encodings)
        self._face_ids[new] = [row.face_id for row in rows]
        self._photos[new] = [self._number(row.photo_id) for row in rows]
        self._count = end

    def _number(self, photo_id: str) -> int:
        number = self._numbers.setdefault(photo_id, len(self._photo_ids))
        if number == len(self._photo_ids):
            self._photo_ids.append(photo_id)
        return number

    def _resize(self, rows: int) -> None:
        import numpy as np

        def resized(array: Any) -> Any:
            larger = np.empty((rows, *array.shape[1:]), array.dtype)
            larger[: self._count] = array[: self._count]
            return larger

        self._encodings, self._norms = resized(self._encodings), resized(self._norms)
        self._face_ids, self._photos = resized(self._face_ids), resized(self._photos)

    def _keep(self, wanted: npt.NDArray[np.bool_]) -> int:
        """Drop the other rows: the last ones move into their places. How many there were."""
        import numpy as np

        holes = np.flatnonzero(~wanted)
        kept = self._count - holes.size
        holes = holes[holes < kept]
        movers = kept + np.flatnonzero(wanted[kept:])
        for array in (self._encodings, self._norms, self._face_ids, self._photos):
            array[holes] = array[movers]
        removed, self._count = self._count - kept, kept
        return removed


def matches_tombstone(encoding: bytes, tombstones: Sequence[bytes], tolerance: float) -> bool:
    """Whether the face is of somebody who asked to be forgotten: within `tolerance` of a tombstone."""
    import numpy as np

    if not tombstones:
        return False
    differences = _matrix(tombstones).astype(np.float64) - np.frombuffer(encoding, "<f4")
    return bool((np.einsum("ij,ij->i", differences, differences) <= tolerance * tolerance).any())


def _matrix(encodings: Sequence[bytes]) -> npt.NDArray[np.float32]:
    import numpy as np

    return np.frombuffer(b"".join(encodings), "<f4").reshape(len(encodings), DIMENSIONS)
