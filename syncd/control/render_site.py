"""Batches, scenes, syncs, storage, guards and jobs as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncd.control.render import Cell, Column, Look, facts, plural, state, table
from syncd.text import human_age, human_duration, human_size, printable

if TYPE_CHECKING:
    from syncd.control import schema

MANY = 20
"""Of long lists of problems this many are shown."""


def _some(look: Look, title: str, lines: Sequence[str], tone: str, every: bool = False) -> list[str]:
    """A heading and the first lines below it."""
    if not lines:
        return []
    shown = list(lines) if every else list(lines[:MANY])
    more = len(lines) - len(shown)
    rest = [f"  … and {more:,} more; --json has them all"] if more else []
    return ["", look.paint(title, tone), *(f"  {printable(line)}" for line in shown), *rest]


def _held(guard_id: str) -> list[str]:
    command = f"syncctl approve {printable(guard_id)}"
    return ["", f"A guard held removals back. Look: syncctl guards; then: {command}"]


# --- sync -----------------------------------------------------------------------------------------


def accepted(reply: schema.JobAccepted, look: Look) -> list[str]:
    return [f"Started job {printable(reply.job_id)}; follow it with: syncctl activity -f"]


def sync(report: schema.SyncReport, look: Look) -> list[str]:
    """What a sync did, or what a dry run would do."""
    lines = []
    if report.dry_run:
        lines += [_action(look, action) for action in report.actions]
        counts = {
            name: sum(a.action == name for a in report.actions) for name in ("record", "upload", "remove")
        }
        words = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
        nothing = "Nothing would be done." if report.state == "refused" else "Nothing to do."
        lines.append(f"Would {words}." if words else nothing)
    else:
        cell = state(report.state)
        took = f" in {human_duration(report.duration_s)}" if report.duration_s else ""
        size = f" ({human_size(report.bytes)})" if report.bytes else ""
        lines.append(
            f"{look.paint(cell.text, cell.tone)}{took}: {report.uploaded:,} uploaded{size}, "
            f"{report.removed:,} removed, {report.unchanged:,} unchanged"
        )
    lines.append(
        f"{plural(report.scanned, 'file')} seen, {plural(report.scenes, 'scene')}, "
        f"{plural(report.versions, 'version')}, {report.ignored:,} ignored"
    )
    if report.error:
        lines.append(look.paint(f"error: {printable(report.error)}", "bad"))
    failed = [f"{item.path}: {item.reason}" for item in report.failed]
    skipped = [f"{item.path}: {item.reason}" for item in report.skipped]
    lines += _some(look, f"{len(failed):,} failed", failed, "bad")
    lines += _some(look, f"{len(skipped):,} skipped", skipped, "warn")
    if report.guard_id:
        lines += _held(report.guard_id)
    elif report.state == "refused":  # a dry run: nothing was held back yet
        lines += ["", "A guard would hold removals back, or does so already: syncctl guards"]
    return lines


def _action(look: Look, action: schema.SyncAction) -> str:
    tone = {"upload": "ok", "remove": "warn"}.get(action.action, "info")
    target = f" -> {action.key}" if action.key else ""
    words = printable(f"{action.scene_id}  {action.version_type}{target}")
    return f"{look.paint(action.action.ljust(6), tone)}  {words}"


# --- batches and scenes ---------------------------------------------------------------------------


def batches(page: schema.BatchPage, look: Look) -> list[str]:
    if not page.items:
        return ["There are no batches yet: put a folder of scans into images_dir."]
    columns = [
        Column("BATCH", cut=">"), Column("PUBLIC"), Column("SCENES", right=True), Column("LIVE", right=True),
        Column("FAILED", right=True, rank=1), Column("VERSIONS", right=True, rank=3),
        Column("STAGE", rank=2, cut=">"), Column("LAST SYNCED", rank=2),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            one.name, Cell("yes", "ok") if one.is_public else Cell("no", "dim"), f"{one.scenes:,}",
            f"{one.live:,}", Cell(f"{one.failed:,}", "bad" if one.failed else ""), f"{one.versions:,}",
            one.source_directory or "best", human_age(one.last_synced_at),
        ]
        for one in page.items
    ]  # fmt: skip
    return table(look, columns, rows)


def scenes(page: schema.ScenePage, look: Look) -> list[str]:
    if not page.items:
        return ["There are no such scenes."]
    columns = [
        Column("SCENE", cut=">"), Column("LIVE"), Column("STAGE", cut=">"), Column("TAKEN", rank=2),
        Column("SIZE", right=True, rank=1), Column("VERSIONS", right=True, rank=3),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = []
    for one in page.items:
        current = next((version for version in one.versions if version.is_current), None)
        failed = any(version.failure for version in one.versions if version.is_current)
        live = Cell("yes", "ok") if one.live else Cell("failed", "bad") if failed else Cell("no", "dim")
        rows.append([
            one.scene_id, live, current.version_type if current else "-",
            (one.capture_date or "-").replace("T", " "),
            human_size(current.size_bytes) if current else "-", f"{len(one.versions):,}",
        ])  # fmt: skip
    more = ["… there are more: --limit N"] if page.next_cursor else []
    return table(look, columns, rows) + more


def scene(one: schema.Scene, look: Look) -> list[str]:
    """One scene, its versions, best first."""
    lines = facts(look, [
        ("scene", one.scene_id), ("batch", one.batch_name), ("file", one.base_filename),
        ("taken", (one.capture_date or "").replace("T", " ")), ("live", "yes" if one.live else "no"),
    ])  # fmt: skip
    for version in one.versions:
        marks = [word for word, holds in (("current", version.is_current), ("gone", version.gone)) if holds]
        title = f"{version.version_type} #{version.version_id}" + (f" ({', '.join(marks)})" if marks else "")
        lines += ["", look.paint(printable(title), "bold")]
        pixels = f", {version.width:,} x {version.height:,}" if version.width and version.height else ""
        lines += facts(look, [
            ("  path", version.local_path), ("  size", human_size(version.size_bytes) + pixels),
            ("  sha256", version.sha256 or ""), ("  phash", version.perceptual_hash or ""),
            ("  key", version.r2_key or ""), ("  url", version.url or ""),
            ("  synced", human_age(version.synced_at) if version.synced_at else ""),
            ("  failed", version.failure or ""),
        ])  # fmt: skip
    if one.albums:
        lines += ["", look.paint("in the SmugMug library", "bold")]
        lines += [
            printable(
                f"  {album.title} ({album.album_key}): photo {album.image_key}, {album.distance} bits off"
            )
            for album in one.albums
        ]
    return lines


# --- storage --------------------------------------------------------------------------------------


def pulled(report: schema.PullReport, look: Look) -> list[str]:
    failed = [f"{item.scene_id}: {item.reason}" for item in report.failed]
    lines = [printable(item.path) for item in report.files]
    return [
        *lines,
        f"{plural(report.pulled, 'scene')} pulled",
        *_some(look, f"{len(failed):,} failed", failed, "bad"),
    ]


def similar(page: schema.SimilarPage, look: Look) -> list[str]:
    if not page.items:
        return ["Nothing published looks like it."]
    columns = [Column("DISTANCE", right=True), Column("SCENE", cut=">"), Column("WHERE", rank=1, cut="<")]
    return table(
        look, columns, [[f"{one.distance}", one.scene_id, one.url or one.r2_key] for one in page.items]
    )


def verified(report: schema.VerifyReport, look: Look) -> list[str]:
    bad = len(report.missing) + len(report.wrong) + len(report.orphaned)
    tone = "bad" if bad else "ok"
    lines = [look.paint(f"{report.ok:,} of {plural(report.checked, 'object')} right", tone)]
    wrong = [f"{item.key}: expected {item.expected}, found {item.found}" for item in report.wrong]
    lines += _some(look, f"{len(report.missing):,} missing", report.missing, "bad")
    lines += _some(look, f"{len(wrong):,} wrong", wrong, "bad")
    lines += _some(look, f"{len(report.orphaned):,} orphaned", report.orphaned, "warn")
    if report.repaired:
        lines += ["", f"{report.repaired:,} repaired"]
    if report.guard_id:
        lines += _held(report.guard_id)
    elif bad > report.repaired:
        lines += ["", "Put it right with: syncctl verify --repair"]
    return lines


# --- guards and jobs ------------------------------------------------------------------------------


def guards(page: schema.GuardPage, look: Look) -> list[str]:
    if not page.items:
        return ["Nothing is held back."]
    lines: list[str] = []
    for guard in page.items:
        of = f" of {guard.of:,}" if guard.of else ""
        lines += [""] if lines else []
        lines.append(look.paint(printable(f"▲ guard {guard.id}: remove {guard.count:,}{of}"), "warn"))
        lines.append(f"  {printable(guard.reason)} ({human_age(guard.created_at)})")
        lines += [f"  {_action(look, action)}" for action in guard.actions[:MANY]]
        if len(guard.actions) > MANY:
            lines.append(f"  … and {len(guard.actions) - MANY:,} more; --json has them all")
        lines.append(f"  Let it happen with: syncctl approve {printable(guard.id)}")
    return lines


def approved(reply: schema.GuardApproved, look: Look) -> list[str]:
    what = f"{plural(reply.count, 'action')} of guard {printable(reply.id)}"
    return [f"Approved {what}: job {printable(reply.job_id)}"]


def jobs(page: schema.JobPage, look: Look) -> list[str]:
    if not page.items:
        return ["There are no such jobs."]
    columns = [
        Column("JOB"), Column("KIND"), Column("SUBJECT", cut=">"), Column("STATE"),
        Column("DONE", right=True, rank=2), Column("TRIES", right=True, rank=3), Column("CREATED", rank=2),
        Column("NEXT TRY", rank=3), Column("ERROR", rank=1, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            one.id, one.kind, one.subject, state(one.state),
            f"{one.progress.done:,}/{one.progress.total:,}" if one.progress.total else "",
            f"{one.attempts:,}", human_age(one.created_at),
            human_age(one.next_attempt_at) if one.next_attempt_at else "", one.error or "",
        ]
        for one in page.items
    ]  # fmt: skip
    more = ["… there are more: --limit N"] if page.next_cursor else []
    return table(look, columns, rows) + more


def job(one: schema.Job, look: Look) -> list[str]:
    cell = state(one.state)
    words = printable(f"{one.kind} {one.subject}")
    error = f": {printable(one.error)}" if one.error else ""
    return [f"Job {printable(one.id)} ({words}) is {look.paint(cell.text, cell.tone)}{error}"]
