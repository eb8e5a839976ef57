"""What is in the images tree now: one quick pass over folders, no file opened. Runs in threads.

`images_dir/<batch>/<stage>/<file>`; image files directly in a batch are of stage `initial_scan`. Folders
are opened one below the other without following links, so nothing outside the root is ever looked at.
"""

from __future__ import annotations

import os
import re
import stat as stat_bits
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from syncd.errors import Transient
from syncd.model import INITIAL_STAGE, BatchListing, FileStat, SeenFile, SkippedFile
from syncd.text import printable
from syncd.watchers.settle import SettleTracker

IMAGE_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "tif", "tiff", "heic", "heif", "avif", "gif", "bmp"}
    | {"dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf", "pef", "srw"}
)
_PARTIAL_EXTENSIONS = frozenset({"part", "tmp", "partial", "crdownload", "filepart"})
_CLUTTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_RELATIVE_PATH = itemgetter(SeenFile._fields.index("relative_path"))

_TRACKER = SettleTracker()


def is_ignored(name: str) -> bool:
    """Whether a name is hidden, a partial download or a file manager's clutter: only counted."""
    if name[0] in ".~":
        return True
    extension = name.rpartition(".")[2].lower()
    if extension in _PARTIAL_EXTENSIONS:
        return "." in name
    return extension in {"db", "ini"} and name.lower() in _CLUTTER


def name_trouble(name: str) -> str | None:
    """Why a name cannot be published, or None."""
    if name.isascii() and name.isprintable():
        return None
    if _SURROGATE.search(name):
        return "name is not valid UTF-8"
    return "name has control characters" if _CONTROL.search(name) else None


def list_batches(images_dir: Path) -> list[str]:
    """Names of the batch folders, sorted. Folders that are symbolic links or badly named are among them, so
    that `list_batch` can say so. Raises Transient when the root cannot be listed."""
    try:
        with os.scandir(images_dir) as entries:
            return sorted(entry.name for entry in entries if not is_ignored(entry.name) and entry.is_dir())
    except OSError as error:
        raise Transient(_cannot_list(str(images_dir), error)) from error


def list_batch(
    images_dir: Path,
    batch_name: str,
    stages: Sequence[str],
    settle_s: float,
    now_ns: int | None = None,
    tracker: SettleTracker = _TRACKER,
) -> BatchListing:
    """What the batch's folder holds at `now_ns` (wall clock, nanoseconds; the time of the call when None).

    Files touched within `settle_s` seconds are left out, and `unsettled_s` says when to look again. An
    absent batch is empty; a folder that cannot be listed sets `error`. Never raises for what it finds.
    """
    root = os.path.abspath(images_dir)  # noqa: PTH100 (Path.resolve would follow links)
    walk = _Walk(batch_name, stages, settle_s, time.time_ns() if now_ns is None else now_ns, tracker, root)
    trouble = name_trouble(batch_name)
    if trouble is not None:
        walk.skip(batch_name, trouble)
        return walk.listing()
    path = f"{root}/{batch_name}"
    try:
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        # Without its root a batch is not gone: it is out of sight.
        walk.error = _cannot_list(root, error)
        return walk.listing()
    with closing(_Descriptor(root_fd)):
        try:
            batch_fd = os.open(batch_name, _OPEN_FOLDER, dir_fd=root_fd)
        except FileNotFoundError:
            return walk.listing()
        except NotADirectoryError:
            if _is_link(batch_name, root_fd):
                walk.skip(batch_name, "symbolic link")
            return walk.listing()
        except OSError as error:
            walk.error = _cannot_list(path, error)
            return walk.listing()
    with closing(_Descriptor(batch_fd)):
        walk.batch(batch_fd, path)
    return walk.listing()


def list_tree(
    images_dir: Path,
    stages: Sequence[str],
    settle_s: float,
    only: Collection[str] | None = None,
    tracker: SettleTracker = _TRACKER,
) -> dict[str, BatchListing]:
    """Listings of all batches by name, or of those in `only` (which may be absent on disk). Raises Transient
    when the root cannot be listed."""
    names = list_batches(images_dir) if only is None else sorted(set(only))
    return {name: list_batch(images_dir, name, stages, settle_s, None, tracker) for name in names}


class _Descriptor:
    """A file descriptor that contextlib.closing can close."""

    def __init__(self, number: int) -> None:
        self._number = number

    def close(self) -> None:
        os.close(self._number)


def _is_link(name: str, folder_fd: int) -> bool:
    try:
        return stat_bits.S_ISLNK(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _cannot_list(path: str, error: OSError) -> str:
    return f"{printable(path)} cannot be listed: {error.strerror or error}"


@dataclass(slots=True)
class _Walk:
    """One pass over one batch."""

    batch_name: str
    stages: Sequence[str]
    settle_s: float
    now_ns: int
    tracker: SettleTracker
    root: str
    files: list[SeenFile] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    ignored: int = 0
    unsettled_s: float | None = None
    error: str | None = None
    settled_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self.settled_ns = self.now_ns - int(self.settle_s * 1e9)

    def listing(self) -> BatchListing:
        self.files.sort(key=_RELATIVE_PATH)
        return BatchListing(
            self.batch_name,
            tuple(self.files),
            tuple(sorted(self.skipped)),
            self.ignored,
            tuple(sorted(self.unsettled)),
            self.unsettled_s,
            self.error,
        )

    def skip(self, relative_path: str, reason: str) -> None:
        # A name is passed on as it is, unless it cannot be encoded at all.
        named = printable(relative_path) if _SURROGATE.search(relative_path) else relative_path
        self.skipped.append(SkippedFile(f"{self.root}/{named}", reason))

    def batch(self, batch_fd: int, path: str) -> None:
        """Lists the batch's folder, open as `batch_fd`, and the stages below it."""
        for stage in self.folder(batch_fd, path, self.batch_name, INITIAL_STAGE, top=True):
            stage_path = f"{path}/{stage}"
            try:
                stage_fd = os.open(stage, _OPEN_FOLDER, dir_fd=batch_fd)
            except OSError as error:
                self.error = _cannot_list(stage_path, error)
                continue
            with closing(_Descriptor(stage_fd)):
                self.folder(stage_fd, stage_path, f"{self.batch_name}/{stage}", stage, top=False)

    def folder(self, folder_fd: int, path: str, relative: str, stage: str, *, top: bool) -> list[str]:
        """Lists the files of one folder; returns the stages found in it."""
        found: list[str] = []
        try:
            with os.scandir(folder_fd) as entries:
                for entry in entries:
                    name = entry.name
                    if is_ignored(name):
                        self.ignored += 1
                    elif (trouble := name_trouble(name)) is not None:
                        self.skip(f"{relative}/{name}", trouble)
                    elif entry.is_file(follow_symlinks=False):
                        self.file(entry, path, relative, stage)
                    elif top and name in self.stages and entry.is_dir(follow_symlinks=False):
                        found.append(name)
                    else:
                        self.skip(f"{relative}/{name}", self.why_not(entry))
        except OSError as error:
            self.error = _cannot_list(path, error)
        return found

    def why_not(self, entry: os.DirEntry[str]) -> str:
        if entry.is_symlink():
            return "symbolic link"
        if entry.is_dir(follow_symlinks=False):
            return f"folder is not a stage (stages: {', '.join(self.stages)})"
        return "not a regular file"

    def file(self, entry: os.DirEntry[str], path: str, relative: str, stage: str) -> None:
        name = entry.name
        relative_path = f"{relative}/{name}"
        if name.rpartition(".")[2].lower() not in IMAGE_EXTENSIONS or "." not in name:
            self.skip(relative_path, "not an image")
            return
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat_bits.S_ISREG(status.st_mode):
            self.skip(relative_path, "not a regular file")
            return
        facts = FileStat(status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino)
        local_path = f"{path}/{name}"
        # Most files are old: asking the tracker about each would double the time of a listing.
        if facts.ctime_ns > self.settled_ns or facts.mtime_ns > self.settled_ns:
            wait_s = self.tracker.unsettled_for_s(local_path, facts, self.now_ns, self.settle_s)
            if wait_s > 0:
                self.unsettled.append(relative_path)
                self.unsettled_s = wait_s if self.unsettled_s is None else min(wait_s, self.unsettled_s)
                return
        self.files.append(SeenFile(self.batch_name, stage, name, relative_path, local_path, facts))
