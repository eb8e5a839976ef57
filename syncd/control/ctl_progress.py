"""Progress of long work, on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

from syncd.control.ctl_base import UNFINISHED, say
from syncd.errors import SyncdError

if TYPE_CHECKING:
    from syncd.control import schema
    from syncd.control.client import ControlClient

T = TypeVar("T")

_FIRST_S = 0.3
"""Work that is over sooner shows nothing."""
_LINE_EVERY_S = 5.0
_ASK_EVERY_S = 0.25


class Meter:
    """Shows how far something is. The library that draws is loaded with the first bar."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._started = time.monotonic()
        self._said_at = self._started
        self._said = (0, 0)
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int, words: str = "") -> None:
        """`done` of `total` steps; a total of 0 is not known yet. `words` say more."""
        label = f"{self.label} ({words})" if words else self.label
        now = time.monotonic()
        if now - self._started < _FIRST_S:
            return
        if sys.stderr.isatty():
            if self._bar is None:
                self._start_bar()
            self._bar.update(self._task, completed=done, total=total or None, description=label)
        elif total and (done, total) != self._said and now - self._said_at >= _LINE_EVERY_S:
            self._said_at, self._said = now, (done, total)
            say(f"{label}: {done:,} of {total:,}")

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self.label, total=None)
        self._bar.start()


async def with_job_progress(client: ControlClient, kind: str, label: str, work: Awaitable[T]) -> T:
    """The result of `work`, while the newest running job of `kind` is shown."""

    async def show(meter: Meter) -> None:
        while True:
            await anyio.sleep(_ASK_EVERY_S)
            with suppress(SyncdError):  # what is wrong comes out with the work itself
                page = await client.jobs(state="running", kind=kind, limit=1)
                for job in page.items:
                    meter.update(job.progress.done, job.progress.total)

    failure: SyncdError | None = None
    with Meter(label) as meter:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(show, meter)
            try:
                result = await work
            except SyncdError as error:
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result


async def until(
    look: Callable[[], Awaitable[T | None]], every_s: float = 0.15, timeout_s: float | None = None
) -> T | None:
    """What `look` answers as soon as that is not None; None when `timeout_s` is over."""
    with anyio.move_on_after(timeout_s):
        while True:
            if (found := await look()) is not None:
                return found
            await anyio.sleep(every_s)
    return None


async def wait_for_job(client: ControlClient, job_id: str, label: str) -> schema.Job:
    """A job once it is over, with its progress shown meanwhile."""

    async def look() -> schema.Job | None:
        job = await client.job(job_id)
        meter.update(job.progress.done, job.progress.total)
        return None if job.state in UNFINISHED else job

    with Meter(label) as meter:
        job = await until(look)
    assert job is not None  # there is no time limit
    return job
