"""Whatever people do in Drive, whenever syncd is killed, at any page size, and when its place in the feed is
lost: after each quiet point the catalogue equals the folders, and each content was downloaded once."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from syncd.catalogue import events as queries
from syncd.imaging.pool import ImagingPool
from tests.fakes.google_drive import ACCOUNT, FakeDrive, fake_drive
from tests.flows_events.place import Place, held_by, picture, place

PICK = st.integers(0, 10_000)


class Workshop:
    """A loop in a thread and one pool of workers, for all runs of the machine."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.portal: BlockingPortal = self.stack.enter_context(start_blocking_portal())
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.pool: ImagingPool = self.stack.enter_context(
            self.portal.wrap_async_context_manager(ImagingPool(1, folder))
        )


class Folders(RuleBasedStateMachine):
    """Two events whose folders lie side by side, and a place outside of both."""

    workshop: Workshop

    @initialize(page_size=st.integers(1, 5), deep=st.booleans(), shortcuts=st.booleans())
    def start(self, page_size: int, deep: bool, shortcuts: bool) -> None:
        self.stack = ExitStack()
        portal = self.workshop.portal
        self.portal = portal
        self.fake: FakeDrive = self.stack.enter_context(portal.wrap_async_context_manager(fake_drive()))
        self.fake.descendant_entries = deep
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.page_size = page_size
        self.with_shortcuts = shortcuts
        self.numbers = 0
        self.kills = 0
        self.open = ExitStack()
        self.roots = [self.fake.add_folder(name, self.fake.root) for name in ("One", "Two")]
        self.folders = [*self.roots, self.fake.add_folder("Outside", self.fake.root)]
        self.folders += [self.fake.add_folder("Below", folder) for folder in self.folders]
        self.folders += [self.fake.add_folder("Deeper", folder) for folder in self.folders[3:5]]
        self.files: list[str] = []
        self.shortcuts: list[str] = []
        self.have: set[tuple[str, str]] = set()
        self.fetched: Counter[tuple[str, str]] = Counter()
        self.may_download: Counter[tuple[str, str]] = Counter()
        self.reopen()
        self.events = [
            portal.call(self.here.event, name, root)
            for name, root in zip(("one", "two"), self.roots, strict=True)
        ]
        self.enabled = [True, True]
        for where in range(len(self.folders)):
            self.upload(where)

    def reopen(self) -> None:
        self.open.close()
        self.open = ExitStack()
        context = place(self.fake, self.workshop.pool, self.folder, self.page_size, self.fetched)
        self.here: Place = self.open.enter_context(self.portal.wrap_async_context_manager(context))

    def teardown(self) -> None:
        if hasattr(self, "events"):
            try:
                for which, is_enabled in enumerate(self.enabled):
                    if not is_enabled:
                        self.toggle(which)
                self.quiet()
            finally:
                self.open.close()
                self.stack.close()

    # --- what people do -------------------------------------------------------------------------------

    def alive(self, items: list[str]) -> list[str]:
        return [i for i in items if not self.fake.items[i].deleted]

    def pick(self, items: list[str], number: int) -> str | None:
        items = self.alive(items)
        return items[number % len(items)] if items else None

    @rule(where=PICK)
    def upload(self, where: int) -> None:
        self.numbers += 1
        folder = self.pick(self.folders, where)
        assert folder is not None
        self.files.append(self.fake.add_file(f"{self.numbers % 3}.jpg", folder, picture(self.numbers)))

    @rule(where=PICK)
    def new_folder(self, where: int) -> None:
        folder = self.pick(self.folders, where)
        assert folder is not None
        self.folders.append(self.fake.add_folder("Below", folder))

    @rule(what=PICK)
    def replace(self, what: int) -> None:
        if (file := self.pick(self.files, what)) is not None:
            self.numbers += 1
            self.fake.replace_content(file, picture(self.numbers))

    @rule(what=PICK)
    def rename(self, what: int) -> None:
        if (file := self.pick(self.files + self.folders, what)) is not None:
            self.numbers += 1
            self.fake.rename(file, f"renamed {self.numbers}.jpg")

    @rule(what=PICK, where=PICK)
    def move(self, what: int, where: int) -> None:
        item = self.pick(self.files + self.folders[3:] + self.shortcuts, what)
        folder = self.pick(self.folders, where)
        if item and folder and item not in self.fake._line(folder):
            self.fake.move(item, folder)

    @rule(what=PICK, where=PICK)
    def move_folder(self, what: int, where: int) -> None:
        item, folder = self.pick(self.folders[3:], what), self.pick(self.folders, where)
        if item and folder and item not in self.fake._line(folder):
            self.fake.move(item, folder)

    @rule(what=PICK)
    def trash_or_restore(self, what: int) -> None:
        item = self.pick(self.files + self.folders[3:] + self.shortcuts, what)
        if item is not None:
            (self.fake.restore if self.fake.items[item].trashed else self.fake.trash)(item)

    @rule(what=PICK)
    def delete(self, what: int) -> None:
        item = self.pick(self.files + self.folders[3:] + self.shortcuts, what)
        if item is not None:
            self.fake.delete(item)

    @rule(what=PICK)
    def hide_or_show(self, what: int) -> None:
        item = self.pick(self.files + self.folders[3:], what)
        if item is not None:
            hidden = ACCOUNT in self.fake.items[item].hidden_from
            (self.fake.share if hidden else self.fake.revoke)(item, ACCOUNT)

    @rule(what=PICK, where=PICK)
    def shortcut(self, what: int, where: int) -> None:
        target, folder = self.pick(self.files + self.folders, what), self.pick(self.folders, where)
        if target and folder and self.with_shortcuts:
            self.shortcuts.append(self.fake.add_shortcut(target, folder))

    @rule(what=PICK)
    def view(self, what: int) -> None:
        if (item := self.pick(self.files + self.folders, what)) is not None:
            self.fake.view(item)

    # --- what happens to syncd ------------------------------------------------------------------------

    @rule()
    def lose_tokens(self) -> None:
        self.fake.lose_page_tokens()

    @rule()
    def poll(self) -> None:
        self.note_needed()
        self.portal.call(self.here.follower.poll)

    @rule(which=st.integers(0, 1))
    def toggle(self, which: int) -> None:
        event_id = self.events[which]
        query = queries.disable if self.enabled[which] else lambda db, e: queries.enable(db, e, None)
        self.portal.call(self.here.catalogue.write, lambda db: query(db, event_id))
        self.enabled[which] = not self.enabled[which]

    @rule(after=st.integers(0, 40))
    def killed(self, after: int) -> None:
        """Work is cut off after so many requests and commits, and the catalogue opened anew."""
        self.kills += 1
        self.note_needed()
        self.portal.call(self.run_until, after)
        self.reopen()

    async def run_until(self, steps: int) -> None:
        with anyio.CancelScope() as scope:
            left = steps
            write = self.here.catalogue.write
            client = await self.here.accounts.drive(ACCOUNT)
            once = client._api.once

            def step() -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    scope.cancel()

            async def counted_write(operation: Any) -> Any:
                step()
                result = await write(operation)
                step()
                return result

            def counted_once(*args: Any, **more: Any) -> Any:
                step()
                return once(*args, **more)

            self.here.catalogue.write = counted_write  # type: ignore[method-assign]
            client._api.once = counted_once  # type: ignore[method-assign]
            await self.here.quiet()

    @rule()
    def quiet(self) -> None:
        self.note_needed()
        if self.shortcuts:  # what becomes of a target's folder elsewhere, only a listing tells
            for event_id in self.events:
                self.portal.call(self.here.catalogue.write, partial(queries.ask_listing, event_id=event_id))
        self.portal.call(self.here.quiet)
        if not all(self.enabled):
            return
        for event_id, root in zip(self.events, self.roots, strict=True):
            assert self.portal.call(self.here.photos, event_id) == held_by(self.fake, root)
            status = self.portal.call(self.here.status, event_id)
            assert status.complete_as_of == status.checked_as_of is not None
        once = "SELECT count(*), count(DISTINCT event_id || '/' || photo_id) FROM synced_photos"
        rows = self.portal.call(self.here.rows, once)
        assert rows[0][0] == rows[0][1]
        assert self.portal.call(self.here.rows, "SELECT count(*) FROM jobs") == [(0,)]
        self.have = self.held()
        too_often = {
            photo: count
            for photo, count in self.fetched.items()
            if count > self.may_download[photo] + self.kills
        }
        assert not too_often

    @rule()
    def restarted(self) -> None:
        self.reopen()

    # --- what may be downloaded -----------------------------------------------------------------------

    def held(self) -> set[tuple[str, str]]:
        """(photo, md5) of everything that the folders hold."""
        return {(p, md5) for root in self.roots for p, (_, md5) in held_by(self.fake, root).items()}

    @invariant()
    def note_left(self) -> None:
        """What left, however shortly, may be downloaded again when it is back."""
        if hasattr(self, "have"):
            self.have &= self.held()

    def note_needed(self) -> None:
        """What is here now and was not before may be downloaded once more."""
        new = self.held() - self.have
        self.may_download.update(new)
        self.have |= new


@pytest.mark.timeout(120)  # shrinking a failure takes longer than finding none
def test_the_catalogue_equals_the_folders_whatever_happens() -> None:
    Folders.workshop = Workshop()
    with Folders.workshop.stack:
        machine: Any = Folders.TestCase
        machine.settings = settings(
            max_examples=18,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        machine("runTest").runTest()
