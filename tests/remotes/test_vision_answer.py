"""Whatever a model says becomes a bounded, harmless description, or a short reason."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.errors import Refused
from syncd.remotes.vision_answer import (
    ANSWER_CHARACTERS,
    DESCRIPTION_CHARACTERS,
    MOST_CATEGORIES,
    MOST_TAGS,
    MOST_TEAMS,
    WORD_CHARACTERS,
    Description,
    cleaned,
    description_of,
)

GOOD = {
    "description": "A goal in the rain.", "tags": ["goal", "rain"], "categories": ["sports"],
    "confidence": 0.9, "teams": ["Lions", "Sharks"], "event": "Cup", "sport": "soccer",
}  # fmt: skip
WANTED = Description(
    "A goal in the rain.", ("goal", "rain"), ("sports",), 0.9, ("Lions", "Sharks"), "Cup", "soccer"
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def is_fit(text: str, limit: int) -> bool:
    kinds = {unicodedata.category(character) for character in text}
    return len(text) <= limit and not kinds & {"Cc", "Cs", "Co", "Zl", "Zp"} and text == text.strip()


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, ANYTHING)))
@example({"description": "x" * 100_000, "tags": ["a;b,c\x1b[2J"] * 999, "confidence": "1e400"})
@example({"description": "a\u202eb\ud800c\x00d", "confidence": 10**400})
@settings(max_examples=150, deadline=None)
def test_what_comes_out_is_fit_to_be_kept(found: dict[str, Any]) -> None:
    try:
        made = cleaned(found)
    except Refused as error:
        assert len(str(error)) < 300
        return
    assert is_fit(made.description, DESCRIPTION_CHARACTERS)
    assert made.description
    for words, most in ((made.tags, MOST_TAGS), (made.categories, MOST_CATEGORIES), (made.teams, MOST_TEAMS)):
        assert len(words) <= most
        assert len({word.casefold() for word in words}) == len(words)
        assert all(word and is_fit(word, WORD_CHARACTERS) and not {",", ";"} & {*word} for word in words)
    assert is_fit(made.event, WORD_CHARACTERS)
    assert is_fit(made.sport, WORD_CHARACTERS)
    assert made.confidence is None or 0 <= made.confidence <= 1
    assert cleaned(made._asdict() | {"tags": list(made.tags), "categories": list(made.categories),
                                     "teams": list(made.teams)}) == made  # fmt: skip


@given(st.text(max_size=400))
@example("{" * 20_000)
@example('{"a":' * 10_000)
@example('{"description": "x"' + "}" * 10_000)
@settings(max_examples=150, deadline=None)
def test_any_text_is_an_answer_or_a_short_reason(text: str) -> None:
    try:
        assert description_of(text).description
    except Refused as error:
        assert len(str(error)) < 300


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        json.dumps(GOOD, indent=2),
        f"Sure! Here it is:\n```json\n{json.dumps(GOOD)}\n```\nAnything else?",
        f"<think>{{'a': 1}} or {json.dumps({**GOOD, 'description': 'no'})}</think>{json.dumps(GOOD)}",
        json.dumps({"photo": GOOD}),
        f'{{"note": "first"}} {json.dumps(GOOD)}',
        json.dumps({**GOOD, "tags": "goal, rain, GOAL", "confidence": "90%", "surprise": [{}]}),
        json.dumps({**GOOD, "tags": ["#goal", " rain ", "", None, {}, "goal"], "confidence": 90}),
        json.dumps({**GOOD, "description": "  A\tgoal\r\nin the\x00rain. "}),
        json.dumps({**GOOD, "teams": ["Lions", "n/a", "Sharks", "Unknown"]}),
    ],
)
def test_the_answer_is_found(text: str) -> None:
    assert description_of(text) == WANTED


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [(0.5, 0.5), ("0.5", 0.5), (1, 1), (0, 0), (-3, 0), (85, 0.85), ("85 %", 0.85), (1e9, 1), (True, None),
     ("high", None), (float("nan"), None), (float("inf"), None), (None, None), ([], None)],
)  # fmt: skip
def test_confidence(given_: Any, wanted: float | None) -> None:
    assert cleaned({**GOOD, "confidence": given_}).confidence == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "answered nothing"),
        (" \n", "answered nothing"),
        ("Sure! A lovely photo.", "prose instead of JSON: 'Sure! A lovely photo.'"),
        ("<html><body>502</body></html>", "prose instead of JSON"),
        ("[1, 2]", "prose instead of JSON"),
        (json.dumps({"tags": ["a"]}), "prose instead of JSON"),
        (json.dumps({"description": ["a"]}), "prose instead of JSON"),
        (json.dumps({"description": " "}), "gave no description"),
        (json.dumps({"description": "…!?…"}), "gave no description"),
        (json.dumps({"description": "goal " * 300}), "repeats itself"),
        ('{"description": "A goal in the', "prose instead of JSON"),
        ("word " * (ANSWER_CHARACTERS // 4), "which is absurd"),
        ("\x1b[2Jhello", r"\x1b[2Jhello"),
    ],
)
def test_what_is_no_answer_has_a_reason(text: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        description_of(text)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 200


def test_long_descriptions_are_cut_at_a_word() -> None:
    text = " ".join(f"word{number}" for number in range(1000))
    cut = cleaned({**GOOD, "description": text}).description
    assert len(cut) <= DESCRIPTION_CHARACTERS
    assert cut.endswith("…")
    assert text.startswith(cut.removesuffix("…"))
    assert text[len(cut) - 1] == " "
