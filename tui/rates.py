"""Rates and progress from counters that only grow: exponentially weighted, honest when nothing moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from syncd.control import schema

HALF_LIFE_S = 10.0
STALLED_S = 30.0
HISTORY = 150
"""Samples kept for the sparkline."""


class Totals(NamedTuple):
    uploaded: int
    uploaded_bytes: int
    inspected: int


class PerSecond(NamedTuple):
    uploaded: float = 0.0
    uploaded_bytes: float = 0.0
    inspected: float = 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """`per_second` is weighted over `HALF_LIFE_S`; `history` holds files a second between two samples, oldest
    first. `moved_at` is when a counter last grew, None when never."""

    at: float | None = None
    totals: Totals = field(default=Totals(0, 0, 0))
    per_second: PerSecond = field(default=PerSecond())
    history: tuple[float, ...] = ()
    moved_at: float | None = None

    def add(self, at: float, throughput: schema.Throughput) -> Rates:
        """The rates after another look at the daemon's totals. Totals that fell mean a restart."""
        totals = Totals(throughput.uploaded, throughput.uploaded_bytes, throughput.inspected)
        if self.at is None or any(new < old for new, old in zip(totals, self.totals, strict=True)):
            return Rates(at, totals, history=self.history)
        elapsed = at - self.at
        if elapsed <= 0:
            return self
        grown = [new - old for new, old in zip(totals, self.totals, strict=True)]
        weight = 1 - 0.5 ** (elapsed / HALF_LIFE_S)
        speeds = [
            rate + weight * (count / elapsed - rate)
            for rate, count in zip(self.per_second, grown, strict=True)
        ]
        files = (grown[0] + grown[2]) / elapsed
        return Rates(
            at=at,
            totals=totals,
            per_second=PerSecond(*speeds),
            history=(*self.history, files)[-HISTORY:],
            moved_at=at if any(grown) else self.moved_at,
        )

    def stalled(self, now: float) -> bool:
        """True when nothing has moved for so long that a rate would mislead."""
        return self.moved_at is None or now - self.moved_at > STALLED_S


@dataclass(frozen=True, slots=True)
class Progress:
    """How fast the running sync goes. `samples` counts looks at this job."""

    job_id: str | None = None
    began_at: float = 0.0
    at: float = 0.0
    done: int = 0
    per_second: float = 0.0
    samples: int = 0
    moved_at: float = 0.0

    def add(self, at: float, report: schema.SyncReport) -> Progress:
        if report.state != "running":
            return Progress()
        if report.job_id != self.job_id or report.done_steps < self.done or self.samples == 0:
            return Progress(report.job_id, at, at, report.done_steps, 0.0, 1, at)
        elapsed = at - self.at
        if elapsed <= 0:
            return self
        count = report.done_steps - self.done
        weight = 1 - 0.5 ** (elapsed / HALF_LIFE_S) if self.samples > 1 else 1.0
        return replace(
            self,
            at=at,
            done=report.done_steps,
            per_second=self.per_second + weight * (count / elapsed - self.per_second),
            samples=self.samples + 1,
            moved_at=at if count else self.moved_at,
        )

    def eta_s(self, report: schema.SyncReport) -> float | None:
        """Seconds left, None until it can be told (5 s and 3 samples) or while nothing moves."""
        if self.samples < 3 or self.at - self.began_at < 5 or self.per_second <= 0:
            return None
        if self.at - self.moved_at > STALLED_S:
            return None
        return max(0, report.total - report.done_steps) / self.per_second
