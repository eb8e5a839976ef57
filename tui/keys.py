"""The one table of keys. Bindings, footer, help, palette and the documentation are made from it.

The grammar holds on every screen: a key that means something in one list means the same in the others.
`action` names the method `do_<action>` of the screen (or of the table, for moves), and `why_not(action)`
tells whether it fits what is selected now; the footer shows what fits.
"""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """`keys` are Textual's names, `shown` is what people read, `label` stands in the footer ("" keeps it
    out), `help` is a sentence, `scope` a screen's name, or "move", "list" or "all"."""

    action: str
    keys: str
    shown: str
    label: str
    help: str
    scope: str


class Mode(NamedTuple):
    """A screen that has a number."""

    name: str
    key: str
    title: str


MODES = (
    Mode("overview", "1", "Overview"),
    Mode("batches", "2", "Batches"),
    Mode("scenes", "3", "Scenes"),
    Mode("events", "4", "Events"),
    # 5 to 7 are kept for library, names and exchange.
    Mode("jobs", "8", "Jobs"),
    Mode("guards", "9", "Guards"),
    Mode("activity", "0", "Activity"),
)

KEYS = (
    # one grammar, everywhere
    *(Key(f"mode_{m.name}", m.key, m.key, "", f"Go to {m.title}.", "all") for m in MODES),
    Key("problem", "exclamation_mark", "!", "problem", "Go to the next thing that needs you.", "all"),
    Key("refresh", "r", "r", "", "Ask the daemon again now; while it is gone, try to connect now.", "all"),
    Key("back", "escape", "esc", "", "Back: clears the filter, then the marks, then leaves.", "all"),
    Key("help", "question_mark,f1", "?", "help", "Show the keys that work here.", "all"),
    Key("palette", "colon,ctrl+p", ":", "palette", "Find a command, a batch or an event by name.", "all"),
    Key("theme", "ctrl+t", "ctrl+t", "", "Switch between dark and light.", "all"),
    Key("detach", "q", "q", "detach", "Leave; syncd keeps running.", "all"),
    # moving in a list
    Key("cursor_up", "up,k", "up k", "", "Up one row.", "move"),
    Key("cursor_down", "down,j", "down j", "", "Down one row.", "move"),
    Key("page_up", "pageup,ctrl+b", "pgup", "", "Up one page.", "move"),
    Key("page_down", "pagedown,ctrl+f", "pgdn", "", "Down one page.", "move"),
    Key("first", "home,g", "g", "", "First row.", "move"),
    Key("last", "end,G", "G", "", "Last row; in Activity it also follows again.", "move"),
    # lists
    Key("filter", "slash", "/", "filter", "Show only rows with these words.", "list"),
    Key("order", "o", "o", "", "Order by the next column.", "list"),
    Key("copy", "y", "y", "copy", "Copy what is selected (OSC 52).", "list"),
    # overview
    Key("open", "enter", "enter", "open", "Open what is selected.", "overview"),
    Key("pause", "p", "p", "pause", "Hold the selected service, or let it go on.", "overview"),
    Key("sync", "S", "S", "sync", "Look at every batch again now.", "overview"),
    Key("copy", "y", "y", "copy", "Copy the reason of what is selected (OSC 52).", "overview"),
    # batches
    Key("open", "enter", "enter", "scenes", "Open its scenes.", "batches"),
    Key("public", "space", "space", "public", "Publish it; withdraw it after seeing what goes.", "batches"),
    Key("source", "s", "s", "source", "Choose the stage that it publishes.", "batches"),
    Key("sync", "S", "S", "sync", "Look at this batch again now.", "batches"),
    Key("dry_run", "d", "d", "dry run", "Show what a sync of this batch would do.", "batches"),
    # scenes
    Key("open", "enter", "enter", "picture", "Show the picture as large as the terminal.", "scenes"),
    Key("stage_next", "right,l", "right", "stage", "Next stage of this scene.", "scenes"),
    Key("stage_previous", "left,h", "left", "", "Previous stage of this scene.", "scenes"),
    Key("live_only", "L", "L", "live only", "Show only scenes that are live, or all again.", "scenes"),
    # events
    Key("open", "enter", "enter", "photos", "Show its photos, with the faces in them.", "events"),
    Key("auto_sync", "space", "space", "auto-sync", "Follow its folder, or follow it no more.", "events"),
    Key("find", "f", "f", "find", "Find a person by a picture.", "events"),
    Key("sync", "S", "S", "sync", "Look at its whole folder now.", "events"),
    Key("rarer", "plus", "+", "interval", "Look at its folder more rarely.", "events"),
    Key("sooner", "minus", "-", "", "Look at its folder more often.", "events"),
    Key("forget", "D", "D", "forget", "Forget a person, after you typed so.", "events"),
    Key("read_down", "J", "J", "", "Read on in the photos that failed.", "events"),
    Key("read_up", "K", "K", "", "Read back in the photos that failed.", "events"),
    # jobs
    Key("mark", "space", "space", "mark", "Mark, for retrying several at once.", "jobs"),
    Key("retry", "r", "r", "retry", "Try this job, or the marked ones, again.", "jobs"),
    Key("retry_all", "R", "R", "retry all", "Try every failed job again.", "jobs"),
    Key("cancel", "c", "c", "cancel", "Cancel this job.", "jobs"),
    # guards
    Key("open", "enter,a", "enter", "approve", "Approve: asks for the number of removals.", "guards"),
    Key("read_down", "J", "J", "read on", "Read on in what would go.", "guards"),
    Key("read_up", "K", "K", "", "Read back in what would go.", "guards"),
    # activity
    Key("pause", "p", "p", "pause", "Stop following, or follow again.", "activity"),
)  # fmt: skip

_LISTS = frozenset({"batches", "scenes", "events", "jobs", "guards", "activity"})


def keys_for(scope: str) -> tuple[Key, ...]:
    """The keys of a screen, its own first; its own win over those of "list" and "all"."""
    own = [key for key in KEYS if key.scope == scope]
    taken = {name for key in own for name in key.keys.split(",")}
    shared = [
        key
        for wanted in ("list", "all")
        for key in KEYS
        if key.scope == wanted and (wanted == "all" or scope in _LISTS)
        if not taken.intersection(key.keys.split(","))
    ]
    return (*own, *shared)


def footer_keys(scope: str) -> tuple[Key, ...]:
    """What the footer may show, in its order."""
    return tuple(key for key in keys_for(scope) if key.label)
