"""Logs: readable on a terminal, JSON elsewhere, without secrets and without control characters.

Secrets are cut out by value, so it does not matter in which header, address or traceback they turn up. The
library behind this is loaded with the first line that is written.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from syncd.text import printable

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
REDACTED = "[redacted]"
SHORTEST_SECRET = 4

_secrets: list[str] = []
_lock = threading.Lock()


def register_secret(value: str) -> None:
    """From now on `value` never stands in a log line, as it is or quoted for JSON, Python or an address.
    Values shorter than four characters are left alone: they would tear holes into ordinary words."""
    if len(value) >= SHORTEST_SECRET:
        with _lock:
            _secrets[:] = sorted({*_secrets, *_forms(value)}, key=len, reverse=True)


def forget_secret(value: str) -> None:
    """Takes back `register_secret`, for a value that is worth nothing any more."""
    forms = _forms(value)
    with _lock:
        _secrets[:] = [secret for secret in _secrets if secret not in forms]


def _forms(value: str) -> set[str]:
    return {
        value,
        printable(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        urllib.parse.quote(value),
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
    }


def redact(text: str) -> str:
    """`text` with every registered secret replaced."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return text


class Logger:
    """Writes events of one part of syncd. Fields say what an event is about."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, /, **fields: object) -> None:
        _write("debug", self._name, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        _write("info", self._name, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        _write("warning", self._name, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        _write("error", self._name, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """An error with the traceback of the exception that is being handled."""
        _write("error", self._name, event, {"exc_info": True, **fields})


def get_logger(name: str) -> Logger:
    """The logger of the part called `name`."""
    return Logger(name)


class _Settings:
    level = LEVELS["info"]
    as_json: bool | None = None
    stream: TextIO | None = None
    logger: Any = None  # structlog's, whose type must not be imported here


def configure_logging(
    level: str = "info", *, as_json: bool | None = None, stream: TextIO | None = None
) -> None:
    """Sets the least level that is written, the form (by default JSON unless `stream` is a terminal) and the
    stream (standard error). Lines of other libraries from `warning` on are written as well."""
    _Settings.level = LEVELS[level]
    _Settings.as_json, _Settings.stream, _Settings.logger = as_json, stream, None
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge(logging.WARNING))
    root.setLevel(max(_Settings.level, logging.WARNING))


class _Bridge(logging.Handler):
    """Takes what other libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for name in reversed(LEVELS) if record.levelno >= LEVELS[name]), "debug")
        fields: dict[str, object] = {"exc_info": record.exc_info} if record.exc_info else {}
        try:
            _write(level, record.name, record.getMessage(), fields)
        except Exception:  # noqa: BLE001 (logging must not stop what it reports on)
            self.handleError(record)


def _write(level: str, name: str, event: str, fields: Mapping[str, object]) -> None:
    if LEVELS[level] < _Settings.level:
        return
    logger = _Settings.logger
    if logger is None:
        logger = _Settings.logger = _make_logger()
    getattr(logger, level)(event, part=name, **fields)


def _make_logger() -> Any:
    import structlog

    stream = _Settings.stream or sys.stderr
    as_json = not stream.isatty() if _Settings.as_json is None else _Settings.as_json
    renderer: Callable[..., Any] = (
        structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False)
    )
    return structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape_fields,
            lambda logger, method, event: redact(str(renderer(logger, method, event))),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        context_class=dict,
    )


def _escape_fields(logger: object, method: str, event: Any) -> Any:
    return {key: _escape(key, value) for key, value in event.items()}


def _escape(key: str, value: object) -> object:
    if isinstance(value, str):
        # Before the renderer quotes it, which would hide a secret that was already quoted once.
        value = redact(value)
        # A traceback keeps its lines; each of them is escaped.
        return "\n".join(map(printable, value.split("\n"))) if key == "exception" else printable(value)
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {printable(redact(str(name))): _escape("", inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_escape("", inner) for inner in value]
    return printable(redact(str(value)))
