"""syncctl batches, scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import Ctl, CtlGroup, all_items, complete_batches, confirmed, say
from syncd.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from syncd.control import schema
    from syncd.control.client import ControlClient

_names = click.argument("names", nargs=-1, required=True, metavar="N...", shell_complete=complete_batches)


@click.group(cls=CtlGroup)
def batches() -> None:
    """List, publish and withdraw batches.

    \b
    Examples:
      syncctl batches list
      syncctl batches publish 2025-11-04-batch-1
      syncctl batches source 2025-11-04-batch-1 final_crops
    """


@batches.command("list")
@click.pass_obj
def list_batches(ctl: Ctl) -> None:
    """All batches, and how much of each is live.

    \b
    Examples:
      syncctl batches list
      syncctl batches list --json | jq '.items[] | select(.failed > 0)'
    """
    from syncd.control import render_site

    ctl.show(ctl.ask(lambda client: all_items(client.batches)), render_site.batches)


@batches.command()
@_names
@click.pass_obj
def publish(ctl: Ctl, names: tuple[str, ...]) -> None:
    """Publish batches: their current versions go live.

    \b
    Examples:
      syncctl batches publish 2025-11-04-batch-1
      syncctl batches publish roll-1 roll-2 && syncctl wait --idle
    """
    from syncd.control import render_site, schema

    changed = ctl.ask(lambda client: _change(client, names, schema.BatchPatch(is_public=True)))
    ctl.show(changed, render_site.batches)


@batches.command()
@_names
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def unpublish(ctl: Ctl, names: tuple[str, ...], yes: bool) -> int:
    """Make batches private: their scenes are removed from the site. The catalogue keeps the rest.

    \b
    Examples:
      syncctl batches unpublish 2025-11-04-batch-1
      syncctl batches unpublish roll-1 roll-2 --yes
    """
    from syncd.control import render_site, schema
    from syncd.control.render import plural

    found = ctl.ask(lambda client: _find(client, names))
    live = sum(batch.live for batch in found)
    say(f"{plural(live, 'scene')} of {plural(len(found), 'batch', 'batches')} will be removed from the site.")
    if not confirmed("Make private?" if len(found) == 1 else f"Make {len(found)} batches private?", yes=yes):
        say("Nothing was changed.")
        return ExitCode.FAILED
    changed = ctl.ask(lambda client: _change(client, names, schema.BatchPatch(is_public=False)))
    ctl.show(changed, render_site.batches)
    return ExitCode.DONE


@batches.command()
@click.argument("name", metavar="N", shell_complete=complete_batches)
@click.argument("stage")
@click.pass_obj
def source(ctl: Ctl, name: str, stage: str) -> None:
    """Publish only one stage of a batch; `-` or `best` means the best that there is.

    \b
    Examples:
      syncctl batches source 2025-11-04-batch-1 final_crops
      syncctl batches source 2025-11-04-batch-1 best
    """
    from syncd.control import render_site, schema

    patch = schema.BatchPatch(source_directory=None if stage in ("-", "best") else stage)
    ctl.show(ctl.ask(lambda client: _change(client, (name,), patch)), render_site.batches)


async def _find(client: ControlClient, names: tuple[str, ...]) -> list[schema.Batch]:
    """The batches of these names; one that is missing is an error before anything is changed."""
    from syncd.control.ctl_base import near_hint
    from syncd.errors import Refused

    known = {batch.name: batch for batch in (await all_items(client.batches)).items}
    for name in names:
        if name not in known:
            raise Refused(f"there is no batch {name!r}", hint=near_hint(name, known, "syncctl batches list"))
    return [known[name] for name in dict.fromkeys(names)]


async def _change(
    client: ControlClient, names: tuple[str, ...], patch: schema.BatchPatch
) -> schema.BatchPage:
    from syncd.control import schema

    found = await _find(client, names)
    return schema.BatchPage(items=[await client.patch_batch(batch.name, patch) for batch in found])


@click.group(cls=CtlGroup)
def scenes() -> None:
    """List scenes, or show one with its versions.

    \b
    Examples:
      syncctl scenes list --batch 2025-11-04-batch-1
      syncctl scenes show 2025-11-04-batch-1-IMG_0001
    """


@scenes.command("list")
@click.option("--batch", metavar="N", shell_complete=complete_batches, help="Only scenes of this batch.")
@click.option("--live", is_flag=True, help="Only scenes that are published.")
@click.option("-q", "--query", metavar="TEXT", help="Only scenes whose id holds this text.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@click.pass_obj
def list_scenes(ctl: Ctl, batch: str | None, live: bool, query: str | None, limit: int | None) -> None:
    """Scenes, one a line.

    \b
    Examples:
      syncctl scenes list --live
      syncctl scenes list --batch 2025-11-04-batch-1
      syncctl scenes list -q IMG_00 --json | jq -r '.items[].scene_id'
    """
    from syncd.control import render_site

    def fetch(client: ControlClient) -> Awaitable[schema.ScenePage]:
        return all_items(
            lambda size, cursor: client.scenes(batch, True if live else None, query, size, cursor), limit
        )

    ctl.show(ctl.ask(fetch), render_site.scenes)


@scenes.command("show")
@click.argument("scene_id", metavar="ID")
@click.pass_obj
def show_scene(ctl: Ctl, scene_id: str) -> None:
    """One scene with all its versions.

    \b
    Examples:
      syncctl scenes show 2025-11-04-batch-1-IMG_0001
      syncctl scenes show 2025-11-04-batch-1-IMG_0001 --json
    """
    from syncd.control import render_site

    ctl.show(ctl.ask(lambda client: client.scene(scene_id)), render_site.scene)
