"""UDP listeners. What the group does is told in `group`; here is what is UDP's own.

A UDP socket joins its group by bind(2), so there is always one of ours in it: a spare holds the address while there are
no members. A datagram is steered as a connection is, only that the next one of the same client may go elsewhere: a
handoff moves every client at one instant. shutdown(2) does not take a UDP socket out of its group, and close(2) does so
only with the last copy. But udp_lib_rehash() (net/ipv4/udp.c) does, and SO_BINDTOIFINDEX calls it: binding a socket
to an interface that does not exist takes it out for every process that has it, and what waits in it can still be read.
"""

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import ClassVar, Self

from supervisor.errors import HostError
from supervisor.linux import steering
from supervisor.linux.address import InetAddress, Socket, split
from supervisor.linux.group import Group
from supervisor.linux.options import UDP, Options, set_options
from supervisor.linux.past import Past

SCHEME = "udp://"

_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")  # SK_MEMINFO_VARS of linux/sock_diag.h; the first is SK_MEMINFO_RMEM_ALLOC, in bytes
_SO_BINDTOIFINDEX = 62


class UdpAddress(InetAddress, frozen=True, kw_only=True):
    """Where a UDP listener listens."""

    scheme: ClassVar[str] = SCHEME
    kind: ClassVar[socket.SocketKind] = socket.SOCK_DGRAM
    protocol: ClassVar[int] = socket.IPPROTO_UDP
    takes: ClassVar[frozenset[str]] = UDP

    @property
    def endpoint(self) -> None:
        """No connection can be made to it."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Tell what follows from its being UDP, and from its options, a sentence each."""
        alone = "right where each datagram is a request of its own, wrong for sessions (QUIC, DTLS)"
        return (
            f"{self}: a handoff sends every client to the new generation at once: {alone}",
            f"{self} is not probed: a server that says nothing counts as ready once it has lived for a second",
        )

    @classmethod
    def parse(cls, text: str, *, name: str | None = None, v6only: bool | None = None, options: Options = ()) -> Self:
        """Read `udp://` and what TcpAddress reads; raise ValueError saying what would do."""
        try:
            host, port = split(text.removeprefix(SCHEME))
        except ValueError as wrong:
            raise ValueError(f"{wrong}, with {SCHEME} before it") from None
        return cls(name=f"udp-{port}" if name is None else name, host=host, port=port, v6only=v6only, options=options)


class UdpListener(Group[UdpAddress]):
    """One UDP address."""

    @classmethod
    def open(cls, address: UdpAddress) -> Self:
        """Bind the address; raise HostError, which names the holder of an address in use."""
        first = address.bind(first=True)
        made = cls(address, first.getsockname()[1])
        made._put(made._next_spare(), first)
        made.found()
        return made

    @classmethod
    def adopt(cls, address: UdpAddress, anchor: Socket) -> Self:
        """Take over a bound socket that somebody else has made and keeps. Raises HostError."""
        made = cls(address, anchor.getsockname()[1], anchor)
        made.found()
        return made

    @classmethod
    def resumed(cls, address: UdpAddress, past: Past) -> Self:
        """Go on with the sockets of an earlier supervisor, of which there is at least one."""
        made = cls(address, past.port)
        made.resume(past)
        return made

    @property
    def probes(self) -> bool:
        """Tell that nothing of ours can be sent to a member without its server having to deal with it."""
        return False

    def reach(self, member: int) -> Socket:
        """Refuse by HostError."""
        raise HostError(f"{self.bound} cannot be probed (generation's socket {member}): UDP has no connections")

    def has_accepted(self, connection: Socket, owns: Callable[[int], bool]) -> bool | None:
        """Tell that it cannot be told."""
        del connection, owns
        return None

    def revive(self, member: int) -> bool:
        """A datagram socket is not to be shut down."""
        del member
        return False

    def mend(self) -> str:
        """Each generation has a socket of its own: what it does to that is its own affair."""
        return ""

    def queue(self, member: int) -> int:
        """Tell whether datagrams wait: 0 or 1, as the kernel counts their bytes and not how many they are."""
        info = self._sockets[member].getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(info)[0] > 0)

    def prepare(self, address: UdpAddress) -> None:
        """A bound socket takes part."""
        del address

    def settle(self) -> tuple[int, ...]:
        """Tell that none has left: a child's shutdown() or close() takes no socket out that we hold."""
        return ()

    def _begin(self, sock: Socket, address: UdpAddress) -> None:
        """It takes part since bind(2)."""

    def _take_out(self, sock: Socket) -> None:
        steering.deafen(sock)

    def _hold_address(self) -> None:
        if self.anchor is None and not self._spares():
            self._add(self._next_spare(), self.bound)

    def _is_needless(self, spare: int) -> bool:
        if not self.members and self.anchor is None:
            return len(self._spares()) > 1
        return super()._is_needless(spare)

    def _add(self, member: int, bound: UdpAddress) -> None:
        _refuse_one_that_cannot_leave(bound)
        self._put(member, bound.bind(first=False), bound)

    def _empty(self, member: int, limit: int) -> list[int]:
        """Read and forget."""
        ports: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while len(ports) < limit:
                _, peer = self._sockets[member].recvfrom(1, socket.MSG_DONTWAIT)
                ports.append(peer[1])
        return ports


def _refuse_one_that_cannot_leave(bound: UdpAddress) -> None:
    """What is bound to a device is bound to another one by CAP_NET_RAW alone (socket(7)): tried on another socket."""
    device = bound.option("device")
    if device is None:
        return
    with socket.socket(bound.family, bound.kind) as tried:
        set_options(tried, (("device", device),), str(bound))
        steering.deafen(tried)
        stays = tried.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX) == socket.if_nametoindex(str(device))
    if stays:
        raise HostError(
            f"{bound} cannot be handed over while it is bound to a device: that needs root or CAP_NET_RAW, "
            "or leave device out"
        )
