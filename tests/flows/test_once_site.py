"""What `syncd once` makes of an archive: scenes, versions, objects, rows."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import imagehash
import pillow_heif
import pytest
from PIL import Image

from tests.flows.place import Place, jpeg
from tests.pictures import make_exif, make_picture

BASES = {
    "b/initial_scan/roll-scan.jpg": "roll-scan",
    "b/final_crops/roll-scan_crop.jpg": "roll-scan",
    "b/initial_scan/IMG_0001.jpg": "IMG_0001",
    "b/inverted_original_scans/IMG_0001_inverted.jpg": "IMG_0001",
    "b/final_crops/IMG_0001-crop-2.jpg": "IMG_0001",
    "b/final_crops/IMG_0002_INVERTED Crop2.jpg": "IMG_0002",
    "b/final_crops/lake final edit.jpg": "lake",
    "b/final_crops/2024-05.jpg": "2024-05",
    "b/final_crops/cropduster.jpg": "cropduster",
    "b/initial_scan/night_crop.jpg": "night_crop",
    "b/final_crops/Édimbourg_positive.jpg": "Édimbourg",
    "b/top.jpg": "top",
}


def test_names_make_scenes_and_folders_make_stages(place: Place) -> None:
    for seed, name in enumerate(BASES):
        place.put(name, seed)
    place.once("--db-only")
    rows = place.sql(
        "SELECT local_path, base_filename, scene_id, version_type, batch_name"
        " FROM image_versions JOIN scenes USING (scene_id)"
    )
    assert {str(Path(path).relative_to(place.images)): base for path, base, *_ in rows} == BASES
    for path, base, scene_id, stage, batch in rows:
        assert (scene_id, batch) == (f"b-{base}", "b")
        folder = Path(path).parent.name
        assert stage == ("initial_scan" if folder == "b" else folder)
        assert Path(path).is_absolute()


def test_the_best_stage_is_current_and_live(place: Place) -> None:
    for seed, name in enumerate(
        ("initial_scan/x.jpg", "inverted_original_scans/x_inv.jpg", "final_crops/x_crop.jpg")
    ):
        place.put(f"b/{name}", seed)
    place.put("b/initial_scan/y.jpg", 8)
    place.put("b/inverted_original_scans/y_inv.jpg", 9)
    report = place.once()
    assert (report["state"], report["uploaded"], report["scenes"], report["versions"]) == ("done", 2, 2, 5)
    current = dict(place.sql("SELECT scene_id, version_type FROM image_versions WHERE is_current = 1"))
    assert current == {"b-x": "final_crops", "b-y": "inverted_original_scans"}
    assert place.live() == {"b-x": "scenes/b-x.jpg", "b-y": "scenes/b-y.jpg"}
    assert place.objects() == {"scenes/b-x.jpg": jpeg(2), "scenes/b-y.jpg": jpeg(9)}


def test_source_directory_limits_and_withdraws(place: Place) -> None:
    for seed, name in enumerate(("initial_scan/x.jpg", "final_crops/x_crop.jpg", "final_crops/z.jpg")):
        place.put(f"b/{name}", seed)
    place.once()
    place.write_sql("UPDATE public_site_batches SET source_directory = 'initial_scan' WHERE batch_name = 'b'")
    place.once()
    assert place.objects() == {"scenes/b-x.jpg": jpeg(0)}
    assert place.live() == {"b-x": "scenes/b-x.jpg"}
    assert place.sql("SELECT count(*) FROM image_versions WHERE scene_id = 'b-z' AND is_current = 1") == [
        (0,)
    ]


def test_what_is_recorded_of_a_photo(place: Place) -> None:
    taken_at = datetime(1994, 8, 13, 17, 5, 9)
    data = jpeg(5, taken_at, 6)
    path = place.put("b/final_crops/x.jpg", data)
    place.once()
    row = place.sql(
        "SELECT sha256, size_bytes, perceptual_hash, local_path, capture_date, synced_at"
        " FROM image_versions JOIN scenes USING (scene_id)"
    )[0]
    assert row[:2] == (hashlib.sha256(data).hexdigest(), len(data))
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert imagehash.hex_to_hash(row[2]) - imagehash.phash(upright) <= 4
    assert row[3:5] == (str(path), "1994-08-13T17:05:09")
    assert row[5] is not None
    assert place.objects() == {"scenes/b-x.jpg": data}, "a JPEG goes up unchanged"


def test_capture_date_is_the_best_version_that_has_one(place: Place) -> None:
    place.put("b/initial_scan/x.jpg", jpeg(1, datetime(1990, 1, 2, 3, 4, 5)))
    place.put("b/inverted_original_scans/x_inv.jpg", jpeg(2, datetime(1991, 1, 2, 3, 4, 5)))
    place.put("b/final_crops/x_crop.jpg", 3)
    place.once("--db-only")
    assert place.sql("SELECT capture_date FROM scenes") == [("1991-01-02T03:04:05",)]


def test_png_and_webp_keep_their_extension(place: Place) -> None:
    for name, image_format in (("p.png", "PNG"), ("w.webp", "WEBP")):
        buffer = io.BytesIO()
        make_picture(3, 120, 80).save(buffer, image_format)
        place.put(f"b/final_crops/{name}", buffer.getvalue())
    place.once()
    assert set(place.objects()) == {"scenes/b-p.png", "scenes/b-w.webp"}


@pytest.mark.parametrize("image_format", ["TIFF", "HEIF"])
def test_what_browsers_cannot_show_is_rendered_without_its_place(place: Place, image_format: str) -> None:
    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    exif = make_exif(datetime(2001, 2, 3, 4, 5, 6), 6 if image_format == "TIFF" else 1, gps=True)
    make_picture(4, 240, 160).save(buffer, image_format, exif=exif.tobytes())
    suffix = {"TIFF": "tif", "HEIF": "heic"}[image_format]
    place.put(f"b/final_crops/x.{suffix}", buffer.getvalue())
    place.once()
    published = place.objects()
    assert set(published) == {"scenes/b-x.jpg"}
    rendered = Image.open(io.BytesIO(published["scenes/b-x.jpg"]))
    assert rendered.format == "JPEG"
    assert rendered.size == ((160, 240) if image_format == "TIFF" else (240, 160))
    assert not rendered.getexif().get_ifd(0x8825)
    assert rendered.getexif().get(0x0112, 1) == 1
    assert place.sql("SELECT sha256 FROM image_versions") == [
        (hashlib.sha256(buffer.getvalue()).hexdigest(),)
    ]


def test_a_second_run_does_nothing_and_a_touch_is_no_change(place: Place) -> None:
    path = place.put("b/final_crops/x.jpg", 1)
    place.once()
    before = place.sql("SELECT version_id, synced_at FROM image_versions")
    stamp = (place.storage / "scenes/b-x.jpg").stat().st_mtime_ns
    for change in (lambda: None, lambda: os.utime(path)):
        change()
        report = place.once()
        assert (report["uploaded"], report["removed"], report["unchanged"]) == (0, 0, 1)
        assert report["actions"] == []
    assert place.sql("SELECT version_id, synced_at FROM image_versions") == before
    assert (place.storage / "scenes/b-x.jpg").stat().st_mtime_ns == stamp


def test_a_file_replaced_in_place_is_a_new_version(place: Place) -> None:
    place.put("b/final_crops/x.jpg", 1)
    place.once()
    old = place.sql("SELECT version_id FROM image_versions")[0][0]
    place.put("b/final_crops/x.jpg", 2)
    report = place.once()
    assert report["uploaded"] == 1
    rows = place.sql("SELECT version_id, r2_key, is_current, sha256 FROM image_versions ORDER BY version_id")
    assert rows[0] == (old, None, 0, hashlib.sha256(jpeg(1)).hexdigest())
    assert rows[1][1:] == ("scenes/b-x.jpg", 1, hashlib.sha256(jpeg(2)).hexdigest())
    assert rows[1][0] != old
    assert place.objects() == {"scenes/b-x.jpg": jpeg(2)}


def test_a_better_stage_that_arrives_takes_over(place: Place) -> None:
    place.put("b/initial_scan/x.jpg", 1)
    place.once()
    place.put("b/final_crops/x_crop.jpg", 2)
    place.once()
    assert place.sql("SELECT version_type, r2_key FROM image_versions WHERE r2_key IS NOT NULL") == [
        ("final_crops", "scenes/b-x.jpg")
    ]
    assert place.objects() == {"scenes/b-x.jpg": jpeg(2)}


def test_a_changed_extension_removes_the_old_object(place: Place) -> None:
    place.put("b/initial_scan/x.jpg", 1)
    place.once()
    buffer = io.BytesIO()
    make_picture(3, 120, 80).save(buffer, "PNG")
    place.put("b/final_crops/x.png", buffer.getvalue())
    place.once()
    assert place.objects() == {"scenes/b-x.png": buffer.getvalue()}
    assert place.live() == {"b-x": "scenes/b-x.png"}


def test_private_batches_are_recorded_and_nothing_more(place: Place) -> None:
    place.configure(batches={"default_public": False})
    place.put("b/final_crops/x.jpg", 1)
    report = place.once()
    assert (report["uploaded"], report["state"]) == (0, "done")
    assert place.sql("SELECT is_public, source_directory FROM public_site_batches") == [(0, None)]
    assert place.sql("SELECT is_current, r2_key FROM image_versions") == [(1, None)]
    assert place.objects() == {}
    place.write_sql("UPDATE public_site_batches SET is_public = 1 WHERE batch_name = 'b'")
    assert place.once()["uploaded"] == 1
    place.write_sql("UPDATE public_site_batches SET is_public = 0 WHERE batch_name = 'b'")
    assert place.once()["removed"] == 1
    assert (place.objects(), place.live()) == ({}, {})
    assert place.sql("SELECT count(*) FROM image_versions") == [(1,)]


def _steps(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    keys = ("action", "scene_id", "version_type", "local_path", "key")
    return sorted(tuple(str(action[key]) for key in keys) for action in report["actions"])


def test_a_dry_run_changes_nothing_and_foresees_the_run(place: Place) -> None:
    for seed, name in enumerate(("b/initial_scan/x.jpg", "b/final_crops/x_crop.jpg", "c/final_crops/y.jpg")):
        place.put(name, seed)
    plan = place.once("--dry-run")
    assert plan["dry_run"] is True
    assert not place.state.exists() or not any(place.state.iterdir())
    assert place.objects() == {}
    assert _steps(plan) == _steps(place.once())
    # Then everything at once: a replacement, a new one, a withdrawal.
    place.put("b/final_crops/x_crop.jpg", 7)
    place.put("b/final_crops/new.jpg", 8)
    place.write_sql("UPDATE public_site_batches SET is_public = 0 WHERE batch_name = 'c'")
    before = place.sql("SELECT * FROM image_versions"), place.objects()
    plan = place.once("--dry-run")
    assert (place.sql("SELECT * FROM image_versions"), place.objects()) == before
    assert {action["action"] for action in plan["actions"]} == {"record", "upload", "remove"}
    assert _steps(plan) == _steps(place.once())
    assert _steps(place.once("--dry-run")) == []


def test_db_only_and_images_only(place: Place) -> None:
    place.put("b/final_crops/x.jpg", 1)
    report = place.once("--db-only")
    assert (report["uploaded"], place.objects()) == (0, {})
    assert place.sql("SELECT count(*) FROM image_versions") == [(1,)]
    place.put("b/final_crops/new.jpg", 2)
    report = place.once("--images-only")
    assert (report["uploaded"], set(place.objects())) == (1, {"scenes/b-x.jpg"})
    assert place.sql("SELECT count(*) FROM image_versions") == [(1,)]
    done = place.program("syncd", "once", "--config", place.config, "--db-only", "--images-only")
    assert done.returncode == 2


def test_batch_filter_images_dir_and_db(place: Place, tmp_path: Path) -> None:
    for batch in ("a", "b", "c"):
        place.put(f"{batch}/final_crops/x.jpg", 1)
    place.once("--batch", "a", "--batch", "c")
    assert set(place.live()) == {"a-x", "c-x"}
    other = Place(tmp_path / "other")
    other.put("z/final_crops/q.jpg", 2)
    place.once("--images-dir", other.images, "--db", tmp_path / "own.db")
    db = sqlite3.connect(tmp_path / "own.db")
    assert db.execute("SELECT scene_id FROM scenes").fetchall() == [("z-q",)]
    db.close()
    other.remove()


def test_two_batches_that_make_one_scene_id(place: Place) -> None:
    place.put("a-b/final_crops/c.jpg", 1)
    place.once()
    place.put("a/final_crops/b-c.jpg", 2)
    place.once()
    assert dict(place.sql("SELECT scene_id, batch_name FROM scenes")) == {"a-b-c": "a-b", "a-b-c~2": "a"}
    assert place.objects() == {"scenes/a-b-c.jpg": jpeg(1), "scenes/a-b-c~2.jpg": jpeg(2)}
    assert place.once()["actions"] == []


def test_prefix_is_part_of_the_key(place: Place) -> None:
    place.configure(storage={"prefix": "photos/"})
    place.put("b/final_crops/x.jpg", 1)
    place.once()
    assert place.live() == {"b-x": "photos/scenes/b-x.jpg"}
    assert set(place.objects()) == {"photos/scenes/b-x.jpg"}


def test_another_storage_is_filled_and_the_old_one_left(place: Place) -> None:
    place.put("b/final_crops/x.jpg", 1)
    place.once()
    new = place.home / "storage2"
    place.configure(storage={"base_path": str(new)})
    assert place.once()["uploaded"] == 1
    assert place.objects(new) == place.objects() == {"scenes/b-x.jpg": jpeg(1)}
    assert place.once()["actions"] == []


def test_the_archive_is_never_touched(place: Place) -> None:
    for seed in range(4):
        place.put(f"b/final_crops/{seed}.jpg", seed)
    place.put("b/final_crops/cut.jpg", jpeg(1)[:3000])
    place.put("b/notes.txt", b"hello")
    before = place.archive_digest()
    place.once(exit_code=4)
    place.write_sql("UPDATE public_site_batches SET is_public = 0")
    place.once("--dry-run", exit_code=4)
    place.once(exit_code=4)
    assert place.objects() == {}
    assert place.archive_digest() == before


def test_when_versions_go_the_default_is_to_keep(place: Place) -> None:
    paths = [place.put(f"b/final_crops/{name}.jpg", seed) for seed, name in enumerate("xyz")]
    place.once()
    paths[0].unlink()
    report = place.once()
    assert report["removed"] == 0
    assert set(place.objects()) == {"scenes/b-x.jpg", "scenes/b-y.jpg", "scenes/b-z.jpg"}


def test_on_missing_withdraw_takes_a_scene_off_the_site(place: Place) -> None:
    place.configure(batches={"on_missing": "withdraw"})
    paths = [place.put(f"b/final_crops/{name}.jpg", seed) for seed, name in enumerate("xyz")]
    place.once()
    paths[0].unlink()
    assert place.once()["removed"] == 1
    assert set(place.objects()) == {"scenes/b-y.jpg", "scenes/b-z.jpg"}
    assert set(place.live()) == {"b-y", "b-z"}


def test_a_great_removal_that_nobody_asked_for_is_held_back(place: Place) -> None:
    place.configure(batches={"on_missing": "withdraw"}, guard={"max_delete": 2, "max_delete_percent": 5})
    paths = [place.put(f"b/final_crops/{seed}.jpg", seed) for seed in range(6)]
    place.once()
    for path in paths[:4]:
        path.unlink()
    report = place.once(exit_code=5)
    assert report["state"] == "refused"
    assert len(place.objects()) == 6
    assert len(place.live()) == 6


@pytest.mark.parametrize("state", ["missing", "empty", "file"])
def test_a_root_that_is_not_there_removes_nothing(place: Place, state: str) -> None:
    place.configure(batches={"on_missing": "withdraw"})
    place.put("b/final_crops/x.jpg", 1)
    place.once()
    place.images.rename(place.home / "away")
    if state == "empty":
        place.images.mkdir()
    elif state == "file":
        place.images.write_text("not a folder")
    done = place.program("syncd", "once", "--config", place.config, "--json")
    assert done.returncode != 0
    assert place.objects() == {"scenes/b-x.jpg": jpeg(1)}
    assert set(place.live()) == {"b-x"}


def test_the_catalogue_as_a_person_asks_it(place: Place) -> None:
    place.put("b/final_crops/x.jpg", 1)
    place.put("b/final_crops/cut.jpg", jpeg(1)[:3000])
    place.once(exit_code=4)
    assert place.sql("SELECT COUNT(*) FROM image_versions WHERE r2_key IS NOT NULL") == [(1,)]
    row = place.sql(
        "SELECT error, started_at, finished_at, status, scenes, versions, uploaded, skipped, failed, bytes"
        " FROM sync_log ORDER BY started_at DESC LIMIT 1"
    )[0]
    assert (row[3], row[4], row[5], row[6], row[8], row[9]) == ("partial", 2, 2, 1, 1, len(jpeg(1)))
    assert place.sql("PRAGMA journal_mode") == [("wal",)]
    assert place.sql("PRAGMA user_version")[0][0] >= 1
    assert place.sql("PRAGMA integrity_check") == [("ok",)]
    db = sqlite3.connect(place.state / "catalogue.db")
    db.execute("PRAGMA foreign_keys = OFF")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("UPDATE image_versions SET is_current = 1, scene_id = 'b-x'")
    db.close()


def test_modes_are_private_whatever_the_umask(place: Place) -> None:
    old = os.umask(0)
    try:
        place.put("b/final_crops/x.jpg", 1)
        place.once()
    finally:
        os.umask(old)
    assert place.state.stat().st_mode & 0o777 == 0o700
    for path in place.state.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("make", ["newer", "damaged"])
def test_a_newer_or_damaged_catalogue_is_refused_untouched(place: Place, make: str) -> None:
    place.put("b/final_crops/x.jpg", 1)
    place.once()
    path = place.state / "catalogue.db"
    if make == "newer":
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 9999")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
    else:
        path.write_bytes(b"this is not a database at all" * 1000)
        for extra in ("-wal", "-shm"):
            path.with_name(path.name + extra).unlink(missing_ok=True)
    before = path.read_bytes()
    done = place.program("syncd", "once", "--config", place.config)
    assert done.returncode not in (0, 4, 5)
    assert "Traceback" not in done.stderr
    assert "catalogue" in done.stderr
    assert path.read_bytes() == before


def test_wrong_configuration_says_what(place: Place) -> None:
    place.configure(batches={"settle_secnds": 1})
    done = place.program("syncd", "once", "--config", place.config)
    assert done.returncode == 78
    assert "settle_secnds" in done.stderr
    assert "settle_seconds" in done.stderr
    assert str(place.config) in done.stderr
    assert place.program("syncd", "once", "--config", place.home / "none.toml").returncode == 78
