"""The photos of an event, or those that show a person, with the faces drawn on the one under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen

from syncd.text import human_count
from tui import look
from tui.asks import AskFailed
from tui.screens.picture import Canvas, PictureView
from tui.widgets.chrome import FlashLine
from tui.widgets.lines import TONE_CLASSES, Lines
from tui.widgets.picture import PhotoWant
from tui.widgets.stages import Pictures
from tui.widgets.table import Column, VirtualTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.timer import Timer

    from tui.app import Dashboard
    from tui.asks import Found, Photo, PhotoPage
    from tui.look import Line
    from tui.state import Keyed, State
    from tui.widgets.table import Cells

REST_S = 0.12
"""A picture is asked for once the cursor has rested so long."""
AHEAD = 100
"""The next page is asked for when so few rows are left below the cursor."""
PHOTO_COLUMNS = (Column("Photo", 16, flex=1), Column("Faces", 5, "right"), Column("Taken", 16, drop=1))
FOUND_COLUMNS = (Column("Near", 5), Column("Photo", 16, flex=1))


def found_cells(photo: Photo) -> Cells:
    return (f"{photo.distance or 0:.2f}", "accent"), (photo.name, "")


class _View(ModalScreen[None]):
    """A list beside the picture of its row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", show=False),
        Binding("enter", "enlarge", "Enlarge", show=False),
        Binding("y", "copy", "Copy", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)
    AUTO_FOCUS = ""
    columns: ClassVar[Sequence[Column]]

    def __init__(self, event_id: str, event_name: str, rows: tuple[Keyed[Photo], ...]) -> None:
        super().__init__()
        self.event_id, self.event_name, self.rows = event_id, event_name, rows
        self.pictures = Pictures()
        self._rest: Timer | None = None

    @property
    def dashboard(self) -> Dashboard:
        from tui.app import Dashboard

        assert isinstance(self.app, Dashboard)
        return self.app

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#photos", VirtualTable)

    def heading(self) -> str:
        raise NotImplementedError

    def cells(self, photo: Photo) -> Cells:
        raise NotImplementedError

    def empty(self) -> Line:
        raise NotImplementedError

    # --- frame ------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield Lines(id="title")
        with Container(id="pair"):
            yield VirtualTable(self.columns, self.cells, id="photos", empty=((), self.empty()))
            with Container(id="side"):
                yield Canvas(id="canvas")
                yield Lines(id="facts")
        yield Lines(id="caption")
        yield FlashLine(id="flash")

    def on_mount(self) -> None:
        self.set_class(self.dashboard.ascii, "-ascii")
        keys: Line = (
            (" enter", "key"), (" enlarge  ", "dim"), ("y", "key"), (" copy  ", "dim"),
            ("esc", "key"), (" close", "dim"),
        )  # fmt: skip
        self.query_one("#caption", Lines).show([keys])
        self.query_one("#canvas").display = self.dashboard.pictures
        self.fill()
        self.table.focus()

    def fill(self) -> None:
        """Shows the rows that are at hand."""
        self.query_one("#title", Lines).show([((f" {self.event_name}  ", "bold"), (self.heading(), "dim"))])
        self.table.show(self.rows)
        self.paint()

    def on_resize(self, _event: events.Resize) -> None:
        self.call_after_refresh(self.paint)

    def follow(self, state: State) -> None:
        """The state changed behind the view."""
        if self.is_mounted:
            self.query_one(FlashLine).render_flash(state)

    # --- the picture ------------------------------------------------------------------------------

    def on_virtual_table_moved(self, _message: VirtualTable.Moved) -> None:
        self.paint()

    def paint(self) -> None:
        if not self.is_mounted:
            return
        row = self.table.selected
        self.query_one("#facts", Lines).show(self._facts(row.value) if row is not None else [])
        if self._rest is not None:
            self._rest.stop()
        want = self._want()
        canvas = self.query_one("#canvas", Canvas)
        canvas.picture = (self.pictures.get(want) if want is not None else None) or []
        canvas.refresh()
        if want is not None and not canvas.picture:
            self._rest = self.set_timer(REST_S, self._ask)

    def _want(self) -> PhotoWant | None:
        row, size = self.table.selected, self.query_one("#canvas").size
        if row is None or not self.dashboard.pictures or size.width < 2 or size.height < 1:
            return None
        return PhotoWant(row.key, row.value.boxes, row.value.size, size.width, size.height)

    def _ask(self) -> None:
        self.run_worker(self._load(), group="pictures", exclusive=True)

    async def _load(self) -> None:
        want = self._want()
        if want is None:
            return
        self.pictures.put(want, await self.dashboard.picture(want))
        if self.is_mounted and self._want() == want:
            canvas = self.query_one("#canvas", Canvas)
            canvas.picture = self.pictures.get(want) or []
            canvas.refresh()

    def _facts(self, photo: Photo) -> list[Line]:
        size = f"{photo.size[0]}x{photo.size[1]}" if all(photo.size) else ""
        faces = "1 face" if len(photo.boxes) == 1 else f"{len(photo.boxes)} faces"
        if photo.distance is not None:
            faces = f"distance {photo.distance:.3f}"
        taken = f"  taken {_taken(photo)}" if photo.captured_at else ""
        return [
            ((photo.name, "bold"),),
            ((faces, "accent" if photo.boxes else "dim"), (f"{taken}  {size}", "dim")),
            ((photo.url or "not published", "dim"),),
        ]

    # --- keys -------------------------------------------------------------------------------------

    def action_close(self) -> None:
        self.dismiss(None)

    def action_copy(self) -> None:
        if (row := self.table.selected) is not None:
            self.dashboard.copy(row.value.url or row.value.name)

    def action_enlarge(self) -> None:
        row = self.table.selected
        if row is not None and self.dashboard.pictures:
            self.app.push_screen(PhotoPicture(row.key, row.value))

    def on_virtual_table_opened(self, _message: VirtualTable.Opened) -> None:
        self.action_enlarge()


class PhotosView(_View):
    """All photos of the event, the newest first; more are fetched as one goes down."""

    columns = PHOTO_COLUMNS

    def __init__(self, event_id: str, event_name: str, page: PhotoPage) -> None:
        super().__init__(event_id, event_name, page.rows)
        self._next = page.next_cursor
        self._count: int | None = None

    def heading(self) -> str:
        more = "more than " if self._next else ""
        return f"{more}{human_count(len(self.rows))} photos, newest first"

    def cells(self, photo: Photo) -> Cells:
        faces = len(photo.boxes)
        taken = _taken(photo) or look.ago(photo.synced_at, 0, zone=self.dashboard.zone)
        return (photo.name, ""), (str(faces) if faces else "", "accent"), (taken, "dim")

    def empty(self) -> Line:
        return (("  no photo is in it yet", "dim"),)

    def follow(self, state: State) -> None:
        super().follow(state)
        event = state.events.find(self.event_id)
        count, self._count = self._count, event.photos if event is not None else self._count
        if count is not None and count != self._count:
            self.run_worker(self._fetch(again=True), group="rows", exclusive=True)

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        super().on_virtual_table_moved(message)
        if self._next is not None and self.table.position > len(self.rows) - AHEAD:
            self.run_worker(self._fetch(), group="rows", exclusive=True)

    async def _fetch(self, again: bool = False) -> None:
        """The next page; or, from the first on, as many rows as are at hand."""
        rows, cursor = ((), None) if again else (self.rows, self._next)
        try:
            while True:
                page = await self.dashboard.feed.event_photos(self.event_id, cursor)
                rows, cursor = (*rows, *page.rows), page.next_cursor
                if cursor is None or len(rows) >= len(self.rows):
                    break
        except AskFailed as failure:
            self.dashboard.flash_failure(failure)
            return
        self.rows, self._next = rows, cursor
        if self.is_mounted:
            self.fill()


class FoundView(_View):
    """The photos on which somebody was found, nearest first."""

    columns = FOUND_COLUMNS

    def __init__(self, event_id: str, event_name: str, picture: str, found: Found) -> None:
        super().__init__(event_id, event_name, found.rows)
        self.picture, self.found = picture, found

    def heading(self) -> str:
        found, number = self.found, len(self.rows)
        faces = "1 face" if found.faces == 1 else f"{found.faces} faces"
        photos = "1 photo" if number == 1 else f"{human_count(number)} photos"
        return f"{self.picture}: {faces}, found on {photos}{' and more' if found.more else ''}, nearest first"

    def cells(self, photo: Photo) -> Cells:
        return found_cells(photo)

    def empty(self) -> Line:
        return (("  on no photo of this event", "dim"),)


class PhotoPicture(PictureView):
    """A photo with its faces, as large as the terminal."""

    def __init__(self, photo_id: str, photo: Photo) -> None:
        super().__init__()
        self.photo_id, self.photo = photo_id, photo

    def caption(self) -> Line:
        return (f" {self.photo.name}  ", "bold"), (self.photo.url or "", "dim")

    def want(self, width: int, height: int) -> PhotoWant:
        return PhotoWant(self.photo_id, self.photo.boxes, self.photo.size, width, height)


def _taken(photo: Photo) -> str:
    return (photo.captured_at or "").replace("T", " ")[:16]
