"""Text for people: colours where they are wanted, and tables that fit the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TextIO

from syncd.text import printable

_TONES = {"ok": "32", "warn": "33", "bad": "31", "info": "36", "dim": "2", "bold": "1"}
_GAP = "  "
_NARROWEST = 8
"""A column that may be cut keeps this many cells."""

GLYPHS = {
    "starting": ("↻", "info"),
    "running": ("●", "ok"),
    "backing_off": ("↻", "warn"),
    "paused": ("‖", "warn"),
    "needs_auth": ("!", "bad"),
    "blocked": ("▲", "bad"),
    "failed": ("!", "bad"),
    "stopped": ("○", "dim"),
    "queued": ("○", "dim"),
    "waiting": ("‖", "warn"),
    "done": ("✓", "ok"),
    "partial": ("▲", "warn"),
    "refused": ("▲", "bad"),
    "cancelled": ("○", "dim"),
}
"""The sign and the tone of each state of services, jobs and syncs."""


class Look(NamedTuple):
    """How to print: `width` is the terminal's in cells, None where nothing is to be cut."""

    width: int | None = None
    colour: bool = False

    def paint(self, text: str, tone: str) -> str:
        code = _TONES.get(tone)
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text


def look_of(stream: TextIO) -> Look:
    """The terminal's width and whether it takes colours; plain and uncut elsewhere."""
    if not stream.isatty():
        return Look()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Look(shutil.get_terminal_size().columns, not plain)


def echo(lines: Iterable[str]) -> None:
    """Prints lines to stdout; what its encoding lacks becomes `?`."""
    text = "".join(f"{line}\n" for line in lines)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


class Cell(NamedTuple):
    """A cell with a tone."""

    text: str
    tone: str = ""


class Column(NamedTuple):
    """`rank` 0 is always there; the highest ranks go first when the terminal is narrow. `cut` columns may
    be shortened, at their end or, with `cut="<"`, at their start."""

    title: str
    right: bool = False
    rank: int = 0
    cut: str = ""


def cells(text: str) -> int:
    """How many cells of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(c) or c == "\ufe0f"
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def shorten(text: str, width: int, at: str = ">") -> str:
    """`text` in at most `width` cells, with `…` for what went at its end (or start, with `at="<"`)."""
    if cells(text) <= width:
        return text
    kept = text
    while kept and cells(kept) > width - 1:
        kept = kept[1:] if at == "<" else kept[:-1]
    return f"…{kept}" if at == "<" else f"{kept}…"


def table(look: Look, columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> list[str]:
    """A heading and a line for each row, made printable and fitted to the look's width."""
    grid = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    grid = [[Cell(printable(text), tone) for text, tone in row] for row in grid]
    widths = [
        max([cells(column.title), *(cells(row[at].text) for row in grid)])
        for at, column in enumerate(columns)
    ]
    shown = _choose(look, columns, widths)
    lines = [_line(look, columns, widths, shown, [Cell(column.title, "dim") for column in columns])]
    return lines + [_line(look, columns, widths, shown, row) for row in grid]


def _choose(look: Look, columns: Sequence[Column], widths: list[int]) -> list[int]:
    """Which columns are shown; narrows `widths` of those that may be cut."""
    shown = list(range(len(columns)))
    if look.width is None:
        return shown

    def excess(floor: bool) -> int:
        taken = sum(
            min(widths[at], _NARROWEST * 2) if floor and columns[at].cut else widths[at] for at in shown
        )
        return taken + len(_GAP) * (len(shown) - 1) - (look.width or 0)

    while excess(floor=True) > 0 and any(columns[at].rank for at in shown):
        shown.remove(max(shown, key=lambda at: (columns[at].rank, at)))
    while excess(floor=False) > 0:
        wide = [at for at in shown if columns[at].cut and widths[at] > _NARROWEST]
        if not wide:
            break
        widths[max(wide, key=lambda at: widths[at])] -= 1
    return shown


def _line(
    look: Look, columns: Sequence[Column], widths: list[int], shown: list[int], row: Sequence[Cell]
) -> str:
    parts = []
    for at in shown:
        column, (text, tone) = columns[at], row[at]
        if column.cut:
            text = shorten(text, widths[at], column.cut)
        space = " " * (widths[at] - cells(text))
        painted = look.paint(text, tone)
        last = at == shown[-1]
        parts.append(space + painted if column.right else painted if last else painted + space)
    return _GAP.join(parts).rstrip()


def state(name: str) -> Cell:
    """A state with its sign."""
    sign, tone = GLYPHS.get(name, ("○", "dim"))
    return Cell(f"{sign} {name.replace('_', ' ')}", tone)


def facts(look: Look, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """`name  value` lines, the values below one another; pairs without a value are left out."""
    pairs = [(name, printable(value)) for name, value in pairs if value]
    width = max((cells(name) for name, _ in pairs), default=0)
    return [f"{look.paint(name.ljust(width), 'dim')}{_GAP}{value}" for name, value in pairs]


def plural(count: int, one: str, many: str = "") -> str:
    """`1 scene`, `18,543 scenes`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
