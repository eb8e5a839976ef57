"""What a worker does with one photo: facts of it, or a perceptual hash of bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

from syncd.errors import Refused
from syncd.imaging.decode import MAX_MEGAPIXELS, NotDecoded, Opened, decoding, gray, open_picture, upright
from syncd.imaging.phash import SCALED_SIDE, perceptual_hash, shrunk
from syncd.imaging.reading import PhotoFile, open_photo


def inspect(path: str, root: str | None, progress: Callable[[], None]) -> dict[str, Any]:
    """The fields of PhotoFacts, from one read of `path`. Raises Changed, Refused, Transient."""
    with open_photo(path, root, progress) as photo:
        facts: dict[str, Any] = {"sha256": photo.sha256, "md5": photo.md5, "stat": photo.stat}
        try:
            facts.update(_picture_facts(photo))
        except NotDecoded as error:
            facts["decode_error"] = error.message
        if photo.data is None:
            photo.verify()
        return facts


def hash_of_bytes(data: bytes, progress: Callable[[], None] = lambda: None) -> str:
    """The perceptual hash of the picture in `data`; NotDecoded when it is none."""
    opened = open_picture(io.BytesIO(data), data[:64])
    return _hash(opened, lambda: open_picture(io.BytesIO(data), data[:64]))


def _picture_facts(photo: PhotoFile) -> dict[str, Any]:
    name = os.path.basename(photo.path)  # noqa: PTH119 - a string that may hold any bytes

    with photo.open() as file:
        opened = open_picture(file, photo.head(), name)
        camera = opened.camera
        width, height = opened.upright_size
        facts: dict[str, Any] = {
            "image_format": opened.image_format,
            "content_type": opened.content_type,
            "width": width,
            "height": height,
            "captured_at": camera.captured_at,
            "camera_make": camera.camera_make,
            "camera_model": camera.camera_model,
            "focal_length": camera.focal_length,
            "aperture": camera.aperture,
            "shutter_speed": camera.shutter_speed,
            "needs_rendering": opened.needs_rendering,
        }
        try:
            with photo.open() as again:
                facts["perceptual_hash"] = _hash(opened, lambda: open_picture(again, photo.head(), name))
        except NotDecoded as error:
            facts["decode_error"] = error.message
        return facts


def _hash(opened: Opened, reopen: Callable[[], Opened]) -> str:
    """From a scaled JPEG where that is enough, else from the full picture."""
    with decoding(opened.image_format):
        picture, orientation = opened.picture, opened.camera.orientation
        width, height = picture.size
        found = None
        if opened.image_format == "JPEG":
            draft = picture.draft("L", (SCALED_SIDE, SCALED_SIDE))
            if draft is not None and picture.size != (width, height):
                small = upright(shrunk(gray(picture), draft[1]), orientation)
                found = perceptual_hash(small, exact=False)
                if found is None and width * height <= MAX_MEGAPIXELS * 1e6:
                    picture = reopen().picture
        found = found or perceptual_hash(shrunk(upright(gray(picture), orientation)), exact=True)
    if found is None:
        raise Refused("no perceptual hash")
    return found
