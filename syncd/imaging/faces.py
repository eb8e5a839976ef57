"""Faces as the daemon sees them: whether they can be looked for, and what was found.

Nothing here loads dlib, numpy or a picture library; the finding itself is in `face_finder`, in a worker.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

from syncd.model import Face, FacesFound

ENCODING_BYTES = 512  # 128 little-endian float32
MISSING = 'faces need the "faces" extra'
MISSING_HINT = "install syncd as '.[faces]' (uv tool install '.[faces]'), or set enabled = false in [faces]"
_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
_ENCODER = "dlib_face_recognition_resnet_model_v1.dat"


def faces_available() -> bool:
    """Whether the "faces" extra is installed; loads nothing of it."""
    if importlib.util.find_spec("dlib") is None:
        return False
    return all(path is not None and path.is_file() for path in model_paths())


def model_paths() -> tuple[Path | None, Path | None]:
    """The files of the 5-point landmark predictor and of the encoder's weights, where installed.

    `face_recognition_models` itself is never imported: it needs pkg_resources only to name these files.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        return None, None
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    return folder / _LANDMARKS, folder / _ENCODER


def pack(
    sha256: str, size: tuple[int, int], boxes: Sequence[tuple[int, int, int, int]], encodings: bytes
) -> bytes:
    """What a worker sends: a line of JSON, then the encodings one after another."""
    return json.dumps([sha256, *size, list(boxes)]).encode() + b"\n" + encodings


def unpack(data: bytes) -> FacesFound:
    """What `pack` was given."""
    head, encodings = data.split(b"\n", 1)
    sha256, width, height, boxes = json.loads(head)
    faces = tuple(
        Face((top, right, bottom, left), encodings[at : at + ENCODING_BYTES])
        for at, (top, right, bottom, left) in zip(
            range(0, len(encodings), ENCODING_BYTES), boxes, strict=True
        )
    )
    return FacesFound(sha256, width, height, faces)
