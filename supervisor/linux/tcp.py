"""A TCP listener: an address, its group of sockets (one for each generation), and who of them gets the next connection.

Theory. All sockets of an address form one SO_REUSEPORT group in the kernel, and the program set on the group names a
socket by its index. When a socket leaves, the last one takes its index. The kernel does that and the program follows
one system call later; in between the program would name an index past the end, and the kernel would hash connections
over every socket left, also those that nobody accepts from. No program can be right on both sides of a move, because
classic BPF cannot see how many members there are. So nothing that the program names is ever moved while there is a
choice: before such a leave a *spare* joins, which then is the last and the only one that moves. The program in force is
right before, during and after. The spare gets no connections, is the socket of the next generation that joins,
and goes as soon as going moves nobody.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Container, Iterable
from functools import partial
from typing import Self

from supervisor.errors import HostError
from supervisor.linux import sockdiag, steering
from supervisor.linux.address import Socket, TcpAddress
from supervisor.linux.steering import Order, ProbeMatch, attach, constant, with_probe


class TcpListener:
    """One address and its group. Members are socket sets, numbered by the caller from 0; a spare is below 0."""

    def __init__(self, address: TcpAddress, first: Socket) -> None:
        """Take over a bound socket that does not listen yet; `open` is the usual way here."""
        self.address = address
        self.bound = address.on_port(first.getsockname()[1])
        self._vacant: Socket | None = first  # holds the address while nobody listens
        self._sockets: dict[int, Socket] = {}
        self._order = Order()
        self._target: int | None = None
        self._probe: tuple[int, str, int] | None = None

    @classmethod
    def open(cls, address: TcpAddress) -> Self:
        """Bind the address without listening; raise HostError, which names the holder of an address in use."""
        return cls(address, address.bind(first=True))

    def __str__(self) -> str:
        """Give the address that it really has."""
        return str(self.bound)

    @property
    def members(self) -> tuple[int, ...]:
        """List the members, in the order of their numbers."""
        return tuple(sorted(member for member in self._sockets if member >= 0))

    @property
    def target(self) -> int | None:
        """Tell who gets the next connection, as last steered."""
        return self._target

    def socket(self, member: int) -> Socket:
        """Give the member's socket, which stays ours; KeyError when it is no member."""
        return self._sockets[member]

    def inode(self, member: int) -> int:
        """Tell the inode of the member's socket, as /proc/PID/fd shows it."""
        return os.fstat(self._sockets[member].fileno()).st_ino

    def join(self, member: int) -> None:
        """Let a new socket listen in the group; users do not reach it until it is steered to.

        Raises HostError, and leaves everything as it was, when the host refuses or when a stranger listens on this
        very address: it has an index of its own, so no index of ours could be relied on.
        """
        self.enter(member)
        try:
            self.refuse_strangers(sockdiag.listening(self.bound.family, self.bound.port))
        except HostError:
            self.withdraw(member)
            raise

    def enter(self, member: int, address: TcpAddress | None = None) -> None:
        """Join without a look at strangers, for who joins many listeners and looks once; raise HostError.

        `address` is how this one is configured, if other than those before: same place, other name or options.
        """
        if member < 0 or member in self._sockets:
            raise ValueError(f"{member} is not the number of a new member of {self.bound}")
        if address is not None:
            self.address, self.bound = address, address.on_port(self.bound.port)
        self.settle()
        spare = min(self._order.members, default=0)
        if spare < 0:
            self._rename(spare, member)
        else:
            self._listen(member)

    def withdraw(self, member: int) -> None:
        """Undo a join that no process knows of: as `leave`, but a socket that had better stay becomes a spare."""
        if self._shifts(member):
            self._rename(member, min(0, *self._order.members) - 1)
        else:
            self.leave(member)

    def refuse_strangers(self, found: Iterable[sockdiag.FoundSocket]) -> None:
        """Raise HostError when one of the listening sockets found is on this address and not ours."""
        ours = {self.inode(member) for member in self._sockets}
        host = self.bound.host.partition("%")[0]
        for other in found:
            if (other.host, other.port) == (host, self.bound.port) and other.inode not in ours:
                raise HostError(f"{self.bound} is also listened on by {other.owner()}, so it cannot be steered")

    def steer(self, member: int) -> None:
        """Send the next connections to that member; raise HostError, and change nothing, when refused."""
        self.plan(member)()

    def plan(self, member: int) -> Callable[[], None]:
        """Work out beforehand what `commit` needs to steer to that member; ValueError when it does not listen."""
        self.settle()
        self._order.index(member)
        return partial(self.commit, member, self._sockets[member], self._program(self._order, member))

    def commit(self, member: int, sock: Socket, program: bytes) -> None:
        """Do what was planned, in one atomic system call; raise HostError, and change nothing, when refused."""
        attach(sock, program)
        self._target = member

    @property
    def probes(self) -> bool:
        """Tell whether a connection of ours can be sent to one member alone."""
        return True

    def reach(self, member: int) -> Socket:
        """Begin a connection of our own that goes to that member alone, non-blocking; raise OSError or HostError.

        One at a time: a later one ends what was set up for the one before.
        """
        source = self.bound.loopback_source()
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.bind((source, 0))
            self.probe(member, (source, made.getsockname()[1]))
            with contextlib.suppress(BlockingIOError):
                made.connect((source, self.bound.port))
        except (OSError, HostError):
            made.close()
            raise
        return made

    def has_accepted(self, connection: Socket, owns: Callable[[int], bool]) -> bool | None:
        """Tell whether the server has accepted what `reach` began; None: it cannot be told (yet)."""
        del owns
        return sockdiag.is_accepted(connection)

    def probe(self, member: int, source: tuple[str, int]) -> None:
        """Send the connection from that local address and port to the member, others where they went before."""
        self.settle()
        self._order.index(member)
        self._probe = member, *source
        self._attach()

    def unprobe(self) -> None:
        """Forget the connection that `reach` began: it has arrived, or is of no more use."""
        self._probe = None
        self._attach()

    def mend(self) -> str:
        """Each generation has a socket of its own: what it does to that is its own affair."""
        return ""

    def may_leave(self, member: int, unready: Container[int]) -> bool:
        """Tell whether the member may leave now with nobody lost; False: reset_queue() first, or wait.

        Steering is safe in any case. What waits in its queue is not: without migration it is reset, and with it, it may
        land with one of `unready` (members that nobody accepts from) or a spare.
        """
        return self.queue(member) == 0 or (sockdiag.migrates() and self._all_accept(member, unready))

    def leave(self, member: int, unready: Container[int] | None = None) -> None:
        """Take the member out for every process that holds its socket, and close our copy.

        shutdown() of a listening socket unhashes it (inet_unhash() calls reuseport_stop_listen_sock()), whoever else
        has it open. `unready` None: not known. Known, and connections wait to be migrated while all others accept:
        then no spare is made, which would swallow some; for an instant new connections may go to any member. When the
        last member leaves nobody listens, but the address stays bound. Raises HostError with nothing changed when a
        socket needed for that cannot be had, ValueError for the target while others are there.
        """
        rest = [other for other in self.members if other != member]
        if member == self._target and rest:
            raise ValueError(f"{self.bound} is steered to {member}: steer to another before it leaves")
        self.settle()
        if not rest:
            self._vacant = self._vacant or self.bound.bind(first=False)
        elif self._shifts(member) and not self._migrates_well(member, unready):
            self._listen(min(0, *self._order.members) - 1)
        self._drop(member)
        for spare in sorted(other for other in self._sockets if other < 0):
            if not rest or not self._shifts(spare):
                self._drop(spare)

    def drop_spares(self) -> None:
        """Take out spares, which nobody accepts from. For when all others accept: for an instant any may be chosen."""
        for spare in sorted(other for other in self._sockets if other < 0):
            self._drop(spare)

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

    def reset_queue(self, member: int, limit: int) -> list[int]:
        """Reset up to `limit` waiting connections of a member whose process is dead; tell their clients' ports."""
        return sockdiag.reset_waiting(self._sockets[member], limit)

    def accepting_flag_ok(self, member: int) -> bool:
        """Tell whether the socket still listens (SO_ACCEPTCONN), which a child's shutdown() ends."""
        return bool(self._sockets[member].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def close(self) -> None:
        """Close our copies only: who else holds one goes on listening."""
        for sock in [*self._sockets.values(), *([self._vacant] if self._vacant else [])]:
            sock.close()
        self._sockets, self._order, self._vacant = {}, Order(), None

    def _listen(self, member: int) -> None:
        sock = self._vacant or self.bound.bind(first=False)
        try:
            if not self._order.members:
                attach(sock, constant(0))
            sock.listen(self.bound.backlog)
        except (HostError, OSError) as error:
            if sock is not self._vacant:
                sock.close()
            raise error if isinstance(error, HostError) else self.bound.refusal(error) from error
        self._vacant = None
        self._sockets[member] = sock
        self._order = self._order.join(member)

    def _rename(self, member: int, successor: int) -> None:
        self._sockets[successor] = self._sockets.pop(member)
        self._order = self._order.replace(member, successor)

    def _drop(self, member: int) -> None:
        if self._probe and self._probe[0] == member:
            self._probe = None
        if self._target == member:
            self._target = None
        after = self._order.leave(member) if member in self._order.members else self._order
        follow = (self._sockets[after.members[0]], self._program(after, self._target)) if after.members else None
        sock = self._sockets.pop(member)
        steering.deafen(sock)
        with contextlib.suppress(OSError):  # ENOTCONN: a child shut it down before us
            sock.shutdown(socket.SHUT_RDWR)
        if follow:
            attach(*follow)
        self._order = after
        sock.close()

    def _attach(self) -> None:
        if self._order.members:
            attach(self._sockets[self._order.members[0]], self._program(self._order, self._target))

    def _program(self, order: Order, target: int | None) -> bytes:
        if target is None or target not in order.members:  # before the first steer, or its process shut it down
            target = min((member for member in order.members if member >= 0), default=order.members[0])
        index = order.index(target)
        if self._probe and self._probe[0] in order.members:
            member, host, port = self._probe
            return with_probe(ProbeMatch(host, port, order.index(member)), index)
        return constant(index)

    def _shifts(self, member: int) -> bool:
        """Tell whether its leave would move a socket that the program names, with a choice left to the hash."""
        named = {self._target, self._probe[0] if self._probe else None}
        here = self._order.members
        a_choice_is_left = len(here) - 1 > 1
        return member in here and a_choice_is_left and self._order.leave_moves(member, here[-1]) and here[-1] in named

    def _all_accept(self, member: int, unready: Container[int]) -> bool:
        others = [other for other in self._order.members if other != member]
        return bool(others) and all(other >= 0 and other not in unready for other in others)

    def _migrates_well(self, member: int, unready: Container[int] | None) -> bool:
        if unready is None or not self._all_accept(member, unready):
            return False
        return sockdiag.migrates() and self.queue(member) > 0
