"""What is written about photos, as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncd.control.render import Cell, Column, Look, facts, plural, table
from syncd.text import human_age, printable

if TYPE_CHECKING:
    from syncd.control import schema

_STATES = {
    "pending": ("○", "dim"),
    "processing": ("↻", "info"),
    "review": ("▲", "warn"),
    "approved": ("✓", "ok"),
    "rejected": ("✗", "dim"),
    "failed": ("!", "bad"),
}


def _state(name: str) -> Cell:
    sign, tone = _STATES.get(name, ("○", "dim"))
    return Cell(f"{sign} {name}", tone)


def _share(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.0%}"


def listed(page: schema.MetadataPage, look: Look) -> list[str]:
    if not page.items:
        return ["There are none of this kind. `syncctl status` says how many wait to be described."]
    return _table(page.items, [], look) + (["there are more"] if page.next_cursor else [])


def found(page: schema.FoundMetadataPage, look: Look) -> list[str]:
    if not page.items:
        return ["Nothing is found: no description has been embedded yet."]
    return _table(page.items, [f"{row.distance:.3f}" for row in page.items], look)


def _table(items: Sequence[schema.Metadata], distances: list[str], look: Look) -> list[str]:
    columns = [
        Column("ID", right=True), Column("FILE", cut="<"), Column("STATUS"),
        Column("SURE", right=True, rank=2), Column("DESCRIPTION", cut=">"), Column("TAGS", rank=3, cut=">"),
        Column("ALBUMS", rank=4, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            str(row.id), row.filename, _state(row.status), _share(row.confidence),
            row.description or Cell(row.error or "", "bad" if row.status == "failed" else "dim"),
            ", ".join(row.tags), ", ".join(row.albums),
        ]
        for row in items
    ]  # fmt: skip
    if distances:
        columns.insert(0, Column("DISTANCE", right=True))
        rows = [[distance, *row] for distance, row in zip(distances, rows, strict=True)]
    return table(look, columns, rows)


def one(row: schema.Metadata, look: Look) -> list[str]:
    by = f", by {row.approved_by} {human_age(row.approved_at)}" if row.approved else ""
    return facts(look, [
        ("id", str(row.id)), ("file", row.filename), ("image key", row.image_key),
        ("albums", ", ".join(row.albums)), ("title", row.title), ("caption", row.caption),
        ("status", _state(row.status).text + by), ("description", row.description),
        ("tags", ", ".join(row.tags)), ("categories", ", ".join(row.categories)),
        ("teams", ", ".join(row.teams)), ("event", row.event), ("sport", row.sport),
        ("sure", _share(row.confidence)), ("model", row.model or ""),
        ("described", human_age(row.described_at) if row.described_at else ""),
        ("version", str(row.version)), ("attempts", str(row.attempts) if row.attempts else ""),
        ("error", row.error or ""), ("web", row.web_url or ""),
    ])  # fmt: skip


def detail(row: schema.MetadataDetail, look: Look) -> list[str]:
    lines = one(row, look)
    for change in row.history:
        why = f": {printable(change.change_reason)}" if change.change_reason else ""
        at, by = human_age(change.changed_at), printable(change.changed_by)
        lines += ["", look.paint(f"version {change.version}, {at} by {by}{why}", "bold")]
        for name, old, new in _differences(change):
            lines += [
                f"  {name} {look.paint('-', 'bad')} {printable(old)}",
                f"  {' ' * len(name)} {look.paint('+', 'ok')} {printable(new)}",
            ]
    return lines


def _differences(change: schema.MetadataChange) -> list[tuple[str, str, str]]:
    pairs = [
        ("status", change.previous_status or "", change.new_status or ""),
        ("description", change.previous_description or "", change.new_description or ""),
        ("tags", ", ".join(change.previous_tags or ()), ", ".join(change.new_tags or ())),
        ("categories", ", ".join(change.previous_categories or ()), ", ".join(change.new_categories or ())),
    ]
    return [(name, old, new) for name, old, new in pairs if old != new]


def approved(reply: schema.MetadataApproved, look: Look) -> list[str]:
    lines = [f"{plural(reply.approved, 'description')} approved"]
    return lines + [f"  {one.id} not: {printable(one.reason)}" for one in reply.skipped]
