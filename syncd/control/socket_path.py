"""Where the control socket is: the daemon serves it, the programs look for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from syncd.config import Config

SERVICE_SOCKET = Path("/run/syncd/syncd.sock")
"""Where the systemd unit puts it."""


def default_socket_path(config: Config) -> Path:
    """The absolute path that the daemon of `config` serves: `daemon.socket`, else
    `$XDG_RUNTIME_DIR/syncd/syncd.sock`, else `<state_dir>/syncd.sock`."""
    base = config.path.parent if config.path else Path()
    if config.daemon.socket:
        return (base / Path(os.path.expandvars(config.daemon.socket)).expanduser()).absolute()
    if runtime_dir := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime_dir, "syncd", "syncd.sock").absolute()
    return (base / config.daemon.state_dir / "syncd.sock").absolute()


def find_socket(config: Config) -> Path:
    """Where a client should knock. A daemon that was started without this session's XDG_RUNTIME_DIR, by
    another user, or as a service has its socket elsewhere: the first place where there is one wins, else
    the default."""
    default = default_socket_path(config)
    if config.daemon.socket:
        return default
    return next((candidate for candidate in (default, *_elsewhere(config)) if _is_socket(candidate)), default)


def _elsewhere(config: Config) -> Iterator[Path]:
    base = config.path.parent if config.path else Path()
    state_dir = (base / config.daemon.state_dir).absolute()
    yield state_dir / "syncd.sock"
    with suppress(OSError):
        yield Path("/run/user", str(state_dir.stat().st_uid), "syncd", "syncd.sock")
    yield SERVICE_SOCKET


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:  # its folder is another user's
        return False
