"""EXIF: what is there is told in short texts, what makes no sense counts as absent."""

from __future__ import annotations

import io
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from syncd.imaging.exif import EXIF_IFD, CameraFacts, camera_facts, facts_of
from tests.pictures import make_exif

TAKEN = datetime(2025, 11, 4, 17, 30, 59)


def test_facts_are_short_and_readable() -> None:
    facts = facts_of(make_exif(TAKEN, orientation=6))
    assert facts == CameraFacts("2025-11-04T17:30:59", "Nikon", "COOLSCAN V", "50 mm", "f/2.8", "1/250", 6)


@pytest.mark.parametrize(
    "text",
    [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "2025:13:01 00:00:00",
        "2025:02:30 00:00:00",
        "",
        "yesterday",
    ],
)
def test_dates_that_are_none_are_none(text: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[0x9003] = text
    assert facts_of(exif).captured_at is None


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_format_tells_its_date(file_format: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, file_format, exif=make_exif(TAKEN).tobytes())
    with Image.open(buffer) as picture:
        assert camera_facts(picture).captured_at == "2025-11-04T17:30:59"


def test_texts_lose_control_characters_and_length() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Ni\x1b[31mkon\n"
    exif[0x0110] = "x" * 5000
    facts = facts_of(exif)
    assert facts.camera_make == "Ni[31mkon"
    assert facts.camera_model == "x" * 120


@given(st.binary(max_size=300))
def test_broken_exif_never_raises(tail: bytes) -> None:
    picture = Image.new("RGB", (8, 8))
    picture.info["exif"] = b"Exif\0\0" + make_exif(TAKEN).tobytes()[6:60] + tail
    assert isinstance(camera_facts(picture), CameraFacts)


def test_huge_exif_is_left_alone() -> None:
    picture = Image.new("RGB", (8, 8))
    picture.info["exif"] = b"Exif\0\0II*\0" + bytes(5 * 1024**2)
    assert camera_facts(picture) == CameraFacts()
