"""The hash of a photo is imagehash's, scaled decoding or not."""

from __future__ import annotations

import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from syncd.imaging.inspect import hash_of_bytes
from tests.pictures import make_jpeg, make_picture


def full_hash(data: bytes) -> imagehash.ImageHash:
    with Image.open(io.BytesIO(data)) as picture:
        return imagehash.phash(ImageOps.exif_transpose(picture))


def distance(data: bytes) -> int:
    return int(imagehash.hex_to_hash(hash_of_bytes(data)) - full_hash(data))


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def grating(period: int) -> Image.Image:
    y, x = np.mgrid[0:1024, 0:1536]
    return Image.fromarray((((x // period + y // period) % 2) * 255).astype(np.uint8))


def test_scaled_decoding_keeps_the_hash_within_the_contract() -> None:
    random = np.random.default_rng(5)
    sizes = [(1600, 1067), (1067, 1600), (900, 600), (2000, 2000), (640, 480)]
    distances = [
        distance(
            make_jpeg(seed, *sizes[seed % 5], quality=int(random.integers(60, 96)), orientation=seed % 8 + 1)
        )
        for seed in range(60)
    ]
    assert max(distances) <= 2
    assert sum(distance == 0 for distance in distances) > 30  # and not by chance


def test_rows_that_fill_no_whole_block_do_not_move_the_hash() -> None:
    # Decoded at an eighth, 1,067 rows become 134, the last of only three: in full, it shifts the rest.
    distances = [distance(make_jpeg(seed, 1601, 1067 + seed % 8)) for seed in range(24)]
    assert max(distances) <= 2
    assert sum(distance == 0 for distance in distances) > 16


@pytest.mark.parametrize("period", [8, 16, 64, 128, 512])
def test_gratings_and_other_degenerate_jpegs_fall_back_to_the_full_picture(period: int) -> None:
    buffer = io.BytesIO()
    grating(period).save(buffer, "JPEG", quality=90)
    assert distance(buffer.getvalue()) == 0


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (64, 64), "red"),
        Image.new("L", (1, 1), 255),
        Image.new("RGB", (2000, 1500), "black"),
        Image.linear_gradient("L"),
        Image.radial_gradient("L"),
        Image.linear_gradient("L").rotate(90),
        grating(32),
        make_picture(3, 300, 200),
        make_picture(4, 300, 200).convert("1"),
        make_picture(5, 300, 200).convert("P"),
        make_picture(6, 300, 200).convert("LA"),
        make_picture(6, 31, 900),
    ],
    ids=lambda picture: f"{picture.mode}-{picture.size[0]}x{picture.size[1]}",
)
def test_without_scaling_it_is_exactly_imagehash(picture: Image.Image) -> None:
    assert distance(png(picture)) == 0


def test_different_pictures_have_distant_hashes() -> None:
    hashes = [imagehash.hex_to_hash(hash_of_bytes(make_jpeg(seed, 640, 480))) for seed in range(8)]
    assert min(a - b for i, a in enumerate(hashes) for b in hashes[:i]) > 8
