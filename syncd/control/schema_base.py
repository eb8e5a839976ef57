"""What all requests and replies of the control API have in common."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Base of replies: unknown fields are ignored, so that an older client reads a newer daemon."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of request bodies: an unknown field is a 422."""


def refuse_nul(texts: Iterable[str]) -> None:
    """No name holds a NUL, and the system's calls fail on one."""
    if any("\0" in text for text in texts):
        raise ValueError("expected text without NUL characters")
