"""docs/dashboard.md lists the keys as the table has them (SYNCD_UPDATE_GOLDEN=1 writes them)."""

from __future__ import annotations

import os
from pathlib import Path

from tui import keys

PAGE = Path(__file__).parents[2] / "docs" / "dashboard.md"
BEGIN, END = "<!-- keys: made from tui/keys.py -->\n", "<!-- end of keys -->\n"
SCOPES = {
    "all": "Everywhere",
    "move": "In every list",
    "list": "On every screen with a list",
}


def table() -> str:
    """The keys in Markdown, by screen."""
    titles = {**SCOPES, **{mode.name: mode.title for mode in (*keys.MODES, *keys.INNER)}}
    lines: list[str] = []
    for scope, title in titles.items():
        members = [key for key in keys.KEYS if key.scope == scope]
        lines += [f"### {title}", "", "| key | |", "|---|---|"]
        lines += [
            f"| {' '.join(f'`{name}`' for name in key.shown.split())} | {key.help} |" for key in members
        ]
        lines.append("")
    return "\n".join(lines)


def test_the_page_lists_the_keys_that_there_are() -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    whole = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if os.environ.get("SYNCD_UPDATE_GOLDEN"):
        PAGE.write_text(whole)
    assert page == whole or PAGE.read_text() == whole
