"""The perceptual hash of `imagehash.phash`, from as few decoded pixels as it needs.

Checked against imagehash itself in the tests. `imagehash` takes its cosine transform from scipy, which costs
200 ms a process to import; the 8 x 8 coefficients that the hash looks at are two small matrix products.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# Pixels of the shorter side that scaled decoding must leave: of most photos one pixel for 8 x 8.
SCALED_SIDE = 128
# How near to the median a coefficient may be moved across it by scaled decoding and rounding, and how many
# may be that near: measured, what is left then was within 2 bits of the full picture's hash every time.
_NEAR_MEDIAN = 40.0
_MAX_NEAR = 6
_EXACT = 1e-6
_COSINES = 2 * np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(32) + 1) / 64)


def shrunk(gray: Image.Image, box: tuple[float, float, float, float] | None = None) -> Image.Image:
    """The 32 x 32 pixels that the hash looks at, of a picture of mode L or of `box` within it.

    The box is for pictures decoded at a fraction of their size, which seldom fill their last row and column:
    without it, one photo in ten moved by 4 bits or more.
    """
    return gray.resize((32, 32), Image.Resampling.LANCZOS, box=box)


def perceptual_hash(small: Image.Image, *, exact: bool) -> str | None:
    """`str(imagehash.phash(picture))`, 16 hex digits; `small` is the upright picture, shrunk.

    Without `exact`, None when the hash would depend on the rounding of a scaled picture (flat pictures,
    gratings): then hash the full one.
    """
    pixels = np.asarray(small, dtype=np.float64)
    low = _COSINES @ pixels @ _COSINES.T
    ordered = np.sort(low, axis=None)
    median = (ordered[31] + ordered[32]) / 2
    distances = np.abs(low - median)
    if not exact and np.count_nonzero(distances < _NEAR_MEDIAN) > _MAX_NEAR:
        return None
    if exact and np.count_nonzero(distances < _EXACT) > 0:
        # A tie: only the very same arithmetic gives the very same bits.
        import imagehash

        return str(imagehash.phash(small))
    return np.packbits(low > median).tobytes().hex()
