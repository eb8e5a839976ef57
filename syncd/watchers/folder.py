"""Turns what happens in the images tree into hints: "look at this batch", or "look at everything".

A hint is never more than that, so losing one costs time, not correctness. watchfiles does not pass on the
kernel's queue overflow, cannot go on after a file name that is not UTF-8, and follows links when it watches
recursively. So the folders are watched one by one, a batch is hinted once more after it went quiet, a burst
or a stall asks for everything, and so does every watch that had to be made anew.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
from anyio import from_thread, to_thread
from anyio.abc import TaskGroup
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from syncd.text import printable
from syncd.watchers.inotify import count_watches, folders_to_watch, largest_burst, silent_file_system
from syncd.watchers.listing import IMAGE_EXTENSIONS, is_ignored, name_trouble

# A change is passed on after one quiet step, and no later than the debounce. The step is also how often
# the watching thread wakes when idle: 25 ms cost a quarter of a percent of one core.
STEP_MS = 25
DEBOUNCE_MS = 75
HEARTBEAT_S = 1.0
STALL_S = 2.0
ROOT_CHECK_S = 5.0
COUNT_AFTER_S = 0.1  # by then watchfiles has closed the watch before this one
LONGEST_RETRY_S = 5.0
LIMIT_RETRY_S = 60.0
LONGEST_POLL_S = 60.0
POLL_SHARE = 20.0
"""Between two polls pass at least this many times the duration of a listing."""

_DELETED = 3


class FolderWatcher:
    """Watches `images_dir` and calls `on_hint(batch_name)`, or `on_hint(None)` for everything.

    `mode` is how it watches; `overflows` counts the times when events may have been lost; `watches` is the
    number of inotify watches; `error` says why nothing is watched now, or why it polls.
    """

    def __init__(
        self,
        images_dir: Path,
        stages: Sequence[str],
        on_hint: Callable[[str | None], None],
        *,
        rescan_minutes: float = 60.0,
        poll_s: float = 3.0,
        quiet_s: float = 1.5,
        force_polling: bool = False,
        burst: int | None = None,
    ) -> None:
        self._root = os.path.abspath(images_dir)  # noqa: PTH100 (resolving would follow links)
        self._stages = frozenset(stages)
        self._on_hint = on_hint
        self._rescan_s = rescan_minutes * 60
        self._poll_s = poll_s
        self._quiet_s = quiet_s
        self._force_polling = force_polling
        self._burst = burst or largest_burst()
        self._listing_s = 0.0
        self._quiet_at: dict[str | None, float] = {}
        self._touched = anyio.Event()
        self._refolder = anyio.Event()
        self._stale: set[str] = set()
        self._limiter = anyio.CapacityLimiter(4)
        self.mode: Literal["inotify", "polling"] = "inotify"
        self.overflows = 0
        self.watches = 0
        self.error: str | None = None
        self.watching = anyio.Event()
        """Set while a watch (or polling) is in place."""

    def listing_took(self, duration_s: float) -> None:
        """Tells how long listing everything takes, in seconds, so that polling leaves room for the rest."""
        self._listing_s = duration_s

    async def run(self) -> None:
        """Watches until cancelled; what goes wrong with the root or the watch is retried for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._rescan)
            group.start_soon(self._hint_when_quiet)
            group.start_soon(self._notice_stalls)
            await self._keep_watching()

    # --- hints -------------------------------------------------------------------------------------

    def _hint(self, batch_name: str | None) -> None:
        self._quiet_at[batch_name] = time.monotonic() + self._quiet_s
        self._touched.set()
        self._on_hint(batch_name)

    def _lost(self) -> None:
        """Events may have been lost: everything is to be looked at."""
        self.overflows += 1
        self._hint(None)

    async def _hint_when_quiet(self) -> None:
        """Hints once more what had events, `quiet_s` after the last: a file may have come before its folder
        was watched."""
        while True:
            if not self._quiet_at:
                self._touched = anyio.Event()
                await self._touched.wait()
            await anyio.sleep(max(0.0, min(self._quiet_at.values()) - time.monotonic()))
            now_s = time.monotonic()
            due = [name for name, quiet_s in self._quiet_at.items() if quiet_s <= now_s]
            for name in due:
                del self._quiet_at[name]
            for name in [None] if None in due else due:
                self._on_hint(name)

    async def _rescan(self) -> None:
        while True:
            await anyio.sleep(self._rescan_s)
            self._on_hint(None)

    async def _notice_stalls(self) -> None:
        """While the process stood still (stopped, starved) the kernel's queue may have run over."""
        while True:
            before_s = time.monotonic()
            await anyio.sleep(HEARTBEAT_S)
            if time.monotonic() - before_s > HEARTBEAT_S + STALL_S and self.mode == "inotify":
                self._lost()

    # --- watching ----------------------------------------------------------------------------------

    async def _keep_watching(self) -> None:
        failures = 0
        limit_retry_s = LIMIT_RETRY_S
        while True:
            silent = await to_thread.run_sync(silent_file_system, Path(self._root))
            if silent or self._force_polling:
                self.error = f"{silent} tells nothing of others' changes" if silent else None
                await self._poll(math.inf)
            began_s = time.monotonic()
            reason = await self._watch()
            lasted_s = time.monotonic() - began_s
            if self.watching.is_set():
                self.watching = anyio.Event()
                self._lost()
            self.error, self.watches = reason, 0
            if "limit reached" in reason or "Too many open files" in reason:
                limit_retry_s = LIMIT_RETRY_S if lasted_s > limit_retry_s else min(limit_retry_s * 2, 600.0)
                await self._poll(limit_retry_s)
                continue
            failures = 0 if lasted_s > LONGEST_RETRY_S else failures + 1
            await anyio.sleep(min(LONGEST_RETRY_S, 0.1 * 2 ** min(failures, 10)))

    async def _poll(self, duration_s: float) -> None:
        """Asks for everything again and again, for `duration_s` seconds."""
        self.mode, self.watches = "polling", 0
        self.watching.set()
        until_s = time.monotonic() + duration_s
        while time.monotonic() < until_s:
            self._on_hint(None)
            await anyio.sleep(max(self._poll_s, min(LONGEST_POLL_S, self._listing_s * POLL_SHARE)))
        self.watching = anyio.Event()
        self.mode = "inotify"

    async def _watch(self) -> str:
        """Watches until that fails, and returns why."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._check_root)
                await self._follow_folders(group)
        except* (OSError, WatchfilesRustInternalError) as errors:
            first: BaseException = errors
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            reason = printable(str(first))
        return reason

    async def _follow_folders(self, group: TaskGroup) -> None:
        """Keeps a watch on the folders there are. The new watch is in place before the old one ends."""
        watched: dict[str, tuple[int, int]] = {}
        stop = threading.Event()
        while True:
            self._refolder, self._stale, stale = anyio.Event(), set(), self._stale
            folders = await to_thread.run_sync(folders_to_watch, self._root, self._stages)
            if folders == watched and not stale:
                with anyio.move_on_after(COUNT_AFTER_S):
                    await self._refolder.wait()
                    continue
                self.watches = await to_thread.run_sync(count_watches)
                await self._refolder.wait()
                continue
            if watched and folders.get(self._root) != watched[self._root]:
                raise OSError(f"{self._root} was replaced")
            previous, stop = stop, threading.Event()
            in_place = anyio.Event()
            group.start_soon(self._run_watch, list(folders), stop, in_place)
            await in_place.wait()
            previous.set()
            fresh = {self._batch_of(path) for path in folders.keys() - watched.keys()}
            for batch_name in fresh | stale if watched else {None}:
                self._hint(batch_name)
            watched = folders
            self.error = None
            self.watching.set()

    async def _run_watch(self, folders: list[str], stop: threading.Event, in_place: anyio.Event) -> None:
        """One watch in a thread of its own, until `stop` is set or this task is cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(_set_when_cancelled, stop)
            await to_thread.run_sync(self._pump, folders, stop, in_place, limiter=self._limiter)
            group.cancel_scope.cancel()

    def _pump(self, folders: list[str], stop: threading.Event, in_place: anyio.Event) -> None:
        """Runs in a thread: passes changes on until `stop` is set. Raises what watchfiles raises."""
        with RustNotify(folders, False, False, 300, False, False) as notify:
            from_thread.run_sync(in_place.set)
            while True:
                changes = notify.watch(DEBOUNCE_MS, STEP_MS, 0, stop)
                if isinstance(changes, str):
                    return
                from_thread.run_sync(partial(self._changed, changes))

    async def _check_root(self) -> None:
        """Nothing tells when the root is unmounted or swapped for another: looked at now and then."""
        before = await to_thread.run_sync(os.stat, self._root)
        while True:
            await anyio.sleep(ROOT_CHECK_S)
            after = await to_thread.run_sync(os.stat, self._root)
            if (after.st_dev, after.st_ino) != (before.st_dev, before.st_ino):
                raise OSError(f"{self._root} was replaced")

    # --- events ------------------------------------------------------------------------------------

    def _batch_of(self, path: str) -> str | None:
        return path[len(self._root) + 1 :].split("/", 1)[0] or None

    def _changed(self, changes: set[tuple[int, str]]) -> None:
        if len(changes) >= self._burst:
            self._stale |= {name for _, path in changes if (name := self._batch_of(path))}
            self._refolder.set()
            self._lost()
            return
        for batch_name in {name for change, path in changes if (name := self._heed(change, path))}:
            self._hint(batch_name)

    def _heed(self, change: int, path: str) -> str | None:
        """The batch that the change of one path concerns, None when it concerns none."""
        parts = path[len(self._root) + 1 :].split("/")
        if not parts[0]:
            self._refolder.set()  # the root itself: listing it will fail
            return None
        if any(is_ignored(part) for part in parts if part):
            return None
        if len(parts) == 1 or (len(parts) == 2 and parts[1] in self._stages):
            # A folder that went and came again has the same path and often the same inode, but no watch.
            if change == _DELETED:
                self._stale.add(parts[0])
            self._refolder.set()
            if len(parts) == 1 and _is_file_name(parts[0]):
                return None
        return parts[0] if name_trouble(parts[0]) is None else None


def _is_file_name(name: str) -> bool:
    """A picture that lies in the root is in no batch."""
    return "." in name and name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


async def _set_when_cancelled(stop: threading.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        stop.set()
