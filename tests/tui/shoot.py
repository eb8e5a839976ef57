"""Takes the pictures of the dashboard for the README: `python -m tests.tui.shoot SOCKET FOLDER`.

They show whatever the daemon at SOCKET has. Textual's SVG asks for a font from the web, which pages that show
pictures do not load; ours names fonts that readers have.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio

from tui.app import Dashboard
from tui.feed import DaemonFeed

FONTS = "'Fira Code', 'DejaVu Sans Mono', 'Cascadia Mono', Menlo, Consolas, monospace"
SIZE = (112, 32)


def portable(svg: str) -> str:
    """The picture with fonts that are at hand, and nothing that is fetched."""
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    return re.sub(r"font-family:\s*[^;]+;", f"font-family: {FONTS};", svg)


async def shoot(socket_path: Path, folder: Path) -> None:
    """Writes overview.svg and scenes.svg."""
    app = Dashboard(lambda: DaemonFeed(socket_path), theme="dark")
    async with app.run_test(size=SIZE) as pilot:
        with anyio.fail_after(10):
            while not app.state.live or not app.state.activity:
                await pilot.pause(0.1)
        await pilot.pause(6)
        folder.joinpath("overview.svg").write_text(portable(app.export_screenshot(title="syncd-tui")))
        await pilot.press("2")
        await pilot.pause(1)
        await pilot.press("enter")
        await pilot.pause(2)
        await pilot.press("j")
        await pilot.pause(2)
        folder.joinpath("scenes.svg").write_text(portable(app.export_screenshot(title="syncd-tui")))


if __name__ == "__main__":
    anyio.run(shoot, Path(sys.argv[1]), Path(sys.argv[2]))
