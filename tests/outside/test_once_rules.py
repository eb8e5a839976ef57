"""`syncd once` and the rules of the site, on real files."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import pytest

from tests.outside.installation import Installation, run, sha256, small_jpeg
from tests.pictures import make_jpeg


def versions(place: Installation, scene_id: str) -> list[dict[str, Any]]:
    return place.rows("SELECT * FROM image_versions WHERE scene_id = ? ORDER BY version_id", scene_id)


def test_first_sync_records_and_publishes(either: Installation) -> None:
    a = either.add("b1/final_crops/IMG_0001_crop.jpg", 1)
    either.add("b1/inverted_original_scans/IMG_0001_inverted.jpg", 2)
    either.add("b1/initial_scan/IMG_0001.jpg", 3)
    loose = either.add("b1/IMG_0002.jpg", 4)
    before = either.archive_state()
    done = either.once()
    assert (done["state"], done["scanned"], done["scenes"], done["versions"]) == ("done", 4, 2, 4)
    assert (done["uploaded"], done["removed"], done["failed"], done["dry_run"]) == (2, 0, [], False)
    assert done["bytes"] == len(small_jpeg(1)) + len(small_jpeg(4))
    assert either.live() == {"b1-IMG_0001": "scenes/b1-IMG_0001.jpg", "b1-IMG_0002": "scenes/b1-IMG_0002.jpg"}
    assert either.read("scenes/b1-IMG_0001.jpg") == a.read_bytes()
    (row,) = versions(either, "b1-IMG_0002")
    assert row["version_type"] == "initial_scan"
    assert row["local_path"] == str(loose)
    assert row["sha256"] == sha256(small_jpeg(4))
    assert row["size_bytes"] == len(small_jpeg(4))
    assert len(row["perceptual_hash"]) == 16
    assert row["is_current"] == 1
    assert row["synced_at"]
    either.check()
    assert either.archive_state() == before


def test_second_run_uploads_nothing(either: Installation) -> None:
    for n in range(5):
        either.add(f"b/final_crops/{n}.jpg", n)
    either.once()
    done = either.once()
    assert (done["state"], done["uploaded"], done["unchanged"], done["bytes"]) == ("done", 0, 5, 0)
    assert done["actions"] == [] and either.once("--dry-run")["actions"] == []
    assert either.value("SELECT COUNT(*) FROM sync_log") == 2  # dry runs leave no trace
    last = either.rows("SELECT * FROM sync_log ORDER BY started_at DESC, id DESC LIMIT 1")[0]
    assert last["status"] == "done" and last["finished_at"] >= last["started_at"]
    assert {"scenes", "versions", "uploaded", "skipped", "failed", "bytes", "error"} <= last.keys()


def test_default_is_private(place: Installation) -> None:
    del place.settings["batches"]["default_public"]
    place.configure()
    place.add("b/final_crops/x.jpg")
    done = place.once()
    assert (done["uploaded"], done["versions"]) == (0, 1)
    assert place.stored() == []
    assert place.rows("SELECT batch_name, is_public, source_directory FROM public_site_batches") == [
        {"batch_name": "b", "is_public": 0, "source_directory": None}
    ]
    place.sql("UPDATE public_site_batches SET is_public = 1 WHERE batch_name = 'b'")
    assert place.once()["uploaded"] == 1
    place.sql("UPDATE public_site_batches SET is_public = 0 WHERE batch_name = 'b'")
    done = place.once()
    assert (done["state"], done["removed"]) == ("done", 1)
    assert (place.stored(), place.live()) == ([], {})
    assert place.value("SELECT COUNT(*) FROM image_versions WHERE is_current = 1") == 1


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("final_crops/IMG_0001.jpg", "IMG_0001"),
        ("final_crops/IMG_0001_crop.jpg", "IMG_0001"),
        ("final_crops/IMG_0001-CROP2.jpg", "IMG_0001"),
        ("final_crops/IMG_0001 crop-2.jpg", "IMG_0001"),
        ("final_crops/IMG_0001_inverted_final_edit.jpg", "IMG_0001"),
        ("inverted_original_scans/roll 3 positive.jpg", "roll 3"),
        ("inverted_original_scans/frame_inv 12.jpg", "frame"),
        ("initial_scan/roll-scan.jpg", "roll-scan"),
        ("final_crops/microcrop.jpg", "microcrop"),
        ("final_crops/crop.jpg", "crop"),
        ("final_crops/edited_2024.jpg", "edited_2024"),
        ("final_crops/a.b_scan.jpeg", "a.b"),
    ],
)
def test_base_filename(place: Installation, path: str, base: str) -> None:
    place.add(f"b/{path}")
    place.once("--db-only")
    assert place.rows("SELECT scene_id, base_filename, batch_name FROM scenes") == [
        {"scene_id": f"b-{base}", "base_filename": base, "batch_name": "b"}
    ]


def test_stripping_stops_at_an_initial_scan(place: Installation) -> None:
    place.add("b/initial_scan/roll-scan.jpg", 1)
    place.add("b/final_crops/roll-scan_crop.jpg", 2)
    place.once("--db-only")
    assert [r["scene_id"] for r in place.rows("SELECT scene_id FROM scenes")] == ["b-roll-scan"]


def test_best_stage_newest_within_and_source_directory(place: Installation) -> None:
    old = place.add("b/final_crops/x_crop1.jpg", 1)
    place.add("b/final_crops/x_crop2.jpg", 2)
    os.utime(old, (1, 1))
    place.add("b/initial_scan/x.jpg", 3)
    place.add("b/final_crops/y.jpg", 4)
    place.once()
    assert place.read("scenes/b-x.jpg") == small_jpeg(2)
    place.sql("UPDATE public_site_batches SET source_directory = 'initial_scan'")
    done = place.once()
    assert (done["uploaded"], done["removed"]) == (1, 1)
    assert place.read("scenes/b-x.jpg") == small_jpeg(3)
    assert place.live() == {"b-x": "scenes/b-x.jpg"}
    assert place.value("SELECT COUNT(*) FROM image_versions WHERE is_current AND scene_id = 'b-y'") == 0
    place.check()
    place.sql("UPDATE public_site_batches SET source_directory = NULL")
    place.once()
    assert place.read("scenes/b-x.jpg") == small_jpeg(2)
    assert set(place.live()) == {"b-x", "b-y"}
    place.check()


def test_a_better_stage_takes_over(either: Installation) -> None:
    either.add("b/initial_scan/x.jpg", 1)
    either.once()
    either.add("b/final_crops/x_final.jpg", 2)
    done = either.once()
    assert (done["uploaded"], done["removed"]) == (1, 0)
    first, second = versions(either, "b-x")
    assert (first["r2_key"], first["is_current"]) == (None, 0)
    assert (second["r2_key"], second["is_current"]) == ("scenes/b-x.jpg", 1)
    either.check()


def test_replacing_in_place_makes_a_new_version(either: Installation) -> None:
    path = either.add("b/final_crops/x.jpg", 1)
    either.once()
    path.write_bytes(small_jpeg(2))
    done = either.once()
    assert [a["action"] for a in done["actions"]] == ["record", "upload"]
    old, new = versions(either, "b-x")
    assert old["version_id"] != new["version_id"]
    assert (old["sha256"], old["r2_key"], old["is_current"]) == (sha256(small_jpeg(1)), None, 0)
    assert (new["sha256"], new["r2_key"], new["is_current"]) == (sha256(small_jpeg(2)), "scenes/b-x.jpg", 1)
    assert either.read("scenes/b-x.jpg") == small_jpeg(2)
    either.check()


def test_replaced_with_the_same_size_and_mtime(place: Installation) -> None:
    path = place.add("b/final_crops/x.jpg", small_jpeg(1) + b"a")
    stat = path.stat()
    place.once()
    path.write_bytes(small_jpeg(1) + b"b")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert place.once()["uploaded"] == 1
    assert place.read("scenes/b-x.jpg").endswith(b"b")


def test_touched_file_is_no_new_version(place: Installation) -> None:
    path = place.add("b/final_crops/x.jpg")
    place.once()
    os.utime(path, (10**9, 10**9))
    dry = place.once("--dry-run")
    done = place.once()
    assert (dry["actions"], done["actions"], done["uploaded"], done["unchanged"]) == ([], [], 0, 1)
    assert len(versions(place, "b-x")) == 1


def test_extension_change_moves_the_key(either: Installation) -> None:
    from PIL import Image

    path = either.add("b/final_crops/x.jpg", 1)
    either.once()
    path.unlink()
    png = either.images / "b/final_crops/x.png"
    Image.new("RGB", (40, 30), "teal").save(png)
    done = either.once()
    assert (done["uploaded"], done["removed"]) == (1, 1)
    assert either.stored() == ["scenes/b-x.png"]
    assert either.read("scenes/b-x.png") == png.read_bytes()
    either.check()


def test_collision_gets_a_suffix(place: Installation) -> None:
    place.add("a/b-c.jpg", 1)
    place.once()
    place.add("a-b/c.jpg", 2)
    place.once()
    rows = place.rows("SELECT scene_id, batch_name FROM scenes ORDER BY scene_id")
    assert rows == [
        {"scene_id": "a-b-c", "batch_name": "a"},
        {"scene_id": "a-b-c~2", "batch_name": "a-b"},
    ]
    assert place.read("scenes/a-b-c~2.jpg") == small_jpeg(2)
    assert place.read("scenes/a-b-c.jpg") == small_jpeg(1)
    with place.daemon() as daemon:
        conflicts = daemon.status()["conflicts"]
        assert any("a-b-c~2" in text for text in conflicts), conflicts
        assert "a-b-c~2" in place.ctl("status").out
    place.check()


def test_capture_date_of_the_best_version_that_has_one(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", small_jpeg(1))
    place.add("b/inverted_original_scans/x.jpg", make_jpeg(2, 60, 40, datetime(2024, 5, 30, 17, 4, 5)))
    place.add("b/initial_scan/x.jpg", make_jpeg(3, 60, 40, datetime(1999, 1, 2, 3, 4, 5)))
    place.add("b/initial_scan/none.jpg", 4)
    place.once()
    found = {r["scene_id"]: r["capture_date"] for r in place.rows("SELECT * FROM scenes")}
    assert found == {"b-x": "2024-05-30T17:04:05", "b-none": None}


def test_prefix_and_changed_storage(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", 1)
    place.once()
    place.configure(storage={"prefix": "site/v2/"})
    done = place.once()
    assert (done["uploaded"], done["removed"]) == (1, 0)
    assert place.stored() == ["scenes/b-x.jpg", "site/v2/scenes/b-x.jpg"]
    assert place.live() == {"b-x": "site/v2/scenes/b-x.jpg"}
    first = place.storage
    place.configure(storage={"base_path": str(place.base / "other")})
    done = place.once()
    assert (done["uploaded"], done["removed"]) == (1, 0)
    assert (place.base / "other/site/v2/scenes/b-x.jpg").read_bytes() == small_jpeg(1)
    assert (first / "site/v2/scenes/b-x.jpg").exists()
    assert place.once()["uploaded"] == 0


def test_db_only_and_images_only(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", 1)
    done = place.once("--db-only")
    assert (done["uploaded"], done["versions"], place.stored()) == (0, 1, [])
    place.add("b/final_crops/y.jpg", 2)
    done = place.once("--images-only")
    assert done["uploaded"] == 1
    assert place.stored() == ["scenes/b-x.jpg"]
    assert place.value("SELECT COUNT(*) FROM image_versions") == 1
    both = run("syncd", "once", "--config", place.config, "--db-only", "--images-only")
    assert both.code == 2 and both.err and not both.out
    place.once()
    place.check()


def test_batch_filter(place: Installation) -> None:
    for name in "abc":
        place.add(f"{name}/final_crops/x.jpg")
    place.once("--batch", "a", "--batch", "c")
    assert place.stored() == ["scenes/a-x.jpg", "scenes/c-x.jpg"]
    unknown = run("syncd", "once", "--config", place.config, "--batch", "nope", "--json")
    assert unknown.code == 1
    assert unknown.json["state"] == "failed"
    assert "nope" in unknown.json["error"]


def test_images_dir_and_db_options(place: Installation) -> None:
    other = place.base / "elsewhere"
    (other / "b/final_crops").mkdir(parents=True)
    (other / "b/final_crops/x.jpg").write_bytes(small_jpeg(1))
    db = place.base / "sub" / "mine.db"
    done = place.once("--images-dir", other, "--db", db)
    assert done["uploaded"] == 1
    assert db.exists() and not place.catalogue.exists()
    assert place.once("--images-dir", other, "--db", db)["uploaded"] == 0


def test_ignored_and_skipped(place: Installation) -> None:
    place.add("b/final_crops/x.jpg")
    for name in (".hidden.jpg", "y.jpg.part", "z.tmp", ".syncthing.q.jpg.tmp", "~w.jpg"):
        place.add(f"b/final_crops/{name}")
    place.add("b/final_crops/notes.txt", b"hello")
    done = place.once()
    assert (done["state"], done["scanned"], done["ignored"]) == ("done", 1, 5)
    assert [item["path"] for item in done["skipped"]] == [str(place.images / "b/final_crops/notes.txt")]
    assert done["skipped"][0]["reason"]


def test_dry_run_before_anything_leaves_no_trace(place: Installation) -> None:
    place.add("b/final_crops/x.jpg")
    dry = place.once("--dry-run")
    assert dry["dry_run"] is True
    assert not place.state.exists() and not place.storage.exists()
    assert dry["actions"] == place.once()["actions"]


def test_vanished_is_kept_by_default(place: Installation) -> None:
    place.add("b/final_crops/keep.jpg", 1)
    gone = place.add("b/final_crops/gone.jpg", 2)
    place.once()
    gone.unlink()
    done = place.once()
    assert (done["state"], done["removed"], done["actions"]) == ("done", 0, [])
    assert set(place.live()) == {"b-keep", "b-gone"}
    place.check()


def test_fallback_to_a_worse_stage_when_the_best_vanishes(place: Installation) -> None:
    best = place.add("b/final_crops/x.jpg", 1)
    place.add("b/initial_scan/x.jpg", 2)
    place.once()
    best.unlink()
    assert place.once()["uploaded"] == 1
    assert place.read("scenes/b-x.jpg") == small_jpeg(2)
    place.check()


def test_report_for_people(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", 1)
    place.add("b/final_crops/bad.jpg", b"nothing")
    dry = run("syncd", "once", "--config", place.config, "--dry-run")
    assert "scenes/b-x.jpg" in dry.out
    ran = run("syncd", "once", "--config", place.config)
    assert ran.code == 4
    assert "bad.jpg" in ran.out + ran.err and "\x1b" not in ran.out + ran.err
