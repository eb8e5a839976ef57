"""The nouns of syncd, as frozen values that plans are made of. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# --- what a folder holds ---------------------------------------------------------------------------


INITIAL_STAGE = "initial_scan"
"""The stage of files directly in a batch. Its files keep their stem whole."""


class FileStat(NamedTuple):
    """What tells an unchanged file without reading it. Times in nanoseconds, size in bytes."""

    ctime_ns: int
    mtime_ns: int
    size_bytes: int
    inode: int


class SeenFile(NamedTuple):
    """One image file of a batch, as a listing saw it.

    `stage` is the folder's name ("initial_scan" for files directly in the batch); `relative_path` is
    `<batch>/<stage>/<file>` as it is on disk below the images root and identifies the file.
    """

    batch_name: str
    stage: str
    file_name: str
    relative_path: str
    local_path: str
    stat: FileStat


class SkippedFile(NamedTuple):
    """Something in a batch that is not published, and why. `path` is absolute and as it is on disk; only
    bytes that are no UTF-8 are escaped."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class BatchListing:
    """What a batch's folder holds now. `error` is set where it could not be listed whole: then nothing
    may be concluded from what is absent. `unsettled` are the relative paths of files that changed too
    lately to be read (they are not in `files`); `unsettled_s` is the time until the next of them settles."""

    batch_name: str
    files: tuple[SeenFile, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    ignored: int = 0
    unsettled: tuple[str, ...] = ()
    unsettled_s: float | None = None
    error: str | None = None


# --- what a photo is ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What one read of a photo told. All of it is from the same bytes.

    `sha256`, `md5`: lower-case hex of the file; `perceptual_hash`: 16 hex digits of the picture turned
    upright, None when it could not be decoded (then `decode_error` says why); `captured_at`:
    `YYYY-MM-DDTHH:MM:SS` from EXIF; `width`, `height`: pixels of the upright picture; `image_format`:
    Pillow's name ("JPEG", "PNG", "TIFF", "HEIF", "RAW" …); `needs_rendering`: browsers cannot show it,
    so a JPEG is published in its place.
    """

    sha256: str
    md5: str
    stat: FileStat
    image_format: str | None = None
    content_type: str | None = None
    width: int | None = None
    height: int | None = None
    perceptual_hash: str | None = None
    captured_at: str | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    focal_length: str | None = None
    aperture: str | None = None
    shutter_speed: str | None = None
    needs_rendering: bool = False
    decode_error: str | None = None


@dataclass(frozen=True, slots=True)
class Rendition:
    """A JPEG made from a photo that browsers cannot show, in a file of its own."""

    path: str
    sha256: str
    md5: str
    size_bytes: int
    width: int
    height: int


class Face(NamedTuple):
    """One face: `box` is (top, right, bottom, left) in pixels of the upright original, `encoding` 128
    little-endian float32; two encodings at a Euclidean distance of about 0.6 or less are one person."""

    box: tuple[int, int, int, int]
    encoding: bytes


@dataclass(frozen=True, slots=True)
class FacesFound:
    """The faces of one picture of `width` x `height` pixels (upright). `sha256` is of the bytes looked at."""

    sha256: str
    width: int
    height: int
    faces: tuple[Face, ...]


# --- what the catalogue knows ----------------------------------------------------------------------


class KnownVersion(NamedTuple):
    """One row of image_versions that still matters: the newest read of its file, or still live.

    `gone`: the file was not there when last looked. `superseded`: a newer row has the same file, and this
    one is only here because storage still holds it. `object_sha256` is of what was last confirmed in
    storage `storage_id` under `r2_key`. `decode_error` is set when the picture could not be decoded.
    """

    version_id: int
    scene_id: str
    stage: str
    relative_path: str
    local_path: str
    stat: FileStat
    sha256: str
    md5: str
    is_current: bool
    gone: bool
    r2_key: str | None
    storage_id: str | None
    object_sha256: str | None
    content_type: str | None
    needs_rendering: bool
    decode_error: str | None
    captured_at: str | None
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """The batch's row in public_site_batches."""

    batch_name: str
    is_public: bool
    source_directory: str | None


# --- what is to be done ---------------------------------------------------------------------------


class Action(NamedTuple):
    """One step of a plan, in the words of the contract: `record`, `upload` or `remove`."""

    action: str
    scene_id: str
    version_type: str
    local_path: str
    key: str | None
