"""Pictures of half blocks: two pixels a cell, upper in the ink, lower in the ground."""

from __future__ import annotations

import struct
from typing import NamedTuple

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip


class Pixels(NamedTuple):
    """`data` holds width x height RGB triplets, row by row."""

    width: int
    height: int
    data: bytes


def decode(picture: bytes) -> Pixels | None:
    """The pixels of a preview (big-endian uint16 width and height, then RGB), None where it is not one."""
    if len(picture) < 4:
        return None
    width, height = struct.unpack_from(">HH", picture)
    data = picture[4:]
    return Pixels(width, height, data) if width and height and len(data) == width * height * 3 else None


def half_blocks(pixels: Pixels) -> list[Strip]:
    """One strip for two rows of pixels."""
    width, height, data = pixels
    stride = width * 3
    strips: list[Strip] = []
    for y in range(0, height, 2):
        upper = data[y * stride : (y + 1) * stride]
        lower = data[(y + 1) * stride : (y + 2) * stride]
        segments: list[Segment] = []
        run, before = 0, None
        for x in range(0, stride, 3):
            here = (upper[x : x + 3], lower[x : x + 3])
            if here != before:
                if run and before is not None:
                    segments.append(_cells(before, run))
                run, before = 0, here
            run += 1
        if before is not None:
            segments.append(_cells(before, run))
        strips.append(Strip(segments, width))
    return strips


def _cells(pair: tuple[bytes, bytes], run: int) -> Segment:
    upper, lower = pair
    if upper == lower:
        return Segment(" " * run, Style(bgcolor=_color(upper)))
    ground = _color(lower) if lower else None
    return Segment("▀" * run, Style(color=_color(upper), bgcolor=ground))


def _color(triplet: bytes) -> Color:
    return Color.from_triplet(ColorTriplet(triplet[0], triplet[1], triplet[2]))
