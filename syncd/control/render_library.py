"""The library as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncd.control.render import Cell, Column, Look, facts, plural, state, table
from syncd.text import human_age, human_duration, human_size, printable

if TYPE_CHECKING:
    from syncd.control import schema

MANY = 20
"""Of long lists of errors this many are shown."""


def progress_words(one: schema.LibraryStatus) -> str:
    """What a progress bar says besides its numbers."""
    words = f"{one.albums_synced:,} of {one.albums_total:,} albums"
    if one.rate:
        words += f", {one.rate:,.0f} photos/s"
    if one.eta_s:
        words += f", {human_duration(one.eta_s)} left"
    return words


def status(one: schema.LibraryStatus, look: Look) -> list[str]:
    cell = state(one.state)
    doing = f"{cell.text}{', every album' if one.full and one.in_progress else ''}"
    if one.in_progress:
        doing += f": {progress_words(one)}"
    lines = facts(look, [
        ("account", one.account or "nobody signed in: syncctl auth smugmug"),
        ("state", doing),
        ("albums", f"{one.albums_synced:,} of {one.albums_total:,} current"),
        ("photos", f"{one.photos_synced:,} of {one.photos_total:,}"),
        ("reading", ", ".join(one.reading)),
        ("compared", _hashes(one)),
        ("last sync", human_age(one.last_sync)),
        ("goes on", human_age(one.resume_at) if one.resume_at else ""),
        ("next sync", human_age(one.next_sync_at) if one.next_sync_at else ""),
    ])  # fmt: skip
    if one.errors:
        lines += ["", look.paint(plural(len(one.errors), "error"), "bad")]
        lines += [f"  {printable(error)}" for error in one.errors[:MANY]]
        if len(one.errors) > MANY:
            lines.append(f"  … and {len(one.errors) - MANY:,} more; --json has them all")
    if one.state == "refused":
        lines.append("What would go, and how to let it: syncctl guards")
    return lines


def _hashes(one: schema.LibraryStatus) -> str:
    if not (one.hashed or one.to_hash or one.hash_errors):
        return ""
    words = f"{one.hashed:,} with the local archive"
    if one.to_hash:
        words += f", {one.to_hash:,} to go"
    return words + (f", {one.hash_errors:,} cannot be" if one.hash_errors else "")


def albums(page: schema.AlbumPage, look: Look) -> list[str]:
    if not page.items:
        return ["There are no albums yet: syncctl auth smugmug, then syncctl smugmug sync"]
    columns = [
        Column("ALBUM"), Column("TITLE", cut=">"), Column("PHOTOS", right=True),
        Column("OF", right=True, rank=1), Column("CURRENT", rank=1), Column("PRIVACY", rank=3),
        Column("CHANGED", rank=4), Column("SYNCED", rank=2), Column("LAST ERROR", rank=5, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            one.album_key, one.title, f"{one.photos_synced:,}", f"{one.image_count:,}",
            Cell("● yes", "ok") if one.is_current else Cell("○ no", "warn"), one.privacy or "",
            human_age(one.last_updated) if one.last_updated else "", human_age(one.synced_at),
            Cell(one.last_error or "", "bad"),
        ]
        for one in page.items
    ]  # fmt: skip
    if not any(one.last_error for one in page.items):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return table(look, columns, rows)


def photos(page: schema.LibraryPhotoPage, look: Look) -> list[str]:
    if not page.items:
        return ["There are no photos in this album."]
    columns = [
        Column("PHOTO"), Column("FILE", cut=">"), Column("TAKEN", rank=1), Column("CAPTION", rank=2, cut=">"),
        Column("SIZE", right=True, rank=4), Column("SCENE", rank=1, cut=">"), Column("DESCRIPTION", rank=3),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            one.image_key, one.filename, (one.date_taken or "").replace("T", " "),
            one.caption or one.title, human_size(one.size_bytes) if one.size_bytes is not None else "",
            one.scene_id or "", state(one.ai.status) if one.ai else "",
        ]
        for one in page.items
    ]  # fmt: skip
    lines = table(look, columns, rows)
    if page.next_cursor is not None:
        lines.append(f"These are the first {len(page.items):,}.")
    return lines
