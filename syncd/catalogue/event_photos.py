"""The photos that events want and have, and the jobs that bring them from the one to the other."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import aiosqlite

from syncd.catalogue import faces
from syncd.catalogue._sqlite import NOW
from syncd.catalogue.drive import ACTIVE, TreeItem

EVENT_PHOTO = "event_photo"
"""Kind of the one job that a photo has while something is left to do for it."""

_AMONG = "IN (SELECT value FROM json_each(?))"


class Membership(NamedTuple):
    """A photo as it is now, and the events that it belongs to. `item` is None where it is gone."""

    photo_id: str
    item: TreeItem | None
    events: frozenset[str]


class Effects(NamedTuple):
    """What changed: (event_id, photo_id) of photos that left, how many are to be brought in, and the
    events whose faces changed."""

    left: list[tuple[str, str]]
    queued: int


# --- routing ---------------------------------------------------------------------------------------


async def leaving(
    db: aiosqlite.Connection, members: Iterable[Membership], events: Collection[str]
) -> list[tuple[str, str, str]]:
    """(event_id, photo_id, photo_name) of photos that these memberships would take from these events."""
    stay = {(event_id, member.photo_id) for member in members for event_id in member.events}
    ids = json.dumps(sorted({member.photo_id for member in members}))
    rows = await db.execute_fetchall(
        f"SELECT event_id, photo_id, photo_name FROM event_wanted WHERE photo_id {_AMONG}"
        " UNION SELECT event_id, photo_id, photo_name FROM synced_photos"
        f" WHERE photo_id {_AMONG} AND removed_at IS NULL",
        (ids, ids),
    )
    found = {(row[0], row[1]): row[2] for row in rows}
    return [(*pair, name) for pair, name in found.items() if pair[0] in events and pair not in stay]


async def set_members(
    db: aiosqlite.Connection, account: str, members: Collection[Membership], events: Collection[str]
) -> Effects:
    """Makes the photos belong to just those of `events`: what came is wanted, copied where another event
    has it already, or given a job; what left is taken out with its faces."""
    gone = [(event_id, photo_id) for event_id, photo_id, _ in await leaving(db, members, events)]
    wanted = [
        (event_id, member.photo_id, account, item.name, *item[4:9], item.resource_key)
        for member in members
        if (item := member.item) is not None
        for event_id in member.events
        if event_id in events
    ]
    await db.executemany(
        "INSERT OR REPLACE INTO event_wanted (event_id, photo_id, account, photo_name, content, md5,"
        " sha256, size_bytes, mime_type, resource_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        wanted,
    )
    ids = sorted({member.photo_id for member in members})
    await _rename(db, ids)
    await _copy_known(db, ids)
    await take_out(db, gone)
    queued = await queue_photos(db, ids)
    await drop_idle_jobs(db, ids)
    return Effects(gone, queued)


async def _rename(db: aiosqlite.Connection, ids: list[str]) -> None:
    await db.execute(
        "UPDATE synced_photos SET photo_name = w.photo_name FROM event_wanted w"
        " WHERE w.event_id = synced_photos.event_id AND w.photo_id = synced_photos.photo_id"
        f" AND synced_photos.photo_name <> w.photo_name AND synced_photos.photo_id {_AMONG}",
        (json.dumps(ids),),
    )


async def _copy_known(db: aiosqlite.Connection, ids: list[str]) -> None:
    """A photo that moves between events, or is in several, is not downloaded for each."""
    rows = await db.execute_fetchall(
        "SELECT w.event_id, s.event_id, w.photo_id FROM event_wanted w JOIN synced_photos s"
        " ON s.photo_id = w.photo_id AND s.content = w.content AND s.removed_at IS NULL"
        " AND s.event_id <> w.event_id"
        f" WHERE w.photo_id {_AMONG} AND NOT EXISTS (SELECT 1 FROM synced_photos h"
        " WHERE h.event_id = w.event_id AND h.photo_id = w.photo_id AND h.removed_at IS NULL)"
        " ORDER BY s.faces_indexed",
        (json.dumps(ids),),
    )
    for event_id, source, photo_id in {(row[0], row[2]): row for row in rows}.values():
        await db.execute(
            "INSERT INTO synced_photos (event_id, photo_id, photo_name, content, md5, sha256, size_bytes,"
            " width, height, captured_at, faces_indexed)"
            " SELECT w.event_id, s.photo_id, w.photo_name, s.content, s.md5, s.sha256, s.size_bytes, s.width,"
            " s.height, s.captured_at, s.faces_indexed FROM synced_photos s JOIN event_wanted w"
            " ON w.event_id = ? AND w.photo_id = s.photo_id WHERE s.event_id = ? AND s.photo_id = ?"
            " ON CONFLICT (event_id, photo_id) DO UPDATE SET photo_name = excluded.photo_name, announced = 0,"
            f" removed_at = NULL, synced_at = {NOW}, content = excluded.content, md5 = excluded.md5,"
            " sha256 = excluded.sha256, size_bytes = excluded.size_bytes, width = excluded.width,"
            " height = excluded.height, captured_at = excluded.captured_at,"
            " faces_indexed = excluded.faces_indexed",
            (event_id, source, photo_id),
        )
        await faces.copy(db, source, event_id, photo_id)


async def take_out(db: aiosqlite.Connection, pairs: Collection[tuple[str, str]]) -> None:
    """These (event_id, photo_id) have left: out of photos, faces and searches, their objects unwanted."""
    if not pairs:
        return
    await db.executemany("DELETE FROM event_wanted WHERE event_id = ? AND photo_id = ?", pairs)
    await db.executemany(
        f"UPDATE synced_photos SET removed_at = {NOW}, faces_indexed = 0"
        " WHERE event_id = ? AND photo_id = ? AND removed_at IS NULL",
        pairs,
    )
    await db.executemany("UPDATE event_objects SET wanted = 0 WHERE event_id = ? AND photo_id = ?", pairs)
    await faces.drop(db, pairs)


# --- jobs ------------------------------------------------------------------------------------------

_LACKS = (
    "(s.id IS NULL OR s.content <> w.content OR (e.publish = 1 AND NOT EXISTS (SELECT 1 FROM event_objects o"
    " WHERE o.event_id = w.event_id AND o.photo_id = w.photo_id AND o.content = w.content AND o.wanted = 1"
    " AND o.confirmed_at IS NOT NULL)))"
)
_WANTED = (
    "event_wanted w JOIN events e USING (event_id) LEFT JOIN synced_photos s"
    " ON s.event_id = w.event_id AND s.photo_id = w.photo_id AND s.removed_at IS NULL"
)
_AGAIN = (
    " ON CONFLICT (kind, item) WHERE item IS NOT NULL DO UPDATE SET subject = excluded.subject,"
    " state = iif(state = 'running', 'running', 'queued'), revision = revision + 1, next_attempt_at = NULL,"
    f" updated_at = {NOW}"
)


async def queue_photos(db: aiosqlite.Connection, ids: Collection[str]) -> int:
    """Gives a job to each of these photos that an active event wants and does not have as it is now; returns
    how many."""
    return await _count(
        db,
        "INSERT INTO jobs (kind, item, subject)"
        f" SELECT '{EVENT_PHOTO}', w.photo_id, max(w.photo_name) FROM {_WANTED}"
        f" WHERE w.photo_id {_AMONG} AND {ACTIVE} AND {_LACKS} GROUP BY w.photo_id{_AGAIN}",
        (json.dumps(list(ids)),),
    )


async def bring_again(db: aiosqlite.Connection, ids: Collection[str]) -> int:
    """Gives a job to each of these photos that any event wants, followed or not; returns how many."""
    return await _count(
        db,
        "INSERT INTO jobs (kind, item, subject)"
        f" SELECT '{EVENT_PHOTO}', w.photo_id, max(w.photo_name) FROM event_wanted w"
        f" WHERE w.photo_id {_AMONG} GROUP BY w.photo_id{_AGAIN}",
        (json.dumps(list(ids)),),
    )


async def are_busy(db: aiosqlite.Connection, ids: Collection[str]) -> bool:
    """Whether a job of any of these photos is queued or runs."""
    rows = await db.execute_fetchall(
        f"SELECT 1 FROM jobs WHERE kind = '{EVENT_PHOTO}' AND state IN ('queued', 'running')"
        f" AND item {_AMONG} LIMIT 1",
        (json.dumps(list(ids)),),
    )
    return bool(list(rows))


async def queue_unindexed(db: aiosqlite.Connection, event_id: str | None = None) -> int:
    """Gives a job to each photo whose faces were not looked for, of this event or of those that are followed;
    returns how many."""
    return await _count(
        db,
        "INSERT INTO jobs (kind, item, subject)"
        f" SELECT '{EVENT_PHOTO}', w.photo_id, max(w.photo_name) FROM {_WANTED}"
        " WHERE iif(?1 IS NULL, e.auto_sync_enabled, e.event_id = ?1) AND s.faces_indexed = 0"
        f" GROUP BY w.photo_id{_AGAIN}",
        (event_id,),
    )


async def has_unindexed(db: aiosqlite.Connection) -> bool:
    """Whether an event that is followed has a photo whose faces were not looked for, and no job for that."""
    rows = await db.execute_fetchall(
        "SELECT 1 FROM synced_photos s JOIN events e USING (event_id)"
        " JOIN event_wanted w USING (event_id, photo_id)"
        " WHERE s.faces_indexed = 0 AND s.removed_at IS NULL AND e.auto_sync_enabled = 1 AND NOT EXISTS"
        f" (SELECT 1 FROM jobs j WHERE j.kind = '{EVENT_PHOTO}' AND j.item = s.photo_id) LIMIT 1"
    )
    return bool(list(rows))


async def has_faces(db: aiosqlite.Connection) -> bool:
    """Whether a face was found in any photo of any event."""
    return bool(await db.execute_fetchall("SELECT 1 FROM faces LIMIT 1"))


async def queue_unpublished(db: aiosqlite.Connection, storage_id: str) -> int:
    """Gives a job to each photo of a published, followed event that this storage does not hold."""
    return await _count(
        db,
        "INSERT INTO jobs (kind, item, subject)"
        f" SELECT '{EVENT_PHOTO}', w.photo_id, max(w.photo_name) FROM {_WANTED} WHERE e.auto_sync_enabled = 1"
        " AND e.publish = 1 AND NOT EXISTS (SELECT 1 FROM event_objects o WHERE o.event_id = w.event_id"
        " AND o.photo_id = w.photo_id AND o.storage_id = ? AND o.confirmed_at IS NOT NULL)"
        f" GROUP BY w.photo_id{_AGAIN}",
        (storage_id,),
    )


async def drop_idle_jobs(db: aiosqlite.Connection, ids: Collection[str] | None = None) -> None:
    """Removes jobs of photos that no event wants any more; of these photos, or all."""
    which = "" if ids is None else f" AND item {_AMONG}"
    await db.execute(
        f"DELETE FROM jobs WHERE kind = '{EVENT_PHOTO}' AND state <> 'running'{which}"
        " AND NOT EXISTS (SELECT 1 FROM event_wanted w WHERE w.photo_id = jobs.item)",
        () if ids is None else (json.dumps(list(ids)),),
    )


class PhotoJob(NamedTuple):
    """One job to be done. `account` is the one that can read the photo."""

    job_id: str
    photo_id: str
    photo_name: str
    account: str
    revision: int
    attempts: int


async def due_photos(
    db: aiosqlite.Connection, *, limit: int, busy: Collection[str], parked: Collection[str]
) -> list[PhotoJob]:
    """Jobs that may start now, oldest first: not those of `busy` photos, nor of `parked` accounts."""
    # The plus keeps SQLite on the order of the rows: few are read, where an index would mean all.
    rows = await db.execute_fetchall(
        "SELECT j.id, j.item, j.subject, (SELECT w.account FROM event_wanted w JOIN events e USING (event_id)"
        " WHERE w.photo_id = j.item ORDER BY w.account IN (SELECT value FROM json_each(?2)),"
        " e.auto_sync_enabled DESC, w.event_id LIMIT 1) AS account, j.revision, j.attempts FROM jobs j"
        f" WHERE +j.kind = '{EVENT_PHOTO}' AND (+j.state IN ('queued', 'running') OR (+j.state = 'waiting'"
        f" AND j.next_attempt_at <= {NOW})) AND j.item NOT IN (SELECT value FROM json_each(?1))"
        " AND (account IS NULL OR account NOT IN (SELECT value FROM json_each(?2)))"
        " ORDER BY j.number LIMIT ?3",
        (json.dumps(list(busy)), json.dumps(list(parked)), limit),
    )
    return [PhotoJob(row[0], row[1], row[2], row[3] or "", row[4], row[5]) for row in rows]


async def next_due_in_s(db: aiosqlite.Connection) -> float | None:
    """Seconds until the first waiting photo is tried again, None when none waits."""
    rows = list(
        await db.execute_fetchall(
            "SELECT (julianday(min(next_attempt_at)) - julianday('now')) * 86400 FROM jobs"
            f" WHERE kind = '{EVENT_PHOTO}' AND state = 'waiting'"
        )
    )
    return None if rows[0][0] is None else max(0.0, float(rows[0][0]))


async def start_job(db: aiosqlite.Connection, job: PhotoJob) -> None:
    """One more attempt; the error of the last one stays to be seen."""
    await db.execute(
        f"UPDATE jobs SET state = 'running', attempts = attempts + 1, updated_at = {NOW} WHERE id = ?",
        (job.job_id,),
    )


async def end_job(db: aiosqlite.Connection, job: PhotoJob) -> None:
    """The photo is where it should be. A job that was called for again meanwhile goes back to the queue."""
    await db.execute("DELETE FROM jobs WHERE id = ? AND revision = ?", (job.job_id, job.revision))
    await db.execute(
        f"UPDATE jobs SET state = 'queued', updated_at = {NOW} WHERE id = ? AND state = 'running'",
        (job.job_id,),
    )
    await queue_photos(db, [job.photo_id])


async def put_back(db: aiosqlite.Connection, job: PhotoJob) -> None:
    """The attempt does not count: nothing was wrong with the photo."""
    await db.execute(
        f"UPDATE jobs SET state = 'queued', attempts = max(0, attempts - 1), updated_at = {NOW}"
        " WHERE id = ? AND state = 'running'",
        (job.job_id,),
    )


async def fail_job(db: aiosqlite.Connection, job: PhotoJob, error: str, next_attempt_at: str | None) -> None:
    """The attempt failed; without a next time the photo waits for a change, a listing or a person. One that
    was called for again meanwhile goes back to the queue."""
    await db.execute(
        f"UPDATE jobs SET error = ?, updated_at = {NOW}, next_attempt_at = iif(revision = ?, ?, NULL),"
        " state = iif(revision <> ?, 'queued', iif(? IS NULL, 'failed', 'waiting'))"
        " WHERE id = ? AND state = 'running'",
        (error, job.revision, next_attempt_at, job.revision, next_attempt_at, job.job_id),
    )


async def interrupted(db: aiosqlite.Connection) -> None:
    """What a killed daemon left running is to be done again."""
    await db.execute(f"UPDATE jobs SET state = 'queued' WHERE kind = '{EVENT_PHOTO}' AND state = 'running'")


# --- one photo -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Need:
    """An event that wants this photo. `has`: it has these bytes; `indexed`: their faces, too; `key`: where
    they are in storage."""

    event_id: str
    account: str
    photo_name: str
    content: str
    md5: str | None
    sha256: str | None
    size_bytes: int | None
    mime_type: str
    resource_key: str | None
    publish: bool
    has: bool
    indexed: bool
    key: str | None


async def needs(db: aiosqlite.Connection, photo_id: str, account: str, storage_id: str) -> list[Need]:
    """Every event that wants the photo through this account, those that are followed first."""
    rows = await db.execute_fetchall(
        "SELECT w.event_id, w.account, w.photo_name, w.content, w.md5, w.sha256, w.size_bytes, w.mime_type,"
        " w.resource_key, e.publish, s.content IS w.content, s.content IS w.content AND s.faces_indexed,"
        " (SELECT o.key FROM event_objects o WHERE o.event_id = w.event_id AND o.photo_id = w.photo_id"
        " AND o.storage_id = ? AND o.wanted = 1 AND o.content = w.content AND o.confirmed_at IS NOT NULL)"
        f" FROM {_WANTED} WHERE w.photo_id = ? AND w.account = ?"
        " ORDER BY e.auto_sync_enabled DESC, w.event_id",
        (storage_id, photo_id, account),
    )
    found = []
    for row in rows:
        values: list[Any] = list(row)
        values[9:12] = map(bool, values[9:12])
        found.append(Need(*values))
    return found


@dataclass(frozen=True, slots=True)
class PhotoRecord:
    """A photo that was downloaded and checked. `faces` is None where they were not looked for."""

    photo_id: str
    content: str
    md5: str
    sha256: str
    size_bytes: int
    width: int | None
    height: int | None
    captured_at: str | None
    faces: tuple[faces.FaceRow, ...] | None


async def record(db: aiosqlite.Connection, event_id: str, photo: PhotoRecord) -> bool:
    """The event has the photo now. False when it does not want it any more, or not with these bytes."""
    rows = await db.execute_fetchall(
        "SELECT photo_name FROM event_wanted WHERE event_id = ? AND photo_id = ? AND content = ?",
        (event_id, photo.photo_id, photo.content),
    )
    name = next((row[0] for row in rows), None)
    if name is None:
        return False
    await db.execute(
        "INSERT INTO synced_photos (event_id, photo_id, photo_name, content, md5, sha256, size_bytes, width,"
        " height, captured_at, faces_indexed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (event_id, photo_id) DO UPDATE SET photo_name = excluded.photo_name,"
        " removed_at = NULL, announced = iif(removed_at IS NULL, announced, 0),"
        f" synced_at = iif(removed_at IS NULL AND sha256 = excluded.sha256, synced_at, {NOW}),"
        " content = excluded.content, md5 = excluded.md5, sha256 = excluded.sha256,"
        " size_bytes = excluded.size_bytes, width = excluded.width, height = excluded.height,"
        " captured_at = excluded.captured_at, faces_indexed = excluded.faces_indexed",
        (event_id, photo.photo_id, name, *astuple(photo)[1:-1], photo.faces is not None),
    )
    await faces.drop(db, [(event_id, photo.photo_id)])
    if photo.faces:
        await faces.add(db, event_id, photo.photo_id, photo.faces)
    return True


async def _count(db: aiosqlite.Connection, sql: str, values: tuple[Any, ...]) -> int:
    async with db.execute(sql, values) as cursor:
        return cursor.rowcount
