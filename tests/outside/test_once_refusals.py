"""What `syncd once` and its friends refuse, with which code, and what they leave as it was."""

from __future__ import annotations

import os
import shutil
import sqlite3

import pytest

from tests.outside.installation import Installation, run, sha256, small_jpeg


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["once", "--nope"], 2),
        (["once", "extra"], 2),
        (["nonsense"], 2),
        (["once", "--config", "/nowhere/syncd.toml"], 78),
        (["run", "--config", "/nowhere/syncd.toml"], 78),
        (["once", "--db-only", "--images-only"], 2),
        (["once", "--config", "/tmp"], 2),
        (["once", "--batch"], 2),
        (["run", "--config"], 2),
        (["once", "--db", ""], 2),
        (["once", "--images-dir", ""], 2),
        (["once", "--db", "/proc/no/such.db"], 78),
        (["once", "--images-dir", "."], 78),
        (["once", "--db", "./images/x.db"], 78),
        (["init", "n" * 300], 1),
        (["demo", "--dir", "syncd.toml/x"], 1),
    ],
)
def test_wrong_arguments(arguments: list[str], code: int, place: Installation) -> None:
    ran = run("syncd", *arguments, cwd=place.base)
    assert ran.code == code, ran
    assert ran.err and not ran.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[batches]\nimage_dir = 'x'\n", ["image_dir", "images_dir"]),
        ("[batches]\nsettle_seconds = 'soon'\n", ["settle_seconds"]),
        ("[storage]\ntype = 'ftp'\n", ["type"]),
        ("[storage]\ntype = 'r2'\n", ["bucket_name"]),
        ("[strage]\n", ["strage", "storage"]),
        ("not toml at all", ["syncd.toml"]),
        ("[guard]\nmax_delete = -1\n", ["max_delete"]),
        ("[storage]\nconcurrency = 0\n", ["concurrency"]),
    ],
)
def test_wrong_configuration(place: Installation, text: str, words: list[str]) -> None:
    place.config.write_text(text)
    # Both read it with the same words; that `run` does, one of them shows.
    for command in (["once"], ["run"]) if text.startswith("[strage]") else (["once"],):
        ran = run("syncd", *command, "--config", place.config, cwd=place.base)
        assert ran.code == 78, ran
        for word in [*words, str(place.config)]:
            assert word in ran.err
        assert not ran.out


def test_another_catalogue_leaves_the_daemons_work_alone(place: Installation) -> None:
    place.add("b/final_crops/x.jpg")
    with place.daemon():
        staged = place.state / "staging" / "half-made"
        staged.write_bytes(b"of the daemon")
        odd = os.fsencode(place.base) + b"/other/\xff ?#%41.db"
        assert place.once("--db", odd, "--db-only")["state"] == "done"
        os.unlink(odd), os.unlink(odd + b"-clean")
        done = place.once("--db", place.base / "other" / "mine.db", "--db-only")
        assert done["state"] == "done" and staged.exists()
    assert sorted(os.listdir(place.base / "other")) == ["lock", "mine.db", "mine.db-clean"]


def test_newer_catalogue_is_refused_untouched(place: Installation) -> None:
    place.add("b/final_crops/x.jpg")
    place.once()
    place.sql("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA user_version = 9999")
    before = sha256(place.catalogue.read_bytes())
    for command in ("once", "run"):
        ran = run("syncd", command, "--config", place.config)
        assert ran.code not in (0, 2, 4, 5), ran
        assert "newer" in ran.err
    assert sha256(place.catalogue.read_bytes()) == before


@pytest.mark.parametrize("damage", ["header", "page", "cut"])
def test_damaged_catalogue_is_refused_untouched(place: Installation, damage: str) -> None:
    for n in range(8):
        place.add(f"b/final_crops/{n}.jpg", n)
    place.once()
    place.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(place.catalogue.read_bytes())
    if damage == "header":
        data[:16] = b"not a database!!"
    elif damage == "page":
        for page in range(4096, len(data), 4096):
            data[page : page + 8] = os.urandom(8)
    else:
        del data[len(data) // 2 :]
    place.catalogue.write_bytes(data)
    objects = place.stored()
    for command in (["once"], ["once", "--dry-run"], ["run"]):
        ran = run("syncd", *command, "--config", place.config)
        assert ran.code not in (0, 2, 4, 5), (ran, command)
        assert "catalogue" in ran.err
        assert len(ran.err.strip().splitlines()) < 6
        assert place.catalogue.read_bytes() == bytes(data)
    assert place.stored() == objects


def test_catalogue_that_is_a_folder(place: Installation) -> None:
    place.catalogue.mkdir(parents=True)
    ran = run("syncd", "once", "--config", place.config)
    assert ran.code not in (0, 4, 5) and ran.err


def test_a_root_that_cannot_be_believed(place: Installation) -> None:
    for n in range(3):
        place.add(f"b{n}/final_crops/x.jpg", n)
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": 0, "max_delete_percent": 0})
    place.once()
    live, away = place.live(), place.base / "away"
    for how in ("missing", "empty", "file", "empty batches"):
        place.images.rename(away)
        if how == "empty":
            place.images.mkdir()
        elif how == "file":
            place.images.write_text("surprise")
        elif how == "empty batches":
            for n in range(3):
                (place.images / f"b{n}").mkdir(parents=True)
        for extra in ([], ["--dry-run"]):
            done = place.once(*extra, code=None)
            assert done["removed"] == 0, how
            assert done["state"] in ("failed", "refused"), (how, done)
        assert place.live() == live, how
        place.check()
        if place.images.is_dir():
            shutil.rmtree(place.images)
        elif place.images.exists():
            place.images.unlink()
        away.rename(place.images)
        done = place.once()
        assert (done["state"], done["uploaded"], done["removed"]) == ("done", 0, 0), how
    place.check()


def test_a_missing_root_from_the_start(place: Installation) -> None:
    place.images.rmdir()
    done = place.once(code=None)
    assert done["state"] == "failed" and str(place.images) in done["error"]


def withdrawing(place: Installation, count: int, limit: int) -> None:
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": limit, "max_delete_percent": 0})
    for n in range(count):
        place.add(f"b/final_crops/x{n:02}.jpg", n)
    place.add("b/final_crops/stays.jpg", 99)
    place.once()


def test_withdrawing_within_the_limit(place: Installation) -> None:
    withdrawing(place, 3, 3)
    for path in place.images.rglob("x*.jpg"):
        path.unlink()
    dry = place.once("--dry-run")
    done = place.once()
    assert (done["state"], done["removed"]) == ("done", 3)
    assert dry["actions"] == done["actions"]
    assert place.stored() == ["scenes/b-stays.jpg"]
    place.check()


def test_more_than_the_limit_waits_for_a_person(place: Installation) -> None:
    withdrawing(place, 4, 3)
    for path in place.images.rglob("x*.jpg"):
        path.unlink()
    dry = place.once("--dry-run", code=5)
    done = place.once(code=5)
    assert done["state"] == "refused" and done["removed"] == 0 and done["guard_id"]
    assert dry["actions"] == done["actions"] == []
    assert len(place.live()) == 5
    again = place.once(code=5)
    assert again["guard_id"] == done["guard_id"]
    place.check()
    with place.daemon() as daemon:
        (guard,) = daemon.get("/api/guards")["items"]
        assert (guard["id"], guard["count"], len(guard["actions"])) == (done["guard_id"], 4, 4)
        assert guard["kind"] and guard["reason"] and guard["created_at"]
        assert {a["action"] for a in guard["actions"]} == {"remove"}
        # One of them comes back: only the others are still called for.
        place.add("b/final_crops/x00.jpg", 0)
        approved = daemon.call("POST", f"/api/approve/{guard['id']}", {})
        daemon.job(approved["job_id"])
        daemon.wait_live(["scenes/b-stays.jpg", "scenes/b-x00.jpg"])
        assert daemon.get("/api/guards")["items"] == []
        daemon.call("POST", "/api/approve/nothing", {}, status=404)
        daemon.call("POST", f"/api/approve/{guard['id']}", {}, status=404)
    place.check()


def test_a_guard_disappears_with_its_cause(place: Installation) -> None:
    withdrawing(place, 4, 3)
    away = {path: path.read_bytes() for path in place.images.rglob("x*.jpg")}
    for path in away:
        path.unlink()
    place.once(code=5)
    for path, data in away.items():
        path.write_bytes(data)
    done = place.once()
    assert (done["state"], done["uploaded"], done["removed"]) == ("done", 0, 0)
    with place.daemon() as daemon:
        assert daemon.get("/api/guards")["items"] == []
    place.check()


def test_a_private_batch_is_no_case_for_the_guard(place: Installation) -> None:
    withdrawing(place, 4, 1)
    place.sql("UPDATE public_site_batches SET is_public = 0")
    done = place.once()
    assert (done["state"], done["removed"], place.stored()) == ("done", 5, [])


def test_rows_by_hand_keep_their_bounds(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", 1)
    place.add("b/initial_scan/x.jpg", 2)
    place.once()
    assert place.value("PRAGMA journal_mode") == "wal" and place.value("PRAGMA user_version") >= 1
    db = sqlite3.connect(place.catalogue)
    try:
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE image_versions SET is_current = 1")
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE image_versions SET r2_key = 'scenes/b-x.jpg'")
    finally:
        db.close()


def test_modes_under_a_careless_umask(place: Installation) -> None:
    place.add("b/final_crops/x.jpg")
    ran = run("syncd", "once", "--config", place.config, umask=0)
    assert ran.code == 0
    assert place.state.stat().st_mode & 0o777 == 0o700
    for path in place.state.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_init_writes_settings_that_work_and_never_overwrites(place: Installation) -> None:
    folder = place.base / "fresh"
    assert run("syncd", "init", folder).code == 0
    (folder / "images/b/final_crops").mkdir(parents=True)
    (folder / "images/b/final_crops/x.jpg").write_bytes(small_jpeg(1))
    ran = run("syncd", "once", "--json", cwd=folder)
    assert ran.code == 0 and ran.json["versions"] == 1 and ran.json["uploaded"] == 0
    text = (folder / "syncd.toml").read_text()
    (folder / "syncd.toml").write_text(text + "\n# mine\n")
    again = run("syncd", "init", folder)
    assert (folder / "syncd.toml").read_text() == text + "\n# mine\n"
    assert again.code in (0, 1)
