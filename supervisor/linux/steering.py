"""Steering: which socket of a SO_REUSEPORT group gets the next connection.

A classic BPF program set with SO_ATTACH_REUSEPORT_CBPF (socket(7)) runs for every new connection and returns the
index of a socket in its group; setting one replaces the last atomically and needs no privilege. The instructions are
those of Documentation/networking/filter.rst: one accumulator, absolute loads, forward jumps. Absolute loads count from
the end of the TCP header here (run_bpf_filter() in net/core/sock_reuseport.c pulls it), so headers are read relative
to SKF_NET_OFF instead. A load outside the packet ends the program with 0, an index past the end makes the kernel hash
over all members: neither happens with the programs below, whose loads stay within headers that TCP always has.
"""

import array
import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Container
from functools import lru_cache

from msgspec import Struct

from supervisor.errors import HostError

_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_BINDTOIFINDEX = 62
NO_INTERFACE = 0x7FFFFFFF
"""What a socket is bound to after `deafen`."""
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, k
_NET = -0x100000 & 0xFFFFFFFF  # SKF_NET_OFF: the start of the IP header

_IPV4_WITHOUT_OPTIONS = 0x45
_IPV6 = 0x60
_V4_SOURCE, _V4_SOURCE_PORT = 12, 20
_V6_NEXT_HEADER, _V6_SOURCE, _V6_SOURCE_PORT = 6, 8, 40


class Instruction(Struct, frozen=True):
    """One instruction; `otherwise` is the label to go to when a comparison does not hold."""

    code: int
    k: int
    otherwise: str | None = None


class Label(Struct, frozen=True):
    """A place in a program that jumps may name."""

    name: str


def load_byte(offset: int) -> Instruction:
    """Load A with the byte at this offset of the IP header."""
    return Instruction(0x30, _NET + offset)


def load_half(offset: int) -> Instruction:
    """Load A with the 16-bit number at this offset of the IP header, network order undone."""
    return Instruction(0x28, _NET + offset)


def load_word(offset: int) -> Instruction:
    """Load A with the 32-bit number at this offset of the IP header, network order undone."""
    return Instruction(0x20, _NET + offset)


def mask(bits: int) -> Instruction:
    """Keep only these bits of A."""
    return Instruction(0x54, bits)


def unless_equal(value: int, label: str) -> Instruction:
    """Go to the label unless A == value."""
    return Instruction(0x15, value, label)


def choose(index: int) -> Instruction:
    """End: the connection goes to the socket with this index."""
    return Instruction(0x06, index)


def assemble(*lines: Instruction | Label) -> bytes:
    """Resolve the labels (forward only, as classic BPF has it) and encode an array of struct sock_filter."""
    places: dict[str, int] = {}
    instructions: list[Instruction] = []
    for line in lines:
        if isinstance(line, Label):
            places[line.name] = len(instructions)
        else:
            instructions.append(line)
    return b"".join(
        _INSTRUCTION.pack(line.code, 0, 0 if line.otherwise is None else places[line.otherwise] - at - 1, line.k)
        for at, line in enumerate(instructions)
    )


@lru_cache(maxsize=64)
def constant(index: int) -> bytes:
    """Build the program of a cutover: every new connection goes to `index`."""
    return assemble(choose(index))


class ProbeMatch(Struct, frozen=True):
    """One connection of the supervisor's own, by its local address and port, and the index that it goes to."""

    host: str
    port: int
    index: int


def with_probe(probe: ProbeMatch, otherwise: int) -> bytes:
    """Build the program that sends the probe's connection to its index and every other to `otherwise`.

    Address and port must both match: the port alone let a stranger's connection in. The family is read from the IP
    header itself (its first byte; 0x45 also means no options, so the port is where it should be), which tells IPv4 from
    IPv6 on a dual-stack socket and needs no SKF_AD_PROTOCOL. An IPv4-mapped source is IPv4 on the wire.
    """
    address = ipaddress.ip_address(probe.host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    test = _from_v4 if isinstance(address, ipaddress.IPv4Address) else _from_v6
    return assemble(
        *test(address.packed, probe.port),
        choose(probe.index),
        Label("other"),
        choose(otherwise),
    )


def _from_v4(address: bytes, port: int) -> list[Instruction]:
    return [
        load_byte(0),
        unless_equal(_IPV4_WITHOUT_OPTIONS, "other"),
        load_word(_V4_SOURCE),
        unless_equal(int.from_bytes(address), "other"),
        load_half(_V4_SOURCE_PORT),
        unless_equal(port, "other"),
    ]


def _from_v6(address: bytes, port: int) -> list[Instruction]:
    lines = [
        load_byte(0),
        mask(0xF0),
        unless_equal(_IPV6, "other"),
        load_byte(_V6_NEXT_HEADER),
        unless_equal(socket.IPPROTO_TCP, "other"),
    ]
    for at in range(0, 16, 4):
        lines += [load_word(_V6_SOURCE + at), unless_equal(int.from_bytes(address[at : at + 4]), "other")]
    return [*lines, load_half(_V6_SOURCE_PORT), unless_equal(port, "other")]


def attach(sock: socket.socket, program: bytes) -> None:
    """Set the program of the group that `sock` is in, in one atomic system call; raise HostError when refused.

    On a socket that does not listen yet it makes the group that listen() will use. ENOMEM: net.core.optmem_max.
    """
    code = array.array("B", program)  # an object with an address that stays put, without importing ctypes
    pointer = code.buffer_info()[0]
    fprog = struct.pack("@HP", len(program) // _INSTRUCTION.size, pointer)  # struct sock_fprog
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, fprog)
    except OSError as error:
        raise HostError(f"the kernel refused a steering program: {os.strerror(error.errno or 0)}") from error


def deafen(sock: socket.socket) -> None:
    """Hide a listening socket from the lookup of new connections, so that it can be shut down without a loss.

    inet_unhash() takes a socket out of its group before it takes it out of the hash table. A SYN that meets it in
    between is given to it past all steering, and is dropped (the client stalls for a second) or reset. Seen with the
    socket that the lookup meets first, the newest of an IPv4 group and the oldest of an IPv6 one: under load in 4 of
    4,546 leaves of an ordinary handoff over IPv6, and in 0 of 4,555 with this. The lookup
    (compute_score() in net/ipv4/inet_hashtables.c) skips a socket that is bound to another interface, SO_BINDTOIFINDEX
    takes numbers that no interface has, and it needs no privilege on a socket that is bound to none yet. Connections
    that it has, and those in its queue, do not notice. Best effort: a refusal leaves that instant as it was
    (a socket that is bound to a device is bound to another with CAP_NET_RAW alone).
    """
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, NO_INTERFACE)


def is_deaf(sock: socket.socket) -> bool:
    """Whether it has been hidden so."""
    return sock.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX) == NO_INTERFACE


class Order(Struct, frozen=True):
    """The indexes of a group: who joins is last; when one leaves, the last takes its index.

    As __reuseport_add_sock() and __reuseport_detach_sock() in net/core/sock_reuseport.c do it.
    """

    members: tuple[int, ...] = ()

    def join(self, member: int) -> "Order":
        """Give the order after `member` joined; ValueError when it is in the group."""
        if member in self.members:
            raise ValueError(f"socket {member} is already in the group")
        return Order((*self.members, member))

    def leave(self, member: int) -> "Order":
        """Give the order after `member` left; ValueError when it is not in the group."""
        at = self.index(member)
        *rest, last = self.members
        if at < len(rest):
            rest[at] = last
        return Order(tuple(rest))

    def replace(self, member: int, successor: int) -> "Order":
        """Give the order after the socket of `member` got another number, in its place."""
        at = self.index(member)
        return Order((*self.members[:at], successor, *self.members[at + 1 :]))

    def index(self, member: int) -> int:
        """Tell which index a program must return for `member`; ValueError when it is not in the group."""
        return self.members.index(member)

    def leave_shifts(self, member: int, named: Container[int | None]) -> bool:
        """Tell whether its leave would give one of `named` another index, with a choice left to the hash meanwhile."""
        here = self.members
        a_choice_is_left = len(here) - 1 > 1
        return a_choice_is_left and member in here[:-1] and here[-1] in named
