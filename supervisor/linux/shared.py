"""A listener with one socket for all generations: `mode = "shared"`, and every abstract Unix socket.

All generations hold the same open file description, and whoever calls accept(2) first has the connection: there is
nothing to steer, a candidate takes users as soon as it accepts, and the old generation goes on until it is told to end.
What waits in the queue belongs to all, so nothing is lost with one of them. But what one does to the socket it does to
all: `mend` puts right what can be put right. O_NONBLOCK is left alone while somebody runs: a server with an event loop
relies on it, and would stand still in accept(2) whenever another was quicker, or wait there for ever at its end.
"""

import contextlib
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Container, Hashable
from functools import partial
from typing import NamedTuple, Self

from msgspec import Struct

from supervisor.errors import HostError
from supervisor.linux import sockdiag, socketfile, unixdiag
from supervisor.linux.address import Socket, TcpAddress
from supervisor.linux.past import Entry, Past
from supervisor.linux.socketfile import Own
from supervisor.linux.tcp import connect_tcp
from supervisor.linux.unix import connect_unix
from supervisor.linux.unix_address import UnixAddress


class TakenElsewhereError(OSError):
    """Somebody else than the member has accepted our connection, or who it was cannot be told."""


class SharedAddress(Struct, frozen=True):
    """A place that is listened on by one socket for all generations."""

    place: TcpAddress | UnixAddress

    def __str__(self) -> str:
        """Give the place's form."""
        return str(self.place)

    @property
    def name(self) -> str:
        """Tell what the server finds in LISTEN_FDNAMES."""
        return self.place.name

    @property
    def identity(self) -> Hashable:
        """Tell the place, and that it is shared: no group can become one socket, nor the other way round."""
        return "shared", self.place.identity

    @property
    def mode(self) -> str:
        """Tell that all have one socket."""
        return "shared"

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Give the place's."""
        return self.place.endpoint

    @property
    def fixed(self) -> bool:
        """Tell whether the place is known beforehand."""
        return self.place.fixed

    @property
    def remarks(self) -> tuple[str, ...]:
        """Tell what sharing means."""
        shared = f"{self} is one socket for all generations: a candidate takes users as soon as it accepts"
        return (f"{shared}, before it is found ready", *self.place.remarks)


class _Open(NamedTuple):
    sock: Socket
    own: Own | None
    """The file that it is bound to, if any."""


class SharedListener:
    """One place and its socket. Members are socket sets, numbered by the caller, all with that socket."""

    def __init__(self, address: SharedAddress, opened: _Open) -> None:
        """Take over a bound socket that does not listen yet; `open` is the usual way here."""
        self.address = address
        self._open: _Open | None = opened
        self._bound = _bound(address.place, opened.sock)
        self._members: set[int] = set()
        self._ours: deque[tuple[str, int]] = deque(maxlen=sockdiag.REMEMBERED)
        self._target: int | None = None

    @classmethod
    def open(cls, address: SharedAddress) -> Self:
        """Bind the place without listening; raise HostError, which names who has it."""
        if isinstance(address.place, UnixAddress):
            address.place.refuse()
        return cls(address, _bind(address.place, 0))

    @classmethod
    def resumed(cls, address: SharedAddress, past: Past) -> Self:
        """Go on with the socket of an earlier supervisor. Raises OSError."""
        sock, place, own = next(iter(past.sockets.values())), address.place, None
        if isinstance(place, UnixAddress) and not place.abstract:
            own = socketfile.own_of(sock, place.path)
        made = cls(address, _Open(sock, own))
        made.resume(past)
        return made

    def resume(self, past: Past) -> None:
        """Have the members that it had under an earlier supervisor."""
        self._members = set(past.sockets)

    def __str__(self) -> str:
        """Give the address that it really has."""
        return str(self._bound)

    @property
    def members(self) -> tuple[int, ...]:
        """List the members, in the order of their numbers."""
        return tuple(sorted(self._members))

    @property
    def target(self) -> int | None:
        """Tell who was steered to last, which changes nothing for the clients."""
        return self._target

    @property
    def port(self) -> int | None:
        """The TCP port, if it is one."""
        return self._bound.port if isinstance(self._bound, TcpAddress) else None

    @property
    def names(self) -> frozenset[bytes]:
        """List what the socket is bound to: its accepted connections bear the same name."""
        if isinstance(self._bound, TcpAddress) or self._open is None:
            return frozenset()
        name = self._open.sock.getsockname()
        return frozenset((name if isinstance(name, bytes) else os.fsencode(name),))

    def written(self) -> tuple[Entry, ...]:
        """Tell the socket, once for each member, for a later supervisor."""
        return tuple(Entry.of(number, self._opened.sock) for number in self.members)

    def socket(self, member: int) -> Socket:
        """Give the socket, which stays ours; KeyError when it is no member."""
        if member not in self._members:
            raise KeyError(member)
        return self._opened.sock

    def inode(self, member: int) -> int:
        """Tell the inode of the socket, as /proc/PID/fd shows it."""
        return os.fstat(self.socket(member).fileno()).st_ino

    def prepare(self, address: SharedAddress) -> None:
        """It listens already: whoever held it for later would keep it open when all others are gone."""
        del address

    def enter(self, member: int, address: SharedAddress | None = None) -> None:
        """Have it listen, if it is the first, and blocking, as a server expects it. Raises HostError.

        A Unix socket that a server has shut down is of no use to anybody any more: a new one takes its place.
        """
        if member in self._members:
            raise ValueError(f"{member} is a member of {self} already")
        self.address = address or self.address
        if self._open is None or self._is_beyond_repair(self._open):
            fresh = _bind(_at(self.address.place, self._bound), member)
            self.close()
            self._open = fresh
        if not self._members:
            self._open.sock.settimeout(None)
        try:
            self._open.sock.listen(self.address.place.backlog)
        except OSError as error:
            raise HostError(f"{self} cannot be listened on: {os.strerror(error.errno or 0)}") from error
        self._members.add(member)

    def withdraw(self, member: int) -> None:
        """Undo `enter` for a member that no process knows of."""
        self.leave(member)

    def steer(self, member: int) -> None:
        """Note who serves, and see that the path is there. Raises HostError."""
        self.plan(member)()

    def plan(self, member: int) -> Callable[[], None]:
        """Give what does it; ValueError when it is no member."""
        if member not in self._members:
            raise ValueError(f"{member} is not a member of {self}")
        return partial(self._aim, member)

    def revive(self, member: int) -> bool:
        """That is mended for all (`mend`)."""
        del member
        return False

    def mend(self) -> str:
        """Put right what a server has done to the socket of all; tell what was wrong. Raises HostError if it cannot."""
        if not self._members:
            return ""
        told = []
        if self._open and self._is_beyond_repair(self._open):
            raise HostError(
                f"{self} has been shut down by a server, and no Unix socket can listen again: "
                "hand over, which makes a new one, and keep that server from calling shutdown() on it"
            )
        sock = self._opened.sock
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._bind_again(sock)
            told.append("a server has shut it down, for all generations: it listens again")
        sock.listen(self.address.place.backlog)
        if self._lead():
            told.append("its path was gone and is there again: a server removes it, which is not its own to remove")
        return "; ".join(told)

    def may_leave(self, member: int, unready: Container[int]) -> bool:
        """Tell whether others are left, to whom what waits belongs as well, or nobody waits."""
        del unready
        return self.queue(member) == 0

    def leave(self, member: int, unready: Container[int] | None = None) -> None:
        """Forget the member; with the last one the socket refuses connections for whoever holds it."""
        del unready
        self._members.remove(member)
        if member == self._target:
            self._target = min(self._members, default=None)
        if self._members:
            return
        last, self._open = self._opened, None
        if last.own is not None and isinstance(self._bound, UnixAddress):
            for path in (self._bound.path, last.own.path):
                socketfile.remove(path, (last.own.identity,))
        with contextlib.suppress(OSError):
            last.sock.shutdown(socket.SHUT_RDWR)
        last.sock.close()

    def drop_spares(self) -> None:
        """There are none."""

    def queue(self, member: int) -> int:
        """Tell how many connections wait, if there is no other member that they wait for as well."""
        if self._members != {member}:
            return 0
        sock = self.socket(member)
        return unixdiag.waiting(sock) if self.port is None else sockdiag.waiting(sock)

    def reset_queue(self, member: int, limit: int) -> list[int]:
        """Reset up to `limit` waiting connections of the last member, if its process is dead; tell the ports, or 0s."""
        if self._members != {member}:
            return []
        sock = self.socket(member)
        return (
            [0] * unixdiag.reset_waiting(sock, limit)
            if self.port is None
            else sockdiag.reset_waiting(sock, limit, self._ours)
        )

    @property
    def probes(self) -> bool:
        """Tell whether it can be told that a member has accepted a connection of ours."""
        return True

    def reach(self, member: int) -> Socket:
        """Begin a connection of our own, non-blocking, to whoever accepts it. Raises OSError."""
        del member
        if isinstance(self._bound, TcpAddress):
            made = connect_tcp(self._bound)
            self._ours.append(made.getsockname()[:2])
            return made
        name = self._opened.own.path if self._opened.own else f"\0{self._bound.path[1:]}"
        return connect_unix(name)

    def has_accepted(self, connection: Socket, owns: Callable[[int], bool]) -> bool | None:
        """Tell whether a process that `owns` tells of has accepted it. Raises TakenElsewhereError if another has."""
        look_up = unixdiag.accepted_as if self.port is None else sockdiag.accepted_as
        inode = look_up(connection)
        if inode == 0 and not unixdiag.is_hung_up(connection):
            return False
        if not inode or not owns(inode):
            raise TakenElsewhereError(f"somebody else has accepted the connection to {self}")
        return True

    def unprobe(self) -> None:
        """Nothing was set up for it."""

    def close(self) -> None:
        """Close our copy only. A socket that nobody was given, or that is of no use, goes with its name."""
        if self._open is None:
            return
        if self._open.own is not None and (not self._members or self._is_beyond_repair(self._open)):
            socketfile.remove(self._open.own.path, (self._open.own.identity,))
        self._open.sock.close()
        self._open = None

    @property
    def _opened(self) -> _Open:
        assert self._open is not None  # noqa: S101 - as long as there are members there is a socket
        return self._open

    def _aim(self, member: int) -> None:
        self._lead()
        self._target = member

    def _lead(self) -> bool:
        own = self._opened.own
        if own is None or not isinstance(self._bound, UnixAddress):
            return False
        return socketfile.lead(self._bound.path, own, (own.identity,))

    def _bind_again(self, sock: Socket) -> None:
        """A port that the kernel has chosen goes with a shutdown(), though getsockname(2) still tells it.

        One that was asked for stays (tcp_set_state(), SOCK_BINDPORT_LOCK), and bind(2) says EINVAL. Raises OSError.
        """
        if isinstance(self._bound, TcpAddress):
            try:
                sock.bind(self._bound.sockaddr)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise

    def _is_beyond_repair(self, opened: _Open) -> bool:
        return self.port is None and unixdiag.is_shut_down(opened.sock)


def _bind(place: TcpAddress | UnixAddress, number: int) -> _Open:
    """Bind one socket alone: SO_REUSEPORT would let every process of the same user in."""
    if isinstance(place, UnixAddress):
        return _Open(*place.bind(number))
    sock = place.bind(first=True)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    return _Open(sock, None)


def opened(sock: Socket) -> _Open:
    """What a listener begins with that takes over a socket of somebody else's."""
    return _Open(sock, None)


def _bound(place: TcpAddress | UnixAddress, sock: Socket) -> TcpAddress | UnixAddress:
    return place if isinstance(place, UnixAddress) else place.on_port(sock.getsockname()[1])


def _at(place: TcpAddress | UnixAddress, bound: TcpAddress | UnixAddress) -> TcpAddress | UnixAddress:
    """The place as it is configured now, on the port that it has."""
    return place.on_port(bound.port) if isinstance(place, TcpAddress) and isinstance(bound, TcpAddress) else place
