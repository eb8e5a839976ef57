"""Natural-looking photos made quickly and deterministically: smooth noise, shapes, film grain and EXIF."""

from __future__ import annotations

import functools
import io
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from PIL.TiffImagePlugin import IFDRational

EXIF_IFD, GPS_IFD = 0x8769, 0x8825


@functools.cache
def _grain(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(7).normal(128, 26, (height, width)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(noise)


def make_picture(seed: int, width: int = 1600, height: int = 1067) -> Image.Image:
    """An RGB picture that only `seed` and the size decide; different seeds look different."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (width, height))
    for cells, weight in ((3, 1.0), (9, 0.45), (40, 0.2)):
        small = random.integers(0, 256, (max(2, cells * height // width), cells, 3), dtype=np.uint8)
        layer = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        picture = layer if weight == 1.0 else Image.blend(picture, layer, weight)
    draw = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
        w, h = (int(v) for v in random.integers(max(2, width // 40), max(3, width // 4), 2))
        color = tuple(int(v) for v in random.integers(0, 256, 3))
        shape = draw.ellipse if random.random() < 0.6 else draw.rectangle
        shape((x - w // 2, y - h // 2, x + w // 2, y + h // 2), fill=color)
    return Image.blend(picture, Image.merge("RGB", [_grain(width, height)] * 3), 0.06)


def make_exif(
    captured_at: datetime | None = None, orientation: int = 1, *, gps: bool = False, camera: bool = True
) -> Image.Exif:
    """EXIF as a camera writes it: make, model, lens settings, and a place where `gps` is set."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    if camera:
        exif[0x010F], exif[0x0110] = "Nikon", "COOLSCAN V"
        exif.get_ifd(EXIF_IFD).update(
            {0x829A: IFDRational(1, 250), 0x829D: IFDRational(28, 10), 0x920A: IFDRational(50, 1)}
        )
    if captured_at is not None:
        exif.get_ifd(EXIF_IFD)[0x9003] = captured_at.strftime("%Y:%m:%d %H:%M:%S")
    if gps:
        degrees = (IFDRational(52, 1), IFDRational(30, 1), IFDRational(15, 1))
        exif.get_ifd(GPS_IFD).update({1: "N", 2: degrees, 3: "E", 4: degrees})
    return exif


def make_jpeg(
    seed: int,
    width: int = 1600,
    height: int = 1067,
    captured_at: datetime | None = None,
    orientation: int = 1,
    quality: int = 85,
    gps: bool = False,
) -> bytes:
    """A JPEG of about 150 kB at the default size."""
    buffer = io.BytesIO()
    exif = make_exif(captured_at, orientation, gps=gps)
    make_picture(seed, width, height).save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def write_jpeg(
    path: str | Path,
    seed: int,
    *,
    width: int = 1600,
    height: int = 1067,
    captured_at: datetime | None = None,
    orientation: int = 1,
    quality: int = 85,
    gps: bool = False,
) -> bytes:
    """Write `make_jpeg(seed, …)` to `path`, making its folder; the bytes written."""
    data = make_jpeg(seed, width, height, captured_at, orientation, quality, gps)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return data
