"""The mirror follows the catalogue, whatever happens to either."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from syncd.catalogue import mirror as queries
from syncd.catalogue.mirror import Local
from syncd.config import GuardConfig
from syncd.errors import Transient
from syncd.flows.mirror import Told, plan_comparison, row_of
from syncd.sinks.postgres import Key, RemoteRow
from tests.flows_mirror.place import Place, place
from tests.postgres import Database


async def test_photos_come_and_change_and_leave(here: Place) -> None:
    await here.album("AAA", "One", 3)
    await here.album("BBB", "Two", 2, first=2)
    await here.describe("p0", vector=[0.5, -0.25, 3e-8])
    await here.describe("p1", approved=False)
    await here.synced()
    assert await here.step() == Told(written=5)
    assert here.rows("album_key, image_key, album_name") == [
        ("AAA", "p0", "One"), ("AAA", "p1", "One"), ("AAA", "p2", "One"),
        ("BBB", "p2", "Two"), ("BBB", "p3", "Two"),
    ]  # fmt: skip
    columns = (
        "imageurl, thumbnailurl, sport_type, photo_date::text, caption, keywords, description, tags,"
        " categories, teams, event, confidence, width, embedding::text"
    )
    assert here.rows(columns, "image_key = 'p0'") == [
        ("https://photos.example/0-L.jpg", "https://photos.example/0-Th.jpg", "soccer", "2024-05-30 10:00:00",
         "caption 0", ["goal", 'say "hi"', "a\\b"], "A player", ["ball"], ["sport"], ["A", "B"], "Cup", 0.5,
         6000, "[0.5,-0.25,3e-08]"),
    ]  # fmt: skip
    # What nobody has approved is not shown; what is taken back is shown no more.
    assert here.rows("description, sport_type", "image_key = 'p1'") == [(None, None)]
    await here.sql("UPDATE ai_metadata SET approved = 0, processing_status = 'review'")
    assert await here.marks() == 1
    await here.step()
    assert here.rows("count(*), count(description)") == [(5, 0)]
    # Who looks at a photo makes its large address known, and changes nothing that others see.
    await here.sql(
        "UPDATE smugmug_photos SET original_url = 'https://photos.example/D.jpg', large_url = NULL"
    )
    assert (await here.step()).written == 5
    seen = here.rows("image_key, imageurl, updated_at")
    await here.sql("UPDATE smugmug_photos SET large_url = 'https://photos.example/X3.jpg'")
    await here.step()
    assert here.rows("image_key, imageurl, updated_at") == seen
    # Only what changed is told, with its time.
    before = dict(here.rows("image_key, updated_at", "album_key = 'AAA'"))
    await here.sql("UPDATE smugmug_photos SET caption = 'new' WHERE image_key = 'p0'")
    await here.sql("UPDATE smugmug_photos SET synced_at = 'x', perceptual_hash = 'y'")
    assert await here.step() == Told(written=1)
    after = dict(here.rows("image_key, updated_at", "album_key = 'AAA'"))
    assert [key for key in before if before[key] != after[key]] == ["p0"]
    # A hint by hand wins over what the model saw.
    await here.sql("INSERT INTO album_name_hints (album_key, sport) VALUES ('BBB', 'rugby')")
    await here.remove("AAA", "p2")
    assert await here.step() == Told(written=2, removed=1)
    assert here.rows("album_key, image_key, sport_type", "album_key = 'BBB' OR image_key = 'p2'") == [
        ("BBB", "p2", "rugby"), ("BBB", "p3", "rugby"),
    ]  # fmt: skip
    assert await here.step() == Told()


async def test_a_new_name_of_an_album_is_one_mark(here: Place) -> None:
    await here.album("AAA", "One", 300)
    await here.synced()
    await here.step()
    await here.sql("UPDATE smugmug_albums SET title = 'New' WHERE album_key = 'AAA'")
    assert await here.marks() == 1
    assert await here.step() == Told(written=300)
    assert (await here.sink.names())["AAA"] == (frozenset({"New"}), 300)
    assert await here.step() == Told()


async def test_what_changes_on_its_way_is_told_again(here: Place) -> None:
    await here.album("AAA", "One", 2)
    put = here.sink.session

    async with (
        put() as session
    ):  # somebody reads the marks, and the photo changes before they are crossed out
        async with here.catalogue.reader() as db:
            pairs = await queries.pairs(db, 10)
        await session.put([row_of(pair) for pair in pairs])
        await here.sql("UPDATE smugmug_photos SET caption = 'later' WHERE image_key = 'p1'")
    await here.catalogue.write(lambda db: queries.told(db, [pair.mark for pair in pairs], ()))
    assert await here.marks() == 1
    await here.work.tell()
    assert here.rows("image_key, caption") == [("p0", "caption 0"), ("p1", "later")]


async def test_a_random_life_ends_equal(here: Place) -> None:
    """Whatever is written, removed and cut off in between, and whoever else writes: both are equal after."""
    rng = random.Random(7)
    await here.album("AAA", "A", 6)
    await here.album("BBB", "B", 6, first=3)
    await here.synced()
    await here.step()
    for turn in range(60):
        image, album = f"p{rng.randrange(9)}", rng.choice(["AAA", "BBB"])
        match rng.randrange(8):
            case 0:
                await here.sql("UPDATE smugmug_photos SET caption = ? WHERE image_key = ?", f"c{turn}", image)
            case 1:
                await here.remove(album, image)
            case 2:
                await here.add(album, image)
            case 3:
                await here.sql("UPDATE smugmug_albums SET title = ? WHERE album_key = ?", f"T{turn}", album)
            case 4:
                await here.work.tell()
            case 5:
                here.database.run("UPDATE photo_metadata SET title = 'x' WHERE image_key = %s", image)
            case 6:
                await here.sql("DELETE FROM mirror_rows WHERE photo_id = ?", turn % 9 + 1)
            case 7:
                here.database.run("DELETE FROM photo_metadata WHERE image_key = %s", image)
    await here.step()
    ours = await here.sql(
        "SELECT a.album_key, p.image_key, a.title, p.caption FROM smugmug_album_photos l"
        " JOIN smugmug_albums a ON a.id = l.album_id JOIN smugmug_photos p ON p.id = l.photo_id ORDER BY 1, 2"
    )
    assert len(ours) > 3
    assert here.rows("album_key, image_key, album_name, caption") == ours
    assert here.rows("count(title), 0") == [(0, 0)]
    assert await here.step() == Told()


async def test_others_change_and_wipe_out(here: Place) -> None:
    await here.album("AAA", "One", 60)
    await here.synced()
    await here.step()
    here.database.run("UPDATE photo_metadata SET caption = 'wrong' WHERE image_key < 'p3'")
    here.database.run("UPDATE photo_metadata SET album_name = 'Other' WHERE image_key = 'p5'")
    here.database.run("DELETE FROM photo_metadata WHERE image_key = 'p7'")
    await here.step()
    assert here.rows("count(*), count(*) FILTER (WHERE album_name = 'One' AND caption <> 'wrong')") == [
        (60, 60)
    ]
    here.database.run("DROP TABLE photo_metadata, album_name_changes")
    with pytest.raises(Transient, match="does not exist"):
        await here.step()
    assert await here.work.is_another() is False  # not looked at yet
    await here.work.fill()
    assert await here.work.is_another()
    assert (await here.step()).written == 60


async def test_a_mirror_filled_by_another_catalogue_is_not_emptied(
    here: Place, database: Database, tmp_path: Path
) -> None:
    """A new catalogue, at the start of its first sync, knows little; what it does not know may well exist."""
    await here.album("AAA", "One", 100)
    await here.synced()
    await here.step()
    (tmp_path / "other").mkdir()
    async with place(tmp_path / "other", database) as new:
        await new.album("AAA", "One", 30)
        assert await new.step() == Told(written=30)
        assert new.rows("count(*), count(DISTINCT photo_id)") == [(100, 100)]
        await new.synced()
        assert (await new.step()).left == 70
        await new.album("BBB", "Two", 50, first=30)
        assert (await new.step()).left == 70
        new.database.run("DELETE FROM photo_metadata WHERE album_key = 'AAA' AND image_key > 'p7'")
        assert (await new.step()).removed == 40
        assert new.rows("album_key, count(*)", "true GROUP BY 1") == [("AAA", 30), ("BBB", 50)]


def test_the_comparison_is_a_plan() -> None:
    local: list[Local] = [("A", "1", 1, 1, 11), ("A", "2", 1, 2, 22), ("A", "3", 1, 3, None)]
    remote: list[RemoteRow] = [
        ("A", "1", 11, True), ("A", "2", 99, True),
        ("B", "1", 5, True), ("C", "1", 5, False),
    ]  # fmt: skip
    guard = GuardConfig(max_delete=1, max_delete_percent=0)
    plan = plan_comparison(local, remote, is_complete=True, guard=guard)
    assert plan == ([(1, 2), (1, 3)], [Key("B", "1")], 0)
    assert plan_comparison(local, remote, is_complete=False, guard=guard).stale == []
    held = plan_comparison(local, remote, is_complete=True, guard=GuardConfig(0, 0))
    assert (held.stale, held.left) == ([], 1)
