"""syncd-tui: the dashboard."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tui.asks import Feed

EXAMPLES = """\
examples:
  syncd-tui                              the daemon of ./syncd.toml, or of this machine
  syncd-tui --socket /run/syncd/syncd.sock
  syncd-tui --theme light --pictures off
  syncd-tui --ascii                      for terminals without line drawing

Leaving (q) does not stop syncd.
"""


def parser() -> argparse.ArgumentParser:
    """The options of syncd-tui."""
    made = argparse.ArgumentParser(
        prog="syncd-tui",
        description="The dashboard of a running syncd: attach and detach at will.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--socket", metavar="PATH", help="the daemon's socket (default: as syncd.toml says)")
    made.add_argument("--config", metavar="FILE", help="syncd.toml to find the socket with")
    made.add_argument("--ascii", action="store_true", help="draw with ASCII only (implies --pictures off)")
    made.add_argument(
        "--pictures", choices=("auto", "kitty", "blocks", "off"), default="auto",
        help="previews of photos: as the terminal can (auto), by kitty's protocol, of half blocks, or none",
    )  # fmt: skip
    made.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    made.add_argument("--theme", metavar="NAME", help="dark, light, or one of Textual's themes")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the dashboard until it is left; returns the exit code."""
    options = parser().parse_args(argv)
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        print("syncd-tui: needs a terminal; `syncctl status --watch` works without one", file=sys.stderr)
        return 2
    from syncd.errors import Fatal

    try:
        socket_path = find(options.socket, options.config)
    except Fatal as error:
        print(f"syncd-tui: {error}", *([f"  {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
        return error.exit_code
    from tui.app import Dashboard

    dashboard = Dashboard(
        lambda: make_feed(socket_path),
        ascii=options.ascii or not _speaks_utf8(),
        pictures=options.pictures != "off",
        kitty=options.pictures == "kitty" or (options.pictures == "auto" and _shows_pictures()),
        theme=options.theme,
    )
    dashboard.run(mouse=not options.no_mouse)
    return dashboard.return_code or 0


def find(socket: str | None, config: str | None) -> Path:
    """The socket: the one that was named, else where the configuration says. Raises Fatal (exit code 78)."""
    from pathlib import Path

    if socket:
        return Path(socket)
    from syncd.config_file import load_config
    from syncd.control.socket_path import find_socket

    return find_socket(load_config(config, secrets="skip"))


def make_feed(socket_path: Path) -> Feed:
    """The feed of the daemon there. Imported late: the first frame comes before the client is loaded."""
    from tui.feed import DaemonFeed

    return DaemonFeed(socket_path)


def _shows_pictures() -> bool:
    """Whether the terminal is known to show real pictures."""
    name = os.environ.get("TERM", "") + os.environ.get("TERM_PROGRAM", "").lower()
    if "kitty" not in name and "ghostty" not in name:
        return False  # without loading what asks
    from tui.widgets.kitty import ask_version, speaks_kitty

    return speaks_kitty(os.environ, ask_version)


def _speaks_utf8() -> bool:
    """Whether the terminal takes more than ASCII."""
    wanted = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "C.UTF-8"
    return "utf" in wanted.lower()


if __name__ == "__main__":
    sys.exit(main())
