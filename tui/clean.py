"""What comes from the daemon is made printable, so that nothing behind can reach the terminal raw."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from syncd.errors import SyncdError
from syncd.text import printable
from tui.asks import AskFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


def clean(value: T) -> T:
    """`value` with every text in it printable; the very same object where nothing had to be escaped."""
    return cast("T", _clean(value))


def _clean(value: object) -> object:
    match value:
        case str():
            return printable(value)
        case msgspec.Struct():
            fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
            changed = {name: new for name, old in fields if (new := _clean(old)) is not old}
            return msgspec.structs.replace(value, **changed) if changed else value
        case list():
            items = [_clean(item) for item in value]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else items
        case dict():
            made = {_clean(name): _clean(item) for name, item in value.items()}
            return value if made == value else made
        case _:
            return value


async def asking(answer: Awaitable[T]) -> T:
    """The answer; AskFailed, printable, where the daemon refuses or is not there."""
    try:
        return await answer
    except SyncdError as error:
        raise AskFailed(printable(error.message), printable(error.hint or "")) from None
