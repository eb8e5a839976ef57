"""A small archive of film scans for `syncd demo`: painted pictures that look as a scanner would deliver them.

Three batches of 35 mm film, each frame as the negative that was scanned, inverted, and cropped. The
archive also holds what real ones hold: a TIFF, a PNG, a file that was cut off, and two frames of the
same motif.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

    from syncd.painting import Pixels

FRAME = (1080, 720)
"""The picture on the film in pixels: 36 x 24 mm at 30 pixels a millimetre."""
SCAN = (1200, 1050)
"""What the scanner sees: 40 x 35 mm, with the film's perforated edges."""


class Shot(NamedTuple):
    """One frame of a film. `painter` is a name in syncd.painting; `kind` of the final crop is a file type."""

    title: str
    painter: str
    seed: int
    crop: str = ".jpg"


class Film(NamedTuple):
    """One batch. `suffix` is what the scanning program appends to inverted files."""

    batch_name: str
    loaded_at: datetime
    suffix: str
    black_and_white: bool
    shots: tuple[Shot, ...]


class SampleArchive(NamedTuple):
    """What make_archive() wrote. `broken` cannot be decoded; `similar` are two frames of one motif."""

    images_dir: Path
    batches: tuple[str, ...]
    files: tuple[Path, ...]
    broken: Path
    similar: tuple[Path, Path]


FILMS = (
    Film(
        "2025-11-04-batch-1", datetime(1994, 8, 13, 17, 5), "_inverted", False,
        (
            Shot("roll31-01-cape-road", "coast", 1),
            Shot("roll31-02-low-sun", "coast", 2),
            Shot("roll31-03-high-meadow", "hills", 2),
            Shot("roll31-04-still-water", "lake", 1),
            Shot("roll31-05-still-water-again", "lake", 1),
            Shot("roll31-06-before-the-rain", "hills", 8, ".tif"),
        ),
    ),
    Film(
        "2025-11-05-batch-2", datetime(1997, 11, 2, 16, 40), "-positive", False,
        (
            Shot("roll32-01-station-street", "street", 1),
            Shot("roll32-02-moorings", "harbour", 2),
            Shot("roll32-03-last-tram", "street", 5, ".png"),
            Shot("roll32-04-across-the-bay", "harbour", 4, "broken"),
            Shot("roll32-05-evening-ridge", "lake", 2),
        ),
    ),
    Film(
        "2025-11-06-batch-3", datetime(1989, 2, 19, 9, 12), "_inv", True,
        (
            Shot("roll33-01-fog", "forest", 1),
            Shot("roll33-02-clearing", "forest", 4),
            Shot("roll33-03-north-face", "lake", 5, ""),
        ),
    ),
)  # fmt: skip

NEW_SHOTS = (
    ("first-light", "coast"), ("the-pass", "lake"), ("spruces", "forest"),
    ("after-closing", "street"), ("two-masts", "harbour"), ("lone-tree", "hills"),
)  # fmt: skip


def make_archive(directory: Path, seed: int = 35) -> SampleArchive:
    """Writes the sample archive below `directory` (batch/stage/file, about 40 files, 10 MB, two seconds)
    and says what is in it. The same `seed` gives the same files. Raises OSError."""
    tasks = [(film, number, shot) for film in FILMS for number, shot in enumerate(film.shots, 1)]
    with ThreadPoolExecutor(2) as threads:
        written = list(threads.map(lambda task: _write_shot(directory, task, seed), tasks))
    files = tuple(path for paths in written for path in paths)
    crops = {path.stem.removesuffix("_crop"): path for path in files if path.parent.name == "final_crops"}
    return SampleArchive(
        images_dir=directory,
        batches=tuple(film.batch_name for film in FILMS),
        files=files,
        broken=crops["roll32-04-across-the-bay"],
        similar=(crops["roll31-04-still-water"], crops["roll31-05-still-water-again"]),
    )


def add_scan(images_dir: Path, batch_name: str, number: int) -> Path:
    """Writes one more scan, as a scanner would: beside, then renamed. `number` decides what it shows."""
    title, painter = NEW_SHOTS[number % len(NEW_SHOTS)]
    film = next((film for film in FILMS if film.batch_name == batch_name), FILMS[0])
    name = f"roll34-{number + 1:02}-{title}"
    positive = _develop(painter, 100 + number, film.black_and_white)
    path = images_dir / batch_name / "final_crops" / f"{name}_crop.jpg"
    partial = path.with_name(path.name + ".part")
    taken_at = film.loaded_at + timedelta(days=40, minutes=7 * number)
    _save(_crop(positive, number), partial, taken_at, "JPEG")
    return partial.rename(path)


def _write_shot(directory: Path, task: tuple[Film, int, Shot], seed: int) -> list[Path]:
    """The scan, the inverted scan and the crop of one frame; the paths written."""
    film, number, shot = task
    folder = directory / film.batch_name
    taken_at = film.loaded_at + timedelta(minutes=11 * number)
    picture = _develop(shot.painter, shot.seed * 1000 + seed, film.black_and_white)
    again = shot.title.endswith("-again")
    if again:  # The photographer moved half a step and the light changed a little.
        picture = (
            picture.crop((9, 6, FRAME[0], FRAME[1])).resize(FRAME).point(lambda level: min(255, level * 1.04))
        )
    strip = _mount(picture, number, film.black_and_white)
    initial = folder / "initial_scan" / f"{shot.title}.jpg"
    inverted = folder / "inverted_original_scans" / f"{shot.title}{film.suffix}.jpg"
    written = [
        _save(_negative(strip, film.black_and_white), initial, taken_at, "JPEG"),
        _save(strip, inverted, taken_at, "JPEG"),
    ]
    if not shot.crop:
        return written
    crop = _crop(picture, 0 if again else number)
    if shot.crop == "broken":
        path = _save(crop, folder / "final_crops" / f"{shot.title}_crop.jpg", taken_at, "JPEG")
        with path.open("r+b") as file:  # As a copy that was interrupted leaves it.
            file.truncate(path.stat().st_size * 2 // 5)
    else:
        path = folder / "final_crops" / f"{shot.title}_crop{shot.crop}"
        _save(crop, path, taken_at, {".jpg": "JPEG", ".tif": "TIFF", ".png": "PNG"}[shot.crop])
    return [*written, path]


def _develop(painter: str, seed: int, black_and_white: bool) -> Image.Image:
    """A painted scene as it looks on film: contrast, fall-off to the corners, grain."""
    import numpy as np
    from PIL import Image

    from syncd import painting

    random = np.random.default_rng(seed)
    width, height = FRAME
    light: Pixels = getattr(painting, painter)(random, width, height).clip(0, 1)
    if black_and_white:
        light = np.repeat((light @ np.array((0.42, 0.40, 0.18), np.float32))[..., None], 3, 2)
    else:
        light = light * np.array((1.03, 1.0, 0.95), np.float32) + np.array((0.0, 0.004, 0.014), np.float32)
    light = light + 0.35 * (light - 0.5) * light * (1 - light) * 4 * 0.5
    density = light * _corners()[..., None] * 255 + _grain()[..., None] * (9 if black_and_white else 6)
    return Image.fromarray(density.clip(0, 255).astype(np.uint8))


@functools.cache
def _corners() -> Pixels:
    import numpy as np

    width, height = FRAME
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    return (1 - 0.16 * (x + y) ** 1.4 / 2).astype(np.float32)


@functools.cache
def _grain() -> Pixels:
    """Film grain of unit strength: noise that is a little larger than a pixel."""
    import numpy as np

    width, height = FRAME
    fine = np.random.default_rng(35).standard_normal((height + 1, width + 1), dtype=np.float32)
    return (fine[:-1, :-1] + fine[1:, :-1] + fine[:-1, 1:] + fine[1:, 1:]) * 0.5 + fine[:-1, :-1] * 0.5


def _mount(picture: Image.Image, number: int, black_and_white: bool) -> Image.Image:
    """The frame on its strip of film, as a positive: black rebate, perforation, edge print."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = SCAN
    left, top = (width - FRAME[0]) // 2, (height - FRAME[1]) // 2
    strip = Image.new("RGB", SCAN, (9, 8, 8))
    # The frames before and after peep in at the sides.
    strip.paste(picture.crop((FRAME[0] - 18, 0, FRAME[0], FRAME[1])), (0, top))
    strip.paste(picture.crop((0, 0, 18, FRAME[1])), (width - 18, top))
    strip.paste(picture, (left, top))
    draw = ImageDraw.Draw(strip)
    print_color = (196, 196, 190) if black_and_white else (226, 150, 54)
    font = ImageFont.load_default(22)
    for row in (44, height - 44 - 84):
        for hole in range(9):
            x = 22 + hole * 142.5
            draw.rounded_rectangle((x, row, x + 60, row + 84), 14, fill=(0, 0, 0))
    name = "SYNCD  PAN 400" if black_and_white else "SYNCD  COLOR 200"
    draw.text((left + 40, 10), name, font=font, fill=print_color)
    draw.text((left + 700, 10), f"▸ {number}A", font=font, fill=print_color)
    draw.text((left + 300, height - 34), f"{number}", font=font, fill=print_color)
    draw.text((left + 860, height - 34), f"{number}A", font=font, fill=print_color)
    return strip


def _negative(strip: Image.Image, black_and_white: bool) -> Image.Image:
    """The strip as the scanner saw it: dark where it was light, on the orange of color negative film."""
    base = (214, 212, 208) if black_and_white else (232, 148, 92)
    slope = (0.78, 0.78, 0.78) if black_and_white else (0.66, 0.74, 0.80)
    table: list[int] = []
    for channel in range(3):
        table += [round(base[channel] * (1 - slope[channel] * (level / 255) ** 0.7)) for level in range(256)]
    return strip.point(table)


def _crop(picture: Image.Image, number: int) -> Image.Image:
    """What the photographer kept: without the frame's edge, now and then narrower."""
    width, height = FRAME
    if number % 4 == 3:
        return picture.crop((width // 8, 14, width // 8 + height - 28, height - 14))
    return picture.crop((20, 14, width - 20, height - 14))


def _save(picture: Image.Image, path: Path, taken_at: datetime, image_format: str) -> Path:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Nikon", "LS-50 ED", 1
    exif.get_ifd(0x8769)[0x9003] = taken_at.strftime("%Y:%m:%d %H:%M:%S")
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 86},
        "TIFF": {},  # Pillow cannot write EXIF folders into a compressed TIFF.
        "PNG": {"compress_level": 3},
    }
    # As bytes: from an Exif object Pillow leaves the sub-folder with the date out of a TIFF.
    picture.save(path, image_format, exif=exif.tobytes(), **options[image_format])
    return path
