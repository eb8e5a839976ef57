"""The events: whose folder is followed and how often, what came of it, and who is on the photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.containers import Container
from textual.content import Content

from syncd.text import human_count
from tui import look
from tui.asks import AskFailed, ForgetPerson, Interest, SetAutoSync, SetInterval, SyncEvent
from tui.needs import AUTH_COMMANDS
from tui.screens.activity_line import activity_line
from tui.screens.base import bindings
from tui.screens.jobs import wrapped
from tui.screens.lists import ListScreen, Order
from tui.state import FlashFaded, Keyed
from tui.widgets.lines import Lines
from tui.widgets.table import Column, VirtualTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.binding import BindingType
    from textual.widget import Widget

    from syncd.control import schema
    from tui.asks import Found
    from tui.look import Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells

STEPS_MIN = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1440)
"""Intervals that `+` and `-` go through."""
_FIRST = {"needs_auth": 0, "blocked": 1, "quota": 2, "backing_off": 3, "syncing": 4, "waiting": 5, "idle": 6}
FAILED_COLUMNS = (Column("Photo that failed", 20, flex=1), Column("Reason", 30, flex=2))
_AT_REST = frozenset({"idle", "disabled", "waiting", "syncing"})


class Events(ListScreen):
    mode = "events"
    heading = "Events"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"events", "activity"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("events")
    WRITES: ClassVar[frozenset[str]] = frozenset({"auto_sync", "rarer", "sooner", "sync", "find", "forget"})
    NEEDS_ROW: ClassVar[frozenset[str]] = WRITES | {"open"}
    columns: ClassVar[Sequence[Column]] = (
        Column("    Event", 16, flex=2),
        Column("State", 13),
        Column("Every", 7, "right"),
        Column("Photos", 6, "right"),
        Column("Faces", 6, "right"),
        Column("Last", 9),
        Column("Next", 8),
        Column("Failed", 6, "right", drop=1),
        Column("Error", 18, flex=3, drop=2),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order("name", "    Event", lambda event: event.name.casefold()),
        Order("what needs you", "State", lambda event: (_FIRST.get(event.state, 9), event.name.casefold())),
        Order("last sync", "Last", lambda event: event.last_sync_at or "", reverse=True),
    )

    def __init__(self) -> None:
        super().__init__()
        self._picked = ""

    def listing(self) -> Listing[schema.Event]:
        return self.state.events

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"events"}))

    def haystack(self, value: schema.Event) -> str:
        return f"{value.name} {value.event_id} {value.state} {value.account or ''} {value.last_error or ''}"

    # --- painting ---------------------------------------------------------------------------------

    def clock_key(self) -> object:
        """The time to the next sync is told by the second."""
        return int(self.now())

    def cells(self, value: schema.Event) -> Cells:
        glyphs, event = self.glyphs, value
        glyph, tone = look.sign(glyphs, look.EVENT, event.state)
        calm = "" if event.enabled else "dim"
        failed = len(event.failed)
        return (
            (f"[{'x' if event.enabled else ' '}] {event.name}", calm),
            (f"{glyph} {event.state}{_percent(event)}", tone),
            (look.interval(event.interval_minutes) if event.enabled else glyphs.dash, "dim"),
            (human_count(event.photos), calm),
            (human_count(event.faces), calm),
            (self._ago(event.last_sync_at), "dim"),
            (self._ahead(event), "dim"),
            (human_count(failed) if failed else glyphs.dash, "bad" if failed else "dim"),
            (event.last_error or "", "dim" if event.state in _AT_REST else "bad"),
        )

    def _ago(self, text: str | None) -> str:
        """`40s ago`, `1h07m ago`, and from a day on local `May 30`."""
        at, now = look.moment(text), self.now()
        if at is not None and now - at < 86400:
            return f"{look.duration(now - at)} ago"
        return " ".join(look.ago(text, now, self.glyphs, self.dashboard.zone).split()[:2])

    def _ahead(self, event: schema.Event) -> str:
        at = look.moment(event.next_sync_at)
        if at is None:
            return self.glyphs.dash
        return f"in {look.duration(at - self.now())}" if at > self.now() else "now"

    def subtitle(self) -> str:
        rows = [row.value for row in self.state.events.items]
        failed = sum(len(event.failed) for event in rows)
        words = f"{sum(event.enabled for event in rows):,} followed" if rows else ""
        return f"{words}, {failed:,} {'photo' if failed == 1 else 'photos'} failed" if failed else words

    def empty(self) -> Sequence[Line]:
        return (
            (("  No events yet. Make one of a folder in Google Drive:", ""),),
            (),
            (("    syncctl auth drive", "accent"), ("                          sign in, once", "dim")),
            (("    syncctl events add NAME --folder ID", "accent"), ("         make an event", "dim")),
            (),
            (("  It appears here; ", "dim"), ("space", "key"), (" then has syncd follow its folder.", "dim")),
        )  # fmt: skip

    def pane(self) -> Iterable[Widget]:
        failed = VirtualTable(FAILED_COLUMNS, _failed_cells, id="failed")
        box = Container(Lines(id="facts"), failed, Lines(id="lately"), id="event", classes="panel")
        box.border_title = "Event"
        yield box

    def paint_pane(self) -> None:
        row, box = self.selected, self.query_one("#event")
        failed = self.query_one("#failed", VirtualTable)
        box.border_title = Content(row.value.name if row is not None else "Event")
        facts: list[Line] = [(("no event is selected", "dim"),)] if self.table.rows else []
        self.query_one("#facts", Lines).show(self._facts(row.value) if row is not None else facts)
        photos = row.value.failed if row is not None else []
        failed.display = bool(photos)
        if row is not None and row.key != self._picked:
            self._picked = row.key
            failed.cursor = None
        failed.show(tuple(Keyed(photo.photo_id, photo) for photo in photos))
        if photos and failed.cursor is None:
            failed.move_to(0)
        self._paint_lately(row)

    def _facts(self, event: schema.Event) -> list[Line]:
        glyphs, zone, now = self.glyphs, self.dashboard.zone, self.now()
        width = max(20, self.query_one("#facts").content_size.width)
        complete = look.ago(event.complete_as_of, now, glyphs, zone)
        whole = "not complete yet" if event.complete_as_of is None else f"complete as of {complete}"
        lines: list[Line] = [
            (
                (whole, "ok" if event.complete_as_of else "dim"),
                (f"  {event.account}" if event.account else "  no account", "" if event.account else "warn"),
                ("  public" if event.publish else "", "ok"),
                (f"  {event.event_id}", "dim"),
            ),
            (("folder ", "dim"), (event.drive_folder_id, "")),
        ]
        if event.state == "syncing" and event.in_folder:
            words = f"{human_count(event.photos)} of {human_count(event.in_folder)} photos are here"
            faces = f", {human_count(event.indexed)} searched for faces" if event.indexed else ""
            lines.append(((words, ""), (faces, "dim")))
        if event.last_error:
            tone = "warn" if event.state in _AT_REST else "bad"
            lines += [((part, tone),) for part in wrapped(event.last_error, width)[:2]]
        if event.state == "needs_auth":
            lines.append((("y", "key"), (f" copies `{AUTH_COMMANDS['drive']}`, which signs in again", "dim")))
        return lines

    def _paint_lately(self, row: Keyed[schema.Event] | None) -> None:
        """What happened to the event, the newest first, as far as there is room."""
        lately = self.query_one("#lately", Lines)
        lately.display = not self.query_one("#failed").display
        facts = self.query_one("#facts", Lines)
        height = max(0, self.query_one("#event").content_size.height - len(facts.lines))
        width = max(20, facts.content_size.width)
        items = [item for item in reversed(self.state.activity) if row and item.subject == row.value.event_id]
        lately.show([activity_line(item, self.dashboard.zone, width, self.glyphs) for item in items[:height]])

    # --- keys -------------------------------------------------------------------------------------

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        row = self.selected
        if action in ("rarer", "sooner") and row is not None:
            if row.key in self.state.busy:
                return "the last change of it is on its way"
            if not row.value.enabled:
                return "auto-sync is off: space switches it on"
            if self._step(row.value, action) is None:
                return "there is no longer interval here" if action == "rarer" else "that is the shortest"
        if action.startswith("read_") and (row is None or not row.value.failed):
            return "no photo failed"
        return None

    @staticmethod
    def _step(event: schema.Event, action: str) -> float | None:
        """The interval next to the one that it has."""
        now = event.interval_minutes
        if action == "rarer":
            return next((step for step in STEPS_MIN if step > now), None)
        return next((step for step in reversed(STEPS_MIN) if step < now), None)

    def _ask_interval(self, action: str) -> None:
        row = self.selected
        if row is not None and (minutes := self._step(row.value, action)) is not None:
            self.dashboard.ask(SetInterval(row.key, minutes), row.key)

    def do_rarer(self) -> None:
        self._ask_interval("rarer")

    def do_sooner(self) -> None:
        self._ask_interval("sooner")

    def do_auto_sync(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.ask(SetAutoSync(row.key, not row.value.enabled), row.key)

    def do_sync(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.ask(SyncEvent(row.key), row.key)

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            needs_auth = row.value.state == "needs_auth"
            self.dashboard.copy(AUTH_COMMANDS["drive"] if needs_auth else row.value.event_id)

    def do_read_down(self) -> None:
        self.query_one("#failed", VirtualTable).action_page_down()

    def do_read_up(self) -> None:
        self.query_one("#failed", VirtualTable).action_page_up()

    def do_open(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._photos(row.key, row.value), group="dialog", exclusive=True)

    async def _photos(self, key: str, event: schema.Event) -> None:
        from tui.screens.photos import PhotosView

        try:
            page = await self.dashboard.feed.event_photos(key)
        except AskFailed as failure:
            self.dashboard.flash_failure(failure)
            return
        await self.app.push_screen_wait(PhotosView(key, event.name, page))

    def do_find(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._find(row.key, row.value), group="dialog", exclusive=True)

    async def _find(self, key: str, event: schema.Event) -> None:
        from tui.screens.photos import FoundView

        asked = await self._person(key, f"Find a person in {event.name}")
        if asked is not None:
            await self.app.push_screen_wait(FoundView(key, event.name, asked[0], asked[2]))

    async def _person(self, key: str, headline: str, alone: bool = False) -> tuple[str, bytes, Found] | None:
        """Asks for a picture until there are faces on it: its printable name, its bytes, and who is found.
        None when it was given up. `alone` wants one face."""
        from anyio import to_thread

        from tui.screens.people import WhichPicture, file_name, read_picture

        path, said = "", AskFailed("")
        while (typed := await self.app.push_screen_wait(WhichPicture(headline, path, said))) is not None:
            path = typed
            try:
                picture = await to_thread.run_sync(read_picture, path)
                self.dashboard.flash(f"looking for who is on {file_name(path)} {self.glyphs.more}")
                found = await self.dashboard.feed.find_person(key, picture)
            except AskFailed as failure:
                said = failure
                continue
            finally:
                if self.state.flash is not None:
                    self.dashboard.dispatch(FlashFaded(self.state.flash.number))
            if not alone or found.faces == 1:
                return file_name(path), picture, found
            said = AskFailed(f"{found.faces} faces are on it", "take a picture that shows only this person")
        return None

    def do_forget(self) -> None:
        if (row := self.selected) is not None:
            self.run_worker(self._forget(row.key, row.value), group="dialog", exclusive=True)

    async def _forget(self, key: str, event: schema.Event) -> None:
        from tui.screens.people import Forgetting

        asked = await self._person(key, f"Forget a person in {event.name}", alone=True)
        if asked is None:
            return
        name, picture, found = asked
        if await self.app.push_screen_wait(Forgetting(event.name, name, found)):
            self.dashboard.ask(ForgetPerson(key, picture), key)


def _percent(event: schema.Event) -> str:
    """How much of the folder is here; nothing while that is not known, or nothing is on its way."""
    if event.state != "syncing" or not event.in_folder:
        return ""
    return f" {min(99, 100 * event.photos // event.in_folder)}%"


def _failed_cells(photo: schema.PhotoReason) -> Cells:
    return (photo.photo_name, ""), (photo.reason, "bad")
