"""The table: its cursor and marks hold rows, not places, and it draws only what is seen."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App
from textual.screen import Screen

from tui.look import ASCII, UNICODE, chart, spark
from tui.state import Keyed
from tui.widgets.lines import TONE_CLASSES, fit
from tui.widgets.table import Column, VirtualTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from textual.app import ComposeResult
    from textual.pilot import Pilot


class TonedScreen(Screen[None]):
    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)


class Rows(App[None]):
    CSS_PATH = "../../tui/app.tcss"
    glyphs = UNICODE

    def get_default_screen(self) -> TonedScreen:
        return TonedScreen()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"quiet": "#888888", "line": "#444444", "cursor": "#003366", "cursor-blurred": "#002244"}

    def compose(self) -> ComposeResult:
        self.drawn: list[str] = []
        yield VirtualTable((Column("Name", 10, flex=1), Column("Size", 6, "right", drop=1)), self.cells)

    def cells(self, value: str) -> tuple[tuple[str, str], ...]:
        self.drawn.append(value)
        return (value, ""), (str(len(value)), "dim")


class Shown(NamedTuple):
    app: Rows
    table: VirtualTable
    pilot: Pilot[None]

    async def show(self, names: Iterable[str]) -> None:
        self.table.show(rows(names))
        await self.pilot.pause()


def rows(names: Iterable[str]) -> tuple[Keyed[str], ...]:
    return tuple(Keyed(name, name) for name in names)


@asynccontextmanager
async def shown(names: Iterable[str]) -> AsyncIterator[Shown]:
    app = Rows()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(VirtualTable)
        table.focus()
        table.show(rows(names))
        await pilot.pause()
        yield Shown(app, table, pilot)


LETTERS = list("abcdefgh")


async def test_the_cursor_stays_on_its_row_when_others_come_and_go() -> None:
    async with shown(LETTERS) as s:
        await s.pilot.press("down", "down")
        assert s.table.cursor == "c"
        await s.show(["new", *LETTERS])
        assert (s.table.cursor, s.table.position) == ("c", 3)
        await s.show(reversed(LETTERS))
        assert (s.table.cursor, s.table.position) == ("c", 5)
        await s.show(["c"])
        assert (s.table.cursor, s.table.position) == ("c", 0)


async def test_a_row_that_goes_away_leaves_the_cursor_holding_nothing() -> None:
    async with shown(LETTERS) as s:
        await s.pilot.press("down", "down")
        await s.show([name for name in LETTERS if name != "c"])
        assert s.table.selected is None, "no action may reach the row that moved up under the finger"
        assert s.table.position == 2
        await s.pilot.press("down")
        assert s.table.cursor == "d", "the next move picks up the row that is there"
        await s.show([name for name in LETTERS if name not in "cd"])
        await s.show(LETTERS)
        assert s.table.selected is None, "coming back does not make it chosen again"


async def test_marks_hold_rows_and_go_with_them() -> None:
    async with shown(LETTERS) as s:
        s.table.toggle_mark()
        s.table.toggle_mark()
        await s.show(reversed(LETTERS))
        assert s.table.marks == {"a", "b"}
        await s.show([name for name in LETTERS if name != "a"])
        assert s.table.marks == {"b"}
        await s.show(LETTERS)
        assert s.table.marks == {"b"}


@given(
    st.lists(st.sampled_from(["insert", "delete", "sort", "down", "up", "last"]), max_size=25), st.randoms()
)
def test_the_selected_row_is_the_one_that_was_chosen(steps: list[str], random: object) -> None:
    """By any path: what is selected is what a move chose last, or nothing."""
    from random import Random

    assert isinstance(random, Random)
    app = Rows()
    table = VirtualTable((Column("Name", 10),), lambda value: ((value, ""),))
    table.post_message = lambda message: True  # type: ignore[method-assign]
    table.refresh = lambda *a, **k: table  # type: ignore[method-assign]
    table._measure = lambda: None  # type: ignore[method-assign]
    table.scroll_to = lambda *a, **k: None  # type: ignore[method-assign]
    table.call_after_refresh = lambda *a, **k: True  # type: ignore[method-assign]
    assert app is not None
    names = list(LETTERS)
    table.show(rows(names))
    chosen: str | None = "a"
    for number, step in enumerate(steps):
        if step == "insert":
            names.insert(random.randint(0, len(names)), f"new{number}")
        elif step == "delete" and len(names) > 1:
            gone = names.pop(random.randrange(len(names)))
            chosen = None if gone == chosen else chosen
        elif step == "sort":
            random.shuffle(names)
        elif step in ("down", "up", "last"):
            {"down": table.action_cursor_down, "up": table.action_cursor_up, "last": table.action_last}[
                step
            ]()
            chosen = table.cursor
            assert chosen is not None
        table.show(rows(names))
        assert (table.selected.key if table.selected else None) == chosen
        if chosen is not None:
            assert table.rows[table.position].key == chosen


async def test_twenty_thousand_rows_draw_only_what_is_seen() -> None:
    names = [f"IMG_{number:05}" for number in range(20_000)]
    async with shown(names) as s:
        assert len(s.app.drawn) <= 2 * 12
        s.app.drawn.clear()
        await s.pilot.press("down")
        assert len(s.app.drawn) <= 2, "a move draws the row that it left and the one that it came to"
        s.app.drawn.clear()
        await s.pilot.press("G")
        assert s.table.cursor == names[-1]
        assert len(s.app.drawn) <= 2 * 12
        s.app.drawn.clear()
        fresh = rows(names)
        same = tuple(
            old if number % 2 else new
            for number, (old, new) in enumerate(zip(s.table.rows, fresh, strict=True))
        )
        s.table.show(same)
        await s.pilot.pause()
        assert len(s.app.drawn) <= 2 * 12


async def test_columns_go_by_priority_when_there_is_no_room() -> None:
    table = VirtualTable(
        (Column("A", 10, flex=1), Column("B", 10, drop=2), Column("C", 10, drop=1)),
        lambda value: ((value, ""),) * 3,
    )
    assert [number for number, _ in table.layout_columns(60)] == [0, 1, 2]
    assert [number for number, _ in table.layout_columns(30)] == [0, 2]
    assert [number for number, _ in table.layout_columns(15)] == [0]
    assert [number for number, _ in table.layout_columns(2)] == [0]
    assert sum(column.width + 2 for _, column in table.layout_columns(60)) + 1 == 60


@given(st.text(max_size=30), st.integers(0, 30), st.sampled_from(["left", "right"]))
def test_a_cell_is_as_wide_as_it_should_be(text: str, width: int, align: str) -> None:
    from rich.cells import cell_len

    from syncd.text import printable

    assert cell_len(fit(printable(text), width, align)) == width


def test_wide_characters_are_cut_between_cells() -> None:
    assert fit("日本語", 5) == "日本…"
    assert fit("日本語", 4) == "日 …"
    assert fit("日本語", 6) == "日本語"


@given(st.lists(st.floats(0, 1e9), max_size=50).map(tuple), st.integers(1, 40), st.integers(1, 5))
def test_charts_fill_their_place(values: tuple[float, ...], width: int, height: int) -> None:
    for glyphs in (UNICODE, ASCII):
        assert len(spark(values, width, glyphs)) == width
        lines = chart(values, width, height, glyphs)
        assert [len(line) for line in lines] == [width] * height
