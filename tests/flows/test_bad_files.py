"""Whatever lies in the archive: published rightly or listed with its reason, never in the way of the rest."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

from tests.flows.place import Place, jpeg
from tests.pictures import make_picture


def _names(items: list[dict[str, Any]]) -> set[str]:
    return {Path(item["path"]).name for item in items}


def _bomb() -> bytes:
    """A small PNG that claims and holds 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 30_000
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(1 + side // 8)) for _ in range(side)) + packed.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_each_bad_file_is_listed_and_the_rest_is_published(place: Place, tmp_path: Path) -> None:
    good = place.put("b/final_crops/good.jpg", 1)
    place.put("b/final_crops/truncated.jpg", jpeg(2)[:3000])
    place.put("b/final_crops/empty.jpg", b"")
    place.put("b/final_crops/text.jpg", b"this is no picture\n" * 20)
    place.put("b/final_crops/bomb.png", _bomb())
    place.put("b/final_crops/notes.txt", b"hello")
    place.put("b/final_crops/.hidden.jpg", 3)
    place.put("b/final_crops/copy.jpg.part", 3)
    place.put("b/final_crops/~lock.jpg", 3)
    place.put("b/final_crops/.syncthing.x.jpg.tmp", 3)
    place.put("b/final_crops/half.tmp", 3)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg(9))
    (good.parent / "link.jpg").symlink_to(secret)
    (place.images / "linked-batch").symlink_to(tmp_path)
    os.mkfifo(good.parent / "pipe.jpg")
    report = place.once(exit_code=4)
    assert report["state"] == "partial"
    assert {"truncated.jpg", "empty.jpg", "text.jpg", "bomb.png"} <= _names(
        report["failed"] + report["skipped"]
    )
    assert {"truncated.jpg", "text.jpg", "bomb.png"} <= _names(report["failed"])
    assert {"notes.txt", "link.jpg", "pipe.jpg"} <= _names(report["skipped"])
    assert all(item["reason"] for item in report["failed"] + report["skipped"])
    assert report["ignored"] == 5
    assert place.objects() == {"scenes/b-good.jpg": jpeg(1)}
    assert jpeg(9) not in place.objects().values()
    recorded = {Path(path).name for (path,) in place.sql("SELECT local_path FROM image_versions")}
    assert "truncated.jpg" in recorded, "a photo that cannot be decoded is still recorded"


def test_failures_are_listed_each_run_and_retried_when_they_change(place: Place) -> None:
    path = place.put("b/final_crops/x.jpg", jpeg(1)[:3000])
    for _ in range(2):
        report = place.once(exit_code=4)
        assert [item["path"] for item in report["failed"]] == [str(path)]
    assert [item["path"] for item in place.once("--dry-run", exit_code=None)["failed"]] == [str(path)]
    place.put("b/final_crops/x.jpg", 1)
    report = place.once()
    assert (report["state"], report["uploaded"], report["failed"]) == ("done", 1, [])


def test_a_current_version_that_fails_leaves_what_is_live(place: Place) -> None:
    """The old object is no longer the current picture; what must not happen is a false record."""
    place.put("b/final_crops/x.jpg", 1)
    place.once()
    place.put("b/final_crops/x.jpg", jpeg(2)[:3000])
    report = place.once(exit_code=4)
    assert report["state"] == "partial"
    for scene_id, key in place.live().items():
        held = place.sql(
            "SELECT sha256 FROM image_versions WHERE scene_id = ? AND r2_key = ?", scene_id, key
        )[0][0]
        import hashlib

        assert hashlib.sha256(place.objects()[key]).hexdigest() == held


ODD = (
    "line\nbreak.jpg", "tab\there.jpg", "esc\x1b[31mred.jpg", "bidi\u202egpj.jpg", "quote'\".jpg",
    "per%2fcent.jpg", "ünï-ço∂é 写真 📷.jpg", "Café.jpg", "Cafe\u0301.jpg", "UPPER.jpg",
    "upper.jpg", "dot.dot.JPG", "plus+and&.jpeg",
    "-rf.jpg", "a" * 150 + ".jpg",
)  # fmt: skip


def test_odd_names_are_published_and_shown_escaped(place: Place) -> None:
    for seed, name in enumerate(ODD):
        place.put(f"b/final_crops/{name}", seed)
    place.put(b"b/final_crops/latin-\xe9.jpg", 90)
    report = place.once(exit_code=None)
    published = place.objects()
    listed = _names(report["failed"] + report["skipped"])
    contents = set(published.values())
    for seed, name in enumerate(ODD):
        assert jpeg(seed) in contents or name in listed, f"{name!r} is neither published nor listed"
    assert jpeg(90) in contents or any("latin" in name for name in listed)
    root = place.storage.resolve()
    for path in place.storage.rglob("*"):
        assert path.resolve().is_relative_to(root)
    shown = place.program("syncd", "once", "--config", place.config, "--dry-run")
    assert "\x1b" not in shown.stdout + shown.stderr
    assert "\u202e" not in shown.stdout + shown.stderr
    again = place.once(exit_code=None)
    assert again["actions"] == []


def test_a_batch_with_a_hostile_name_stays_below_the_root(place: Place) -> None:
    for name in ("b\x1b]0;own\x07", "-x", "b b", "b%2f..%2fc"):
        place.put(f"{name}/final_crops/x.jpg", 1)
    report = place.once(exit_code=None)
    assert report["uploaded"] + len(report["skipped"]) + len(report["failed"]) >= 4
    assert all(path.resolve().is_relative_to(place.storage.resolve()) for path in place.storage.rglob("*"))


def test_formats_out_of_the_ordinary(place: Place) -> None:
    def save(name: str, picture: Image.Image, image_format: str, **options: Any) -> None:
        buffer = io.BytesIO()
        picture.save(buffer, image_format, **options)
        place.put(f"b/final_crops/{name}", buffer.getvalue())

    picture = make_picture(6, 120, 80)
    save("cmyk.jpg", picture.convert("CMYK"), "JPEG")
    save("grey.jpg", picture.convert("L"), "JPEG")
    save("palette.png", picture.convert("P"), "PNG")
    save("alpha.png", picture.convert("RGBA"), "PNG")
    save("sixteen.tif", Image.frombytes("I;16", (50, 40), bytes(range(250)) * 16), "TIFF")
    save("moving.png", picture, "PNG", save_all=True, append_images=[picture.rotate(90)])
    report = place.once(exit_code=None)
    listed = _names(report["failed"] + report["skipped"])
    live = set(place.live())
    for name in ("cmyk", "grey", "palette", "alpha", "sixteen", "moving"):
        assert f"b-{name}" in live or any(name in one for one in listed), name
    assert {"b-cmyk", "b-grey", "b-palette", "b-alpha"} <= live
