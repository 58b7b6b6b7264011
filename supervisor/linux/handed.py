"""Sockets that systemd has made and hands over, by the protocol of sd_listen_fds(3).

They are systemd's as much as ours: what is done to one is done to both, and it stays open when we end. The next start
gets the same ones again, with whoever waits in them.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.errors import HostError
from supervisor.linux import steering
from supervisor.linux.address import InetAddress, Socket
from supervisor.linux.shared import SharedAddress
from supervisor.linux.spawn import FIRST_FD

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence

    from supervisor.linux.address import Address

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_UNNAMED = "unknown"
"""What sd_listen_fds_with_names(3) calls a socket that came without a name."""


class Handed(Struct, frozen=True):
    """One socket, by the name that it came with (FileDescriptorName=)."""

    name: str
    socket: Socket

    def __str__(self) -> str:
        """Give the address that it is bound to, as the configuration has it."""
        bound = self.socket.getsockname()
        if self.socket.family not in (socket.AF_INET, socket.AF_INET6):
            return f"unix:{os.fsdecode(bound)}".replace("\0", "@")
        scheme = "udp://" if self.socket.type == socket.SOCK_DGRAM else ""
        host, port = bound[:2]
        return f"{scheme}[{host}]:{port}" if ":" in host else f"{scheme}{host}:{port}"

    @property
    def uid(self) -> int:
        """Tell whose it is."""
        return os.fstat(self.socket.fileno()).st_uid

    def is_at(self, address: Address) -> bool:
        """Tell whether it is what that listener is configured to be."""
        if str(self) != str(address):
            return False
        place = address.place if isinstance(address, SharedAddress) else address
        if not isinstance(place, InetAddress) or place.host != "::":
            return True
        return bool(self.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)) == bool(place.v6only)


def take(environment: MutableMapping[str, str], above: int) -> list[Handed]:
    """Take what is meant for this very process; the copies are close-on-exec and have numbers from `above` on.

    The variables go out of the environment whoever they are for: no child of ours is meant by them. What is no socket
    (a FIFO) is left where it is.
    """
    pid, count, names, _ = (environment.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdecimal()):
        return []
    called = names.split(":") if names else []
    found = []
    for at in range(int(count)):
        try:
            fd = fcntl.fcntl(FIRST_FD + at, fcntl.F_DUPFD_CLOEXEC, above)
        except OSError:  # fewer than it says
            break
        try:
            found.append(Handed(called[at] if at < len(called) else _UNNAMED, socket.socket(fileno=fd)))
        except OSError:
            os.close(fd)
    return found


def claim(addresses: Iterable[Address], handed: Sequence[Handed]) -> dict[str, Handed]:
    """Find the one for each listener, by its name. Raises HostError where one of that name is at another address."""
    claimed = {}
    for address in addresses:
        meant = [each for each in handed if each.name in (address.name, _UNNAMED)]
        fitting = next((each for each in meant if each.is_at(address)), None)
        if fitting is not None:
            claimed[address.name] = fitting
            continue
        for other in meant:
            if other.name == address.name:
                raise HostError(
                    f"{address.name}: the socket that was handed over (LISTEN_FDS) is {other}, and the configuration "
                    f"says {address}: write the same in both, with the same v6only"
                )
    return claimed


def take_over(handed: Handed) -> bool:
    """Make it our user's own, as it has to be for others of ours to join its group; tell whether that could be done.

    fchown(2) of a socket changes what sock_i_uid() tells of it (sockfs_setattr() in net/socket.c).
    """
    if handed.uid == os.geteuid():
        return True
    try:
        os.fchown(handed.socket.fileno(), os.geteuid(), -1)
    except OSError:
        return False
    return True


def let_go(sock: Socket) -> None:
    """Take a socket that nobody but us is to have out of use, for every process that has it, and close our copy."""
    steering.deafen(sock)
    with suppress(OSError):  # ENOTCONN: it does not listen
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def is_out_of_use(sock: Socket) -> bool:
    """Whether a datagram socket has been taken out of its group: it looks as before, but for where it is bound to."""
    return sock.type == socket.SOCK_DGRAM and steering.is_deaf(sock)
