"""Dialogs. Where something goes away, Cancel has the focus and the key that opened it does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input

from syncd.text import human_count, human_size
from tui.screens.guards import PLAN_COLUMNS, action_cells, action_rows, share
from tui.screens.jobs import wrapped
from tui.state import Keyed
from tui.widgets.lines import TONE_CLASSES, Lines
from tui.widgets.table import Column, VirtualTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult
    from textual.widget import Widget

    from syncd.control import schema
    from tui.look import Line
    from tui.state import State

T = TypeVar("T")


class Dialog(ModalScreen[T], Generic[T]):
    """A box over the screen; `esc` closes it without doing anything."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
        Binding("down,j", "read('cursor_down')", "Read on", show=False),
        Binding("up,k", "read('cursor_up')", "Read back", show=False),
        Binding("pagedown", "read('page_down')", "Read on by a page", show=False),
        Binding("pageup", "read('page_up')", "Read back by a page", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)
    AUTO_FOCUS = ""
    headline: str = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Content(self.headline)
            yield from self.body()

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    def on_mount(self) -> None:
        self.set_class(getattr(self.app, "ascii", False), "-ascii")
        self.filled()

    def filled(self) -> None:
        """The widgets are there: fill them and set the focus."""

    def action_close(self) -> None:
        self.dismiss(None)

    def action_read(self, move: str) -> None:
        """Moves in what would be done, wherever the focus is."""
        for plan in self.query("#plan").results(VirtualTable):
            getattr(plan, f"action_{move}")()

    def said(self, *lines: Line) -> Lines:
        """A block of lines."""
        block = Lines(classes="said")
        block.show(lines)
        return block

    def reason(self, text: str) -> tuple[Line, ...]:
        """A sentence in at most three lines that fit the box."""
        return tuple(((part, ""),) for part in wrapped(text, max(10, self.inside))[:3])

    @property
    def inside(self) -> int:
        """Cells of a line in the box, which app.tcss makes 90 wide, or 96 % of a narrower terminal."""
        return min(90, self.app.size.width * 96 // 100) - 6


class Withdrawal(Dialog[bool]):
    """What goes when a batch becomes private."""

    def __init__(self, batch: schema.Batch, page: schema.ScenePage) -> None:
        super().__init__()
        self.subject, self.page = batch, page
        self.headline = f"Withdraw {batch.name}?"

    def body(self) -> Iterable[Widget]:
        live = self.subject.live
        scenes = "1 scene goes" if live == 1 else f"{human_count(live)} scenes go"
        yield self.said(
            ((f"{scenes} from the public site.", "bold"),),
            (("Local files and the catalogue stay as they are.", "dim"),),
        )
        yield VirtualTable(
            (Column("Scene", 36, flex=2), Column("Key", 40, flex=3, drop=1)), _live_cells, id="plan",
            empty=((("  nothing of it is live", "dim"),),),
        )  # fmt: skip
        with Horizontal(id="buttons"):
            yield Button("Cancel", id="no", compact=True)
            yield Button(f"Withdraw {human_count(live)}", id="yes", variant="error", compact=True)

    def filled(self) -> None:
        rows = tuple(Keyed(scene.scene_id, scene) for scene in self.page.items)
        self.query_one("#plan", VirtualTable).show(rows)
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, message: Button.Pressed) -> None:
        self.dismiss(message.button.id == "yes")


def _live_cells(scene: schema.Scene) -> tuple[tuple[str, str], ...]:
    key = next((version.r2_key for version in scene.versions if version.r2_key), "")
    return (scene.scene_id, ""), (key or "", "dim")


class Approval(Dialog[str]):
    """Approves a guard by typing how many go. A plan that changes meanwhile is shown anew ("changed")."""

    def __init__(self, key: str, guard: schema.Guard) -> None:
        super().__init__()
        self.key, self.guard = key, guard
        self.headline = f"Approve {guard.id}?"

    def body(self) -> Iterable[Widget]:
        guard = self.guard
        of = f" of {human_count(guard.of)} ({share(guard)})" if guard.of else ""
        yield self.said(
            *self.reason(guard.reason),
            (
                (f"Removes {human_count(guard.count)}{of} from the site.", "bold"),
                (" Local files stay.", "dim"),
            ),
        )
        yield VirtualTable(PLAN_COLUMNS, action_cells, id="plan")
        yield self.said((("Type ", ""), (str(guard.count), "key"), (" to approve:", "")))
        yield Input(id="count", compact=True, max_length=12, select_on_focus=False)
        with Horizontal(id="buttons"):
            yield Button("Cancel", id="no", compact=True)
            yield Button("Approve", id="yes", variant="error", compact=True, disabled=True)

    def filled(self) -> None:
        self.query_one("#plan", VirtualTable).show(action_rows(self.guard.actions))
        self.query_one("#no", Button).focus()

    def follow(self, state: State) -> None:
        """The state changed under the dialog."""
        guard = state.guards.find(self.key)
        if guard is None or (guard.count, guard.actions) != (self.guard.count, self.guard.actions):
            self.dismiss("changed")

    @property
    def typed(self) -> bool:
        """The count was typed, with or without its commas."""
        return self.query_one("#count", Input).value.replace(",", "").strip() == str(self.guard.count)

    def on_input_changed(self, _message: Input.Changed) -> None:
        self.query_one("#yes", Button).disabled = not self.typed

    def on_input_submitted(self, _message: Input.Submitted) -> None:
        if self.typed:
            self.dismiss("approved")

    def on_key(self, event: Any) -> None:
        """A digit goes into the field wherever the focus is."""
        field = self.query_one("#count", Input)
        if event.character is not None and event.character.isdigit() and self.focused is not field:
            event.stop()
            field.focus()
            field.insert_text_at_cursor(event.character)

    def on_button_pressed(self, message: Button.Pressed) -> None:
        self.dismiss("approved" if message.button.id == "yes" and self.typed else None)


class StageChoice(Dialog[Keyed[str]]):
    """Which stage a batch publishes; the key "" is the best stage present."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "choose", "Choose", show=False)]

    def __init__(self, batch: schema.Batch, stages: Sequence[Keyed[str]]) -> None:
        super().__init__()
        self.subject = batch
        self.choices: tuple[Keyed[str], ...] = (Keyed("", ""), *stages)
        self.headline = f"Stage of {batch.name}"

    def body(self) -> Iterable[Widget]:
        yield self.said(
            (("Scenes without the chosen stage leave the site.", "dim"),),
        )
        yield VirtualTable((Column("", 1), Column("", 20, flex=1)), self._cells, header=False, id="choices")
        yield self.said((("enter", "key"), (" choose  ", "dim"), ("esc", "key"), (" cancel", "dim")))

    def _cells(self, name: str) -> tuple[tuple[str, str], ...]:
        glyphs = self.query_one(VirtualTable).glyphs
        now = name == (self.subject.source_directory or "")
        return (glyphs.ok if now else glyphs.off, "ok" if now else "dim"), (name or "best present", "")

    def filled(self) -> None:
        table = self.query_one("#choices", VirtualTable)
        table.show(self.choices)
        here = [
            n
            for n, choice in enumerate(self.choices)
            if choice.value == (self.subject.source_directory or "")
        ]
        table.move_to(here[0] if here else 0)
        table.styles.height = len(self.choices)
        table.focus()

    def action_choose(self) -> None:
        self.dismiss(self.query_one("#choices", VirtualTable).selected)

    def on_virtual_table_opened(self, _message: VirtualTable.Opened) -> None:
        self.action_choose()


class PlanView(Dialog[None]):
    """What a sync would do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,q", "close", "Close", show=False)]

    def __init__(self, name: str, report: schema.SyncReport) -> None:
        super().__init__()
        self.report = report
        self.headline = f"A sync of {name} would"

    def body(self) -> Iterable[Widget]:
        report = self.report
        counts = {
            word: sum(action.action == word for action in report.actions)
            for word in ("upload", "remove", "record")
        }
        words = ", ".join(f"{word} {human_count(number)}" for word, number in counts.items() if number)
        failed = f", {len(report.failed):,} cannot be done" if report.failed else ""
        yield self.said(
            (
                (words or "change nothing", "bold"),
                (f"  ({human_size(report.bytes)})", "dim"),
                (failed, "bad"),
            ),
        )
        yield VirtualTable(PLAN_COLUMNS, action_cells, id="plan", empty=((("  nothing to do", "dim"),),))
        yield self.said((("esc", "key"), (" close", "dim")))

    def filled(self) -> None:
        table = self.query_one("#plan", VirtualTable)
        table.show(action_rows(self.report.actions))
        table.focus()
