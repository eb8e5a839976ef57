"""The exchange from outside: a syncd and a collector's indafoto.db complete each other over a folder."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.flows_exchange.indafoto import Indafoto, told_of
from tests.outside.installation import Installation, small_jpeg, wait_for
from tests.outside.installation import ask as http
from tests.pictures import make_jpeg


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def held(place: Installation) -> set[str]:
    """Hashes of the files that the catalogue holds, each read from its file."""
    with closing(sqlite3.connect(f"file:{place.catalogue}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT local_path, sha256_hash FROM images WHERE local_path <> ''").fetchall()
    assert all(digest(Path(path)) == sha256 for path, sha256 in rows)
    return {sha256 for _, sha256 in rows}


def test_a_syncd_and_an_indafoto_complete_each_other(place: Installation, tmp_path: Path) -> None:
    anna = Indafoto(tmp_path / "anna")
    anna.add(small_jpeg(1), author="Anna", title="In both")
    bridge = anna.add(
        small_jpeg(2), place="images/a/bridge.JPG", author="../Anna\x1b", title="A bridge",
        page_url="https://x/1", url="https://x/1.jpg", camera_make="Zenit", tags=("bridge", "évszak"),
        albums=("Trips",), collections=("Best",),
    )  # fmt: skip
    gone = anna.add(small_jpeg(3), author="Anna")
    by_url = anna.add(small_jpeg(4), url="https://x/4.jpg")
    anna.sql("UPDATE images SET sha256_hash = NULL WHERE sha256_hash = ?", by_url)
    anna.add(None, url="https://x/5.jpg", title="Seen once")
    (anna.folder / anna.sql("SELECT local_path FROM images WHERE sha256_hash = ?", gone)[0][0]).unlink()
    place.add("roll/final_crops/1.jpg", 1)
    place.add("roll/final_crops/9.jpg", 9)
    before = digest(anna.path)
    disk = tmp_path / "disk"

    def ctl(*arguments: Any, code: int = 0) -> Any:
        return place.ctl("exchange", *map(str, arguments), "--json", code=code).json

    def ask(what: str, **body: Any) -> Any:
        shape = {name: str(value) if isinstance(value, Path) else value for name, value in body.items()}
        return daemon.call("POST", f"/api/exchange/{what}", shape)

    with place.daemon() as daemon:
        wait_for(lambda: daemon.status()["counts"]["live"] == 2, what="both are live")
        assert len(held(place)) == 2
        counted = ask("analyze", remote_db=anna.path, dry_run=True)
        assert (counted["list_id"], counted["list_file"], counted["dry_run"]) == (None, None, True)
        wrong = {"remote_db": str(tmp_path / "nowhere.db"), "dry_run": True}
        refused = daemon.call("POST", "/api/exchange/analyze", wrong, status=409)
        assert "no such file" in refused["detail"] and refused["hint"]
        assert daemon.get("/api/jobs?state=failed")["items"] == [], "there is nothing to see to"
        found = ctl("analyze", "--remote-db", anna.path)
        expected = {"total_files": 4, "hash_files": 2, "url_files": 2, "total_bytes": None}
        assert expected.items() <= found.items() and expected.items() <= counted.items()
        assert (found["both"], found["only_here"]) == (1, 1)
        assert digest(anna.path) == before
        assert sorted(path.name for path in anna.folder.iterdir()) == ["images", "indafoto.db"]
        list_id, list_file = found["list_id"], found["list_file"]

        dry = ask("export", list_file=list_file, output_dir=disk, db=anna.path, dry_run=True)
        assert (dry["exported"], dry["missing"]) == (2, 2)
        assert not disk.exists()
        given = ctl("export", list_file, "--output-dir", disk, "--db", anna.path, code=4)
        assert (given["exported"], given["missing"], given["failed"]) == (2, 2, [])
        assert given["bytes"] == len(small_jpeg(2)) + len(small_jpeg(4))
        files = [path for path in disk.rglob("*") if path.is_file() and path.suffix == ".jpg"]
        assert all(path.stem == digest(path) for path in files)
        assert {path.stem for path in files} == {bridge, by_url}
        assert not list(disk.rglob("*.part")) and not list(disk.glob(".syncd*"))

        (anna.folder / "indafoto.db").rename(anna.folder / "away.db")  # an import does not need it
        dry = ask("import", list_id=list_id, import_dir=disk, dry_run=True)
        assert (dry["imported"], dry["missing"], dry["rejected"]) == (2, 2, [])
        assert len(held(place)) == 2
        taken = ctl("import", list_id, "--import-dir", disk, code=4)
        assert (taken["imported"], taken["already_here"], taken["missing"]) == (2, 0, 2)
        assert bridge in held(place) and by_url in held(place)
        told = told_of(place.catalogue, bridge)
        wanted = {
            "title": "A bridge",
            "camera_make": "Zenit",
            "page_url": "https://x/1",
            "author": "../Anna\x1b",
        }
        assert wanted.items() <= told.items()
        assert (told["tags"], told["albums"], told["collections"]) == (
            ["bridge", "évszak"],
            ["Trips"],
            ["Best"],
        )
        (path,) = (place.state / "incoming").glob("_Anna/*.jpg")
        assert digest(path) == bridge
        again = ask("import", list_id=list_id, import_dir=disk)
        assert (again["imported"], again["already_here"]) == (2, 0)
        (anna.folder / "away.db").rename(anna.path)
        assert ask("analyze", remote_db=anna.path, dry_run=True)["total_files"] == 1  # the one that is gone

        verified = ask("verify", list_id=list_id)
        assert {"total": 2, "ok": 2, "missing": 0, "corrupt": 0}.items() <= verified.items()
        path.write_bytes(b"other bytes")
        assert ctl("verify", list_id, code=4)["corrupt"] == 1
        path.unlink()
        assert ask("verify", list_id=list_id)["missing"] == 1
        shutil.copy(next(one for one in files if one.stem == bridge), path)
        assert ask("verify", list_id=list_id)["ok"] == 2

        receipt = ask("receipt", receipt_file=taken["receipt"], db=anna.path)
        assert (receipt["arrived"], receipt["missing"], receipt["is_asker"]) == (2, 2, True)
        assert ask("clean", list_id=list_id)["removed"] == 0
        assert bridge in held(place)
        assert ask("clean", list_id=list_id, db=anna.path)["removed"] == 3
        assert not list(disk.rglob("*"))

        shown = daemon.get(f"/api/exchange/lists/{list_id}")
        assert (shown["role"], shown["total_files"], len(shown["items"])) == ("asks", 4, 4)
        assert [one["list_id"] for one in daemon.get("/api/exchange/lists")["items"]] == [list_id]
        assert daemon.get(f"/api/exchange/lists?db={anna.path}")["items"][0]["role"] == "gives"
        assert "A bridge" in place.ctl("exchange", "show", list_id[:6]).out
        with closing(sqlite3.connect(anna.path)) as db:
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            statuses = dict(db.execute("SELECT status, count(*) FROM sync_export_files GROUP BY status"))
        assert statuses == {"delivered": 2, "missing": 2}

        # and the other way: the collector asks, syncd gives
        asked = ask("analyze", remote_db=place.catalogue, db=anna.path)
        # One of them she has herself, under its address: nobody had hashed it.
        assert (asked["total_files"], asked["total_bytes"]) == (2, len(small_jpeg(9)) + len(small_jpeg(4)))
        ask("export", list_file=asked["list_file"], output_dir=disk)
        back = ask("import", list_id=asked["list_id"], import_dir=disk, db=anna.path)
        assert (back["imported"], back["missing"]) == (2, 0)
        ((path,),) = anna.sql("SELECT local_path FROM images WHERE local_path LIKE 'images/unknown/9-%'")
        assert (anna.folder / path).read_bytes() == small_jpeg(9)


def test_two_syncds_complete_each_other(new_place: Callable[[], Installation], tmp_path: Path) -> None:
    """Both run, and keep what they hold; what arrives is held, and not published."""
    mine, yours = new_place(), new_place()
    both, alike = small_jpeg(1), make_jpeg(5, 320, 240)
    for place, own in ((mine, 2), (yours, 3)):
        place.add("roll/final_crops/both.jpg", both)
        place.add("roll/final_crops/own.jpg", own)
    mine.add("roll/final_crops/alike.jpg", alike)
    yours.add("roll/final_crops/alike.jpg", make_jpeg(5, 320, 240, quality=60))
    with mine.daemon() as here, yours.daemon() as there:
        for place in (mine, yours):
            wait_for(lambda place=place: len(place.live()) == 3, what="three are live")
        for asks, gives, here_, there_ in ((mine, yours, here, there), (yours, mine, there, here)):
            before, disk = held(asks), tmp_path / f"disk-{asks.base.name}"
            found = here_.call("POST", "/api/exchange/analyze", {"remote_db": str(gives.catalogue)})
            assert (found["url_files"], found["near_matches"]) == (0, 1)
            wanted = held(gives) - before
            assert found["total_files"] == found["hash_files"] == len(wanted)
            near = here_.get(f"/api/exchange/lists/{found['list_id']}?side=near")
            (item,) = near["items"]
            assert item["near"] is not None
            lists = f"/api/exchange/lists/{found['list_id']}"
            only_here = here_.get(f"{lists}?side=ours")["items"]
            assert bool(only_here) == (asks is mine)  # by then they have all of mine
            for side, shown in (("theirs", item), ("near", item), *(("ours", one) for one in only_here)):
                route = f"{lists}/preview/{shown['file_id']}?of={side}&width=60"
                picture = http(asks.socket, "GET", route)
                assert picture.status == 200 and picture.body.startswith(b"\xff\xd8"), picture.body[:300]
            assert http(asks.socket, "GET", f"{lists}/preview/99999?of=ours").status == 404
            there_.call(
                "POST", "/api/exchange/export", {"list_file": found["list_file"], "output_dir": str(disk)}
            )
            given = there_.get(lists)["items"][0]
            picture = http(gives.socket, "GET", f"{lists}/preview/{given['file_id']}?width=60")
            assert picture.status == 200 and picture.body.startswith(b"\xff\xd8"), "who gives sees it too"
            taken = here_.call(
                "POST", "/api/exchange/import", {"list_id": found["list_id"], "import_dir": str(disk)}
            )
            assert (taken["imported"], taken["missing"], taken["rejected"]) == (len(wanted), 0, [])
            assert held(asks) == before | wanted
        assert held(mine) == held(yours)
        for place in (mine, yours):
            assert len(place.live()) == 3
            place.check()
