"""Lists of the daemon come in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PAGE = 500


class Page(Protocol[T_co]):
    @property
    def items(self) -> Sequence[T_co]: ...
    @property
    def next_cursor(self) -> str | None: ...


async def pages(ask: Callable[[str | None], Awaitable[Page[T]]], wanted: int) -> tuple[list[T], bool]:
    """Rows of as many pages as give `wanted` of them, and whether there are more."""
    rows: list[T] = []
    cursor: str | None = None
    while True:
        page = await ask(cursor)
        rows += page.items
        cursor = page.next_cursor
        if cursor is None or len(rows) >= wanted:
            return rows, cursor is not None
