"""The vectors in memory are those that were put, whatever came and went, and the nearest are the nearest."""

from __future__ import annotations

import math
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.flows.meaning import Vectors


def unit(angle: int) -> tuple[float, float]:
    return math.cos(math.radians(angle)), math.sin(math.radians(angle))


def packed(angle: int | None) -> bytes | None:
    return None if angle is None else struct.pack("<2f", *unit(angle))


CHANGES = st.lists(st.tuples(st.integers(1, 90), st.none() | st.integers(0, 359)), max_size=40)


@given(st.lists(CHANGES, max_size=8), st.integers(0, 359), st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_the_nearest_of_what_there_is(
    batches: list[list[tuple[int, int | None]]], at: int, limit: int
) -> None:
    vectors, model = Vectors(), dict[int, int]()
    for batch in batches:
        vectors.put([(number, packed(angle)) for number, angle in batch])
        for number, angle in batch:
            model.pop(number, None)
            if angle is not None:
                model[number] = angle
    assert len(vectors) == len(model)
    query = packed(at)
    assert query is not None
    found = vectors.nearest(query, limit)
    away = {number: 1 - math.cos(math.radians(angle - at)) for number, angle in model.items()}
    assert len(found) == min(limit, len(model))
    assert [near.distance for near in found] == sorted(near.distance for near in found)
    assert all(abs(near.distance - away[near.id]) < 1e-5 for near in found)
    if found and len(found) < len(model):
        others = [distance for number, distance in away.items() if number not in {near.id for near in found}]
        assert found[-1].distance <= min(others) + 1e-5


def test_vectors_of_another_length_are_left_out() -> None:
    vectors = Vectors()
    one = struct.pack("<2f", 1, 0)
    vectors.put([(1, one), (2, struct.pack("<3f", 1, 0, 0)), (3, one)])
    assert [near.id for near in vectors.nearest(one, 9)] == [1, 3]
    assert vectors.nearest(struct.pack("<3f", 1, 0, 0), 9) == []
    vectors.put([(1, struct.pack("<3f", 1, 0, 0)), (3, None)])  # all are gone: the next may be longer
    assert (len(vectors), vectors.nearest(one, 9)) == (0, [])
    vectors.put([(4, struct.pack("<3f", 0, 1, 0))])
    assert [near.distance for near in vectors.nearest(struct.pack("<3f", 0, 1, 0), 9)] == [0]
