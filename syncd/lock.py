"""One syncd for one state folder: a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from syncd.errors import ExitCode, Fatal
from syncd.text import printable


class Lock:
    """A held lock; `release` it, leave it as a context manager, or die."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Lets go. Doing it twice is fine. The file stays: removing it would let two hold "the" lock."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def acquire_lock(state_dir: Path) -> Lock:
    """Takes `<state_dir>/lock`, in which the holder's process id stands. `state_dir` must exist.

    Programs started from here do not inherit it (O_CLOEXEC); a plain fork does, so workers must be spawned.
    Raises Fatal (exit 3) when another process holds it, Fatal (exit 78) when the file cannot be opened.
    """
    path = state_dir / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Fatal(
            f"{printable(str(path))} cannot be opened: {error.strerror or error}",
            hint="Check daemon.state_dir and that it belongs to the user who runs syncd.",
            exit_code=ExitCode.CONFIG,
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        who = f"process {holder}" if holder.isdecimal() else "another process"
        raise Fatal(
            f"{printable(str(state_dir))} is in use by {who}",
            hint="A daemon is running: `syncctl status` shows it, `syncctl sync` makes it sync now.",
            exit_code=ExitCode.UNAVAILABLE,
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise Fatal(
            f"{printable(str(path))} cannot be locked: {error.strerror or error}",
            hint="daemon.state_dir must be on a local disk.",
            exit_code=ExitCode.CONFIG,
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return Lock(descriptor)
