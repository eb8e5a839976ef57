"""syncctl auth."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import Ctl, CtlGroup, is_terminal, say
from syncd.errors import Refused, SyncdError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from syncd.control import schema
    from syncd.control.client import ControlClient

BROWSER_S = 10.0
"""So long the browser is waited for once stdin has ended: a script is not to hang."""


@click.group(cls=CtlGroup)
def auth() -> None:
    """Let syncd into your accounts elsewhere.

    \b
    Examples:
      syncctl auth drive
      syncctl auth smugmug
      syncctl auth status
    """


@auth.command()
@click.pass_obj
def drive(ctl: Ctl) -> None:
    """Sign in to Google Drive.

    Open the address that is printed. On the daemon's machine the browser finishes it; from elsewhere, paste
    what its address line then shows (or only the code), here or through a pipe.

    Without a terminal and without an answer on stdin the browser has ten seconds. The address stays good for
    ten minutes: `syncctl auth status` tells whether it was used.

    \b
    Examples:
      syncctl auth drive
      echo "$ADDRESS" | syncctl auth drive
    """
    from syncd.control import render_events

    ctl.show(ctl.ask(lambda client: _sign_in(client, "drive", ctl.json)), render_events.signed_in)


@auth.command()
@click.option("--code", "by_code", is_flag=True, help="The browser is on another machine: it shows a code.")
@click.pass_obj
def smugmug(ctl: Ctl, by_code: bool) -> None:
    """Sign in to SmugMug.

    Open the address that is printed and let syncd in. On the daemon's machine the browser finishes it; from
    elsewhere, use --code and paste the six digits that SmugMug shows, here or through a pipe.

    \b
    Examples:
      syncctl auth smugmug
      syncctl auth smugmug --code
    """
    from syncd.control import render_events

    ctl.show(ctl.ask(lambda client: _sign_in(client, "smugmug", ctl.json, by_code)), render_events.signed_in)


@auth.command()
@click.pass_obj
def status(ctl: Ctl) -> None:
    """Accounts, and whether they let syncd in.

    \b
    Examples:
      syncctl auth status
      syncctl auth status --json | jq '.items[] | select(.state != "ready")'
    """
    from syncd.control import render_events

    ctl.show(ctl.ask(lambda client: client.auth_status()), render_events.accounts)


async def _sign_in(
    client: ControlClient, provider: str, is_json: bool, by_code: bool = False
) -> schema.SignedIn:
    """Whatever comes first: the browser's redirect to the daemon, or an answer on stdin."""
    import anyio

    started = await client.start_sign_in(provider, by_code=by_code)
    say("Open this address in a browser:")
    click.echo(started.url, err=is_json)
    sys.stdout.flush()
    if by_code and is_terminal(sys.stdin):
        say("Then paste here the code that it shows.")
    elif is_terminal(sys.stdin):
        say("Then paste here what its address line shows, unless the page says that you are signed in.")
    ends: list[schema.SignedIn | Exception] = []

    async with anyio.create_task_group() as tasks:

        async def browser() -> None:
            await finish(client.wait_for_sign_in(provider, started.flow_id))

        async def paste() -> None:
            if answer := await _line():
                await finish(client.finish_sign_in(provider, _answer(started.flow_id, answer)))
                return
            await anyio.sleep(BROWSER_S)
            ends.append(_unanswered(provider))
            tasks.cancel_scope.cancel()

        async def finish(call: Awaitable[schema.SignedIn]) -> None:
            try:
                ends.append(await call)
            except SyncdError as error:
                ends.append(error)
            tasks.cancel_scope.cancel()

        tasks.start_soon(browser)
        tasks.start_soon(paste)
    end = ends[0]
    if isinstance(end, Exception):
        raise end
    return end


def _unanswered(provider: str) -> Refused:
    return Refused(
        "nobody has signed in, and stdin has ended without an answer",
        hint="the address stays good for ten minutes: finish in a browser on the daemon's machine, and see "
        f"`syncctl auth status`; or paste the answer into `syncctl auth {provider}` on a terminal",
    )


def _answer(flow_id: str, text: str) -> schema.SignInAnswer:
    from syncd.control import schema

    if "://" in text:
        return schema.SignInAnswer(flow_id=flow_id, redirect_url=text)
    return schema.SignInAnswer(flow_id=flow_id, code=text)


async def _line() -> str:
    """The first line of stdin that is not blank, "" at its end. Waits without a thread, which could not be
    ended when the browser is faster."""
    import anyio

    if sys.stdin is None:  # closed: its number may belong to something else by now
        return ""
    received = b""
    while True:
        with suppress(OSError):  # a file is always readable, and cannot be waited for
            await anyio.wait_readable(sys.stdin.fileno())
        chunk = os.read(sys.stdin.fileno(), 65536)
        received = (received + chunk).lstrip()
        if not chunk or b"\n" in received or b"\r" in received:
            return next(iter(received.decode(errors="replace").splitlines()), "").strip()
