"""Dialogs about people: the picture that shows one, and forgetting one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from textual.containers import Horizontal
from textual.widgets import Button, Input

from syncd.text import human_count, printable
from tui.asks import AskFailed
from tui.screens.dialogs import Dialog
from tui.screens.photos import FOUND_COLUMNS, found_cells
from tui.widgets.lines import Lines
from tui.widgets.table import VirtualTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from tui.asks import Found

LARGEST_BYTES = 64 << 20
WORD = "forget"


def path_of(typed: str) -> Path:
    """The file that is meant: as it was typed, or as terminals paste what is dropped on them (quoted, with
    backslashes, or as an address)."""
    text = typed.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    if "\\" in text and not os.path.lexists(text):
        text = text.replace("\\", "")
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises on ~nobody


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def file_name(typed: str) -> str:
    """Its name, printable."""
    return printable(path_of(typed).name)


def read_picture(typed: str) -> bytes:
    """The bytes of the file. Raises AskFailed with what is wrong."""
    path = path_of(typed)
    shown = printable(str(path))
    try:
        # A pipe would have us wait for ever.
        with open(path, "rb", opener=_at_once) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise AskFailed(f"{shown} is not a file", "name one picture")
            if facts.st_size > LARGEST_BYTES:
                raise AskFailed(f"{shown} is larger than 64 MB", "a smaller picture does as well")
            content = file.read(LARGEST_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AskFailed(f"{shown}: {reason}") from None
    if not content:
        raise AskFailed(f"{shown} is empty")
    return content


class WhichPicture(Dialog[str | None]):
    """Asks for the path of a picture; says what was wrong with the one before."""

    def __init__(self, headline: str, path: str, wrong: AskFailed) -> None:
        super().__init__()
        self.headline, self.path, self.wrong = headline, path, wrong

    def body(self) -> Iterable[Widget]:
        yield self.said((("A picture with the face, on this machine; only the daemon sees it.", "dim"),), ())
        yield Input(
            self.path, placeholder="path, such as ~/me.jpg", id="path", compact=True, select_on_focus=False
        )
        yield Lines(classes="said", id="wrong")
        yield self.said((("enter", "key"), (" look  ", "dim"), ("esc", "key"), (" cancel", "dim")))

    def filled(self) -> None:
        reasons = (
            [*self.reason(self.wrong.detail), *self.reason(self.wrong.hint)] if self.wrong.detail else []
        )
        lines = self.query_one("#wrong", Lines)
        lines.show([(), *(((text, "bad"),) for ((text, _),) in reasons), ()])
        self.query_one("#path", Input).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.value.strip():
            self.dismiss(message.value)


class Forgetting(Dialog[bool]):
    """Which photos lose a person; it takes the typed word."""

    def __init__(self, event: str, picture: str, found: Found) -> None:
        super().__init__()
        self.event_name, self.picture, self.found = event, picture, found
        self.headline = f"Forget who is on {picture}?"

    def body(self) -> Iterable[Widget]:
        number = len(self.found.rows)
        more = "more than " if self.found.more else ""
        photos = "1 photo" if number == 1 else f"{more}{human_count(number)} photos"
        words = f"This person is found on {photos} of {self.event_name}."
        if not number:
            words = f"Nobody like this is found in {self.event_name}."
        yield self.said(
            ((words, "bold"),),
            (("Their faces go for good, and stay out of photos that come later.", ""),),
            (("The photos themselves stay.", "dim"),),
        )
        yield VirtualTable(FOUND_COLUMNS, found_cells, id="plan", empty=((("  no photo", "dim"),),))
        yield self.said((("Type ", ""), (WORD, "key"), (" to forget this person:", "")))
        yield Input(id="count", compact=True, max_length=12, select_on_focus=False)
        with Horizontal(id="buttons"):
            yield Button("Cancel", id="no", compact=True)
            yield Button("Forget", id="yes", variant="error", compact=True, disabled=True)

    def filled(self) -> None:
        self.query_one("#plan", VirtualTable).show(self.found.rows)
        self.query_one("#no", Button).focus()

    @property
    def typed(self) -> bool:
        return self.query_one("#count", Input).value.strip().casefold() == WORD

    def on_input_changed(self, _message: Input.Changed) -> None:
        self.query_one("#yes", Button).disabled = not self.typed

    def on_input_submitted(self, _message: Input.Submitted) -> None:
        if self.typed:
            self.dismiss(True)

    def on_key(self, event: Any) -> None:
        """A letter of the word goes into the field wherever the focus is."""
        field = self.query_one("#count", Input)
        if event.character is not None and event.character in WORD and self.focused is not field:
            event.stop()
            field.focus()
            field.insert_text_at_cursor(event.character)

    def on_button_pressed(self, message: Button.Pressed) -> None:
        self.dismiss(message.button.id == "yes" and self.typed)
