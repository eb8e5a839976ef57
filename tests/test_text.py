"""Words for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.text import human_age, human_count, human_duration, human_size, printable


@given(st.text(st.characters()) | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_printable_text_can_be_shown_anywhere(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert printable(shown) == shown
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
    assert not set(shown) & set("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2069")


def test_printable_escapes_only_what_it_must() -> None:
    assert printable("Zoë’s café 猫 👩‍🚀.jpg") == "Zoë’s café 猫 👩‍🚀.jpg"
    assert printable("a\x1b\n\x9b\u202e\udcff\ud800") == r"a\x1b\x0a\x9b\u202e\xff\ud800"


SIZES = {
    0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9960: "10 kB", 123_456: "123 kB",
    999_600: "1.0 MB", 5_400_000_000: "5.4 GB", 3e15: "3.0 PB", 3e19: "30,000 PB",
}  # fmt: skip
DURATIONS = {
    0: "0 s", 0.02: "20 ms", 0.35: "0.35 s", 1.2345: "1.2 s", 9.99: "10 s", 59.4: "59 s", 59.7: "1 min",
    185: "3 min 5 s", 3600: "1 h", 7800: "2 h 10 min", 90_000: "1 d 1 h", -60: "-1 min",
}  # fmt: skip


@pytest.mark.parametrize(("size_bytes", "words"), list(SIZES.items()))
def test_sizes(size_bytes: float, words: str) -> None:
    assert human_size(size_bytes) == words


@pytest.mark.parametrize(("duration_s", "words"), list(DURATIONS.items()))
def test_durations(duration_s: float, words: str) -> None:
    assert human_duration(duration_s) == words


def test_ages_and_counts() -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert human_age(None) == "never"
    assert human_age("2026-05-01T11:59:58Z", now) == "just now"
    assert human_age("2026-05-01T11:59:20Z", now) == "40 s ago"
    assert human_age("2026-05-01T11:57:10.123Z", now) == "2 min ago"
    assert human_age("2026-05-01T14:00:00+02:00", now) == "just now"
    assert human_age(datetime(2026, 4, 26), now) == "5 d ago"
    assert human_age("2026-05-01T12:02:00Z", now) == "in 2 min"
    assert human_count(18543) == "18,543"
