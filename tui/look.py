"""How things are worded and drawn: glyphs with an ASCII twin, states, counts, sizes, ages. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from syncd.text import human_age

Span = tuple[str, str]
"""A piece of text and its tone: the name of a style without "tone-", "" for plain text."""
Line = tuple[Span, ...]


class Glyphs(NamedTuple):
    """Signs for states and drawing. All one cell wide."""

    ok: str = "●"
    busy: str = "↻"
    hold: str = "‖"
    warn: str = "▲"
    bad: str = "!"
    off: str = "○"
    done: str = "✓"
    cursor: str = "▸"
    mark: str = "*"
    up: str = "↑"
    rule: str = "─"
    bar: str = "━"
    half: str = "╸"
    track: str = "─"
    dash: str = "—"
    more: str = "…"
    arrow: str = "›"
    dot: str = "·"
    times: str = "×"
    spark: str = "▁▂▃▄▅▆▇█"


UNICODE = Glyphs()
ASCII = Glyphs(
    ok="*", busy="~", hold="=", warn="!", bad="X", off="o", done="+", cursor=">", mark="x", up="^",
    rule="-", bar="=", half=">", track=".", dash="-", more="~", arrow=">", dot=".", times="x",
    spark="_.:-=+*#",
)  # fmt: skip

SERVICE: dict[str, tuple[str, str]] = {
    "starting": ("busy", "info"),
    "running": ("ok", "ok"),
    "backing_off": ("busy", "warn"),
    "paused": ("hold", "warn"),
    "needs_auth": ("bad", "bad"),
    "blocked": ("warn", "bad"),
    "failed": ("bad", "bad"),
    "stopped": ("off", "dim"),
}
EVENT: dict[str, tuple[str, str]] = {
    "idle": ("ok", "ok"),
    "syncing": ("busy", "info"),
    "waiting": ("hold", "info"),
    "needs_auth": ("bad", "bad"),
    "backing_off": ("busy", "warn"),
    "quota": ("hold", "warn"),
    "blocked": ("warn", "bad"),
    "disabled": ("off", "dim"),
}
JOB: dict[str, tuple[str, str]] = {
    "queued": ("off", "dim"),
    "waiting": ("hold", "warn"),
    "running": ("busy", "info"),
    "done": ("done", "ok"),
    "partial": ("warn", "warn"),
    "failed": ("bad", "bad"),
    "refused": ("bad", "bad"),
    "cancelled": ("off", "dim"),
}


def sign(glyphs: Glyphs, table: dict[str, tuple[str, str]], state: str) -> Span:
    """The glyph and tone of a state; a state from a newer daemon gets a plain one."""
    name, tone = table.get(state, ("off", "dim"))
    return getattr(glyphs, name), tone


def duration(seconds: float) -> str:
    """`3d04h`, `4h07m`, `12m`, `40s`."""
    seconds = max(0, int(seconds))
    if seconds < 60:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 60:
        return f"{minutes}m"
    return f"{hours}h{minutes % 60:02}m" if hours < 24 else f"{days}d{hours % 24:02}h"


def interval(minutes: float) -> str:
    """`2 min`, `0.5 min`, `3 h`, `1 d`."""
    if minutes >= 60 and minutes % 60 == 0:
        return f"{minutes / 60:g} h" if minutes % 1440 else f"{minutes / 1440:g} d"
    return f"{minutes:g} min"


def eta(seconds: float | None, glyphs: Glyphs = UNICODE) -> str:
    """`~40s`, `~3m`: rounded so that it does not flicker."""
    if seconds is None:
        return glyphs.dash
    if seconds < 60:
        return f"~{max(5, round(seconds / 5) * 5)}s" if seconds >= 3 else "~1s"
    return f"~{round(seconds / 60)}m" if seconds < 3600 else f"~{seconds / 3600:.1f}h"


def rate(per_second: float) -> str:
    return f"{per_second:.1f}/s" if per_second < 99.5 else f"{per_second:,.0f}/s"


def moment(text: str | None) -> float | None:
    """Seconds since the epoch of an RFC 3339 time, None for none."""
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def ago(text: str | None, now: float, glyphs: Glyphs = UNICODE, zone: tzinfo | None = None) -> str:
    """`12 s ago`, `3 min ago`, `6 h ago`, and from a day on local `May 30 14:02`."""
    at = moment(text)
    if at is None:
        return glyphs.dash
    if now - at < 86400:
        return human_age(datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(max(now, at), UTC))
    local = datetime.fromtimestamp(at, zone)
    return f"{local:%b} {local.day} {local:%H:%M}"


def clock(at: float | str | None, zone: tzinfo | None = None, seconds: bool = True) -> str:
    """Local time of day."""
    number = moment(at) if isinstance(at, str) else at
    if number is None:
        return "--:--:--" if seconds else "--:--"
    return datetime.fromtimestamp(number, zone).strftime("%H:%M:%S" if seconds else "%H:%M")


def spark(values: tuple[float, ...], width: int, glyphs: Glyphs = UNICODE) -> str:
    """The last `width` values as one line of bars; shorter histories are padded on the left."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    levels = glyphs.spark
    bars = "".join(
        levels[0] if top <= 0 or value <= 0 else levels[max(1, round(value / top * (len(levels) - 1)))]
        for value in shown
    )
    return levels[0] * (width - len(shown)) + bars


def chart(values: tuple[float, ...], width: int, height: int, glyphs: Glyphs = UNICODE) -> list[str]:
    """The last `width` values as bars of up to `height` rows, the top row first."""
    shown = (0.0,) * (width - len(values[-width:])) + values[-width:]
    top = max(shown, default=0.0)
    steps = len(glyphs.spark)
    levels = [0 if top <= 0 else round(value / top * height * steps) for value in shown]
    rows = []
    for row in range(height - 1, -1, -1):
        parts = [max(0, min(steps, level - row * steps)) for level in levels]
        base = glyphs.spark[0] if row == 0 else " "
        rows.append("".join(glyphs.spark[part - 1] if part else base for part in parts))
    return rows


def bar(done: int, total: int, width: int, glyphs: Glyphs = UNICODE) -> Line:
    """A progress bar of `width` cells."""
    share = min(1.0, done / total) if total > 0 else 0.0
    halves = round(share * width * 2)
    full, half = divmod(halves, 2)
    text = glyphs.bar * full + (glyphs.half if half else "")
    return ((text, "accent"), (glyphs.track * (width - len(text)), "rule"))
