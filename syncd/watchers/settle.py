"""When a file may be read: once nothing has touched it for a while. Pure, apart from a small memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from syncd.model import FileStat

_REMEMBERED = 500_000


def touched_ns(stat: FileStat, now_ns: int) -> int:
    """The newest of ctime and mtime that is not in the future, in nanoseconds; else ctime, which is.

    A write sets both times, so an mtime ahead of the clock beside a ctime that is not was set by hand (a
    camera's or a copy's wrong date) and says nothing about when the file was last written.
    """
    past = [moment for moment in (stat.ctime_ns, stat.mtime_ns) if moment <= now_ns]
    return max(past) if past and stat.ctime_ns <= now_ns else stat.ctime_ns


def unsettled_for_s(stat: FileStat, now_ns: int, settle_s: float) -> float:
    """Seconds until the file counts as settled, 0 when it does: `settle_s` after it was last touched.

    A file whose ctime is ahead of the clock answers `settle_s` however far ahead it is: SettleTracker knows
    since when it has been so.
    """
    waited_s = (now_ns - touched_ns(stat, now_ns)) / 1e9
    return settle_s if waited_s < 0 else max(0.0, settle_s - waited_s)


class SettleTracker:
    """unsettled_for_s for files from the future as well: after the clock jumped back, or on a share whose
    server is ahead, such a file settles once it was seen unchanged for `settle_s` by the steady clock."""

    def __init__(self, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._steady_ns = steady_ns
        self._first_seen: dict[str, tuple[FileStat, int]] = {}
        self._lock = threading.Lock()

    def unsettled_for_s(self, path: str, stat: FileStat, now_ns: int, settle_s: float) -> float:
        """Seconds until the file at `path` counts as settled, 0 when it does."""
        if stat.ctime_ns <= now_ns:
            if self._first_seen:
                self._first_seen.pop(path, None)
            return unsettled_for_s(stat, now_ns, settle_s)
        steady_ns = self._steady_ns()
        with self._lock:
            seen = self._first_seen.get(path)
            if seen is None or seen[0] != stat:
                if len(self._first_seen) >= _REMEMBERED:
                    self._first_seen.clear()
                self._first_seen[path] = seen = (stat, steady_ns)
        return max(0.0, settle_s - (steady_ns - seen[1]) / 1e9)
