"""The dashboard on a real daemon: an exchange by its keys, from the first look to the check of what came."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
from textual.widgets import Input

from tests.flows_exchange.indafoto import Indafoto
from tests.outside.installation import Installation, small_jpeg
from tests.tui.running import grid
from tui.app import Dashboard
from tui.feed import DaemonFeed


async def test_an_exchange_is_done_by_keys(place: Installation, tmp_path: Path) -> None:
    anna, disk = Indafoto(tmp_path / "anna"), tmp_path / "disk"
    anna.add(small_jpeg(2), author="Anna", title="A bridge")
    anna.add(small_jpeg(3), author="Anna")
    place.add("roll/final_crops/1.jpg", 1)
    with place.daemon() as daemon:
        app = Dashboard(lambda: DaemonFeed(place.socket), theme="dark")
        async with app.run_test(size=(120, 40)) as pilot:

            async def until(words: str) -> None:
                with anyio.fail_after(15):
                    while words not in grid(app):
                        await pilot.pause(0.05)

            async def answer(asked: str, path: Path) -> None:
                await until(asked)
                field = app.focused
                assert isinstance(field, Input)
                field.value = ""
                field.insert_text_at_cursor(str(path))
                await pilot.press("enter")

            await until("● live")
            await pilot.press("7")
            await until("No lists yet")
            await pilot.press("n")
            await answer("Compare with another archive", tmp_path / "nowhere.db")
            await until("no such file or directory")
            await answer("Compare with another archive", anna.path)
            await until("They have 2 that you lack")
            await pilot.press("tab", "enter")
            await until("0 of 2 done")
            (made,) = daemon.get("/api/exchange/lists")["items"]
            export = {"list_file": made["list_file"], "output_dir": str(disk), "db": str(anna.path)}
            daemon.call("POST", "/api/exchange/export", export)
            await pilot.press("i")
            await answer("Import", disk)
            await until("2 would be imported")
            await pilot.press("tab", "enter")
            await until("2 of 2 done")
            await pilot.press("v")
            await until("2 of 2 are as they came")
            await pilot.press("enter")
            await until("● imported")
            assert daemon.get("/api/jobs?state=failed")["items"] == []
        with closing(sqlite3.connect(f"file:{place.catalogue}?mode=ro", uri=True)) as db:
            assert db.execute("SELECT count(*) FROM images WHERE author = 'Anna'").fetchone() == (2,)
