"""Where an archive's lists are, and where its imports go."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from syncd.catalogue import exchange as queries
from syncd.catalogue.exchange_archive import Archive
from syncd.control.api import NotFound


class Home(NamedTuple):
    """Where an archive's imports go: folders of authors below `folder`. What is not whole yet is in a folder
    of its own beside them; `is_relative` says how paths are recorded."""

    folder: Path
    is_relative: bool


def home_of(archive: Archive) -> Home:
    """`incoming` beside a catalogue, `images` beside an indafoto.db."""
    is_catalogue = archive.kind == "catalogue"
    return Home(archive.folder / ("incoming" if is_catalogue else "images"), not is_catalogue)


def staging_of(archive: Archive, list_id: str) -> Path:
    return home_of(archive).folder / f".syncd-import-{list_id}"


async def find_list(archive: Archive, list_id: str) -> queries.ListRow:
    """The list of this id. Raises NotFound."""
    found = None
    if await archive.read(queries.has_exchange):
        found = await archive.read(lambda db: queries.get_list(db, list_id))
    if found is None:
        raise NotFound(f"there is no list {list_id!r}", hint="`syncctl exchange lists` shows them")
    return found
