"""Photos of the library: those of an album or those that were looked for, with what is written about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.content import Content

from tui.asks import Interest
from tui.asks_library import ApproveShots, EditShot
from tui.screens.base import ModeScreen, bindings
from tui.screens.framed import FramedList
from tui.screens.jobs import wrapped
from tui.screens.lists import Order
from tui.widgets.frames import Frame, Frames
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.binding import BindingType

    from tui.asks_library import Shot
    from tui.look import Glyphs, Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells

STATUS: dict[str, tuple[str, str]] = {
    "pending": ("off", "dim"),
    "processing": ("busy", "info"),
    "review": ("hold", "warn"),
    "approved": ("done", "ok"),
    "rejected": ("times", "dim"),
    "failed": ("bad", "bad"),
}


def status_span(shot: Shot, glyphs: Glyphs) -> tuple[str, str]:
    """The status of what is written about a photo."""
    sign, tone = STATUS.get(shot.status, ("off", "dim"))
    return (f"{getattr(glyphs, sign)} {shot.status}", tone) if shot.status else (glyphs.dash, "dim")


def share(value: float | None, glyphs: Glyphs) -> str:
    return glyphs.dash if value is None else f"{value:.2f}"


def written(shot: Shot, width: int, glyphs: Glyphs, rows: int) -> tuple[Line, ...]:
    """What is known of a photo, in at most `rows` lines of `width` cells."""
    lines: list[Line] = []
    if shot.error:
        lines += [((part, "bad"),) for part in wrapped(shot.error, width)[:2]]
    lines += [((part, ""),) for part in wrapped(shot.description, width)[:4]]
    if shot.tags:
        lines += [((part, "accent"),) for part in wrapped("  ".join(shot.tags), width)[:2]]
    if shot.categories:
        lines.append(((", ".join(shot.categories), "info"),))
    caption = " ".join((shot.caption, *shot.keywords)).strip()
    if caption:
        lines += [((part, "dim"),) for part in wrapped(caption, width)[:2]]
    facts = [", ".join(shot.albums), shot.taken.replace("T", " ")[:16]]
    facts += [
        f"{shot.size[0]}x{shot.size[1]}" if all(shot.size) else "",
        shot.scene_id and f"scene {shot.scene_id}",
    ]
    facts += [f"version {shot.version}" if shot.version > 1 else "", shot.by and f"by {shot.by}"]
    lines += [((part, "dim"),) for part in wrapped("  ".join(filter(None, facts)), width)[:2]]
    return tuple(lines[:rows])


class Finding(ModeScreen):
    """A screen from which photos can be looked for."""

    def do_find(self) -> None:
        self.run_worker(self._look_for("words"), group="dialog", exclusive=True)

    def do_meaning(self) -> None:
        self.run_worker(self._look_for("meaning"), group="dialog", exclusive=True)

    async def _look_for(self, kind: str) -> None:
        from tui.screens.questions import WhichWords

        if kind == "words":
            dialog = WhichWords(
                "Find photos by words",
                hint="In titles, captions, keywords and descriptions; every word has to be there.",
                example="goalkeeper green", does="find",
            )  # fmt: skip
        else:
            dialog = WhichWords(
                "Find photos by what they show",
                hint="Say it in your own words; the nearest descriptions come first.",
                example="somebody jumps for joy", does="find",
            )  # fmt: skip
        if (text := await self.app.push_screen_wait(dialog)) is not None:
            self.dashboard.go("photos", f"{kind}\n{text}")


class ShotScreen(Finding, FramedList):
    """A list of photos beside the picture of its row and what is written about it."""

    TICKS: ClassVar[bool] = False

    def listing(self) -> Listing[Shot]:
        raise NotImplementedError

    def haystack(self, value: Shot) -> str:
        return f"{value.name} {value.description} {value.caption} {' '.join((*value.tags, *value.keywords))}"

    def paint_pane(self) -> None:
        frames, row = self.query_one("#frames", Frames), self.selected
        frames.border_title = Content(row.value.name if row is not None else "Photo")
        if row is None:
            frames.show([Frame("no photo is selected" if self.table.rows else "")])
            return
        shot, width = row.value, max(10, frames.size.width // 2 - 2)
        glyph, _ = status_span(shot, self.glyphs)
        heading = (
            f"{glyph}  sure {share(shot.confidence, self.glyphs)}"
            if shot.status
            else "nothing is written yet"
        )
        picture = Frame(shot.name, shot.photo_id)
        text = written(shot, width, self.glyphs, max(1, frames.size.height - 1))
        # The text stands from the top: what is left over is below it.
        rows = max(0, frames.size.height - 1 - len(text))
        frames.show([picture, Frame(heading, facts=(*text, *[()] * rows))])

    # --- keys -------------------------------------------------------------------------------------

    def chosen(self) -> list[Shot]:
        """The marked rows, else the one under the cursor."""
        marked = self.table.marks
        if marked:
            return [row.value for row in self.rows() if row.key in marked]
        return [self.selected.value] if self.selected is not None else []

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        if action in ("approve", "edit"):
            shots = self.chosen() if action == "approve" else [self.selected.value] if self.selected else []
            if not any(shot.meta_id is not None for shot in shots):
                return "nothing is written about it yet"
            if action == "approve" and all(
                shot.status == "approved" or not shot.description for shot in shots
            ):
                return "there is nothing to approve"
        return None

    def approved(self, shots: list[Shot]) -> tuple[int, ...]:
        """Has these approved; their ids."""
        ids = tuple(shot.meta_id for shot in shots if shot.meta_id is not None and shot.description)
        self.dashboard.ask(ApproveShots(ids), *self.keys_of(shots))
        return ids

    def keys_of(self, shots: Sequence[Shot]) -> list[str]:
        """The rows of these photos."""
        return [shot.photo_id for shot in shots]

    def do_approve(self) -> None:
        self.approved(self.chosen())
        self.table.clear_marks()

    def do_edit(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._edit(row.key, row.value), group="dialog", exclusive=True)

    async def _edit(self, key: str, shot: Shot) -> None:
        from tui.screens.questions import EditWords, listed

        fields = (
            ("description", shot.description, ""),
            ("tags, with commas", ", ".join(shot.tags), "football, goalkeeper"),
            ("categories, with commas", ", ".join(shot.categories), "sport"),
        )
        said = await self.app.push_screen_wait(EditWords(f"What {shot.name} shows", (), fields, long=True))
        if said is None or shot.meta_id is None:
            return
        description, tags, categories = said[0].strip(), listed(said[1]), listed(said[2])
        ask = EditShot(
            shot.meta_id,
            description if description != shot.description else None,
            tags if tags != shot.tags else None,
            categories if categories != shot.categories else None,
        )
        if (ask.description, ask.tags, ask.categories) == (None, None, None):
            self.dashboard.flash("nothing was changed")
        elif ask.description == "":
            self.dashboard.flash("a description cannot be empty; r rejects it", "warn")
        else:
            self.dashboard.ask(ask, key)

    def do_open(self) -> None:
        from tui.screens.picture import LibraryPicture

        if (row := self.selected) is not None:
            self.app.push_screen(LibraryPicture(row.value))

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(row.value.url or row.value.name)

    def leave(self) -> None:
        self.dashboard.go("library")


ALBUM_COLUMNS = (
    Column("File", 18, flex=1),
    Column("Written", 12),
    Column("Shows", 32, flex=3, drop=1),
    Column("Taken", 16, drop=2),
    Column("Scene", 14, flex=1, drop=3),
)
FOUND_COLUMNS = (
    Column("Near", 4),
    Column("File", 16, flex=1),
    Column("Written", 12),
    Column("Shows", 34, flex=3),
    Column("Album", 14, flex=1, drop=1),
)
_BY_FILE = Order("file", "File", lambda shot: shot.name.casefold())
_BY_STATUS = Order("what is written", "Written", lambda shot: (shot.status, shot.name))
# The daemon's own order first: sorting keeps it among equals.
ALBUM_ORDERS = (Order("the album's order", "", lambda _: 0), _BY_FILE, _BY_STATUS)
FOUND_ORDERS = (Order("nearness", "Near", lambda shot: shot.distance or 0), _BY_FILE, _BY_STATUS)


class Photos(ShotScreen):
    mode = "photos"
    heading = "Library ›"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"photos", "albums"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("photos")
    WRITES: ClassVar[frozenset[str]] = frozenset({"approve", "edit"})
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"open", "mark", "approve", "edit"})
    columns: ClassVar[Sequence[Column]] = ALBUM_COLUMNS

    def __init__(self) -> None:
        super().__init__()
        self.shown = ("", "")

    def all_orders(self) -> Sequence[Order]:
        return ALBUM_ORDERS if self.shown[0] == "album" else FOUND_ORDERS

    def on_mount(self) -> None:
        super().on_mount()
        self._choose_columns()

    def _choose_columns(self) -> None:
        """An album has the times of its photos, what was found has how near it is, and where."""
        self.table.columns = ALBUM_COLUMNS if self.shown[0] == "album" else FOUND_COLUMNS

    def target(self, subject: str) -> None:
        """Shows these: `album`, `words` or `meaning`, and of what, in two lines."""
        kind, _, what = subject.partition("\n")
        if (kind, what) != self.shown:
            self.shown, self.words = (kind, what), ""
            self.order = 0
            if self.ready:
                self._choose_columns()
                self.table.begin_anew()
            self.dashboard.look(self.interest())

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"photos"}), photos=self.shown)

    def listing(self) -> Listing[Shot]:
        return self.state.photos

    def cells(self, value: Shot) -> Cells:
        glyphs = self.glyphs
        says = " ".join((value.description or value.caption).split())
        shared = (
            (value.name, ""),
            status_span(value, glyphs),
            (says, "" if value.description else "dim"),
        )
        if self.shown[0] == "album":
            taken = value.taken.replace("T", " ")[:16]
            return (*shared, (taken or glyphs.dash, "dim"), (value.scene_id or glyphs.dash, "dim"))
        near = glyphs.dash if value.distance is None else f"{value.distance:.2f}"
        return ((near, "accent"), *shared, (", ".join(value.albums), "dim"))

    def subtitle(self) -> str:
        kind, what = self.shown
        if kind == "album":
            album = self.state.albums.find(what)
            return f"of {album.title}" if album is not None else "of an album"
        return f'with "{what}"' if kind == "words" else f'nearest to "{what}"' if what else ""

    def empty(self) -> Sequence[Line]:
        kind, what = self.shown
        back: Line = (("  esc goes back to the albums, ", "dim"), ("f", "key"), (" looks for others.", "dim"))
        if not what:
            return ((("  No album is chosen.", ""),), back)
        words = "This album has no photos yet." if kind == "album" else "No photo is like that."
        return (((f"  {words}", ""),), back)
