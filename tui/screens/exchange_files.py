"""The files of a list: what only they have, what looks like a picture of yours, what only you have."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.content import Content

from syncd.text import human_size
from tui import look
from tui.asks import Interest
from tui.screens.base import bindings
from tui.screens.framed import FramedList
from tui.screens.jobs import wrapped
from tui.screens.lists import Order
from tui.widgets.frames import Frame, Frames
from tui.widgets.lines import fit_end
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.binding import BindingType

    from syncd.control import schema
    from tui.look import Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells

SIDES = ("theirs", "near", "ours")
WORDS = {"theirs": "only theirs", "near": "alike", "ours": "only yours"}
GIVEN = "what they ask of you"
STATUS: dict[str, tuple[str, str]] = {
    "pending": ("off", "dim"),
    "exported": ("ok", "ok"),
    "imported": ("ok", "ok"),
    "already_here": ("done", "dim"),
    "missing": ("warn", "warn"),
    "rejected": ("bad", "bad"),
    "failed": ("bad", "bad"),
}


class Files(FramedList):
    mode = "files"
    heading = "Exchange ›"
    TICKS: ClassVar[bool] = False
    PARTS: ClassVar[frozenset[Part]] = frozenset({"files", "exchanges"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("files")
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"open"})
    columns: ClassVar[Sequence[Column]] = (
        Column("File", 24, flex=3),
        Column("Status", 14),
        Column("Bits", 4, "right", drop=4),
        Column("By", 14, flex=1, drop=1),
        Column("Title", 16, flex=2, drop=2),
        Column("Size", 8, "right", drop=3),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order("file", "File", lambda file: file.name.casefold()),
        Order("status", "Status", lambda file: (file.status, file.name)),
        Order("likeness", "Bits", lambda file: (file.near is None, file.near.distance if file.near else 0)),
        Order("author", "By", lambda file: ((file.author or "").casefold(), file.name)),
    )

    def __init__(self) -> None:
        super().__init__()
        self.list_id = ""
        self.side = "theirs"

    def target(self, subject: str) -> None:
        """Shows the files of this list."""
        if subject != self.list_id:
            self.list_id, self.side, self.words = subject, "theirs", ""
            self._begin_anew()

    def _begin_anew(self) -> None:
        if self.ready:
            self.table.begin_anew()
        self.dashboard.look(self.interest())

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"files", "exchanges"}), files=(self.list_id, self.side))

    def listing(self) -> Listing[schema.ExchangeFile]:
        return self.state.files

    def haystack(self, value: schema.ExchangeFile) -> str:
        return f"{value.name} {value.author or ''} {value.title or ''} {value.status} {value.url or ''}"

    # --- painting ---------------------------------------------------------------------------------

    def cells(self, value: schema.ExchangeFile) -> Cells:
        glyphs = self.glyphs
        glyph, tone = look.sign(glyphs, STATUS, value.status)
        status = (f"{glyph} {value.status.replace('_', ' ')}", tone)
        return (
            (value.name, ""),
            (WORDS["ours"], "dim") if self.side == "ours" else status,
            (str(value.near.distance) if value.near else "", "accent"),
            (value.author or glyphs.dash, "dim"),
            (value.title or "", "dim"),
            (glyphs.dash if value.size_bytes is None else human_size(value.size_bytes), "dim"),
        )

    @property
    def given(self) -> bool:
        """Whether this archive gives the list: all of it is then here, and it has one side."""
        one = self.state.exchanges.find(self.list_id)
        return one is not None and one.role == "gives"

    def subtitle(self) -> str:
        return f"{self.list_id}  {GIVEN if self.given else WORDS[self.side]}" if self.list_id else ""

    def empty(self) -> Sequence[Line]:
        if self.given:
            return ((("  They ask nothing of you.", ""),), (("  esc", "key"), (" goes back.", "dim")))
        words = {
            "theirs": "They have nothing that you lack.",
            "near": "No file of theirs looks like one of yours.",
            "ours": "You have nothing that they lack.",
        }[self.side]
        turn: Line = (
            ("  right", "key"),
            (" shows the other sides, ", "dim"),
            ("esc", "key"),
            (" goes back.", "dim"),
        )
        return (((f"  {words}" if self.list_id else "  No list is chosen.", ""),), turn)

    def paint_pane(self) -> None:
        frames, row = self.query_one("#frames", Frames), self.selected
        frames.border_title = Content(row.value.name if row is not None else "File")
        if row is None:
            frames.show([Frame("no file is selected" if self.table.rows else "")])
            return
        file, width = row.value, max(10, frames.size.width // 2 - 2)
        mine = self.given or self.side == "ours"
        facts = self._facts(file, width)
        shown = Frame("yours" if mine else "theirs", file=self._picture(file), facts=facts)
        if file.near is None:
            frames.show([shown])
            return
        near = file.near
        words = (
            "the same picture, other bytes"
            if near.distance <= 4
            else f"alike: {near.distance} bits of 64 differ"
        )
        path = fit_end(near.local_path or "", width, self.glyphs.more)
        below: tuple[Line, ...] = (((words, "accent"),), ((path, "dim"),))
        frames.show([shown, Frame("yours", file=(self.list_id, file.file_id, "near"), facts=below)])

    def _picture(self, file: schema.ExchangeFile) -> tuple[str, int, str]:
        """The picture of a row; on the side `ours` the ids are of another kind."""
        return self.list_id, file.file_id, "ours" if self.side == "ours" else "theirs"

    def _facts(self, file: schema.ExchangeFile, width: int) -> tuple[Line, ...]:
        why = wrapped(file.reason or file.title or file.url or "", width)[:1]
        digest = f"sha256 {file.sha256[:16]}" if file.sha256 else "known by address only"
        return (((" ".join(why), "bad" if file.reason else ""),), ((digest, "dim"),))

    # --- keys -------------------------------------------------------------------------------------

    def why_not(self, action: str) -> str | None:
        if action in ("next_side", "last_side") and self.given:
            return "you give this list: it has one side"
        return super().why_not(action)

    def do_next_side(self) -> None:
        self._turn(1)

    def do_last_side(self) -> None:
        self._turn(-1)

    def _turn(self, by: int) -> None:
        self.side = SIDES[(SIDES.index(self.side) + by) % len(SIDES)]
        self._begin_anew()

    def do_open(self) -> None:
        from tui.screens.picture import SharedPicture

        if (row := self.selected) is not None:
            self.app.push_screen(SharedPicture(row.value.name, *self._picture(row.value)))

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(row.value.url or row.value.sha256 or row.value.name)

    def leave(self) -> None:
        self.dashboard.go("exchange")
