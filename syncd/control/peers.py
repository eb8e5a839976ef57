"""Who is at the other end of a Unix socket, and what they may do.

The kernel notes the peer's identity at connect() (unix(7), SO_PEERCRED, SO_PEERGROUPS), so it cannot be
forged or changed later. The socket's file mode already keeps strangers out; this also holds where
somebody widened it, and tells readers from those who may change things.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Literal, Protocol

from syncd.errors import ExitCode, Fatal

Access = Literal["full", "read", "none"]

SO_PEERGROUPS = 59  # asm-generic/socket.h; not in the socket module
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_GROUPS_LIMIT_BYTES = 1024  # the most that socket.getsockopt reads: 256 groups


class SocketOptions(Protocol):
    """The part of a socket (or of a transport's view of it) that is needed here."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Peer:
    pid: int
    uid: int
    gid: int
    groups: frozenset[int]


def peer_of(connection: SocketOptions) -> Peer:
    """The process that connected, as it was when it did."""
    pid, uid, gid = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return Peer(pid, uid, gid, frozenset({gid, *_groups(connection, uid, gid)}))


def _groups(connection: SocketOptions, uid: int, gid: int) -> tuple[int, ...]:
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _GROUPS_LIMIT_BYTES)
    except OSError as error:
        if error.errno != errno.ERANGE:  # an old kernel: the primary group has to do
            return ()
        try:
            return tuple(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
        except KeyError:
            return ()
    return struct.unpack(f"{len(found) // 4}I", found)


def access_of(peer: Peer, owner_uid: int, group_gid: int | None) -> Access:
    """`full` for root and the daemon's own user, `read` for members of the socket's group."""
    if peer.uid in (0, owner_uid):
        return "full"
    return "read" if group_gid is not None and group_gid in peer.groups else "none"


def group_id(name: str) -> int | None:
    """The gid of `daemon.socket_group` (a name or a number), None when there is none."""
    if not name:
        return None
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise Fatal(
            f"daemon.socket_group: there is no group {name!r}",
            hint=f"create it (groupadd {name}) or leave socket_group empty",
            exit_code=ExitCode.CONFIG,
        ) from None
