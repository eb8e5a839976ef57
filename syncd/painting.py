"""Painted photographs for the sample archive: landscapes made of smooth noise, light and silhouettes.

Every painter takes a random generator, a size in pixels and returns float32 RGB, shape (height, width, 3),
about 0 to 1. The same generator state paints the same picture. Nothing is read from disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.float32]
    Color: TypeAlias = tuple[float, float, float]
    Random: TypeAlias = np.random.Generator
    Painter: TypeAlias = Callable[[Random, int, int], Pixels]


HORIZON = 0.6
"""Where the sky has its lowest color, as a part of the height."""

# --- brushes --------------------------------------------------------------------------------------


def noise(
    random: Random, width: int, height: int, cells: float, aspect: float = 1.0, octaves: int = 4
) -> Pixels:
    """Smooth noise of 0 to 1, shape (height, width): `cells` across at the coarsest, each `aspect` times
    wider than high."""
    total = np.zeros((height, width), np.float32)
    weight, sum_of_weights = 1.0, 0.0
    for _ in range(octaves):
        columns = max(2, round(cells))
        rows = max(2, round(cells * height / width * aspect))
        grid = Image.fromarray(random.random((rows, columns), dtype=np.float32))
        total += weight * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        sum_of_weights += weight
        weight, cells = weight * 0.5, cells * 2.1
    return total / sum_of_weights


def ridge(random: Random, width: int, bumps: float, octaves: int = 6) -> Pixels:
    """The outline of a hill: `width` heights of 0 to 1."""
    x = np.arange(width, dtype=np.float32)
    line = np.zeros(width, np.float32)
    weight = 1.0
    for _ in range(octaves):
        knots = np.linspace(-1, width, max(3, round(bumps)) + 1)
        line += weight * np.interp(x, knots, random.random(len(knots))).astype(np.float32)
        weight, bumps = weight * 0.47, bumps * 2.3
    line -= line.min()
    line /= max(float(line.max()), 1e-6)
    return line


def step(low: float, high: float, values: Pixels) -> Pixels:
    """0 below `low`, 1 above `high`, smooth between."""
    t: Pixels = ((values - low) / (high - low)).clip(0, 1)
    smooth: Pixels = t * t * (3 - 2 * t)
    return smooth


def lay(canvas: Pixels, color: Color | Pixels, mask: Pixels) -> None:
    """Blends a colour over the canvas where `mask` (0 to 1) says so, in place."""
    canvas += (np.asarray(color, np.float32) - canvas) * mask[..., None]


def shine(canvas: Pixels, x: float, y: float, radius: float, color: Color) -> None:
    """Adds a soft round light at (x, y) pixels, in place."""
    height, width = canvas.shape[:2]
    reach = int(radius * 3)
    left, right = max(0, int(x) - reach), min(width, int(x) + reach + 1)
    top, bottom = max(0, int(y) - reach), min(height, int(y) + reach + 1)
    if left >= right or top >= bottom:
        return
    rows = np.exp(-(((np.arange(top, bottom, dtype=np.float32) - y) / radius) ** 2))
    columns = np.exp(-(((np.arange(left, right, dtype=np.float32) - x) / radius) ** 2))
    canvas[top:bottom, left:right] += np.outer(rows, columns)[..., None] * np.asarray(color, np.float32)


def sky(
    random: Random, width: int, height: int, top: Color, middle: Color, low: Color, clouds: float
) -> Pixels:
    """A sky that fills the picture; `clouds` is 0 (clear) to 1 (overcast)."""
    t = np.linspace(0, 1 / HORIZON, height, dtype=np.float32)
    stops = np.array([top, middle, low], np.float32)
    column = np.stack([np.interp(t, (0, 0.55, 1), stops[:, channel]) for channel in range(3)], 1)
    canvas = np.repeat(column[:, None, :].astype(np.float32), width, 1)
    if clouds:
        shape = noise(random, width, height, 3, 3.2, 5)
        cover = step(0.62 - 0.25 * clouds, 0.86 - 0.25 * clouds, shape)
        lit = np.asarray(low, np.float32) * 0.35 + 0.68
        lay(canvas, np.minimum(lit, 1.0), cover * (0.35 + 0.45 * clouds))
        lay(
            canvas,
            np.asarray(top, np.float32) * 0.75,
            step(0.6, 0.9, np.roll(shape, -height // 40, 0)) * cover * 0.5,
        )
    return canvas


def silhouette(
    width: int, height: int, draw: Callable[[ImageDraw.ImageDraw], None], blur: float = 0.7
) -> Pixels:
    """The mask of what `draw` paints in white, its edge softened by `blur` pixels."""
    mask = Image.new("L", (width, height))
    draw(ImageDraw.Draw(mask))
    softened = mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask
    return np.asarray(softened, np.float32) / np.float32(255)


def land(line: Pixels, height: int, base: float, rise: float) -> Pixels:
    """The mask of everything below an outline whose foot is at `base` and top at `base - rise` pixels."""
    edge = base - line * rise
    return (np.arange(height, dtype=np.float32)[:, None] - edge[None, :] + 0.5).clip(0, 1)


def mirror(canvas: Pixels, waterline: int, random: Random, dim: float, tint: Color) -> None:
    """Turns everything below `waterline` into water that shows what is above, in place."""
    height, width = canvas.shape[:2]
    depth = height - waterline
    rows = np.arange(depth)
    distance = rows / max(1, depth)
    wave = noise(random, width, depth, 7, 9, 3) - 0.5
    shift = (wave * (4 + 46 * distance[:, None])).astype(np.int32)
    source = (waterline - 1 - rows[:, None] + shift).clip(0, waterline - 1)
    reflected = canvas[source, np.arange(width)[None, :]]
    strength = (dim * (1 - 0.55 * distance))[:, None, None].astype(np.float32)
    canvas[waterline:] = reflected * strength + np.asarray(tint, np.float32) * (1 - strength)


# --- pictures -------------------------------------------------------------------------------------


def coast(random: Random, width: int, height: int) -> Pixels:
    """A low sun over the open sea, with a headland and now and then a lighthouse."""
    warm = random.random()
    canvas = sky(
        random, width, height, (0.16, 0.30, 0.52 - 0.1 * warm), (0.62, 0.58, 0.60), (1.0, 0.72, 0.45), 0.45
    )
    horizon = int(height * random.uniform(0.52, 0.6))
    x = width * random.uniform(0.25, 0.75)
    y = horizon - height * random.uniform(0.03, 0.12)
    shine(canvas, x, y, height * 0.30, (0.30, 0.17, 0.06))
    shine(canvas, x, y, height * 0.035, (0.9, 0.75, 0.5))
    depth = height - horizon
    near = np.linspace(0, 1, depth, dtype=np.float32)[:, None]
    ripples = noise(random, width, depth, 26, 7, 3)
    sea = np.stack([0.10 + 0.34 * (1 - near), 0.20 + 0.26 * (1 - near), 0.30 + 0.16 * (1 - near)], -1)
    canvas[horizon:] = sea * (0.72 + 0.56 * ripples[..., None])
    spread = 0.02 + 0.16 * near
    path = np.exp(-(((np.arange(width, dtype=np.float32)[None, :] - x) / (width * spread)) ** 2))
    lay(canvas[horizon:], (1.0, 0.86, 0.62), path * step(0.5, 0.66, ripples) * (0.95 - 0.5 * near))
    side = random.random() < 0.5
    line = ridge(random, width, 4) * np.linspace(1, 0, width, dtype=np.float32) ** 1.6
    line = line if side else line[::-1]
    headland = land(np.maximum(line - 0.06, 0), height, horizon + 2, height * 0.26)
    headland[horizon + 2 :] = 0
    lay(canvas, (0.13, 0.13, 0.17), headland)
    if random.random() < 0.6:
        foot = width * (0.12 if side else 0.88)
        base = horizon - float(line[int(foot)]) * height * 0.26 + height * 0.03
        tower = height * 0.17

        def lighthouse(draw: ImageDraw.ImageDraw) -> None:
            wide, narrow = tower * 0.13, tower * 0.085
            draw.polygon(
                [
                    (foot - wide, base),
                    (foot + wide, base),
                    (foot + narrow, base - tower),
                    (foot - narrow, base - tower),
                ],
                fill=255,
            )
            draw.rectangle(
                (foot - narrow * 0.7, base - tower * 1.16, foot + narrow * 0.7, base - tower), fill=255
            )

        lay(canvas, (0.80, 0.72, 0.66), silhouette(width, height, lighthouse))
        shine(canvas, foot, base - tower * 1.08, height * 0.02, (1.0, 0.85, 0.5))
    return canvas


def hills(random: Random, width: int, height: int) -> Pixels:
    """Ridge behind ridge in haze, a meadow in front."""
    canvas = sky(random, width, height, (0.30, 0.50, 0.72), (0.66, 0.77, 0.84), (0.93, 0.88, 0.78), 0.75)
    layers = int(random.integers(4, 6))
    for layer in range(layers):
        t = (layer + 1) / layers
        line = ridge(random, width, 2 + 2.5 * layer, 7)
        mask = land(line, height, height * (0.50 + 0.30 * t), height * (0.20 - 0.07 * t))
        haze = np.array((0.70, 0.76, 0.80), np.float32)
        ground = np.array((0.20, 0.29, 0.13), np.float32)
        lay(canvas, haze * (1 - t) + ground * t, mask)
    floor = int(height * 0.70)
    meadow = noise(random, width, height - floor, 30, 3, 4)
    near = np.linspace(0, 1, height - floor, dtype=np.float32)[:, None]
    color = np.stack([0.34 + 0.24 * meadow, 0.38 + 0.2 * meadow, 0.13 + 0.08 * meadow], -1)
    shade = step(0.42, 0.58, noise(random, width, height - floor, 3, 5, 3))
    lay(
        canvas[floor:],
        color * (0.62 + 0.38 * shade[..., None]),
        step(0.12, 0.5, near + 0.25 * (meadow - 0.5)),
    )
    foot, ground_y, size = width * random.uniform(0.2, 0.8), height * 0.84, height * random.uniform(0.2, 0.3)
    crown = [
        (foot + random.normal(0, size * 0.26), ground_y - size * random.uniform(0.5, 1.05)) for _ in range(46)
    ]

    def tree(draw: ImageDraw.ImageDraw) -> None:
        draw.rectangle((foot - size * 0.03, ground_y - size * 0.6, foot + size * 0.03, ground_y), fill=255)
        for x, y in crown:
            radius = size * 0.11
            draw.ellipse((x - radius, y - radius * 0.8, x + radius, y + radius * 0.8), fill=255)

    shape = silhouette(width, height, tree, 1.6)
    leaves = noise(random, width, height, 70, 1, 2)[..., None]
    lay(canvas, np.array((0.12, 0.16, 0.07), np.float32) * (0.45 + 1.3 * leaves), shape)
    shadow = (foot - size * 0.5, ground_y - size * 0.03, foot + size * 0.7, ground_y + size * 0.06)
    lay(
        canvas,
        (0.12, 0.15, 0.06),
        silhouette(width, height, lambda draw: draw.ellipse(shadow, fill=150), 6),
    )
    return canvas


def lake(random: Random, width: int, height: int) -> Pixels:
    """Mountains that stand on their heads in still water."""
    dusk = random.random() < 0.5
    colors: tuple[Color, Color, Color] = (
        ((0.20, 0.22, 0.42), (0.62, 0.46, 0.56), (0.98, 0.70, 0.52))
        if dusk
        else ((0.33, 0.52, 0.74), (0.62, 0.76, 0.87), (0.90, 0.92, 0.90))
    )
    canvas = sky(random, width, height, *colors, 0.5)
    waterline = int(height * 0.60)
    for t, bumps, rise in ((0.0, 3, 0.40), (0.45, 5, 0.25), (1.0, 14, 0.09)):
        line = ridge(random, width, bumps, 8)
        rock = np.array(colors[1], np.float32) * (1 - t) * 0.72 + np.array((0.09, 0.12, 0.11), np.float32) * t
        mask = land(line, height, height * (0.60 + 0.02 * t), height * rise)
        face = noise(random, width, height, 24, 0.6, 4)[..., None]
        lay(canvas, rock * (0.74 + 0.5 * face), mask)
        if t == 0:
            up = np.linspace(1, 0, height, dtype=np.float32)[:, None]
            snow = step(0.5, 0.62, face[..., 0]) * step(0.40, 0.64, up)
            snow *= 0.85
            lay(canvas, (0.94, 0.92, 0.93), snow * mask)
    mirror(canvas, waterline, random, 0.86, (0.07, 0.11, 0.14))
    return canvas


def forest(random: Random, width: int, height: int) -> Pixels:
    """Trunks that fade into fog."""
    fog: Color = (0.80, 0.82, 0.78) if random.random() < 0.5 else (0.86, 0.77, 0.62)
    canvas = np.ones((height, width, 3), np.float32) * np.asarray(fog, np.float32)
    shine(canvas, width * random.uniform(0.3, 0.7), height * 0.18, height * 0.35, (0.16, 0.14, 0.09))
    moss = noise(random, width, height, 36, 2.5, 3)[..., None]
    bark = noise(random, width, height, 90, 0.25, 2)[..., None]
    drift = noise(random, width, height, 2.5, 3, 2)
    for layer in range(6):
        t = (layer + 1) / 6
        ground = height * (0.66 + 0.22 * t)
        dark = np.array(fog, np.float32) * (1 - t) ** 1.2 + np.array((0.10, 0.09, 0.07), np.float32) * (
            1 - (1 - t) ** 1.2
        )
        floor = land(ridge(random, width, 6, 6), height, ground + height * 0.02, height * 0.045)
        lay(
            canvas,
            (dark * 0.8 + np.array((0.10, 0.10, 0.02), np.float32) * t)
            * (0.6 + 0.8 * np.roll(moss, 90 * layer, 1)),
            floor,
        )
        thick = width * (0.003 + 0.014 * t**2)
        trunks = [
            (random.uniform(-0.05, 1.05) * width, thick * random.uniform(0.6, 1.4), random.normal(0, 0.018))
            for _ in range(round(24 - 19 * t))
        ]

        def stand(
            draw: ImageDraw.ImageDraw, trunks: list[tuple[float, float, float]] = trunks, foot: float = ground
        ) -> None:
            for x, half, lean in trunks:
                top = x + lean * height
                draw.polygon(
                    [
                        (x - half * 1.25, foot),
                        (x + half * 1.25, foot),
                        (top + half * 0.7, -5),
                        (top - half * 0.7, -5),
                    ],
                    fill=255,
                )
                for branch in range(5):
                    y = foot * (0.06 + 0.11 * branch)
                    reach = half * (6 - branch * 0.8) * (1 if branch % 2 else -1)
                    draw.line(
                        (x + lean * (foot - y), y, x + reach, y - abs(reach) * 0.35),
                        fill=170,
                        width=max(1, int(half * 0.3)),
                    )

        lay(
            canvas,
            dark * (0.72 + 0.56 * np.roll(bark, 70 * layer, 1)),
            silhouette(width, height, stand, 0.6 + 1.4 * (1 - t)),
        )
        lay(canvas, fog, np.roll(drift, 200 * layer, 1) * (0.20 * (1 - t)))
    return canvas


def street(random: Random, width: int, height: int) -> Pixels:
    """A wet street at night: lit windows, lamps in a row, everything again on the road."""
    horizon, center = int(height * 0.60), width * random.uniform(0.42, 0.58)
    canvas = sky(random, width, height, (0.02, 0.03, 0.08), (0.06, 0.07, 0.15), (0.22, 0.17, 0.22), 0.3)
    houses = Image.fromarray((canvas.clip(0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(houses)
    for side in (-1, 1):
        z = 9.0
        while z > 0.75:
            nearer = z * random.uniform(0.66, 0.8)
            tall = random.uniform(0.75, 1.25)
            _house(draw, random, (center, float(horizon)), width, side, z, nearer, tall)
            z = nearer
    canvas = np.asarray(houses.filter(ImageFilter.GaussianBlur(0.9)), np.float32) / np.float32(255)
    warm: Color = (1.0, 0.74, 0.40) if random.random() < 0.7 else (0.74, 0.86, 1.0)
    for z in np.geomspace(7.5, 0.95, 8):
        for side in (-1, 1):
            x, y = center + side * width * 0.26 / z, horizon - height * 0.36 / z
            shine(canvas, x, y, height * 0.16 / z, tuple(0.30 * c for c in warm))  # type: ignore[arg-type]
            shine(canvas, x, y, max(2.0, height * 0.020 / z), tuple(1.5 * c for c in warm))  # type: ignore[arg-type]
    for _ in range(5):
        x, size = center + random.normal(0, width * 0.05), random.uniform(2, 5)
        red = random.random() < 0.5
        for offset in (-1.6, 1.6):
            shine(
                canvas, x + offset * size, horizon - 3, size, (1.0, 0.12, 0.08) if red else (1.0, 0.95, 0.8)
            )
    mirror(canvas, horizon, random, 0.62, (0.03, 0.03, 0.05))
    soft = Image.fromarray((canvas[horizon:].clip(0, 1) * 255).astype(np.uint8)).filter(
        ImageFilter.BoxBlur((1, 9))
    )
    canvas[horizon:] = (
        np.asarray(soft, np.float32)
        / 255
        * (0.8 + 0.5 * noise(random, width, height - horizon, 60, 3, 2)[..., None])
    )
    return canvas


def _house(
    draw: ImageDraw.ImageDraw, random: Random, vanishing: tuple[float, float], width: int, side: int,
    far: float, near: float, tall: float,
) -> None:  # fmt: skip
    """One house front of a street between the distances `far` and `near`, with its windows."""
    center, horizon = vanishing
    shade = int(14 + 30 / far * 0.5)

    def at(z: float, up: float) -> tuple[float, float]:
        return center + side * width * 0.34 / z, horizon - up * width * 0.42 * tall / z

    draw.polygon([at(far, -0.2), at(far, 1), at(near, 1), at(near, -0.2)], fill=(shade + 6, shade, shade + 4))
    floors, columns = 5, max(2, round(7 * (far - near) / far * 2))
    for floor in range(1, floors):
        for column in range(columns):
            if random.random() < 0.5:
                continue
            low, high = floor / floors * 0.92, (floor + 0.55) / floors * 0.92
            z0 = far + (near - far) * (column + 0.25) / columns
            z1 = far + (near - far) * (column + 0.7) / columns
            glow = random.uniform(0.45, 1.0)
            color = (
                (int(245 * glow), int(190 * glow), int(105 * glow))
                if random.random() < 0.8
                else (150, 180, 210)
            )
            draw.polygon([at(z0, low), at(z0, high), at(z1, high), at(z1, low)], fill=color)


def harbour(random: Random, width: int, height: int) -> Pixels:
    """Boats at rest after sunset, a row of lights across the bay."""
    canvas = sky(random, width, height, (0.07, 0.11, 0.27), (0.28, 0.27, 0.44), (0.88, 0.52, 0.40), 0.4)
    waterline = int(height * 0.56)
    lay(canvas, (0.10, 0.11, 0.18), land(ridge(random, width, 5, 6), height, waterline + 1, height * 0.11))
    for _ in range(60):
        size = random.uniform(1.0, 2.4)
        color: Color = (1.0, 0.78, 0.45) if random.random() < 0.8 else (0.8, 0.95, 1.0)
        shine(canvas, random.uniform(0, width), waterline - random.uniform(2, height * 0.03), size, color)
    boats = [
        (width * (0.1 + 0.2 * place + random.uniform(-0.05, 0.05)), height * random.uniform(0.05, 0.10))
        for place in range(5)
    ]

    def moor(draw: ImageDraw.ImageDraw) -> None:
        for x, size in boats:
            foot = waterline - 1
            draw.polygon(
                [
                    (x - size, foot - size * 0.32),
                    (x + size * 1.25, foot - size * 0.38),
                    (x + size * 0.9, foot),
                    (x - size * 0.75, foot),
                ],
                fill=255,
            )
            draw.rectangle((x - size * 0.4, foot - size * 0.62, x + size * 0.3, foot - size * 0.3), fill=255)
            draw.line((x, foot, x, foot - size * 3.4), fill=255, width=2)
            draw.line((x, foot - size * 3.2, x + size * 1.1, foot - size * 0.5), fill=140, width=1)
            draw.line((x, foot - size * 3.2, x - size * 0.9, foot - size * 0.5), fill=140, width=1)

    lay(canvas, (0.06, 0.06, 0.09), silhouette(width, height, moor, 0.6))
    for x, size in boats[::2]:
        shine(canvas, x - size * 0.05, waterline - size * 0.48, 2.6, (1.0, 0.75, 0.4))
    mirror(canvas, waterline, random, 0.9, (0.04, 0.06, 0.12))
    return canvas
