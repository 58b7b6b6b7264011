"""Who is on the other end, by the kernel's word (SO_PEERCRED, unix(7)) and by nothing that it sends."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as it was then."""

    pid: int
    uid: int
    gid: int

    @property
    def trusted(self) -> bool:
        """Root, or the user that the supervisor runs as."""
        return self.uid in {0, os.geteuid()}


NOBODY = Peer(pid=0, uid=0xFFFFFFFF, gid=0xFFFFFFFF)
"""Before the kernel was asked. No process has this uid: it is what chown(2) takes for "leave it"."""


def peer_of(connection: socket.socket) -> Peer:
    """Ask the kernel."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(raw))
