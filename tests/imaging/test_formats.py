"""Each format and depth is told by content, hashed upright and, where browsers cannot show it, rendered."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import imagehash
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image, ImageChops, ImageCms, ImageOps, ImageStat

from syncd.errors import Changed, Refused
from syncd.imaging.pool import ImagingPool
from tests.pictures import make_exif, make_jpeg, make_picture

TAKEN = datetime(2025, 11, 4, 17, 30, 59)
EXIF = make_exif(TAKEN, orientation=6, gps=True).tobytes()
PICTURE = make_picture(11, 600, 400)
UPRIGHT_HASH = imagehash.phash(PICTURE.transpose(Image.Transpose.ROTATE_270))


def distance(found: str | None, expected: imagehash.ImageHash) -> int:
    assert found is not None
    return int(imagehash.hex_to_hash(found) - expected)


def pillow(file_format: str, **extra: object) -> Callable[[Path], None]:
    return lambda path: PICTURE.save(path, file_format, exif=EXIF, **extra)


def heif(path: Path) -> None:
    pillow_heif.from_pillow(PICTURE).save(path, exif=EXIF, quality=90)


def mpo(path: Path) -> None:
    PICTURE.save(path, "MPO", save_all=True, append_images=[make_picture(12, 600, 400)], exif=EXIF)


@pytest.mark.parametrize(
    ("write", "image_format", "content_type", "needs_rendering"),
    [
        (pillow("JPEG", quality=92), "JPEG", "image/jpeg", False),
        (pillow("PNG"), "PNG", "image/png", False),
        (pillow("WEBP", quality=92), "WEBP", "image/webp", False),
        (pillow("TIFF"), "TIFF", "image/tiff", True),
        (pillow("AVIF", quality=90), "AVIF", "image/avif", True),
        (heif, "HEIF", "image/heic", True),
        (mpo, "JPEG", "image/jpeg", False),
    ],
    ids=["jpeg", "png", "webp", "tiff", "avif", "heic", "mpo"],
)
async def test_formats(
    write: Callable[[Path], None],
    image_format: str,
    content_type: str,
    needs_rendering: bool,
    pool: ImagingPool,
    tmp_path: Path,
) -> None:
    path = tmp_path / "misleading.txt"
    write(path)
    facts = await pool.inspect(str(path))
    assert facts.decode_error is None
    assert (facts.image_format, facts.content_type) == (image_format, content_type)
    assert facts.needs_rendering is needs_rendering
    assert (facts.width, facts.height) == (400, 600)
    assert facts.captured_at == "2025-11-04T17:30:59"
    assert facts.camera_make == "Nikon"
    assert distance(facts.perceptual_hash, UPRIGHT_HASH) <= 2
    rendition = await pool.render(str(path), tmp_path / "staging" / "r.jpg", facts.sha256)
    data = Path(rendition.path).read_bytes()
    assert hashlib.sha256(data).hexdigest() == rendition.sha256
    assert hashlib.md5(data).hexdigest() == rendition.md5
    assert rendition.size_bytes == len(data)
    with Image.open(io.BytesIO(data)) as picture:
        exif = picture.getexif()
        assert (picture.format, picture.size) == ("JPEG", (400, 600))
        assert exif[0x0112] == 1
        assert exif[0x010F] == "Nikon"
        assert exif.get_ifd(0x8769)[0x9003] == "2025:11:04 17:30:59"
        assert 0x8825 not in exif
        assert imagehash.phash(picture) - UPRIGHT_HASH <= 2
    again = await pool.render(str(path), tmp_path / "staging" / "again.jpg", facts.sha256)
    assert again.sha256 == rendition.sha256


def ramp() -> np.ndarray:
    """The picture from 0 to 1, both reached."""
    values = np.asarray(PICTURE.convert("L"), dtype=np.float64) / 255
    values[0, :2] = 0, 1
    return values


@pytest.mark.parametrize(
    "pixels",
    [
        (ramp() * 65535).astype(np.uint16),
        ramp().astype(np.float32),
        (ramp() * 4000).astype(np.float32),
        (np.asarray(PICTURE).astype(np.uint16) * 257),
        (ramp() * 255).astype(np.uint8),
    ],
    ids=["gray16", "float-unit", "float-range", "rgb16", "gray8"],
)
async def test_deep_tiffs_are_scaled_not_clipped(
    pixels: np.ndarray, pool: ImagingPool, tmp_path: Path
) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    facts = await pool.inspect(str(path))
    if facts.decode_error is not None:
        pytest.fail(facts.decode_error)
    assert distance(facts.perceptual_hash, imagehash.phash(PICTURE)) <= 2
    rendition = await pool.render(str(path), tmp_path / "r.jpg", facts.sha256)
    with Image.open(rendition.path) as picture:
        assert imagehash.phash(picture) - imagehash.phash(PICTURE) <= 2
        assert abs(np.asarray(picture.convert("L")).mean() - np.asarray(PICTURE.convert("L")).mean()) < 6


async def test_sixteen_bit_png(pool: ImagingPool, tmp_path: Path) -> None:
    Image.fromarray((ramp() * 65535).astype(np.uint16)).save(tmp_path / "a.png")
    facts = await pool.inspect(str(tmp_path / "a.png"))
    assert distance(facts.perceptual_hash, imagehash.phash(PICTURE)) <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
async def test_colour_modes_have_imagehashs_hash(mode: str, pool: ImagingPool, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    PICTURE.convert(mode).save(path, "TIFF" if mode == "CMYK" else "PNG")
    facts = await pool.inspect(str(path))
    with Image.open(path) as picture:
        assert distance(facts.perceptual_hash, imagehash.phash(picture)) == 0
    assert len(await pool.preview(str(path), 60, 40, "rgb")) == 4 + 60 * 40 * 3


async def test_cmyk_jpeg(pool: ImagingPool, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    make_picture(1).convert("CMYK").save(path, "JPEG", quality=90)
    facts = await pool.inspect(str(path))
    with Image.open(path) as picture:
        assert distance(facts.perceptual_hash, imagehash.phash(picture)) <= 2


async def test_cie_lab_from_a_scanner_has_the_colours_it_had(pool: ImagingPool, tmp_path: Path) -> None:
    picture = PICTURE.convert("RGB")
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    scanned = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    assert scanned is not None
    scanned.save(tmp_path / "a.tif")
    facts = await pool.inspect(str(tmp_path / "a.tif"))
    assert facts.decode_error is None
    assert distance(facts.perceptual_hash, imagehash.phash(picture)) <= 2
    made = await pool.render(str(tmp_path / "a.tif"), tmp_path / "a.jpg", facts.sha256)
    with Image.open(made.path) as shown:
        difference = ImageChops.difference(shown.convert("RGB"), picture)
    assert ImageStat.Stat(difference).mean < [6, 6, 6]


async def test_transparency_is_shown_on_white(pool: ImagingPool, tmp_path: Path) -> None:
    for name, picture in (
        ("rgba.png", Image.new("RGBA", (20, 20), (255, 0, 0, 0))),
        ("la.png", Image.new("LA", (20, 20), (0, 0))),
        ("p.gif", Image.new("P", (20, 20), 0)),
    ):
        picture.save(tmp_path / name, **({"transparency": 0} if name == "p.gif" else {}))
        assert (await pool.preview(str(tmp_path / name), 20, 20, "rgb"))[4:] == b"\xff" * 1200


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
async def test_of_many_frames_the_first_counts(file_format: str, pool: ImagingPool, tmp_path: Path) -> None:
    frames = [make_picture(seed, 200, 150) for seed in (20, 21, 22)]
    frames[0].save(tmp_path / "a", file_format, save_all=True, append_images=frames[1:])
    facts = await pool.inspect(str(tmp_path / "a"))
    assert distance(facts.perceptual_hash, imagehash.phash(frames[0])) <= 6
    assert distance(facts.perceptual_hash, imagehash.phash(frames[1])) > 6


async def test_colours_are_converted_to_srgb(pool: ImagingPool, tmp_path: Path) -> None:
    lab = ImageCms.createProfile("LAB")
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "a.tif"
    PICTURE.save(path, "TIFF", icc_profile=swapped)
    rendition = await pool.render(
        str(path), tmp_path / "r.jpg", hashlib.sha256(path.read_bytes()).hexdigest()
    )
    with Image.open(rendition.path) as picture:
        assert "icc_profile" not in picture.info
        difference = np.abs(np.asarray(picture, dtype=int) - np.asarray(PICTURE, dtype=int)).mean()
        assert difference < 4
    broken = tmp_path / "b.tif"
    PICTURE.save(broken, "TIFF", icc_profile=ImageCms.ImageCmsProfile(lab).tobytes()[:100])
    await pool.render(str(broken), tmp_path / "b.jpg", hashlib.sha256(broken.read_bytes()).hexdigest())


async def test_a_rendition_is_of_the_expected_bytes_in_a_new_file(pool: ImagingPool, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    PICTURE.save(path, "TIFF")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(Changed):
        await pool.render(str(path), tmp_path / "r.jpg", "0" * 64)
    (tmp_path / "r.jpg").write_bytes(b"precious")
    with pytest.raises(Refused, match="exists"):
        await pool.render(str(path), tmp_path / "r.jpg", sha256)
    assert (tmp_path / "r.jpg").read_bytes() == b"precious"
    with pytest.raises(Refused, match="cannot be written"):
        await pool.render(str(path), tmp_path / "none" / "r.jpg", sha256)
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "r.jpg", "staging"]


async def test_hash_of_bytes_equals_hash_of_file(pool: ImagingPool, tmp_path: Path) -> None:
    data = make_jpeg(5, orientation=8)
    with Image.open(io.BytesIO(data)) as picture:
        expected = imagehash.phash(ImageOps.exif_transpose(picture))
    assert distance(await pool.perceptual_hash(data), expected) <= 2
