"""A TCP listener: a group of listening sockets. What the group does is told in `group`; here is what is TCP's own."""

import contextlib
import socket
from collections import deque
from collections.abc import Callable, Container
from typing import Self

from supervisor.errors import HostError
from supervisor.linux import sockdiag, steering
from supervisor.linux.address import Socket, TcpAddress
from supervisor.linux.group import Group
from supervisor.linux.past import Past
from supervisor.linux.steering import attach, constant


class TcpListener(Group[TcpAddress]):
    """One TCP address. A socket joins its group by listen(2)."""

    def __init__(
        self, address: TcpAddress, port: int, *, vacant: Socket | None = None, anchor: Socket | None = None
    ) -> None:
        """Begin without members. `vacant` is bound to the address and does not listen; `anchor` is somebody else's."""
        super().__init__(address, port, anchor)
        self._vacant = vacant  # holds the address while nobody listens; else it is the next member's
        self._vacant_as = address
        self._silent = False
        self._ours: deque[tuple[str, int]] = deque(maxlen=sockdiag.REMEMBERED)

    @classmethod
    def open(cls, address: TcpAddress) -> Self:
        """Bind the address without listening; raise HostError, which names the holder of an address in use."""
        vacant = address.bind(first=True)
        return cls(address, vacant.getsockname()[1], vacant=vacant)

    @classmethod
    def adopt(cls, address: TcpAddress, anchor: Socket) -> Self:
        """Take over a listening socket that somebody else has made and keeps. Raises HostError."""
        made = cls(address, anchor.getsockname()[1], anchor=anchor)
        made.found()
        return made

    @classmethod
    def resumed(cls, address: TcpAddress, past: Past) -> Self:
        """Go on with the sockets of an earlier supervisor, of which there is at least one."""
        made = cls(address, past.port)
        made.resume(past)
        return made

    @property
    def probes(self) -> bool:
        """Tell whether a connection of ours can be sent to one member alone: not to one that is for elsewhere."""
        return self.bound.within_reach

    def reach(self, member: int) -> Socket:
        """Begin a connection of our own that goes to that member alone, non-blocking; raise OSError or HostError.

        One at a time: a later one ends what was set up for the one before.
        """
        source = self.bound.loopback_source()
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.bind((source, 0))
            self._ours.append((source, made.getsockname()[1]))
            self.probe(member, self._ours[-1])
            with contextlib.suppress(BlockingIOError):
                made.connect((source, self.bound.port))
        except (OSError, HostError):
            made.close()
            raise
        self._silent = bool(self.bound.option("defer_accept"))
        return made

    def has_accepted(self, connection: Socket, owns: Callable[[int], bool]) -> bool | None:
        """Tell whether the server has accepted what `reach` began; None: it cannot be told (yet).

        TCP_DEFER_ACCEPT (tcp(7)) holds it back until it has said something: an empty line.
        """
        del owns
        if self._silent:
            connection.send(b"\n")
            self._silent = False
        return sockdiag.is_accepted(connection)

    def probe(self, member: int, source: tuple[str, int]) -> None:
        """Send the connection from that local address and port to the member, others where they went before."""
        self.settle()
        self._order.index(member)
        self._probe = member, *source
        self._attach()

    def prepare(self, address: TcpAddress) -> Socket | None:
        """Have the next member's socket there, bound and without an index. Raises HostError.

        None while strangers are about: who enters is withdrawn then, and leaves its socket as a spare, which is to be
        the next one's. None where it would be bound to an interface, which may be another when it is wanted.
        """
        bound = address.on_port(self.bound.port)
        if self._has_strangers() or bound.option("device") is not None or "%" in bound.host:
            return None
        if not self._is_prepared(bound):
            new = bound.bind(first=False)
            if self._vacant is not None:
                self._vacant.close()
            self._vacant, self._vacant_as = new, bound
        return self._vacant

    def mend(self) -> str:
        """Each generation has a socket of its own: what it does to that is its own affair."""
        return ""

    def revive(self, member: int) -> bool:
        """Have a member listen again whose last server has shut its socket down; tell whether that was so.

        It joins its group anew (inet_csk_listen_start(), reuseport_resurrect()), at the end. Raises HostError.
        """
        if self.accepting_flag_ok(member):
            return False
        self.settle()
        try:
            self._begin(self._sockets[member], self.bound)
        except OSError as error:
            raise self.bound.refusal(error) from error
        self._order = self._order.join(member)
        self._attach()
        return True

    def settle(self) -> tuple[int, ...]:
        """Find members that a child took out by shutdown() on its copy, and set the program right; tell which.

        They stay members, without an index, until they leave. When several fall at once the order is a guess
        (oldest first), as the kernel tells no indexes.
        """
        fallen = [member for member in sorted(self._order.members) if not self.accepting_flag_ok(member)]
        for member in fallen:
            self._order = self._order.leave(member)
        if fallen:
            self._attach()
        return tuple(fallen)

    def queue(self, member: int) -> int:
        """Tell how many connections wait to be accepted (not those that TCP_DEFER_ACCEPT holds back)."""
        return sockdiag.waiting(self._sockets[member])

    def accepting_flag_ok(self, member: int) -> bool:
        """Tell whether the socket still listens (SO_ACCEPTCONN), which a child's shutdown() ends."""
        return bool(self._sockets[member].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def close(self) -> None:
        """Close our copies only: who else holds one goes on listening."""
        super().close()
        if self._vacant is not None:
            self._vacant.close()
            self._vacant = None

    def _empty(self, member: int, limit: int) -> list[int]:
        return sockdiag.reset_waiting(self._sockets[member], limit, self._ours)

    def _moves_queue(self, member: int, unready: Container[int]) -> bool:
        """Tell whether the kernel moves its connections. It may choose any member: no spare, nobody of `unready`."""
        others = [other for other in self._order.members if other != member]
        all_accept = bool(others) and all(other >= 0 and other not in unready for other in others)
        return all_accept and sockdiag.migrates() and self.queue(member) > 0 and not self._has_strangers()

    def _hold_address(self) -> None:
        if self._vacant is None and self.anchor is None:
            self._vacant, self._vacant_as = self.bound.bind(first=False), self.bound

    def _is_prepared(self, bound: TcpAddress) -> bool:
        return self._vacant is not None and self._vacant_as.alike(bound)

    def _spare_like(self, bound: TcpAddress) -> int | None:
        """What is prepared comes before a spare: somebody may hold it already."""
        return None if self._is_prepared(bound) else super()._spare_like(bound)

    def _add(self, member: int, bound: TcpAddress) -> None:
        vacant = self._vacant
        sock = vacant if vacant and self._is_prepared(bound) else bound.bind(first=False)
        try:
            if not self._order.members:
                attach(sock, constant(0))
            self._begin(sock, bound)
        except (HostError, OSError) as error:
            if sock is not vacant:
                sock.close()
            raise error if isinstance(error, HostError) else bound.refusal(error) from error
        self._vacant = None
        if vacant is not None and sock is not vacant:
            vacant.close()
        self._put(member, sock, bound)

    def _begin(self, sock: Socket, address: TcpAddress) -> None:
        sock.listen(address.backlog)

    def _take_out(self, sock: Socket) -> None:
        """shutdown() of a listening socket unhashes it for all: inet_unhash() calls reuseport_stop_listen_sock()."""
        steering.deafen(sock)
        with contextlib.suppress(OSError):  # ENOTCONN: a child shut it down before us
            sock.shutdown(socket.SHUT_RDWR)


def connect_tcp(bound: TcpAddress) -> Socket:
    """Begin a connection of our own, non-blocking, to whoever accepts it. Raises OSError."""
    source = bound.loopback_source()
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(BlockingIOError):
            made.connect((source, bound.port))
    except OSError:
        made.close()
        raise
    return made
