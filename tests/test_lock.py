"""One syncd for one state folder, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.errors import ExitCode, Fatal
from syncd.lock import acquire_lock

HOLD = """
import sys, subprocess
from pathlib import Path
from syncd.lock import acquire_lock
lock = acquire_lock(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "30"], close_fds=False, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_held_lock_names_its_holder_and_the_next_step(tmp_path: Path) -> None:
    with acquire_lock(tmp_path):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
        with pytest.raises(Fatal) as caught:
            acquire_lock(tmp_path)
        assert f"process {os.getpid()}" in str(caught.value)
        assert caught.value.exit_code == ExitCode.UNAVAILABLE
        assert "syncctl status" in (caught.value.hint or "")
    acquire_lock(tmp_path).release()


def test_releasing_twice_is_fine(tmp_path: Path) -> None:
    lock = acquire_lock(tmp_path)
    lock.release()
    other = acquire_lock(tmp_path)
    lock.release()
    with pytest.raises(Fatal):
        acquire_lock(tmp_path)
    other.release()


def test_a_killed_holder_lets_go_though_its_children_live(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(Fatal, match=f"in use by process {holder.pid}"):
                acquire_lock(tmp_path)
            holder.kill()
            holder.wait()
            assert Path(f"/proc/{child}").exists()
            acquire_lock(tmp_path).release()
        finally:
            subprocess.run(["kill", str(child)], check=False)


def test_a_lock_that_cannot_be_made_is_a_wrong_configuration(tmp_path: Path) -> None:
    with pytest.raises(Fatal) as caught:
        acquire_lock(tmp_path / "none")
    assert caught.value.exit_code == ExitCode.CONFIG
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(Fatal):
        acquire_lock(tmp_path)
    assert not (tmp_path / "victim").exists()
