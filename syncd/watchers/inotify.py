"""What inotify can and cannot do here: which folders to watch, which file systems tell nothing, how many
watches are in use."""

from __future__ import annotations

import os
import stat as stat_bits
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from syncd.watchers.listing import is_ignored, name_trouble

# The kernel reports only what goes through itself: changes made by other machines, or by the program behind
# a FUSE mount, come without an event. fuseblk (NTFS, exFAT on a local disk) does go through the kernel.
_SILENT = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "coda", "fuse", "gfs2", "glusterfs"}
    | {"lustre", "ncpfs", "ocfs2", "vboxsf", "virtiofs", "vmhgfs"}
)


def _unescape(field: str) -> str:
    """mountinfo writes space, tab, newline and backslash as three octal digits."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def file_system_of(path: str, mountinfo: str) -> str | None:
    """The type of the file system that holds the real `path`, from the text of /proc/self/mountinfo
    (proc_pid_mountinfo(5)); None when no mount point fits."""
    found: str | None = None
    longest = -1
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _unescape(fields[4]).rstrip("/")
        # Of mounts on the same point the last one is on top.
        if (path == point or path.startswith(f"{point}/")) and len(point) >= longest:
            longest, found = len(point), after.split(" ", 1)[0]
    return found


def silent_file_system(root: Path) -> str | None:
    """The type of a file system below `root` that tells inotify nothing of others' changes, or None."""
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = file_system_of(os.path.realpath(root), mountinfo)
    return kind if kind is not None and kind.split(".")[0] in _SILENT else None


def folders_to_watch(root: str, stages: Collection[str]) -> dict[str, tuple[int, int]]:
    """The root, its batches and their stages, with (device, inode) of each. No link is followed, nothing
    deeper is watched, and what may not be read is left out. Raises OSError when the root cannot be listed."""
    status = Path(root).stat()
    folders = {root: (status.st_dev, status.st_ino)}
    with os.scandir(root) as batches:
        for batch in batches:
            if not _plain_folder(batch):
                continue
            try:
                with os.scandir(batch.path) as entries:
                    inside = [entry for entry in entries if entry.name in stages and _plain_folder(entry)]
                    for folder in (batch, *inside):
                        status = folder.stat(follow_symlinks=False)
                        readable = os.access(folder.path, os.R_OK, effective_ids=True)
                        if readable and stat_bits.S_ISDIR(status.st_mode):
                            folders[folder.path] = (status.st_dev, status.st_ino)
            except OSError:
                # It went away or cannot be read: its listing will say so.
                continue
    return folders


def _plain_folder(entry: os.DirEntry[str]) -> bool:
    return (
        not is_ignored(entry.name)
        and name_trouble(entry.name) is None
        and entry.is_dir(follow_symlinks=False)
    )


def count_watches() -> int:
    """How many inotify watches this process holds, from /proc/self/fdinfo."""
    count = 0
    with suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if str(link.readlink()) == "anon_inode:inotify":
                    facts = Path("/proc/self/fdinfo", link.name).read_text(encoding="ascii")
                    count += sum(line.startswith("inotify ") for line in facts.splitlines())
    return count


def largest_burst() -> int:
    """Changes at once that suggest the kernel's queue may have overflowed: a sixteenth of its length, since
    a new file makes four events or more, and changes to the same file count once."""
    try:
        queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    except (OSError, ValueError):
        queue = 16384
    return max(64, queue // 16)
