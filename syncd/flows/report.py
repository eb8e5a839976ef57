"""A sync as it goes and what it came to: one object that the run fills in and everybody else reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from syncd.errors import ExitCode, Refused, SyncdError
from syncd.flows.site_plan import BatchPlan
from syncd.model import Action, SkippedFile
from syncd.text import now_text


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What was asked for. `batches` None means all of them; `look_again` are relative paths to read anew
    though nothing about them changed."""

    batches: frozenset[str] | None = None
    dry_run: bool = False
    db_only: bool = False
    images_only: bool = False
    look_again: frozenset[str] = frozenset()


@dataclass(slots=True)
class SyncRun:
    """Counts, failures and actions of one sync, in the words of the contract."""

    options: SyncOptions = SyncOptions()
    job_id: str | None = None
    state: str = "running"
    looked_at: dict[str, BatchPlan] = field(default_factory=dict)
    """The newest plan of each batch: what was there and known."""
    uploaded: int = 0
    removed: int = 0
    recorded: set[str] = field(default_factory=set)
    """Absolute paths of the files recorded; in a dry run, of those that would be."""
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons by absolute path."""
    actions: list[Action] = field(default_factory=list)
    error: SyncdError | None = None
    guard_id: str | None = None
    total: int = 0
    done_steps: int = 0
    again_s: dict[str, float] = field(default_factory=dict)
    """Batches to look at again, and in how many seconds: files still being written."""
    look_s: float = 0.0
    """How long it took to see what is there and known, in seconds."""
    started: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=now_text)
    duration_s: float = 0.0

    def look_at(self, plan: BatchPlan, root: str) -> None:
        """Counts the batch, instead of what an earlier pass of this run counted for it."""
        folder = f"{root}/{plan.batch_name}"
        self.failed = {p: why for p, why in self.failed.items() if not f"{p}/".startswith(f"{folder}/")}
        if plan.error is not None:
            self.failed[folder] = plan.error
        self.failed.update(plan.failed)
        self.looked_at[plan.batch_name] = plan

    @property
    def scanned(self) -> int:
        return sum(plan.scanned for plan in self.looked_at.values())

    @property
    def skipped(self) -> list[SkippedFile]:
        return [item for plan in self.looked_at.values() for item in plan.skipped]

    @property
    def unchanged(self) -> int:
        """Files that are as they were recorded, and well."""
        only_failed = sum(path not in self.recorded for path in self.failed)
        return max(0, self.scanned - len(self.recorded) - only_failed)

    def look_again_in(self, batch_name: str, wait_s: float) -> None:
        self.again_s[batch_name] = min(wait_s, self.again_s.get(batch_name, wait_s))

    def break_off(self, error: BaseException) -> None:
        """Ends it as it stands: failed by what nobody foresaw, or cancelled."""
        self.duration_s = time.monotonic() - self.started
        self.state = "cancelled"
        if isinstance(error, Exception):
            self.state = "failed"
            self.error = self.error or Refused(f"{type(error).__name__}: {error}")

    def finish(self) -> None:
        """Sets the final state from what happened."""
        self.duration_s = time.monotonic() - self.started
        if self.error is not None:
            self.state = "failed"
        elif self.guard_id is not None:
            self.state = "refused"
        elif self.failed:
            self.state = "partial"
        else:
            self.state = "done"

    @property
    def exit_code(self) -> ExitCode:
        return {
            "done": ExitCode.DONE,
            "partial": ExitCode.PARTIAL,
            "refused": ExitCode.GUARDED,
        }.get(self.state, ExitCode.FAILED)

    @property
    def did_something(self) -> bool:
        return bool(self.uploaded or self.removed or self.recorded or self.error or self.guard_id)

    def as_dict(self, *, with_actions: bool = True) -> dict[str, Any]:
        """The JSON shape `sync` of the contract. Actions may be many; who does not want them leaves them."""
        return {
            "job_id": self.job_id,
            "state": self.state,
            "dry_run": self.options.dry_run,
            "scanned": self.scanned,
            "scenes": sum(plan.scene_count for plan in self.looked_at.values()),
            "versions": sum(plan.version_count for plan in self.looked_at.values()),
            "uploaded": self.uploaded,
            "removed": self.removed,
            "unchanged": self.unchanged,
            "bytes": self.bytes,
            "duration_s": round(self.duration_s or time.monotonic() - self.started, 3),
            "failed": [{"path": path, "reason": why} for path, why in sorted(self.failed.items())],
            "skipped": [item._asdict() for item in self.skipped],
            "ignored": sum(plan.ignored for plan in self.looked_at.values()),
            # By scene, since what is done at once ends in any order: so that a run reads as its dry run.
            "actions": [a._asdict() for a in sorted(self.actions, key=_scene)] if with_actions else [],
            "error": str(self.error) if self.error else None,
            "guard_id": self.guard_id or None,
            "total": self.total,
            "done_steps": self.done_steps,
        }


def _scene(action: Action) -> str:
    return action.scene_id
