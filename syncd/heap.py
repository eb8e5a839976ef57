"""What Python's collector of cycles looks through, and how often."""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 20_000


def all_is_loaded() -> None:
    """What is there now stays, and is not looked through again: that would hold the event loop for tens of
    milliseconds each time. New objects, of which a sync makes a thousand for each photo, are looked through
    when there are some megabytes of them: at Python's usual 700 it was a thirtieth of all work."""
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
