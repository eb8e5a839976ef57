"""Writes what was seen in Drive into the catalogue, in one transaction with the jobs that come of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import aiosqlite

from syncd.catalogue import drive, event_photos, events, guards
from syncd.catalogue.drive import TreeItem
from syncd.catalogue.event_photos import Membership
from syncd.flows.events_plan import Seen, Tree, TreePlan, plan_tree
from syncd.flows.removal_guard import judge, removal_limit
from syncd.model import Action
from syncd.remotes.drive_items import Change, DriveItem

LOST = "its folder in Google Drive was deleted, is in the trash, or is not shared any more"


class Routed(NamedTuple):
    """What came of it: photos given a job, photos that left as (event_id, photo_id), events whose folder was
    lost or found."""

    queued: int = 0
    left: tuple[tuple[str, str], ...] = ()
    lost: tuple[str, ...] = ()
    found: tuple[str, ...] = ()


class Sweep(NamedTuple):
    """What a listing of a whole folder took out: how many photos, or, where they were many, how many of
    them wait for a person, and for which reason."""

    left: int
    held: int
    reason: str | None
    guard_id: str | None


def tree_item(item: DriveItem | None) -> TreeItem | None:
    """What events need to know of an item; None for what they do not look at."""
    if item is None or item.trashed:
        return None
    where = TreeItem(item.id, "unknown", item.parent_id, item.name, drive_id=item.drive_id or "")
    if item.is_folder:
        return where._replace(kind="folder", resource_key=item.resource_key)
    if item.is_shortcut:
        return None if item.target is None else where._replace(kind="shortcut", target_id=item.target.id)
    if not item.is_image:
        return None
    return where._replace(
        kind="image",
        content=item.md5 or f"revision:{item.head_revision_id or ''}",
        md5=item.md5,
        sha256=item.sha256,
        size_bytes=item.size_bytes,
        mime_type=item.mime_type,
        resource_key=item.resource_key,
    )


async def route_changes(
    db: aiosqlite.Connection, account: str, drive_id: str, changes: Iterable[Change]
) -> Routed:
    """Routes a page of the feed."""
    latest = {change.file_id: tree_item(change.item) for change in changes}
    if not latest:
        return Routed()
    gone = [item_id for item_id, item in latest.items() if item is None]
    for known in await drive.items(db, account, gone):
        # An item that moved to another drive leaves a tombstone in the log of the one that it was in.
        if known.drive_id != drive_id and known.kind != "unknown":
            del latest[known.item_id]
    return await route(db, account, [Seen(*pair) for pair in latest.items()])


async def route(
    db: aiosqlite.Connection, account: str, seen: Collection[Seen], asked: str | None = None
) -> Routed:
    """Lays what was seen over what is known, and makes events want just the photos that they should. `asked`
    is the item that was listed or asked for, None for a page of changes."""
    if not seen and asked is None:
        return Routed()
    roots = await drive.roots(db, account)
    ids = {one.item_id for one in seen} | {one.item.target_id for one in seen if one.item is not None}
    plan = plan_tree(await _known(db, account, ids), roots, seen, asked)
    members = await _members(db, account, plan)
    await _keep(db, account, plan, members)
    for event_id in plan.lost:
        await events.note_lost(db, event_id, LOST)
    for event_id in plan.found:
        await events.note_found(db, event_id)
    # What a folder that could not be seen before held is for its listing to tell.
    heard = {root.event_id for root in roots if not root.lost}
    effects = await event_photos.set_members(db, account, members, heard)
    return Routed(effects.queued, tuple(effects.left), tuple(plan.lost), tuple(plan.found))


async def sweep(
    db: aiosqlite.Connection,
    account: str,
    event_id: str,
    listed: Collection[str],
    seen: Collection[str],
    *,
    max_delete: int,
    max_delete_percent: float,
) -> Sweep:
    """After a whole folder was listed: what is known in the folders `listed` and was not `seen` is gone,
    unless it is so much that a person should look first."""
    roots = await drive.roots(db, account)
    stale = await drive.child_ids(db, account, listed) - frozenset(seen)
    plan = plan_tree(await _known(db, account, stale), roots, [Seen(item_id, None) for item_id in stale])
    have = await events.member_ids(db, event_id)
    missing = have - await _photos_of(db, account, plan, event_id, stale)
    members = await _members(db, account, plan)
    looked_at = {member.photo_id for member in members}
    members += [Membership(photo_id, None, frozenset()) for photo_id in missing - looked_at]
    # A photo that left this event may well be in others: there it is not missing.
    only_here = [member for member in members if member.photo_id not in looked_at]
    leaving = await event_photos.leaving(db, members, {event_id})
    kind = events.GUARD_PREFIX + event_id
    limit = removal_limit(max_delete, max_delete_percent, len(have))
    actions = [Action("remove", event_id, "", name, photo_id) for _, photo_id, name in leaving]
    approved = await guards.approved_actions(db, kind)
    verdict = judge(actions, (), limit=limit, recent=0, approved=approved)
    if verdict.held:
        reason = (
            f"{len(verdict.held):,} of {len(have):,} photos of {event_id} are not in its folder any more;"
            f" that is more than the {limit:,} that may go without asking"
        )
        guard = await guards.raise_guard(db, kind, reason, verdict.held, len(have))
        return Sweep(0, len(verdict.held), reason, guard.id)
    await guards.gone(db, kind=kind)
    await _keep(db, account, plan, members)
    heard = {root.event_id for root in roots if not root.lost}
    others = [member for member in members if member.photo_id in looked_at]
    await event_photos.set_members(db, account, others, heard)
    await event_photos.set_members(db, account, only_here, {event_id})
    return Sweep(len(leaving), 0, None, None)


async def _known(db: aiosqlite.Connection, account: str, ids: AbstractSet[str | None]) -> dict[str, TreeItem]:
    """The tree without its images, but for those of these ids, and those that shortcuts name."""
    known = {item.item_id: item for item in await drive.skeleton(db, account)}
    targets = {item.target_id for item in known.values() if item.target_id}
    missing = {name for name in ids | targets if name is not None} - known.keys()
    known.update({item.item_id: item for item in await drive.items(db, account, missing)})
    return known


async def _members(db: aiosqlite.Connection, account: str, plan: TreePlan) -> list[Membership]:
    """Every photo that the plan touches, with the events that it belongs to from now on."""
    items = {item.item_id: item for item in await drive.children(db, account, plan.folders, images_only=True)}
    photo_ids = plan.photos | items.keys()
    items.update(plan.after.items)
    members = []
    for photo_id in photo_ids:
        item = items.get(photo_id) if photo_id in plan.after.items or photo_id not in plan.gone else None
        if item is not None and item.pending == "look":
            continue  # a shortcut names it: it is asked for before anything is concluded
        is_photo = item is not None and item.kind == "image"
        belongs = plan.after.events_of(item) if item is not None else frozenset()
        members.append(Membership(photo_id, item if is_photo else None, belongs))
    return members


async def _keep(
    db: aiosqlite.Connection, account: str, plan: TreePlan, members: Iterable[Membership]
) -> None:
    strays = {
        member.photo_id
        for member in members
        if member.item is not None and not plan.after.is_tracked(member.item)
    }
    await drive.keep_items(db, account, plan.keep)
    await drive.forget_items(db, account, plan.forget | strays)


async def _photos_of(
    db: aiosqlite.Connection, account: str, plan: TreePlan, event_id: str, stale: set[str]
) -> set[str]:
    """Photos that are known to belong to the event."""
    after: Tree = plan.after
    folders = [
        item.item_id
        for item in after.items.values()
        if item.kind == "folder" and event_id in after.events_of_folder(item.item_id)
    ]
    found = await drive.child_ids(db, account, folders, images_only=True) - stale
    found |= {item.item_id for item in after.items.values() if event_id in after.events_of(item)}
    return found
