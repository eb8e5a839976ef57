"""Near-duplicates by perceptual hash."""

from __future__ import annotations

from collections.abc import Iterable

from syncd.catalogue.browse import HashRow


def nearest(
    hashes: Iterable[HashRow], wanted: str, max_distance: int, limit: int, leave_out: str | None
) -> list[tuple[int, HashRow]]:
    """The nearest of `hashes` with their Hamming distances in bits, at most `max_distance`; ties by scene.

    `wanted` is 16 hex digits; `leave_out` is the scene that was asked about."""
    bits = int(wanted, 16)
    found = []
    for row in hashes:
        distance = (int(row.perceptual_hash, 16) ^ bits).bit_count()
        if distance <= max_distance and row.scene_id != leave_out:
            found.append((distance, row))
    found.sort(key=lambda pair: (pair[0], pair[1].scene_id))
    return found[:limit]
