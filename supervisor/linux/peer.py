"""Who is on the other end of a Unix socket, by the kernel's word (unix(7)) and by nothing that they send.

SO_PEERCRED and SO_PEERGROUPS tell the credentials that a process had when it called connect(2): its effective user and
group, and its supplementary groups. What /etc/group says by now is another matter, and so is what the process has
become since.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from functools import cache

from msgspec import Struct

_SO_PEERGROUPS = 59
"""asm-generic/socket.h, Linux 4.13. The two architectures that number it otherwise (parisc, sparc) have no uvloop."""
_UCRED = struct.Struct("iII")
_GID = struct.Struct("I")
_FIRST = 64
"""Groups that room is made for at first. More is rare, and asked for once more with as much as the kernel wants."""
_MOST = 65536
"""NGROUPS_MAX."""


class Peer(Struct, frozen=True):
    """The process that connected, as it was then."""

    pid: int
    """0: it is in a pid namespace that cannot be seen from here."""
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    """The supplementary ones."""

    @property
    def gids(self) -> frozenset[int]:
        """All the groups that it has the rights of."""
        return self.groups | {self.gid}


NOBODY = Peer(pid=0, uid=0xFFFFFFFF, gid=0xFFFFFFFF)
"""Before the kernel was asked. No process has this uid: it is what chown(2) takes for "leave it"."""


def peer_of(connection: socket.socket) -> Peer:
    """Ask the kernel. Raises OSError."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    return Peer(pid, uid, gid, _groups(connection.fileno()))


def _groups(fd: int) -> frozenset[int]:
    """By getsockopt(2) itself: Python's takes 1024 bytes at most, which is 256 groups, and a process may have 65,536.

    ERANGE says how much room is wanted. The groups of a connection never change, so that the second answer fits.
    """
    room = _FIRST * _GID.size
    while True:
        buffer, size = ctypes.create_string_buffer(room), ctypes.c_uint32(room)
        if _libc().getsockopt(fd, socket.SOL_SOCKET, _SO_PEERGROUPS, buffer, ctypes.byref(size)) == 0:
            return frozenset(gid for (gid,) in _GID.iter_unpack(buffer.raw[: size.value]))
        refused = ctypes.get_errno()
        if refused != errno.ERANGE or not room < size.value <= _MOST * _GID.size:
            raise OSError(refused, os.strerror(refused))
        room = size.value


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
