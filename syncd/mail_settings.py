"""What `[notify]` may say: the address of a mail server, and addresses of people."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Security = Literal["tls", "starttls", "none"]

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\\]+@[^\s@<>,;:\"()\\]+")


class SmtpServer(NamedTuple):
    """Where mail is handed in. `security` is `none` only on this machine; without `user` nobody signs in."""

    host: str
    port: int
    user: str
    password: str
    security: Security


def read_smtp_url(text: str) -> SmtpServer:
    """`smtp://user:pass@host:587` (STARTTLS, plain only on this machine) or `smtps://…:465` (TLS). Raises
    ValueError with words that hold nothing of the address but its host."""
    from urllib.parse import unquote, urlsplit

    from syncd.config_checks import is_loopback

    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    odd = parts.path not in ("", "/") or parts.query or parts.fragment or re.search(r"[\s\x00-\x1f]", text)
    if parts.scheme not in ("smtp", "smtps") or not host or odd or port == 0:
        raise ValueError(_EXPECTED)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if password and not user:
        raise ValueError("there is a password and no user before it")
    security: Security = "tls" if parts.scheme == "smtps" else "none" if is_loopback(host) else "starttls"
    usual_port = {"tls": 465, "starttls": 587, "none": 25}[security]
    return SmtpServer(host, port or usual_port, user, password, security)


_EXPECTED = "expected smtp://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465"


def check_address(text: str) -> None:
    """Raises ValueError where `text` is no address of one person: `a@b.org` or `Name <a@b.org>`."""
    from email.utils import parseaddr

    _, address = parseaddr(text)
    is_whole = text.strip() == address or text.rstrip().endswith(f"<{address}>")
    if not text.isprintable() or not is_whole or not _ADDRESS.fullmatch(address):
        raise ValueError(f"{text[:80]!r} is no mail address")
