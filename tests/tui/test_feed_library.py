"""The feed's calls about the library, names and the exchange, against a real control server on a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from syncd.control import schema
from syncd.control.server import ControlServer
from tests.control.conftest import serving
from tests.control.memory_exchange import LIST_ID
from tests.tui.test_feed import Site, following, socket_path
from tui import asks_exchange, asks_library
from tui.asks import AskFailed, Interest
from tui.feed import DaemonFeed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["socket_path"]


def values(listing: Any) -> list[Any]:
    return [row.value for row in listing.items]


async def test_lists_arrive_printable_and_keyed_by_their_raw_names(socket_path: Path) -> None:
    async with serving(ControlServer(Site(), socket_path)), following(socket_path) as followed:
        feed = followed.feed
        feed.look(Interest(lists=frozenset({"albums", "names", "changes", "exchanges"}), library=True))
        state = await followed.until(lambda s: s.exchanges.items and s.names.items and s.library)
        assert [row.key for row in state.albums.items] == ["2GsRNZ", "RM4BL2"]
        assert values(state.albums)[0].title == "Cup \\x1b[2J 1"
        assert state.library.errors == ["Cup \\x1b[2J 2 (RM4BL2): it is locked"]
        assert {row.key: row.value.action for row in state.names.items} == {"aaa": "rename", "bbb": "keep"}
        assert [row.key for row in state.exchanges.items] == [LIST_ID]

        feed.look(Interest(lists=frozenset({"photos"}), photos=("album", "2GsRNZ")))
        state = await followed.until(lambda s: s.photos.items)
        first, second = values(state.photos)
        assert (first.photo_id, first.name, first.status) == ("1", "IMG\\u202e1.JPG", "review")
        assert (first.scene_id, second.meta_id) == ("roll-1", None)
        feed.look(Interest(lists=frozenset({"photos"}), photos=("meaning", "joy")))
        state = await followed.until(lambda s: s.photos.subject[0] == "meaning" and s.photos.items)
        assert [shot.distance for shot in values(state.photos)] == [0.25, 0.5]
        feed.look(Interest(lists=frozenset({"photos"}), photos=("meaning", "no model")))
        state = await followed.until(lambda s: s.photos.error)
        assert "no embedding model is set" in state.photos.error

        feed.look(Interest(lists=frozenset({"review"}), review=("review", "")))
        state = await followed.until(lambda s: s.review.items)
        assert [shot.description for shot in values(state.review)] == ["A goal\\x1b[2J"] * 2
        feed.look(Interest(lists=frozenset({"files"}), files=(LIST_ID, "near")))
        state = await followed.until(lambda s: s.files.items)
        assert values(state.files)[0].near is not None


async def test_lists_that_take_long_are_asked_for_again_only_when_asked_or_after_a_while(
    socket_path: Path,
) -> None:
    site = Site()
    async with serving(ControlServer(site, socket_path)), following(socket_path) as followed:
        followed.feed.look(Interest(lists=frozenset({"names", "batches"})))
        await followed.until(lambda s: s.names.items and s.batches.items)
        asked = len(site.names.asked)
        batches = site.calls["batches"]
        site.log(6)
        await followed.until(lambda s: site.calls["batches"] > batches)
        assert len(site.names.asked) == asked
        followed.feed.refresh()
        await followed.until(lambda s: len(site.names.asked) > asked)


ASKS = [
    (asks_library.SyncLibrary(), "what changed is read: job library"),
    (asks_library.SyncLibrary(full=True), "everything is read again: job library"),
    (asks_library.SyncAlbum("2GsRNZ"), "the album is read again: job library"),
    (asks_library.EditShot(1, "New", ("a",), None), "IMG_1.jpg says so now: version 2"),
    (asks_library.SetStatus((1, 2), "rejected"), "2 rejected"),
    (asks_library.SetStatus((1,), "pending"), "1 to be described again"),
    (asks_library.ApproveShots((1, 2)), "1 approved, 1 not: pending"),
    (asks_library.HintName("aaa", ("A", "B"), "", ""), "it would be called A vs B - May 30"),
    (asks_library.ApplyNames(("aaa",)), "1 renamed"),
    (asks_library.UndoNames((1,)), "1 album has its name from before"),
    (asks_exchange.Analyze("/a.db"), "they have 2 that you lack, 1 of them by address only"),
    (asks_exchange.Export("/a.jsonl", "/disk"), "1 exported, 3 B"),
    (asks_exchange.Import(LIST_ID, "/disk"), "1 imported"),
    (asks_exchange.VerifyList(LIST_ID), "1 of 1 are as they came"),
    (asks_exchange.CleanList(LIST_ID), "2 staged files went, 1.2 kB"),
]


async def test_asks_are_answered_in_words(socket_path: Path) -> None:
    site, feed = Site(), DaemonFeed(socket_path)
    async with serving(ControlServer(site, socket_path)):
        for ask, words in ASKS:
            said = await feed.do(ask)
            assert said.startswith(words) and said.isprintable(), ask
        assert site.metadata.history[1][0].new_description == "New"
        assert await feed.review_ids("approved", "") == (1, 2)
        assert (await feed.names_dry_run(None)).dry_run
        assert len(site.names.changes) >= 1
        assert "would be" not in await feed.try_exchange(asks_exchange.Analyze("/a.db"))
        assert "1 would be imported" in await feed.try_exchange(asks_exchange.Import(LIST_ID, "/disk"))
        assert [one.dry_run for one in site.exchange.asked[-2:]] == [True, True]
        assert b"40" in await feed.library_preview("1", 40, 30)
        assert await feed.exchange_preview(LIST_ID, 1, "near", 40, 30) == b"\xff\xd8near"
        with pytest.raises(AskFailed, match="no list"):
            await feed.do(asks_exchange.CleanList("\x1b"))
        site.names.failed = [schema.AlbumReason(album_key="bbb", reason="it was renamed by somebody")]
        with pytest.raises(AskFailed, match="0 renamed, 1 not: it was renamed by somebody"):
            await feed.do(asks_library.ApplyNames(("bbb",)))
        site.library.signed_in = False
        with pytest.raises(AskFailed) as unsigned:
            await feed.do(asks_library.SyncLibrary())
        assert "syncctl auth smugmug" in unsigned.value.hint
        site.exchange.bad = 2
        assert "2 are rejected, the first because a symbolic link" in await feed.try_exchange(
            asks_exchange.Import(LIST_ID, "/disk")
        )
