"""The review queue: what the model wrote, to be approved, edited or rejected with one key each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from syncd.text import human_count
from tui.asks import AskFailed, Interest
from tui.asks_library import ApproveShots, SetStatus
from tui.screens.base import bindings
from tui.screens.library_photos import ShotScreen, share
from tui.screens.lists import Order
from tui.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.binding import BindingType

    from tui.asks_library import Shot
    from tui.look import Line
    from tui.state import Keyed, Listing, Part
    from tui.widgets.table import Cells

STATUSES = ("review", "failed", "pending", "processing", "approved", "rejected")
WORDS = {
    "review": "to review", "failed": "that failed", "pending": "not described yet",
    "processing": "being described", "approved": "approved", "rejected": "rejected",
}  # fmt: skip


class Review(ShotScreen):
    mode = "review"
    heading = "Library › Review"
    PARTS: ClassVar[frozenset[Part]] = frozenset({"review"})
    BINDINGS: ClassVar[list[BindingType]] = bindings("review")
    WRITES: ClassVar[frozenset[str]] = frozenset(
        {"approve", "edit", "reject", "approve_all", "again", "undo"}
    )
    NEEDS_ROW: ClassVar[frozenset[str]] = frozenset({"open", "mark", "approve", "edit", "reject", "again"})
    columns: ClassVar[Sequence[Column]] = (
        Column("Sure", 4),
        Column("File", 16, flex=1),
        Column("Says", 28, flex=4),
        Column("Album", 16, flex=2, drop=1),
    )
    orders: ClassVar[Sequence[Order]] = (
        Order(
            "least sure", "Sure", lambda shot: (shot.confidence is not None, shot.confidence or 0, shot.name)
        ),
        Order("most sure", "Sure", lambda shot: -(shot.confidence or 0)),
        Order("file", "File", lambda shot: shot.name.casefold()),
        Order("album", "Album", lambda shot: (shot.albums, shot.name)),
    )

    def __init__(self) -> None:
        super().__init__()
        self.status = "review"
        self._undo: tuple[int, ...] = ()

    def listing(self) -> Listing[Shot]:
        return self.state.review

    def interest(self) -> Interest:
        return Interest(lists=frozenset({"review"}), review=(self.status, self.words))

    def look_again(self) -> None:
        self.dashboard.look(self.interest())

    def filtered(self) -> None:
        self.set_timer(0.2, self.look_again)
        super().filtered()

    def _arrange(self, items: tuple[Keyed[Shot], ...]) -> tuple[Keyed[Shot], ...]:
        order = self.orders[self.order]  # the daemon has filtered them
        return tuple(sorted(items, key=lambda row: order.by(row.value), reverse=order.reverse))

    # --- painting ---------------------------------------------------------------------------------

    def cells(self, value: Shot) -> Cells:
        sure = value.confidence
        tone = "dim" if sure is None else "bad" if sure < 0.5 else "warn" if sure < 0.8 else "ok"
        says = (value.description, "") if value.description else (value.error or value.caption, "dim")
        return (
            (share(sure, self.glyphs), tone),
            (value.name, ""),
            (" ".join(says[0].split()), says[1]),
            (", ".join(value.albums), "dim"),
        )

    def subtitle(self) -> str:
        return WORDS[self.status]

    def empty(self) -> Sequence[Line]:
        if self.status == "review":
            return (
                (("  Nothing waits for you.", ""),),
                (),
                (("  Descriptions come from a vision model: ", "dim"), ("[ai] base_url, model", "accent")),
                (("  in syncd.toml. What it wrote then stands here, until you approve it.", "dim"),),
                (("  right", "key"), (" shows what is in another state.", "dim")),
            )
        return (((f"  No photo is {WORDS[self.status].removeprefix('that ')}.", ""),),)

    # --- keys -------------------------------------------------------------------------------------

    def keys_of(self, shots: Sequence[Shot]) -> list[str]:
        return [str(shot.meta_id) for shot in shots]

    def why_not(self, action: str) -> str | None:
        if (reason := super().why_not(action)) is not None:
            return reason
        if action == "undo" and not self._undo:
            return "nothing was decided here yet"
        if action == "approve_all":
            if self.status not in ("review", "rejected"):
                return f"those {WORDS[self.status]} cannot be approved at once"
            if not self.table.rows:
                return "there is nothing here"
        if action == "reject" and all(shot.status == "rejected" for shot in self.chosen()):
            return "it is rejected already"
        return None

    def _go_on(self) -> None:
        """To the next row, so that the same key goes on with it."""
        if self.table.marks:
            self.table.clear_marks()
        else:
            self.table.action_cursor_down()

    def do_approve(self) -> None:
        shots = self.chosen()
        self._go_on()
        self._undo = self.approved(shots)

    def do_reject(self) -> None:
        shots = self.chosen()
        self._go_on()
        self._undo = self._set(shots, "rejected")

    def do_again(self) -> None:
        shots = self.chosen()
        self._go_on()
        self._set(shots, "pending")

    def _set(self, shots: list[Shot], status: str) -> tuple[int, ...]:
        ids = tuple(shot.meta_id for shot in shots if shot.meta_id is not None)
        self.dashboard.ask(SetStatus(ids, status), *self.keys_of(shots))
        return ids

    def do_undo(self) -> None:
        ids, self._undo = self._undo, ()
        self.dashboard.ask(SetStatus(ids, "review"), *map(str, ids))

    def do_approve_all(self) -> None:
        self.run_worker(self._approve_all(), group="dialog", exclusive=True)

    async def _approve_all(self) -> None:
        """Just those are approved that were counted, whatever comes meanwhile."""
        from tui.screens.questions import Question

        status, words = self.status, self.words
        self.dashboard.flash(f"counting {self.glyphs.more}")
        try:
            ids = await self.dashboard.feed.review_ids(status, words)
        except AskFailed as failure:
            self.dashboard.flash_failure(failure)
            return
        self.dashboard.unflash()
        which = f' with "{words}"' if words.strip() else ""
        number = human_count(len(ids))
        question = Question(
            f"Approve {number}?",
            f"All {number} in this list{which} are approved as they are.",
            f"Approve {number}",
            more="What is approved goes to the mirror.",
        )
        agreed = await self.app.push_screen_wait(question)
        if agreed and ids:
            self._undo = ids
            self.dashboard.ask(ApproveShots(ids), "approve all")

    def do_next_status(self) -> None:
        self._turn(1)

    def do_last_status(self) -> None:
        self._turn(-1)

    def _turn(self, by: int) -> None:
        self.status = STATUSES[(STATUSES.index(self.status) + by) % len(STATUSES)]
        self.table.begin_anew()
        self.look_again()
