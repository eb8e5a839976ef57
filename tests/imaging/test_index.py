"""The index of faces answers as a loop over all of them would."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import syncd.imaging.index as index_module
from syncd.imaging.index import FaceIndex, IndexedFace, Match, matches_tombstone

PEOPLE = 5


def face(person: int, variant: int, spread: float = 0.3) -> bytes:
    """An encoding like the network's: of length about 1.4, near to the same person's others."""
    person_at = np.random.default_rng(person).normal(size=128)
    away = np.random.default_rng(1000 + variant).normal(size=128)
    vector = person_at / np.linalg.norm(person_at) * 1.4 + away / np.linalg.norm(away) * spread
    return vector.astype("<f4").tobytes()


def distance(one: bytes, other: bytes) -> float:
    a, b = (np.frombuffer(encoding, "<f4").astype(np.float64) for encoding in (one, other))
    return float(np.linalg.norm(a - b))


def by_hand(rows: list[IndexedFace], queries: list[bytes], tolerance: float) -> list[tuple[str, float]]:
    nearest: dict[str, float] = {}
    for row in rows:
        for query in queries:
            found = distance(row.encoding, query)
            if found <= tolerance:
                nearest[row.photo_id] = min(found, nearest.get(row.photo_id, found))
    return sorted(nearest.items(), key=lambda item: (round(item[1], 9), item[0]))


faces = st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, 8))
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 12), st.lists(faces, max_size=4)),
        st.tuples(st.just("remove"), st.integers(0, 12), st.just([])),
        st.tuples(st.just("forget"), st.integers(0, 40), st.just([])),
    ),
    max_size=30,
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(index_module, "_BLOCK_ROWS", 7)
    yield


@settings(max_examples=150, deadline=None)
@given(
    operations,
    st.lists(faces, min_size=1, max_size=3),
    st.sampled_from([0.0, 0.2, 0.45, 0.6, 3.0]),
    st.one_of(st.none(), st.integers(0, 14)),
)
def test_it_answers_as_a_loop_would(
    operations: list[tuple[str, int, list[tuple[int, int]]]],
    queries: list[tuple[int, int]],
    tolerance: float,
    limit: int | None,
) -> None:
    index, model = FaceIndex(), dict[int, IndexedFace]()
    next_id = 0
    for what, number, people in operations:
        photo_id = f"photo-{number}"
        if what == "forget":
            index.remove_faces([number])
            model.pop(number, None)
            continue
        model = {face_id: row for face_id, row in model.items() if row.photo_id != photo_id}
        if what == "remove":
            index.remove(photo_id)
            continue
        rows = [IndexedFace(next_id + i, photo_id, face(*person)) for i, person in enumerate(people)]
        next_id += len(rows)
        index.add(photo_id, [(row.face_id, row.encoding) for row in rows])
        model.update({row.face_id: row for row in rows})
    wanted = [face(*person) for person in queries]
    expected = by_hand(list(model.values()), wanted, tolerance)
    for same in (index, FaceIndex(model.values())):
        assert len(same) == len(model)
        found = same.search(wanted, tolerance, limit)
        everything = same.search(wanted, tolerance)
        assert found == (everything if limit is None else everything[:limit])
        assert {match.photo_id: pytest.approx(match.distance) for match in everything} == dict(expected)
        assert [match.distance for match in everything] == sorted(match.distance for match in everything)
        for match in everything:
            assert model[match.face_id].photo_id == match.photo_id
            nearest = min(distance(model[match.face_id].encoding, query) for query in wanted)
            assert nearest == pytest.approx(match.distance)
        within = {
            i for i, row in model.items() if min(distance(row.encoding, q) for q in wanted) <= tolerance
        }
        assert set(same.faces_within(wanted, tolerance)) == within


def test_one_row_a_photo_nearest_first() -> None:
    near, far, other = face(1, 1, 0.1), face(1, 2, 0.4), face(2, 1)
    index = FaceIndex([IndexedFace(7, "b", far), IndexedFace(8, "b", near), IndexedFace(9, "a", far)])
    index.add("c", [(10, other)])
    matches = index.search([face(1, 1, 0.1)], 0.6)
    assert matches[0] == Match("b", 8, 0.0)
    assert [match.photo_id for match in matches] == ["b", "a"]
    assert [match.photo_id for match in index.search([near, other], 0.6)] == ["b", "c", "a"]
    assert [match.photo_id for match in index.search([near, other], 0.6, 1)] == ["b"]


def test_nothing_in_nothing_out() -> None:
    index = FaceIndex()
    assert (len(index), index.search([face(1, 1)], 2), index.remove("a")) == (0, [], 0)
    index.add("a", [(1, face(1, 1))])
    assert index.search([], 2) == []
    assert index.search([face(1, 1)], 2, 0) == []
    index.add("a", [])
    assert len(index) == 0


def test_a_tombstone_is_met_by_the_same_person_only() -> None:
    tombstones = [face(1, 0), face(3, 0)]
    assert matches_tombstone(face(1, 5), tombstones, 0.6)
    assert matches_tombstone(face(3, 5), tombstones, 0.6)
    assert not matches_tombstone(face(2, 5), tombstones, 0.6)
    assert not matches_tombstone(face(1, 5), [], 0.6)


def test_it_grows_without_wasting_memory() -> None:
    index = FaceIndex()
    for photo in range(500):
        index.add(f"photo-{photo}", [(photo, face(photo % PEOPLE, photo))])
    assert len(index) == 500
    assert index.size_bytes <= 500 * 1.3 * 528
