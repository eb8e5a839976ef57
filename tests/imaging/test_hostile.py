"""Hostile photos: each has its facts or its reason, and the pool goes on."""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import zlib
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from syncd.errors import Changed, Refused
from syncd.imaging.pool import ImagingPool
from tests.pictures import make_jpeg, write_jpeg

JPEG = make_jpeg(1, 320, 240, gps=True)


def png_of(width: int, height: int) -> bytes:
    """A valid 1-bit PNG of that size, all black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


async def reason(pool: ImagingPool, path: Path, data: bytes) -> str | None:
    path.write_bytes(data)
    facts = await pool.inspect(str(path))
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert (facts.perceptual_hash is None) == (facts.decode_error is not None)
    return facts.decode_error


async def test_reasons_are_for_people(pool: ImagingPool, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    assert await reason(pool, file, b"") == "empty file"
    assert await reason(pool, file, b"hello, world") == "not an image"
    assert await reason(pool, file, b"%!PS-Adobe EPSF\n" * 50) == "not an image"
    assert await reason(pool, file, b"SIMPLE  =                    T" + b" " * 2880) == "not an image"
    assert await reason(pool, file, JPEG[: len(JPEG) // 2]) == "truncated JPEG"
    assert (await reason(pool, file, JPEG[:20]) or "").startswith(("truncated JPEG", "damaged JPEG"))
    assert (await reason(pool, file, b"\x89PNG\r\n\x1a\n" + bytes(100)) or "").startswith("damaged PNG")
    assert (await reason(pool, file, b"II*\0" + bytes(100)) or "").startswith("damaged TIFF")
    assert (await reason(pool, file, b"\0\0\0\x18ftypheic" + bytes(100)) or "").startswith("damaged HEIF")
    assert pool.killed == 0


async def test_a_small_png_that_unpacks_to_177_megapixels(pool: ImagingPool, tmp_path: Path) -> None:
    data = png_of(13_300, 13_300)
    assert len(data) < 30_000
    assert await reason(pool, tmp_path / "a.png", data) == "177 megapixels, more than the limit of 150"
    with pytest.raises(Refused, match="177 megapixels"):
        await pool.perceptual_hash(data)
    with pytest.raises(Refused, match="177 megapixels"):
        await pool.preview(str(tmp_path / "a.png"), 64, 64)


async def test_a_jpeg_that_claims_to_be_enormous(pool: ImagingPool, tmp_path: Path) -> None:
    at = JPEG.index(b"\xff\xc0") + 5
    data = JPEG[:at] + struct.pack(">HH", 60_000, 60_000) + JPEG[at + 4 :]
    assert await reason(pool, tmp_path / "a.jpg", data) == "3600 megapixels, more than the limit of 600"


async def test_every_truncation_has_a_reason(pool: ImagingPool, tmp_path: Path) -> None:
    cuts = [1, 2, 3, 11, 12, 30, 100, 200, 400, 600, 700, *range(1000, len(JPEG) - 2, 1500)]
    for cut in cuts:
        assert await reason(pool, tmp_path / "a.jpg", JPEG[:cut]) is not None
    for file_format in ("PNG", "WEBP", "TIFF", "GIF", "AVIF", "BMP"):
        Image.effect_noise((120, 90), 60).convert("RGB").save(tmp_path / "whole", file_format)
        whole = (tmp_path / "whole").read_bytes()
        for part in (0.1, 0.5, 0.9):
            found = await reason(pool, tmp_path / "a", whole[: int(len(whole) * part)])
            assert found is not None, (file_format, part)
            assert found.startswith(("truncated", "damaged", "not an image"))
    assert pool.killed == 0


async def test_odd_names(pool: ImagingPool, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    for name in (
        b"new\nline.jpg",
        b"\xff\xfe-latin1-\xe9.jpg",
        "é.jpg".encode(),
        "e\u0301.jpg".encode(),
        b" .jpg",
    ):
        path = os.fsdecode(os.path.join(folder, name))
        with open(path, "wb") as file:
            file.write(JPEG)
        assert (await pool.inspect(path, root=str(tmp_path))).sha256 == hashlib.sha256(JPEG).hexdigest()
        os.unlink(path)
        with pytest.raises(Changed):
            await pool.inspect(path)


async def test_links_and_pipes_in_place_of_photos_never_block(pool: ImagingPool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "zero.jpg"):
        with anyio.fail_after(5), pytest.raises(Refused, match="not a photo"):
            await pool.inspect(str(tmp_path / name))
    assert pool.killed == 0


async def test_a_file_swapped_for_a_secret_is_never_read(pool: ImagingPool, tmp_path: Path) -> None:
    root = tmp_path / "images"
    photo = write_jpeg(root / "a.jpg", 1, width=200, height=100)
    (tmp_path / "secret").write_bytes(b"canary")
    stop = False

    def swap() -> None:
        while not stop:
            (root / "t").symlink_to("../secret")
            os.rename(root / "t", root / "a.jpg")
            (root / "t").write_bytes(photo)
            os.rename(root / "t", root / "a.jpg")

    seen: set[str] = set()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, swap)
        try:
            for _ in range(300):
                try:
                    seen.add((await pool.inspect(str(root / "a.jpg"), root=str(root))).sha256)
                except Refused:
                    seen.add("refused")
        finally:
            stop = True
    assert hashlib.sha256(b"canary").hexdigest() not in seen
    assert seen <= {hashlib.sha256(photo).hexdigest(), "refused"}
    assert "refused" in seen


async def test_a_growing_file_is_whole_or_changed(pool: ImagingPool, tmp_path: Path) -> None:
    """What is told as facts was, at one moment, the whole file."""
    file = tmp_path / "a.jpg"
    data = bytes(np.random.default_rng(1).integers(0, 256, 200_000, dtype=np.uint8))
    prefixes = {hashlib.sha256(data[:size]).hexdigest() for size in range(0, len(data) + 1, 1000)}
    file.write_bytes(b"")

    def grow() -> None:
        with file.open("ab", buffering=0) as handle:
            for start in range(0, len(data), 1000):
                handle.write(data[start : start + 1000])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, grow)
        for _ in range(50):
            try:
                facts = await pool.inspect(str(file))
            except Changed:
                continue
            assert facts.sha256 in prefixes
    assert (await pool.inspect(str(file))).sha256 == hashlib.sha256(data).hexdigest()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, len(JPEG) - 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=8
    )
)
def test_mutated_jpegs_never_break_the_pool(changes: list[tuple[int, bytes]]) -> None:
    """Each example asks for 4 variants in a fresh pool, beside a good photo that must not suffer."""
    mutants = []
    for cut in range(4):
        data = bytearray(JPEG)
        for at, patch in changes:
            where = (at >> cut) if cut else at
            data[where : where + len(patch)] = patch
        mutants.append(bytes(data))

    async def run(folder: Path) -> None:
        async with ImagingPool(1, folder / "staging") as pool:
            for mutant in [*mutants, JPEG]:
                (folder / "a.jpg").write_bytes(mutant)
                facts = await pool.inspect(str(folder / "a.jpg"))
                assert facts.sha256 == hashlib.sha256(mutant).hexdigest()
                assert (facts.perceptual_hash is None) == (facts.decode_error is not None)
            assert facts.decode_error is None
            assert pool.killed == 0

    with tempfile.TemporaryDirectory() as folder:
        anyio.run(run, Path(folder))
