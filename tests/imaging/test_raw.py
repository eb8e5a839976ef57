"""Camera RAW: a small DNG as a camera would write it, and files that only claim to be one."""

from __future__ import annotations

import io
from pathlib import Path

import imagehash
import numpy as np
import tifffile
from PIL import Image

from syncd.imaging.pool import ImagingPool
from tests.pictures import make_picture

PICTURE = make_picture(31, 640, 480)


def write_dng(path: Path, orientation: int = 1) -> None:
    """`PICTURE` as a 14-bit Bayer mosaic (RGGB) with the tags that DNG 1.4 asks for."""
    linear = (np.asarray(PICTURE, dtype=np.float64) / 255) ** 2.2 * 16383
    mosaic = np.empty((480, 640), dtype=np.uint16)
    mosaic[0::2, 0::2] = linear[0::2, 0::2, 0]
    mosaic[0::2, 1::2] = linear[0::2, 1::2, 1]
    mosaic[1::2, 0::2] = linear[1::2, 0::2, 1]
    mosaic[1::2, 1::2] = linear[1::2, 1::2, 2]
    xyz_to_rgb = [32405, -15371, -4985, -9693, 18760, 416, 556, -2040, 10572]
    tifffile.imwrite(
        path,
        mosaic,
        photometric="cfa",
        extratags=[
            (271, "s", 0, "Leica", True),
            (272, "s", 0, "M Test", True),
            (274, "H", 1, orientation, True),
            (33421, "H", 2, (2, 2), True),
            (33422, "B", 4, (0, 1, 1, 2), True),
            (36867, "s", 0, "2025:11:04 17:30:59", True),
            (50706, "B", 4, (1, 4, 0, 0), True),
            (50708, "s", 0, "Leica M Test", True),
            (50714, "H", 1, 0, True),
            (50717, "H", 1, 16383, True),
            (50721, 10, 9, [part for value in xyz_to_rgb for part in (value, 10000)], True),
            (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
            (50778, "H", 1, 21, True),
        ],
    )


async def test_a_dng_is_developed_upright(pool: ImagingPool, tmp_path: Path) -> None:
    for orientation, turn in ((1, None), (6, Image.Transpose.ROTATE_270)):
        path = tmp_path / f"{orientation}.dng"
        write_dng(path, orientation)
        expected = PICTURE if turn is None else PICTURE.transpose(turn)
        facts = await pool.inspect(str(path))
        assert facts.decode_error is None
        assert (facts.image_format, facts.content_type) == ("RAW", "image/x-adobe-dng")
        assert facts.needs_rendering
        assert (facts.width, facts.height) == expected.size
        assert (facts.camera_make, facts.captured_at) == ("Leica", "2025-11-04T17:30:59")
        found = imagehash.hex_to_hash(str(facts.perceptual_hash))
        assert found - imagehash.phash(expected) <= 8  # developing changes tones, not what is where
        rendition = await pool.render(str(path), tmp_path / f"{orientation}.jpg", facts.sha256)
        with Image.open(rendition.path) as picture:
            assert picture.size == expected.size
            assert imagehash.phash(picture) - found <= 2
        assert Image.open(io.BytesIO(await pool.preview(str(path), 64, 64))).size[0] <= 64


async def test_a_dng_is_told_by_its_tags_not_its_name(pool: ImagingPool, tmp_path: Path) -> None:
    write_dng(tmp_path / "a.tif")
    assert (await pool.inspect(str(tmp_path / "a.tif"))).image_format == "RAW"


async def test_a_tiff_or_jpeg_named_as_raw_is_what_it_is(pool: ImagingPool, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.nef", "TIFF")
    PICTURE.save(tmp_path / "b.cr2", "JPEG")
    assert (await pool.inspect(str(tmp_path / "a.nef"))).image_format == "TIFF"
    assert (await pool.inspect(str(tmp_path / "b.cr2"))).image_format == "JPEG"


async def test_damaged_raw_has_its_reason(pool: ImagingPool, tmp_path: Path) -> None:
    for name, data in (
        ("a.cr3", b"\0\0\0\x18ftypcrx " + bytes(200)),
        ("b.raf", b"FUJIFILMCCD-RAW " + bytes(200)),
        ("c.orf", b"IIRO" + bytes(200)),
    ):
        (tmp_path / name).write_bytes(data)
        facts = await pool.inspect(str(tmp_path / name))
        assert (facts.decode_error or "").startswith(("damaged RAW", "truncated RAW"))
