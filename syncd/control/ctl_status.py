"""syncctl status, wait, activity."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import PAGE, Ctl, CtlCommand, Number, WrongUsage, print_json, say
from syncd.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncd.control import schema
    from syncd.control.client import ControlClient

IDLE_FOR_S = 1.0
"""A daemon counts as idle when it has been for this long: between two steps it may look so."""

_CLEAR = "\x1b[H\x1b[J"


@click.command(cls=CtlCommand)
@click.option("--watch", is_flag=True, help="Again every two seconds, until ^C.")
@click.pass_obj
def status(ctl: Ctl, watch: bool) -> None:
    """What runs, what waits, what needs you.

    \b
    Examples:
      syncctl status
      syncctl status --watch
      syncctl status --json | jq .counts.live
    """
    from syncd.control import render_status

    if not watch:
        ctl.show(ctl.ask(lambda client: client.status()), render_status.status)
        return

    async def follow(client: ControlClient) -> None:
        import anyio

        while True:
            reply = await client.status()
            if not ctl.json:
                click.echo(_CLEAR if sys.stdout.isatty() else "", nl=not sys.stdout.isatty())
            ctl.show(reply, render_status.status)
            await anyio.sleep(2)

    ctl.ask(follow)


@click.command(cls=CtlCommand)
@click.option("--idle", is_flag=True, help="Until nothing waits and nothing runs.")
@click.option("--timeout", type=Number(min=0), metavar="S", help="Give up after S seconds, exit 1.")
@click.pass_obj
def wait(ctl: Ctl, idle: bool, timeout: float | None) -> int:
    """Wait until everything is done.

    \b
    Examples:
      syncctl wait --idle
      cp -r roll-7 images/ && syncctl wait --idle --timeout 60
    """
    if not idle:
        raise WrongUsage("Wait for what? Say: syncctl wait --idle")
    from syncd.control import render_status

    latest: list[schema.Status] = []

    async def question(client: ControlClient) -> bool | None:
        from syncd.control.ctl_progress import until

        return await until(_idle_watch(client, latest), timeout_s=timeout)

    done = ctl.ask(question)
    if latest and ctl.json:
        print_json(latest[-1])
    if done:
        return ExitCode.DONE
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    doing = render_status.busy(latest[-1]) if latest else "the daemon has not answered"
    say(f"syncctl: still busy after {timeout:g} s: {doing}")
    return ExitCode.FAILED


def _idle_watch(client: ControlClient, latest: list[schema.Status]) -> Callable[[], Awaitable[bool | None]]:
    """A look that answers True once the daemon has been idle for long enough; tells a terminal what for."""
    import anyio

    from syncd.control.render_status import busy
    from syncd.text import printable

    idle_since: float | None = None

    async def look() -> bool | None:
        nonlocal idle_since
        reply = await client.status()
        latest[:] = [reply]
        now = anyio.current_time()
        idle_since = (idle_since or now) if reply.idle and await client.ready() else None
        if sys.stderr.isatty():
            text = "" if idle_since else f"waiting: {printable(busy(reply))}"
            click.echo(f"\r\x1b[K{text[:79]}", nl=False, err=True)
        if idle_since is None or now - idle_since < IDLE_FOR_S:
            return None
        return True

    return look


@click.command(cls=CtlCommand)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until ^C.")
@click.option("--since", type=click.IntRange(min=0), metavar="N", help="What came after id N.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Without --since: the last.",
)
@click.pass_obj
def activity(ctl: Ctl, follow: bool, since: int | None, lines: int) -> None:
    """What happened, oldest first; with -f, what happens from now on as well.

    \b
    Examples:
      syncctl activity
      syncctl activity -f
      syncctl activity --since 1200 --json
    """

    async def question(client: ControlClient) -> None:
        start = since
        if start is None:
            newest = (await client.activity(since=2**62, limit=1)).last_id
            start = max(0, newest - (min(lines, 10) if follow else lines))
        if follow:
            await _follow(ctl, client, start)
        else:
            await _page(ctl, client, start)

    ctl.ask(question)


async def _page(ctl: Ctl, client: ControlClient, since: int) -> None:
    import msgspec

    page = await client.activity(since=since, limit=PAGE)
    items = list(page.items)
    while page.items and page.items[-1].id < page.last_id:
        page = await client.activity(since=page.items[-1].id, limit=PAGE)
        items += page.items
    from syncd.control.render_status import activity_line

    ctl.show(
        msgspec.structs.replace(page, items=items),
        lambda reply, look: [activity_line(item, look) for item in reply.items] or ["Nothing happened yet."],
    )


async def _follow(ctl: Ctl, client: ControlClient, since: int) -> None:
    from contextlib import aclosing

    from syncd.control.render_status import activity_line

    async with aclosing(client.follow_activity(since)) as items:  # type: ignore[type-var]
        async for item in items:
            ctl.show(item, lambda reply, look: [activity_line(reply, look)])
