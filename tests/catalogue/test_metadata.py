"""Descriptions in the catalogue: what is found, what a change leaves behind, who may approve what."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.catalogue import _sqlite, library_browse
from syncd.catalogue import descriptions as queue
from syncd.catalogue import metadata as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.metadata import Edit, Filter, MetadataRow
from syncd.catalogue.words import match_of
from syncd.errors import Refused
from tests.catalogue.library import add_photos, describe, rows, run


async def found(catalogue: Catalogue, *given: Any, **named: Any) -> list[int]:
    async with catalogue.reader() as db:
        page, _ = await queries.page(db, Filter(*given, **named), limit=1000)
    return [row.id for row in page]


async def one(catalogue: Catalogue, number: int) -> MetadataRow:
    async with catalogue.reader() as db:
        return (await queries.by_ids(db, [number]))[0]


async def edit(catalogue: Catalogue, number: int, **given: Any) -> MetadataRow | None:
    change = Edit(**{"changed_by": "eva", "reason": "why", **given})
    return await catalogue.write(lambda db: queries.edit(db, number, change))


async def test_words_find_what_is_there_now(catalogue: Catalogue) -> None:
    await add_photos(
        catalogue, 1, title="Café Müller", caption="The first goal", keywords='["caf\\u00e9", "U-15"]'
    )
    await add_photos(catalogue, 2, first=2)
    await describe(catalogue, 2, "Runners at the finish", ai_tags=["marathon"], ai_categories=["sports"])
    await describe(catalogue, 3, "A cat asleep", teams=["Lions"], event="Zoo Day", sport="")
    for words, wanted in {
        "goal": [1], "GOALS": [1], "cafe": [1], "muller": [1], "u-15": [1], "img_0002": [2], "IMG": [1, 2, 3],
        "runner": [2], "marathon sports": [2], "marathon cat": [], "lions zoo": [3], "mara": [], "mara*": [2],
        "": [1, 2, 3], "  ": [1, 2, 3], "!!!": [], "goal !!!": [1], "description": [], "NOT": [],
        "the": [1, 2],
    }.items():  # fmt: skip
        assert await found(catalogue, words=words) == wanted, words
    await describe(catalogue, 3, "A dog asleep")
    await run(catalogue, "UPDATE smugmug_photos SET caption = 'The last penalty' WHERE id = 1")
    assert await found(catalogue, words="cat") == []
    assert await found(catalogue, words="dog lions") == [3]
    assert (await found(catalogue, words="goal"), await found(catalogue, words="penalty")) == ([], [1])
    await run(catalogue, "UPDATE smugmug_photos SET removed_at = 'now' WHERE id = 3")
    assert await found(catalogue, words="dog") == []
    await run(catalogue, "DELETE FROM smugmug_photos WHERE id = 2")
    assert (
        await rows(catalogue, "SELECT rowid FROM metadata_words WHERE metadata_words MATCH 'marathon'") == []
    )
    await run(catalogue, "INSERT INTO metadata_words (metadata_words) VALUES ('integrity-check')")


@given(st.text(max_size=60), st.text(alphabet="\"*()^-+:{}.,;'\\ ANDORNEAR\0é日ß١́", max_size=40))
@example('" OR "', "NEAR(a b, 5)")
@example("title:goal", "{title caption}: x")
@example("a*b", "**")
@settings(max_examples=200, deadline=None)
def test_what_people_type_is_never_a_query(text: str, hostile: str) -> None:
    db = _sqlite.pysqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE w USING fts5 (t, tokenize = 'porter unicode61 remove_diacritics 2')")
    db.execute("INSERT INTO w VALUES (?)", (text.replace("\0", ""),))
    for typed in (text, hostile, f"{text} {hostile}"):
        match = match_of(typed)
        if match is not None:
            db.execute("SELECT count(*) FROM w WHERE w MATCH ?", (match,)).fetchone()
    match = match_of(text.replace("*", " ").replace("\0", ""))
    if match is not None and len(text.split()) <= 32:
        # All words of a text are in that text, unless its letters are too new for SQLite.
        count = db.execute("SELECT count(*) FROM w WHERE w MATCH ?", (match,)).fetchone()[0]
        assert count == 1 or not text.isascii()
    db.close()


async def test_lists_that_a_person_wrote_wrong_hide_nothing(catalogue: Catalogue) -> None:
    await add_photos(catalogue, 2)
    await describe(catalogue, 1, "A cat")
    await run(
        catalogue,
        """UPDATE ai_metadata SET ai_tags = '["a", 1, null]', ai_categories = '{"b": 1}', teams = '"c"'""",
    )
    await run(catalogue, "UPDATE smugmug_photos SET keywords = '7'")
    await run(catalogue, "UPDATE smugmug_albums SET keywords = 'null'")
    row = await one(catalogue, 1)
    assert (row.tags, row.categories, row.teams) == (["a"], [], [])
    async with catalogue.reader() as db:
        (album,), _ = await library_browse.albums(db, 10, None)
        photos, _ = await library_browse.photos(db, album.id, 10, None)
    assert (album.keywords, [photo.keywords for photo in photos]) == ([], [[], []])
    work = await catalogue.write(
        lambda db: queue.claim(db, limit=2, busy=[], day="2026-01-01", daily_limit=0)
    )
    assert [one.keywords for one in work] == [[]]


async def test_pages_and_filters(catalogue: Catalogue) -> None:
    await add_photos(catalogue, 5)
    await add_photos(catalogue, 2, album="xyz", first=6)
    await run(
        catalogue,
        "INSERT INTO smugmug_album_photos (album_id, photo_id) SELECT 2, id FROM smugmug_photos WHERE id = 1",
    )
    for number in range(1, 8):
        await describe(catalogue, number, "goal", confidence_score=number / 10)
    await describe(catalogue, 7, "goal", processing_status="rejected", confidence_score=None)
    pages, after = [], 0
    async with catalogue.reader() as db:
        for chosen in (Filter(), Filter(words="goal")):
            while True:
                page, last = await queries.page(db, chosen, limit=3, after=after)
                pages.append([row.id for row in page])
                if last is None:
                    break
                after = last
            after = 0
    assert pages == [[1, 2, 3], [4, 5, 6], [7]] * 2
    assert await found(catalogue, album_key="xyz") == [1, 6, 7]
    assert await found(catalogue, "review", "goal", "xyz", 0.1) == [1, 6]
    assert await found(catalogue, min_confidence=0.5) == [5, 6]
    assert await found(catalogue, album_key="none") == []
    row = await one(catalogue, 1)
    assert (row.albums, row.album_keys) == (["Album abc", "Album xyz"], ["abc", "xyz"])


async def test_an_edit_keeps_what_was(catalogue: Catalogue) -> None:
    await add_photos(catalogue, 2)
    vector = struct.pack("<2f", 1, 0)
    await describe(catalogue, 1, "A cat", ai_tags=["cat"], embedding=vector, embedding_model="m")
    new = await edit(catalogue, 1, description="A dog")
    assert new is not None
    assert (new.description, new.tags, new.version, new.status) == ("A dog", ["cat"], 2, "review")
    due = await rows(catalogue, "SELECT embedding, embedding_model FROM ai_metadata WHERE id = 1")
    assert due == [(None, None)]  # to be embedded again
    await edit(catalogue, 1, tags=["dog", "Hund"], categories=["animals"], reason="sharper")
    assert (await edit(catalogue, 1, description="A dog")) == await one(catalogue, 1)  # nothing changed
    async with catalogue.reader() as db:
        last, first = await queries.history(db, 1)
    assert (first.previous_description, first.new_description) == ("A cat", "A dog")
    assert (last.version, last.changed_by, last.change_reason) == (3, "eva", "sharper")
    assert (last.previous_tags, last.new_tags, last.new_categories) == (["cat"], ["dog", "Hund"], ["animals"])
    assert await edit(catalogue, 99, description="x") is None
    with pytest.raises(Refused, match=r"IMG_0002\.jpg is not described yet"):
        await edit(catalogue, 2, status="approved")
    # Who writes it describes it.
    written = await edit(catalogue, 2, description="By hand", status="approved")
    assert written is not None
    assert (written.status, written.approved_by, written.approved_at is not None) == ("approved", "eva", True)
    back = await edit(catalogue, 2, status="pending", reason="again")
    assert back is not None
    assert (back.status, back.approved, back.approved_by, back.attempts) == ("pending", False, None, 0)
    assert await rows(catalogue, "SELECT previous_status, new_status, change_reason FROM metadata_history"
                                 " WHERE metadata_id = 2 ORDER BY id DESC LIMIT 1") == [
        ("approved", "pending", "again")
    ]  # fmt: skip


async def test_approving_some_and_all_that_match(catalogue: Catalogue) -> None:
    await add_photos(catalogue, 6)
    for number in range(1, 6):
        await describe(catalogue, number, "goal" if number < 4 else "cat", confidence_score=number / 10)
    await describe(catalogue, 5, "cat", processing_status="rejected")

    async def approve(*ids: int) -> Any:
        return await catalogue.write(lambda db: queries.approve(db, ids, "eva"))

    assert await approve(1, 99) == (0, [queries.Unapproved(99, None)])
    assert (await one(catalogue, 1)).status == "review"
    assert await approve(1, 1, 6) == (1, [queries.Unapproved(6, "pending")])
    assert await approve(1) == (0, [])  # was approved before
    row = await one(catalogue, 1)
    assert (row.status, row.approved, row.approved_by, row.version) == ("approved", True, "eva", 1)

    async def matching(**given: Any) -> int:
        return await catalogue.write(lambda db: queries.approve_matching(db, Filter(**given), "max"))

    assert await matching(words="goal", min_confidence=0.3) == 1
    assert await matching(album_key="none") == 0
    assert await matching() == 2
    assert await matching(status="rejected") == 1
    assert await matching(status="pending") == 0
    assert await found(catalogue, "approved") == [1, 2, 3, 4, 5]


async def test_work_is_claimed_within_the_day_s_budget(catalogue: Catalogue) -> None:
    await add_photos(catalogue, 5)
    await run(catalogue, "UPDATE smugmug_photos SET removed_at = 'now' WHERE id = 1")

    async def claim(limit: int, day: str = "2026-11-21", daily_limit: int = 3) -> list[queue.Work]:
        return await catalogue.write(
            lambda db: queue.claim(db, limit=limit, busy=[2], day=day, daily_limit=daily_limit)
        )

    first = await claim(2)
    assert [(work.id, work.attempts, work.albums) for work in first] == [
        (3, 1, ["Album abc"]), (4, 1, ["Album abc"]),
    ]  # fmt: skip
    jobs = "SELECT item, state, attempts, subject, error FROM jobs WHERE kind = 'describe' ORDER BY number"
    assert await rows(catalogue, jobs) == [
        ("3", "running", 1, "IMG_0003.jpg", None), ("4", "running", 1, "IMG_0004.jpg", None),
    ]  # fmt: skip
    await catalogue.write(lambda db: queue.put_back(db, first[1], "2026-11-21"))
    await catalogue.write(lambda db: queue.fail(db, first[0], "prose", "2999-01-01T00:00:00.000Z"))
    assert await rows(catalogue, jobs) == [
        ("3", "waiting", 1, "IMG_0003.jpg", "prose"), ("4", "queued", 0, "IMG_0004.jpg", None),
    ]  # fmt: skip
    assert [work.id for work in await claim(9)] == [4, 5]  # one of three was spent on 3
    assert await claim(9) == []
    await catalogue.write(queue.interrupted)
    assert {row[1] for row in await rows(catalogue, jobs)} == {"waiting", "queued"}
    async with catalogue.reader() as db:
        assert await queue.counts(db) == {"pending": 4}
        assert await queue.sent_on(db, "2026-11-21") == 3
        assert await queue.next_due_in_s(db) == 0
    assert [work.id for work in await claim(9, "2026-11-22")] == [4, 5]


async def test_a_person_wins_over_the_model(catalogue: Catalogue) -> None:
    await add_photos(catalogue, 3)
    works = await catalogue.write(lambda db: queue.claim(db, limit=3, busy=[], day="d", daily_limit=0))
    said = queue.Written("By the model", ["a"], [], 0.9, [], "", "")
    await edit(catalogue, 1, description="By hand")
    await edit(catalogue, 2, status="pending")
    kept = [
        await catalogue.write(lambda db, work=work: queue.record(db, work, said, "m", approve=False))
        for work in works
    ]
    assert kept == [False, False, True]
    seen = [await one(catalogue, number) for number in (1, 2, 3)]
    assert [(row.description, row.status, row.version) for row in seen] == [
        ("By hand", "review", 2), ("", "pending", 2), ("By the model", "review", 1),
    ]  # fmt: skip
    assert await rows(catalogue, "SELECT item FROM jobs WHERE kind = 'describe'") == []


async def test_jobs_and_photos_say_the_same(catalogue: Catalogue) -> None:
    await add_photos(catalogue, 2)
    from syncd.catalogue import jobs

    works = await catalogue.write(lambda db: queue.claim(db, limit=2, busy=[], day="d", daily_limit=0))
    await catalogue.write(lambda db: queue.fail(db, works[0], "prose", None))
    async with catalogue.reader() as db:
        failed, _ = await jobs.page(db, state="failed")
        running, _ = await jobs.page(db, state="running")
    assert [(job.subject, job.attempts, job.error) for job in failed] == [("IMG_0001.jpg", 1, "prose")]
    row = await one(catalogue, 1)
    assert (row.status, row.attempts, row.error) == ("failed", 1, "prose")
    await catalogue.write(lambda db: jobs.requeue(db, failed[0].id))
    row = await one(catalogue, 1)
    assert (row.status, row.attempts, row.error) == ("pending", 0, "prose")
    await catalogue.write(lambda db: jobs.cancel(db, running[0].id))
    assert ((await one(catalogue, 2)).status, (await one(catalogue, 2)).error) == ("failed", "cancelled")
    await run(catalogue, "UPDATE smugmug_photos SET removed_at = 'now' WHERE id = 2")
    await catalogue.write(queue.tidy)
    assert await rows(catalogue, "SELECT item, state FROM jobs WHERE kind = 'describe'") == [("1", "queued")]


async def test_vectors_are_read_again_where_they_changed(catalogue: Catalogue) -> None:
    await add_photos(catalogue, 3)
    here, there = struct.pack("<2f", 1, 0), struct.pack("<2f", 0, 1)

    async def changed(seq: int) -> Any:
        async with catalogue.reader() as db:
            return await queries.vectors_after(db, seq, "m")

    for number in (1, 2):
        await describe(catalogue, number, "x", embedding=here, embedding_model="m")
    seq, vectors = await changed(0)
    assert vectors == [(1, here), (2, here)]
    assert await changed(seq) == (seq, [])
    await describe(catalogue, 1, "x", embedding=there)
    await describe(catalogue, 2, "x", embedding=there, embedding_model="other")
    seq, vectors = await changed(seq)
    assert vectors == [(1, there), (2, None)]
    await run(catalogue, "DELETE FROM smugmug_photos WHERE id = 1")
    assert (await changed(seq))[1] == [(1, None)]
    assert await catalogue.write(lambda db: queue.forget_other_models(db, "m")) == 1
    async with catalogue.reader() as db:
        assert [text.id for text in await queue.due_texts(db, 9, [])] == [2]


async def test_the_catalogue_s_words_are_readable_by_an_older_sqlite(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """People look with the sqlite3 that their system brings, and may write with it."""
    import sqlite3

    await add_photos(catalogue, 1)
    await describe(catalogue, 1, "A goal")
    with sqlite3.connect(catalogue.path) as db:
        db.execute("UPDATE ai_metadata SET ai_description = 'A cat' WHERE id = 1")
        assert db.execute(
            "SELECT count(*) FROM metadata_words WHERE metadata_words MATCH 'cat'"
        ).fetchone() == (1,)
    db.close()
    assert await found(catalogue, words="cat") == [1]
