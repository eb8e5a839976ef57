"""Words for people: names made safe for a terminal, and sizes, counts, ages and durations to read."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# C0, DEL, C1; the bidirectional marks, embeddings, overrides and isolates; line and paragraph separators;
# surrogates, which is how Python shows bytes of a file name that are not UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def printable(text: str) -> str:
    r"""`text` with everything escaped that could steer a terminal or reorder a line: `\x1b`, `\u202e`, and
    `\xff` for a byte of a file name that is not UTF-8. The result can always be encoded."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escape, text)


def rfc3339(at: datetime) -> str:
    """A time in UTC as the catalogue and the API write it: RFC 3339 with milliseconds and a Z."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_text() -> str:
    """The time, as `rfc3339` writes it."""
    return rfc3339(datetime.now(UTC))


def human_count(count: int) -> str:
    """`18,543`."""
    return f"{count:,}"


def human_size(size_bytes: float) -> str:
    """`0 B`, `999 B`, `1.5 kB`, `12 MB`: powers of 1000, two figures at least."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 999.5:
            return f"{size:.1f} {unit}" if unit != "B" and abs(size) < 9.95 else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} PB" if abs(size) < 9.95 else f"{size:,.0f} PB"


_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def human_duration(duration_s: float) -> str:
    """`0.35 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`."""
    if duration_s < 0:
        return f"-{human_duration(-duration_s)}"
    if duration_s < 9.95:
        return (
            f"{duration_s:.2g} s" if duration_s >= 0.1 or duration_s == 0 else f"{duration_s * 1000:.0f} ms"
        )
    whole = round(duration_s)
    if whole < 60:
        return f"{whole} s"
    for (unit_s, unit), (part_s, part) in zip(_UNITS, ((3600, "h"), (60, "min"), (1, "s")), strict=True):
        if whole >= unit_s:
            rest = whole % unit_s // part_s
            return f"{whole // unit_s:,} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{whole} s"


def human_age(moment: datetime | str | None, now: datetime | None = None) -> str:
    """`just now`, `3 min ago`, `2 h ago`, `5 d ago`, `in 2 min`; `never` for None. A text is RFC 3339."""
    if moment is None:
        return "never"
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    age_s = ((now or datetime.now(UTC)) - moment).total_seconds()
    distance_s = round(abs(age_s))
    if distance_s < 5:
        return "just now"
    words = f"{distance_s} s"
    for unit_s, unit in _UNITS:
        if distance_s >= unit_s:
            words = f"{distance_s // unit_s:,} {unit}"
            break
    return f"{words} ago" if age_s > 0 else f"in {words}"
