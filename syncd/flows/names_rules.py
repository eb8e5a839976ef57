"""Canonical names of albums, `<subject> - <date>`, and how far a name has drifted from its own.

Everything here is pure. A canonical name is stable: an album that has it keeps it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple, TypeVar

from syncd.flows.names_dates import STRAY_PART, date_of, without_trailing_date

K = TypeVar("K", str, tuple[str, ...])

LONGEST = 255
"""Characters of a name that SmugMug takes."""

_SPACES = re.compile(r"[\s_]+")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_INVISIBLE = r"[\s\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+"
"""Blanks, and the marks that some keyboards write around text that runs from right to left."""
_OUTER = re.compile(rf"^{_INVISIBLE}|{_INVISIBLE}$")
_REPEATED = re.compile(r"([-–—,;:|~*=])\1+")
_ALONE = frozenset("-–—,.;:|~*=/\\<>·•()[]{}\"'`^")
"""Punctuation that is stray where it stands by itself at an end, or in a row."""
_BETWEEN = frozenset("-–—|/·•:~")
"""Of that, what may stand by itself between two words."""
_AT_START = re.compile(r"^(?:[-–—,;:|~*=/\\>·•)\]}\s]|\.(?!\w))+")
_AT_END = "-–—,;:|~*=/\\<·•@([{ "
_ABBREVIATED = re.compile(
    r"(?:\w\.\w+\.|(?:^|[\s.(])(?:jr|sr|st|inc|co|no|bros|dr|mr|mrs|ms|ltd|corp|univ|dept|vs|u\.?s|etc)\.)$",
    re.IGNORECASE,
)
_BRACKETS = {")": "(", "]": "[", "}": "{"}


class Seen(NamedTuple):
    """What the model wrote of `photos` photos of one album; `approved` by a person."""

    teams: tuple[str, ...]
    event: str
    approved: bool
    photos: int


class Hint(NamedTuple):
    """What a person said of an album."""

    teams: tuple[str, ...] = ()
    event: str = ""
    sport: str = ""


class Canonical(NamedTuple):
    """A canonical name, and in words where its subject comes from."""

    name: str
    origin: str


class Subject(NamedTuple):
    """What a name is about, and in words where that comes from."""

    text: str
    origin: str


def canonical(
    name: str,
    *,
    hint: Hint | None = None,
    seen: Sequence[Seen] = (),
    days: Mapping[str, int] | None = None,
    album_date: str | None = None,
    today: date,
) -> Canonical | None:
    """The canonical name of an album that is called `name` now; None where it has no subject, since the name
    is only a date or nothing. `days` says how many of its photos were taken on each ISO day."""
    subject = _of_hint(hint) or _of_photos(seen)
    from_name = subject is None
    if subject is None:
        subject = Subject(cleaned(name, today), "its name, cleaned and dated")
    if not subject.text:
        return None
    end = date_of(days or {}, album_date, today)
    end = f" - {end}" if end else ""
    text = _shortened(subject.text, LONGEST - len(end))
    # A name that is cut may end with a date where it was cut.
    while from_name and (clean := cleaned(text, today)) and clean != text:
        text = clean
    return Canonical(text + end, subject.origin)


def drift_score(name: str, canonical_name: str) -> int:
    """0 for the same words in whatever order, case and punctuation, 100 for nothing in common."""
    from rapidfuzz import fuzz

    if name == canonical_name:
        return 0
    return round(100 - fuzz.token_sort_ratio(_words(name), _words(canonical_name)))


# --- subjects -------------------------------------------------------------------------------------------


def versus(teams: Sequence[str]) -> str:
    """`A vs B`, and `A vs B, C, D` where there are more; "" for fewer than two."""
    if len(teams) < 2:
        return ""
    return ", ".join((f"{teams[0]} vs {teams[1]}", *teams[2:]))


def teams_of(teams: Iterable[str]) -> tuple[str, ...]:
    """Teams as they are written into a name, each once."""
    found: dict[str, str] = {}
    for team in teams:
        if text := one_line(team):
            found.setdefault(text.casefold(), text)
    return tuple(found.values())


def one_line(text: str) -> str:
    """`text` without control characters and runs of spaces."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def _of_hint(hint: Hint | None) -> Subject | None:
    if hint is None:
        return None
    if text := versus(teams_of(hint.teams)):
        return Subject(text, "teams by hand")
    return Subject(text, "event by hand") if (text := one_line(hint.event)) else None


def _of_photos(seen: Sequence[Seen]) -> Subject | None:
    """What most photos that say something say: of those that a person approved, else of the others."""
    for pool in ([row for row in seen if row.approved], [row for row in seen if not row.approved]):
        teams: Counter[tuple[str, ...]] = Counter()
        events: Counter[str] = Counter()
        voters = 0
        for row in pool:
            named, event = teams_of(row.teams), one_line(row.event)
            if len(named) > 1:
                teams[named] += row.photos
            if event:
                events[event] += row.photos
            voters += row.photos if len(named) > 1 or event else 0
        described = sum(row.photos for row in pool)
        if (most := _majority(teams, voters, described, _same_teams)) is not None:
            return Subject(versus(most[0]), f"teams in {most[1]:,} of {described:,} photos")
        if (most_events := _majority(events, voters, described, str.casefold)) is not None:
            return Subject(most_events[0], f"event in {most_events[1]:,} of {described:,} photos")
    return None


def _same_teams(teams: tuple[str, ...]) -> frozenset[str]:
    return frozenset(team.casefold() for team in teams)


def _majority(
    votes: Counter[K], voters: int, described: int, sameness: Callable[[K], Hashable]
) -> tuple[K, int] | None:
    """What more than half of the voters say, as most of them write it, and how many they are. A few photos
    among many that say nothing do not name an album."""
    groups: dict[Hashable, Counter[K]] = {}
    for said, count in votes.items():
        groups.setdefault(sameness(said), Counter())[said] += count
    for spellings in groups.values():
        count = spellings.total()
        if count * 2 > voters and count * STRAY_PART >= described:
            return min(spellings, key=lambda said: (-spellings[said], said)), count
    return None


# --- cleaning -------------------------------------------------------------------------------------------


def cleaned(name: str, today: date) -> str:
    """`name` without a date at its end, runs of spaces and `_`, and stray punctuation; "" where nothing else
    is there. Cleaning twice is cleaning once."""
    while (clean := _cleaned_once(name, today)) != name:
        name = clean
    return name


def _cleaned_once(name: str, today: date) -> str:
    name = _OUTER.sub("", _CONTROLS.sub(" ", name))
    text = _SPACES.sub(" ", _OUTER.sub("", without_trailing_date(name, today)))
    text = _REPEATED.sub(r"\1", text)
    words: list[str] = []
    for word in text.split():
        is_alone = all(char in _ALONE for char in word)
        if is_alone and (word not in _BETWEEN or not words or words[-1] in _BETWEEN):
            continue
        words.append(word)
    return _without_stray_ends(" ".join(words))


def _without_stray_ends(text: str) -> str:
    text = _AT_START.sub("", text).rstrip(_AT_END)
    while text.endswith(".") and not _ABBREVIATED.search(text):
        text = text[:-1].rstrip(_AT_END)
    opening = _BRACKETS.get(text[-1:])
    if opening is not None and text.count(opening) < text.count(text[-1]):
        text = text[:-1].rstrip(_AT_END)
    for closing, opening in _BRACKETS.items():  # whose end went with the date: "Gala (Saturday, May 30)"
        at = text.rfind(opening)
        if at >= 0 and f" {text}"[at] == " " and closing not in text[at:]:
            text = text[:at] + text[at + 1 :]
    return text


def _shortened(text: str, limit: int) -> str:
    """At most `limit` characters, cut at a word where there is one."""
    if len(text) <= limit:
        return text
    at = text.rfind(" ", 0, limit + 1)
    if at > 0:
        cut = text[:at].rstrip(_AT_END).removesuffix(" vs").rstrip(_AT_END)
        return cut or text[:at].rstrip()
    while limit > 1 and unicodedata.combining(text[limit]):
        limit -= 1
    return text[:limit]


# --- drift ----------------------------------------------------------------------------------------------


class _Spaced(dict[int, int]):
    """For str.translate: punctuation and symbols become a space. Remembers what it was asked for."""

    def __missing__(self, code: int) -> int:
        self[code] = 0x20 if unicodedata.category(chr(code))[0] in "PS" else code
        return self[code]


_SPACED = _Spaced()


def _words(name: str) -> str:
    return name.casefold().translate(_SPACED)
