"""What settings may be: ranges, choices and forms of each, and which of them contradict one another."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from syncd.config import Config
from syncd.mail_settings import check_address, read_smtp_url
from syncd.text import printable

DEFAULT_INTERVAL = "drive.default_interval_minutes"
_SOCKET_LIMIT_BYTES = 107  # sun_path of unix(7), without its NUL

# The smallest and the largest value, both allowed.
_RANGES: dict[str, tuple[float, float]] = {
    "daemon.workers": (0, 256),
    "batches.settle_seconds": (0, 3600),
    "batches.rescan_minutes": (0.1, 525_600),
    "storage.concurrency": (1, 256),
    DEFAULT_INTERVAL: (0.5, 525_600),
    "drive.requests_per_second": (0.01, 1000),
    "faces.tolerance": (0, 2),
    "faces.max_side": (64, 100_000),
    "faces.upsample": (0, 4),
    "smugmug.interval_minutes": (0.5, 525_600),
    "smugmug.requests_per_second": (0.01, 1000),
    "smugmug.page_size": (1, 1000),
    "ai.batch_size": (1, 1000),
    "ai.daily_limit": (0, 10**9),
    "names.drift_threshold": (0, 100),
    "guard.max_delete": (0, 10**9),
    "guard.max_delete_percent": (0, 100),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "daemon.log_level": ("debug", "info", "warning", "error", "critical"),
    "batches.on_missing": ("keep", "withdraw"),
    "storage.type": ("local", "r2"),
}

_FORMS: dict[str, tuple[str, str]] = {
    "storage.account_id": (r"[\w.-]+", "the account's id, letters and digits"),
    "storage.access_key_id": (r"[!-~]+", "a key's id without spaces or line breaks"),
    "storage.bucket_name": (r"[\w.-]+", "a bucket's name: letters, digits, dots and dashes"),
}

_HTTPS = {"drive.api_base_url", "drive.auth_url", "drive.token_url"} | {
    "smugmug.api_base_url", "smugmug.oauth_base_url",
}  # fmt: skip
_HTTP = {"storage.endpoint_url", "storage.public_url", "ai.base_url"}


class Wrong(Exception):
    """One value is wrong; the text says how."""


def check_value(dotted: str, value: Any) -> None:
    """Ranges, choices and forms of one value; raises Wrong."""
    if dotted in _RANGES:
        low, high = _RANGES[dotted]
        if not low <= value <= high:
            raise Wrong(f"expected {low:,} to {high:,}, found {found_words(value)}")
    if dotted in CHOICES and value not in CHOICES[dotted]:
        raise Wrong(f"expected {one_of(CHOICES[dotted])}, found {value[:40]!r}")
    if dotted in _FORMS and value and not re.fullmatch(_FORMS[dotted][0], value, re.ASCII):
        raise Wrong(f"expected {_FORMS[dotted][1]}")
    if dotted in _HTTPS or dotted in _HTTP:
        _check_url(dotted, value)
    if dotted == "drive.push_url" and value:
        _check_push_url(value)
    if dotted == "drive.push_listen":
        _check_listen(value)
    if dotted == "batches.stages":
        _check_stages(value)
    if dotted == "batches.suffixes" and not all(value):
        raise Wrong("a suffix must not be empty")
    if dotted == "storage.prefix":
        _check_prefix(value)
    if dotted == "mirror.dsn" and value and not re.match(r"postgres(ql)?://|\s*\w+\s*=", value):
        raise Wrong("expected an address that starts with postgresql://")
    if dotted.startswith("notify."):
        _check_mail(dotted, value)


def _check_mail(dotted: str, value: Any) -> None:
    try:
        if dotted == "notify.smtp_url":
            if value:
                read_smtp_url(value)
            return
        for address in filter(None, (value,)) if isinstance(value, str) else value:
            check_address(address)
    except ValueError as error:
        raise Wrong(str(error)) from None


def _check_stages(stages: tuple[str, ...]) -> None:
    if not stages:
        raise Wrong("expected at least one stage, found an empty list")
    for stage in stages:
        if not stage or "/" in stage or "\0" in stage or stage.startswith("."):
            raise Wrong(f"{stage!r} is not the name of a folder that can be a stage")
        if stages.count(stage) > 1:
            raise Wrong(f'"{stage}" is there twice')


def _check_prefix(prefix: str) -> None:
    parts = prefix.removesuffix("/").split("/")
    odd = any(part in ("", ".", "..") for part in parts) or not prefix.isprintable() or "\\" in prefix
    if prefix and odd:
        raise Wrong('expected a path like "photos/": no leading or double slash, no "." or ".."')


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine."""
    return (
        host in ("localhost", "::1")
        or host.endswith(".localhost")
        or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
    )


def _split_url(text: str) -> tuple[str, str]:
    """Scheme and host, both empty where the text is no URL."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises for a wrong one
        return parts.scheme, parts.hostname or ""
    except ValueError:
        return "", ""


def _check_url(dotted: str, value: str) -> None:
    if not value and dotted in _HTTP:
        return
    scheme, host = _split_url(value)
    if scheme not in ("http", "https") or not host or re.search(r"\s", value):
        raise Wrong("expected an address that starts with https://")
    if dotted in _HTTPS and scheme == "http" and not is_loopback(host):
        raise Wrong(f"plain http:// is only for this machine, not for {host}: use https://")


def _check_push_url(value: str) -> None:
    scheme, host = _split_url(value)
    if scheme != "https" or not host or is_loopback(host) or re.search(r"\s", value):
        raise Wrong("expected an address that starts with https:// and that Google can reach")


def _check_listen(value: str) -> None:
    host, _, port = value.rpartition(":")
    if (
        not host
        or re.search(r"[\s/]", host)
        or not port.isascii()
        or not port.isdecimal()
        or int(port) > 65535
    ):
        raise Wrong("expected HOST:PORT, such as 127.0.0.1:8791")


def contradictions(config: Config) -> Iterator[str]:
    """Settings that are each right and together wrong."""
    images = _real(config.batches.images_dir)
    if _real(config.daemon.state_dir).is_relative_to(images):
        yield '[daemon] "state_dir" lies inside images_dir, which is never written to'
    if config.daemon.socket and _real(Path(config.daemon.socket)).is_relative_to(images):
        yield '[daemon] "socket" lies inside images_dir, which is never written to'
    if len(os.fsencode(config.daemon.socket)) > _SOCKET_LIMIT_BYTES:
        yield f'[daemon] "socket": expected at most {_SOCKET_LIMIT_BYTES} bytes: no system takes more'
    notify = config.notify
    missing = [
        key
        for key, value in (("smtp_url", notify.smtp_url), ("from", notify.from_), ("to", notify.to))
        if not value
    ]
    if len(missing) < 3:
        for key in missing:
            yield f'[notify] "{key}" is missing: mail needs smtp_url, from and to'
    if config.exchange.inbox and _real(Path(config.exchange.inbox)).is_relative_to(images):
        yield '[exchange] "inbox" lies inside images_dir, which is never written to'
    storage = config.storage
    if storage.type == "local":
        base = _real(storage.base_path)
        written = [Path(f"{base}/{storage.prefix}{folder}") for folder in ("scenes", "events")]
        if base.is_relative_to(images):
            yield '[storage] "base_path" lies inside images_dir, which is never written to'
        elif any(images.is_relative_to(folder) or folder.is_relative_to(images) for folder in written):
            yield '[storage] "base_path" would publish into images_dir, which is never written to'
        return
    for key in ("bucket_name", "access_key_id", "secret_access_key"):
        if not getattr(storage, key):
            yield f'[storage] "{key}" is missing: type = "r2" needs it'
    if not storage.account_id and not storage.endpoint_url:
        yield '[storage] "account_id" is missing: type = "r2" needs it, or "endpoint_url" for another S3'


def doubts(config: Config) -> Iterator[str]:
    """What a person should know, and may want."""
    scheme, host = _split_url(config.storage.endpoint_url)
    if scheme == "http" and not is_loopback(host):
        yield f'[storage] "endpoint_url": photos travel unencrypted to {host}; https:// is better'
    base = _real(config.storage.base_path)
    if config.storage.type == "local" and _real(config.daemon.state_dir).is_relative_to(base):
        yield '[daemon] "state_dir" lies inside base_path: do not serve that folder to others'
    key = config.drive.service_account_file
    if key and not os.access(key, os.R_OK):
        yield f'[drive] "service_account_file": {printable(key)} is not there, or cannot be read'


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def found_words(value: Any) -> str:
    """What a value is, in words; never a long text of it, which might be a secret."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return (
                f"{value:g}"
                if isinstance(value, float) or abs(value) < 10**12
                else "a number that is far too large"
            )
        case str():
            return "a text" if value else "an empty text"
        case list() | tuple():
            odd = next((item for item in value if not isinstance(item, str)), None)
            return "a list" if odd is None else f"a list with {found_words(odd)} in it"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def one_of(choices: tuple[str, ...]) -> str:
    return " or ".join(f'"{choice}"' for choice in choices)
