"""Which local scenes show the same pictures as photos of the library."""

from __future__ import annotations

import re
from collections.abc import Sequence

import anyio.to_thread

SAME = 8
"""Bits of 64 in which the hashes of two copies of one picture may differ."""

_HASH = re.compile("[0-9a-fA-F]{16}")


async def nearest_scenes(
    hashes: Sequence[str | None], scenes: Sequence[tuple[str, str]], max_distance: int = SAME
) -> list[str | None]:
    """For each perceptual hash (16 hex digits) the nearest scene within `max_distance` bits, the first of
    those that are equally near; None where there is none. `scenes` are (scene id, hash)."""
    if not scenes or not any(hashes):
        return [None] * len(hashes)
    return await anyio.to_thread.run_sync(_nearest, hashes, scenes, max_distance)


def _nearest(
    hashes: Sequence[str | None], scenes: Sequence[tuple[str, str]], max_distance: int
) -> list[str | None]:
    import numpy as np

    # What a person has put there by hand may be no hash.
    scenes = [scene for scene in scenes if _HASH.fullmatch(scene[1])]
    known = np.array([int(text, 16) for _, text in scenes], np.uint64)
    found: list[str | None] = []
    for text in hashes:
        if text is None or not scenes or not _HASH.fullmatch(text):
            found.append(None)
            continue
        distances = np.bitwise_count(known ^ np.uint64(int(text, 16)))
        nearest = int(distances.argmin())  # the first of the smallest
        found.append(scenes[nearest][0] if distances[nearest] <= max_distance else None)
    return found
