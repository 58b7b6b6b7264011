"""A Unix stream listener with a path: a socket for each generation, and a path that leads to exactly one of them.

Unix sockets form no groups. Each is bound to a hidden name beside the path, by which the probe reaches it, and steering
is to have the path lead to another. A connection stays in the queue of the socket that it met: the kernel never moves
one, so the old generation reads out what it has before it is told to end.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Container
from functools import partial
from typing import NamedTuple, Self

from supervisor.errors import HostError
from supervisor.linux import socketfile, unixdiag
from supervisor.linux.address import Socket
from supervisor.linux.past import Entry, Past
from supervisor.linux.socketfile import Own
from supervisor.linux.unix_address import UnixAddress


class _Member(NamedTuple):
    sock: Socket
    own: Own


class UnixListener:
    """One path and its sockets. Members are socket sets, numbered by the caller."""

    def __init__(self, address: UnixAddress) -> None:
        """Begin without sockets; `open` is the usual way here."""
        self.address = address
        self._members: dict[int, _Member] = {}
        self._target: int | None = None

    @classmethod
    def open(cls, address: UnixAddress) -> Self:
        """See that the path may be taken; raise HostError, which names who listens there or says what is there."""
        address.refuse()
        return cls(address)

    @classmethod
    def resumed(cls, address: UnixAddress, past: Past) -> Self:
        """Go on with the sockets of an earlier supervisor; what it left of others is cleared away. Raises OSError."""
        made = cls(address)
        for number, sock in past.sockets.items():
            made._members[number] = _Member(sock, socketfile.own_of(sock, address.path))
        socketfile.sweep(address.path)
        return made

    def __str__(self) -> str:
        """Give the address."""
        return str(self.address)

    @property
    def members(self) -> tuple[int, ...]:
        """List the members, in the order of their numbers."""
        return tuple(sorted(self._members))

    @property
    def target(self) -> int | None:
        """Tell who gets the next connection, as last steered."""
        return self._target

    @property
    def names(self) -> frozenset[bytes]:
        """List what the sockets are bound to: their accepted connections bear the same names."""
        return frozenset(os.fsencode(each.own.path) for each in self._members.values())

    def written(self) -> tuple[Entry, ...]:
        """Tell the sockets, for a later supervisor."""
        return tuple(Entry.of(number, each.sock) for number, each in self._members.items())

    def socket(self, member: int) -> Socket:
        """Give the member's socket, which stays ours; KeyError when it is no member."""
        return self._members[member].sock

    def inode(self, member: int) -> int:
        """Tell the inode of the member's socket, as /proc/PID/fd shows it."""
        return os.fstat(self.socket(member).fileno()).st_ino

    def prepare(self, address: UnixAddress) -> None:
        """A bound socket has a name beside the path, by which the probe would reach it."""
        del address

    def enter(self, member: int, address: UnixAddress | None = None) -> None:
        """Let a new socket listen; users do not reach it until it is steered to. Raises HostError."""
        if member in self._members:
            raise ValueError(f"{member} is a member of {self} already")
        self.address = address or self.address
        sock, own = self.address.bind(member)
        assert own is not None  # noqa: S101 - only an abstract address has none, and is listened on otherwise
        self._members[member] = _Member(sock, own)
        try:
            sock.listen(self.address.backlog)
        except OSError as error:
            self.leave(member)
            raise HostError(f"{self} cannot be listened on: {os.strerror(error.errno or 0)}") from error

    def withdraw(self, member: int) -> None:
        """Undo `enter` for a member that no process knows of."""
        self.leave(member)

    def steer(self, member: int) -> None:
        """Have the path lead to that member; raise HostError, and change nothing, when it cannot."""
        self.plan(member)()

    def plan(self, member: int) -> Callable[[], None]:
        """Give what does it; ValueError when it is no member."""
        if member not in self._members:
            raise ValueError(f"{member} is not a member of {self}")
        return partial(self._aim, member)

    def revive(self, member: int) -> bool:
        """What listened on a Unix socket that was shut down is gone: the next handoff brings another."""
        del member
        return False

    def mend(self) -> str:
        """Have the path lead to who is steered to, if a server has removed it; tell what was wrong."""
        if self._target is None or not self._lead(self._target):
            return ""
        return "its path was gone and is there again: a server removes it, which is not its own to remove"

    def may_leave(self, member: int, unready: Container[int]) -> bool:
        """Tell whether nobody waits in the member's queue, which is lost with it."""
        del unready
        return self.queue(member) == 0

    def leave(self, member: int, unready: Container[int] | None = None) -> None:
        """Have the member's socket refuse connections for whoever holds it, and remove its names."""
        del unready
        rest = [other for other in self._members if other != member]
        if member == self._target and rest:
            raise ValueError(f"{self} leads to {member}: steer to another before it leaves")
        left = self._members.pop(member)
        socketfile.remove(left.own.path, (left.own.identity,))
        if not rest:
            socketfile.remove(self.address.path, (left.own.identity,))
            self._target = None
        with contextlib.suppress(OSError):
            left.sock.shutdown(socket.SHUT_RDWR)
        left.sock.close()

    def drop_spares(self) -> None:
        """There are none."""

    def queue(self, member: int) -> int:
        """Tell how many connections wait to be accepted by the member."""
        return unixdiag.waiting(self.socket(member))

    def reset_queue(self, member: int, limit: int) -> list[int]:
        """Close up to `limit` waiting connections of one whose process is dead; a 0 for each, as they have no port."""
        return [0] * unixdiag.reset_waiting(self.socket(member), limit)

    @property
    def probes(self) -> bool:
        """Tell whether a connection of ours can be sent to one member alone."""
        return True

    def reach(self, member: int) -> Socket:
        """Begin a connection of our own by the member's own name, non-blocking. Raises OSError."""
        return connect_unix(self._members[member].own.path)

    def has_accepted(self, connection: Socket, owns: Callable[[int], bool]) -> bool | None:
        """Tell whether the server has accepted what `reach` began; None: it cannot be told."""
        del owns
        inode = unixdiag.accepted_as(connection)
        return bool(inode) or unixdiag.is_hung_up(connection) or (None if inode is None else False)

    def unprobe(self) -> None:
        """Nothing was set up for it."""

    def close(self) -> None:
        """Close our copies only, and leave the names to who else holds one."""
        for each in self._members.values():
            each.sock.close()
        self._members = {}

    def _aim(self, member: int) -> None:
        self._lead(member)
        self._target = member

    def _lead(self, member: int) -> bool:
        ours = {each.own.identity for each in self._members.values()}
        return socketfile.lead(self.address.path, self._members[member].own, ours)


def connect_unix(name: str) -> Socket:
    """Begin a connection to a Unix socket, non-blocking. Raises OSError: BlockingIOError when its queue is full."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.connect(name)
    except OSError:
        made.close()
        raise
    return made
