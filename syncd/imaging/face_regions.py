"""Where in a picture a small face could be: rectangles around what is sharp and not hidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Pixels of a cell's side; a face that only the next larger picture shows is 2.5 to 5 cells wide.
CELL = 16
# Mean difference between neighbouring pixels (of 255, across and down added) from which a cell is sharp: at
# most SHARP, in the dark this share of the cell's brightness, and above the noise of compression.
SHARP = 8.0
SHARP_SHARE = 0.07
_NOISE = 1.2
_EDGE_LIMIT = 60
_SHARP_CELLS_OF_9 = 4
_MARGIN_CELLS = 2
# Two parts share this many rows or columns; with the margins of both, a face that was not found before fits.
_SHARED_CELLS = 2
# Cutting into parts must save at least this share of the pixels.
_WORTH_CUTTING = 0.8


class Region(NamedTuple):
    """A rectangle; `bottom` and `right` are outside."""

    top: float
    left: float
    bottom: float
    right: float

    def scaled(self, factor: float) -> Region:
        return Region(*(value * factor for value in self))

    @property
    def area(self) -> float:
        return max(0.0, self.bottom - self.top) * max(0.0, self.right - self.left)


def overlap(one: Region, other: Region) -> float:
    """Intersection over union."""
    common = Region(
        max(one.top, other.top), max(one.left, other.left),
        min(one.bottom, other.bottom), min(one.right, other.right),
    )  # fmt: skip
    return common.area / (one.area + other.area - common.area) if common.area else 0.0


class Sharpness:
    """The cells of a gray picture near which a face half as large as the detector finds there could be."""

    def __init__(self, gray: npt.NDArray[np.uint8]) -> None:
        height, width = gray.shape
        rows, columns = -(-height // CELL), -(-width // CELL)
        signed = gray.astype(np.int16)
        edges = np.zeros((rows * CELL, columns * CELL), np.int16)
        edges[:height, : width - 1] = np.abs(np.diff(signed, axis=1))
        edges[: height - 1, :width] += np.abs(np.diff(signed, axis=0))
        np.minimum(edges, _EDGE_LIMIT, out=edges)
        bright = np.zeros_like(edges)
        bright[:height, :width] = signed
        sharp = _cell_means(edges) > np.clip(SHARP_SHARE * _cell_means(bright), _NOISE, SHARP)
        around = np.pad(sharp, 1).astype(np.int8)
        nine = sum(around[i : i + rows, j : j + columns] for i in range(3) for j in range(3))
        self.cells: npt.NDArray[np.bool_] = np.asarray(nine >= _SHARP_CELLS_OF_9)

    def hide_face(self, face: Region) -> None:
        """Nothing is to be found in a face and the hair around it."""
        side = face.right - face.left
        self._hide(
            Region(
                face.top - 0.6 * side, face.left - 0.25 * side,
                face.bottom + 0.1 * side, face.right + 0.25 * side,
            )
        )  # fmt: skip

    def hide_person(self, face: Region) -> None:
        """Nor in front of the body below it."""
        side = face.right - face.left
        self._hide(Region(face.bottom, face.left - side, len(self.cells) * CELL, face.right + side))

    def regions(self, factor: float, width: int, height: int) -> list[Region]:
        """Rectangles of whole pixels around all that is left, in the same picture made `factor` times
        larger, of `width` x `height` pixels."""
        cell = CELL * factor
        margin = _MARGIN_CELLS * cell
        parts = [
            Region(
                max(0, int(top * cell - margin)), max(0, int(left * cell - margin)),
                min(height, int(bottom * cell + margin)), min(width, int(right * cell + margin)),
            )
            for top, left, bottom, right in _cut(self.cells, 0, 0)
        ]  # fmt: skip
        if sum(part.area for part in parts) > _WORTH_CUTTING * width * height:
            return [Region(0, 0, height, width)]
        return parts

    def _hide(self, region: Region) -> None:
        top, left, bottom, right = (max(0, int(value / CELL)) for value in region)
        self.cells[top : bottom + 1, left : right + 1] = False


def _cell_means(pixels: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    means: npt.NDArray[np.float64] = pixels.reshape(rows, CELL, columns, CELL).mean(axis=(1, 3))
    return means


def _cut(cells: npt.NDArray[np.bool_], top: int, left: int) -> Iterator[Region]:
    """Tight rectangles around all set cells: cut in two where that saves most, then each part again."""
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not rows.size:
        return
    cells = cells[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = top + int(rows[0]), left + int(columns[0])
    height, width = cells.shape
    across, row = _best_cut(cells)
    down, column = _best_cut(cells.T)
    if min(across, down) > _WORTH_CUTTING * (height + 2 * _MARGIN_CELLS) * (width + 2 * _MARGIN_CELLS):
        yield Region(top, left, top + height, left + width)
    elif across <= down:
        yield from _cut(cells[: row + _SHARED_CELLS], top, left)
        yield from _cut(cells[row:], top + row, left)
    else:
        yield from _cut(cells[:, : column + _SHARED_CELLS], top, left)
        yield from _cut(cells[:, column:], top, left + column)


def _best_cut(cells: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """The least area, with margins, of the rectangles around the two parts of a cut between rows, which
    share _SHARED_CELLS rows, so that a face lies in one of them whole; and the row it is at."""
    above = _areas(cells)
    below = _areas(cells[::-1])[::-1]
    if len(cells) <= _SHARED_CELLS:
        return 1 << 60, 0
    both = above[_SHARED_CELLS - 1 :] + below[: len(below) - _SHARED_CELLS + 1]
    both[0] = 1 << 60
    row = int(both.argmin())
    return int(both[row]), row


def _areas(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """For each row, the area with margins of the rectangle around all set cells down to it."""
    height, width = cells.shape
    rows = np.arange(height)
    used = cells.any(axis=1)
    first = np.minimum.accumulate(np.where(used, cells.argmax(axis=1), width))
    last = np.maximum.accumulate(np.where(used, width - 1 - cells[:, ::-1].argmax(axis=1), -1))
    top = np.maximum.accumulate(used.argmax() * np.ones(height, np.int64))
    bottom = np.maximum.accumulate(np.where(used, rows, -1))
    areas = (bottom - top + 1 + 2 * _MARGIN_CELLS) * (last - first + 1 + 2 * _MARGIN_CELLS)
    return np.where(last < 0, 0, areas)
