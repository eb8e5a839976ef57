"""What differs between two names, word by word. Pure."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.look import Line

_WORDS = re.compile(r"\s+|[^\s]+")


def marked(old: str, new: str) -> tuple[Line, Line]:
    """Both names as spans: words that go are "gone", words that come are "new", the rest is plain."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    left: list[tuple[str, str]] = []
    right: list[tuple[str, str]] = []
    same = SequenceMatcher(a=before, b=after, autojunk=False)
    for kind, from_, to, start, end in same.get_opcodes():
        plain = kind == "equal"
        left += _spans(before[from_:to], "" if plain else "gone")
        right += _spans(after[start:end], "" if plain else "new")
    return tuple(left), tuple(right)


def _spans(words: Sequence[str], tone: str) -> list[tuple[str, str]]:
    """Blanks between are never marked."""
    return [(word, "" if word.isspace() else tone) for word in words]
