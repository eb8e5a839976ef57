"""What a camera wrote beside the picture. Nothing here ever fails a photo."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any, NamedTuple

from PIL import Image

MAKE, MODEL, ORIENTATION, EXIF_IFD = 0x010F, 0x0110, 0x0112, 0x8769
EXPOSURE_TIME, F_NUMBER, DATE_TIME_ORIGINAL, FOCAL_LENGTH = 0x829A, 0x829D, 0x9003, 0x920A
MAX_EXIF_BYTES = 4 * 1024**2
_DATE = re.compile(r"(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d):(\d\d)")


class CameraFacts(NamedTuple):
    """Short readable texts; `captured_at` is `YYYY-MM-DDTHH:MM:SS` by the camera's clock."""

    captured_at: str | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    focal_length: str | None = None
    aperture: str | None = None
    shutter_speed: str | None = None
    orientation: int = 1


def camera_facts(picture: Image.Image) -> CameraFacts:
    """The facts in the EXIF data of an opened (not necessarily decoded) picture."""
    if len(picture.info.get("exif", b"")) > MAX_EXIF_BYTES:
        return CameraFacts()
    try:
        return facts_of(picture.getexif())
    except Exception:  # noqa: BLE001 - broken EXIF raises anything; the picture is still good
        return CameraFacts()


def facts_of(exif: Image.Exif) -> CameraFacts:
    """The facts in parsed EXIF data; a tag that makes no sense counts as absent."""
    try:
        detail: dict[int, Any] = exif.get_ifd(EXIF_IFD)
    except Exception:  # noqa: BLE001 - as above
        detail = {}
    orientation = exif.get(ORIENTATION, 1)
    focal_length, aperture = _number(detail.get(FOCAL_LENGTH)), _number(detail.get(F_NUMBER))
    return CameraFacts(
        captured_at=_date(detail.get(DATE_TIME_ORIGINAL) or exif.get(DATE_TIME_ORIGINAL)),
        camera_make=_text(exif.get(MAKE)),
        camera_model=_text(exif.get(MODEL)),
        focal_length=None if focal_length is None else f"{focal_length:.4g} mm",
        aperture=None if aperture is None else f"f/{aperture:.3g}",
        shutter_speed=_shutter(_number(detail.get(EXPOSURE_TIME))),
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
    )


def _date(value: Any) -> str | None:
    found = _DATE.match(_text(value) or "")
    if found is None:
        return None
    try:
        moment = datetime(*(int(part) for part in found.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None
    return moment.isoformat() if moment.year > 1 else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    kept = "".join(character for character in value.split("\0")[0] if character.isprintable())
    return kept.strip()[:120] or None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _shutter(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"1/{round(1 / seconds)}" if seconds < 0.4 else f"{seconds:.3g}"
