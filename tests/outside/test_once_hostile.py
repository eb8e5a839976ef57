"""`syncd once` on files that no archive should hold and many do."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.outside.installation import BIN, TRACEBACK, Installation, has_raw_control, run, sha256, small_jpeg
from tests.pictures import make_exif, make_picture

pytestmark = pytest.mark.timeout(60)  # seconds, for a machine that is busy with other things


def reasons(done: dict[str, Any]) -> dict[str, str]:
    return {Path(item["path"]).name: item["reason"] for item in done["failed"]}


def png_bomb(side: int) -> bytes:
    """A tiny PNG that unpacks to `side` x `side` pixels of one bit."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((side // 8 + 2) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_pictures_that_cannot_be_decoded(place: Installation) -> None:
    place.add("b/final_crops/good.jpg", 1)
    place.add("b/final_crops/zero.jpg", b"")
    place.add("b/final_crops/text.jpg", b"this is no picture at all" * 10)
    place.add("b/final_crops/cut.jpg", small_jpeg(2)[:-400])
    place.add("b/final_crops/bomb.png", png_bomb(30_000))
    done = place.once(code=4)
    assert done["state"] == "partial"
    assert reasons(done).keys() == {"zero.jpg", "text.jpg", "cut.jpg", "bomb.png"}
    assert all(reasons(done).values())
    assert done["uploaded"] == 1 and place.stored() == ["scenes/b-good.jpg"]
    recorded = {Path(r["local_path"]).name: r for r in place.rows("SELECT * FROM image_versions")}
    assert recorded.keys() == {"good.jpg", "zero.jpg", "text.jpg", "cut.jpg", "bomb.png"}
    assert recorded["cut.jpg"]["sha256"] == sha256(small_jpeg(2)[:-400])
    assert recorded["cut.jpg"]["is_current"] == 1
    log = place.rows("SELECT * FROM sync_log ORDER BY started_at DESC LIMIT 1")[0]
    assert (log["status"], log["scenes"], log["versions"], log["uploaded"]) == ("partial", 5, 5, 1)
    assert (log["failed"], log["bytes"]) == (4, len(small_jpeg(1)))
    # Listed in every run, foreseen by a dry run, until it is repaired.
    again = place.once(code=4)
    assert (again["state"], again["uploaded"], again["actions"]) == ("partial", 0, [])
    assert reasons(again) == reasons(done)
    assert reasons(place.once("--dry-run", code=4)) == reasons(done)
    place.add("b/final_crops/cut.jpg", 2)
    repaired = place.once(code=4)
    assert repaired["uploaded"] == 1 and "cut.jpg" not in reasons(repaired)
    for name in ("zero.jpg", "text.jpg", "bomb.png"):
        (place.images / "b/final_crops" / name).unlink()
    assert place.once()["state"] == "done"
    place.check()


def test_undecodable_current_version_is_not_replaced_by_a_worse_one(place: Installation) -> None:
    place.add("b/initial_scan/x.jpg", 1)
    place.once()
    place.add("b/final_crops/x.jpg", b"broken")
    done = place.once(code=4)
    assert reasons(done).keys() == {"x.jpg"}
    current = place.rows("SELECT version_type FROM image_versions WHERE is_current = 1")
    assert current == [{"version_type": "final_crops"}]
    place.check()  # what the catalogue calls live is in storage with those bytes


def test_links_pipes_and_folders_are_not_read(place: Installation) -> None:
    secret = place.base / "secret.jpg"
    secret.write_bytes(small_jpeg(9))
    folder = place.images / "b/final_crops"
    place.add("b/final_crops/x.jpg", 1)
    (folder / "link.jpg").symlink_to(secret)
    (folder / "dangling.jpg").symlink_to("/nowhere/x.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    (place.base / "outside/final_crops").mkdir(parents=True)
    (place.base / "outside/final_crops/o.jpg").write_bytes(small_jpeg(9))
    (place.images / "linked-batch").symlink_to(place.base / "outside")
    (place.images / "b/linked_stage").symlink_to(place.base / "outside/final_crops")
    done = place.once()
    assert place.stored() == ["scenes/b-x.jpg"]
    told = {item["path"] for item in done["skipped"]}
    for name in ("link.jpg", "dangling.jpg", "pipe.jpg"):
        assert str(folder / name) in told
    assert place.value("SELECT COUNT(*) FROM image_versions") == 1


ODD = (
    "new\nline.jpg", "esc\x1b[31mape.jpg", "tab\tname.jpg", "quote'\".jpg", "per%cent %41.jpg",
    "per%2fcent.jpg",
    "plus+and&?#.jpg", "bidi\u202eevil.jpg", "日本語.jpg", "emoji 🎞.jpg", "ünï-ço∂é 写真 📷.jpg",
    "  spaces  .jpg", "-rf.jpg", "back\\slash.jpg", "dots...jpg", "dot.dot.JPG", "$(touch x).jpg",
    "x" * 200 + ".jpg", "plus+and&.jpeg",
    # twins stay apart
    "caf\u00e9.jpg", "cafe\u0301.jpg", "IMG.jpg", "img.jpg",
)  # fmt: skip
ODD_BATCHES = ("b\x1b]0;own\x07", "-x", "b b", "b%2f..%2fc")


def test_odd_names(either: Installation) -> None:
    """Each is published with its own bytes or listed with its reason, and never in the way of the rest."""
    names = [
        name for name in ODD if either.server is None or "\\" not in name
    ]  # SeaweedFS takes it for a slash
    paths = [f"b/final_crops/{name}" for name in names] + [f"{b}/final_crops/x.jpg" for b in ODD_BATCHES]
    contents = {str(either.add(path, seed)): small_jpeg(seed) for seed, path in enumerate(paths)}
    contents[str(either.add(b"b/final_crops/latin-\xe9.jpg", 90))] = small_jpeg(90)
    done = either.once(code=None)
    assert done["state"] in ("done", "partial")
    listed = {item["path"]: item["reason"] for item in done["failed"] + done["skipped"]}
    assert all(listed.values())
    live = either.rows("SELECT local_path, r2_key FROM image_versions WHERE r2_key IS NOT NULL")
    published = {row["local_path"]: row["r2_key"] for row in live}
    assert len(published) + len(listed) == len(contents) and not published.keys() & listed.keys()
    assert not published.keys() - contents.keys()
    assert done["uploaded"] == len(published) == len(set(published.values()))
    assert either.stored() == sorted(published.values())
    for path, key in published.items():
        assert either.read(key) == contents[path], path
    for name in ("caf\u00e9.jpg", "cafe\u0301.jpg", "IMG.jpg", "img.jpg"):
        assert str(either.images / "b/final_crops" / name) in published
    if either.server is None:
        root = either.storage.resolve()
        assert all(path.resolve().is_relative_to(root) for path in either.storage.rglob("*"))
    assert either.once(code=None)["actions"] == either.once("--dry-run", code=None)["actions"] == []
    either.check()


def test_names_never_reach_a_terminal_raw(place: Installation) -> None:
    raw = "e\x1b]0;owned\x07\x1b[2J\nx\x9b31m"
    turned = "t\u202e\u2066\u200f'x"
    for name in (raw, turned):
        place.add(f"b{name}/final_crops/{name}.jpg", 1)
        place.add(f"b{name}/final_crops/{name}broken.jpg", b"no")
        place.add(f"c/final_crops/{name}.txt", b"no")
        place.add(f"c/{name}/x.jpg", 1)
    for arguments in (["--dry-run"], [], ["--batch", f"zz{raw}"]):
        ran = run("syncd", "once", "--config", place.config, *arguments)
        assert not has_raw_control(ran.out + ran.err), ran
    with place.daemon() as daemon:
        told = daemon.call("POST", "/api/admin/sync", {"dry_run": True})["skipped"]
        assert {str(place.images / f"b{name}") for name in (raw, turned)} <= {item["path"] for item in told}
        for arguments in (
            ["status"], ["activity"], ["batches", "list"], ["scenes", "list"], ["jobs", "list"],
            ["sync", "--dry-run"], ["batches", "unpublish", f"b{turned}", "--yes"], ["sync", "--wait"],
            ["scenes", "show", f"b{turned}-{turned}"], ["scenes", "show", f"nope{raw}"], ["guards"],
            ["verify"], ["batches", "publish", f"b{raw}"], ["batches", "publish", f"b{turned}"],
            ["jobs", "retry", raw], ["similar", f"/{raw}"], ["approve", raw], ["pause", raw],
            ["pull", raw, "--to", str(place.base / "to")], ["batches", "source", f"b{turned}", raw],
        ):  # fmt: skip
            ran = place.ctl(*arguments, code=None)
            assert not has_raw_control(ran.out + ran.err), (arguments, ran)
        for item in daemon.get("/api/activity?limit=1000")["items"]:
            assert not has_raw_control(item["message"]), item
    assert not has_raw_control(daemon.log)


def test_stems_that_meet_are_versions_of_one_scene(place: Installation) -> None:
    place.add("b/final_crops/x.jpg", 1)
    place.add("b/final_crops/x.jpeg", 2)
    place.add("b/final_crops/x.JPG", 3)
    place.once()
    assert len(place.live()) == 1 and len(place.stored()) == 1
    assert place.value("SELECT COUNT(*) FROM image_versions") == 3
    assert place.once()["actions"] == []
    place.check()


def test_unusual_pictures_are_published(place: Installation) -> None:
    folder = place.images / "b/final_crops"
    folder.mkdir(parents=True)
    picture = make_picture(5, 90, 60)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("L").save(folder / "grey.jpg", progressive=True)
    picture.save(folder / "anim.webp", save_all=True, append_images=[make_picture(6, 90, 60)])
    picture.convert("P").save(folder / "palette.png")
    Image.new("I;16", (40, 30), 30_000).save(folder / "deep.png")
    picture.convert("RGBA").save(folder / "alpha.png")
    picture.save(folder / "moving.png", save_all=True, append_images=[picture.rotate(90)])
    done = place.once()
    assert done["uploaded"] == 7, done["failed"]
    for key in place.stored():
        assert place.read(key) == (folder / Path(key).name.removeprefix("b-")).read_bytes()
    assert all(row["perceptual_hash"] for row in place.rows("SELECT * FROM image_versions"))


def test_tiff_and_heic_are_rendered(place: Installation) -> None:
    from pillow_heif import from_pillow

    folder = place.images / "b/final_crops"
    folder.mkdir(parents=True)
    picture = make_picture(5, 90, 60)
    exif = make_exif(orientation=6, gps=True)
    picture.save(folder / "scan.tif", exif=exif)
    heif = from_pillow(picture)
    heif.save(folder / "phone.heic", exif=make_exif(gps=True).tobytes())
    import numpy as np
    import tifffile

    tifffile.imwrite(folder / "deep.tiff", np.asarray(picture).astype(np.uint16) * 257)
    done = place.once()
    assert done["uploaded"] == 3, done["failed"]
    assert place.stored() == ["scenes/b-deep.jpg", "scenes/b-phone.jpg", "scenes/b-scan.jpg"]
    for key in place.stored():
        with Image.open(place.storage / key) as made:
            assert made.format == "JPEG" and made.mode == "RGB"
            assert not made.getexif().get_ifd(0x8825)
            assert made.getexif().get(0x0112, 1) == 1
            upright = (60, 90) if "scan" in key else (90, 60)
            assert made.size == upright
            wanted = picture.rotate(-90, expand=True) if "scan" in key else picture
            near, far = wanted.convert("L").resize((9, 6)), made.convert("L").resize((9, 6))
            difference = [abs(a - b) for a, b in zip(near.tobytes(), far.tobytes(), strict=True)]
            assert sum(difference) / len(difference) < 12
    before = {row["local_path"]: row["sha256"] for row in place.rows("SELECT * FROM image_versions")}
    for name in ("scan.tif", "phone.heic", "deep.tiff"):
        assert before[str(folder / name)] == sha256((folder / name).read_bytes())
    assert place.once()["uploaded"] == 0


def test_a_growing_file_is_never_published_torn(place: Installation) -> None:
    """A copy that is still going on, then pauses for less than the settle time."""
    place.configure(batches={"settle_seconds": 0.4})
    data = small_jpeg(1) + bytes(200_000)
    path = place.add("b/final_crops/x.jpg", b"")

    def write() -> None:
        with path.open("r+b") as file:
            for start in range(0, len(data), len(data) // 20):
                file.write(data[start : start + len(data) // 20])
                file.flush()
                time.sleep(0.08)

    writer = threading.Thread(target=write)
    writer.start()
    done = place.once()
    writer.join()
    assert done["uploaded"] == 1
    assert place.read("scenes/b-x.jpg") == data
    assert place.value("SELECT COUNT(*) FROM image_versions") == 1
    place.check()


def test_unreadable_files_and_folders(place: Installation) -> None:
    """Root reads everything, so the run is root's without the right to."""
    if os.getuid() != 0:
        pytest.skip("needs root: it gives a right up")

    def once() -> tuple[int, Any]:
        drop = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        command = [*drop, str(BIN / "syncd"), "once", "--config", str(place.config), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert TRACEBACK not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    place.add("b/final_crops/x.jpg", 1)
    locked = place.add("b/final_crops/locked.jpg", 2)
    stage = place.add("b/initial_scan/only.jpg", 4).parent
    batch = place.add("c/final_crops/y.jpg", 3).parent.parent
    code, done = once()
    assert (code, done["uploaded"]) == (0, 4), done
    live = place.live()
    os.utime(locked, (1, 1))
    place.configure(batches={"on_missing": "withdraw"})
    for path in (locked, stage, batch):
        path.chmod(0)
    try:
        code, done = once()
        assert (code, done["state"], done["removed"]) == (4, "partial", 0), done
        told = {Path(item["path"]).name for item in done["failed"]}
        assert "c" in told and told - {"c"}, done["failed"]
        assert place.live() == live
        place.images.chmod(0)
        code, done = once()
        assert (code, done["state"], done["removed"]) == (1, "failed", 0), done
        assert done["error"] and place.live() == live
    finally:
        for path in (place.images, batch, stage, locked):
            path.chmod(0o755)
    code, done = once()
    assert (code, done["state"]) == (0, "done"), done
    assert place.live() == live
    place.check()
