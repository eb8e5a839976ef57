"""Pictures of theirs that look like one of ours: the same picture in another encoding or size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_DISTANCE = 3
"""Bits of 64. Hashes this near agree in one of four parts of 16 bits, so only such pairs are compared."""

_PARTS = 4
_AT_ONCE = 20_000
_LIKE_IT = 200
"""Of hashes that share a part (blank frames share them all) so many are compared."""


class Near(NamedTuple):
    """`number` of theirs looks like the image `image_id` here; `distance` is in bits."""

    number: int
    image_id: int
    distance: int


def find_near(
    theirs: Iterable[tuple[int, str]], ours: Iterable[tuple[int, str]], max_distance: int = MAX_DISTANCE
) -> Iterator[Near]:
    """For each of theirs that is near one of ours, the nearest; both are (number or id, 16 hex digits).
    Memory: some 40 bytes for each of ours."""
    import numpy as np

    ids, hashes = _arrays(ours)
    if not len(ids):
        return
    orders = [np.argsort(_part(hashes, part), kind="stable").astype(np.uint32) for part in range(_PARTS)]
    keys = [_part(hashes, part)[order] for part, order in enumerate(orders)]
    batch: list[tuple[int, str]] = []
    for one in theirs:
        batch.append(one)
        if len(batch) == _AT_ONCE:
            yield from _nearest(batch, ids, hashes, orders, keys, max_distance)
            batch = []
    yield from _nearest(batch, ids, hashes, orders, keys, max_distance)


def _nearest(
    batch: list[tuple[int, str]], ids: Any, hashes: Any, orders: list[Any], keys: list[Any], limit: int
) -> Iterator[Near]:
    import numpy as np

    numbers, wanted = _arrays(batch)
    best = np.full(len(wanted), limit + 1, np.int64)
    where = np.zeros(len(wanted), np.int64)
    for part in range(_PARTS):
        own = _part(wanted, part)
        low = np.searchsorted(keys[part], own, "left")
        count = np.minimum(np.searchsorted(keys[part], own, "right") - low, _LIKE_IT)
        rows = np.repeat(np.arange(len(wanted)), count)
        if not len(rows):
            continue
        offsets = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        candidates = orders[part][np.repeat(low, count) + offsets]
        distances = np.bitwise_count(wanted[rows] ^ hashes[candidates]).astype(np.int64)
        order = np.lexsort((candidates, distances, rows))
        first = order[np.unique(rows[order], return_index=True)[1]]
        better = distances[first] < best[rows[first]]
        best[rows[first][better]] = distances[first][better]
        where[rows[first][better]] = candidates[first][better]
    for row in np.flatnonzero(best <= limit):
        yield Near(int(numbers[row]), int(ids[where[row]]), int(best[row]))


def _arrays(found: Iterable[tuple[int, str]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Numbers and hashes; what is no hash is left out."""
    import numpy as np

    numbers, hashes = [], []
    for number, text in found:
        try:
            value = int(text, 16)
        except ValueError:
            continue
        if 0 <= value < 1 << 64:
            numbers.append(number)
            hashes.append(value)
    return np.array(numbers, np.int64), np.array(hashes, np.uint64)


def _part(hashes: Any, part: int) -> Any:
    import numpy as np

    return ((hashes >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.uint16)
