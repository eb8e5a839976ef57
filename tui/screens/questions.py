"""Dialogs that ask: for words, for a yes, and for what a photo or an album shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Input, TextArea

from tui.asks import AskFailed
from tui.screens.dialogs import Dialog
from tui.widgets.lines import Lines
from tui.widgets.table import VirtualTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from textual.widget import Widget

    from tui.look import Line
    from tui.state import Keyed
    from tui.widgets.table import Cells, Column


class Question(Dialog[bool]):
    """Says what would happen, in a sentence and in rows; Cancel has the focus."""

    def __init__(
        self,
        headline: str,
        text: str,
        yes: str,
        *,
        more: str = "",
        columns: Sequence[Column] = (),
        cells: Callable[[Any], Cells] | None = None,
        rows: tuple[Keyed[Any], ...] = (),
    ) -> None:
        super().__init__()
        self.headline, self.text, self.yes, self.more = headline, text, yes, more
        self.columns, self.cells, self.rows = columns, cells, rows

    def body(self) -> Iterable[Widget]:
        lines = [((part, "bold"),) for ((part, _),) in self.reason(self.text)]
        yield self.said(*lines, *([((self.more, "dim"),)] if self.more else []))
        if self.cells is not None:
            yield VirtualTable(self.columns, self.cells, id="plan", empty=((("  nothing", "dim"),),))
        with Horizontal(id="buttons"):
            yield Button("Cancel", id="no", compact=True)
            if self.yes:
                yield Button(self.yes, id="yes", variant="primary", compact=True)

    def filled(self) -> None:
        for plan in self.query("#plan").results(VirtualTable):
            plan.show(self.rows)
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, message: Button.Pressed) -> None:
        self.dismiss(message.button.id == "yes")


class WhichWords(Dialog[str | None]):
    """Asks for a line of text; says what was wrong with the one before."""

    def __init__(
        self,
        headline: str,
        *,
        hint: str,
        example: str,
        does: str,
        text: str = "",
        wrong: AskFailed | None = None,
    ) -> None:
        super().__init__()
        self.headline, self.hint, self.example, self.does = headline, hint, example, does
        self.text, self.wrong = text, wrong or AskFailed("")

    def body(self) -> Iterable[Widget]:
        yield self.said(*(((part, "dim"),) for ((part, _),) in self.reason(self.hint)), ())
        yield Input(self.text, placeholder=self.example, id="path", compact=True, select_on_focus=False)
        yield Lines(classes="said", id="wrong")
        yield self.said((("enter", "key"), (f" {self.does}  ", "dim"), ("esc", "key"), (" cancel", "dim")))

    def filled(self) -> None:
        wrong = self.wrong
        reasons = [*self.reason(wrong.detail), *self.reason(wrong.hint)] if wrong.detail else []
        lines = self.query_one("#wrong", Lines)
        lines.show([(), *(((text, "bad"),) for ((text, _),) in reasons), *([()] if reasons else [])])
        self.query_one("#path", Input).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.value.strip():
            self.dismiss(message.value.strip())


class EditWords(Dialog[tuple[str, ...] | None]):
    """Fields with a label each; the first one may be long, and then has several lines."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Save", show=False, priority=True)]

    def __init__(
        self,
        headline: str,
        about: Sequence[Line],
        fields: Sequence[tuple[str, str, str]],
        *,
        long: bool = False,
    ) -> None:
        """`fields` are (label, text, example)."""
        super().__init__()
        self.headline, self.about, self.fields, self.long = headline, about, fields, long

    def body(self) -> Iterable[Widget]:
        if self.about:
            yield self.said(*self.about, ())
        for number, (label, text, example) in enumerate(self.fields):
            yield self.said(((label, "dim"),))
            if self.long and number == 0:
                yield TextArea(
                    text, id="description", compact=True, soft_wrap=True, tab_behavior="focus",
                    show_line_numbers=False, highlight_cursor_line=False,
                )  # fmt: skip
            else:
                yield Input(
                    text, placeholder=example, id=f"field-{number}", classes="field", compact=True,
                    select_on_focus=False,
                )  # fmt: skip
        with Horizontal(id="buttons"):
            yield Button("Cancel", id="no", compact=True)
            yield Button("Save (ctrl+s)", id="yes", variant="primary", compact=True)

    def filled(self) -> None:
        first = "#description" if self.long else "#field-0"
        self.query_one(first).focus()
        if self.long:
            area = self.query_one("#description", TextArea)
            area.move_cursor(area.document.end)

    def action_save(self) -> None:
        texts = [self.query_one("#description", TextArea).text] if self.long else []
        inputs = (self.query_one(f"#field-{n}", Input).value for n in range(len(texts), len(self.fields)))
        self.dismiss((*texts, *inputs))

    def on_input_submitted(self, _message: Input.Submitted) -> None:
        self.action_save()

    def on_button_pressed(self, message: Button.Pressed) -> None:
        if message.button.id == "yes":
            self.action_save()
        else:
            self.dismiss(None)


def listed(text: str) -> tuple[str, ...]:
    """`a, b` as ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
