"""Events, faces and accounts as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncd.control.render import Cell, Column, Look, facts, plural, table
from syncd.text import human_age, printable

if TYPE_CHECKING:
    from syncd.control import schema

MANY = 20
"""Of long lists of failed photos this many are shown."""

_STATES = {
    "idle": ("●", "ok"),
    "syncing": ("↻", "info"),
    "waiting": ("‖", "warn"),
    "needs_auth": ("!", "bad"),
    "backing_off": ("↻", "warn"),
    "quota": ("‖", "warn"),
    "blocked": ("▲", "bad"),
    "disabled": ("○", "dim"),
    "ready": ("●", "ok"),
}


def _state(name: str) -> Cell:
    sign, tone = _STATES.get(name, ("○", "dim"))
    return Cell(f"{sign} {name.replace('_', ' ')}", tone)


def _minutes(minutes: float) -> str:
    return f"{minutes:g} min"


def events(page: schema.EventPage, look: Look) -> list[str]:
    if not page.items:
        return ["There are no events yet: syncctl events add NAME --folder ID"]
    columns = [
        Column("EVENT", cut=">"), Column("NAME", rank=4, cut=">"), Column("STATE"),
        Column("PHOTOS", right=True), Column("FACES", right=True, rank=1),
        Column("FAILED", right=True, rank=1), Column("EVERY", right=True, rank=2),
        Column("LAST SYNC", rank=2), Column("NEXT SYNC", rank=3), Column("LAST ERROR", rank=5, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            one.event_id, one.name, _state(one.state), f"{one.photos:,}", f"{one.faces:,}",
            Cell(f"{len(one.failed):,}", "bad" if one.failed else ""),
            _minutes(one.interval_minutes) if one.enabled else "", human_age(one.last_sync_at),
            human_age(one.next_sync_at) if one.next_sync_at else "", one.last_error or "",
        ]
        for one in page.items
    ]  # fmt: skip
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return table(look, columns, rows)


def event(one: schema.Event, look: Look) -> list[str]:
    cell = _state(one.state)
    lines = facts(look, [
        ("event", one.event_id), ("name", one.name), ("folder", one.drive_folder_id),
        ("account", one.account or "none yet"), ("state", cell.text),
        ("auto-sync", f"every {_minutes(one.interval_minutes)}" if one.enabled else "off"),
        ("publish", "yes" if one.publish else "no"),
        ("photos", f"{one.photos:,}" + (f" of {one.in_folder:,}" if one.in_folder > one.photos else "")),
        ("faces", f"{one.faces:,}"), ("last sync", human_age(one.last_sync_at)),
        ("next sync", human_age(one.next_sync_at) if one.next_sync_at else ""),
        ("complete as of", human_age(one.complete_as_of) if one.complete_as_of else "not yet"),
        ("last error", one.last_error or ""),
    ])  # fmt: skip
    if one.failed:
        lines += ["", look.paint(f"{len(one.failed):,} failed", "bad")]
        lines += [printable(f"  {photo.photo_name}: {photo.reason}") for photo in one.failed[:MANY]]
        if len(one.failed) > MANY:
            lines.append(f"  … and {len(one.failed) - MANY:,} more; --json has them all")
    return lines


def added(one: schema.Event, look: Look) -> list[str]:
    unseen = "no account has seen its folder yet: syncctl auth status"
    who = f"read as {one.account}" if one.account else unseen
    event_id = printable(one.event_id)
    return [f"Added {event_id} ({printable(who)})", f"Follow it with: syncctl events enable {event_id}"]


def enabled(reply: schema.AutoSyncEnabled, look: Look) -> list[str]:
    return [f"{reply.message}, every {_minutes(reply.interval_minutes)}"]


def disabled(reply: schema.AutoSyncDisabled, look: Look) -> list[str]:
    return [reply.message]


def auto_sync(one: schema.AutoSyncStatus, look: Look) -> list[str]:
    return facts(look, [
        ("state", _state(one.state).text),
        ("auto-sync", f"every {_minutes(one.interval_minutes)}" if one.enabled else "off"),
        ("running", "yes" if one.running else "no"), ("photos", f"{one.photos:,}"),
        ("faces", f"{one.faces:,}"), ("last sync", human_age(one.last_sync_at)),
        ("next sync", human_age(one.next_sync_at) if one.next_sync_at else ""),
        ("last error", one.last_error or ""),
    ])  # fmt: skip


def faces(page: schema.FacesPage, look: Look) -> list[str]:
    who = f"{plural(page.faces_in_query, 'face')} in the picture"
    if not page.items:
        return [f"{who}; no photo of this event is near."]
    columns = [Column("DISTANCE", right=True), Column("PHOTO", cut=">"), Column("WHERE", rank=1, cut="<")]
    rows = [[f"{one.distance:.3f}", one.photo_name, one.url or one.photo_id] for one in page.items]
    return [f"{who}, {plural(len(page.items), 'photo')} found", *table(look, columns, rows)]


def forgotten(reply: schema.FacesForgotten, look: Look) -> list[str]:
    return [f"{plural(reply.forgotten, 'face')} forgotten"]


def signed_in(reply: schema.SignedIn, look: Look) -> list[str]:
    return [f"Signed in to {printable(reply.provider)} as {printable(reply.account)}"]


def accounts(page: schema.AccountPage, look: Look) -> list[str]:
    if not page.items:
        return [
            "Nobody is signed in. For Google Drive: syncctl auth drive; for SmugMug: syncctl auth smugmug"
        ]
    columns = [
        Column("PROVIDER"), Column("ACCOUNT", cut=">"), Column("STATE"), Column("TOKEN UNTIL", rank=2),
        Column("HINT", rank=1, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            one.provider, one.account, _state(one.state),
            human_age(one.expires_at) if one.expires_at else "", one.hint or "",
        ]
        for one in page.items
    ]  # fmt: skip
    return table(look, columns, rows)
