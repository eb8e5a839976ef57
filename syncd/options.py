"""Kinds of values that the commands take. A text that is empty comes from a variable that is not set, and
names nothing: taken for a path, it would be the working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class FilledText(click.types.StringParamType):
    """A text that is not blank."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if not text.strip():
            self.fail("it is empty.", param, ctx)
        return text


class FilledPath(click.Path):
    """A path that is not empty, as a pathlib.Path."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("expected a path, found an empty text", param, ctx)
        return super().convert(value, param, ctx)
