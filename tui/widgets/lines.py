"""Drawing by lines: spans of text with a tone each, made into strips. There is no markup anywhere.

Tones are component classes ("tone-ok" …) whose colours app.tcss takes from the theme. The screen has them
(`TONE_CLASSES`), once for all of its widgets: to style them for each widget would cost most of the time that
a change of screens takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tui.look import UNICODE, Glyphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tui.look import Line, Span

TONES = (
    "text", "dim", "rule", "bold", "head", "key", "accent", "info", "ok", "warn", "bad", "inverse",
    "gone", "new", "cursor", "cursor-blurred", "flash-info", "flash-ok", "flash-warn", "flash-bad",
)  # fmt: skip


def fit(text: str, width: int, align: str = "left", more: str = "…") -> str:
    """`text` in exactly `width` cells, cut with `more` at the end where it is longer."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + more if width > 0 else ""
    padding = " " * (width - length)
    return padding + text if align == "right" else text + padding


def fit_end(text: str, width: int, more: str = "…") -> str:
    """`text` in at most `width` cells, cut with `more` at its beginning where it is longer: of a path, the
    name of the file is what tells."""
    if cell_len(text) <= width:
        return text
    kept = ""
    for character in reversed(text):
        if cell_len(character) + cell_len(kept) + cell_len(more) > width:
            break
        kept = character + kept
    return more + kept if width > 0 else ""


def fit_spans(spans: Sequence[Span], width: int, more: str = "…") -> list[Span]:
    """The spans in exactly `width` cells, cut with `more` at the end where they are longer."""
    left = width - width_of(spans)
    if left >= 0:
        return [*spans, (" " * left, "")]
    fitted: list[Span] = []
    room = width - cell_len(more)
    for text, tone in spans:
        part = text if cell_len(text) <= room else set_cell_size(text, max(0, room))
        fitted.append((part, tone))
        room -= cell_len(part)
        if room <= 0:
            break
    return [*fitted, (more, fitted[-1][1])] if width > 0 else []


def folded(spans: Sequence[Span], width: int, indent: str = "") -> list[Line]:
    """The spans in lines of at most `width` cells, broken between spans; lines but the first begin with
    `indent`. A span that is longer than a line is cut."""
    lines: list[list[Span]] = [[]]
    room = width
    for text, tone in spans:
        if cell_len(text) > room and lines[-1] and not text.isspace():
            lines.append([(indent, "")])
            room = width - len(indent)
        part = text if cell_len(text) <= room else set_cell_size(text, max(0, room))
        lines[-1].append((part, tone))
        room -= cell_len(part)
    return [tuple(line) for line in lines]


def width_of(spans: Iterable[Span]) -> int:
    """Cells that the spans take."""
    return sum(cell_len(text) for text, _ in spans)


def spread(left: Line, right: Line, width: int) -> Line:
    """`left` and `right` at the two ends of a line; `right` gives way when both do not fit."""
    space = width - width_of(left) - width_of(right)
    return (*left, (" " * space, ""), *right) if space >= 1 else left


TONE_CLASSES = frozenset(f"tone-{tone}" for tone in TONES)


class Toned(Widget):
    """A widget that draws in tones, on a screen that has them."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._tones: dict[str, Style] = {}

    @property
    def glyphs(self) -> Glyphs:
        return getattr(self.app, "glyphs", UNICODE)

    def notify_style_update(self) -> None:
        self._tones.clear()
        super().notify_style_update()

    def tone(self, name: str) -> Style:
        """The style of a tone over this widget's background ("" is plain text)."""
        style = self._tones.get(name)
        if style is None:
            style = self._tones[name] = self._make_tone(name or "text")
        return style

    def _make_tone(self, name: str) -> Style:
        rules = self.screen.get_component_styles(f"tone-{name}")
        ground = self.background_colors[1]
        own = ground + rules.background if rules.has_rule("background") else ground
        ink = own + rules.color
        if ink.ansi is not None or own.ansi is not None:
            return self.screen.get_component_rich_style(f"tone-{name}")
        return Style.from_color(ink.rich_color, own.rich_color) + rules.text_style

    def strip(self, spans: Sequence[Span], width: int, under: str = "") -> Strip:
        """A line of exactly `width` cells. `under` is a tone whose background lies below the whole line."""
        ground = self.tone(under)
        backing = Style(bgcolor=ground.bgcolor, bold=ground.bold) if under else None
        segments = []
        for text, tone in spans:
            style = self.tone(tone)
            if backing is not None:
                style = ground if not tone else style + backing
            segments.append(Segment(text, style))
        return Strip(segments).adjust_cell_length(width, ground)


class Lines(Toned):
    """A block of lines. Only lines that differ from before are painted again. A click on a span calls
    `clicked(line number, cell)`."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Line, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        return self._lines

    def show(self, lines: Sequence[Line]) -> None:
        """Shows these lines from now on."""
        new, old = tuple(lines), self._lines
        if new == old:
            return
        self._lines = new
        if len(new) != len(old) and self.styles.height is not None and self.styles.height.is_auto:
            self.refresh(layout=True)
            return
        for number in range(max(len(new), len(old))):
            if new[number : number + 1] != old[number : number + 1]:
                self.refresh(Region(0, number, max(1, self.size.width), 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return max((width_of(line) for line in self._lines), default=0)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._lines):
            return Strip.blank(width, self.tone(""))
        return self.strip(self._lines[y], width)
