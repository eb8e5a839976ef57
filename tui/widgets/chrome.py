"""What frames every screen: header, the row of screens, banner, flash and footer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from syncd.text import human_count, human_size
from tui import keys, look
from tui.widgets.lines import Lines, spread, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from textual import events

    from tui.keys import Key
    from tui.look import Glyphs, Line, Span
    from tui.state import State


QUIET_S = 10.0
"""The status comes every two seconds; a daemon that has said nothing for so long is not called live."""


def header_line(state: State, now: float, glyphs: Glyphs, width: int, zone: tzinfo | None) -> Line:
    """`syncd 1.0 ● live  up 3d04h  queue 12  ↑ 4.1 MB/s            ▲ 1 guard  14:02`."""
    status, link = state.status, state.link
    left: list[Span] = [(" syncd ", "bold")]
    if status is not None:
        left.append((f"{status.version} ", "dim"))
    left += {
        "connecting": [(f"{glyphs.off} connecting", "dim")],
        "absent": [(f"{glyphs.bad} no daemon", "bad")],
        "live": [(f"{glyphs.ok} live", "ok")],
        "lost": [(f"{glyphs.bad} lost", "bad")],
    }[link.phase]
    quiet_s = now - state.status_at if state.live and state.status_at is not None else 0.0
    if quiet_s > QUIET_S:
        left[-1] = (f"{glyphs.hold} no answer for {look.duration(quiet_s)}", "warn")
    right: list[Span] = []
    if status is not None:
        if state.live and quiet_s <= QUIET_S:
            left.append((f"  up {look.duration(status.uptime_s + now - (state.status_at or now))}", "dim"))
            waiting = sum(queue.waiting + queue.running for queue in status.queues.values())
            if waiting:
                left.append((f"  queue {human_count(waiting)}", "info"))
            elif status.idle:
                left.append(("  idle", "dim"))
            if not state.rates.stalled(now) and state.rates.per_second.uploaded_bytes >= 1:
                speed = human_size(state.rates.per_second.uploaded_bytes)
                left.append((f"  {glyphs.up} {speed}/s", "info"))
        if state.read_only:
            right.append(("read-only  ", "warn"))
        if status.guards:
            word = "guard" if status.guards == 1 else "guards"
            right.append((f"{glyphs.warn} {status.guards} {word}  ", "warn"))
    right.append((f"{look.clock(now, zone, seconds=False)} ", "dim"))
    return spread(tuple(left), tuple(right), width)


def banner_line(state: State, now: float, glyphs: Glyphs, zone: tzinfo | None) -> Line:
    """Says that the connection is lost, how old what is shown is, and when the next try is."""
    link = state.link
    when = "trying now" if link.retry_at is None else f"next try in {max(0, link.retry_at - now):.0f} s"
    gone = look.duration(now - link.since)
    seen = f", shown as of {look.clock(state.status_at, zone)}" if state.status_at else ""
    return ((f" {glyphs.bad} gone for {gone}{seen}, locked; {when}, r now", "flash-bad"),)


class Header(Lines):
    """The first line: is it live, how busy, what waits."""


class Tabs(Lines):
    """The screens with their keys; a click goes there."""

    _ends: Sequence[tuple[int, str]] = ()

    class Chosen(Message):
        def __init__(self, mode: str) -> None:
            super().__init__()
            self.mode = mode

    def render_tabs(self, current: str, alerts: dict[str, str]) -> None:
        """Shows the row; `alerts` gives a mode a tone."""
        for shape in ("wide", "close", "tight"):
            spans, ends = _tabs(current, alerts, shape)
            if ends[-1][0] <= self.size.width:
                break
        self._ends = ends
        self.show([tuple(spans)])

    def on_click(self, event: events.Click) -> None:
        for end, mode in self._ends:
            if event.x < end:
                self.post_message(self.Chosen(mode))
                return


def _tabs(current: str, alerts: dict[str, str], shape: str) -> tuple[list[Span], list[tuple[int, str]]]:
    """The row of screens, and where each of them ends: ` 1 Overview `, `1 Overview` or `1Overview`."""
    space, gap = {"wide": (" ", "  "), "close": ("", "  "), "tight": ("", " ")}[shape]
    spans: list[Span] = [(space, "")] if space else []
    ends: list[tuple[int, str]] = []
    for mode in keys.MODES:
        here = mode.name == current
        title = (mode.short or mode.title) if shape == "tight" else f" {mode.title}"
        spans += [
            (f"{space}{mode.key}", "inverse" if here else "key"),
            (f"{title}{space}", "inverse" if here else alerts.get(mode.name, "dim")),
        ]
        ends.append((width_of(spans), mode.name))
        spans.append((gap, ""))
    return spans, ends


class Footer(Lines):
    """The keys that do something now; a click presses one."""

    class Pressed(Message):
        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    _ends: tuple[tuple[int, str], ...] = ()

    def render_keys(self, shown: Sequence[Key]) -> None:
        """Shows these keys, as many as fit; the last two (palette and detach) always fit."""
        width = self.size.width
        chosen = list(shown)
        while len(chosen) > 3 and sum(len(k.shown) + len(k.label) + 3 for k in chosen) + 1 > width:
            del chosen[-4 if len(chosen) > 4 else 0]
        spans: list[Span] = [(" ", "")]
        ends: list[tuple[int, str]] = []
        for key in chosen:
            spans += [(key.shown, "key"), (f" {key.label}", "dim"), ("  ", "")]
            ends.append((width_of(spans), key.action))
        self._ends = tuple(ends)
        self.show([tuple(spans)])

    def on_click(self, event: events.Click) -> None:
        for end, action in self._ends:
            if event.x < end:
                self.post_message(self.Pressed(action))
                return


class FlashLine(Lines):
    """One line over the last row of the screen for a few seconds."""

    def render_flash(self, state: State) -> None:
        flash = state.flash
        self.display = flash is not None
        if flash is not None:
            text = f" {flash.text} "
            tone = f"flash-{flash.tone}"
            self.show([((text, tone), (" " * max(0, self.app.size.width - len(text)), tone))])
