"""What a vision model said about a photo, made fit to be kept. Models say anything; this is pure and total:
a Description, or Refused with a short reason."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from syncd.errors import Refused
from syncd.remotes.http import said

ANSWER_CHARACTERS: Final = 64_000
"""A longer answer is none: nobody describes a photo in a book."""
DESCRIPTION_CHARACTERS: Final = 2_000
WORD_CHARACTERS: Final = 80
MOST_TAGS: Final = 40
MOST_CATEGORIES: Final = 10
MOST_TEAMS: Final = 8
_STARTS: Final = 20
_REPEATED: Final = 30
"""An answer of this many words is expected to use more than a tenth as many different ones."""

_NOTHING = frozenset(("", "none", "null", "n/a", "na", "unknown", "not applicable", "not visible", "-"))
# C0 and C1, bidirectional marks, separators of lines, surrogates, private use and noncharacters.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ue000-\uf8ff"
    "\ufeff\ufff9-\uffff]+"
)


class Description(NamedTuple):
    """One photo in words. `confidence` is 0 to 1, None where the model did not say; `teams`, `event` and
    `sport` are what album names are made of."""

    description: str
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    confidence: float | None = None
    teams: tuple[str, ...] = ()
    event: str = ""
    sport: str = ""


def description_of(text: str) -> Description:
    """What the text of an answer says, JSON or JSON somewhere in prose. Raises Refused."""
    if len(text) > ANSWER_CHARACTERS:
        raise Refused(f"the model answered {len(text):,} characters, which is absurd")
    if not text.strip():
        raise Refused("the model answered nothing")
    found = _object_in(text)
    if found is None:
        raise Refused(f"the model answered prose instead of JSON: {said(text, 80)!r}")
    return cleaned(found)


def cleaned(found: Mapping[str, Any]) -> Description:
    """The fields of an answer, each bounded and without what could harm. Raises Refused without a usable
    description; everything else is optional."""
    text = clean_text(found.get("description"), DESCRIPTION_CHARACTERS)
    if not any(character.isalpha() for character in text):
        raise Refused("the model gave no description")
    words = text.casefold().split()
    if len(words) >= _REPEATED and len(set(words)) * 10 <= len(words):
        raise Refused(f"the model repeats itself: {said(text, 80)!r}")
    return Description(
        text,
        clean_words(found.get("tags"), MOST_TAGS),
        clean_words(found.get("categories"), MOST_CATEGORIES),
        _confidence(found.get("confidence")),
        clean_words(found.get("teams"), MOST_TEAMS),
        _name(found.get("event")),
        _name(found.get("sport")),
    )


def clean_text(value: object, limit: int) -> str:
    """One line of at most `limit` characters, cut at a word; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    text = unicodedata.normalize("NFC", " ".join(_UNFIT.sub(" ", value).split()))
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return (cut.rpartition(" ")[0] or cut).rstrip() + "…"


def clean_words(value: object, most: int) -> tuple[str, ...]:
    """The words of a list (or of a text with commas), each once whatever its case, in their order. `;` and
    `,` separate words, so none holds them."""
    kept: dict[str, str] = {}
    for text in _texts(value):
        for part in re.split(r"[,;\n]", text):
            word = clean_text(part, WORD_CHARACTERS).strip("#\"'[]{} ")
            if word.casefold() not in _NOTHING:
                kept.setdefault(word.casefold(), word)
        if len(kept) >= most:
            break
    return tuple(kept.values())[:most]


def _texts(value: object) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            yield one
        elif isinstance(one, int | float) and not isinstance(one, bool):
            yield str(one)


def _name(value: object) -> str:
    text = clean_text(value, WORD_CHARACTERS)
    return "" if text.casefold().rstrip(".") in _NOTHING else text


def _confidence(value: object) -> float | None:
    """A share; percentages are understood."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.strip().removesuffix("%")) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    if (isinstance(value, str) and value.strip().endswith("%")) or 1 < number <= 100:
        number /= 100
    return min(1.0, max(0.0, number))


def _object_in(text: str) -> Mapping[str, Any] | None:
    """The first JSON object in the text that has a description, or holds one that has; None without."""
    # What a model thought aloud is no answer.
    text = text.rpartition("</think>")[2]
    decoder = json.JSONDecoder()
    at = text.find("{")
    for _ in range(_STARTS):
        if at < 0:
            return None
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        for candidate in _with_inner(found):
            if isinstance(candidate.get("description"), str):
                return candidate
        at = text.find("{", end)
    return None


def _with_inner(found: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    yield found
    for value in found.values():
        if isinstance(value, dict):
            yield value
