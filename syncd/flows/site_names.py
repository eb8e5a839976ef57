"""How files become scenes: base names, scene ids and storage keys (the rules of the site). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import PurePosixPath

from syncd.model import INITIAL_STAGE

OWN_EXTENSION = {".png": ".png", ".webp": ".webp"}
"""Files that keep their extension in storage; every other picture is published as .jpg."""


@lru_cache(maxsize=8)
def _suffix_pattern(suffixes: tuple[str, ...]) -> re.Pattern[str] | None:
    words = "|".join(re.escape(word) for word in suffixes if word)
    if not words:
        return None
    return re.compile(rf"(?is)^(.*[^-_ ])[-_ ]+(?:{words})(?:[-_ ]?[0-9]+)?$")


def base_filename(stem: str, suffixes: tuple[str, ...], initial_stems: Collection[str]) -> str:
    """The name that all versions of one scene share: `stem` without its trailing suffix words.

    Stripping stops as soon as what is left is the stem of an initial scan of the batch, so that a scan
    called `roll-scan` and its crop `roll-scan_crop` stay one scene. A bare number is never stripped.
    """
    pattern = _suffix_pattern(suffixes)
    if pattern is None:
        return stem
    while stem not in initial_stems:
        match = pattern.match(stem)
        if match is None:
            break
        stem = match[1]
    return stem


def stem_of(file_name: str) -> str:
    """The name without its last extension; a leading dot is part of the stem."""
    stem, dot, _ = file_name.rpartition(".")
    return stem if dot and stem else file_name


def initial_stems_of(files: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Stems of the initial scans among `(stage, file_name)` pairs."""
    return frozenset(stem_of(name) for stage, name in files if stage == INITIAL_STAGE)


def new_scene_id(batch_name: str, base: str, taken: Mapping[str, tuple[str, str]]) -> str:
    """`<batch>-<base>`, with `~2`, `~3` … where another batch's scene was recorded under it first.

    `taken` maps each scene id to the (batch_name, base_filename) that holds it.
    """
    plain = f"{batch_name}-{base}"
    candidate, number = plain, 1
    while taken.get(candidate, (batch_name, base)) != (batch_name, base):
        number += 1
        candidate = f"{plain}~{number}"
    return candidate


def storage_key(prefix: str, scene_id: str, file_name: str) -> str:
    """`<prefix>scenes/<scene_id>.<ext>`; the extension follows the file's name, so that a plan needs no
    decoding."""
    extension = OWN_EXTENSION.get(PurePosixPath(file_name).suffix.lower(), ".jpg")
    return f"{prefix}scenes/{scene_id}{extension}"
