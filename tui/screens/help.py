"""The keys that work on a screen, from the one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from tui import keys
from tui.screens.dialogs import Dialog
from tui.widgets.lines import fit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from tui.look import Line


def help_lines(mode: str) -> list[Line]:
    """Every key of a screen with its sentence, in groups."""
    title = next(m.title for m in (*keys.MODES, *keys.INNER) if m.name == mode)
    keyed = keys.keys_for(mode)
    groups = (
        (title, [key for key in keyed if key.scope in (mode, "list")]),
        ("Moving", [key for key in keys.KEYS if key.scope == "move"]),
        ("Everywhere", [key for key in keyed if key.scope == "all"]),
    )
    lines: list[Line] = []
    for name, members in groups:
        lines += [((name, "bold"),)]
        lines += [((f"  {fit(key.shown, 8)}", "key"), (key.help, "")) for key in members]
        lines.append(())
    lines += [
        (("tab", "key"), (" moves between lists.  A click selects, a second opens.", "dim")),
        (("shift+drag", "key"), (" selects text as your terminal does.", "dim")),
        (("Leaving does not stop syncd: it runs on without the dashboard.", "dim"),),
    ]
    return lines


class HelpView(Dialog[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1,q,enter", "close", "Close", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.headline = "Keys"

    def body(self) -> Iterable[Widget]:
        yield VerticalScroll(self.said(*help_lines(self.mode)), id="keys")

    def filled(self) -> None:
        # On the frame it is seen however long the list is.
        self.query_one("#box").border_subtitle = Content("esc close")
        self.query_one("#keys").focus()

    def action_scroll(self, by: int) -> None:
        self.query_one("#keys").scroll_relative(y=by, animate=False)
