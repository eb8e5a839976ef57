"""What people do beside the daemon: edit the catalogue, lock it, move folders, set foolish paths."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.outside.gate import gate
from tests.outside.installation import BIN, TRACEBACK, Daemon, Installation, run, small_jpeg, wait_for

pytestmark = pytest.mark.timeout(60)  # seconds, for a machine that is busy with other things


def test_rows_deleted_by_hand_come_back(daemon: Daemon) -> None:
    place = daemon.place
    for n in range(3):
        place.add(f"b/final_crops/{n}.jpg", n)
    keys = [f"scenes/b-{n}.jpg" for n in range(3)]
    daemon.wait_live(keys)
    place.sql("UPDATE image_versions SET r2_key = NULL WHERE scene_id = 'b-0'")
    daemon.wait_live(keys, 10)
    place.sql("DELETE FROM image_versions WHERE scene_id = 'b-1'")
    daemon.wait_live(keys, 10)
    # The shell has foreign keys off.
    for statement in ("DELETE FROM scenes WHERE scene_id = 'b-2'", "DELETE FROM public_site_batches"):
        place.sql(statement)
        assert not place.rows("PRAGMA foreign_key_check")
        wait_for(lambda: sorted(place.live().values()) == keys, what=statement)
    place.sql("UPDATE image_versions SET perceptual_hash = 'no hash' WHERE scene_id = 'b-0'")
    assert len(daemon.call("POST", "/api/similar?max_distance=64", {"scene_id": "b-1"})["items"]) == 1
    assert daemon.get("/api/scenes/b-0")["live"]
    assert daemon.sync()["state"] == "done"
    daemon.wait_idle()
    assert daemon.services()["site"]["restarts"] == 0
    place.check()


def write_by_hand(place: Installation, assignment: str) -> None:
    """What a person types into sqlite3; a constraint may refuse it."""
    done = subprocess.run(
        ["sqlite3", "-cmd", ".timeout 5000", place.catalogue, f"UPDATE public_site_batches SET {assignment}"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1, 19)


def test_a_foolish_source_directory(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", 1)
    place.once()
    for value in ("'nope'", "''", "'final_crops/../..'", "NULL", "5"):
        write_by_hand(place, f"source_directory = {value}")
        assert place.once(code=None)["state"] in ("done", "partial"), value
        place.check()


def test_a_foolish_is_public(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", 1)
    place.once()
    with place.daemon() as daemon:
        for number, value in enumerate(("5", "'yes'", "NULL", "-1", "1.0", "'1'"), 2):
            write_by_hand(place, f"is_public = {value}")
            place.add(f"b/final_crops/y{number}.jpg", number)
            wait_for(lambda n=number: len(place.rows("SELECT * FROM image_versions")) == n)
            daemon.wait_idle()
            daemon.get("/api/batches")
            assert daemon.sync()["state"] == "done", value
    place.check()


def test_a_catalogue_locked_by_hand(daemon: Daemon) -> None:
    """Somebody holds a write transaction open; the daemon waits and goes on."""
    place = daemon.place
    place.add("b/final_crops/x.jpg", 1)
    daemon.wait_live(["scenes/b-x.jpg"])
    db = sqlite3.connect(place.catalogue, isolation_level=None, timeout=5)
    try:
        db.execute("BEGIN IMMEDIATE")
        place.add("b/final_crops/y.jpg", 2)
        time.sleep(3)
        assert daemon.get("/healthz") and daemon.status()
        db.execute("ROLLBACK")
    finally:
        db.close()
    daemon.wait_live(["scenes/b-x.jpg", "scenes/b-y.jpg"], 15)
    reader = sqlite3.connect(f"file:{place.catalogue}?mode=ro", uri=True)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM image_versions").fetchone()
        place.add("b/final_crops/z.jpg", 3)
        daemon.wait_live([f"scenes/b-{n}.jpg" for n in "xyz"])
    finally:
        reader.close()
    place.sql("VACUUM")
    place.add("b/final_crops/w.jpg", 4)
    daemon.wait_live([f"scenes/b-{n}.jpg" for n in "wxyz"])
    daemon.wait_idle()
    place.check()


def test_scene_ids_that_meet_at_the_same_moment(daemon: Daemon) -> None:
    place = daemon.place
    for n in range(15):
        place.add(f"a/initial_scan/b-{n}.jpg", n)
        place.add(f"a-b/initial_scan/{n}.jpg", n + 20)
        place.add(f"a-b-{n}/initial_scan/c.jpg", n + 40)
        place.add(f"a-b/initial_scan/{n}-c.jpg", n + 41)
    wait_for(lambda: len(place.live()) == 60, 15)
    daemon.wait_idle()
    assert daemon.sync()["state"] == "done"
    assert daemon.status()["conflicts"]
    held = place.rows("SELECT scene_id, batch_name, base_filename FROM scenes")
    assert len({(row["batch_name"], row["base_filename"]) for row in held}) == len(held) == 60
    for row in held:
        plain = f"{row['batch_name']}-{row['base_filename']}"
        assert row["scene_id"] in (plain, f"{plain}~2")
    daemon.wait_idle()
    place.check()


def test_a_mind_changed_in_the_middle(s3_place: Installation) -> None:
    """Published, withdrawn and published again while uploads are under way."""
    place = s3_place
    assert place.server is not None
    place.configure(batches={"default_public": False}, storage={"concurrency": 4})
    for n in range(30):
        place.add(f"b/final_crops/{n}.jpg", n)
    with gate(place.server.port) as way:
        way.switch("slow")
        place.configure(storage={"endpoint_url": f"http://127.0.0.1:{way.port}"})
        with place.daemon() as daemon:
            wait_for(lambda: daemon.status()["counts"]["versions"] == 30)
            for wanted in (True, False, True, False):
                daemon.publish("b", wanted)
                time.sleep(0.7)
            daemon.wait_live([], 15)
            daemon.publish("b", True)
            place.add("b/final_crops/3.jpg", 77)
            time.sleep(0.5)
            place.add("b/final_crops/3.jpg", 78)
            place.sql("UPDATE public_site_batches SET is_public = 0")
            time.sleep(0.3)
            place.sql("UPDATE public_site_batches SET is_public = 1")
            way.switch("pass")
            daemon.wait_live([f"scenes/b-{n}.jpg" for n in range(30)], 15)
            wait_for(lambda: place.read("scenes/b-3.jpg") == small_jpeg(78))
            daemon.wait_idle()
    place.check()


def test_files_swapped_for_links(daemon: Daemon) -> None:
    """Somebody swaps files and folders for links to what must not be published."""
    place = daemon.place
    secret = place.base / "secret"
    canary = small_jpeg(4) + b"CANARY" * 100
    for folder in ("", "b/final_crops"):
        (secret / folder).mkdir(parents=True, exist_ok=True)
        for n in range(3):
            (secret / folder / f"{n}.jpg").write_bytes(canary)
    ended = threading.Event()
    chance = random.Random(1)

    def swap() -> None:
        batch, stage = place.images / "b", place.images / "b/final_crops"
        until = time.monotonic() + 3
        while time.monotonic() < until:
            n = chance.randrange(3)
            file, link = stage / f"{n}.jpg", stage / ".link"
            stage.mkdir(parents=True, exist_ok=True)
            file.with_name(".new").write_bytes(small_jpeg(chance.randrange(20)))
            file.with_name(".new").rename(file)
            time.sleep(chance.choice([0, 0.01, 0.06]))
            link.symlink_to(secret / f"{n}.jpg")
            link.rename(file)
            if chance.random() < 0.2:
                target, real = chance.choice([(stage, "final_crops"), (batch, "")]), place.base / "real"
                target[0].rename(real)
                target[0].symlink_to(secret / "b" / target[1])
                time.sleep(0.02)
                target[0].unlink()
                real.rename(target[0])
        ended.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = b""
    while not ended.is_set():
        for path in place.storage.rglob("*.jpg"):
            try:
                seen = path.read_bytes()
            except OSError:
                continue
            assert b"CANARY" not in seen, path
    swapper.join()
    for n in range(3):
        (place.images / f"b/final_crops/{n}.jpg").unlink(missing_ok=True)
        place.add(f"b/final_crops/{n}.jpg", n)
    daemon.wait_live([f"scenes/b-{n}.jpg" for n in range(3)], 15)
    wait_for(lambda: all(place.read(f"scenes/b-{n}.jpg") == small_jpeg(n) for n in range(3)))
    daemon.wait_idle()
    place.check()


def test_links_planted_in_storage(place: Installation) -> None:
    outside = place.base / "outside"
    outside.mkdir()
    place.storage.mkdir()
    (place.storage / "scenes").symlink_to(outside)
    place.add("b/final_crops/x.jpg", 1)
    done = place.once(code=None)
    assert list(outside.iterdir()) == [], done
    assert done["state"] in ("failed", "partial") and place.live() == {}
    (place.storage / "scenes").unlink()
    victim = outside / "victim.jpg"
    victim.write_bytes(b"precious")
    (place.storage / "scenes").mkdir()
    (place.storage / "scenes/b-x.jpg").symlink_to(victim)
    place.once(code=None)
    assert victim.read_bytes() == b"precious"


def test_folders_inside_each_other(place: Installation) -> None:
    """Storage or state below the archive would publish itself, and write where nothing is written."""
    place.add("b/final_crops/x.jpg", 1)
    for inside in (place.images, place.images / "site", place.images / "b/final_crops"):
        for section, key in (("storage", "base_path"), ("daemon", "state_dir")):
            kept = place.settings[section][key]
            place.configure(**{section: {key: str(inside)}})
            before = place.archive_state()
            ran = run("syncd", "once", "--config", place.config)
            assert place.archive_state() == before, (section, inside)
            assert ran.code == 78 and key in ran.err, (section, inside, ran)
            place.configure(**{section: {key: kept}})


def test_names_too_long_for_the_storage(either: Installation) -> None:
    either.add(f"{'b' * 200}/final_crops/{'x' * 200}.jpg", 1)
    either.add("c/final_crops/fine.jpg", 2)
    done = either.once(code=None)
    assert "scenes/c-fine.jpg" in either.stored()
    assert (done["uploaded"], len(done["failed"])) in ((2, 0), (1, 1))
    again = either.once(code=None)
    assert (again["uploaded"], len(again["failed"])) == (0, len(done["failed"]))
    either.check()


def test_times_out_of_the_ordinary(place: Installation) -> None:
    for number, moment in enumerate((-(10**9), 0, 2**31, 7 * 10**9, 2**33)):
        os.utime(place.add(f"b/final_crops/{number}.jpg", number), (moment, moment))
    assert place.once()["uploaded"] == 5
    assert place.once()["actions"] == []
    place.check()


def test_places_that_are_files(place: Installation) -> None:
    place.state.write_text("a file")
    for command in ("once", "run"):
        ran = run("syncd", command, "--config", place.config)
        assert ran.code not in (0, 2, 4, 5) and str(place.state) in ran.err
    place.state.unlink()
    place.storage.write_text("a file")
    place.add("b/final_crops/x.jpg", 1)
    done = place.once(code=None)
    assert done["state"] in ("failed", "partial") and done["uploaded"] == 0
    assert place.storage.read_text() == "a file"


def test_a_socket_path_too_long(place: Installation) -> None:
    place.configure(daemon={"socket": str(place.base / ("s" * 120))})
    ran = run("syncd", "run", "--config", place.config)
    assert ran.code not in (0, 2, 3) and "socket" in ran.err


def test_the_daemon_starts_without_the_images_folder(place: Installation) -> None:
    place.images.rmdir()
    with place.daemon() as daemon:
        wait_for(lambda: daemon.status()["blocked"], 30)
        place.add("b/final_crops/x.jpg", 1)
        wait_for(lambda: not daemon.status()["blocked"], 30)
        daemon.wait_live(["scenes/b-x.jpg"])


def test_the_reader_of_a_report_goes_away(place: Installation) -> None:
    for n in range(30):
        place.add(f"b/final_crops/{n}.jpg", n)
    command = f"{BIN / 'syncd'} once --config {place.config} --dry-run | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=20)
    assert TRACEBACK not in done.stderr


def test_once_interrupted_at_a_terminal(place: Installation) -> None:
    for n in range(60):
        place.add(f"b/final_crops/{n}.jpg", n)
    process = subprocess.Popen(
        [BIN / "syncd", "once", "--config", place.config],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for(lambda: place.catalogue.exists() and place.stored(), 10)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert TRACEBACK not in output and process.returncode in (130, 1, -signal.SIGINT, 0), output
    place.once()
    place.check()
    assert len(place.live()) == 60


def test_a_batch_moved_and_a_root_that_is_a_link(place: Installation) -> None:
    real = place.base / "real"
    place.images.rename(real)
    place.images.symlink_to(real)
    place.add("b/final_crops/x.jpg", 1)
    done = place.once(code=None)
    if done["state"] == "done":
        assert done["uploaded"] == 1
        (path,) = (Path(row["local_path"]) for row in place.rows("SELECT local_path FROM image_versions"))
        assert path.is_absolute() and path.read_bytes() == small_jpeg(1)
        (real / "b").rename(real / "c")
        done = place.once()
        assert (done["uploaded"], done["removed"]) == (1, 0)
        place.check()
    else:
        assert str(place.images) in done["error"]


def test_verify_and_repair_while_everything_moves(s3_place: Installation) -> None:
    """A repair never brings back what is withdrawn or replaced at that moment, nor calls it wrong."""
    place = s3_place
    assert place.server is not None
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": 1000})
    for n in range(24):
        place.add(f"b{n % 3}/initial_scan/{n}.jpg", n)
    with place.daemon() as daemon:
        daemon.wait_live([f"scenes/b{n % 3}-{n}.jpg" for n in range(24)], 15)
        chance = random.Random(3)
        found: list[dict[str, Any]] = []
        ended = threading.Event()

        def verify() -> None:
            while not ended.is_set():
                request = {"repair": chance.random() < 0.5, "deep": chance.random() < 0.5}
                found.append(daemon.call("POST", "/api/verify", request))

        verifier = threading.Thread(target=verify)
        verifier.start()
        for turn in range(10):
            n = chance.randrange(24)
            place.add(f"b{n % 3}/initial_scan/{n}.jpg", 30 + turn)
            place.add(f"b{n % 3}/final_crops/{n}_crop.jpg", 50 + turn)
            daemon.publish(f"b{turn % 3}", turn % 2 == 0)
            (place.images / f"b{turn % 3}/initial_scan/{turn}.jpg").unlink(missing_ok=True)
            time.sleep(0.25)
        ended.set()
        verifier.join()
        for n in range(3):
            daemon.publish(f"b{n}", True)
        daemon.wait_idle()
        assert daemon.sync()["state"] == "done"
        assert found
        for report in found:
            assert report["missing"] == report["wrong"] == report["orphaned"] == [], report
        (damaged, *others) = place.stored()
        place.server.request("PUT", f"/{place.bucket}/{damaged}", body=b"damaged")
        place.server.request("DELETE", f"/{place.bucket}/{others[0]}")
        assert daemon.call("POST", "/api/verify", {"repair": True})["repaired"] == 2
    place.check()
