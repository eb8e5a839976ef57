"""syncctl faces."""

from __future__ import annotations

import click

from syncd.control.ctl_base import Ctl, CtlGroup, Number, complete_events, confirmed, read_picture, say
from syncd.errors import ExitCode

_photo = click.argument("photo", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
_event = click.option(
    "--event", "event_id", required=True, metavar="ID", shell_complete=complete_events, help="In this event."
)
_tolerance = click.option(
    "--tolerance", type=Number(0, 2), metavar="DISTANCE",
    help="The largest distance at which two faces match, else as in [faces].",
)  # fmt: skip


@click.group(cls=CtlGroup)
def faces() -> None:
    """Find a person's photos in an event, or forget a person.

    \b
    Examples:
      syncctl faces search selfie.jpg --event gala
      syncctl faces forget selfie.jpg --event gala
    """


@faces.command()
@_photo
@_event
@_tolerance
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N")
@click.pass_obj
def search(ctl: Ctl, photo: str, event_id: str, tolerance: float | None, limit: int) -> None:
    """Photos of the people in PHOTO (`-` reads it from stdin), nearest first.

    \b
    Examples:
      syncctl faces search selfie.jpg --event gala
      syncctl faces search selfie.jpg --event gala --tolerance 0.5 --json | jq -r '.items[].url'
      curl -s https://example.com/me.jpg | syncctl faces search - --event gala
    """
    from syncd.control import render_events

    picture = read_picture(photo)
    found = ctl.ask(lambda client: client.search_faces(event_id, picture, tolerance=tolerance, limit=limit))
    ctl.show(found, render_events.faces)


@faces.command()
@_photo
@_event
@_tolerance
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def forget(ctl: Ctl, photo: str, event_id: str, tolerance: float | None, yes: bool) -> int:
    """Remove the face of the person in PHOTO from an event, in photos that come later as well.

    \b
    Examples:
      syncctl faces forget selfie.jpg --event gala
      syncctl faces forget - --event gala --json < selfie.jpg
    """
    from syncd.control import render_events

    picture = read_picture(photo)
    say("The person will not be found in this event any more. That cannot be undone.")
    if not confirmed("Forget the person?", yes=yes, in_scripts=True):
        say("Nothing was changed.")
        return ExitCode.FAILED
    reply = ctl.ask(lambda client: client.forget_faces(event_id, picture, tolerance=tolerance))
    ctl.show(reply, render_events.forgotten)
    return ExitCode.DONE
