"""What albums should be called: tables written by hand, and properties that hold for any name."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.flows.names_dates import MONTHS, date_of, written
from syncd.flows.names_rules import LONGEST, Hint, Seen, canonical, cleaned, drift_score, versus

TODAY = date(2026, 11, 21)

# present name, subject
CLEANED = [
    # nothing to clean
    ("DSC upload 3", "DSC upload 3"),
    ("Smith Wedding", "Smith Wedding"),
    ("smith WEDDING iPhone", "smith WEDDING iPhone"),
    ("7-Eleven", "7-Eleven"),
    ("Blink-182", "Blink-182"),
    ("C++ meetup", "C++ meetup"),
    ("Anna & Ben", "Anna & Ben"),
    ("#1 fans", "#1 fans"),
    ("@home", "@home"),
    ("Wow!!!", "Wow!!!"),
    ("Where to?", "Where to?"),
    ("'90s party", "'90s party"),
    ("St. John's", "St. John's"),
    ("Manchester F.C.", "Manchester F.C."),
    ("Harris Jr.", "Harris Jr."),
    (".NET days", ".NET days"),
    ("Rock 'n' Roll", "Rock 'n' Roll"),
    ("A/B test", "A/B test"),
    ("Gala (best of)", "Gala (best of)"),
    ("50% off", "50% off"),
    ("Day 1 - Night 2", "Day 1 - Night 2"),
    ("Kramer vs Kramer", "Kramer vs Kramer"),
    ("Team A vs. Team B", "Team A vs. Team B"),
    ("Łódź żółć", "Łódź żółć"),
    ("東京 マラソン", "東京 マラソン"),
    ("שלום עולם", "שלום עולם"),
    ("مهرجان", "مهرجان"),
    ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
    # spaces, underlines, stray punctuation
    ("  Smith   Wedding ", "Smith Wedding"),
    ("Smith_Wedding", "Smith Wedding"),
    ("__DSC__upload_3__", "DSC upload 3"),
    ("Smith\tWedding\n", "Smith Wedding"),
    ("Smith\u00a0\u2003Wedding", "Smith Wedding"),
    ("Smith\x00Wedding\x1b", "Smith Wedding"),
    ("- Smith Wedding -", "Smith Wedding"),
    ("Smith Wedding,", "Smith Wedding"),
    ("Smith Wedding.", "Smith Wedding"),
    ("Smith Wedding...", "Smith Wedding"),
    ("Smith Wedding :", "Smith Wedding"),
    ("Smith -- Wedding", "Smith - Wedding"),
    ("Smith - - Wedding", "Smith - Wedding"),
    ("Smith--Wedding", "Smith-Wedding"),
    ("Smith , , Wedding", "Smith Wedding"),
    ("Smith () Wedding", "Smith Wedding"),
    ("Smith Wedding (", "Smith Wedding"),
    ("Smith Wedding)", "Smith Wedding"),
    ("Smith – Wedding", "Smith – Wedding"),
    ("... Smith", "Smith"),
    ("Smith | | Wedding |", "Smith | Wedding"),
    # the four forms of our own
    ("Team A vs Team B - May 30", "Team A vs Team B"),
    ("Team A vs Team B - Jun 3", "Team A vs Team B"),
    ("Team A vs Team B - Jun 2024", "Team A vs Team B"),
    ("Team A vs Team B - May-Jun 2024", "Team A vs Team B"),
    ("Team A vs Team B - 2023-2024", "Team A vs Team B"),
    ("Gala – May–Jun 2024", "Gala"),
    ("Gala 2023–2024", "Gala"),
    ("שלום - May 30", "שלום"),
    ("東京 - Jun 2024", "東京"),
    ("\u200fשלום\u200f - May 30\u200f", "שלום"),
    ("\ufeffGala - Jun 2024\u200b", "Gala"),
    # in words
    ("Gala May 30", "Gala"),
    ("Gala, May 30", "Gala"),
    ("Gala (May 30)", "Gala"),
    ("Gala [May 30, 2024]", "Gala"),
    ("Gala may 30", "Gala"),
    ("Gala MAY 30TH", "Gala"),
    ("Gala May 30th, 2024", "Gala"),
    ("Gala May 30 2024", "Gala"),
    ("Gala May 30-31, 2024", "Gala"),
    ("Gala 30 May", "Gala"),
    ("Gala 30 May 2024", "Gala"),
    ("Gala 30th of May 2024", "Gala"),
    ("Gala_May_30", "Gala"),
    ("Gala: June 2024", "Gala"),
    ("Gala Sept 3", "Gala"),
    ("Gala Sept. 3, 2023", "Gala"),
    ("Gala September 2023", "Gala"),
    ("Gala, Dec. 24", "Gala"),
    ("Gala on May 30", "Gala"),
    ("Gala (Saturday, May 30)", "Gala Saturday"),
    ("Gala [best of (rain) 05/30/2024]", "Gala best of (rain)"),
    ("Gala (2nd half", "Gala 2nd half"),
    ("f(x gala", "f(x gala"),
    ("Summer in 2024", "Summer"),
    # in numbers
    ("Gala 2024-05-30", "Gala"),
    ("Gala - 2024-05-30 -", "Gala"),
    ("Gala_2024_05_30", "Gala"),
    ("Gala 2024.05.30", "Gala"),
    ("Gala 20240530", "Gala"),
    ("Gala 05/30/2024", "Gala"),
    ("Gala 5/3/2024", "Gala"),
    ("Gala 30.05.2024", "Gala"),
    ("Gala 3.5.2024", "Gala"),
    ("Gala 05-30-2024", "Gala"),
    ("Gala 06/2024", "Gala"),
    ("Gala 2024", "Gala"),
    ("Gala-2024", "Gala"),
    ("Gala (2024)", "Gala"),
    ("Gala, 1990", "Gala"),
    ("Gala 2026", "Gala"),
    # several, one after the other
    ("Gala 2024 - May 30", "Gala"),
    ("Gala - May 30 - May 30", "Gala"),
    ("Gala - Jun 2024 (2024-06-03)", "Gala"),
    # no dates, or not at the end
    ("Class of 2024", "Class of 2024"),
    ("Class of 2024 - May 30", "Class of 2024"),
    ("Class_of_2024", "Class of 2024"),
    ("Best of May 30", "Best of May 30"),
    ("2024 Gala", "2024 Gala"),
    ("2024-05-30 Gala", "2024-05-30 Gala"),
    ("May 30 Gala", "May 30 Gala"),
    ("Gala 1989", "Gala 1989"),
    ("Gala 2027", "Gala 2027"),
    ("Gala 2025-2030", "Gala 2025-2030"),
    ("Gala 2024-2023", "Gala 2024-2023"),
    ("Gala 2024-13-45", "Gala 2024-13-45"),
    ("Gala 99/12/2024", "Gala 99/12/2024"),
    ("Gala Feb 30, 20240", "Gala Feb 30, 20240"),
    ("Gala May 32", "Gala May 32"),
    ("Gala May", "Gala May"),
    ("Gala 30", "Gala 30"),
    ("IMG2024", "IMG2024"),
    ("Mayhem 5", "Mayhem 5"),
    ("Marathon 12", "Marathon 12"),
    ("Route 66-2024", "Route 66-2024"),
    ("Apollo 13", "Apollo 13"),
    ("1984", "1984"),
    ("2077", "2077"),
    # only a date, or nothing
    ("2024", ""),
    ("May 30", ""),
    ("Jun 2024", ""),
    ("May-Jun 2024", ""),
    ("2023-2024", ""),
    ("2024-05-30", ""),
    ("30.05.2024", ""),
    (" - May 30 - ", ""),
    ("(2024)", ""),
    ("May 30 - May 30", ""),
    ("", ""),
    ("  ", ""),
    ("---", ""),
    ("_", ""),
]


@pytest.mark.parametrize(
    ("name", "subject"), CLEANED, ids=lambda value: value.encode("unicode_escape").decode()
)
def test_cleaned(name: str, subject: str) -> None:
    assert cleaned(name, TODAY) == subject


def test_the_table_is_long_enough() -> None:
    assert len({name for name, _ in CLEANED}) >= 120


def name_of(name: str, **known: Any) -> str | None:
    found = canonical(name, today=TODAY, **{"days": {"2024-05-30": 10}, **known})
    return found.name if found else None


def one(*teams: str, event: str = "", approved: bool = False, photos: int = 1) -> Seen:
    return Seen(teams, event, approved, photos)


# what is known, canonical name
NAMED: list[tuple[dict[str, Any], str | None]] = [
    ({"hint": Hint(("A", "B"))}, "A vs B - May 30"),
    ({"hint": Hint(("A", "B", "C"))}, "A vs B, C - May 30"),
    ({"hint": Hint(("A", "B", "C", "D"))}, "A vs B, C, D - May 30"),
    ({"hint": Hint((" A ", "B\x1b[2J"))}, "A vs B [2J - May 30"),
    ({"hint": Hint(("A", "a"), "Gala")}, "Gala - May 30"),
    ({"hint": Hint(("A",), "Gala")}, "Gala - May 30"),
    ({"hint": Hint(("A",))}, "DSC upload 3 - May 30"),
    ({"hint": Hint((), "", "soccer")}, "DSC upload 3 - May 30"),
    ({"hint": Hint((), "Spring Cup 2024")}, "Spring Cup 2024 - May 30"),
    ({"hint": Hint(("Kramer vs Kramer", "B"))}, "Kramer vs Kramer vs B - May 30"),
    ({"hint": Hint(("7-Eleven", "Été"))}, "7-Eleven vs Été - May 30"),
    ({"hint": Hint(("A", "B")), "seen": [one("C", "D", approved=True)]}, "A vs B - May 30"),
    ({"hint": Hint((), "Gala"), "seen": [one("C", "D")]}, "Gala - May 30"),
    ({"hint": Hint((), "", "soccer"), "seen": [one("C", "D")]}, "C vs D - May 30"),
    ({"seen": [one("A", "B")]}, "A vs B - May 30"),
    ({"seen": [one("A", "B", photos=2), one("C", "D")]}, "A vs B - May 30"),
    ({"seen": [one("A", "B"), one("C", "D")]}, "DSC upload 3 - May 30"),
    ({"seen": [one("A", "B"), one("b", "a", photos=3), one("C", "D", photos=3)]}, "b vs a - May 30"),
    ({"seen": [one("A", "B", photos=9), one("C", "D", approved=True)]}, "C vs D - May 30"),
    ({"seen": [one("A", "B"), one(approved=True, photos=9)]}, "A vs B - May 30"),
    ({"seen": [one("A", "B"), one("A", photos=9)]}, "A vs B - May 30"),
    ({"seen": [one("A", "B"), one(photos=99)]}, "DSC upload 3 - May 30"),
    ({"seen": [one("A", "B", photos=5), one(photos=95)]}, "A vs B - May 30"),
    ({"seen": [one(event="Gala")]}, "Gala - May 30"),
    ({"seen": [one("A", "B"), one(event="Gala", photos=9)]}, "Gala - May 30"),
    ({"seen": [one("A", "B", event="Cup"), one("B", "C", event="cup"), one("A", "C", event="Cup")]},
     "Cup - May 30"),
    ({"seen": [one(photos=5)]}, "DSC upload 3 - May 30"),
    ({"name": "2024"}, None),
    ({"name": "2024", "seen": [one("A", "B")]}, "A vs B - May 30"),
    ({"name": "May 30", "hint": Hint((), "Gala")}, "Gala - May 30"),
    ({"name": "Gala 2024", "days": {}}, "Gala"),
    ({"name": "Gala", "days": {}, "album_date": "2024-06-03T20:10:00+00:00"}, "Gala - Jun 3"),
    ({"name": "Gala", "days": {"1970-01-01": 5}, "album_date": "2024-06-03"}, "Gala - Jun 3"),
    ({"name": "x" * 300}, "x" * (255 - 9) + " - May 30"),
    ({"hint": Hint(("T" * 200, "U" * 200))}, "T" * 200 + " - May 30"),
    ({"name": "word " * 60}, "word " * 48 + "word - May 30"),
    ({"name": "w " * 119 + "2024 " + "y" * 20}, "w " * 118 + "w - May 30"),
]  # fmt: skip


@pytest.mark.parametrize(("known", "name"), NAMED, ids=lambda value: f"{len(value or '')}")
def test_canonical(known: dict[str, Any], name: str | None) -> None:
    assert name_of(**{"name": "DSC upload 3", **known}) == name
    assert name is None or len(name) <= LONGEST


# photos of each day, date
DATED: list[tuple[dict[str, int], str]] = [
    ({"2024-05-30": 1}, "May 30"),
    ({"2024-06-03": 9}, "Jun 3"),
    ({"2024-06-03": 1, "2024-06-30": 1}, "Jun 2024"),
    ({"2024-05-31": 1, "2024-06-01": 1}, "May-Jun 2024"),
    ({"2024-01-01": 1, "2024-12-31": 1}, "Jan-Dec 2024"),
    ({"2023-12-31": 1, "2024-01-01": 1}, "2023-2024"),
    ({"2020-05-30": 1, "2024-05-30": 1}, "2020-2024"),
    ({"2024-05-30": 96, "2024-07-01": 4}, "May 30"),
    ({"2024-05-30": 95, "2024-07-01": 5}, "May-Jul 2024"),
    ({f"2024-05-{day:02}": 1 for day in range(1, 31)}, "May 2024"),
    ({"2024-05-30": 1, "1989-12-31": 99}, "May 30"),
    ({"2024-05-30": 1, "1990-01-01": 1}, "1990-2024"),
    ({"2024-05-30": 1, "2026-11-21": 1}, "2024-2026"),
    ({"2024-05-30": 1, "2026-11-22": 99}, "May 30"),
    ({"2024-05-30": 1, "0000-00-00": 99}, "May 30"),
    ({"2024-05-30": 1, "2024-02-30": 99}, "May 30"),
    ({"1970-01-01": 3}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("days", "text"), DATED, ids=lambda value: f"{len(value)}")
def test_dates(days: dict[str, int], text: str) -> None:
    assert date_of(days, None, TODAY) == text


@pytest.mark.parametrize(
    ("album_date", "text"),
    [
        ("2024-06-03T23:10:00+00:00", "Jun 3"),
        ("2030-01-01T00:00:00+00:00", ""),
        ("1980-01-01", ""),
        ("", ""),
        ("soon", ""),
        (None, ""),
    ],
)
def test_the_albums_own_date(album_date: str | None, text: str) -> None:
    assert date_of({"1970-01-01": 3}, album_date, TODAY) == text
    assert date_of({"2024-05-30": 1}, album_date, TODAY) == "May 30"


@pytest.mark.parametrize(
    ("name", "other", "score"),
    [
        ("Gala", "Gala", 0),
        ("Gala - May 30", "gala, MAY 30!", 0),
        ("B vs A", "a VS b", 0),
        ("Straße", "STRASSE", 0),
        ("!!!", "???", 0),
        ("", "", 0),
        ("", "Gala", 100),
        ("abc", "xyz", 100),
        ("DSC upload 3", "Team A vs Team B - May 30", 77),
    ],
)
def test_drift(name: str, other: str, score: int) -> None:
    assert drift_score(name, other) == drift_score(other, name) == score


def test_versus() -> None:
    assert [versus(teams) for teams in ((), ("A",), ("A", "B"), ("A", "B", "C"))] == [
        "", "", "A vs B", "A vs B, C",
    ]  # fmt: skip


# Pieces that are near to what is cut off, and characters that are in nobody's table.
_WORDS = """
    may june 30 3 2024 1999 2027 1984 2024-05-30 05/30/2024 30.05.2024 06/2024 20240530 May-Jun 2023-2024
    30th of on in - – _ , . ( ) / | @ vs Gala Jr. F.C. 7-Eleven Class ... -- A & ' é ש 👩‍👧 \u200f
"""
WORDS = st.sampled_from([*MONTHS, *_WORDS.split()])
JOINS = st.sampled_from(["", " ", " ", "  ", " - ", "-", "_", ", ", ".", "/", "\t"])
PIECES = st.lists(st.tuples(WORDS, JOINS), max_size=8).map(lambda parts: "".join(a + b for a, b in parts))
NAMES = st.one_of(
    PIECES, st.text(max_size=40), st.builds(lambda a, n: (a + " ") * n, PIECES, st.integers(1, 40))
)
DAYS = st.dictionaries(
    st.dates(date(1985, 1, 1), date(2027, 1, 1)).map(date.isoformat), st.integers(1, 60), max_size=4
)


@settings(deadline=None)
@given(NAMES)
def test_cleaning_twice_is_cleaning_once(name: str) -> None:
    clean = cleaned(name, TODAY)
    assert cleaned(clean, TODAY) == clean
    assert clean == clean.strip()
    assert "  " not in clean


@settings(deadline=None)
@given(NAMES, DAYS)
@example("Foo May", {"2024-06-01": 1, "2024-06-02": 1})
@example("Foo 30", {"2024-05-01": 1, "2024-05-02": 1})
@example("Class of", {"2024-05-30": 1})
@example("Harris Jr.", {"2024-05-30": 1})
@example("x" * 200 + " 2024 " + "y" * 80, {"2024-05-30": 1})
def test_canonical_names_are_stable(name: str, days: dict[str, int]) -> None:
    """An album that has its canonical name keeps it, however odd its name was before."""
    found = canonical(name, days=days, today=TODAY)
    if found is None:
        return
    assert len(found.name) <= LONGEST
    again = canonical(found.name, days=days, today=TODAY)
    assert again is None or again.name == found.name
    assert drift_score(found.name, found.name) == 0


@settings(deadline=None)
@given(st.dates(date(1990, 1, 1), TODAY), st.integers(0, 3000))
def test_every_date_that_is_written_is_read(first: date, days: int) -> None:
    end = written(first, min(TODAY, first + timedelta(days=days)))
    assert cleaned(f"Gala - {end}", TODAY) == "Gala"
    assert cleaned(end, TODAY) == ""


@settings(deadline=None)
@given(NAMES, NAMES)
def test_drift_is_a_score(name: str, other: str) -> None:
    assert 0 <= drift_score(name, other) <= 100
    assert drift_score(name, name) == 0
