"""Plans of names: what is done with each album, and why."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from syncd.flows.names_plan import AlbumFacts, plan_names
from syncd.flows.names_rules import Hint, Seen

TODAY = date(2026, 11, 21)


def album(key: str, name: str, **known: Any) -> AlbumFacts:
    return AlbumFacts(
        **{"album_key": key, "name": name, "photo_count": 3, "days": {"2024-05-30": 3}, **known}
    )


@pytest.mark.parametrize(
    ("facts", "threshold", "action", "new_name", "said"),
    [
        (album("a", "DSC upload 3", hint=Hint(("A", "B"))), 20, "rename", "A vs B - May 30", "teams by hand"),
        (album("a", "x", hint=Hint((), "Gala")), 20, "rename", "Gala - May 30", "event by hand"),
        (album("a", "x", seen=[Seen(("A", "B"), "", False, 3)]), 20, "rename", "A vs B - May 30",
         "teams in 3 of 3 photos"),
        (album("a", "x", seen=[Seen((), "Gala", True, 2), Seen((), "", True, 1)]), 20, "rename",
         "Gala - May 30", "event in 2 of 3 photos"),
        (album("a", "Gala"), 20, "rename", "Gala - May 30", "its name, cleaned and dated"),
        (album("a", "Gala - May 30"), 0, "keep", "Gala - May 30", "it has this name"),
        (album("a", "gala, May 30"), 20, "keep", "gala - May 30", "a drift of 0 is not above 20"),
        (album("a", "gala, May 30"), 0, "keep", "gala - May 30", "a drift of 0 is not above 0"),
        (album("a", "gala, May 30"), None, "rename", "gala - May 30", "its name"),
        (album("a", "Summer Gala Evening"), 45.5, "keep", "Summer Gala Evening - May 30", "not above 45.5"),
        (album("a", "2024"), 0, "keep", "2024", "only a date"),
        (album("a", "DSC", photo_count=0, days={}), 0, "skip", "DSC", "empty"),
        (album("a", "DSC", photo_count=0, image_count=5, is_read=False), 0, "skip", "DSC",
         "not all been read"),
    ],
    ids=range(13),
)  # fmt: skip
def test_one_album(facts: AlbumFacts, threshold: float | None, action: str, new_name: str, said: str) -> None:
    [item] = plan_names([facts], threshold=threshold, today=TODAY)
    assert (item.action, item.new_name) == (action, new_name)
    assert item.old_name == facts.name
    assert said in item.reason
    if action == "rename" and threshold is not None:
        assert item.drift_score > threshold


def test_two_albums_with_one_name_are_allowed_and_said() -> None:
    same = Hint((), "Gala")
    albums = [album(f"k{n}", f"DSC {n}", hint=same) for n in range(6)]
    albums += [album("k6", "Gala - May 30"), album("k7", "Other", hint=Hint((), "Other night"))]
    items = plan_names(albums, threshold=20, today=TODAY)
    assert [item.action for item in items] == ["rename"] * 6 + ["keep", "rename"]
    assert items[0].reason == "event by hand; the same name as k1, k2, k3 and 3 more"
    assert items[6].reason == "it has this name"
    assert items[7].reason == "event by hand"
    # The others count though they are not asked for; and an album that moves out of the way does not.
    [alone] = plan_names(albums[5:], threshold=20, today=TODAY, only={"k5"})
    assert alone.reason == "event by hand; the same name as k6"
    [free] = plan_names(
        [albums[0], album("k9", "Gala - May 30", hint=Hint((), "Ball"))],
        threshold=5,
        today=TODAY,
        only={"k0"},
    )
    assert free.reason == "event by hand"


def test_order_is_kept_and_nothing_is_made_up() -> None:
    albums = [album(key, key) for key in "cab"]
    assert [item.album_key for item in plan_names(albums, threshold=20, today=TODAY)] == ["c", "a", "b"]
    assert [item.album_key for item in plan_names(albums, threshold=20, today=TODAY, only={"b", "c"})] == [
        "c",
        "b",
    ]
    assert plan_names([], threshold=20, today=TODAY) == []
