"""Takes the pictures of the dashboard for the README: `python -m tests.tui.shoot SOCKET FOLDER [NAME]...`.

They show whatever the daemon at SOCKET has: `./dev demo --library`, and a list of the exchange. Textual's SVG
asks for a font from the web, which pages that show pictures do not load; ours names fonts that readers have.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

import anyio
from rich.cells import cell_len

from tui.app import Dashboard
from tui.feed import DaemonFeed

FONTS = "'Fira Code', 'DejaVu Sans Mono', 'Cascadia Mono', Menlo, Consolas, monospace"
SIZE = (112, 32)
CELL, ASCENT = (12.2, 24.4), 18.5
"""Of a cell in the picture, and of its top above the line that text stands on."""
TEXT = re.compile(r'<text class="(t-r\d+)" x="([^"]+)" y="([^"]+)"[^>]*>([^<]*)</text>')
PICTURES = {
    "overview": ("1",),
    "scenes": ("2", "enter", "j"),
    "review": ("5", "v", "j", "j"),
    "names": ("6", "j"),
    "exchange": ("7", "enter", "right"),
}
"""The keys that lead to each."""


def portable(svg: str) -> str:
    """The picture small, with fonts that are at hand, nothing that is fetched, and no blanks that a viewer
    may swallow."""
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    svg = re.sub(r"font-family:\s*[^;]+;", f"font-family: {FONTS};", svg)
    svg = re.sub(r"terminal-\d+-", "t-", svg)
    svg = re.sub(r"<clipPath id=\"t-line-.*?</clipPath>\s*", "", svg, flags=re.DOTALL)
    inks = dict(re.findall(r"\.(t-r\d+) \{ fill: (#\w+)", svg))
    svg = TEXT.sub(lambda found: _text(found, inks), svg)
    used = set(re.findall(r'class="(t-r\d+)"', svg))
    return re.sub(r"\.(t-r\d+) \{[^}]*\}\s*", lambda found: found[0] if found[1] in used else "", svg)


def _text(found: re.Match[str], inks: dict[str, str]) -> str:
    """A run of text from its first letter to its last; the upper half of a cell as what it is."""
    ink, x, y, raw = found.groups()
    said = raw.replace("&#160;", "\N{NO-BREAK SPACE}")
    blanks = len(said) - len(said.lstrip("\N{NO-BREAK SPACE}"))
    said = said.strip("\N{NO-BREAK SPACE}")
    left = float(x) + blanks * CELL[0]
    if said and not said.strip("▀"):
        return (
            f'<rect fill="{inks[ink]}" x="{left:g}" y="{float(y) - ASCENT:g}" width="{len(said) * CELL[0]:g}"'
            f' height="{CELL[1] / 2 + 0.2:g}" shape-rendering="crispEdges"/>'
        )
    length = cell_len(html.unescape(said)) * CELL[0]
    return f'<text class="{ink}" x="{left:g}" y="{y}" textLength="{length:g}">{said}</text>' if said else ""


async def shoot(socket_path: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Writes NAME.svg of each."""
    app = Dashboard(lambda: DaemonFeed(socket_path), theme="dark")
    async with app.run_test(size=SIZE) as pilot:
        with anyio.fail_after(10):
            while not app.state.live or not app.state.activity:
                await pilot.pause(0.1)
        await pilot.pause(6)  # rates and a sparkline take some time
        for name in names:
            for key in PICTURES[name]:
                await pilot.press(key)
                await pilot.pause(2)
            folder.joinpath(f"{name}.svg").write_text(portable(app.export_screenshot(title="syncd-tui")))
            await pilot.press("escape", "escape", "escape")


if __name__ == "__main__":
    anyio.run(shoot, Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:] or PICTURES))
