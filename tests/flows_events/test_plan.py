"""What one item means for the tree and its events, case by case."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.catalogue.drive import Root, TreeItem
from syncd.flows.events_plan import Seen, Tree, TreePlan, plan_tree, plan_whole
from syncd.flows.events_route import tree_item
from syncd.remotes.drive_items import FOLDER, SHORTCUT, DriveItem, ShortcutTarget


def folder(name: str, parent: str | None = None, **more: str | None) -> TreeItem:
    return TreeItem(name, "folder", parent, name, **more)  # type: ignore[arg-type]


def image(name: str, parent: str | None, content: str = "1") -> TreeItem:
    return TreeItem(name, "image", parent, f"{name}.jpg", content)


def shortcut(name: str, parent: str, target: str) -> TreeItem:
    return TreeItem(name, "shortcut", parent, name, target_id=target)


ROOTS = [Root("one", "A", False), Root("two", "B", False), Root("inner", "a2", False)]
KNOWN = [
    folder("A"), folder("a1", "A"), folder("a2", "a1"), folder("B"),
    image("p", "A"), image("q", "a2"), image("r", "B"),
]  # fmt: skip


def plan(*seen: Seen, known: Sequence[TreeItem] = KNOWN, asked: str | None = None) -> TreePlan:
    return plan_tree({item.item_id: item for item in known}, ROOTS, seen, asked)


def kept(found: TreePlan) -> dict[str, str | None]:
    """What is recorded, with what is left to do for it."""
    return {item.item_id: item.pending for item in found.keep}


def belongs(found: TreePlan, item_id: str) -> set[str]:
    return set(found.after.events_of(found.after.items[item_id]))


@pytest.mark.parametrize(
    ("seen", "photos", "forgotten", "events"),
    [
        pytest.param(image("n", "A"), {"n"}, set(), {"one"}, id="new"),
        pytest.param(image("n", "a2"), {"n"}, set(), {"one", "inner"}, id="new below, in two events"),
        pytest.param(image("n", "elsewhere"), {"n"}, set(), set(), id="new elsewhere"),
        pytest.param(image("p", "A", "2"), {"p"}, set(), {"one"}, id="replaced"),
        pytest.param(image("p", "A")._replace(name="z.jpg"), {"p"}, set(), {"one"}, id="renamed"),
        pytest.param(image("p", "A"), set(), set(), {"one"}, id="only viewed"),
        pytest.param(image("p", "B"), {"p"}, set(), {"two"}, id="moved to another event"),
        pytest.param(image("p", "a1"), {"p"}, set(), {"one"}, id="moved into a subfolder"),
        pytest.param(image("p", "elsewhere"), {"p"}, {"p"}, set(), id="moved out"),
        pytest.param(image("p", None), {"p"}, {"p"}, set(), id="parent not visible"),
    ],
)
def test_a_photo(seen: TreeItem, photos: set[str], forgotten: set[str], events: set[str]) -> None:
    found = plan(Seen(seen.item_id, seen))
    assert (found.photos, found.forget) == (photos, forgotten)
    assert belongs(found, seen.item_id) == events
    changed = seen not in KNOWN and bool(events)
    assert kept(found) == ({seen.item_id: None} if changed else {})


def test_a_photo_that_is_gone() -> None:
    found = plan(Seen("p", None), Seen("never heard of", None))
    assert found.photos == {"p", "never heard of"} and found.forget == {"p"} and found.keep == []


def test_a_photo_that_was_listed_is_looked_at_though_nothing_changed() -> None:
    assert plan(Seen("p", image("p", "A")), asked="A").photos == {"p"}


def test_a_new_folder_is_listed_and_so_is_one_that_came_in() -> None:
    assert kept(plan(Seen("n", folder("n", "A")))) == {"n": "list"}
    assert kept(plan(Seen("n", folder("n", "elsewhere")))) == {}
    # Drive says nothing by itself of what a folder brings along: it may be seen before its folder is.
    found = plan(Seen("x", image("x", "n")), Seen("n", folder("n", "a1")))
    assert kept(found) == {"n": "list", "x": None} and belongs(found, "x") == {"one"}


def test_a_listed_folder_has_nothing_left_to_do() -> None:
    known = [*KNOWN, folder("n", "A", pending="list")]
    assert kept(plan(known=known, asked="n")) == {"n": None}
    assert kept(plan(Seen("p", None), known=known)) == {}


def test_a_folder_moves_with_all_in_it() -> None:
    found = plan(Seen("a1", folder("a1", "B")))
    assert found.folders == {"a1", "a2"} and kept(found) == {"a1": None}
    assert found.after.events_of_folder("a2") == {"two", "inner"}


def test_a_folder_that_leaves_takes_all_along_but_what_is_an_event_of_its_own() -> None:
    for seen in (Seen("a1", None), Seen("a1", folder("a1", "elsewhere"))):
        found = plan(seen)
        assert found.forget == {"a1"} and found.folders == {"a1", "a2"}
        assert found.after.events_of_folder("a2") == {"inner"}


def test_a_root_that_is_gone_empties_its_event_and_is_found_again() -> None:
    found = plan(Seen("B", None))
    assert found.lost == {"two"} and found.folders == {"B"} and found.forget == {"B", "r"}
    lost = [root._replace(lost=root.event_id == "two") for root in ROOTS]
    back = plan_tree({}, lost, [Seen("B", folder("B"))])
    assert back.found == {"two"} and kept(back) == {"B": "list"}


def test_shortcuts_are_followed_one_level() -> None:
    found = plan(Seen("s", shortcut("s", "A", "t")))
    assert kept(found) == {"s": None, "t": "look"}
    known = [*KNOWN, shortcut("s", "A", "t"), TreeItem("t", "unknown", pending="look")]
    photo = plan(Seen("t", image("t", "elsewhere")), known=known, asked="t")
    assert kept(photo) == {"t": None} and belongs(photo, "t") == {"one"} and photo.photos == {"t"}
    target = plan(Seen("t", folder("t", "elsewhere")), known=known, asked="t")
    assert kept(target) == {"t": "list"} and target.after.events_of_folder("t") == {"one"}
    known = [*KNOWN, shortcut("s", "A", "t"), folder("t", "elsewhere")]
    below = plan(
        Seen("u", folder("u", "t")),
        Seen("v", shortcut("v", "t", "w")),
        Seen("x", image("x", "t")),
        known=known,
    )
    assert kept(below) == {"x": None} and belongs(below, "x") == {"one"}
    gone = plan(Seen("s", None), known=known)
    assert gone.forget == {"s", "t"} and gone.folders == {"t"}


def test_a_target_that_is_gone_is_asked_for_and_what_is_nothing_is_not_asked_for_again() -> None:
    known = [*KNOWN, shortcut("s", "A", "t"), image("t", "elsewhere")]
    assert kept(plan(Seen("t", None), known=known)) == {"t": "look"}
    known = [*KNOWN, shortcut("s", "A", "t"), TreeItem("t", "unknown", pending="look")]
    assert kept(plan(Seen("t", TreeItem("t", "unknown")), known=known, asked="t")) == {"t": None}


def test_a_loop_in_a_tree_half_seen_ends() -> None:
    items = {item.item_id: item for item in (folder("x", "y"), folder("y", "x"), folder("A", "x"))}
    tree = Tree(items, ROOTS)
    assert tree.inside("x") == frozenset() and tree.inside("A") == {"one"}


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (DriveItem("i", "a.jpg", "image/jpeg", md5="m"), "image"),
        (DriveItem("i", "a.CR2", "application/octet-stream", md5="m"), "image"),
        (DriveItem("i", "a.jpg", "application/vnd.google-apps.document"), None),
        (DriveItem("i", "a.txt", "text/plain", md5="m"), None),
        (DriveItem("i", "a.jpg", "image/jpeg", md5="m", trashed=True), None),
        (DriveItem("i", "a", FOLDER), "folder"),
        (DriveItem("i", "a", SHORTCUT, target=ShortcutTarget("t", "image/jpeg")), "shortcut"),
        (DriveItem("i", "a", SHORTCUT), None),
        (None, None),
    ],
)
def test_what_events_look_at(found: DriveItem | None, kind: str | None) -> None:
    item = tree_item(found)
    assert (item.kind if item else None) == kind


FOLDERS = ["A", "B", "a1", "a2", "x", "y"]
IMAGES = ["p", "q", "r"]


@st.composite
def trees(draw: st.DrawFn) -> dict[str, TreeItem]:
    """What is known after some folders, shortcuts and images were seen: nothing that no event looks at."""
    parents = st.sampled_from([*FOLDERS, "elsewhere"])
    known: dict[str, TreeItem] = {}
    for name in FOLDERS:
        pending = draw(st.sampled_from([None, None, "list"]))
        known[name] = folder(name, draw(parents))._replace(pending=pending)  # type: ignore[arg-type]
    for name in draw(st.sets(st.sampled_from(["s", "t"]))):
        known[name] = shortcut(name, draw(parents), draw(st.sampled_from([*FOLDERS, *IMAGES, "other"])))
    for name in draw(st.sets(st.sampled_from(IMAGES))):
        known[name] = image(name, draw(parents))
    for _ in range(3):  # forgetting one thing may leave another that nobody looks at
        found = plan_whole(known, ROOTS, {}, None)
        known = {name: item for name, item in known.items() if name not in found.forget}
        known |= {item.item_id: item for item in found.keep}
    return known


@given(
    trees(),
    st.dictionaries(
        st.sampled_from([*IMAGES, "new"]),
        st.one_of(st.none(), st.builds(image, st.just("?"), st.sampled_from([*FOLDERS, "elsewhere"]))),
    ),
    st.sets(st.sampled_from(FOLDERS)),
    st.sampled_from([None, *FOLDERS]),
)
@settings(max_examples=100, deadline=None)
def test_what_moves_no_folder_is_planned_as_if_all_were_compared(
    known: dict[str, TreeItem], images: dict[str, TreeItem | None], again: set[str], asked: str | None
) -> None:
    touched = {name: item and item._replace(item_id=name) for name, item in images.items()}
    touched |= {name: known[name]._replace(pending=None) for name in again if name in known}
    quick = plan_tree(known, ROOTS, [Seen(*pair) for pair in touched.items()], asked)
    whole = plan_whole(known, ROOTS, touched, asked)
    for part in ("forget", "gone", "photos", "folders", "lost", "found"):
        assert getattr(quick, part) == getattr(whole, part), part
    assert {item.item_id: item for item in quick.keep} == {item.item_id: item for item in whole.keep}
    assert quick.after.items == whole.after.items
