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
    """A screen that has a number, or one (without `key`) that is reached from the screen `under`. `short`
    stands in a narrow row of screens."""

    name: str
    key: str
    title: str
    short: str = ""
    under: str = ""


MODES = (
    Mode("overview", "1", "Overview"),
    Mode("batches", "2", "Batches"),
    Mode("scenes", "3", "Scenes"),
    Mode("events", "4", "Events"),
    Mode("library", "5", "Library"),
    Mode("names", "6", "Names"),
    Mode("exchange", "7", "Exchange"),
    Mode("jobs", "8", "Jobs"),
    Mode("guards", "9", "Guards"),
    Mode("activity", "0", "Activity", "Log"),
)
INNER = (
    Mode("photos", "", "Photos of the library", under="library"),
    Mode("review", "", "Review of descriptions", under="library"),
    Mode("changes", "", "Changes of names", under="names"),
    Mode("files", "", "Files of a list", under="exchange"),
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
    # library
    Key("open", "enter", "enter", "photos", "Show the photos of the album.", "library"),
    Key("review", "v", "v", "review", "Review what was written about the photos.", "library"),
    Key("find", "f", "f", "find", "Find photos by words.", "library"),
    Key("meaning", "m", "m", "meaning", "Find photos by what they show, in any words.", "library"),
    Key("sync", "S", "S", "sync", "Read what changed at SmugMug now.", "library"),
    Key("sync_all", "F", "F", "", "Read everything at SmugMug again.", "library"),
    Key("sync_album", "s", "s", "", "Read this album again now.", "library"),
    # photos of the library
    Key("open", "enter", "enter", "picture", "Show the photo as large as the terminal.", "photos"),
    Key("approve", "a", "a", "approve", "Approve what was written, of this or of the marked ones.", "photos"),
    Key("edit", "e", "e", "edit", "Write it in other words.", "photos"),
    Key("mark", "space", "space", "mark", "Mark, for doing several at once.", "photos"),
    Key("find", "f", "f", "", "Find photos by words.", "photos"),
    Key("meaning", "m", "m", "", "Find photos by what they show, in any words.", "photos"),
    # review
    Key("approve", "a", "a", "approve", "Approve this, or the marked ones, and go on.", "review"),
    Key("edit", "e", "e", "edit", "Write it in other words.", "review"),
    Key("reject", "r", "r", "reject", "Reject this, or the marked ones, and go on.", "review"),
    Key("mark", "space", "space", "mark", "Mark, for doing several at once.", "review"),
    Key("approve_all", "A", "A", "all", "Approve all that the list has, after a question.", "review"),
    Key("again", "d", "d", "", "Have this, or the marked ones, described again.", "review"),
    Key("undo", "z", "z", "undo", "Take the last approval or rejection back.", "review"),
    Key("open", "enter", "enter", "", "Show the photo as large as the terminal.", "review"),
    Key("next_status", "right,l", "right", "status", "Those of the next status.", "review"),
    Key("last_status", "left,h", "left", "", "Those of the status before.", "review"),
    # names
    Key("mark", "space", "space", "mark", "Mark, for renaming several at once.", "names"),
    Key("apply", "a,enter", "a", "apply", "Rename this or the marked albums, after seeing how.", "names"),
    Key("apply_all", "A", "A", "apply all", "Rename all that drifted, after seeing how.", "names"),
    Key("hint", "e", "e", "hint", "Say what the album shows: teams, event, sport.", "names"),
    Key("changes", "l", "l", "log", "Show what was renamed, and undo it there.", "names"),
    # changes of names
    Key("mark", "space", "space", "mark", "Mark, for undoing several at once.", "changes"),
    Key("undo", "z", "z", "undo", "Give back the name from before, after a question.", "changes"),
    # exchange
    Key("open", "enter", "enter", "files", "Show its files: only theirs, alike, only yours.", "exchange"),
    Key("analyze", "n", "n", "new", "Compare with another database, and make a list.", "exchange"),
    Key("import", "i", "i", "import", "Take what came for this list, after a check.", "exchange"),
    Key("export", "x", "x", "export", "Gather what a list asks of you, after a count.", "exchange"),
    Key("verify", "v", "v", "verify", "Read again what was imported, and compare.", "exchange"),
    Key("clean", "c", "c", "clean", "Remove what was only staged for this list.", "exchange"),
    # files of a list
    Key("next_side", "right,l", "right", "side", "What looks alike, then what only you have.", "files"),
    Key("last_side", "left,h", "left", "", "The side before.", "files"),
    Key("open", "enter", "enter", "picture", "Show the picture as large as the terminal.", "files"),
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

_LISTS = frozenset(mode.name for mode in (*MODES, *INNER) if mode.name != "overview")


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
