"""What is known of a listener that an earlier supervisor had: its sockets in the order of their indexes."""

import os
import socket
from collections.abc import Mapping

from msgspec import Struct

from supervisor.linux.steering import Order

Socket = socket.socket


class Entry(Struct, frozen=True, kw_only=True):
    """One socket, as it was written down."""

    number: int
    """A set's, or that of a spare or of the anchor."""
    inode: int
    fd: int
    """What it was called in that supervisor."""

    @classmethod
    def of(cls, number: int, sock: Socket) -> "Entry":
        """Write one down."""
        return cls(number=number, inode=os.fstat(sock.fileno()).st_ino, fd=sock.fileno())


class Past(Struct, frozen=True, kw_only=True):
    """A listener as it was, and what is left of it."""

    order: tuple[Entry, ...]
    """In the order of their indexes, where there are any."""
    sockets: Mapping[int, Socket]
    """Those that are still open, by number."""
    anchor: int | None = None
    """Whose is the one that somebody else has made and keeps."""

    @property
    def port(self) -> int:
        """The one that all have, of an IP address."""
        return int(next(iter(self.sockets.values())).getsockname()[1])

    def now(self) -> Order:
        """Tell the order that the kernel has them in by now.

        A process closes what it has in the order of the numbers when it ends (close_files() in fs/file.c), so those
        that the supervisor alone had left the group in that order.
        """
        order = Order(tuple(each.number for each in self.order))
        for gone in sorted(self.order, key=lambda each: each.fd):
            if gone.number not in self.sockets:
                order = order.leave(gone.number)
        return order
