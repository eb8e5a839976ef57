"""Which events a photo belongs to, and what a page of changes or a listing means. Pure.

Drive says of an item how it is now, never what happened to it. So a page is laid over the tree that is
known, and the difference between before and after is what is to be done: a new, a restored and a moved-in
photo are the same thing, and so are a trashed, a deleted and a moved-out one. Facts and traps:
https://developers.google.com/workspace/drive/api/guides/about-changes
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from syncd.catalogue.drive import Pending, Root, TreeItem

NOBODY: frozenset[str] = frozenset()


class Seen(NamedTuple):
    """What Drive says of one item now. `item` is None where it is gone: deleted, trashed, not to be read,
    or nothing that events look at."""

    item_id: str
    item: TreeItem | None


class Tree:
    """Folders, shortcuts and some images, and the events whose folders are in it.

    A photo belongs to an event when it lies in its folder or below, when a shortcut there names it, or when
    it lies directly in a folder that such a shortcut names: shortcuts are followed one level.
    """

    def __init__(self, items: Mapping[str, TreeItem], roots: Iterable[Root]) -> None:
        self.items = items
        self._roots: dict[str, set[str]] = defaultdict(set)
        for root in roots:
            if not root.lost:
                self._roots[root.folder_id].add(root.event_id)
        self._shortcuts: dict[str, list[str]] = defaultdict(list)
        for item in items.values():
            if item.kind == "shortcut" and item.target_id and item.parent_id:
                self._shortcuts[item.target_id].append(item.parent_id)
        self._inside: dict[str, frozenset[str]] = {}

    def inside(self, folder_id: str | None) -> frozenset[str]:
        """Events in whose tree the folder is."""
        path: list[str] = []
        found = NOBODY
        while folder_id is not None:
            if folder_id in path:  # a tree half seen may have a loop: then each is in every other
                loop = path[path.index(folder_id) :]
                found = NOBODY.union(*(self._roots.get(step, NOBODY) for step in loop))
                break
            if folder_id in self._inside:
                found = self._inside[folder_id]
                break
            path.append(folder_id)
            item = self.items.get(folder_id)
            folder_id = item.parent_id if item is not None and item.kind == "folder" else None
        for step in reversed(path):
            found = self._inside[step] = found | self._roots.get(step, NOBODY)
        return found

    def named_by_shortcut(self, item_id: str) -> frozenset[str]:
        """Events in whose tree a shortcut names the item."""
        return NOBODY.union(*(self.inside(parent) for parent in self._shortcuts.get(item_id, ())))

    def events_of_folder(self, folder_id: str | None) -> frozenset[str]:
        """Events to which photos directly in this folder belong."""
        if folder_id is None:
            return NOBODY
        return self.inside(folder_id) | self.named_by_shortcut(folder_id)

    def events_of(self, item: TreeItem) -> frozenset[str]:
        """Events to which this photo belongs."""
        if item.kind != "image":
            return NOBODY
        return self.events_of_folder(item.parent_id) | self.named_by_shortcut(item.item_id)

    def is_tracked(self, item: TreeItem) -> bool:
        """Whether changes of the item matter to any event."""
        if item.kind == "folder":
            return bool(self.events_of_folder(item.item_id))
        if item.kind == "shortcut":
            return bool(self.inside(item.parent_id))
        return bool(self.events_of_folder(item.parent_id) or self.named_by_shortcut(item.item_id))


@dataclass(slots=True)
class TreePlan:
    """What changes in the catalogue's picture of Drive. `after` is the tree as it is then."""

    after: Tree
    keep: list[TreeItem] = field(default_factory=list)
    forget: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    """Items that are not there any more, known or not."""
    photos: set[str] = field(default_factory=set)
    """Photos that may belong to other events than before, or have other bytes or another name."""
    folders: set[str] = field(default_factory=set)
    """Folders that belong to other events than before; so do the images directly in them."""
    lost: set[str] = field(default_factory=set)
    """Events whose folder was seen before and is gone."""
    found: set[str] = field(default_factory=set)
    """Events whose folder was gone and is seen again: it has to be listed."""


def plan_tree(
    known: Mapping[str, TreeItem], roots: Iterable[Root], seen: Iterable[Seen], asked: str | None = None
) -> TreePlan:
    """Lays what was seen over what is known: all folders, shortcuts and unknown items, and those images
    that `seen` names. `asked` is the item that was listed or asked for, None for a page of changes."""
    touched = {one.item_id: one.item for one in seen}
    before_roots = list(roots)
    if asked in {root.folder_id for root in before_roots} or _is_moved(known, before_roots, touched):
        return plan_whole(known, before_roots, touched, asked)
    return plan_in_place(known, before_roots, touched, asked)


def _is_moved(
    known: Mapping[str, TreeItem], roots: Iterable[Root], touched: Mapping[str, TreeItem | None]
) -> bool:
    """Whether anything but images comes, goes, moves, or is another thing now, or a shortcut names it."""
    if any(_place(known.get(item_id)) != _place(item) for item_id, item in touched.items()):
        return True
    if any(
        root.folder_id in touched and root.lost != (_place(touched[root.folder_id]) is None) for root in roots
    ):
        return True
    return any(item.target_id in touched for item in known.values() if item.target_id)


def _place(item: TreeItem | None) -> tuple[str, str | None, str | None] | None:
    return None if item is None or item.kind == "image" else (item.kind, item.parent_id, item.target_id)


def plan_in_place(
    known: Mapping[str, TreeItem],
    roots: list[Root],
    touched: Mapping[str, TreeItem | None],
    asked: str | None,
) -> TreePlan:
    """The same where folders and shortcuts are as they were: most of a long listing, and most changes. Then
    nothing needs a look but what was seen, however many folders there are."""
    items = _laid_over(known, touched)
    before, after = Tree(known, roots), Tree(items, roots)
    plan = TreePlan(after, gone={item_id for item_id, item in touched.items() if item is None})
    changed = [*touched, asked] if asked is not None and asked not in touched else [*touched]
    _note_items(plan, before, asked, changed)
    plan.forget.update(item_id for item_id in plan.gone if item_id in known)
    _note_seen(plan, before, touched, asked)
    return plan


def _laid_over(known: Mapping[str, TreeItem], touched: Mapping[str, TreeItem | None]) -> dict[str, TreeItem]:
    items = dict(known)
    for item_id, item in touched.items():
        if item is None:
            items.pop(item_id, None)
        else:
            items[item_id] = item
    return items


def plan_whole(
    known: Mapping[str, TreeItem], before_roots: list[Root], touched: Mapping[str, TreeItem | None],
    asked: str | None,
) -> TreePlan:  # fmt: skip
    """The plan by comparing every folder before and after."""
    before = Tree(known, before_roots)
    items = _laid_over(known, touched)
    after_roots, lost, found = _roots_after(before_roots, touched)
    _add_targets(items, Tree(items, after_roots))
    after = Tree(items, after_roots)
    gone = {item_id for item_id, item in touched.items() if item is None}
    plan = TreePlan(after, gone=gone, lost=lost, found=found)
    folders = {one.item_id for one in (*known.values(), *items.values()) if one.kind == "folder"}
    folders |= {root.folder_id for root in before_roots}
    for folder_id in folders:
        if before.events_of_folder(folder_id) != after.events_of_folder(folder_id):
            plan.folders.add(folder_id)
    _note_items(plan, before, asked, list(after.items))
    plan.forget.update(before.items.keys() - after.items.keys())
    _note_seen(plan, before, touched, asked)
    _note_named(plan, before)
    return plan


def _roots_after(
    before: list[Root], touched: Mapping[str, TreeItem | None]
) -> tuple[list[Root], set[str], set[str]]:
    after, lost, found = [], set(), set()
    for root in before:
        is_lost = root.lost
        if root.folder_id in touched:
            item = touched[root.folder_id]
            is_lost = item is None or item.kind != "folder"
            if is_lost and not root.lost:
                lost.add(root.event_id)
            elif root.lost and not is_lost:
                found.add(root.event_id)
        after.append(root._replace(lost=is_lost))
    return after, lost, found


def _add_targets(items: dict[str, TreeItem], tree: Tree) -> None:
    """What a shortcut names has to be asked for before it is known what it is."""
    for item in list(items.values()):
        is_open = item.kind == "shortcut" and item.target_id and item.target_id not in items
        if is_open and tree.is_tracked(item):
            items[item.target_id or ""] = TreeItem(item.target_id or "", "unknown", pending="look")


def _note_items(plan: TreePlan, before: Tree, asked: str | None, item_ids: Iterable[str]) -> None:
    after = plan.after
    for item_id in item_ids:
        item, old = after.items.get(item_id), before.items.get(item_id)
        if item is None:
            continue
        if not after.is_tracked(item):
            if old is not None:
                plan.forget.add(item_id)
            continue
        if item.kind == "folder":
            item = item._replace(pending=_listing_due(item_id, old, before, after, asked))
        if item != old:
            plan.keep.append(item)


def _listing_due(
    folder_id: str, old: TreeItem | None, before: Tree, after: Tree, asked: str | None
) -> Pending | None:
    """A folder that came into a tree brings things along of which Drive says nothing by itself."""
    if old is None or old.kind != "folder":
        return "list"
    if folder_id == asked:
        return None
    if old.pending:
        return "list"
    came_in = after.inside(folder_id) and not before.inside(folder_id)
    return "list" if came_in or not before.events_of_folder(folder_id) else None


def _note_seen(
    plan: TreePlan, before: Tree, touched: Mapping[str, TreeItem | None], asked: str | None
) -> None:
    for item_id, item in touched.items():
        old = before.items.get(item_id)
        if item is None:
            plan.photos.add(item_id)
        elif item == old and asked is None:
            continue  # only viewed, or commented on
        plan.photos.update(_photos_behind(item_id, item), _photos_behind(item_id, old))


def _note_named(plan: TreePlan, before: Tree) -> None:
    named = before._shortcuts.keys() | plan.after._shortcuts.keys()
    plan.photos |= {
        item_id
        for item_id in named
        if before.named_by_shortcut(item_id) != plan.after.named_by_shortcut(item_id)
    }


def _photos_behind(item_id: str, item: TreeItem | None) -> set[str]:
    """The photo that this item may be, or names."""
    if item is None or item.kind == "folder":
        return set()
    if item.kind == "shortcut":
        return {item.target_id} if item.target_id else set()
    return {item_id}
