"""What all screens share: their frame, their keys out of the table, and painting of what changed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen

from tui import keys
from tui.asks import Interest
from tui.state import PARTS
from tui.widgets.chrome import FlashLine, Footer, Header, Tabs, banner_line, header_line
from tui.widgets.lines import TONE_CLASSES, Lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual import events
    from textual.app import ComposeResult
    from textual.widget import Widget

    from tui.app import Dashboard
    from tui.look import Glyphs, Line
    from tui.state import Part, State

EVERYTHING: frozenset[Part] = frozenset(PARTS)

BREAKPOINTS: list[tuple[int, str]] = [(0, "-narrow"), (100, "-wide"), (140, "-very-wide")]
"""Columns from which a screen has these classes."""


def bindings(scope: str) -> list[BindingType]:
    """Textual's bindings for a screen, from the one table. Their ids (`batches.public`) can be remapped."""
    return [
        Binding(key.keys, f"screen.do('{key.action}')", key.help, show=False, id=f"{scope}.{key.action}")
        for key in keys.keys_for(scope)
    ]


class ModeScreen(Screen[None]):
    """A screen with a number. It renders the app's state and never changes it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)
    mode: ClassVar[str]
    PARTS: ClassVar[frozenset[Part]] = frozenset()
    """What its body is painted from."""
    TICKS: ClassVar[bool] = False
    """Whether the body shows ages that grow by the second."""
    HORIZONTAL_BREAKPOINTS = BREAKPOINTS
    AUTO_FOCUS = ""

    @cached_property
    def dashboard(self) -> Dashboard:
        from tui.app import Dashboard

        assert isinstance(self.app, Dashboard)
        return self.app

    @property
    def state(self) -> State:
        return self.dashboard.state

    @property
    def glyphs(self) -> Glyphs:
        return self.dashboard.glyphs

    def now(self) -> float:
        return self.dashboard.clock()

    # --- frame ------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield Header(id="header")
        yield Tabs(id="tabs")
        yield Lines(id="banner")
        with Container(id="body"):
            yield from self.body()
        yield Lines(id="absent")
        yield Footer(id="footer")
        yield FlashLine(id="flash")

    def body(self) -> Iterable[Widget]:
        """The screen's own widgets."""
        raise NotImplementedError

    def main(self) -> Widget | None:
        """What has the focus at first."""
        return None

    def on_mount(self) -> None:
        self.set_class(self.dashboard.ascii, "-ascii")
        if (main := self.main()) is not None:
            main.focus()

    def on_screen_resume(self) -> None:
        self.dashboard.shown(self)

    def on_resize(self) -> None:
        self.call_after_refresh(self.paint, EVERYTHING)

    @property
    def ready(self) -> bool:
        """Whether its widgets are there: not before it is mounted, and not while the dashboard ends."""
        return self.is_mounted and self.is_attached and self.app.is_running

    # --- painting ---------------------------------------------------------------------------------

    def paint(self, dirty: frozenset[Part]) -> None:
        """Brings what is seen up to the state."""
        if not self.ready:
            return
        state, now = self.state, self.now()
        absent = state.link.phase == "absent" or (state.link.phase == "connecting" and bool(state.link.error))
        self.set_class(absent, "-absent")
        if absent:
            self.query_one("#absent", Lines).show(absent_lines(state, now, self.glyphs))
        if dirty & {"link", "status"}:
            self.tick()
            self._paint_tabs()
        if "flash" in dirty:
            self.query_one(FlashLine).render_flash(state)
        if dirty & (self.PARTS | {"busy"}) or "link" in dirty:
            self.render_body(dirty)
        self.paint_footer()

    def tick(self) -> None:
        """Brings what depends on the time up to it; called once a second."""
        if not self.ready:
            return
        state, now = self.state, self.now()
        zone = self.dashboard.zone
        header = self.query_one(Header)
        header.show([header_line(state, now, self.glyphs, self.size.width, zone)])
        lost = state.link.phase == "lost"
        banner = self.query_one("#banner", Lines)
        banner.display = lost
        if lost:
            banner.show([banner_line(state, now, self.glyphs, zone)])
        if state.link.phase == "absent":
            self.query_one("#absent", Lines).show(absent_lines(state, now, self.glyphs))
        if self.TICKS:
            self.render_body(frozenset())

    def _paint_tabs(self) -> None:
        status = self.state.status
        alerts: dict[str, str] = {}
        if status is not None and status.guards:
            alerts["guards"] = "warn"
        if status is not None and any(queue.failed for queue in status.queues.values()):
            alerts["jobs"] = "bad"
        under = next((mode.under for mode in keys.INNER if mode.name == self.mode), self.mode)
        self.query_one(Tabs).render_tabs(under, alerts)

    def paint_footer(self) -> None:
        """Shows the keys that do something now."""
        shown = [key for key in keys.footer_keys(self.mode) if self.why_not(key.action) is None]
        self.query_one(Footer).render_keys(shown)

    def render_body(self, dirty: frozenset[Part]) -> None:
        """Shows the state in the screen's own widgets."""
        raise NotImplementedError

    def interest(self) -> Interest:
        """What this screen needs from the daemon while it is seen."""
        return Interest()

    # --- keys -------------------------------------------------------------------------------------

    WRITES: ClassVar[frozenset[str]] = frozenset()
    """Actions that change something, and so need a connection and the right to write."""

    def why_not(self, action: str) -> str | None:
        """Why the action cannot be done now; None when it can."""
        if action == "problem":
            return None if self.dashboard.has_needs() else "nothing needs you"
        if action in self.WRITES:
            if not self.state.live:
                return "syncd is not connected: nothing can be changed now"
            if self.state.read_only:
                return "you may only look: the daemon takes changes from its own user and root"
        return None

    def action_do(self, action: str) -> None:
        """Does what a key stands for, or says why it cannot be done."""
        if (reason := self.why_not(action)) is not None:
            self.dashboard.flash(reason, "warn")
            return
        method: Any = getattr(self, f"do_{action}", None) or getattr(self.dashboard, f"do_{action}")
        method()

    def on_tabs_chosen(self, message: Tabs.Chosen) -> None:
        self.dashboard.go(message.mode)

    def on_footer_pressed(self, message: Footer.Pressed) -> None:
        self.action_do(message.action)

    def do_back(self) -> None:
        """Leaves towards the overview; never quits."""
        if self.mode != "overview":
            self.dashboard.go("overview")

    def on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        if self.ready:
            self.paint_footer()


def absent_lines(state: State, now: float, glyphs: Glyphs) -> list[Line]:
    """What to do when no daemon answers at the start."""
    link = state.link
    wait = "trying now" if link.retry_at is None else f"next try in {max(0, link.retry_at - now):.0f} s"
    lines: list[Line] = [
        ((f"{glyphs.bad} No daemon answers", "bad"),),
        (),
        ((link.error, ""),),
        *([((link.hint, "dim"),)] if link.hint else []),
        (),
        (("Start one in another terminal:", "bold"),),
        (),
        (("    syncd run", "accent"), ("                  with ./syncd.toml or the defaults", "dim")),
        (("    syncd demo", "accent"), ("                 a sample archive to look around in", "dim")),
        (("    systemctl start syncd", "accent"), ("      the installed service", "dim")),
        (),
        (
            ("Another socket? ", ""), ("syncd-tui --socket PATH", "accent"),
            (" or ", ""), ("--config FILE", "accent"),
        ),
        (),
        ((f"This screen connects by itself: {wait}, ", "dim"), ("r", "key"), (" now.", "dim")),
    ]  # fmt: skip
    return lines
