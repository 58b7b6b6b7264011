"""A group: all sockets of one address, a socket for each generation, and who of them gets what comes next.

Theory. All sockets of an address form one SO_REUSEPORT group in the kernel, and the program set on the group names a
socket by its index. When a socket leaves, the last one takes its index. The kernel does that and the program follows
one system call later; in between the program would name an index past the end, and the kernel would hash clients
over every socket left, also those that nobody reads from. No program can be right on both sides of a move, because
classic BPF cannot see how many members there are. So nothing that the program names is ever moved while there is a
choice: before such a leave a *spare* joins, which then is the last and the only one that moves. The program in force is
right before, during and after. The spare gets no clients, is the socket of the next generation that joins (if it is
configured alike, and none is prepared, which has no index), and goes as soon as going moves nobody.

A socket that somebody else holds as well, who made it and handed it over (systemd), is the *anchor*. It cannot be taken
out of the group, so it stays in it for good. Who joins while nobody else is there gets it, and with it the clients that
wait in it; a later generation gets a socket of its own, and nothing is steered to the anchor until all have gone.
"""

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

from supervisor.errors import HostError
from supervisor.linux import sockdiag, strangers
from supervisor.linux.address import InetAddress, Socket
from supervisor.linux.options import set_late
from supervisor.linux.past import Entry, Past
from supervisor.linux.steering import Order, ProbeMatch, attach, constant, with_probe

ANCHOR = -1
"""The number of the anchor while no member has it. Spares are below."""

A = TypeVar("A", bound=InetAddress)


class Group(ABC, Generic[A]):
    """One address and its group. Members are socket sets, numbered by the caller from 0."""

    def __init__(self, address: A, port: int, anchor: Socket | None = None) -> None:
        """Begin with no member; `port` is the one that the address really has."""
        self.address = address
        self.bound = address.on_port(port)
        self._sockets: dict[int, Socket] = {}
        self._made: dict[int, A] = {}
        self._order = Order()
        self._target: int | None = None
        self._probe: tuple[int, str, int] | None = None
        self.anchor: int | None = None  # who has the anchor: ANCHOR or a member
        self._given_back = False
        if anchor is not None:
            self.anchor = ANCHOR
            self._put(ANCHOR, anchor)

    def __str__(self) -> str:
        """Give the address that it really has."""
        return str(self.bound)

    @property
    def members(self) -> tuple[int, ...]:
        """List the members, in the order of their numbers."""
        return tuple(sorted(member for member in self._sockets if member >= 0))

    @property
    def target(self) -> int | None:
        """Tell who gets the next client, as last steered."""
        return self._target

    @property
    @abstractmethod
    def probes(self) -> bool:
        """Tell whether a connection of ours can be sent to one member alone."""

    @abstractmethod
    def queue(self, member: int) -> int:
        """Tell how much waits to be read by the member."""

    @abstractmethod
    def settle(self) -> tuple[int, ...]:
        """Find members that a child took out of the group, and set the program right; tell which."""

    @abstractmethod
    def _begin(self, sock: Socket, address: A) -> None:
        """Have a bound socket take part, if binding alone does not do that. Raises OSError."""

    @abstractmethod
    def _take_out(self, sock: Socket) -> None:
        """Take it out of the group for every process that has it."""

    @abstractmethod
    def _hold_address(self) -> None:
        """Keep the address ours though no member is left. Raises HostError."""

    @abstractmethod
    def _empty(self, member: int, limit: int) -> list[int]:
        """Lose up to `limit` of what waits for a member; tell the clients' ports."""

    def socket(self, member: int) -> Socket:
        """Give the member's socket, which stays ours; KeyError when it is no member."""
        return self._sockets[member]

    def inode(self, member: int) -> int:
        """Tell the inode of the member's socket, as /proc/PID/fd shows it."""
        return os.fstat(self._sockets[member].fileno()).st_ino

    def written(self) -> tuple[Entry, ...]:
        """Tell the sockets in the order of their indexes, for a later supervisor."""
        return tuple(Entry.of(number, self._sockets[number]) for number in self._order.members)

    def resume(self, past: Past) -> None:
        """Go on with what an earlier supervisor had. Who gets the next client is known again with the next steer."""
        self._order = past.now()
        self._sockets = dict(past.sockets)
        self._made = dict.fromkeys(past.sockets, self.bound)
        self.anchor = past.anchor

    def found(self) -> None:
        """Make sure that a bound socket has a group, with a program. Raises HostError, with all closed.

        One that was bound without SO_REUSEPORT has none yet: the kernel makes it with the second, and keeps it after.
        What reaches the second before the program is there waits for who gets that spare next.
        """
        try:
            self._found()
        except HostError:
            self.close()
            raise

    def join(self, member: int) -> None:
        """Enter, and look whether strangers are on this address; raise HostError, everything as it was, if so."""
        self.enter(member)
        try:
            self.refuse_strangers(sockdiag.listening(self.bound.family, self.bound.port, self.bound.protocol))
        except HostError:
            self.withdraw(member)
            raise

    def enter(self, member: int, address: A | None = None) -> None:
        """Join without a look at strangers, for who joins many listeners and looks once; raise HostError.

        `address` is how this one is configured, if other than those before: same place, other name or options.
        """
        if member < 0 or member in self._sockets:
            raise ValueError(f"{member} is not the number of a new member of {self.bound}")
        address = self.address if address is None else address
        self.settle()
        bound = address.on_port(self.bound.port)
        if self.anchor == ANCHOR and not self.members:
            self._use_anchor(member, bound)
        elif (spare := self._spare_like(bound)) is not None:
            self._rename(spare, member)
        else:
            self._add(member, bound)
        self.address, self.bound = address, bound
        self._drop_needless_spares()

    def withdraw(self, member: int) -> None:
        """Undo a join that no process knows of: as `leave`, but a socket that had better stay becomes a spare."""
        if self._shifts(member):
            self._rename(member, self._next_spare())
        else:
            self.leave(member)

    def refuse_strangers(self, found: Iterable[sockdiag.FoundSocket]) -> None:
        """Raise HostError when one of the sockets found is on this address and not ours."""
        strangers.refuse(self.bound, self._inodes(), found)

    def steer(self, member: int) -> None:
        """Send the next clients to that member; raise HostError, and change nothing, when refused."""
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

    def give_back(self) -> None:
        """Let whoever comes next wait in the anchor, if there is one, until somebody begins anew."""
        if self.anchor in self._order.members:
            self._given_back, self._target = True, None
            self._attach()

    def unprobe(self) -> None:
        """Forget the connection that `reach` began: it has arrived, or is of no more use."""
        self._probe = None
        self._attach()

    def may_leave(self, member: int, unready: Container[int]) -> bool:
        """Tell whether the member may leave now with nobody lost; False: reset_queue() first, or wait."""
        return self.queue(member) == 0 or self._keeps_queue(member) or self._moves_queue(member, unready)

    def leave(self, member: int, unready: Container[int] | None = None) -> None:
        """Take the member out for every process that holds its socket, and close our copy.

        `unready` None: not known. Known, and clients wait to be moved while all others accept: then no spare is made,
        which would swallow some; for an instant new ones may go to any member. When the last member leaves nobody
        listens, but the address stays bound. Raises HostError with nothing changed when a socket needed for that cannot
        be had, ValueError for the target while others are there.
        """
        rest = [other for other in self.members if other != member]
        if member == self._target and rest:
            raise ValueError(f"{self.bound} is steered to {member}: steer to another before it leaves")
        self.settle()
        moves = unready is not None and self._moves_queue(member, unready)
        if not rest:
            self._hold_address()
        elif self._has_strangers() or (self._shifts(member) and not moves):
            self._add(self._next_spare(), self.bound)
        self._drop(member)
        self._drop_needless_spares()

    def drop_spares(self) -> None:
        """Take out spares, which nobody accepts from. For when all others accept: for an instant any may be chosen."""
        for spare in () if self._has_strangers() else self._spares():
            self._drop(spare)

    def reset_queue(self, member: int, limit: int) -> list[int]:
        """Lose up to `limit` of what waits for a member whose process is dead; tell the clients' ports.

        Not what waits in the anchor while nobody else is there: that is for who begins next.
        """
        return [] if self._keeps_queue(member) else self._empty(member, limit)

    def close(self) -> None:
        """Close our copies only: who else holds one goes on listening."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets, self._order = {}, Order()

    def _drop_needless_spares(self) -> None:
        for spare in self._spares():
            if self._is_needless(spare) and not (self.members and self._has_strangers()):
                self._drop(spare)

    def _is_needless(self, spare: int) -> bool:
        return not self.members or not self._shifts(spare)

    def _moves_queue(self, member: int, unready: Container[int]) -> bool:
        """Tell whether the kernel moves what waits for it to members that read it."""
        del member, unready
        return False

    def _keeps_queue(self, member: int) -> bool:
        return member == self.anchor and self.members == (member,)

    def _has_strangers(self) -> bool:
        return strangers.present(self.bound, self._inodes())

    def _inodes(self) -> set[int]:
        return set(map(self.inode, self._sockets))

    def _spares(self) -> list[int]:
        return sorted(number for number in self._sockets if number < ANCHOR)

    def _next_spare(self) -> int:
        return min([ANCHOR, *self._sockets]) - 1

    def _spare_like(self, bound: A) -> int | None:
        """A spare that was made as this one is to be, whatever its name."""
        return next((spare for spare in self._spares() if self._made[spare].alike(bound)), None)

    def _use_anchor(self, member: int, bound: A) -> None:
        anchor = self._sockets[ANCHOR]
        set_late(anchor, bound.options, str(bound))
        try:
            self._begin(anchor, bound)
        except OSError as error:
            raise self.bound.refusal(error) from error
        if ANCHOR not in self._order.members:  # a child had shut it down
            self._order = self._order.join(ANCHOR)
        self._rename(ANCHOR, member)
        self.anchor, self._given_back = member, False

    def _found(self) -> None:
        (only,) = self._sockets.values()
        only.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with suppress(HostError):
            self._attach()
            return
        spare = self._next_spare()
        self._add(spare, self.bound)
        self._attach()
        if self.queue(spare) == 0:
            self._drop(spare)

    def _add(self, member: int, bound: A) -> None:
        self._put(member, bound.bind(first=False), bound)

    def _put(self, member: int, sock: Socket, bound: A | None = None) -> None:
        self._sockets[member] = sock
        self._made[member] = self.bound if bound is None else bound
        self._order = self._order.join(member)

    def _rename(self, member: int, successor: int) -> None:
        self._sockets[successor] = self._sockets.pop(member)
        self._made[successor] = self._made.pop(member)
        if member in self._order.members:
            self._order = self._order.replace(member, successor)

    def _drop(self, member: int) -> None:
        if self._probe and self._probe[0] == member:
            self._probe = None
        if self._target == member:
            self._target = None
        if member == self.anchor:
            self._rename(member, ANCHOR)
            self.anchor = ANCHOR
            self._attach()
            return
        after = self._order.leave(member) if member in self._order.members else self._order
        follow = (self._sockets[after.members[0]], self._program(after, self._target)) if after.members else None
        sock = self._sockets.pop(member)
        del self._made[member]
        self._take_out(sock)
        if follow:
            attach(*follow)
        self._order = after
        sock.close()

    def _attach(self) -> None:
        if self._order.members:
            attach(self._sockets[self._order.members[0]], self._program(self._order, self._target))

    def _program(self, order: Order, target: int | None) -> bytes:
        if self._given_back and self.anchor in order.members:
            target = self.anchor
        if target is None or target not in order.members:  # before the first steer, or its process shut it down
            idle = ANCHOR if ANCHOR in order.members else order.members[0]
            target = min((member for member in order.members if member >= 0), default=idle)
        index = order.index(target)
        if self._probe is None or self._probe[0] not in order.members:
            return constant(index)
        member, host, port = self._probe
        return with_probe(ProbeMatch(host, port, order.index(member)), index)

    def _shifts(self, member: int) -> bool:
        """Tell whether its leave would move a socket that the program names, with a choice left to the hash."""
        named = {self._target, self._probe[0] if self._probe else None}
        return member != self.anchor and self._order.leave_shifts(member, named)
