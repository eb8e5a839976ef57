"""Which keys every sink takes, and how they look in a URL."""

from __future__ import annotations

from urllib.parse import quote

from syncd.errors import Refused

# https://developers.cloudflare.com/r2/platform/limits/
MAX_KEY_BYTES = 1024


def check_key(key: str) -> str:
    """Returns `key` when every sink can store it. Refused otherwise, so that a site can move between
    sinks: at most 1,024 bytes of UTF-8, no empty, `.` or `..` segment, no control characters."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise Refused(f"storage cannot hold the key {key!r}: it is not Unicode text") from None
    if length > MAX_KEY_BYTES:
        raise Refused(f"storage takes keys of at most {MAX_KEY_BYTES:,} bytes; {key[:60]!r}… has {length:,}")
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        raise Refused(f"storage cannot hold the key {key!r}: it is no plain path below its root")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in key):
        raise Refused(f"storage cannot hold the key {key!r}: it has control characters")
    return key


def public_address(public_url: str, key: str) -> str:
    """`public_url`, a slash, and `key` percent-encoded as UTF-8 with its slashes kept."""
    return f"{public_url.rstrip('/')}/{quote(key, safe='/~')}"
