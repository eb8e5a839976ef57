"""The unit as systemd reads it, and what the daemon tells systemd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import anyio
import pytest

from syncd.errors import ExitCode
from syncd.notify import Notifier
from syncd.signals import heed_signals

SYSTEMD = Path(__file__).parent.parent / "systemd"
UNIT = SYSTEMD / "syncd.service"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_exit_codes_that_need_a_person_do_not_restart() -> None:
    unit = settings()
    codes = {int(code) for code in unit["RestartPreventExitStatus"][0].split()}
    assert codes == {ExitCode.USAGE, ExitCode.UNAVAILABLE, ExitCode.CONFIG}
    assert unit["Restart"] == ["on-failure"]
    assert ExitCode.FAILED not in codes
    assert "SuccessExitStatus" not in unit


def test_the_unit_runs_the_daemon_with_readiness_and_watchdog() -> None:
    unit = settings()
    assert unit["Type"] == ["notify"] and int(unit["WatchdogSec"][0]) > 0
    assert unit["ExecStart"][0].endswith("syncd run --config /etc/syncd/syncd.toml")
    assert "-HUP $MAINPID" in unit["ExecReload"][0]
    assert int(unit["TimeoutStopSec"][0]) > 10
    assert unit["StateDirectoryMode"] == ["0700"] and unit["RuntimeDirectoryMode"] == ["0750"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize(
    "command", [["security", "--offline=true", "--no-pager", "--threshold=15"], ["verify"]]
)
def test_systemd_finds_the_unit_clean_and_well_locked_up(command: list[str]) -> None:
    done = subprocess.run(
        ["systemd-analyze", *command, str(UNIT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd here")
def test_the_user_and_its_group_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "syncd.sysusers")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    groups = (tmp_path / "etc/group").read_text().splitlines()
    assert any(line.startswith("syncd-ctl:") and line.endswith(":syncd") for line in groups)
    assert (tmp_path / "etc/passwd").read_text().startswith("syncd:")


def listen(address: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.bind(address)
    line.settimeout(5)
    return line


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_arrive(tmp_path: Path, abstract: bool) -> None:
    name = f"@syncd-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with listen(name.replace("@", "\0", 1) if abstract else name) as line:
        notifier = Notifier({"NOTIFY_SOCKET": name})
        assert notifier.ready("3 services\nX=1")
        assert line.recv(1000) == b"READY=1\nSTATUS=3 services\\x0aX=1"
        assert notifier.reloading()
        first, second = line.recv(1000).decode().splitlines()
        assert first == "RELOADING=1" and int(second.removeprefix("MONOTONIC_USEC=")) > 0
        assert notifier.stopping() and line.recv(1000) == b"STOPPING=1"
        assert notifier.status("idle") and line.recv(1000) == b"STATUS=idle"


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "vsock:2"}, {"NOTIFY_SOCKET": str(tmp_path / "none")}):
        assert not Notifier(environment).ready()
    assert Notifier({"WATCHDOG_USEC": "1000000"}).watchdog_s is None


async def test_the_watchdog_is_fed_twice_a_period(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with listen(name) as line:
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
        with anyio.move_on_after(0.33):
            await Notifier(environment).watchdog()
        line.setblocking(False)
        count = 0
        while True:
            try:
                assert line.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                break
            count += 1
        assert 4 <= count <= 8
        with anyio.fail_after(1):
            await Notifier({**environment, "WATCHDOG_PID": "1"}).watchdog()
            await Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "soon"}).watchdog()


async def test_signals_stop_reload_and_hurry() -> None:
    heard: list[str] = []

    async def until(count: int) -> None:
        with anyio.fail_after(5):
            while len(heard) < count:
                await anyio.sleep(0.005)

    async with anyio.create_task_group() as group:
        group.start_soon(
            heed_signals,
            lambda name: heard.append(f"stop {name}"),
            lambda: heard.append("reload"),
            lambda name: heard.append(f"hurry {name}"),
        )
        await anyio.sleep(0.05)
        for number, count in ((signal.SIGHUP, 1), (signal.SIGTERM, 2), (signal.SIGINT, 3)):
            os.kill(os.getpid(), number)
            await until(count)
        group.cancel_scope.cancel()
    assert heard == ["reload", "stop SIGTERM", "hurry SIGINT"]
