"""One picture as large as the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.strip import Strip

from tui.widgets.lines import TONE_CLASSES, Lines, Toned
from tui.widgets.picture import LibraryWant, SharedWant
from tui.widgets.stages import Want

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from syncd.control import schema
    from tui.asks_library import Shot
    from tui.look import Line
    from tui.widgets.stages import AnyWant


class Canvas(Toned):
    """Strips in the middle."""

    picture: list[Strip] | str = ""

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if isinstance(self.picture, str):
            return self.strip(((self.picture, "bad"),) if y == 0 else (), width)
        top = max(0, (height - len(self.picture)) // 2)
        if not top <= y < top + len(self.picture):
            return self.strip((), width)
        strip = self.picture[y - top]
        left = max(0, (width - strip.cell_length) // 2)
        return Strip.join([Strip.blank(left, self.tone("")), strip]).adjust_cell_length(width, self.tone(""))


class PictureView(ModalScreen[None]):
    """Closes on the key that opened it, and on `esc`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,space", "close", "Close", show=False)]
    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)
    AUTO_FOCUS = ""

    def caption(self) -> Line:
        """What is said below it."""
        raise NotImplementedError

    def want(self, width: int, height: int) -> AnyWant:
        """The picture that fits into so many cells."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield Canvas(id="canvas")
        yield Lines(id="caption")

    def on_mount(self) -> None:
        self.query_one(Lines).show([(*self.caption(), ("   esc", "key"), (" close", "dim"))])

    def on_resize(self, _event: events.Resize) -> None:
        self.run_worker(self._load(), exclusive=True)

    async def _load(self) -> None:
        from tui.app import Dashboard

        assert isinstance(self.app, Dashboard)
        width, height = self.app.size
        canvas = self.query_one(Canvas)
        canvas.picture = await self.app.picture(self.want(width, height - 1))
        canvas.refresh()

    def action_close(self) -> None:
        self.dismiss(None)


class VersionPicture(PictureView):
    """A version of a scene."""

    def __init__(self, version: schema.Version) -> None:
        super().__init__()
        self.version = version

    def caption(self) -> Line:
        return (f" {self.version.version_type}  ", "bold"), (self.version.local_path, "dim")

    def want(self, width: int, height: int) -> Want:
        return Want(self.version.version_id, self.version.sha256 or "", width, height)


class LibraryPicture(PictureView):
    """A photo of the library."""

    def __init__(self, shot: Shot) -> None:
        super().__init__()
        self.shot = shot

    def caption(self) -> Line:
        shot = self.shot
        return (f" {shot.name}  ", "bold"), (shot.description or shot.caption, "dim")

    def want(self, width: int, height: int) -> LibraryWant:
        return LibraryWant(self.shot.photo_id, width, height)


class SharedPicture(PictureView):
    """A file of a list of the exchange."""

    def __init__(self, name: str, list_id: str, file_id: int, of: str) -> None:
        super().__init__()
        self.file_name, self.file = name, (list_id, file_id, of)

    def caption(self) -> Line:
        return ((f" {self.file_name}", "bold"),)

    def want(self, width: int, height: int) -> SharedWant:
        return SharedWant(*self.file, width, height)
