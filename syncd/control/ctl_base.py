"""What all commands of syncctl share: global options anywhere, the client, and one way to answer."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from syncd.errors import ExitCode, Refused, SyncdError
from syncd.options import FilledPath

if TYPE_CHECKING:
    import msgspec

    from syncd.control.client import ControlClient
    from syncd.control.render import Look

T = TypeVar("T")

SYNC_EXITS = {"done": ExitCode.DONE, "partial": ExitCode.PARTIAL, "refused": ExitCode.GUARDED}
"""Exit codes of the states that a sync or job can end in; every other one is FAILED."""

UNFINISHED = ("queued", "running", "waiting")
PAGE = 1000
"""Items asked for at a time."""
PICTURE_LIMIT_BYTES = 64 << 20
"""What the daemon takes at most."""


@dataclass
class Ctl:
    """The global options, and what is done with them."""

    json: bool = False
    socket: Path | None = None
    config: Path | None = None

    def ask(self, question: Callable[[ControlClient], Awaitable[T]]) -> T:
        """Runs `question` with a client of the daemon."""
        import anyio

        from syncd.control.client import ControlClient

        async def main() -> T:
            async with ControlClient(self.socket_path()) as client:
                return await question(client)

        return anyio.run(main)

    def socket_path(self) -> Path:
        """Where the daemon is: `--socket`, else as the configuration says. A configuration that this user
        may not read, and did not name, is no obstacle."""
        from syncd.config import Config
        from syncd.config_file import ConfigError, load_config
        from syncd.control.socket_path import find_socket

        if self.socket is not None:
            return self.socket
        try:
            config = load_config(self.config, secrets="skip")
        except ConfigError as error:
            if self.config is not None or not isinstance(error.__cause__, PermissionError):
                raise
            config = Config()
        return find_socket(config)

    def show(self, reply: msgspec.Struct, human: Callable[[Any, Look], Iterable[str]]) -> None:
        """Prints a reply: the document with `--json`, else what `human` makes of it."""
        if self.json:
            print_json(reply)
            return
        from syncd.control import render

        render.echo(human(reply, render.look_of(sys.stdout)))


def print_json(document: object) -> None:
    """One document on one line of stdout."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """One line for people on stderr."""
    from syncd.text import printable

    click.echo(printable(text), err=True)


async def all_items(fetch: Callable[[int, str | None], Awaitable[Any]], limit: int | None = None) -> Any:
    """Pages of a list joined into one, up to `limit` items; `next_cursor` is set where there are more."""
    import msgspec

    items: list[Any] = []
    cursor = None
    while True:
        wanted = PAGE if limit is None else min(PAGE, limit - len(items))
        page = await fetch(wanted, cursor)
        items += page.items
        cursor = page.next_cursor
        if cursor is None or (limit is not None and len(items) >= limit):
            return msgspec.structs.replace(page, items=items)


class WrongUsage(click.UsageError):
    """Exit code 2."""


def _store(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value and option.name:
        setattr(context.ensure_object(Ctl), option.name, value)


def _global_options() -> list[click.Parameter]:
    shared: dict[str, Any] = {"expose_value": False, "callback": _store}
    return [
        click.Option(["--json"], is_flag=True, help="One JSON document on stdout, nothing else.", **shared),
        click.Option(
            ["--socket"], type=FilledPath(), metavar="P", help="The daemon's socket.", **shared
        ),
        click.Option(
            ["--config"], type=FilledPath(), metavar="F",
            help="The daemon's syncd.toml, to find its socket.", **shared,
        ),
    ]  # fmt: skip


class CtlCommand(click.Command):
    """A command that takes the global options too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _global_options()


class CtlGroup(click.Group):
    """A family of commands. `lazy` maps names to (module, attribute, one line of help): a family's module
    is loaded only when it is used."""

    command_class = CtlCommand
    group_class = type

    def __init__(
        self, *args: Any, lazy: dict[str, tuple[str, str, str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params += _global_options()
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        from importlib import import_module

        module, attribute, _ = self.lazy[cmd_name]
        command: click.Command = getattr(import_module(f"syncd.control.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), 1, 0.5)
            meant = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"No such command '{args[0]}'.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not self.lazy:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in self.lazy.items()])


def is_terminal(stream: IO[str] | None) -> bool:
    """False too for a stream that was closed before the program began."""
    return stream is not None and stream.isatty()


def confirmed(question: str, *, yes: bool, in_scripts: bool = False) -> bool:
    """Asks on a terminal. Without one and without `--yes` that is wrong usage, or `in_scripts` a yes."""
    if yes:
        return True
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        if in_scripts:
            return True
        raise WrongUsage("There is no terminal to ask on: say --yes to go on without being asked.")
    return click.confirm(question, default=False, err=True)


def read_picture(path: str) -> bytes:
    """The bytes of a file, or of stdin for `-`: no more than the daemon would take."""
    if path == "-" and sys.stdin is None:
        raise Refused("stdin is closed: there is no picture", hint="name a file, or send it through a pipe")
    with click.open_file(path, "rb") as file:
        picture = bytes(file.read(PICTURE_LIMIT_BYTES + 1))
    if len(picture) > PICTURE_LIMIT_BYTES:
        raise Refused(f"{path} is larger than {PICTURE_LIMIT_BYTES >> 20} MiB", hint="send a smaller picture")
    return picture


class Number(click.FloatRange):
    """As click's, which takes `nan` for a number in any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def near_hint(name: str, known: Iterable[str], command: str) -> str:
    """The known name that was probably meant, or the command that lists them."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"`{command}` shows them"


def complete_batches(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    """Names of batches for the shell; none where no daemon answers."""
    try:
        page = context.ensure_object(Ctl).ask(lambda client: client.batches(limit=PAGE))
    except SyncdError:
        return []
    return [batch.name for batch in page.items if batch.name.startswith(start) and batch.name.isprintable()]


def complete_events(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    """Ids of events for the shell; none where no daemon answers."""
    try:
        page = context.ensure_object(Ctl).ask(lambda client: client.events(limit=PAGE))
    except SyncdError:
        return []
    return [event.event_id for event in page.items if event.event_id.startswith(start)]
