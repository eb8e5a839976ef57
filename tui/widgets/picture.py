"""Pictures of half blocks: two pixels a cell, upper in the ink, lower in the ground."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tui.asks import Box

BOX = bytes((255, 214, 10))
"""The colour of boxes: seen on skin, and on light and dark pictures."""


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


class PhotoWant(NamedTuple):
    """A photo of an event to ask for, with these boxes (in pixels of an original of `size`): fits into
    `columns` x `rows` cells."""

    photo_id: str
    boxes: tuple[Box, ...]
    size: tuple[int, int]
    columns: int
    rows: int


class LibraryWant(NamedTuple):
    """A photo of the library to ask for: fits into `columns` x `rows` cells."""

    photo_id: str
    columns: int
    rows: int


class SharedWant(NamedTuple):
    """A file of a list of the exchange to ask for; `of` is `theirs`, `near` (ours that looks like it), or
    `ours` (`file_id` is then of the side `ours`)."""

    list_id: str
    file_id: int
    of: str
    columns: int
    rows: int


def boxed(pixels: Pixels, boxes: Iterable[Box], size: tuple[int, int]) -> Pixels:
    """The picture with the outlines of `boxes`, given in pixels of its original of `size`."""
    width, height, data = pixels
    if not all(size):
        return pixels
    across, down = width / size[0], height / size[1]
    drawn = bytearray(data)

    def line(x: int, y: int, length: int) -> None:
        at = (y * width + x) * 3
        drawn[at : at + length * 3] = BOX * length

    for top, right, bottom, left in boxes:
        first, last = _within(left * across, width), _within(right * across, width)
        above, below = _within(top * down, height), _within(bottom * down, height)
        line(first, above, last - first + 1)
        line(first, below, last - first + 1)
        for y in range(above, below + 1):
            line(first, y, 1)
            line(last, y, 1)
    return Pixels(width, height, bytes(drawn))


def _within(place: float, length: int) -> int:
    return max(0, min(length - 1, round(place)))


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
