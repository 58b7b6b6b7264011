"""Which TCP and UDP sockets there are, who holds them, and what waits in them: sock_diag(7), or /proc where refused."""

import errno
import os
import socket
import struct
from collections.abc import Collection, Container, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from supervisor.errors import HostError
from supervisor.linux import netlink

REMEMBERED = 1024
"""Connections of our own, by listener: those that no server accepted are still in the queue when that is reset."""

ANY_V4 = "0.0.0.0"  # noqa: S104 - an address to compare with

_LISTEN = 10
_CLOSED = 7
_LISTENING = {socket.IPPROTO_TCP: 1 << _LISTEN, socket.IPPROTO_UDP: 1 << _CLOSED}
"""By protocol, the state of a socket that takes what comes from anybody (net/tcp_states.h). UDP has no word for it."""
_ESTABLISHED = 1 << 1
_ANY_STATE = 0xFFFFFFFF
_SERVER_OPEN = (1, 8)  # ESTABLISHED, CLOSE_WAIT (the client closed first)
_SERVER_CLOSED = (4, 5, 6, 9, 11)  # FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING

_REQUEST = struct.Struct("=BBBxI")  # struct inet_diag_req_v2 up to its socket id: family, protocol, extensions, states
_PORTS = struct.Struct("!HH")
_ANY_ID = bytes(16 + 16 + 4) + b"\xff" * 8  # addresses, interface, INET_DIAG_NOCOOKIE
_TAIL = struct.Struct("=IIIII")  # the end of struct inet_diag_msg: expires, rqueue, wqueue, uid, inode
_MESSAGE_SIZE = 72
_INTERFACE_AT = 4 + 4 + 16 + 16  # in struct inet_diag_msg, after its first four bytes, both ports and both addresses

_MIGRATE_SYSCTL = Path("/proc/sys/net/ipv4/tcp_migrate_req")
_INFO = struct.Struct("=B23xI")  # struct tcp_info: state, and tcpi_unacked, of a listening socket its accept queue
_MAPPED = "::ffff:"  # what a dual-stack socket has before an IPv4 address
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class FoundSocket(Struct, frozen=True):
    """One socket of this network namespace. `inode` 0: no process holds it any more (TIME_WAIT and the like)."""

    host: str
    port: int
    uid: int
    inode: int
    interface: int = 0
    """The index of the one that it is bound to; 0: to none, or it was not told."""

    def owner(self) -> str:
        """Say who holds it, for the end of a sentence: `nginx (pid 812)`, or as much as can be seen."""
        if self.inode == 0:
            return "a connection that is still closing"
        holders = processes(self.inode)
        if holders:
            pid = min(holders)
            return "this very process" if pid == os.getpid() else f"{_name(pid)} (pid {pid})"
        if self.uid != os.geteuid():
            return f"a process of another user (uid {self.uid})"
        return "a process that cannot be seen from here"


def listening(family: socket.AddressFamily, port: int = 0, protocol: int = socket.IPPROTO_TCP) -> list[FoundSocket]:
    """List the sockets of AF_INET or AF_INET6 that clients reach, on one port or (0) on all.

    That is listening TCP sockets, and UDP sockets that are bound and not connected. A dual-stack socket is one of
    AF_INET6. Source: struct inet_diag_req_v2 in sock_diag(7); needs no privilege. Where netlink is refused
    (RestrictAddressFamilies=, no tcp_diag module) /proc/net/tcp tells the same, only slower.
    Raises HostError when neither can be read.
    """
    try:
        return _sockets(family, port, _LISTENING[protocol], protocol)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise HostError(f"the listening sockets of this host cannot be read by netlink or /proc: {reason}") from error


def established(ports: Collection[int]) -> set[int]:
    """The inodes of the connections to these ports that are open. Raises OSError where netlink is refused.

    For many: unlike /proc/net/tcp it does not tell of TIME_WAIT, and nothing is made of each but a number.
    """
    found = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        for body in _dumped(family, next(iter(ports)) if len(ports) == 1 else 0, _ESTABLISHED):
            if struct.unpack_from("!H", body, 4)[0] in ports:
                found.add(_TAIL.unpack_from(body, _MESSAGE_SIZE - _TAIL.size)[-1])
    return found


def holder(host: str, port: int, *, v6only: bool = False, protocol: int = socket.IPPROTO_TCP) -> FoundSocket | None:
    """Find a socket that keeps `host`:`port` from being bound: a listener before a connection, the same address first.

    Raises nothing: this is asked while an error is being told, and the answer may be that nobody can be found.
    """
    for states in (_LISTENING[protocol], _ANY_STATE):
        found: list[FoundSocket] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                found += _sockets(family, port, states, protocol)
            except OSError:
                continue
        rivals = [entry for entry in found if _overlap(host, entry.host, v6only=v6only)]
        if rivals:
            return min(rivals, key=lambda entry: (entry.host != host, entry.inode == 0))
    return None


def processes(inode: int) -> list[int]:
    """List the pids that hold the socket with this inode, as far as /proc/PID/fd may be read."""
    wanted = f"socket:[{inode}]"
    return [pid for pid in _pids() if wanted in _links(pid)]


def migrates() -> bool:
    """Tell whether the kernel moves what waits in a leaving socket's queue to another member of its group.

    net.ipv4.tcp_migrate_req of this network namespace (Documentation/networking/ip-sysctl.rst, since 5.14). It picks by
    hash among all members, whatever the steering program says.
    """
    try:
        return _MIGRATE_SYSCTL.read_text().strip() != "0"
    except OSError:
        return False


def waiting(sock: socket.socket) -> int:
    """Tell how many connections wait in a listening socket's accept queue: tcpi_unacked of TCP_INFO, tcp(7).

    Connections that TCP_DEFER_ACCEPT holds back are not counted. 0 for a socket that does not listen.
    """
    state, unacked = _INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
    return int(unacked) if state == _LISTEN else 0


def is_accepted(sock: socket.socket) -> bool | None:
    """Tell whether the server has accepted this connection, made from this host; None: it cannot be told (yet).

    A connection has an inode only from accept(2) on (inet_csk_accept() grafts it onto a struct socket), and one that
    its server closes has been accepted before. Exact where a queue's length is not: clients may wait in it too.
    """
    try:
        state, inode = _server_end(sock)
    except OSError:
        return None
    if state in _SERVER_CLOSED:
        return True
    return inode != 0 if state in _SERVER_OPEN else None


def accepted_as(sock: socket.socket) -> int | None:
    """Tell the inode of the server's end of this connection: 0 before accept(2); None if that cannot be told."""
    try:
        state, inode = _server_end(sock)
    except OSError:
        return None
    return inode if state in _SERVER_OPEN else None


def _server_end(sock: socket.socket) -> tuple[int, int]:
    return _look_up(sock.family, sock.getpeername()[:2], sock.getsockname()[:2])


def _look_up(family: int, local: tuple[str, int], peer: tuple[str, int]) -> tuple[int, int]:
    """State and inode of one connection of this host, as `local` has it. Raises OSError."""
    addresses = [socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (local, peer)]
    identity = _PORTS.pack(local[1], peer[1]) + b"".join(addresses) + bytes(4) + b"\xff" * 8
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ANY_STATE) + identity
    body = netlink.one_of(request)
    *_, inode = _TAIL.unpack_from(body, _MESSAGE_SIZE - _TAIL.size)
    return body[1], inode


def reset_waiting(sock: socket.socket, limit: int, ours: Container[tuple[str, int]] = ()) -> list[int]:
    """Accept and reset up to `limit` waiting connections, for a socket that nobody else accepts from.

    Tells their clients' ports, but not those of `ours` (address and port), which are nobody's loss. Raises HostError
    when the host is out of file descriptors. The file description is non-blocking meanwhile, which any process that
    shares it would notice.
    """
    ports: list[int] = []
    sock.settimeout(0)
    try:
        while len(ports) < limit and waiting(sock):
            connection, peer = sock.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.close()
            if (peer[0].removeprefix(_MAPPED), peer[1]) not in ours:
                ports.append(peer[1])
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EINVAL):  # emptied, or shut down, by somebody else
            raise HostError(f"waiting connections cannot be reset: {os.strerror(error.errno or 0)}") from error
    finally:
        sock.settimeout(None)
    return ports


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _links(pid: int) -> Iterator[str]:
    try:
        fds = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended, or is another user's
        return
    for fd in fds:
        try:
            yield str(fd.readlink())
        except OSError:
            continue


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "a process that has just ended"


def _overlap(ours: str, theirs: str, *, v6only: bool) -> bool:
    """Tell whether two bound addresses are in each other's way, as inet_rcv_saddr_equal() does with wildcards."""
    if theirs in (ours, "::"):
        return True
    if ours == "::":
        return not v6only or ":" in theirs
    return (":" in ours) == (":" in theirs) and ANY_V4 in (ours, theirs)


def _sockets(family: socket.AddressFamily, port: int, states: int, protocol: int) -> list[FoundSocket]:
    try:
        return list(_dump(family, port, states, protocol))
    except OSError:
        return list(_from_proc(family, port, states, protocol))


def _dump(family: socket.AddressFamily, port: int, states: int, protocol: int) -> Iterator[FoundSocket]:
    for body in _dumped(family, port, states, protocol):
        entry = _from_message(family, body)
        # The kernel filters listeners by port, but be exact where a state's own loop does not.
        if port in (0, entry.port):
            yield entry


def _dumped(
    family: socket.AddressFamily, port: int, states: int, protocol: int = socket.IPPROTO_TCP
) -> Iterator[bytes]:
    request = _REQUEST.pack(family, protocol, 0, states) + _PORTS.pack(port, 0) + _ANY_ID
    yield from netlink.all_of(request)


def _from_message(family: socket.AddressFamily, body: bytes) -> FoundSocket:
    (port,) = struct.unpack_from("!H", body, 4)
    host = socket.inet_ntop(family, body[8 : 8 + (4 if family == socket.AF_INET else 16)])
    *_, uid, inode = _TAIL.unpack_from(body, _MESSAGE_SIZE - _TAIL.size)
    (interface,) = struct.unpack_from("=I", body, _INTERFACE_AT)
    return FoundSocket(host, port, uid, inode, interface)


def _from_proc(family: socket.AddressFamily, port: int, states: int, protocol: int) -> Iterator[FoundSocket]:
    """Read /proc/net/tcp, tcp6, udp or udp6, as proc_net_tcp.rst in the kernel's documentation describes it."""
    name = "tcp" if protocol == socket.IPPROTO_TCP else "udp"
    table = Path(f"/proc/net/{name}" if family == socket.AF_INET else f"/proc/net/{name}6")
    yield from _parse(table.read_text().splitlines()[1:], family, port, states)


def _parse(lines: Iterable[str], family: socket.AddressFamily, port: int, states: int) -> Iterator[FoundSocket]:
    for line in lines:
        _, local, _, state, _, _, _, uid, _, inode, *_ = line.split()
        address, _, hex_port = local.partition(":")
        if port in (0, int(hex_port, 16)) and states >> int(state, 16) & 1:
            # Each 32-bit word of the address is printed as a number of this machine's byte order.
            words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
            packed = struct.pack(f"={len(words)}I", *words)
            yield FoundSocket(socket.inet_ntop(family, packed), int(hex_port, 16), int(uid), int(inode))
