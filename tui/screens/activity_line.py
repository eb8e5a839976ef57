"""One line of activity, as the overview and the log show it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui import look
from tui.widgets.lines import fit

if TYPE_CHECKING:
    from datetime import tzinfo

    from syncd.control import schema
    from tui.look import Glyphs, Line

_TONES = {
    "failed": "bad", "error": "bad", "blocked": "bad", "guard": "warn", "withdrawn": "warn",
    "removed": "warn", "paused": "warn", "needs_auth": "bad", "backing_off": "warn", "uploaded": "ok",
    "recovered": "ok",    "resumed": "ok",
}  # fmt: skip


def tone_of(kind: str) -> str:
    """The tone of a kind of activity, by any of its words."""
    for word, tone in _TONES.items():
        if word in kind:
            return tone
    return "info"


def said(item: schema.ActivityItem) -> str:
    """The message without the kind that stands before it anyway."""
    return item.message.removeprefix(f"{item.kind} ")


def told(item: schema.ActivityItem) -> str:
    """The subject, where the message does not name it, and the message."""
    subject = f"{item.subject}  " if item.subject and item.subject not in item.message else ""
    return f"{subject}{said(item)}"


def activity_line(item: schema.ActivityItem, zone: tzinfo | None, width: int, glyphs: Glyphs) -> Line:
    """`14:02:11 uploaded   batch-061-IMG_0312  …`."""
    return (
        (f"{look.clock(item.at, zone)}  ", "dim"),
        (fit(item.kind, 11, more=glyphs.more), tone_of(item.kind)),
        (" ", ""),
        (fit(told(item), max(1, width - 22), more=glyphs.more), ""),
    )
