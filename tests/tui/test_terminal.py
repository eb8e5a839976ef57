"""The program itself in a real terminal (a pty), against a real control server that goes and comes back."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from syncd.control.server import ControlServer
from tests.control.conftest import serving
from tests.tui.test_feed import BIDI, ESCAPE, HOSTILE, Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).parents[2]
CONTROL = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[P_][^\x1b]*\x1b\\|.)")


class Terminal:
    """syncd-tui in a pty of 100x30. `seen` is all that it wrote since `forget`."""

    def __init__(self, *options: str) -> None:
        self.seen = b""
        self.all = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        os.set_blocking(self._master, False)
        environ = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "LC_ALL": "",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui", *options],
            stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=environ, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self.seen += data
                self.all += data
        except OSError:
            pass

    def text(self) -> str:
        """What was written, without what steers the terminal; runs of blanks are one."""
        plain = CONTROL.sub(b" ", self.seen).decode(errors="replace")
        return re.sub(r"\s+", " ", plain)

    async def until(self, words: str, limit_s: float = 15) -> None:
        """Waits for these words to be written."""
        with anyio.move_on_after(limit_s):
            while words not in self.text():
                await anyio.sleep(0.03)
                self._read()
            return
        raise AssertionError(f"{words!r} never came; the end of what did: {self.text()[-1500:]}")

    def press(self, keys: str) -> None:
        self.seen = b""
        os.write(self._master, keys.encode())

    async def ended(self, limit_s: float = 10) -> int:
        with anyio.fail_after(limit_s):
            while self.process.poll() is None:
                self._read()
                await anyio.sleep(0.03)
        self._read()
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@asynccontextmanager
async def terminal(*options: str) -> AsyncIterator[Terminal]:
    opened = Terminal(*options)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="syncd-") as name:
        yield Path(name, "run", "s.sock")


async def test_it_waits_for_a_daemon_shows_it_survives_its_restart_and_detaches(socket_path: Path) -> None:
    api = Site()
    api.hold(("roll", *HOSTILE))
    async with terminal("--socket", str(socket_path)) as screen:
        await screen.until("No daemon answers")
        await screen.until("syncd run")
        async with serving(ControlServer(api, socket_path)):
            await screen.until("● live")
            screen.press("2")
            await screen.until("roll")
            await screen.until("\\x1b[31mred")
            screen.press("0")
            await screen.until("did roll")
        await screen.until("gone for")
        api.log(*range(len(api.items) + 1, len(api.items) + 3))
        async with serving(ControlServer(api, socket_path)):
            await screen.until("connected again")
            await screen.until("● live")
            screen.press("q")
            assert await screen.ended() == 0
            await screen.until("syncd keeps running")
    for raw in (ESCAPE.encode(), BIDI.encode(), "\x9b".encode(), b"\x9b2J"):
        assert raw not in screen.all, "a hostile name reached the terminal"
    assert screen.all.rstrip().count(b"\x1b[?1049l") == 1, "the terminal is as it was"


async def test_it_leaves_the_terminal_as_it_was_when_it_is_told_to_end(socket_path: Path) -> None:
    async with terminal("--socket", str(socket_path), "--ascii", "--no-mouse", "--theme", "light") as screen:
        await screen.until("No daemon answers")
        assert b"\x1b[?1000h" not in screen.all, "the mouse is left alone"
        assert screen.text().isascii()
        screen.process.send_signal(signal.SIGINT)
        await anyio.sleep(0.2)
        screen.press("q")
        assert await screen.ended() == 0
        assert b"\x1b[?1049l" in screen.all


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--config", "/nowhere/syncd.toml"], 78, "/nowhere/syncd.toml"),
        (["--pictures", "sixels"], 2, "invalid choice"),
        (["--help"], 0, "Leaving (q) does not stop syncd"),
    ],
)
async def test_wrong_use_is_said_before_the_screen_is_taken(options: list[str], code: int, says: str) -> None:
    async with terminal(*options) as screen:
        assert await screen.ended() == code
        assert says in screen.text()
        assert b"\x1b[?1049h" not in screen.all


def test_without_a_terminal_it_says_what_to_use() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui"], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert "syncctl status --watch" in done.stderr


def test_the_dashboard_loads_nothing_heavy_before_its_first_frame() -> None:
    code = (
        "import sys, tui.__main__, tui.app, tui.screens.overview\n"
        "heavy = {'httpx', 'aiohttp', 'PIL', 'numpy', 'boto3', 'botocore', 'structlog', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
