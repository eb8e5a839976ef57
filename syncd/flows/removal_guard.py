"""The guard between a plan and harm: removals that nobody asked for wait for a person when they are many."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from syncd.model import Action

_WINDOW_S = 3600.0
"""Removals of the last hour count together, so that many small runs cannot do what one may not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard says: which of the removals may go on, and which wait."""

    unasked: frozenset[Action]
    """May go on though no person said so."""
    held: tuple[Action, ...]
    reason: str = ""


def removal_reason(count: int, limit: int) -> str:
    """Why removals wait, for people."""
    return (
        f"files of {count:,} published scenes are gone; taking them off the site is more than the {limit:,}"
        " that may go without asking"
    )


def removal_limit(max_delete: int, max_delete_percent: float, live: int) -> int:
    """The most removals that one hour may bring unasked: the larger of the two settings."""
    return max(max_delete, int(live * max_delete_percent / 100))


def judge(
    called_for: Iterable[Action],
    held_elsewhere: Iterable[Action],
    *,
    limit: int,
    recent: int,
    approved: frozenset[Action],
) -> Verdict:
    """Pure. `called_for` are the unasked removals of this run, `held_elsewhere` those of other batches that
    wait already, `recent` how many were carried out in the last hour. Either all that are not approved go
    on, or all of them wait."""
    wanted = [action for action in called_for if action not in approved]
    waiting = [action for action in held_elsewhere if action not in approved]
    if len(wanted) + len(waiting) + recent <= limit:
        return Verdict(frozenset(wanted), ())
    return Verdict(frozenset(), tuple(wanted), removal_reason(len(wanted) + len(waiting), limit))


class RemovalGuard:
    """Remembers what waits in each batch and what was removed lately."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Action, ...]] = {}
        self._recent: deque[tuple[float, int]] = deque()

    def check(
        self,
        called_for: Mapping[str, Iterable[Action]],
        *,
        limit: int,
        approved: frozenset[Action],
    ) -> Verdict:
        """Judges the unasked removals of the batches of this run, and remembers those that wait."""
        elsewhere = [a for name, held in self._held.items() if name not in called_for for a in held]
        actions = [action for batch in called_for.values() for action in batch]
        verdict = judge(actions, elsewhere, limit=limit, recent=self._removed_lately(), approved=approved)
        held = frozenset(verdict.held)
        for name, batch in called_for.items():
            self._held[name] = tuple(action for action in batch if action in held)
        return verdict

    def removed(self, count: int) -> None:
        """`count` unasked removals, none of them approved by a person, were carried out."""
        self._recent.append((time.monotonic(), count))

    @property
    def held(self) -> list[Action]:
        """Everything that waits, over all batches."""
        return [action for held in self._held.values() for action in held]

    def _removed_lately(self) -> int:
        since = time.monotonic() - _WINDOW_S
        while self._recent and self._recent[0][0] < since:
            self._recent.popleft()
        return sum(count for _, count in self._recent)
