"""Dates in names of albums: written as the last part of a name, and recognised at the end of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date

EARLIEST_YEAR = 1990
"""Cameras whose clock was never set say an earlier one."""
STRAY_PART = 20
"""A day with less than one in so many of an album's dated photos does not stretch its date."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\\.?"
)
_DAY = "(?:3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = "(?:19|20)[0-9]{2}"
# Inside a date no space stands on both sides of a dash: there it divides the date from what it dates.
_GAP = "(?:[ _]{1,2}|[-.,/][ _]?)"
_DASH = "[-–—]"
_SEPARATOR = r"[\s_,;:|/·•@~*.([{<\-–—]"
_CLOSING = r"[\s_,;:|/·•~*.)\]}>\-–—]*"

_IN_WORDS = (
    f"{_MONTH}{_GAP}{_DAY}(?:{_DASH}{_DAY})?(?:{_GAP}{_YEAR})?",  # May 30; May 30-31, 2024
    f"{_DAY}{_GAP}(?:of )?{_MONTH}(?:{_GAP}{_YEAR})?",  # 30 May 2024
    f"(?:{_MONTH}{_DASH})?{_MONTH}{_GAP}{_YEAR}",  # Jun 2024; May-Jun 2024
)
_WORDS = re.compile(rf"(?P<before>^|{_SEPARATOR}+)(?P<date>{'|'.join(_IN_WORDS)}){_CLOSING}$", re.IGNORECASE)
_ISO = re.compile(
    rf"(?P<before>^|{_SEPARATOR}+)(?P<date>(?P<y>{_YEAR})(?P<s>[-./_]?)(?P<m>[0-9]{{2}})(?P=s)(?P<d>[0-9]{{2}})){_CLOSING}$"
)
_NUMBERS = re.compile(
    rf"(?P<before>^|{_SEPARATOR}+)(?P<date>(?P<a>[0-9]{{1,2}})(?P<s>[-./])(?P<b>[0-9]{{1,2}})(?P=s)(?P<y>{_YEAR})){_CLOSING}$"
)
_YEARS = re.compile(
    rf"(?P<before>^|{_SEPARATOR}+)(?<![0-9][-./–—])(?P<date>(?P<y>{_YEAR})(?:{_DASH}(?P<z>{_YEAR}))?){_CLOSING}$"
)
_MONTH_YEAR = re.compile(
    rf"(?P<before>^|{_SEPARATOR}+)(?<![0-9][-./–—])(?P<date>(?:0?[1-9]|1[0-2])/{_YEAR}){_CLOSING}$"
)
_PART_OF_THE_NAME = re.compile(r"(?:^|[\s_])of$", re.IGNORECASE)
"""`Class of 2024` and `Best of 2024` are no dated names."""
_LEADS_TO_A_DATE = re.compile(r"(?:^|[\s_])(?:on|in|from)$", re.IGNORECASE)


def without_trailing_date(name: str, today: date) -> str:
    """`name` up to a date at its end, with the punctuation that divides them; the same where it ends with no
    date."""
    for form, holds in _FORMS:
        found = form.search(name)
        if found is None or not holds(found, today):
            continue
        before, kept = found["before"], name[: found.start()]
        if before.strip(" _"):
            return name[: found.start("date")]
        if before and _PART_OF_THE_NAME.search(kept):
            continue
        return _LEADS_TO_A_DATE.sub("", kept)
    return name


def _is_date(year: str, month: str, day: str) -> bool:
    with suppress(ValueError):
        date(int(year), int(month), int(day))
        return True
    return False


def _iso(found: re.Match[str], today: date) -> bool:
    return _is_date(found["y"], found["m"], found["d"])


def _numbers(found: re.Match[str], today: date) -> bool:
    return _is_date(found["y"], found["a"], found["b"]) or _is_date(found["y"], found["b"], found["a"])


def _years(found: re.Match[str], today: date) -> bool:
    first, last = int(found["y"]), int(found["z"] or found["y"])
    in_order = first < last if found["z"] else True
    return in_order and first >= EARLIEST_YEAR and last <= today.year


_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], date], bool]], ...] = (
    (_WORDS, lambda found, today: True),
    (_ISO, _iso),
    (_NUMBERS, _numbers),
    (_MONTH_YEAR, lambda found, today: True),
    (_YEARS, _years),
)


def day_of(text: str | None, today: date) -> date | None:
    """The day of an ISO date or time; None for what is none, before 1990 or in the future."""
    with suppress(ValueError):
        day = date.fromisoformat((text or "")[:10])
        if day.year >= EARLIEST_YEAR and day <= today:
            return day
    return None


def date_of(days: Mapping[str, int], album_date: str | None, today: date) -> str:
    """What the photos' days make: `May 30`, `Jun 2024`, `May-Jun 2024`, `2023-2024`, or "" where nothing is
    dated. `days` says how many photos were taken on each ISO day, by the camera's clock."""
    known = {day: count for text, count in days.items() if (day := day_of(text, today)) is not None}
    total = sum(known.values())
    kept = [day for day, count in known.items() if count * STRAY_PART >= total] or list(known)
    if not kept:
        own = day_of(album_date, today)
        return written(own, own) if own is not None else ""
    return written(min(kept), max(kept))


def written(first: date, last: date) -> str:
    """The days from `first` to `last` as the end of a name."""
    if first == last:
        return f"{MONTHS[first.month - 1]} {first.day}"
    if first.year != last.year:
        return f"{first.year}-{last.year}"
    if first.month != last.month:
        return f"{MONTHS[first.month - 1]}-{MONTHS[last.month - 1]} {first.year}"
    return f"{MONTHS[first.month - 1]} {first.year}"
