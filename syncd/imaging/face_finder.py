"""What a worker does to find faces: dlib's HOG detector where a face can be, and one encoding for each.

The detector finds faces of 80 pixels or more, so the smaller ones ask for larger pictures, and its time grows
with the pixels. It therefore goes from a small picture to the largest, doubling, and looks at a larger one
only where something is sharp and not hidden by a person found before: whoever stands in front of a person is
nearer, so not much smaller, and was found with them.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import dlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from syncd.errors import Changed, Refused
from syncd.imaging.decode import decoding, open_picture, plain, upright
from syncd.imaging.face_net import CHIP_SIDE, FaceNet
from syncd.imaging.face_regions import Region, Sharpness, overlap
from syncd.imaging.faces import model_paths, pack
from syncd.imaging.reading import open_photo

# What bounds time and memory whatever the settings ask for.
MAX_DETECTION_PIXELS = 40_000_000
MIN_FACE_PIXELS = 80
# The first and smallest picture looked at, pixels of the longer side; and where whoever is looked for is in
# front, and somebody waits.
FIRST_SIDE = 400
FIRST_SIDE_IN_FRONT = 240
# From this width on, a face in front of the same person's body would have been found in the same picture.
_NEAR_FACE_PIXELS = 100
# A detection's score from which it is no chance find; only then does it hide anything.
_CERTAIN_SCORE = 0.5
_SAME_FACE_OVERLAP = 0.3
_BATCH = 16
_PADDING = 0.25  # of a face chip, as the encoder was trained


class _Models(NamedTuple):
    detector: Any
    landmarks: Any
    encoder: FaceNet


@functools.cache
def models() -> _Models:
    """Loaded once, before workers are forked (0.8 s; about 45 MB that they share)."""
    landmarks, encoder = model_paths()
    if landmarks is None or encoder is None:
        raise Refused("the face models are not installed")
    return _Models(
        dlib.get_frontal_face_detector(), dlib.shape_predictor(os.fspath(landmarks)), FaceNet(encoder)
    )


def find_faces(
    path: str,
    root: str | None,
    max_side: int,
    upsample: int,
    expect_sha256: str | None,
    progress: Callable[[], None],
) -> bytes:
    """The packed faces of the photo at `path`. Raises Changed, Refused, Transient."""
    with open_photo(path, root, progress) as photo:
        if expect_sha256 is not None and photo.sha256 != expect_sha256:
            raise Changed("the file is not the one that was downloaded")
        name = os.path.basename(path)  # noqa: PTH119 - a string that may hold any bytes
        with photo.open() as file:
            picture, size = _decoded(file, photo.head(), name, max_side << upsample)
        if photo.data is None:
            photo.verify()
    return _found(photo.sha256, picture, size, max_side, upsample, progress)


def find_faces_in(data: bytes, max_side: int, upsample: int, progress: Callable[[], None]) -> bytes:
    """The packed faces of the picture in `data`; Refused when it is none.

    Who is looked for is in front: where there is a face, those less than half as large are passers-by, and
    the larger pictures that would show them are spared.
    """
    import hashlib

    sha256 = hashlib.sha256(data).hexdigest()
    picture, size = _decoded(io.BytesIO(data), data[:64], "", max_side)
    with decoding("picture"):
        faces = _detect_in_front(picture, max_side, progress)
    if faces is None:
        picture, size = _decoded(io.BytesIO(data), data[:64], "", max_side << upsample)
        return _found(sha256, picture, size, max_side, upsample, progress)
    return _packed(sha256, picture, size, faces, progress)


def _decoded(file: Any, head: bytes, name: str, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """The upright RGB picture, reduced to `side` where it is larger, and the original's upright size."""
    opened = open_picture(file, head, name)
    with decoding(opened.image_format):
        picture, size = opened.picture, opened.upright_size
        if opened.image_format == "JPEG":
            longer = max(picture.size)  # of both sides draft goes by the one that asks for more
            picture.draft("RGB", (picture.width * side // longer or 1, picture.height * side // longer or 1))
        picture = plain(picture).convert("RGB")
        if max(picture.size) > side:
            picture.thumbnail((side, side), Image.Resampling.BILINEAR)
        return upright(picture, opened.camera.orientation), size


def _found(
    sha256: str,
    picture: Image.Image,
    size: tuple[int, int],
    max_side: int,
    upsample: int,
    progress: Callable[[], None],
) -> bytes:
    with decoding("picture"):
        faces = _detect(picture, max_side, upsample, progress)
    return _packed(sha256, picture, size, faces, progress)


def _packed(
    sha256: str,
    picture: Image.Image,
    size: tuple[int, int],
    faces: list[_Candidate],
    progress: Callable[[], None],
) -> bytes:
    rectangles = [face.rectangle for face in faces]
    with decoding("picture"):
        encodings = _encode(picture, rectangles, progress)
    scale = size[0] / picture.width, size[1] / picture.height
    boxes = [_box(rectangle, scale, size) for rectangle in rectangles]
    return pack(sha256, size, boxes, encodings.astype("<f4").tobytes())


def _box(rectangle: Region, scale: tuple[float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = rectangle
    return (
        max(0, round(top * scale[1])),
        min(size[0], round(right * scale[0])),
        min(size[1], round(bottom * scale[1])),
        max(0, round(left * scale[0])),
    )


# --- detection --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A face in pixels of the decoded picture; `pixels` is its width in the picture that it was found in."""

    rectangle: Region
    score: float
    pixels: float


def _detect(
    picture: Image.Image, max_side: int, upsample: int, progress: Callable[[], None]
) -> list[_Candidate]:
    """Every face once, from left to right."""
    scales = _scales(picture.size, max_side, upsample, FIRST_SIDE)
    return [faces for faces, _ in _looks(picture, list(scales), progress)][-1]


def _detect_in_front(
    picture: Image.Image, max_side: int, progress: Callable[[], None]
) -> list[_Candidate] | None:
    """The faces of the first picture that shows one for certain and of the next larger; None where they are
    so small that the largest is wanted."""
    was_there = False
    scales = _scales(picture.size, max_side, 0, FIRST_SIDE_IN_FRONT)
    for faces, is_last in _looks(picture, list(scales), progress):
        if was_there:
            return faces
        was_there = not is_last and any(face.score >= _CERTAIN_SCORE for face in faces)
    return None


def _looks(
    picture: Image.Image, scales: list[float], progress: Callable[[], None]
) -> Iterator[tuple[list[_Candidate], bool]]:
    """What is found so far, from left to right, after each picture from the smallest to the largest, and
    whether that was the last."""
    gray = picture.convert("L")
    faces: list[_Candidate] = []
    smaller: tuple[npt.NDArray[np.uint8], float] | None = None
    for scale in scales:
        progress()
        width, height = _scaled(picture.size, scale)
        regions = [Region(0, 0, height, width)]
        if smaller is not None:
            sharpness = Sharpness(smaller[0])
            for face in (face for face in faces if face.score >= _CERTAIN_SCORE):
                sharpness.hide_face(face.rectangle.scaled(smaller[1]))
                if face.pixels >= _NEAR_FACE_PIXELS:
                    sharpness.hide_person(face.rectangle.scaled(smaller[1]))
            regions = sharpness.regions(scale / smaller[1], width, height)
        for region in regions:
            faces = _merged(faces, _detect_in(gray, region, scale))
        found = sorted(faces, key=lambda face: (face.rectangle.left, face.rectangle.top))
        yield found, scale == scales[-1]
        if scale != scales[-1]:
            smaller = np.asarray(gray.resize((width, height), Image.Resampling.BILINEAR)), scale


def _scales(size: tuple[int, int], max_side: int, upsample: int, first_side: int) -> Iterator[float]:
    """The sizes to look at, against the decoded picture's: from `first_side`, doubling, to the largest."""
    largest = min(1.0, max_side / max(size)) * 2**upsample
    largest = min(largest, (MAX_DETECTION_PIXELS / (size[0] * size[1])) ** 0.5)
    halvings = 0
    while largest * max(size) / 2 ** (halvings + 1) >= first_side:
        halvings += 1
    for power in range(halvings, -1, -1):
        yield largest / 2**power


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _detect_in(gray: Image.Image, region: Region, scale: float) -> list[_Candidate]:
    """The faces of `region`, which is in pixels of `gray` made larger by `scale`."""
    top, left, bottom, right = (int(value) for value in region)
    if min(bottom - top, right - left) < MIN_FACE_PIXELS // 2:
        return []
    source = (
        left / scale, top / scale, min(gray.width, right / scale), min(gray.height, bottom / scale)
    )  # fmt: skip
    part = gray.resize((right - left, bottom - top), Image.Resampling.BILINEAR, source)
    found, scores, _ = models().detector.run(np.asarray(part), 0, 0.0)
    return [
        _Candidate(
            Region(r.top() + top, r.left() + left, r.bottom() + top, r.right() + left).scaled(1 / scale),
            score,
            r.width(),
        )
        for r, score in zip(found, scores, strict=True)
    ]


def _merged(known: list[_Candidate], new: list[_Candidate]) -> list[_Candidate]:
    """Both, without the less certain of two that are one face. What was near once stays near."""
    for face in new:
        twins = [other for other in known if overlap(other.rectangle, face.rectangle) > _SAME_FACE_OVERLAP]
        best = max([face, *twins], key=lambda candidate: candidate.score)
        near = max(candidate.pixels for candidate in (face, *twins))
        known = [other for other in known if other not in twins]
        known.append(_Candidate(best.rectangle, best.score, near))
    return known


# --- encoding ---------------------------------------------------------------------------------------


def _encode(
    picture: Image.Image, rectangles: list[Region], progress: Callable[[], None]
) -> npt.NDArray[np.float32]:
    if not rectangles:
        return np.zeros((0, 128), np.float32)
    pixels = np.asarray(picture)
    _, landmarks, encoder = models()
    encodings = []
    for start in range(0, len(rectangles), _BATCH):
        progress()
        chips = []
        for top, left, bottom, right in rectangles[start : start + _BATCH]:
            rectangle = dlib.rectangle(round(left), round(top), round(right), round(bottom))
            chips.append(dlib.get_face_chip(pixels, landmarks(pixels, rectangle), CHIP_SIDE, _PADDING))
        encodings.append(encoder(np.stack(chips)))
    return np.concatenate(encodings)
