"""Words that people type, as queries of SQLite's full-text search."""

from __future__ import annotations

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
