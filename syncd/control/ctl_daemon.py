"""syncctl pause, resume, config, tui, completion."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd.control.ctl_base import Ctl, CtlCommand, CtlGroup, print_json, say
from syncd.errors import ExitCode, Fatal
from syncd.options import FilledPath

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncd.control import schema
    from syncd.control.render import Look


@click.command(cls=CtlCommand)
@click.argument("service", required=False)
@click.pass_obj
def pause(ctl: Ctl, service: str | None) -> None:
    """Hold one service, or all; what is pending waits.

    \b
    Examples:
      syncctl pause
      syncctl pause site
    """
    ctl.show(ctl.ask(lambda client: client.pause(service)), _services)


@click.command(cls=CtlCommand)
@click.argument("service", required=False)
@click.pass_obj
def resume(ctl: Ctl, service: str | None) -> None:
    """Release one service, or all.

    \b
    Examples:
      syncctl resume
      syncctl resume site
    """
    ctl.show(ctl.ask(lambda client: client.resume(service)), _services)


def _services(reply: schema.ServicesReply, look: Look) -> list[str]:
    from syncd.control.render_status import services

    return services(reply.services, look)


@click.group(cls=CtlGroup)
def config() -> None:
    """Check, show or reload the settings. Secrets are never shown.

    \b
    Examples:
      syncctl config check
      syncctl config show
      syncctl config reload
    """


@config.command()
@click.argument("file", required=False, type=FilledPath())
@click.pass_obj
def check(ctl: Ctl, file: Path | None) -> int:
    """Say what is wrong with a configuration file. Needs no daemon; exits 78 when something is.

    \b
    Examples:
      syncctl config check
      syncctl config check /etc/syncd/syncd.toml
    """
    from syncd.config_file import ConfigError, load_config

    path: str | None = str(file or ctl.config or "") or None
    problems: list[str] = []
    warnings: list[str] = []
    try:
        loaded = load_config(file or ctl.config, secrets="check")
        path = str(loaded.path) if loaded.path else None
        warnings += loaded.warnings
    except ConfigError as error:
        problems += error.problems
    for text in problems:
        say(f"syncctl: {text}")
    if ctl.json:
        print_json({"path": path, "ok": not problems, "problems": problems, "warnings": warnings})
    elif not problems:
        for text in warnings:
            say(f"warning: {text}")
        from syncd.text import printable

        click.echo(f"{printable(path)} is right" if path else "no syncd.toml found: the defaults apply")
    return ExitCode.CONFIG if problems else ExitCode.DONE


@config.command()
@click.pass_obj
def show(ctl: Ctl) -> None:
    """The settings in force, secrets as ***. Without a daemon: those that it would start with.

    \b
    Examples:
      syncctl config show
      syncctl config show --json | jq .settings.storage
    """
    from syncd.control.client import DaemonUnavailable

    try:
        reply = ctl.ask(lambda client: client.show_config())
    except DaemonUnavailable:
        if ctl.socket is not None:
            raise
        from syncd.config import redacted
        from syncd.config_file import load_config
        from syncd.control import schema

        loaded = load_config(ctl.config, secrets="check")
        say("no daemon answers; it would start with:")
        reply = schema.ConfigReply(path=str(loaded.path) if loaded.path else None, settings=redacted(loaded))
    ctl.show(reply, _settings)


def _settings(reply: schema.ConfigReply, look: Look) -> Iterable[str]:
    from syncd.text import printable

    yield look.paint(f"# {printable(reply.path or 'defaults: there is no syncd.toml')}", "dim")
    for section, values in reply.settings.items():
        yield ""
        yield look.paint(f"[{printable(section)}]", "bold")
        for key, value in values.items():
            yield f"{printable(key)} = {printable(_toml(value))}"


def _toml(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


@config.command()
@click.pass_obj
def reload(ctl: Ctl) -> None:
    """Apply what can change without a restart, and say what cannot. Wrong settings change nothing: exit 78.

    \b
    Examples:
      syncctl config reload
      syncctl config check && syncctl config reload
    """
    from syncd.control.client import ApiError

    try:
        reply = ctl.ask(lambda client: client.reload())
    except ApiError as error:
        if error.status != 422:
            raise
        raise Fatal(error.message, hint=error.hint, exit_code=ExitCode.CONFIG) from error
    ctl.show(reply, _reloaded)


def _reloaded(reply: schema.ReloadReply, look: Look) -> Iterable[str]:
    from syncd.text import printable

    for text in reply.warnings:
        yield look.paint(f"warning: {printable(text)}", "warn")
    for name in reply.applied:
        yield f"{look.paint('applied', 'ok')}        {name}"
    for name in reply.needs_restart:
        yield f"{look.paint('needs restart', 'warn')}  {name}"
    if not reply.applied and not reply.needs_restart:
        yield "Nothing has changed."


@click.command(cls=CtlCommand)
@click.pass_obj
def tui(ctl: Ctl) -> int:
    """Open the dashboard; leaving it does not stop syncd.

    \b
    Examples:
      syncctl tui
      syncctl tui --socket /run/syncd/syncd.sock
    """
    options = []
    if ctl.socket is not None:
        options += ["--socket", str(ctl.socket)]
    if ctl.config is not None:
        options += ["--config", str(ctl.config)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "tui", *options])


@click.command(cls=CtlCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      eval "$(syncctl completion bash)"
      syncctl completion zsh > ~/.zfunc/_syncctl
      syncctl completion fish > ~/.config/fish/completions/syncctl.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # the choice has only those that click knows
    made = kind(context.find_root().command, {}, "syncctl", "_SYNCCTL_COMPLETE")
    click.echo(made.source_template % made.source_vars())
