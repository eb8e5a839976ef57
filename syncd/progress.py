"""Progress of a sync: a bar on a terminal, a plain line now and then elsewhere. On stderr."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from syncd.flows.report import SyncRun

_FIRST_S = 0.3
"""A sync that is over sooner shows nothing."""
_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 5.0


@asynccontextmanager
async def show_progress() -> AsyncIterator[Callable[[SyncRun], None]]:
    """Yields `watch(run)`; what it is given is shown until the context is left."""
    watched: list[SyncRun] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_bar if sys.stderr.isatty() else _lines, watched)
        try:
            yield watched.append
        finally:
            tasks.cancel_scope.cancel()


async def _lines(watched: list[SyncRun]) -> None:
    last = -1
    while True:
        await anyio.sleep(_LINE_EVERY_S)
        if watched and watched[-1].total and watched[-1].done_steps != last:
            last = watched[-1].done_steps
            print(f"syncing: {last:,} of {watched[-1].total:,}", file=sys.stderr, flush=True)


async def _bar(watched: list[SyncRun]) -> None:
    await anyio.sleep(_FIRST_S)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("syncing", total=None)
        while True:
            if watched:
                run = watched[-1]
                progress.update(task, total=run.total or None, completed=run.done_steps)
            await anyio.sleep(_BAR_EVERY_S)
