"""Log lines: without secrets, without control characters, and late to load."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator

import pytest

from syncd import log
from syncd.log import configure_logging, get_logger, register_secret


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    yield
    for handler in [handler for handler in root.handlers if isinstance(handler, log._Bridge)]:
        root.removeHandler(handler)
    root.setLevel(before)
    log._secrets.clear()
    log._Settings.logger = log._Settings.stream = None


def test_json_lines_carry_level_time_part_and_fields() -> None:
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    get_logger("site").debug("not this")
    get_logger("site").info("uploaded", key="scenes/a.jpg", count=3, parts=["x\x1b", 1])
    record = json.loads(stream.getvalue())
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "uploaded",
        "level": "info",
        "part": "site",
        "key": "scenes/a.jpg",
        "count": 3,
        "parts": [r"x\x1b", 1],
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_cut_out_wherever_they_turn_up(as_json: bool) -> None:
    stream = io.StringIO()
    configure_logging("debug", as_json=as_json, stream=stream)
    secret = 'p@ss"wörd\\+/='
    register_secret(secret)
    register_secret("abc")
    logger = get_logger("drive")
    try:
        raise ValueError(f"401 for {secret}")
    except ValueError:
        logger.exception("abc refused", header={"Authorization": f"Bearer {secret}"}, value=[secret])
    logger.info(f"GET https://x/?key={urllib.parse.quote(secret)}")
    logging.getLogger("aiohttp").error("retry with %r", secret)
    text = stream.getvalue()
    assert "wörd" not in text and "w%C3%B6rd" not in text and "rd\\" not in text
    assert text.count("[redacted]") >= 5
    assert "abc refused" in text and "ValueError" in text


@pytest.mark.parametrize("as_json", [True, False])
def test_control_characters_never_reach_a_terminal(as_json: bool) -> None:
    stream = io.StringIO()
    configure_logging("info", as_json=as_json, stream=stream)
    try:
        raise OSError("no \x1b]0;title\x07 here")
    except OSError:
        get_logger("x").exception("a\x1b[2Jb\nc", path="\u202egpj.exe", data={"k\x07": {"v\r"}})
    logging.getLogger("other").warning("evil\x1b")
    text = stream.getvalue()
    assert not set(text) & set("\x1b\x07\r\u202e")
    assert r"a\x1b[2Jb\x0ac" in text.replace("\\\\", "\\")


def test_other_libraries_are_heard_from_warnings_on() -> None:
    stream = io.StringIO()
    configure_logging("debug", stream=stream)
    logging.getLogger("botocore").info("noise")
    logging.getLogger("botocore").warning("this")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["this"]


def test_the_library_is_loaded_with_the_first_line_only() -> None:
    code = (
        "import sys; from syncd.log import configure_logging, get_logger; configure_logging('info');"
        "get_logger('a').debug('x'); assert 'structlog' not in sys.modules;"
        "get_logger('a').info('x'); assert 'structlog' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
