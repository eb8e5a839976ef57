"""Whether the images root can be believed: what is absent below a root that is not there is not gone."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from syncd.text import printable
from syncd.watchers.listing import is_ignored


def check_root(images_dir: Path, known_batches: Collection[str]) -> str | None:
    """Why the root must not be believed now, or None. `known_batches` are those that held files when they
    were last seen. Looks at names only and never writes; takes one listing, so call it in a thread."""
    shown = printable(str(images_dir))
    try:
        with os.scandir(images_dir) as entries:
            present = {entry.name for entry in entries if not is_ignored(entry.name) and entry.is_dir()}
    except FileNotFoundError:
        return f"{shown} is missing"
    except NotADirectoryError:
        return f"{shown} is not a folder"
    except OSError as error:
        return f"{shown} is unreadable: {error.strerror or error}"
    if not known_batches:
        return None
    count = len(known_batches)
    known = f"{count} batch{'es' if count > 1 else ''} known"
    if not present:
        return f"{shown} is empty, with {known}: it looks unmounted"
    if count >= 2 and present.isdisjoint(known_batches):
        return f"{shown} holds none of the {known}: it looks unmounted"
    return None
