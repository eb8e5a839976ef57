"""The status as a compact dashboard, and the activity as lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from syncd.control.render import GLYPHS, Cell, Column, Look, facts, plural, state, table
from syncd.text import human_age, human_duration, human_size, printable

if TYPE_CHECKING:
    from syncd.control import schema

_KIND_TONES = {"failed": "bad", "blocked": "bad", "uploaded": "ok", "removed": "warn", "guard": "warn"}


def status(reply: schema.Status, look: Look) -> list[str]:
    """What needs a person first, with the command to run; then services, sources, queues and counts."""
    sections = [
        _daemon(reply, look),
        _needs(reply, look),
        services(reply.services, look),
        _sources(reply, look),
        _queues(reply, look),
        _counts(reply, look),
    ]
    lines: list[str] = []
    for section in sections:
        if section:
            lines += [*([""] if lines else []), *section]
    return lines


def _daemon(reply: schema.Status, look: Look) -> list[str]:
    doing = look.paint("idle", "dim") if reply.idle else look.paint("working", "info")
    parts = [
        look.paint(f"syncd {printable(reply.version)}", "bold"),
        f"up {human_duration(reply.uptime_s)}",
        doing,
    ]
    if reply.access == "read":
        parts.append("read-only")
    return [" · ".join(parts)]


def needs(reply: schema.Status) -> Iterator[tuple[str, str, str, str]]:
    """What a person should see to: state, the thing, the reason, and the command that helps."""
    if reply.guards:
        verb = "waits" if reply.guards == 1 else "wait"
        yield "refused", "guard", f"{plural(reply.guards, 'removal')} {verb} for you", "syncctl guards"
    named = set()
    for service in reply.services:
        if service.state in ("needs_auth", "failed", "blocked", "backing_off"):
            named.add(service.name)
            reason = service.last_error or service.state.replace("_", " ")
            yield service.state, service.name, reason, _remedy(service)
    for blocked in reply.blocked:
        if blocked.what not in named:
            yield "blocked", blocked.what, f"{blocked.reason} (since {human_age(blocked.since)})", ""
    failed = {name: queue.failed for name, queue in reply.queues.items()}
    if albums := failed.pop("smugmug", 0):
        yield "failed", "albums", f"{plural(albums, 'album')} could not be read", "syncctl smugmug status"
    if rows := failed.pop("mirror", 0):
        yield "failed", "rows", f"{plural(rows, 'row')} not taken by Postgres", "syncctl resume mirror"
    if jobs := sum(failed.values()):
        yield "failed", "failed", f"{plural(jobs, 'item')} failed", "syncctl jobs list --failed"
    for conflict in reply.conflicts:
        yield "partial", "name", conflict, ""
    if reply.watcher.mode == "polling":
        yield "partial", "watcher", "the folder cannot be watched and is polled: changes show later", ""


_SIGN_INS = {"drive": "drive", "smugmug": "smugmug", "names": "smugmug"}
"""Whom a service works for; what other services lack is a key or password in the settings."""


def _remedy(service: schema.ServiceStatus) -> str:
    if service.state == "needs_auth":
        account = _SIGN_INS.get(service.name)
        return f"syncctl auth {account}" if account else "syncctl config reload"
    return f"syncctl resume {service.name}" if service.state == "failed" else ""


def _needs(reply: schema.Status, look: Look) -> list[str]:
    rows: list[list[str | Cell]] = []
    for kind, what, reason, command in needs(reply):
        sign, tone = GLYPHS[kind]
        rows.append([Cell(f"{sign} {what}", tone), reason, Cell(command, "bold")])
    if not rows:
        return []
    columns = [Column("NEEDS YOU"), Column("", cut=">"), Column("", rank=1)]
    return table(look, columns, rows)


def services(items: list[schema.ServiceStatus], look: Look) -> list[str]:
    """A line for each service."""
    columns = [
        Column("SERVICE"), Column("STATE"), Column("SINCE", rank=1), Column("RESTARTS", right=True, rank=2),
        Column("LAST ERROR", rank=3, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            one.name, state(one.state), human_age(one.since), f"{one.restarts:,}" if one.restarts else "",
            one.last_error or "",
        ]
        for one in items
    ]  # fmt: skip
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return table(look, columns, rows)


def _sources(reply: schema.Status, look: Look) -> list[str]:
    rows: list[list[str | Cell]] = [
        [one.name, state(one.state), human_age(one.last_success_at)] for one in reply.sources
    ]
    columns = [Column("SOURCE", cut=">"), Column("STATE"), Column("LAST SEEN WHOLE")]
    return table(look, columns, rows) if rows else []


def _queues(reply: schema.Status, look: Look) -> list[str]:
    columns = [Column("QUEUE"), *(Column(name, right=True) for name in ("WAITING", "RUNNING", "FAILED"))]
    rows: list[list[str | Cell]] = [
        [name, f"{one.waiting:,}", f"{one.running:,}", Cell(f"{one.failed:,}", "bad" if one.failed else "")]
        for name, one in reply.queues.items()
    ]
    return table(look, columns, rows) if rows else []


def _counts(reply: schema.Status, look: Look) -> list[str]:
    counts, done, watcher = reply.counts, reply.throughput, reply.watcher
    events = f"{counts.events:,} with {plural(counts.event_photos, 'photo')}"
    library = f"{plural(counts.albums, 'album')}, {plural(counts.library_photos, 'photo')}"
    uploaded = f"{done.uploaded:,} uploaded ({human_size(done.uploaded_bytes)}), {done.inspected:,} read"
    overflows = f", {plural(watcher.overflows, 'overflow')}" if watcher.overflows else ""
    return facts(
        look,
        [
            ("batches", f"{counts.batches:,}, {counts.public_batches:,} public"),
            ("scenes", f"{counts.scenes:,} in {plural(counts.versions, 'version')}, {counts.live:,} live"),
            ("events", events if counts.events else ""),
            ("library", library if counts.albums or counts.library_photos else ""),
            ("since start", uploaded),
            ("watching", f"{plural(watcher.watches, 'folder')} ({watcher.mode}){overflows}"),
            ("storage", reply.storage),
            ("state", reply.state_dir),
        ],
    )


def busy(reply: schema.Status) -> str:
    """What is still going on, in a few words."""
    parts = []
    for name, queue in reply.queues.items():
        if queue.waiting or queue.running:
            parts.append(f"{name}: {queue.waiting:,} waiting, {queue.running:,} running")
    parts += [f"{one.name} is starting" for one in reply.services if one.state == "starting"]
    return "; ".join(parts) or "the site is being looked through"


def activity_line(item: schema.ActivityItem, look: Look) -> str:
    """`14:02:11  uploaded  site  batch-061-IMG_0312`, with the day where it is not today; local time."""
    moment = datetime.fromisoformat(item.at).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    time = moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")
    kind = look.paint(printable(item.kind).ljust(9), _KIND_TONES.get(item.kind, "info"))
    return f"{look.paint(time, 'dim')}  {kind}  {printable(item.message or item.subject)}"
