"""syncctl names."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import Ctl, CtlGroup, Number, WrongUsage
from syncd.errors import ExitCode, SyncdError
from syncd.options import FilledText

if TYPE_CHECKING:
    from syncd.control import schema
    from syncd.control.client import ControlClient


def _complete_albums(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    """Keys of albums for the shell; none where no daemon answers."""
    try:
        plan = context.ensure_object(Ctl).ask(lambda client: client.names_plan())
    except SyncdError:
        return []
    return [item.album_key for item in plan.items if item.album_key.startswith(start)]


_albums = click.option(
    "--album", "albums", type=FilledText(), multiple=True, metavar="KEY", shell_complete=_complete_albums,
    help="Only this album; may be repeated.",
)  # fmt: skip


@click.group(cls=CtlGroup)
def names() -> None:
    """Keep the names of SmugMug albums in step: see what they should be, rename, check, undo.

    \b
    Examples:
      syncctl names plan
      syncctl names apply --dry-run
      syncctl names rollback --since 1h
    """


@names.command()
@_albums
@click.pass_obj
def plan(ctl: Ctl, albums: tuple[str, ...]) -> None:
    """What every album is called, what it should be called, and what `apply` would do.

    \b
    Examples:
      syncctl names plan
      syncctl names plan --album SJT3DX --json | jq '.items[0].new_name'
    """
    from syncd.control import render_names

    ctl.show(ctl.ask(lambda client: client.names_plan(albums)), render_names.plan)


@names.command()
@_albums
@click.option(
    "--threshold", type=Number(0, 100), metavar="N",
    help="Rename above this drift score, 0 to 100; else as in [names].",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def apply(ctl: Ctl, albums: tuple[str, ...], threshold: float | None, dry_run: bool) -> int:
    """Rename albums on SmugMug, and then in the mirror. Each change is written down and can be undone.

    Albums that are named with --album are renamed whatever their drift. Exits 4 when some could not be
    renamed, or when the mirror does not have all names yet.

    \b
    Examples:
      syncctl names apply --dry-run
      syncctl names apply --threshold 50
      syncctl names apply --album SJT3DX --album 2GsRNZ
    """
    from syncd.control import render_names, schema
    from syncd.control.ctl_progress import with_job_progress

    request = schema.NamesApply(
        album_keys=list(albums) or None, threshold=threshold, dry_run=dry_run, changed_by=_who()
    )

    async def question(client: ControlClient) -> schema.NamesReport:
        return await with_job_progress(client, "names_apply", "renaming", client.apply_names(request))

    report = ctl.ask(question)
    ctl.show(report, render_names.applied)
    return ExitCode.PARTIAL if report.failed or report.mirror_failed else ExitCode.DONE


@names.command()
@_albums
@click.option("--verbose", is_flag=True, help="Photo counts of both sides as well.")
@click.pass_obj
def verify(ctl: Ctl, albums: tuple[str, ...], verbose: bool) -> int:
    """Whether SmugMug, as last read, and the mirror agree on every name. Exits 4 where they do not.

    \b
    Examples:
      syncctl names verify
      syncctl names verify --album SJT3DX --verbose
    """
    from functools import partial

    from syncd.control import render_names

    report = ctl.ask(lambda client: client.verify_names(albums))
    ctl.show(report, partial(render_names.verified, verbose=verbose))
    return ExitCode.PARTIAL if report.out_of_sync else ExitCode.DONE


@names.command()
@click.pass_obj
def stats(ctl: Ctl) -> None:
    """Counts of the mirror's rows, and what asks for a person.

    \b
    Examples:
      syncctl names stats
      syncctl names stats --json | jq .alerts
    """
    from syncd.control import render_names

    ctl.show(ctl.ask(lambda client: client.names_stats()), render_names.stats)


@names.command()
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, metavar="N",
    help="The newest N changes.",
)  # fmt: skip
@click.pass_obj
def log(ctl: Ctl, limit: int) -> None:
    """Changes of names, newest first.

    \b
    Examples:
      syncctl names log
      syncctl names log --limit 1000 --json | jq '.items[] | select(.source == "auto")'
    """
    from syncd.control import render_names
    from syncd.control.ctl_base import all_items

    ctl.show(ctl.ask(lambda client: all_items(client.names_log, limit)), render_names.log)


@names.command()
@click.option("--since", metavar="TIME", help="Undo what was changed since: 90s, 15m, 1h, 2d, or RFC 3339.")
@click.option(
    "--change", "changes", multiple=True, type=click.IntRange(min=1, max=2**63 - 1), metavar="ID",
    help="Undo this change, see `syncctl names log`; may be repeated.",
)  # fmt: skip
@click.pass_obj
def rollback(ctl: Ctl, since: str | None, changes: tuple[int, ...]) -> int:
    """Give albums the names back that they had before, on SmugMug and in the mirror.

    Exits 4 when some were refused, since their names have changed again, or when the mirror is behind.

    \b
    Examples:
      syncctl names rollback --since 1h
      syncctl names rollback --change 17 --change 18
    """
    from syncd.control import render_names, schema
    from syncd.control.ctl_progress import with_job_progress

    if (since is None) == (not changes):
        raise WrongUsage("Name either --since TIME or changes with --change ID.")
    try:
        request = schema.NamesRollback(since=since, change_ids=list(changes) or None, changed_by=_who())
    except ValueError as error:
        raise WrongUsage(f"--{error}") from None

    async def question(client: ControlClient) -> schema.NamesRestored:
        return await with_job_progress(client, "names_rollback", "restoring", client.rollback_names(request))

    report = ctl.ask(question)
    ctl.show(report, render_names.restored)
    return ExitCode.PARTIAL if report.refused or report.mirror_failed else ExitCode.DONE


@names.command()
@click.argument("album_key", type=FilledText(), metavar="KEY", shell_complete=_complete_albums)
@click.option("--teams", metavar="A,B", help="The teams, in the order of the name.")
@click.option("--event", metavar="E", help="The event; it names the album where there are no two teams.")
@click.option("--sport", metavar="S")
@click.option("--clear", is_flag=True, help="Take the hint back.")
@click.pass_obj
def hint(
    ctl: Ctl, album_key: str, teams: str | None, event: str | None, sport: str | None, clear: bool
) -> None:
    """Say what an album shows. It wins over what a model saw, and takes the place of the hint before.

    \b
    Examples:
      syncctl names hint SJT3DX --teams "Tigers,Lions" --sport soccer
      syncctl names hint SJT3DX --event "Spring Gala"
      syncctl names hint SJT3DX --clear
    """
    from syncd.control import render_names, schema

    if clear == any(value is not None for value in (teams, event, sport)):
        raise WrongUsage("Give --teams, --event or --sport; or --clear alone.")
    named = [team.strip() for team in (teams or "").split(",")]
    request = schema.NameHintRequest(
        teams=[team for team in named if team], event=event or "", sport=sport or ""
    )
    ctl.show(ctl.ask(lambda client: client.hint_name(album_key, request)), render_names.hinted)


def _who() -> str:
    """The user, for the journal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "syncctl"
