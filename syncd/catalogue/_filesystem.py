"""Which file system holds a path."""

from __future__ import annotations

import os
import re
from pathlib import Path

# SQLite's write-ahead log needs memory shared between all who have the file open, which these cannot
# give (https://www.sqlite.org/wal.html, "All processes using a database must be on the same host").
_NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "auristorfs", "beegfs",
    "ceph", "coda", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "ocfs2",
    "orangefs", "pvfs2",
})  # fmt: skip
# A FUSE file system is taken for a network one unless it is known to be a view of a local disk.
_LOCAL_FUSE = frozenset(
    {"fuseblk", "fuse.bindfs", "fuse.encfs", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.mergerfs"}
)


def network_filesystem(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that holds `path` (which need not exist), None when it is
    local. `mounts` is the text of /proc/self/mountinfo (proc(5)), read when not given."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    kind = _filesystem_type(os.path.realpath(path), mounts)
    is_network = kind in _NETWORK or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)
    return kind if is_network else None


def _filesystem_type(path: str, mounts: str) -> str:
    best, best_type = "", ""
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _unescaped(fields[4]).rstrip("/")
        # Of two mounts on one point the later hides the earlier.
        if (path == point or path.startswith(point + "/")) and len(point) >= len(best):
            best, best_type = point, after.split(" ")[0]
    return best_type


def _unescaped(point: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
