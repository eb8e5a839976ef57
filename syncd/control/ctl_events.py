"""syncctl events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import Ctl, CtlGroup, Number, all_items, complete_events, confirmed, say
from syncd.errors import ExitCode

if TYPE_CHECKING:
    from syncd.control import schema
    from syncd.control.client import ControlClient

_id = click.argument("event_id", metavar="ID", shell_complete=complete_events)


@click.group(cls=CtlGroup)
def events() -> None:
    """Follow Drive folders, so that guests find their photos.

    \b
    Examples:
      syncctl events add "Anna and Ben" --folder https://drive.google.com/drive/folders/1AbC
      syncctl events enable anna-and-ben --interval 1
      syncctl events list
    """


@events.command()
@click.argument("name")
@click.option("--folder", required=True, metavar="ID", help="The Drive folder: its id, or its address.")
@click.option("--publish", is_flag=True, help="Put its photos into storage, so that they have an address.")
@click.pass_obj
def add(ctl: Ctl, name: str, folder: str, publish: bool) -> None:
    """Make an event of a Drive folder. It is followed once it is enabled.

    \b
    Examples:
      syncctl events add Gala --folder 1AbCdEfGhIjKlMnOpQrStUvWxYz
      syncctl events add Gala --folder https://drive.google.com/drive/folders/1AbC --publish
    """
    from syncd.control import render_events, schema

    request = schema.EventRequest(name=name, drive_folder_id=folder, publish=publish)
    ctl.show(ctl.ask(lambda client: client.add_event(request)), render_events.added)


@events.command("list")
@click.pass_obj
def list_events(ctl: Ctl) -> None:
    """All events, and how each is.

    \b
    Examples:
      syncctl events list
      syncctl events list --json | jq '.items[] | select(.state == "needs_auth")'
    """
    from syncd.control import render_events

    ctl.show(ctl.ask(lambda client: all_items(client.events)), render_events.events)


@events.command()
@_id
@click.pass_obj
def show(ctl: Ctl, event_id: str) -> None:
    """One event, with the photos that failed.

    \b
    Examples:
      syncctl events show gala
      syncctl events show gala --json | jq .failed
    """
    from syncd.control import render_events

    ctl.show(ctl.ask(lambda client: client.event(event_id)), render_events.event)


@events.command()
@_id
@click.option("--interval", type=Number(min=0.5), metavar="MIN", help="Look so often; minutes, 0.5 or more.")
@click.pass_obj
def enable(ctl: Ctl, event_id: str, interval: float | None) -> None:
    """Follow an event's folder from now on; or give one that is followed another interval.

    \b
    Examples:
      syncctl events enable gala
      syncctl events enable gala --interval 0.5
    """
    from syncd.control import render_events

    ctl.show(ctl.ask(lambda client: client.enable_event(event_id, interval)), render_events.enabled)


@events.command()
@_id
@click.pass_obj
def disable(ctl: Ctl, event_id: str) -> None:
    """Follow it no more. Its photos and faces stay, and can be searched.

    \b
    Examples:
      syncctl events disable gala
      syncctl events disable gala --json
    """
    from syncd.control import render_events

    ctl.show(ctl.ask(lambda client: client.disable_event(event_id)), render_events.disabled)


@events.command()
@_id
@click.pass_obj
def status(ctl: Ctl, event_id: str) -> None:
    """How an event is followed.

    \b
    Examples:
      syncctl events status gala
      syncctl events status gala --json | jq .next_sync_at
    """
    from syncd.control import render_events

    ctl.show(ctl.ask(lambda client: client.event_status(event_id)), render_events.auto_sync)


@events.command()
@_id
@click.option("--wait", "wait_", is_flag=True, help="Until it is done, and report.")
@click.pass_obj
def sync(ctl: Ctl, event_id: str, wait_: bool) -> int:
    """Index the whole folder now, followed or not.

    With --wait the exit code says how it ended: 0 done, 4 some photos failed, 5 a guard asks you first
    (`syncctl guards`), 1 failed.

    \b
    Examples:
      syncctl events sync gala
      syncctl events sync gala --wait
    """
    from syncd.control import render_site
    from syncd.control.ctl_base import SYNC_EXITS
    from syncd.control.ctl_progress import wait_for_job

    async def question(client: ControlClient) -> schema.JobAccepted | schema.Job:
        accepted = await client.sync_event(event_id)
        return await wait_for_job(client, accepted.job_id, "indexing") if wait_ else accepted

    reply = ctl.ask(question)
    if not wait_:
        ctl.show(reply, render_site.accepted)
        return ExitCode.DONE
    ctl.show(reply, render_site.job)
    return SYNC_EXITS.get(getattr(reply, "state", ""), ExitCode.FAILED)


@events.command()
@_id
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(ctl: Ctl, event_id: str, yes: bool) -> int:
    """Remove an event with its photos and faces, and what was published of it. Drive is not touched.

    \b
    Examples:
      syncctl events remove gala
      syncctl events remove gala --yes
    """
    from syncd.control.render import plural
    from syncd.text import printable

    found = ctl.ask(lambda client: client.event(event_id))
    say(
        f"{found.name}: {plural(found.photos, 'photo')} and {plural(found.faces, 'face')} will be removed"
        " from syncd; Drive keeps them."
    )
    if not confirmed("Remove the event?", yes=yes, in_scripts=True):
        say("Nothing was changed.")
        return ExitCode.FAILED
    ctl.ask(lambda client: client.remove_event(event_id))
    ctl.show(found, lambda event, look: [f"Removed {printable(event.event_id)}"])
    return ExitCode.DONE
