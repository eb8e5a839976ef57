"""The control socket in the file system: whose it is, who may open it, and that it is never two daemons'."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import stat
from pathlib import Path

from syncd.errors import ExitCode, Fatal

logger = logging.getLogger(__name__)

PATH_LIMIT_BYTES = 107  # sun_path of unix(7), without its NUL
BACKLOG = 128


class Listener:
    """A bound and listening Unix socket at `path`, 0600, or 0660 of group `group_gid`.

    A lock beside it (`<path>.lock`) is held as long as it is open, so that two daemons with different
    state folders cannot take the same socket from each other; the kernel drops it when the daemon dies.
    """

    def __init__(self, path: Path, group_gid: int | None = None) -> None:
        self.path = path
        if len(os.fsencode(path)) > PATH_LIMIT_BYTES:
            raise _refuse(
                f"the socket's path is longer than the {PATH_LIMIT_BYTES} bytes the system allows: {path}",
                hint="set daemon.socket to a shorter path",
            )
        mode = 0o600 if group_gid is None else 0o660
        try:
            _prepare_folder(path, group_gid)
            self._lock = _lock(path)
            try:
                _remove_stale(path)
                self.socket = _bind(path, mode, group_gid)
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise Fatal(
                f"cannot make the socket {path}: {error.strerror or error}",
                hint="set daemon.socket to a path in a folder that this user may write to",
            ) from error
        self._identity = _identity(path)

    def close(self) -> None:
        """Stops listening and removes the socket, unless somebody has put another in its place."""
        self.socket.close()
        if _identity(self.path) == self._identity:
            self.path.unlink(missing_ok=True)
        os.close(self._lock)


def _refuse(message: str, *, hint: str | None = None, exit_code: ExitCode = ExitCode.CONFIG) -> Fatal:
    return Fatal(message, hint=hint, exit_code=exit_code)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _prepare_folder(path: Path, group_gid: int | None) -> None:
    """Makes the socket's folder 0700, or 0750 of the group. One that holds other things (a home, /run, the
    state folder) keeps its modes: the socket's own are what protects it there."""
    folder = path.parent
    mode = 0o700 if group_gid is None else 0o750
    if not folder.exists():
        for parent in reversed(folder.parents):
            if not parent.exists():
                parent.mkdir()
                parent.chmod(0o755)
        folder.mkdir(mode=0o700)
    elif folder.stat().st_uid != os.geteuid() or not _is_ours_alone(path):
        if group_gid is not None and not folder.stat().st_mode & 0o011:
            logger.warning(
                "members of daemon.socket_group cannot enter %s: set daemon.socket to a folder of its own",
                folder,
            )
        return
    if group_gid is not None:
        _give_to_group(folder, group_gid)
    folder.chmod(mode)


def _is_ours_alone(path: Path) -> bool:
    return {entry.name for entry in path.parent.iterdir()} <= {path.name, _lock_path(path).name}


def _give_to_group(path: Path, group_gid: int) -> None:
    try:
        os.chown(path, -1, group_gid, follow_symlinks=False)
    except PermissionError:
        raise _refuse(
            f"daemon.socket_group: this user may not give {path} to group {group_gid}",
            hint="make the daemon's user a member of the group (SupplementaryGroups= in the unit)",
        ) from None


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _lock(path: Path) -> int:
    descriptor = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _refuse(
            f"another syncd serves {path}",
            hint="stop it, or set daemon.socket to another path",
            exit_code=ExitCode.UNAVAILABLE,
        ) from None
    return descriptor


def _remove_stale(path: Path) -> None:
    """What a killed daemon left. Anything but a socket was put there by somebody else, and stays."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _refuse(
            f"{path} is in the way: it is not a socket", hint="move it, or set daemon.socket to another path"
        )
    path.unlink()


def _bind(path: Path, mode: int, group_gid: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file is made with the socket's own mode, less the umask: never wider than 0600, at no moment.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(path))
        if group_gid is not None:
            _give_to_group(path, group_gid)
        path.chmod(mode)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
