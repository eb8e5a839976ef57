"""The dashboard: holds the state, paints what changed, and hands what people ask to the feed."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App

from tui import keys, look, themes
from tui.asks import AskFailed
from tui.needs import needs
from tui.state import Ended, Flashed, FlashFaded, Started, State, reduce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo

    from textual.app import SystemCommand
    from textual.command import Provider
    from textual.screen import Screen
    from textual.strip import Strip

    from tui.asks import Ask, Feed, Interest
    from tui.screens.base import ModeScreen
    from tui.state import Event, Part
    from tui.widgets.kitty import KittyPictures
    from tui.widgets.stages import AnyWant

FLUSH_S = 0.1
FLASH_S = 4.0


def _screen(name: str) -> ModeScreen:
    """Imports and makes a screen when it is first visited."""
    match name:
        case "batches":
            from tui.screens.batches import Batches as Made
        case "scenes":
            from tui.screens.scenes import Scenes as Made  # type: ignore[assignment]
        case "events":
            from tui.screens.events import Events as Made  # type: ignore[assignment]
        case "library":
            from tui.screens.library import Library as Made  # type: ignore[assignment]
        case "photos":
            from tui.screens.library_photos import Photos as Made  # type: ignore[assignment]
        case "review":
            from tui.screens.review import Review as Made  # type: ignore[assignment]
        case "names":
            from tui.screens.names import Names as Made  # type: ignore[assignment]
        case "changes":
            from tui.screens.changes import Changes as Made  # type: ignore[assignment]
        case "exchange":
            from tui.screens.exchange import Exchange as Made  # type: ignore[assignment]
        case "files":
            from tui.screens.exchange_files import Files as Made  # type: ignore[assignment]
        case "jobs":
            from tui.screens.jobs import Jobs as Made  # type: ignore[assignment]
        case "guards":
            from tui.screens.guards import Guards as Made  # type: ignore[assignment]
        case "activity":
            from tui.screens.activity import Activity as Made  # type: ignore[assignment]
        case _:
            from tui.screens.overview import Overview as Made  # type: ignore[assignment]
    return Made()


def _commands() -> type[Provider]:
    from tui.commands import Commands

    return Commands


class Dashboard(App[None]):
    """`make_feed` is called once the first frame is on the screen. `clock` gives seconds since the epoch,
    `zone` the zone of times that are shown (None is the machine's)."""

    TITLE = "syncd"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        mode.name: partial(_screen, mode.name) for mode in (*keys.MODES, *keys.INNER)
    }
    DEFAULT_MODE = "overview"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands}
    PAUSE_GC_ON_SCROLL = True
    ESCAPE_TO_MINIMIZE = False

    def __init__(
        self,
        make_feed: Callable[[], Feed],
        *,
        ascii: bool = False,
        pictures: bool = True,
        kitty: bool = False,
        theme: str | None = None,
        clock: Callable[[], float] = time.time,
        zone: tzinfo | None = None,
    ) -> None:
        super().__init__()
        self.state = State()
        self.ascii = ascii
        self.glyphs = look.ASCII if ascii else look.UNICODE
        self.pictures = pictures and not ascii
        self.kitty: KittyPictures | None = None
        if kitty:
            from tui.widgets.kitty import KittyPictures

            self.kitty = KittyPictures(self._write)
        self.clock = clock
        self.zone = zone
        self._make_feed = make_feed
        self._feed: Feed | None = None
        self._dirty: frozenset[Part] = frozenset()
        self._flush_armed = False
        self._wanted_theme = theme

    # --- life -------------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        ours = themes.DARK if self.current_theme.dark else themes.LIGHT
        return dict(ours.variables)

    def on_mount(self) -> None:
        self.register_theme(themes.DARK)
        self.register_theme(themes.LIGHT)
        name = themes.wanted(self._wanted_theme, os.environ)
        self.theme = name if name in self.available_themes else themes.DARK.name
        self.set_interval(1.0, self._tick)
        self.call_after_refresh(self._start)

    def on_unmount(self) -> None:
        if self.kitty:
            self.kitty.clear()

    def _start(self) -> None:
        """The first frame is painted: now there is time to load the client."""
        self.run_worker(self.feed.run(self.dispatch), group="feed", exit_on_error=True)
        if (screen := self.current) is not None:
            self.look(screen.interest())

    @property
    def feed(self) -> Feed:
        if self._feed is None:
            self._feed = self._make_feed()
        return self._feed

    @property
    def current(self) -> ModeScreen | None:
        """The screen of the mode that is shown, below any dialog."""
        from tui.screens.base import ModeScreen

        stack = self._screen_stacks.get(self.current_mode) or []
        return stack[0] if stack and isinstance(stack[0], ModeScreen) else None

    # --- state to screen --------------------------------------------------------------------------

    def dispatch(self, event: Event) -> None:
        """Reduces, and arms the flush for what changed."""
        before = self.state.flash
        self.state, dirty = reduce(self.state, event)
        self._dirty |= dirty
        flash = self.state.flash
        if flash is not None and flash is not before:
            self.set_timer(FLASH_S, partial(self.dispatch, FlashFaded(flash.number)))
        if self._dirty and not self._flush_armed:
            self._flush_armed = True
            self.set_timer(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Paints what changed on the screen that is seen; the others paint when they are shown."""
        self._flush_armed = False
        dirty, self._dirty = self._dirty, frozenset()
        screen = self.current
        if screen is None or not self.is_running:
            return
        if dirty:
            with self.batch_update():
                screen.paint(dirty)
        follow = getattr(self.screen, "follow", None)
        if follow is not None:
            follow(self.state)

    def shown(self, screen: ModeScreen) -> None:
        """A screen came to the front."""
        from tui.screens.base import EVERYTHING

        if self._feed is not None:
            self.look(screen.interest())
        screen.call_after_refresh(screen.paint, EVERYTHING)

    def _tick(self) -> None:
        screen = self.current
        if screen is not None and screen.ready:
            with self.batch_update():
                screen.tick()

    # --- what screens ask for ---------------------------------------------------------------------

    def look(self, interest: Interest) -> None:
        """Has the feed ask for this from now on."""
        self.feed.look(interest)

    def flash(self, text: str, tone: Any = "info") -> None:
        """Says something in one line, for a few seconds."""
        self.dispatch(Flashed(text, tone))

    def unflash(self) -> None:
        """Takes the line away before its time: what it said is over."""
        if self.state.flash is not None:
            self.dispatch(FlashFaded(self.state.flash.number))

    def flash_failure(self, failure: AskFailed) -> None:
        self.flash(f"{failure.detail}; {failure.hint}" if failure.hint else failure.detail, "bad")

    def copy(self, text: str) -> None:
        """Copies through the terminal (OSC 52), and says what."""
        self.copy_to_clipboard(text)
        self.flash(f"copied: {text}")

    def ask(self, ask: Ask, *rows: str) -> None:
        """Has the daemon do it; `rows` show that it is on its way. Nothing changes before the reply."""
        for row in rows:
            self.dispatch(Started(row))
        self.run_worker(self._carry_out(ask, rows), group="asks", exit_on_error=True)

    async def _carry_out(self, ask: Ask, rows: tuple[str, ...]) -> None:
        text, tone = "", "ok"
        try:
            text = await self.feed.do(ask)
        except AskFailed as failure:
            text, tone = f"{failure.detail}; {failure.hint}" if failure.hint else failure.detail, "bad"
        finally:
            for row in rows or ("",):
                self.dispatch(Ended(row, text or "given up", tone))  # type: ignore[arg-type]
        self.feed.refresh()

    async def picture(self, want: AnyWant) -> list[Strip] | str:
        """The strips of a picture, made in a thread; a text says why there is none."""
        from anyio import to_thread

        from tui.widgets.picture import PhotoWant, boxed, decode, half_blocks

        across, down = self.kitty.cell if self.kitty else (1, 2)
        width, height = want.columns * across, want.rows * down
        try:
            pixels = decode(await self._preview(want, width, height))
        except AskFailed as failure:
            return failure.detail
        if pixels is None:
            return "the preview is damaged"
        if isinstance(want, PhotoWant):
            pixels = boxed(pixels, want.boxes, want.size)
        return await to_thread.run_sync(self.kitty.show if self.kitty else half_blocks, pixels)

    async def _preview(self, want: AnyWant, width: int, height: int) -> bytes:
        from tui.widgets.picture import LibraryWant, PhotoWant, SharedWant

        match want:
            case PhotoWant():
                return await self.feed.event_preview(want.photo_id, width, height)
            case LibraryWant():
                return await self.feed.library_preview(want.photo_id, width, height)
            case SharedWant():
                return await self.feed.exchange_preview(want.list_id, want.file_id, want.of, width, height)
        return await self.feed.preview(want.version_id, width, height)

    def _write(self, text: str) -> None:
        if (driver := self._driver) is not None:  # Textual's own way to the terminal, in order with the rest
            driver.write(text)
            driver.flush()

    # --- keys that work everywhere ----------------------------------------------------------------

    def go(self, mode: str, subject: str = "") -> None:
        """Shows a screen, with `subject` selected there."""
        self.run_worker(self._go(mode, subject), group="go")

    async def _go(self, mode: str, subject: str) -> None:
        await self.switch_mode(mode)
        screen: Any = self.current
        if subject and screen is not None:
            screen.target(subject)

    def has_needs(self) -> bool:
        return bool(needs(self.state))

    def do_problem(self) -> None:
        """Goes to the next thing in order that has a screen and is not the one that is shown."""
        places = list(dict.fromkeys((need.mode or "overview", need.subject) for need in needs(self.state)))
        modes = [mode for mode, _ in places]
        here = modes.index(self.current_mode) + 1 if self.current_mode in modes else 0
        self.go(*places[here % len(places)])

    def do_refresh(self) -> None:
        self.feed.refresh()
        if self.state.live:
            self.flash("asked again")

    def do_help(self) -> None:
        from tui.screens.help import HelpView

        self.push_screen(HelpView(self.current_mode))

    def do_palette(self) -> None:
        self.action_command_palette()

    def do_theme(self) -> None:
        self.theme = themes.LIGHT.name if self.current_theme.dark else themes.DARK.name

    def do_detach(self) -> None:
        self.exit(message="syncd keeps running; `syncd-tui` comes back to it" if self.state.live else None)

    def action_help_quit(self) -> None:
        self.flash("q leaves the dashboard; syncd keeps running")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Only what is ours, and the choice of a theme."""
        from textual.app import SystemCommand

        yield SystemCommand("Choose a theme", "Colours of the dashboard", self.action_change_theme)


def _mode_action(mode: str) -> Callable[[Dashboard], None]:
    return lambda dashboard: dashboard.go(mode)


for _mode in keys.MODES:
    setattr(Dashboard, f"do_mode_{_mode.name}", _mode_action(_mode.name))
