"""From a photo's bytes to a picture: told by content, from an allow-list, within limits, first frame only."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from syncd.errors import Refused
from syncd.imaging.exif import MAKE, CameraFacts, camera_facts, facts_of

MAX_MEGAPIXELS = 150
# JPEG is decoded at a fraction of its size, so that larger ones still fit into the memory limit.
MAX_SCALED_MEGAPIXELS = 600
_RAW_SUFFIXES = frozenset(
    {".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".orf", ".rw2", ".raf", ".pef"}
    | {".srw", ".raw", ".rwl", ".iiq", ".3fr", ".erf"}
)
_CONTENT_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif",
    "BMP": "image/bmp", "AVIF": "image/avif", "HEIF": "image/heif", "RAW": "image/x-raw",
}  # fmt: skip
_RAW_TYPES = {
    ".dng": "image/x-adobe-dng", ".cr2": "image/x-canon-cr2", ".cr3": "image/x-canon-cr3",
    ".nef": "image/x-nikon-nef", ".arw": "image/x-sony-arw", ".orf": "image/x-olympus-orf",
    ".rw2": "image/x-panasonic-rw2", ".raf": "image/x-fuji-raf", ".pef": "image/x-pentax-pef",
    ".srw": "image/x-samsung-srw",
}  # fmt: skip
_PLUGINS = {
    "JPEG": "JpegImagePlugin", "PNG": "PngImagePlugin", "WEBP": "WebPImagePlugin", "GIF": "GifImagePlugin",
    "TIFF": "TiffImagePlugin", "BMP": "BmpImagePlugin", "AVIF": "AvifImagePlugin",
}  # fmt: skip
_BROWSERS_SHOW = ("JPEG", "PNG", "WEBP")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_DNG_VERSION, _NEW_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS = 0xC612, 0x00FE, 0x0106, 0x014A
_TRUNCATED = ("truncated", "eof", "end of file", "broken data stream", "not enough")
_CFA, _LINEAR_RAW = 32803, 34892


class NotDecoded(Refused):
    """The bytes are no picture that can be decoded; the message says why, for people."""


class Opened(NamedTuple):
    """A picture whose header has been read. `picture` is Pillow's, of the size as stored; for RAW it is
    decoded and upright already, so that its `camera.orientation` is 1."""

    picture: Image.Image
    image_format: str
    content_type: str
    camera: CameraFacts

    @property
    def needs_rendering(self) -> bool:
        return self.image_format not in _BROWSERS_SHOW

    @property
    def upright_size(self) -> tuple[int, int]:
        width, height = self.picture.size
        return (height, width) if self.camera.orientation >= 5 else (width, height)


def sniff(head: bytes) -> str | None:
    """The format that the first bytes tell: Pillow's name, "RAW", or None when it is none of ours."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, min(len(head), 64), 4))}
        if head[8:12] == b"crx ":
            return "RAW"
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if brands & {*_HEIC_BRANDS, b"mif1", b"msf1"} else None
    if head[:4] in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0") or head.startswith(b"FUJIFILMCCD-RAW"):
        return "RAW"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "RAW" if head[8:10] == b"CR" else "TIFF"
    return "BMP" if head[:2] == b"BM" else None


@contextmanager
def decoding(image_format: str | None = None) -> Iterator[None]:
    """Every foreign exception of a decoder becomes NotDecoded; warnings stay inside."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Refused:
        raise
    except MemoryError as error:
        raise NotDecoded("needs more memory than a worker may use") from error
    except Exception as error:  # decoders raise anything on hostile bytes
        text = str(error).lower()
        name = image_format or "picture"
        if any(
            word in text for word in ("truncated", "eof", "end of file", "broken data stream", "not enough")
        ):
            raise NotDecoded(f"truncated {name}") from error
        raise NotDecoded(f"damaged {name}: {_short(error)}") from error


def open_picture(file: BinaryIO, head: bytes, name: str = "") -> Opened:
    """Read the header of the picture in `file`. `name` only helps to tell RAW files, which are TIFF inside.

    Raises NotDecoded when it is no picture, damaged, or larger than the limits (before it is decoded).
    """
    if not head:
        raise NotDecoded("empty file")
    image_format = sniff(head)
    if image_format is None:
        raise NotDecoded("not an image")
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a name, not a path
    with decoding(image_format):
        if image_format == "RAW":
            return _open_raw(file, suffix, CameraFacts())
        if image_format == "TIFF" and (raw := _opened_if_raw(file, suffix)) is not None:
            return raw
        picture = _open_with_pillow(file, image_format)
        limit = MAX_SCALED_MEGAPIXELS if image_format == "JPEG" else MAX_MEGAPIXELS
        _check_size(picture.size, limit)
        content_type = _CONTENT_TYPES[image_format]
        if image_format == "HEIF" and head[8:12] in _HEIC_BRANDS:
            content_type = "image/heic"
        camera = camera_facts(picture)
        if image_format == "TIFF":  # Pillow turns these upright itself
            camera = camera._replace(orientation=1)
        return Opened(picture, image_format, content_type, camera)


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """`picture` turned as EXIF's `orientation` (1 to 8) says."""
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def gray(picture: Image.Image) -> Image.Image:
    """Mode L as `imagehash` makes it (transparency ignored), but deep pictures are scaled, not clipped."""
    return _colours(_eight_bit(picture)).convert("L")


def plain(picture: Image.Image) -> Image.Image:
    """Mode L or RGB for people's eyes: transparency on white, 8 bits a channel."""
    picture = _colours(_eight_bit(picture))
    if picture.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    if picture.mode in ("L", "1"):
        return picture.convert("L")
    return picture.convert("RGB")


def _colours(picture: Image.Image) -> Image.Image:
    """A mode that Pillow converts to any other: it leaves CIE Lab, which scanners write, to ImageCms."""
    if picture.mode != "LAB":
        return picture
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB") or picture


def _open_with_pillow(file: BinaryIO, image_format: str) -> Image.Image:
    if image_format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    else:
        importlib.import_module(f"PIL.{_PLUGINS[image_format]}")
    # Our own limits are checked below, with a message that names them.
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(file, formats=[image_format])
    except UnidentifiedImageError as error:
        raise NotDecoded(f"damaged {image_format}: its header makes no sense") from error


def _opened_if_raw(file: BinaryIO, suffix: str) -> Opened | None:
    """Camera RAW files are TIFF whose first picture is a thumbnail or a colour-filter mosaic."""
    tags = Image.Exif()
    try:
        tags.load_from_fp(file)  # type: ignore[no-untyped-call,unused-ignore]
    except Exception:  # noqa: BLE001 - Pillow will say what is wrong with it
        file.seek(0)
        return None
    certain = _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in (_CFA, _LINEAR_RAW)
    likely = tags.get(_NEW_SUBFILE_TYPE) == 1 and _SUB_IFDS in tags and MAKE in tags
    camera = facts_of(tags)
    file.seek(0)
    if not (certain or likely or suffix in _RAW_SUFFIXES):
        return None
    try:
        return _open_raw(file, suffix, camera)
    except Exception:
        if certain:
            raise
        file.seek(0)
        return None  # a plain TIFF by a camera's name


def _open_raw(file: BinaryIO, suffix: str, camera: CameraFacts) -> Opened:
    import rawpy

    with rawpy.imread(file) as raw:
        _check_size((raw.sizes.width, raw.sizes.height), MAX_MEGAPIXELS)
        if camera.captured_at is None and camera.camera_make is None:
            camera = _facts_of_thumbnail(raw)
        # libraw turns the picture upright itself.
        pixels = raw.postprocess(use_camera_wb=True)
    content_type = _RAW_TYPES.get(suffix, _CONTENT_TYPES["RAW"])
    return Opened(Image.fromarray(pixels), "RAW", content_type, camera._replace(orientation=1))


def _facts_of_thumbnail(raw: Any) -> CameraFacts:
    """RAW files that are no TIFF carry a JPEG with the same EXIF data."""
    import io

    try:
        with Image.open(io.BytesIO(raw.extract_thumb().data), formats=["JPEG"]) as thumbnail:
            return camera_facts(thumbnail)
    except Exception:  # noqa: BLE001 - no thumbnail, or none that tells anything
        return CameraFacts()


def _check_size(size: tuple[int, int], limit: int) -> None:
    megapixels = size[0] * size[1] / 1e6
    if megapixels > limit:
        raise NotDecoded(f"{megapixels:.0f} megapixels, more than the limit of {limit}")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Pictures of 16 or 32 bits a channel or of floats, with their range mapped to 0-255."""
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        return picture
    values = np.asarray(picture)
    if picture.mode == "F":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = min(0.0, float(values.min())), float(values.max())
        if high <= 1 and low >= 0:
            high = 1.0
        return Image.fromarray(((values - low) * (255 / ((high - low) or 1))).astype(np.uint8))
    top = max(1, int(values.max()))
    shift = 8 if top <= 0xFFFF else top.bit_length() - 8
    return Image.fromarray((np.maximum(values, 0) >> shift).astype(np.uint8))


def _short(error: Exception) -> str:
    text = "".join(c for c in str(error) if c.isprintable())[:120]
    return text or type(error).__name__
