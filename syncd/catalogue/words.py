"""Words that people type: as queries of SQLite's full-text search, and in JSON lists."""

from __future__ import annotations

import json

_MOST_WORDS = 32


def match_of(text: str) -> str | None:
    """The FTS5 query for what holds all words of `text`; `goal*` is a beginning. None where the text holds
    no word at all. Nothing in it is an operator: each word is a quoted string."""
    terms = []
    for word in text.split():
        bare = word.rstrip("*")
        if any(character.isalnum() for character in bare):
            quoted = bare.replace('"', '""').replace("\0", "")
            terms.append(f'"{quoted}"' + ("*" if bare != word else ""))
    return " ".join(terms[:_MOST_WORDS]) or None


def texts_of(listed: str) -> list[str]:
    """The texts of a JSON list; what else a person has put there with SQL is left out."""
    found = json.loads(listed)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
