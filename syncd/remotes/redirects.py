"""Where an answer says that the bytes are, and what may be said there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from syncd.config_checks import is_loopback

MOST_HOPS: Final = 4
_MOVED: Final = frozenset((301, 302, 303, 307, 308))
_FOR_ANYBODY: Final = frozenset(("Range", "Accept-Encoding"))


def elsewhere(answer: Any) -> Any:
    """The yarl.URL that a redirect leads to, None where it is none, or not a safe one."""
    from yarl import URL

    if answer.status not in _MOVED or not (location := answer.headers.get("Location")):
        return None
    try:
        url = answer.url.join(URL(location))
    except ValueError:
        return None
    is_safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host or ""))
    return url if is_safe and url.host else None


def for_anybody(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers fit for another host: none that proves who asks."""
    return {name: value for name, value in headers.items() if name in _FOR_ANYBODY}
