"""syncctl sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import SYNC_EXITS, UNFINISHED, Ctl, CtlCommand, WrongUsage, complete_batches
from syncd.errors import ExitCode

if TYPE_CHECKING:
    from syncd.control import schema
    from syncd.control.client import ControlClient


@click.command(cls=CtlCommand)
@click.option(
    "--batch", "batches", multiple=True, metavar="N", shell_complete=complete_batches,
    help="Only this batch; may be repeated.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--db-only", is_flag=True, help="Record what is there; touch nothing in storage.")
@click.option("--images-only", is_flag=True, help="Publish what is recorded; record nothing new.")
@click.option("--wait", "wait_", is_flag=True, help="Until it is done, and report.")
@click.pass_obj
def sync(
    ctl: Ctl, batches: tuple[str, ...], dry_run: bool, db_only: bool, images_only: bool, wait_: bool
) -> int:
    """Bring the site up to date now, instead of when something changes.

    With --wait the exit code says how it ended: 0 done, 4 some photos failed, 5 a guard asks, 1 failed.

    \b
    Examples:
      syncctl sync --wait
      syncctl sync --batch 2025-11-04-batch-1 --dry-run
      syncctl sync --wait --json | jq .failed
    """
    if db_only and images_only:
        raise WrongUsage("--db-only and --images-only exclude each other.")
    from syncd.control import render_site, schema

    request = schema.SyncRequest(
        batch_filter=list(batches), dry_run=dry_run, db_only=db_only, images_only=images_only
    )

    async def question(client: ControlClient) -> schema.JobAccepted | schema.SyncReport:
        reply = await client.sync(request)
        if isinstance(reply, schema.JobAccepted) and wait_:
            return await _report_of(client, reply.job_id)
        return reply

    reply = ctl.ask(question)
    if isinstance(reply, schema.JobAccepted):
        ctl.show(reply, render_site.accepted)
        return ExitCode.DONE
    ctl.show(reply, render_site.sync)
    return SYNC_EXITS.get(reply.state, ExitCode.FAILED)


async def _report_of(client: ControlClient, job_id: str) -> schema.SyncReport:
    """The final report of a sync, with its progress shown meanwhile."""
    from syncd.control.ctl_progress import Meter, until

    async def look() -> schema.SyncReport | None:
        report = await client.sync_status(job_id)
        meter.update(report.done_steps, report.total)
        return None if report.state in UNFINISHED else report

    with Meter("syncing") as meter:
        report = await until(look)
    assert report is not None  # there is no time limit
    return report
