"""syncctl pull, similar, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import Ctl, CtlCommand, Number, WrongUsage, complete_batches, read_picture
from syncd.errors import ExitCode
from syncd.options import FilledPath

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from syncd.control import schema
    from syncd.control.client import ControlClient


@click.command(cls=CtlCommand)
@click.argument("scene_ids", nargs=-1, metavar="[ID...]")
@click.option("--batch", metavar="N", shell_complete=complete_batches, help="All live scenes of this batch.")
@click.option(
    "--to", "folder", required=True, metavar="DIR", type=FilledPath(file_okay=False),
    help="The folder to put them into.",
)  # fmt: skip
@click.pass_obj
def pull(ctl: Ctl, scene_ids: tuple[str, ...], batch: str | None, folder: Path) -> int:
    """Download scenes from storage, verified by SHA-256. Existing different files are never overwritten.

    \b
    Examples:
      syncctl pull --batch 2025-11-04-batch-1 --to ./restored
      syncctl pull 2025-11-04-batch-1-IMG_0001 --to /tmp
    """
    if bool(scene_ids) == (batch is not None):
        raise WrongUsage("Name either scenes or --batch N.")
    from syncd.control import render_site, schema
    from syncd.control.ctl_progress import with_job_progress

    request = schema.PullRequest(
        scene_ids=list(scene_ids) if batch is None else None, batch=batch, to=str(folder.absolute())
    )

    async def question(client: ControlClient) -> schema.PullReport:
        return await with_job_progress(client, "pull", "pulling", client.pull(request))

    report = ctl.ask(question)
    ctl.show(report, render_site.pulled)
    return ExitCode.PARTIAL if report.failed else ExitCode.DONE


@click.command(cls=CtlCommand)
@click.argument("image", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--scene", "scene_id", metavar="ID", help="Like this scene instead of like a file.")
@click.option(
    "--max-distance", type=click.IntRange(0, 64), default=8, show_default=True, metavar="BITS",
    help="0 is nearly the same picture, 64 anything.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N")
@click.pass_obj
def similar(ctl: Ctl, image: str | None, scene_id: str | None, max_distance: int, limit: int) -> None:
    """Find published pictures that look like IMAGE (`-` reads it from stdin), nearest first.

    \b
    Examples:
      syncctl similar print.jpg
      syncctl similar --scene 2025-11-04-batch-1-IMG_0001 --max-distance 4
      curl -s https://example.com/a.jpg | syncctl similar -
    """
    if (image is None) == (scene_id is None):
        raise WrongUsage("Name either an IMAGE or --scene ID.")
    from syncd.control import render_site

    picture = None
    if image is not None:
        picture = read_picture(image)

    def question(client: ControlClient) -> Awaitable[schema.SimilarPage]:
        return client.similar(picture, scene_id=scene_id, max_distance=max_distance, limit=limit)

    ctl.show(ctl.ask(question), render_site.similar)


@click.command(cls=CtlCommand)
@click.option("--deep", is_flag=True, help="Read and hash every byte.")
@click.option(
    "--sample", type=Number(0, 100, min_open=True), default=100, show_default=True,
    metavar="PERCENT", help="Look at so much of it, chosen at random.",
)  # fmt: skip
@click.option(
    "--repair",
    is_flag=True,
    help="Upload what is missing or wrong again, and remove orphans through the guard.",
)
@click.pass_obj
def verify(ctl: Ctl, deep: bool, sample: float, repair: bool) -> int:
    """Compare the catalogue with storage: what is missing, wrong, or known to nobody. Exits 4 then.

    \b
    Examples:
      syncctl verify
      syncctl verify --deep --sample 5
      syncctl verify --repair
    """
    from syncd.control import render_site, schema
    from syncd.control.ctl_progress import with_job_progress

    request = schema.VerifyRequest(sample=sample, deep=deep, repair=repair)

    async def question(client: ControlClient) -> schema.VerifyReport:
        return await with_job_progress(client, "verify", "verifying", client.verify(request))

    report = ctl.ask(question)
    ctl.show(report, render_site.verified)
    bad = len(report.missing) + len(report.wrong) + len(report.orphaned)
    if report.guard_id:
        return ExitCode.GUARDED
    return ExitCode.PARTIAL if bad > report.repaired else ExitCode.DONE
