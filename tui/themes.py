"""The two themes of the dashboard, and which one a terminal seems to want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Mapping

DARK = Theme(
    name="syncd-dark",
    primary="#6cb6d9", secondary="#8aa4c8", accent="#6cb6d9", warning="#e0af68", error="#e5737f",
    success="#86c98a", foreground="#d3d9e2", background="#12161c", surface="#161b22", panel="#1d242e",
    dark=True,
    variables={"quiet": "#8a95a5", "line": "#303a48", "cursor": "#25384a", "cursor-blurred": "#1d2733"},
)  # fmt: skip
LIGHT = Theme(
    name="syncd-light",
    primary="#1b6a94", secondary="#43608a", accent="#1b6a94", warning="#8a5a00", error="#b3261e",
    success="#26703a", foreground="#232a33", background="#fbfbf9", surface="#f5f5f2", panel="#ebece8",
    dark=False,
    variables={"quiet": "#626b77", "line": "#c9cdd2", "cursor": "#d3e5f0", "cursor-blurred": "#e6eef3"},
)  # fmt: skip
NAMES = {"dark": DARK.name, "light": LIGHT.name}


def defaults(foreground_quiet: str, line: str, cursor: str, cursor_blurred: str) -> dict[str, str]:
    """Our own variables, for themes that do not have them."""
    return {"quiet": foreground_quiet, "line": line, "cursor": cursor, "cursor-blurred": cursor_blurred}


def wanted(name: str | None, environ: Mapping[str, str]) -> str:
    """The theme to start with: the one asked for, else what COLORFGBG says of the terminal, else dark."""
    if name:
        return NAMES.get(name, name)
    ground = environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if ground in ("7", "15") else DARK.name
