"""`syncd once` and the rules of the site, on real files."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import imagehash
from PIL import Image, ImageOps

from tests.outside.installation import Installation, run, sha256, small_jpeg
from tests.pictures import make_jpeg, make_picture


def versions(place: Installation, scene_id: str) -> list[dict[str, Any]]:
    return place.rows("SELECT * FROM image_versions WHERE scene_id = ? ORDER BY version_id", scene_id)


def test_first_sync_records_and_publishes(either: Installation) -> None:
    a = either.add("b1/final_crops/IMG_0001_crop.jpg", 1)
    either.add("b1/inverted_original_scans/IMG_0001_inverted.jpg", 2)
    either.add("b1/initial_scan/IMG_0001.jpg", 3)
    loose = either.add("b1/IMG_0002.jpg", 4)
    either.add("b1/initial_scan/IMG_0003.jpg", 5)
    either.add("b1/inverted_original_scans/IMG_0003_inv.jpg", 6)
    before = either.archive_state()
    done = either.once()
    assert (done["state"], done["scanned"], done["scenes"], done["versions"]) == ("done", 6, 3, 6)
    assert (done["uploaded"], done["removed"], done["failed"], done["dry_run"]) == (3, 0, [], False)
    assert done["bytes"] == sum(len(small_jpeg(n)) for n in (1, 4, 6))
    assert either.live() == {f"b1-IMG_000{n}": f"scenes/b1-IMG_000{n}.jpg" for n in (1, 2, 3)}
    assert either.read("scenes/b1-IMG_0003.jpg") == small_jpeg(6)
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
    # A second run has nothing to do, and a dry run leaves no trace.
    done = either.once()
    assert (done["state"], done["uploaded"], done["unchanged"], done["bytes"]) == ("done", 0, 6, 0)
    assert done["actions"] == [] and either.once("--dry-run")["actions"] == []
    assert either.value("SELECT COUNT(*) FROM sync_log") == 2
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


BASES = {
    "final_crops/IMG_0001.jpg": "IMG_0001",
    "final_crops/IMG_0001_crop.jpg": "IMG_0001",
    "final_crops/IMG_0001-CROP2.jpg": "IMG_0001",
    "final_crops/IMG_0001 crop-2.jpg": "IMG_0001",
    "final_crops/IMG_0001_inverted_final_edit.jpg": "IMG_0001",
    "inverted_original_scans/IMG_0001_inverted.jpg": "IMG_0001",
    "final_crops/IMG_0002_INVERTED Crop2.jpg": "IMG_0002",
    "inverted_original_scans/roll 3 positive.jpg": "roll 3",
    "inverted_original_scans/frame_inv 12.jpg": "frame",
    "initial_scan/roll-scan.jpg": "roll-scan",
    "initial_scan/night_crop.jpg": "night_crop",
    "final_crops/microcrop.jpg": "microcrop",
    "final_crops/cropduster.jpg": "cropduster",
    "final_crops/crop.jpg": "crop",
    "final_crops/edited_2024.jpg": "edited_2024",
    "final_crops/2024-05.jpg": "2024-05",
    "final_crops/lake final edit.jpg": "lake",
    "final_crops/Édimbourg_positive.jpg": "Édimbourg",
    "final_crops/a.b_scan.jpeg": "a.b",
    "top.jpg": "top",
}


def test_names_make_scenes_and_folders_make_stages(place: Installation) -> None:
    wanted = {}
    for number, (path, base) in enumerate(BASES.items()):
        batch = f"b{number:02}"
        file = place.add(f"{batch}/{path}", number)
        stage = path.partition("/")[0] if "/" in path else "initial_scan"
        wanted[str(file)] = (f"{batch}-{base}", batch, base, stage)
    # Stripping stops as soon as what is left is an initial scan of the batch.
    scan = place.add("c/initial_scan/roll-scan.jpg", 1)
    crop = place.add("c/final_crops/roll-scan_crop.jpg", 2)
    wanted[str(scan)] = ("c-roll-scan", "c", "roll-scan", "initial_scan")
    wanted[str(crop)] = ("c-roll-scan", "c", "roll-scan", "final_crops")
    place.once("--db-only")
    rows = place.rows("SELECT * FROM image_versions JOIN scenes USING (scene_id)")
    told = {
        r["local_path"]: (r["scene_id"], r["batch_name"], r["base_filename"], r["version_type"]) for r in rows
    }
    assert told == wanted


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


def test_what_is_live_follows_its_files(either: Installation) -> None:
    """A better stage comes, is replaced in place, and then by a file with another extension."""
    either.add("b/initial_scan/x.jpg", 1)
    either.once()
    path = either.add("b/final_crops/x_final.jpg", 2)
    done = either.once()
    assert (done["uploaded"], done["removed"]) == (1, 0)
    first, second = versions(either, "b-x")
    assert (first["r2_key"], first["is_current"]) == (None, 0)
    assert (second["r2_key"], second["is_current"]) == ("scenes/b-x.jpg", 1)
    either.check()

    path.write_bytes(small_jpeg(3))
    done = either.once()
    assert [a["action"] for a in done["actions"]] == ["record", "upload"]
    _, old, new = versions(either, "b-x")
    assert old["version_id"] == second["version_id"] != new["version_id"]
    assert (old["sha256"], old["r2_key"], old["is_current"]) == (sha256(small_jpeg(2)), None, 0)
    assert (new["sha256"], new["r2_key"], new["is_current"]) == (sha256(small_jpeg(3)), "scenes/b-x.jpg", 1)
    assert either.read("scenes/b-x.jpg") == small_jpeg(3)
    either.check()

    path.unlink()
    png = path.with_suffix(".png")
    make_picture(3, 40, 30).save(png)
    done = either.once()
    assert (done["uploaded"], done["removed"]) == (1, 1)
    assert either.stored() == ["scenes/b-x.png"]
    assert either.read("scenes/b-x.png") == png.read_bytes()
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
    stored = (place.storage / "scenes/b-x.jpg").stat()
    os.utime(path, (10**9, 10**9))
    dry = place.once("--dry-run")
    done = place.once()
    assert (place.storage / "scenes/b-x.jpg").stat().st_mtime_ns == stored.st_mtime_ns
    assert (dry["actions"], done["actions"], done["uploaded"], done["unchanged"]) == ([], [], 0, 1)
    assert len(versions(place, "b-x")) == 1


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


def test_what_is_recorded_of_photos(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", small_jpeg(1))
    place.add("b/inverted_original_scans/x.jpg", make_jpeg(2, 60, 40, datetime(2024, 5, 30, 17, 4, 5)))
    place.add("b/initial_scan/x.jpg", make_jpeg(3, 60, 40, datetime(1999, 1, 2, 3, 4, 5)))
    turned = place.add("b/initial_scan/none.jpg", make_jpeg(4, 240, 160, None, 6))
    place.once()
    found = {r["scene_id"]: r["capture_date"] for r in place.rows("SELECT * FROM scenes")}
    assert found == {"b-x": "2024-05-30T17:04:05", "b-none": None}
    # The perceptual hash is of the picture turned upright.
    with Image.open(turned) as picture:
        upright = imagehash.phash(ImageOps.exif_transpose(picture))
    (row,) = versions(place, "b-none")
    assert imagehash.hex_to_hash(row["perceptual_hash"]) - upright <= 4


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
