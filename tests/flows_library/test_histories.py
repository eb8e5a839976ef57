"""Whatever happens to the library, also while it is read, and wherever a sync is killed: after the next syncs
the catalogue is equal to it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.config import GuardConfig
from syncd.flows.library import Wanted
from syncd.text import rfc3339
from tests.fakes.smugmug_model import Model
from tests.flows_library.place import Place, place

PICK = st.integers(0, 1000)
CHANGES = (
    "add_album", "add_image", "add_image", "add_video", "collect", "replace", "take_out", "move", "rearrange",
    "rename", "remove_album", "caption",
)  # fmt: skip
change = st.tuples(st.sampled_from(CHANGES), PICK, PICK)
STEPS = st.one_of(
    change,
    change,
    st.tuples(st.just("sync"), st.just(0), st.just(0)),
    st.tuples(st.just("full"), st.just(0), st.just(0)),
    st.tuples(st.just("album"), PICK, st.just(0)),
    st.tuples(st.sampled_from(["killed_before", "killed_after"]), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("during"), st.integers(1, 12), change),
)


def apply(model: Model, what: str, one: int, two: int) -> None:
    albums = list(model.albums)
    if what == "add_album" or not albums:
        model.add_album(f"Album {one % 5}")
        return
    album = albums[one % len(albums)]
    shown = [s.image_key for s in model.albums[album].shown]
    if what in ("add_image", "add_video"):
        model.add_image(album, f"IMG_{two % 4}.{'MP4' if what == 'add_video' else 'JPG'}")
    elif what == "rename":
        model.rename_album(album, f"Name {two % 5}")
    elif what == "rearrange":
        model.rearrange(album)
    elif what == "remove_album":
        model.remove_album(album)
    elif shown:
        key = shown[two % len(shown)]
        other = albums[two % len(albums)]
        is_there = any(s.image_key == key for s in model.albums[other].shown)
        if what == "replace":
            model.replace_image(key, seed=two)
        elif what == "caption":
            model.edit_image(key, caption=f"Caption {two}", keywords=[f"word {two}"])
        elif what == "take_out":
            model.take_out(album, key)
        elif what == "collect" and not is_there:
            model.collect(key, other)
        elif what == "move" and not is_there:
            model.move_image(key, album, other)


async def live(folder: Path, steps: list[Any], page_size: int) -> None:
    async with place(folder, page_size) as here:
        here.config = replace(here.config, guard=GuardConfig(10_000, 5))
        for number in range(4):
            apply(here.model, "add_album", number, 0)
        for number in range(14):
            apply(here.model, "add_image", number % 3, number)
        for what, one, two in steps:
            await step(here, what, one, two)
        await converge(here)
        await here.sync(Wanted(full_since=rfc3339(datetime.now(UTC))))
        assert await here.photos() == here.model_photos()
        assert await here.albums() == here.model_albums()
        assert await here.one("SELECT count(*) FROM smugmug_reads") == 0
        assert await here.rows("PRAGMA foreign_key_check") == []
        homeless = "SELECT count(*) FROM smugmug_photos p WHERE removed_at IS NULL AND album_id NOT IN"
        homeless += " (SELECT album_id FROM smugmug_album_photos l WHERE l.photo_id = p.id)"
        assert await here.one(homeless) == 0
        assert not [told for told in here.told if told[0] == "guard"]


async def step(here: Place, what: str, one: int, two: Any) -> None:
    if what == "sync":
        await converge(here)
    elif what == "full":
        await here.sync(Wanted(full_since=rfc3339(datetime.now(UTC))))
    elif what == "album":
        keys = list(here.model.albums)
        await here.sync(Wanted(whole=False, album_keys=(keys[one % len(keys)],)) if keys else None)
    elif what.startswith("killed"):
        since = rfc3339(datetime.now(UTC)) if two else None
        await here.sync(Wanted(full_since=since), cut=one, after=what == "killed_after")
    elif what == "during":

        def meddle(request: str, key: str) -> None:
            if sum(here.client.requests.values()) == at:
                apply(here.model, *two)

        at = sum(here.client.requests.values()) + one
        here.client.on_request = meddle
        await here.sync()
        here.client.on_request = lambda request, key: None
    else:
        apply(here.model, what, one, two)


async def converge(here: Place) -> None:
    """A sync that nothing comes into the way of makes albums, and what is in them, equal."""
    before = sum(here.client.requests.values())
    await here.sync()
    assert await here.albums() == here.model_albums()
    serials = {key: row[1] for key, row in (await here.photos()).items()}
    assert serials == {key: row[1] for key, row in here.model_photos().items()}
    pages = -(-len(here.model.albums) // here.client.page_size) or 1
    between = sum(here.client.requests.values())
    await here.sync()
    assert sum(here.client.requests.values()) - between == pages, "nothing changed"
    assert between - before >= pages


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(STEPS, max_size=14), st.integers(1, 4))
def test_the_catalogue_follows(steps: list[Any], page_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(live, Path(folder), steps, page_size)
