"""The 128-d face encoder of dlib (`dlib_face_recognition_resnet_model_v1`), computed with numpy.

dlib's wheels on PyPI come without BLAS, where one face takes 75 ms; numpy's matrix product does the same sums
in 11 ms. The encodings differ from dlib's by rounding only (distances of about 1e-6).

Source of the architecture: `examples/dnn_face_recognition_ex.cpp` in dlib; of the file: `serialize()` in
`dlib/dnn/layers.h` and `dlib/cuda/tensor.h`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

CHIP_SIDE = 150
_Floats = npt.NDArray[np.float32]
_MEAN_COLOR = np.array([122.782, 117.001, 104.298], np.float32)
# Filters of each stage's residual blocks; True where a block halves the picture.
_STAGES = (
    (32, (False, False, False)),
    (64, (True, False, False, False)),
    (128, (True, False, False)),
    (256, (True, False, False)),
    (256, (True,)),
)


class _Convolution(NamedTuple):
    """One with its affine layer folded in: `weights` is (side * side * channels in, channels out)."""

    weights: _Floats
    bias: _Floats
    side: int


class FaceNet:
    """The network with its weights (22 MB), read from dlib's own file. Raises ValueError on any other."""

    def __init__(self, path: Path) -> None:
        layers = list(_tensors(path.read_bytes()))
        if [kind for kind, _ in layers] != ["con_4", "affine_"] * 29 + ["fc_2"]:
            raise ValueError(f"{path.name} is not the face encoder")
        self._convolutions: list[_Convolution] = []
        channels = 3
        for (_, filters), (_, affine) in zip(layers[:-1:2], layers[1::2], strict=True):
            count = affine.size // 2
            gamma, beta = affine[:count], affine[count:]
            side = 3 if self._convolutions else 7
            kernel = filters[:-count].reshape(count, channels, side, side) * gamma[:, None, None, None]
            weights = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0).reshape(-1, count))
            self._convolutions.append(_Convolution(weights, filters[-count:] * gamma + beta, side))
            channels = count
        self._last: _Floats = layers[-1][1].reshape(256, 128)

    def __call__(self, chips: npt.NDArray[np.uint8]) -> _Floats:
        """Encodings (n, 128) of aligned RGB faces (n, 150, 150, 3) as `dlib.get_face_chip` cuts them."""
        x = (chips.astype(np.float32) - _MEAN_COLOR) * np.float32(1 / 256)
        layers = iter(self._convolutions)
        x = _max_pool(_relu(_convolve(x, next(layers), stride=2)))
        for filters, blocks in _STAGES:
            for halves in blocks:
                inner = _relu(_convolve(x, next(layers), stride=2 if halves else 1))
                outer = _convolve(inner, next(layers))
                x = _relu(_add(outer, _average_pool(x), filters) if halves else outer + x)
        encodings: _Floats = x.mean(axis=(1, 2)) @ self._last
        return encodings


def _tensors(data: bytes) -> Iterator[tuple[str, _Floats]]:
    """Each layer that has parameters, from the input to the output."""
    end = 0
    for found in re.finditer(rb"\x01\x05(con_4)|\x01\x07(affine_)|\x01\x04(fc_2)", data):
        if found.start() < end:
            continue  # chance bytes inside the last tensor
        name = found.group()[2:].decode()
        at = found.end()
        for _ in range(2 if name == "fc_2" else 0):
            _, at = _integer(data, at)
        version, at = _integer(data, at)
        count = 1
        for _ in range(4):
            size, at = _integer(data, at)
            count *= size
        end = at + 4 * count
        if version != 2 or count < 1 or end > len(data):
            raise ValueError("not the face encoder")
        yield name, np.frombuffer(data, "<f4", count, at)


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """One packed integer (a byte with its length, then that many bytes), and where the next thing begins."""
    end = at + 1 + (data[at] & 15)
    return int.from_bytes(data[at + 1 : end], "little"), end


def _convolve(x: _Floats, layer: _Convolution, stride: int = 1) -> _Floats:
    """One matrix product; as in dlib, only a stride of 1 pads the border."""
    side = layer.side
    if stride == 1:
        pad = side // 2
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    count, height, width, channels = x.shape
    height, width = (height - side) // stride + 1, (width - side) // stride + 1
    n, rows, columns, c = x.strides
    windows = np.lib.stride_tricks.as_strided(
        x,
        (count, height, width, side, side, channels),
        (n, rows * stride, columns * stride, rows, columns, c),
        writeable=False,
    )
    y = windows.reshape(count * height * width, -1) @ layer.weights
    y += layer.bias
    return y.reshape(count, height, width, -1)


def _relu(x: Any) -> _Floats:
    result: _Floats = np.maximum(x, 0, out=x)
    return result


def _max_pool(x: _Floats) -> _Floats:
    """3 x 3, stride 2."""
    end = x.shape[1] - 2
    x = np.maximum(np.maximum(x[:, :end:2], x[:, 1 : end + 1 : 2]), x[:, 2::2])
    result: _Floats = np.maximum(np.maximum(x[:, :, :end:2], x[:, :, 1 : end + 1 : 2]), x[:, :, 2::2])
    return result


def _average_pool(x: _Floats) -> _Floats:
    """2 x 2, stride 2."""
    count, side, _, channels = x.shape
    half = side // 2
    x = x[:, : 2 * half, : 2 * half].reshape(count, half, 2, half, 2, channels)
    result: _Floats = x.mean(axis=(2, 4))
    return result


def _add(one: _Floats, other: _Floats, filters: int) -> _Floats:
    """The sum of two pictures from the same corner, missing pixels and channels being 0."""
    side = max(one.shape[1], other.shape[1])
    total = np.zeros((len(one), side, side, filters), np.float32)
    for part in (one, other):
        total[:, : part.shape[1], : part.shape[2], : part.shape[3]] += part
    return total
