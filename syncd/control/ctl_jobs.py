"""syncctl guards, approve, jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import SYNC_EXITS, Ctl, CtlCommand, CtlGroup, WrongUsage, all_items
from syncd.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from syncd.control import schema
    from syncd.control.client import ControlClient


@click.command(cls=CtlCommand)
@click.pass_obj
def guards(ctl: Ctl) -> None:
    """What is held back until you approve, why, and what would go.

    \b
    Examples:
      syncctl guards
      syncctl guards --json | jq '.items[].actions[].scene_id'
    """
    from syncd.control import render_site

    ctl.show(ctl.ask(lambda client: client.guards()), render_site.guards)


@click.command(cls=CtlCommand)
@click.argument("guard_id", metavar="ID")
@click.option("--wait", "wait_", is_flag=True, help="Until it is done.")
@click.pass_obj
def approve(ctl: Ctl, guard_id: str, wait_: bool) -> int:
    """Let a guarded removal happen: those of its actions that are still called for.

    \b
    Examples:
      syncctl approve g-17
      syncctl approve g-17 --wait
    """
    from syncd.control import render_site, schema
    from syncd.control.ctl_progress import wait_for_job

    async def question(client: ControlClient) -> schema.GuardApproved | schema.Job:
        reply = await client.approve(guard_id)
        return await wait_for_job(client, reply.job_id, "removing") if wait_ else reply

    reply = ctl.ask(question)
    if isinstance(reply, schema.GuardApproved):
        ctl.show(reply, render_site.approved)
        return ExitCode.DONE
    ctl.show(reply, render_site.job)
    return SYNC_EXITS.get(reply.state, ExitCode.FAILED)


@click.group(cls=CtlGroup)
def jobs() -> None:
    """List, retry and cancel jobs.

    \b
    Examples:
      syncctl jobs list --failed
      syncctl jobs retry --all
    """


@jobs.command("list")
@click.option("--failed", is_flag=True, help="Only those that failed.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N")
@click.pass_obj
def list_jobs(ctl: Ctl, failed: bool, limit: int) -> None:
    """Jobs, newest first.

    \b
    Examples:
      syncctl jobs list
      syncctl jobs list --failed --json | jq -r '.items[].error'
    """
    from syncd.control import render_site

    def fetch(client: ControlClient) -> Awaitable[schema.JobPage]:
        state = "failed" if failed else None
        return all_items(lambda size, cursor: client.jobs(state=state, limit=size, cursor=cursor), limit)

    ctl.show(ctl.ask(fetch), render_site.jobs)


@jobs.command()
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="All that failed.")
@click.pass_obj
def retry(ctl: Ctl, job_id: str | None, every: bool) -> None:
    """Try a failed job again now.

    \b
    Examples:
      syncctl jobs retry 42
      syncctl jobs retry --all
    """
    if (job_id is None) != every:
        raise WrongUsage("Name either the ID of a job or --all.")
    from syncd.control import render_site
    from syncd.control.render import plural

    if job_id is not None:
        wanted = job_id
        ctl.show(ctl.ask(lambda client: client.retry_job(wanted)), render_site.job)
        return
    retried = ctl.ask(lambda client: client.retry_failed_jobs())
    ctl.show(retried, lambda reply, look: [f"{plural(reply.retried, 'job')} will be tried again"])


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.pass_obj
def cancel(ctl: Ctl, job_id: str) -> None:
    """Cancel a job that waits or runs.

    \b
    Examples:
      syncctl jobs cancel 42
      syncctl jobs list --json | jq -r '.items[0].id' | xargs syncctl jobs cancel
    """
    from syncd.control import render_site

    ctl.show(ctl.ask(lambda client: client.cancel_job(job_id)), render_site.job)
