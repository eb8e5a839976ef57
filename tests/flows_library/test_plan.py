"""The pure parts: which albums are read, what may be taken out, and which scene shows the same picture."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.catalogue.library import Departure, KnownAlbum
from syncd.flows.library_plan import fields_of, memo_of, plan_albums, plan_removals, plan_sweep
from syncd.flows.library_scenes import nearest_scenes
from syncd.model import Action
from syncd.remotes.smugmug_items import AlbumInfo, ImageInfo
from syncd.text import rfc3339

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALBUM = AlbumInfo(
    "key", "Cup", image_count=10, last_updated="2026-06-01T12:00:00+00:00",
    images_updated="2026-06-01T13:00:00+00:00",
)  # fmt: skip
KNOWN = KnownAlbum("key", "Cup", memo_of(ALBUM), "2026-11-21T09:00:00.000Z", "x", 10, 10, False, None)


def read(album: AlbumInfo, known: KnownAlbum | None, full_since: str | None = None) -> bool:
    given = {} if known is None else {known.album_key: known}
    return plan_albums([album], given, full_since=full_since).read == ("key",)


def test_an_album_is_read_when_something_may_have_changed() -> None:
    assert read(ALBUM, None)
    assert not read(ALBUM, KNOWN)
    assert not read(replace(ALBUM, name="Another name"), KNOWN), "its stamp would have moved"
    for change in (
        {"image_count": 11},
        {"last_updated": "2026-06-01T12:00:01+00:00"},
        {"images_updated": "2026-06-01T13:00:01+00:00"},
    ):
        assert read(replace(ALBUM, **change), KNOWN)
    assert read(ALBUM, KNOWN._replace(is_restless=True))
    assert read(ALBUM, KNOWN._replace(last_error="SmugMug says 500"))
    assert read(ALBUM, KNOWN._replace(read_began_at=None))
    assert read(ALBUM, KNOWN, "2026-11-21T09:00:00.001Z")
    assert not read(ALBUM, KNOWN, "2026-11-21T09:00:00.000Z")


@pytest.mark.parametrize(("after_s", "again"), [(-5, True), (0, True), (59, True), (61, False)])
def test_a_stamp_is_believed_a_minute_later(after_s: int, again: bool) -> None:
    began = datetime(2026, 6, 1, 13, tzinfo=UTC) + timedelta(seconds=after_s)
    assert read(ALBUM, KNOWN._replace(read_began_at=rfc3339(began))) is again


def test_gone_and_locked() -> None:
    other = KNOWN._replace(album_key="other")
    locked = replace(ALBUM, response_level="Password")
    assert plan_albums([locked], {"key": KNOWN, "other": other}).locked == ("key",)
    assert plan_albums([locked], {}).read == ()
    assert plan_albums([ALBUM], {"key": KNOWN, "other": other}).gone == ("other",)
    assert plan_albums([ALBUM], {"other": other}, complete=False).gone == ()


def test_removals_wait_when_they_are_many() -> None:
    lost = [Departure("key", f"i{n}", f"{n}.jpg", False) for n in range(50)]
    moved = [Departure("key", f"m{n}", f"{n}.jpg", True) for n in range(500)]

    def judge(
        leaving: list[Departure], gone: dict[str, str], approved: frozenset[Action] = frozenset()
    ) -> bool:
        limits = {"max_delete": 50, "max_delete_percent": 5}
        return bool(plan_removals(leaving, gone, 1000, approved=approved, **limits).held)

    assert not judge([*lost, *moved], {})
    assert not judge([*lost, *lost], {}), "one photo in two albums is one photo"
    assert judge(lost, {"key": "Cup"})
    assert judge([], {str(number): "Cup" for number in range(51)}), "albums count too"
    every = frozenset(plan_removals(lost, {"key": "Cup"}, 0, max_delete=0, max_delete_percent=0,
                                    approved=frozenset()).actions)  # fmt: skip
    assert not judge(lost, {"key": "Cup"}, every)


def test_the_sweep_pays_for_its_pages() -> None:
    old = rfc3339(NOW - timedelta(hours=13))
    known = {
        str(number): KNOWN._replace(album_key=str(number), read_began_at=old, image_count=100, photos=100)
        for number in range(12)
    }
    assert plan_sweep(known, NOW, None, 50) == ([], NOW)
    chosen, until = plan_sweep(known, NOW, NOW - timedelta(hours=3.1), 50)
    assert chosen == ["0", "1", "10"]
    assert until == NOW - timedelta(minutes=6)
    assert plan_sweep(known, NOW, until, 50) == ([], until), "what was not spent is kept"
    assert len(plan_sweep(known, NOW, NOW - timedelta(days=9), 50)[0]) == 12
    fresh = {key: album._replace(read_began_at=rfc3339(NOW)) for key, album in known.items()}
    assert plan_sweep(fresh, NOW, NOW - timedelta(days=9), 50) == ([], NOW)


def test_what_can_be_described() -> None:
    def may(**more: Any) -> tuple[bool, bool]:
        fields = fields_of(replace(ImageInfo("key"), **more))
        assert fields.filename == "key"
        return fields.can_be_described, fields.is_processing

    assert may() == (True, False)
    assert may(is_video=True) == (False, False)
    assert may(is_processing=True) == (False, True)
    assert may(is_processing=True, is_broken=True) == (False, False)


async def test_nearest_scenes() -> None:
    scenes = [("a", "0000000000000000"), ("b", "00000000000000ff"), ("c", "00000000000000ff")]
    hashes = ["0000000000000001", "00000000000000fe", "ffffffffffffffff", None, "000000000000000f"]
    assert await nearest_scenes(hashes, scenes) == ["a", "b", None, None, "a"]
    assert await nearest_scenes(hashes, scenes, 3) == ["a", "b", None, None, None]
    # Somebody has been there with SQL.
    assert await nearest_scenes(["zzzz", "0" * 16], [("x", ""), *scenes]) == [None, "a"]
    assert await nearest_scenes(["0" * 16], [("x", "no hash")]) == [None]
    assert await nearest_scenes(hashes, []) == [None] * 5
    assert await nearest_scenes([], scenes) == []
