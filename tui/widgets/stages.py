"""The stages of a scene side by side: a heading, the picture, the facts."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from rich.segment import Segment
from textual.message import Message
from textual.strip import Strip

from syncd.text import human_size
from tui.widgets.lines import Toned, fit

if TYPE_CHECKING:
    from textual import events

    from syncd.control import schema
    from tui.look import Span
    from tui.widgets.picture import LibraryWant, PhotoWant, SharedWant

    AnyWant: TypeAlias = "Want | PhotoWant | LibraryWant | SharedWant"

MIN_WIDTH = 24
FACTS = 3
_ORDER = ("initial_scan", "inverted_original_scans", "final_crops")


class Want(NamedTuple):
    """A picture to ask for: fits into `columns` x `rows` cells."""

    version_id: int
    sha256: str
    columns: int
    rows: int


class Pictures:
    """Pictures that were asked for lately; a text in place of one says why there is none."""

    def __init__(self, limit: int = 64) -> None:
        self._kept: OrderedDict[AnyWant, list[Strip] | str] = OrderedDict()
        self._doubtful: set[AnyWant] = set()
        self._limit = limit

    def get(self, want: AnyWant) -> list[Strip] | str | None:
        if want in self._kept:
            self._kept.move_to_end(want)
        return self._kept.get(want)

    def lacks(self, want: AnyWant) -> bool:
        """Whether it is to be asked for."""
        return want not in self._kept or want in self._doubtful

    def doubt(self) -> None:
        """What there was no picture of may have one now: it is asked for again when it is seen."""
        self._doubtful = {want for want, picture in self._kept.items() if isinstance(picture, str)}

    def put(self, want: AnyWant, picture: list[Strip] | str) -> None:
        self._kept[want] = picture
        self._doubtful.discard(want)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)


def stages_of(scene: schema.Scene | None) -> tuple[schema.Version, ...]:
    """The newest version of each stage that is still there, in the order of the work."""
    newest: dict[str, schema.Version] = {}
    for version in scene.versions if scene else ():
        known = newest.get(version.version_type)
        if known is None or (not version.gone, version.version_id) > (not known.gone, known.version_id):
            newest[version.version_type] = version

    def place(version: schema.Version) -> tuple[int, str]:
        name = version.version_type
        return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)

    return tuple(sorted(newest.values(), key=place))


class Stages(Toned):
    """Columns, one a stage; as many as fit around the chosen one."""

    class Chosen(Message):
        """A stage was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.versions: tuple[schema.Version, ...] = ()
        self.chosen = 0
        self.pictures = Pictures()
        self.with_pictures = True

    def show(self, versions: tuple[schema.Version, ...], chosen: int) -> None:
        if versions != self.versions or chosen != self.chosen:
            self.versions, self.chosen = versions, chosen
            self.refresh()

    def seen(self) -> list[tuple[int, schema.Version]]:
        """(number, version) of the columns that fit."""
        fits = max(1, self.size.width // MIN_WIDTH)
        first = max(0, min(self.chosen - fits // 2, len(self.versions) - fits))
        return list(enumerate(self.versions))[first : first + fits]

    @property
    def column(self) -> int:
        """Cells of a column, the gap after it included."""
        return self.size.width // max(1, len(self.seen()))

    def wants(self) -> list[Want]:
        """The pictures that are seen and not at hand, the chosen one first."""
        if not self.with_pictures:
            return []
        order = sorted(self.seen(), key=lambda pair: pair[0] != self.chosen)
        wants = [self._want(version) for _, version in order if not version.gone and not version.failure]
        return [want for want in wants if want.rows > 0 and self.pictures.lacks(want)]

    def _want(self, version: schema.Version) -> Want:
        rows = self.size.height - 1 - FACTS
        return Want(version.version_id, version.sha256 or "", max(1, self.column - 2), rows)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        seen = self.seen()
        if not seen:
            return self.strip((("no scene is selected", "dim"),) if y == 0 else (), width)
        parts: list[Strip] = []
        for number, version in seen:
            parts.append(self._cell(number, version, y).adjust_cell_length(self.column - 2, self.tone("")))
            parts.append(Strip([Segment("  ", self.tone(""))], 2))
        return Strip.join(parts).adjust_cell_length(width, self.tone(""))

    def _cell(self, number: int, version: schema.Version, y: int) -> Strip:
        width = self.column - 2
        if y == 0:
            here = number == self.chosen
            name = fit(f" {version.version_type} ", width, more=self.glyphs.more).rstrip()
            return self.strip(((name + " ", "inverse" if here else "head"),), width)
        facts_at = self.size.height - FACTS
        if y >= facts_at:
            return self.strip(self._facts(version)[y - facts_at], width)
        return self._picture(version, y - 1, width)

    def _picture(self, version: schema.Version, line: int, width: int) -> Strip:
        problem = "the file is gone" if version.gone else version.failure
        if problem is None and not self.with_pictures:
            return self.strip((), width)
        picture: list[Strip] | str | None = problem or self.pictures.get(self._want(version))
        if isinstance(picture, list):
            return picture[line] if line < len(picture) else self.strip((), width)
        if line == 0:
            text, tone = (picture, "bad") if picture else (self.glyphs.more, "dim")
            return self.strip(((fit(text, width, more=self.glyphs.more), tone),), width)
        return self.strip((), width)

    def _facts(self, version: schema.Version) -> tuple[tuple[Span, ...], ...]:
        glyphs = self.glyphs
        pixels = f"{version.width}x{version.height}  " if version.width else ""
        if version.r2_key:
            state: Span = (f"{glyphs.ok} live", "ok")
        elif version.is_current:
            state = (f"{glyphs.off} current, not live", "warn")
        else:
            state = (f"{glyphs.off} not current", "dim")
        digest = (version.sha256 or "")[:12] or glyphs.dash
        taken = version.captured_at.replace("T", " ") if version.captured_at else ""
        return (
            (state,),
            ((f"{pixels}{human_size(version.size_bytes)}", ""),),
            ((taken or f"sha256 {digest}", "dim"),),
        )

    def on_click(self, event: events.Click) -> None:
        seen = self.seen()
        if seen:
            self.post_message(self.Chosen(seen[min(event.x // max(1, self.column), len(seen) - 1)][0]))
