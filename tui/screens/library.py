"""The library: its albums with how far each is read, and how far the sync is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.content import Content

from syncd.text import human_count
from tui import look
from tui.asks import Interest
from tui.asks_library import SyncAlbum, SyncLibrary
from tui.needs import AUTH_COMMANDS
from tui.screens.base import bindings
from tui.screens.jobs import wrapped
from tui.screens.library_photos import Finding
from tui.screens.lists import ListScreen, Order
from tui.widgets.lines import Lines
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.binding import BindingType
    from textual.widget import Widget

    from syncd.control import schema
    from tui.look import Line
    from tui.state import Listing, Part
    from tui.widgets.table import Cells

_FIRST = {"failed": 0, "reading": 1, "changed": 2, "partly": 3}


class Library(Finding, ListScreen):
    mode = "library"
    heading = "Library"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"library", "albums", "status"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("library")
    WRITES: ClassVar[frozenset[str]] = frozenset({"sync", "sync_all", "sync_album"})
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"open", "sync_album"})
    columns: ClassVar[Sequence[Column]] = (
        Column("Album", 24, flex=1),
        Column("State", 10),
        Column("Photos", 13, "right"),
        Column("Changed", 12, drop=1),
        Column("Read", 12, drop=2),
        Column("Seen by", 9, drop=3),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order("newest", "Changed", lambda album: album.last_updated or "", reverse=True),
        Order("name", "Album", lambda album: album.title.casefold()),
        Order("photos", "Photos", lambda album: album.image_count, reverse=True),
    )

    def listing(self) -> Listing[schema.Album]:
        return self.state.albums

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"albums"}), library=True)

    def haystack(self, value: schema.Album) -> str:
        return f"{value.title} {value.album_key} {' '.join(value.keywords)} {value.description}"

    # --- painting ---------------------------------------------------------------------------------

    def album_state(self, album: schema.Album) -> tuple[str, str, str]:
        """Word, glyph and tone."""
        library, glyphs = self.state.library, self.glyphs
        if library is not None and album.title in library.reading:
            return "reading", glyphs.busy, "info"
        if album.last_error:
            return "failed", glyphs.bad, "bad"
        if album.synced_at is None:
            return ("partly", glyphs.hold, "warn") if album.photos_synced else ("not yet", glyphs.off, "dim")
        return ("current", glyphs.ok, "ok") if album.is_current else ("changed", glyphs.hold, "warn")

    def cells(self, value: schema.Album) -> Cells:
        word, glyph, tone = self.album_state(value)
        now, glyphs, zone = self.now(), self.glyphs, self.dashboard.zone
        whole = value.photos_synced == value.image_count
        photos = human_count(value.photos_synced)
        if not whole:
            photos = f"{photos}/{human_count(value.image_count)}"
        return (
            (value.title, ""),
            (f"{glyph} {word}", tone),
            (photos, "" if whole else "warn"),
            (look.ago(value.last_updated, now, glyphs, zone), "dim"),
            (look.ago(value.synced_at, now, glyphs, zone), "dim"),
            ((value.privacy or glyphs.dash).lower(), "dim"),
        )

    def subtitle(self) -> str:
        library = self.state.library
        if library is None or not library.albums_total:
            return ""
        who = f"of {library.account}, " if library.account else ""
        return f"{who}{human_count(library.photos_total)} photos"

    def empty(self) -> Sequence[Line]:
        service = next((s for s in self._services() if s.name == "smugmug"), None)
        sign_in = AUTH_COMMANDS["smugmug"]
        if self.state.library is not None and self.state.library.in_progress:
            return ((("  The first albums are being read.", ""),),)
        if service is not None and service.state not in ("needs_auth", "blocked") and self._account():
            return ((("  The library is empty.", ""),), (("  S", "key"), (" reads it again.", "dim")))
        return (
            (("  No library yet. It is a SmugMug account, which syncd mirrors:", ""),),
            (),
            (("    [smugmug] api_key, api_secret", "accent"), ("    in syncd.toml, then", "dim")),
            ((f"    {sign_in}", "accent"), ("             sign in, once", "dim")),
            (),
            (("  Albums appear here as they are read.", "dim"),),
        )

    def _account(self) -> str | None:
        return self.state.library.account if self.state.library is not None else None

    def _services(self) -> Sequence[schema.ServiceStatus]:
        return self.state.status.services if self.state.status is not None else ()

    def pane(self) -> Iterable[Widget]:
        detail = Lines(id="detail", classes="panel")
        detail.border_title = "Sync"
        yield detail

    def paint_pane(self) -> None:
        detail = self.query_one("#detail", Lines)
        width = max(20, detail.content_size.width)
        row = self.selected
        detail.border_title = Content(row.value.title if row is not None else "Sync")
        lines = self._progress(width)
        if row is not None:
            lines += self._facts(row.value, width)
        detail.show(lines[:7])

    def _progress(self, width: int) -> list[Line]:
        library, glyphs = self.state.library, self.glyphs
        if library is None:
            return []
        if not library.in_progress:
            return self._at_rest(library, width)
        done, total = library.photos_synced, library.photos_total
        numbers = f" {human_count(done)}/{human_count(total)} photos"
        rate = f"  {look.rate(library.rate)}" if library.rate else ""
        left = f"  {look.eta(library.eta_s, glyphs)}" if library.eta_s is not None else ""
        albums = f"{human_count(library.albums_synced)}/{human_count(library.albums_total)} albums"
        reading = f"  {', '.join(library.reading)}" if library.reading else ""
        bar = look.bar(done, total, max(8, width - len(numbers) - 18), glyphs)
        return [
            (("sync ", "dim"), *bar, (numbers, ""), (f"{rate}{left}", "dim")),
            ((f"{albums}", ""), (reading, "dim")),
            *self._wrong(library, width),
        ]

    def _at_rest(self, library: schema.LibraryStatus, width: int) -> list[Line]:
        now, glyphs, zone = self.now(), self.glyphs, self.dashboard.zone
        last = look.ago(library.last_sync, now, glyphs, zone)
        word, tone = ("never read whole", "warn") if library.last_sync is None else (f"read {last}", "ok")
        rest: list[tuple[str, str]] = [(word, tone)]
        if library.state in ("failed", "partial", "cancelled"):
            rest.append((f"  the last sync: {library.state}", "bad" if library.state == "failed" else "warn"))
        if library.state == "waiting" and (at := look.moment(library.resume_at)) is not None:
            rest.append((f"  goes on in {look.duration(at - now)}", "warn"))
        elif (at := look.moment(library.next_sync_at)) is not None:
            rest.append((f"  next in {look.duration(at - now)}" if at > now else "  next now", "dim"))
        if library.to_hash:
            rest.append((f"  {human_count(library.to_hash)} pictures to compare", "dim"))
        return [tuple(rest), *self._wrong(library, width)]

    def _wrong(self, library: schema.LibraryStatus, width: int) -> list[Line]:
        more = len(library.errors) - 2
        lines: list[Line] = [
            ((text, "bad"),) for error in library.errors[:2] for text in wrapped(error, width)[:2]
        ]
        return [*lines, ((f"and {more:,} more", "dim"),)] if more > 0 else lines

    def _facts(self, album: schema.Album, width: int) -> list[Line]:
        lines: list[Line] = []
        if album.last_error:
            lines += [((part, "bad"),) for part in wrapped(album.last_error, width)[:2]]
        words = ", ".join(album.keywords)
        if album.description or words:
            lines.append(((album.description.replace("\n", " "), ""), (f"  {words}" if words else "", "dim")))
        lines.append(((f"{album.web_url or album.album_key}", "dim"),))
        return lines

    # --- keys -------------------------------------------------------------------------------------

    def do_open(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.go("photos", f"album\n{row.key}")

    def do_review(self) -> None:
        self.dashboard.go("review")

    def do_sync(self) -> None:
        self.dashboard.ask(SyncLibrary(), "library")

    def do_sync_all(self) -> None:
        self.dashboard.ask(SyncLibrary(full=True), "library")

    def do_sync_album(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.ask(SyncAlbum(row.key), row.key)

    def do_copy(self) -> None:
        if (row := self.selected) is not None:
            self.dashboard.copy(row.value.web_url or row.key)
