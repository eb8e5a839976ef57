"""The exchange between archives as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncd.control.render import Cell, Column, Look, facts, plural, table
from syncd.text import human_age, human_size, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncd.control import schema

MANY = 20
"""Of long lists of files this many are shown."""

_TONES = {
    "pending": ("○", "dim"), "running": ("↻", "info"), "completed": ("✓", "ok"), "verified": ("✓", "ok"),
    "partial": ("▲", "warn"), "failed": ("!", "bad"), "exported": ("✓", "ok"), "delivered": ("✓", "ok"),
    "imported": ("✓", "ok"), "already_here": ("●", "dim"), "missing": ("▲", "warn"), "rejected": ("!", "bad"),
    "here": ("●", "ok"),
}  # fmt: skip


def _state(name: str) -> Cell:
    sign, tone = _TONES.get(name, ("○", "dim"))
    return Cell(f"{sign} {name.replace('_', ' ')}", tone)


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else human_size(size_bytes)


def _reasons(look: Look, what: str, found: Sequence[schema.FileReason], count: int) -> list[str]:
    if not count:
        return []
    lines = ["", look.paint(f"{count:,} {what}", "bad")]
    lines += [printable(f"  {one.file}: {one.reason}") for one in found[:MANY]]
    if count > MANY:
        lines.append(f"  … and {count - MANY:,} more")
    return lines


def analyzed(one: schema.ExchangeAnalysis, look: Look) -> list[str]:
    if not one.total_files:
        first = [f"Nothing is only there: your archive has all that {printable(one.remote_db)} has"]
    else:
        known = f", {human_size(one.total_bytes)}" if one.total_bytes is not None else ""
        first = [f"{plural(one.total_files, 'file')} that only they have{known}"]
    lines = first + facts(look, [
        ("by hash", f"{one.hash_files:,}"),
        ("by address only", f"{one.url_files:,}" if one.url_files else ""),
        ("look like yours", f"{one.near_matches:,}" if one.near_matches else ""),
        ("in both", f"{one.both:,}"), ("only yours", f"{one.only_here:,}"), ("list", one.list_id or ""),
    ])  # fmt: skip
    if one.dry_run:
        return [*lines, "This was a dry run: no list was made"]
    if one.total_files:
        lines.append(f"Send this file to the owner: {printable(one.list_file or '')}")
    return lines


def lists(page: schema.ExchangeListPage, look: Look) -> list[str]:
    if not page.items:
        return ["There are no lists yet: syncctl exchange analyze --remote-db F"]
    columns = [
        Column("LIST"), Column("ROLE"), Column("STATUS"), Column("FILES", right=True),
        Column("DONE", right=True), Column("SIZE", right=True, rank=2), Column("MADE", rank=3),
        Column("WITH", rank=1, cut="<"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            one.list_id, one.role, _state(one.status), f"{one.total_files:,}", f"{one.processed_files:,}",
            _size(one.total_bytes), human_age(one.created_at), one.remote,
        ]
        for one in page.items
    ]  # fmt: skip
    return table(look, columns, rows)


def shown(one: schema.ExchangeShown, look: Look) -> list[str]:
    what = "asks for" if one.role == "asks" else "gives"
    lines = facts(look, [
        ("list", one.list_id), ("this archive", f"{what} these files"), ("status", _state(one.status).text),
        ("with", one.remote), ("list file", one.list_file or ""), ("folder", one.folder or ""),
        ("files", f"{one.total_files:,}"), ("done", f"{one.processed_files:,}"),
        ("size", _size(one.total_bytes)), ("made", human_age(one.created_at)),
        ("look like yours", f"{one.near_matches:,}" if one.near_matches else ""),
        ("only yours", f"{one.only_here:,}" if one.role == "asks" else ""), ("error", one.error or ""),
    ])  # fmt: skip
    if not one.items:
        return lines
    columns = [
        Column("STATUS"), Column("NAME", cut=">"), Column("SIZE", right=True, rank=2),
        Column("AUTHOR", rank=3, cut=">"), Column("SHA256", rank=4), Column("LIKE YOURS", rank=1, cut="<"),
        Column("REASON", rank=1, cut=">"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            _state(file.status), file.title or file.name, _size(file.size_bytes), file.author or "",
            (file.sha256 or "")[:12],
            f"{file.near.local_path or file.near.image_id} ({file.near.distance})" if file.near else "",
            file.reason or "",
        ]
        for file in one.items
    ]  # fmt: skip
    kept = [at for at in range(len(columns)) if at < 5 or any(row[at] for row in rows)]
    return [
        *lines, "",
        *table(look, [columns[at] for at in kept], [[row[at] for at in kept] for row in rows]),
    ]  # fmt: skip


def exported(one: schema.ExchangeExported, look: Look) -> list[str]:
    done = "would be copied" if one.dry_run else "are"
    lines = [
        f"{plural(one.exported, 'file')} ({human_size(one.bytes)}) {done} in {printable(one.output_dir)}"
    ]
    lines += _reasons(look, "not there any more", one.missing_files, one.missing)
    return lines + _reasons(look, "could not be given", one.failed, len(one.failed))


def imported(one: schema.ExchangeImported, look: Look) -> list[str]:
    done = "would be taken" if one.dry_run else "taken"
    here = f", {one.already_here:,} were here already" if one.already_here else ""
    lines = [f"{plural(one.imported, 'file')} ({human_size(one.bytes)}) {done}{here}"]
    if one.missing:
        lines.append(look.paint(f"{plural(one.missing, 'file')} of the list did not come", "warn"))
    lines += _reasons(look, "rejected", one.rejected, len(one.rejected))
    if one.receipt is not None:
        lines.append(f"A receipt for the sender: {printable(one.receipt)}")
    return lines


def verified(one: schema.ExchangeVerified, look: Look) -> list[str]:
    lines = [f"{one.ok:,} of {plural(one.total, 'imported file')} are as they came"]
    return lines + _reasons(look, "are not", one.problems, one.missing + one.corrupt)


def cleaned(one: schema.ExchangeCleaned, look: Look) -> list[str]:
    return [f"{plural(one.removed, 'staged file')} removed ({human_size(one.bytes)})"]


def receipt(one: schema.ExchangeReceipt, look: Look) -> list[str]:
    who = "who asked for the list" if one.is_asker else look.paint("somebody else than who asked", "bad")
    lines = facts(look, [
        ("list", one.list_id), ("signed", human_age(one.signed_at)), ("key", one.signer),
        ("arrived", f"{one.arrived:,}"), ("rejected", f"{one.rejected:,}" if one.rejected else ""),
        ("missing", f"{one.missing:,}" if one.missing else ""),
    ])  # fmt: skip
    return [*lines, f"The signature holds; it is that of {who}"]
