"""Names of albums as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncd.control.render import Cell, Column, Look, facts, plural, state, table
from syncd.text import human_age, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncd.control import schema

NO_MIRROR = "There is no mirror: names are kept on SmugMug alone (set dsn in [mirror] to have one)."

_ACTIONS = {"rename": ("→", "info"), "keep": ("✓", "ok"), "skip": ("○", "dim")}


def plan(reply: schema.NamesPlan, look: Look) -> list[str]:
    if not reply.items:
        return ["There are no albums yet: syncctl smugmug sync"]
    counts = {name: sum(item.action == name for item in reply.items) for name in _ACTIONS}
    overview = (
        f"{plural(len(reply.items), 'album')}: {counts['rename']:,} to rename (drift above"
        f" {reply.threshold:g}), {counts['keep']:,} to keep, {counts['skip']:,} to skip"
    )
    return [*_items(reply.items, look), overview]


def _items(items: Iterable[schema.NameItem], look: Look) -> list[str]:
    columns = [
        Column("ALBUM"), Column("NAME NOW", cut=">"), Column("SHOULD BE", cut=">"),
        Column("DRIFT", right=True), Column("ACTION"), Column("WHY", rank=1, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = []
    for item in items:
        sign, tone = _ACTIONS.get(item.action, ("○", "dim"))
        new_name = item.new_name if item.new_name != item.old_name else ""
        rows.append(
            [
                item.album_key, item.old_name, new_name, f"{item.drift_score}",
                Cell(f"{sign} {item.action}", tone), item.reason,
            ]
        )  # fmt: skip
    return table(look, columns, rows)


def applied(report: schema.NamesReport, look: Look) -> list[str]:
    shown = [item for item in report.items if item.action == "rename"]
    lines = _items(shown, look) if shown else []
    done = "would be renamed" if report.dry_run else "renamed"
    skipped = f", {report.skipped:,} skipped" if report.skipped else ""
    lines.append(f"{plural(report.renamed, 'album')} {done}, {report.kept:,} kept{skipped}")
    return lines + _reasons(report.failed, "not renamed", look) + _behind(report.mirror_failed, look)


def restored(report: schema.NamesRestored, look: Look) -> list[str]:
    lines = [f"{plural(report.restored, 'name')} restored"]
    return lines + _reasons(report.refused, "refused", look) + _behind(report.mirror_failed, look)


def _reasons(failed: Iterable[schema.AlbumReason], word: str, look: Look) -> list[str]:
    lines = [printable(f"  {one.album_key}: {one.reason}") for one in failed]
    return [look.paint(f"{len(lines):,} {word}", "bad"), *lines] if lines else []


def _behind(failed: Iterable[schema.AlbumReason], look: Look) -> list[str]:
    return _reasons(failed, "not in the mirror yet; it is tried again until it is", look)


def verified(report: schema.NamesVerified, look: Look, *, verbose: bool = False) -> list[str]:
    """An overview, a line an album, and the result."""
    photos = sum(item.photo_count for item in report.items)
    lines = [f"{plural(report.checked, 'album')}, {plural(photos, 'photo')}", ""]
    if not report.mirror:
        lines.insert(1, NO_MIRROR)
    columns = [Column(""), Column("ALBUM"), Column("NAME", cut=">"), Column("PHOTOS", right=True)]
    if verbose:
        columns.append(Column("IN MIRROR", right=True))
    columns.append(Column("ISSUES", cut=">"))
    rows: list[list[str | Cell]] = []
    for item in report.items:
        sign = Cell("✓", "ok") if item.synced else Cell("!", "bad")
        row: list[str | Cell] = [sign, item.album_key, item.name, f"{item.photo_count:,}"]
        if verbose:
            row.append("" if item.mirror_photo_count is None else f"{item.mirror_photo_count:,}")
        rows.append([*row, "; ".join(item.issues)])
    if rows:
        lines += [*table(look, columns, rows), ""]
    tone = "bad" if report.out_of_sync else "ok"
    return [*lines, look.paint(f"Synced: {report.synced}/{report.checked}", tone)]


def stats(reply: schema.NamesStats, look: Look) -> list[str]:
    lines = [] if reply.mirror else [NO_MIRROR, ""]
    lines += facts(look, [
        ("albums", f"{reply.total_albums:,}"), ("photos", f"{reply.total_photos:,}"),
        ("with an album key", f"{reply.photos_with_album_key:,}"),
        ("without an album key", f"{reply.photos_without_album_key:,}"),
        ("updated in 24 h", f"{reply.recently_updated:,}"),
    ])  # fmt: skip
    if reply.alerts:
        lines += ["", look.paint(plural(len(reply.alerts), "alert"), "bad")]
        lines += [printable(f"  {alert}") for alert in reply.alerts]
    return lines


def log(page: schema.NamesLog, look: Look) -> list[str]:
    if not page.items:
        return ["No name was changed yet."]
    columns = [
        Column("ID", right=True), Column("WHEN"), Column("ALBUM"), Column("FROM", cut=">"),
        Column("TO", cut=">"), Column("BY", rank=2, cut=">"), Column("SOURCE", rank=3),
        Column("STATE", rank=1), Column("ERROR", rank=4, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            f"{item.id}", human_age(item.changed_at), item.album_key, item.old_name, item.new_name,
            item.changed_by, item.source, _change_state(item), item.error or "",
        ]
        for item in page.items
    ]  # fmt: skip
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return table(look, columns, rows)


def _change_state(item: schema.NameChange) -> Cell:
    if item.state == "confirmed":
        return Cell("‖ mirror behind", "warn") if item.mirrored is False else state("done")
    return state("running") if item.state == "begun" else state("failed")


def hinted(hint: schema.NameHint, look: Look) -> list[str]:
    item = hint.plan
    if not (hint.teams or hint.event or hint.sport):
        return [f"No hint for {printable(hint.album_key)} any more", *_items([item], look)]
    return facts(look, [
        ("album", hint.album_key), ("teams", ", ".join(hint.teams)), ("event", hint.event),
        ("sport", hint.sport), ("name now", item.old_name), ("should be", item.new_name),
    ])  # fmt: skip
