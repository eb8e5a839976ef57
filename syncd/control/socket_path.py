"""Where the control socket is: the daemon serves it, the programs look for it."""

from __future__ import annotations

import os
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
    """Where a client should knock. A daemon that was started without this session's XDG_RUNTIME_DIR, or as
    a service, has its socket elsewhere: the first place where there is one wins, else the default."""
    default = default_socket_path(config)
    if config.daemon.socket:
        return default
    base = config.path.parent if config.path else Path()
    for candidate in (default, (base / config.daemon.state_dir / "syncd.sock").absolute(), SERVICE_SOCKET):
        try:
            if candidate.is_socket():
                return candidate
        except PermissionError:  # its folder is another user's
            continue
    return default
