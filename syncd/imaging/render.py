"""Pictures that syncd makes of a photo: the JPEG that is published in its place, and small previews.

The rendition is a baseline JPEG, quality 90 with 4:2:0 colour: at screen sizes not to be told from the
original at about a third of the bytes of 4:4:4 at 95, and baseline is what every viewer decodes quickly and
in little memory.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from syncd.errors import Changed, Refused, Transient
from syncd.imaging.decode import Opened, decoding, open_picture, plain, upright
from syncd.imaging.exif import DATE_TIME_ORIGINAL, EXIF_IFD, MAKE, MODEL, ORIENTATION, CameraFacts
from syncd.imaging.reading import PhotoFile, open_photo

MAX_JPEG_SIDE = 65_500
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


def render(path: str, destination: str, expect_sha256: str, progress: Callable[[], None]) -> dict[str, Any]:
    """Write the JPEG and give the fields of Rendition. Raises Changed, Refused, Transient."""
    with open_photo(path, None, progress) as photo:
        if photo.sha256 != expect_sha256:
            raise Changed("the file is not the one that was inspected")
        opened, picture = _decoded(photo, None)
        if photo.data is None:
            photo.verify()
    with decoding(opened.image_format):
        if max(picture.size) > MAX_JPEG_SIDE:
            picture.thumbnail((MAX_JPEG_SIDE, MAX_JPEG_SIDE), Image.Resampling.LANCZOS)
        data = _jpeg(picture, 90, _exif_of(opened.camera))
    _write_new(destination, data)
    return {
        "path": destination,
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "size_bytes": len(data),
        "width": picture.width,
        "height": picture.height,
    }


def preview(path: str, width: int, height: int, image_format: str, progress: Callable[[], None]) -> bytes:
    """The photo upright, fitted into `width` x `height`, as JPEG (quality 80) or raw RGB."""
    with open_photo(path, None, progress) as photo:
        opened, picture = _decoded(photo, (width, height))
    return _small(opened, picture, image_format)


def preview_of_bytes(
    data: bytes, width: int, height: int, image_format: str, progress: Callable[[], None] = lambda: None
) -> bytes:
    """As `preview`, of the photo in `data`."""
    opened, picture = _upright_srgb(open_picture(io.BytesIO(data), data[:64]), (width, height))
    return _small(opened, picture, image_format)


def _small(opened: Opened, picture: Image.Image, image_format: str) -> bytes:
    with decoding(opened.image_format):
        if image_format == "jpeg":
            return _jpeg(picture, 80, None)
        return struct.pack(">HH", *picture.size) + picture.convert("RGB").tobytes()


def _decoded(photo: PhotoFile, fit: tuple[int, int] | None) -> tuple[Opened, Image.Image]:
    """The upright sRGB picture, where `fit` is given not larger than that."""
    name = os.path.basename(photo.path)  # noqa: PTH119 - a string that may hold any bytes
    with photo.open() as file:
        return _upright_srgb(open_picture(file, photo.head(), name), fit)


def _upright_srgb(opened: Opened, fit: tuple[int, int] | None) -> tuple[Opened, Image.Image]:
    with decoding(opened.image_format):
        picture, orientation = opened.picture, opened.camera.orientation
        if fit is not None:
            fit = (fit[1], fit[0]) if orientation >= 5 else fit
            if opened.image_format == "JPEG":
                picture.draft("RGB", (2 * fit[0], 2 * fit[1]))
        profile = picture.info.get("icc_profile")
        if profile is None:
            picture = plain(picture)
        if fit is not None and picture.mode in ("L", "RGB", "CMYK"):
            picture.thumbnail(fit, Image.Resampling.LANCZOS)
        if profile is not None:
            picture = plain(_to_srgb(picture, profile))
            if fit is not None:
                picture.thumbnail(fit, Image.Resampling.LANCZOS)
        return opened, upright(picture, orientation)


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """The picture's colours in sRGB; as they are when the profile is unusable."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        if picture.mode == "P":
            picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        if picture.mode not in ("L", "RGB", "RGBA", "CMYK", "LAB"):
            return picture
        converted = ImageCms.profileToProfile(picture, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    return converted if converted is not None else picture


def _exif_of(camera: CameraFacts) -> Image.Exif:
    """When and with what it was taken; not where."""
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    if camera.camera_make:
        exif[MAKE] = camera.camera_make
    if camera.camera_model:
        exif[MODEL] = camera.camera_model
    if camera.captured_at:
        exif.get_ifd(EXIF_IFD)[DATE_TIME_ORIGINAL] = camera.captured_at.replace("-", ":").replace("T", " ")
    return exif


def _jpeg(picture: Image.Image, quality: int, exif: Image.Exif | None) -> bytes:
    buffer = io.BytesIO()
    picture.info.clear()  # else Pillow writes the source's comment, profile and EXIF again
    extra = {} if exif is None else {"exif": exif}
    picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", **extra)
    return buffer.getvalue()


def _write_new(destination: str, data: bytes) -> None:
    """A new durable file: written beside, then linked to its name, which must be free."""
    part = destination + ".part"
    try:
        Path(part).unlink(missing_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(data)
                file.flush()
                os.fsync(fd)
            os.link(part, destination)
        finally:
            Path(part).unlink()
        folder = os.open(os.path.dirname(destination) or ".", os.O_RDONLY | os.O_DIRECTORY)  # noqa: PTH120
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise Refused("the rendition's file exists already") from error
    except OSError as error:
        reason = f"the rendition cannot be written: {(error.strerror or str(error)).lower()}"
        raise (Transient if error.errno in _NO_ROOM else Refused)(reason) from error
