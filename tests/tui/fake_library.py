"""What a daemon might say of a library, of names and of the exchange: the same on every run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from syncd.control import schema
from tui.asks_library import Shot

if TYPE_CHECKING:
    from tui.state import ListName

NOON = datetime(2026, 5, 30, 14, 2, 11, tzinfo=UTC)
LONG = (
    "Regionalmeisterschaften der Leichtathletik im Stadion am Zoo, zweiter Tag, Finalläufe und Siegerehrung"
)
TITLES = (
    "Cup Final - May 30", "DSC upload 3", "東京 家族写真 2024 🎌", LONG, "Gala Jun 2024",
    "Lions vs Tigers - May 12", "untitled", "Prom", "Open Day - 2024-06-01", "Team photos",
    "Winter training", "misc",
)  # fmt: skip
SAYS = (
    "A goalkeeper in green dives to the left and touches the ball with the fingertips of one hand.",
    "Two runners in red lean into the last bend; the clock behind them shows 1:52.",
    "桜の下で家族が集まって写真を撮っている。",
    "",
    "A trophy on a table, with confetti around it.",
)


def before(**ago: float) -> str:
    """RFC 3339 time so long before the frozen now."""
    return (NOON - timedelta(**ago)).isoformat().replace("+00:00", "Z")


FOREIGN = frozenset("".join((*TITLES, *SAYS, "家族写真夏祭り")))
"""Letters of names from outside, which are shown as they are."""


def library_status(**more: Any) -> schema.LibraryStatus:
    """A sync in its middle."""
    fields: dict[str, Any] = {
        "in_progress": True, "last_sync": before(hours=7), "albums_total": 120, "albums_synced": 61,
        "photos_total": 18_543, "photos_synced": 9_312,
        "errors": ["Prom: SmugMug says 403, the album is locked"],
        "account": "club-photos", "state": "running", "full": True, "job_id": "j-200", "rate": 42.0,
        "eta_s": 220.0, "reading": ["DSC upload 3"],
    }  # fmt: skip
    return schema.LibraryStatus(**(fields | more))


def albums() -> list[schema.Album]:
    """Albums in every state."""
    return [
        schema.Album(
            id=number, album_key=f"Key{number:03}", title=title, image_count=31 * number,
            photos_synced=(0 if number == 7 else 31 * number - (11 if number % 5 == 2 else 0)),
            last_updated=before(hours=number * number * 3), is_current=number % 4 != 3,
            synced_at=None if number in (2, 7) else before(hours=number),
            keywords=["football"] * (number % 2),
            last_error="SmugMug says 403: the album is locked" if title == "Prom" else None,
            description="Photos of the day" if number % 3 == 1 else "",
            privacy=("Public", "Unlisted", "Private")[number % 3],
            web_url=f"https://club-photos.smugmug.com/{number}",
        )
        for number, title in enumerate(TITLES, 1)
    ]  # fmt: skip


def shots(status: str = "review", distance: bool = False, count: int = 24) -> list[Shot]:
    """Photos with what is written about them."""
    names = (
        "IMG_{:04}.jpg",
        "DSC_{:04}.NEF",
        "家族写真_{:04}.jpg",
        "a-very-long-name-of-a-file-that-a-scanner-made-{:04}.tif",
    )
    return [
        Shot(
            str(1000 + n), names[n % 4].format(n), n if SAYS[n % 5] or status != "review" else 500 + n,
            status, (TITLES[n % 6],), "First goal" if n % 3 else "", ("goal",) if n % 3 else (), SAYS[n % 5],
            ("football", "goalkeeper", "green")[: n % 4], ("sport",) if n % 2 else (), 0.41 + n / 50,
            1 + n % 3,
            "sam" if status == "approved" else "", "the model answered prose" if not SAYS[n % 5] else "",
            "2026-05-30T14:00:00", (4000, 3000), f"https://club-photos.smugmug.com/i-{n}",
            f"batch-1-IMG_{n:04}" if n % 4 == 1 else "", n / 40 if distance else None,
        )
        for n in range(1, count + 1)
    ]  # fmt: skip


def names() -> list[schema.NameItem]:
    """A plan with each kind of row."""
    rows = [
        (
            "DSC upload 3",
            "Lions vs Tigers - May 30",
            78,
            "rename",
            "two teams on 212 of 240 photos, all of one day",
        ),
        (
            "東京 家族写真 2024 🎌",
            "東京 家族写真 - Jun 2024",
            24,
            "rename",
            "no teams; photos of 3 days of one month",
        ),
        (
            LONG,
            f"{LONG.replace(', zweiter Tag', '')} - Jun 2024",
            31,
            "rename",
            "the event that the model saw",
        ),
        ("Gala Jun 2024", "Gala - Jun 2024", 6, "keep", "the drift is not above 20"),
        ("Cup Final - May 30", "Cup Final - May 30", 0, "keep", "it has its name"),
        ("untitled", "untitled", 0, "skip", "the album is empty"),
    ]
    return [
        schema.NameItem(
            album_key=f"Key{n:03}",
            old_name=old,
            new_name=new,
            drift_score=drift,
            action=action,
            reason=reason,
        )  # type: ignore[arg-type]
        for n, (old, new, drift, action, reason) in enumerate(rows, 1)
    ]


def changes() -> list[schema.NameChange]:
    """Changes in each state."""
    rows = [
        (9, "DSC upload 2", "Bears vs Wolves - May 12", "confirmed", "apply", True, None),
        (8, "misc", "Team photos - 2023-2024", "confirmed", "apply", False, None),
        (
            7,
            "Prom",
            "Prom - Jun 2024",
            "failed",
            "apply",
            None,
            "no permission to modify: sign in with Modify",
        ),
        (6, LONG, "Athletics - Jun 2024", "begun", "auto", False, None),
    ]
    return [
        schema.NameChange(
            id=number, album_key=f"Key{number:03}", old_name=old, new_name=new, state=state, source=source,
            changed_at=before(minutes=20 * (10 - number)), changed_by="sam", mirrored=mirrored, error=error,
        )  # type: ignore[arg-type]
        for number, old, new, state, source, mirrored, error in rows
    ]  # fmt: skip


def exchanges() -> list[schema.ExchangeList]:
    """Lists of both roles in each state."""
    rows = [
        ("x-7f3a", "asks", "running", 1204, 412, 0, None),
        ("x-19c2", "asks", "pending", 90, 0, 0, None),
        ("x-02bb", "gives", "partial", 540, 538, 2, "2 files could not be read: permission denied"),
        ("x-0a11", "asks", "verified", 33, 33, 0, None),
        ("x-0001", "gives", "failed", 7, 0, 7, "the disk is full: 4.2 GB are needed"),
    ]
    return [
        schema.ExchangeList(
            list_id=key, role=role, status=status, created_at=before(hours=3 * n),
            remote=f"/media/disk/of-{n}.db", list_file=f"/var/lib/syncd/exchange/{key}.json",
            total_files=total, hash_files=total - 4, url_files=4,
            total_bytes=total * 5_000_000 if n != 2 else None, processed_files=done, error_count=errors,
            near_matches=5, only_here=9_120, folder="/media/disk/for-you" if done else None, error=error,
        )  # type: ignore[arg-type]
        for n, (key, role, status, total, done, errors, error) in enumerate(rows, 1)
    ]  # fmt: skip


def files(side: str) -> list[schema.ExchangeFile]:
    """Files of one side."""
    states = ("pending", "imported", "already_here", "missing", "rejected")
    near = {
        n: schema.ExchangeNear(image_id=n, distance=n * 2, local_path=f"/archive/b/final_crops/{n}.jpg")
        for n in (1, 2, 3)
    }
    wanted = {"theirs": range(1, 25), "near": range(1, 4), "ours": range(30, 36)}[side]
    return [
        schema.ExchangeFile(
            file_id=n, sha256=f"{n:064x}" if n % 6 else None, url=f"https://indafoto.example/{n}",
            size_bytes=n * 1_400_000 if n % 6 else None,
            name=f"{'夏祭り' if n % 5 == 2 else 'summer'}-{n:03}.jpg",
            title=f"Evening {n}", author=("Kovács Anna", "b.nagy", None)[n % 3],
            status="pending" if side == "ours" else states[n % 5],
            reason="its SHA-256 is another" if side != "ours" and n % 5 == 4 else None,
            near=near.get(n) if side != "ours" else None,
        )
        for n in wanted
    ]  # fmt: skip


def lists() -> dict[ListName, list[tuple[str, Any]]]:
    """(key, row) of all lists that do not depend on a subject."""
    return {
        "albums": [(one.album_key, one) for one in albums()],
        "names": [(one.album_key, one) for one in names()],
        "changes": [(str(one.id), one) for one in changes()],
        "exchanges": [(one.list_id, one) for one in exchanges()],
    }
