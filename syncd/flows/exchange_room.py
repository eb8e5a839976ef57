"""Whether what an export brought fits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import anyio.to_thread

from syncd.catalogue import exchange_images
from syncd.catalogue.exchange_archive import Archive
from syncd.errors import Transient
from syncd.flows import exchange_files as formats
from syncd.flows.exchange_copy import Folder
from syncd.flows.exchange_files import Given
from syncd.flows.exchange_home import Home
from syncd.flows.exchange_names import file_name, safe_author
from syncd.text import human_size, printable

_LINES_AT_ONCE = 5_000


async def check_room(archive: Archive, home: Home, folder: Folder, manifest: str) -> None:
    """Raises Transient, before anything is taken, when what `manifest` names in `folder` cannot fit."""
    free = await anyio.to_thread.run_sync(lambda: shutil.disk_usage(archive.folder).free)
    with os.fdopen(folder.open_file(manifest), "rb") as file:
        reader = formats.Reader(folder.path / manifest, file)
        reader.head(formats.ManifestHead, formats.MANIFEST_KIND, "the manifest of an export")
        entries = (
            entry
            for entry in reader.given()
            if isinstance(entry, Given) and formats.wrong_place(entry) is None
        )
        needed = 0
        while page := await anyio.to_thread.run_sync(lambda: list(islice(entries, _LINES_AT_ONCE))):
            hashes = {entry.sha256 for entry in page}
            held = await archive.read(partial(exchange_images.held, hashes=hashes))
            fresh = [entry for entry in page if entry.sha256 not in held]
            needed += await anyio.to_thread.run_sync(partial(_needed_for, fresh, home, folder))
    if needed > free:
        raise Transient(
            f"{human_size(needed)} do not fit beside {printable(str(archive.path))}:"
            f" {human_size(free)} are free",
            hint="free some space; nothing was taken",
        )


def _needed_for(entries: Sequence[Given], home: Home, folder: Folder) -> int:
    """The bytes of those that can be taken, and were not put into their places before an interruption."""
    needed = 0
    for entry in entries:
        name = file_name(entry.name or Path(entry.file).name, entry.sha256)
        placed = _size(home.folder / safe_author(entry.metadata.author) / name)
        if placed != entry.size_bytes and _size(folder.path / entry.file) == entry.size_bytes:
            needed += entry.size_bytes
    return needed


def _size(path: Path) -> int | None:
    with suppress(OSError):
        return path.lstat().st_size
    return None
