"""Socket options that an operator may set on a listener, and what follows from them."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Final, NamedTuple

from supervisor.errors import HostError

Options = tuple[tuple[str, str | int], ...]
"""By the key that the configuration has them under; times in seconds."""

SockAddr = tuple[str, int] | tuple[str, int, int, int]

_IP_FREEBIND = 15
_V4_PARTS = 2
_FAST_OPEN_SYSCTL = Path("/proc/sys/net/ipv4/tcp_fastopen")
_FAST_OPEN_SERVER = 2
_LOOPBACK = "lo"


class _Place(NamedTuple):
    """Where setsockopt(2) takes it."""

    level: int
    option: int


_PLACES: Final = {
    "defer_accept": _Place(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT),
    "fast_open": _Place(socket.IPPROTO_TCP, socket.TCP_FASTOPEN),
    "keep_alive": _Place(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "keep_alive_time": _Place(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    "keep_alive_interval": _Place(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    "keep_alive_probes": _Place(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    "no_delay": _Place(socket.IPPROTO_TCP, socket.TCP_NODELAY),
    "device": _Place(socket.SOL_SOCKET, socket.SO_BINDTODEVICE),
    "free_bind": _Place(socket.IPPROTO_IP, _IP_FREEBIND),  # IPv6 sockets take it as well
    "receive_buffer": _Place(socket.SOL_SOCKET, socket.SO_RCVBUF),
}
"""tcp(7), socket(7), ip(7). A connection inherits what its listener has."""

TCP: Final = frozenset(_PLACES) - {"receive_buffer"}
UDP: Final = frozenset({"device", "free_bind", "receive_buffer"})
_OF_A_BIND: Final = frozenset({"device", "free_bind"})
"""They say where a socket is bound, so they mean nothing once it is."""


def set_options(sock: socket.socket, options: Options, where: str) -> None:
    """Set all of them, before bind(2). Raises HostError, which says what would do; `where` is the listener."""
    for key, value in options:
        _set(sock, key, value, where)


def set_late(sock: socket.socket, options: Options, where: str) -> None:
    """Set those that may be set on a bound socket. Raises HostError."""
    set_options(sock, tuple(each for each in options if each[0] not in _OF_A_BIND), where)


def is_out_of_reach(sockaddr: SockAddr, options: Options) -> bool:
    """Tell whether a connection made on this host cannot arrive: another device's, or an address that is elsewhere.

    `sockaddr` has port 0.
    """
    given = dict(options)
    if given.get("device", _LOOPBACK) != _LOOPBACK:
        return True
    return bool(given.get("free_bind")) and not _is_local(sockaddr)


def remarks(where: str, sockaddr: SockAddr, options: Options) -> tuple[str, ...]:
    """Tell what an operator should know of these, a sentence each. `sockaddr` has port 0."""
    given = dict(options)
    found = []
    if given.get("fast_open") and _fast_open_is_off():
        found.append(f"{where}: fast_open does nothing while net.ipv4.tcp_fastopen is without its 2: set it to 3")
    if given.get("defer_accept"):
        found.append(
            f"{where}: connections that defer_accept holds back are counted in no queue, "
            "and those of a generation that dies are reset"
        )
    if is_out_of_reach(sockaddr, options):
        found.append(
            f"{where} cannot be reached from this host, so no generation is probed on it: have the server say"
            " that it is ready"
        )
    return tuple(found)


def _fast_open_is_off() -> bool:
    """Whether the kernel takes no data in a SYN: net.ipv4.tcp_fastopen (ip-sysctl.rst) without its second bit."""
    try:
        return not int(_FAST_OPEN_SYSCTL.read_text(), 0) & _FAST_OPEN_SERVER
    except (OSError, ValueError):
        return False


def _set(sock: socket.socket, key: str, value: str | int, where: str) -> None:
    level, option = _PLACES[key]
    try:
        sock.setsockopt(level, option, value.encode() if isinstance(value, str) else value)
    except OSError as refused:
        raise HostError(_why(key, value, where, refused)) from refused
    if key == "receive_buffer" and isinstance(value, int):
        _look_at_buffer(sock, value, where)


def _look_at_buffer(sock: socket.socket, wanted: int, where: str) -> None:
    """The kernel doubles what is asked for, and cuts it to net.core.rmem_max without a word (socket(7))."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 2 * wanted:
        raise HostError(
            f"{where} gets no receive_buffer of {wanted} bytes: raise net.core.rmem_max to that, or ask for less"
        )


def _why(key: str, value: str | int, where: str, refused: OSError) -> str:
    match key, refused.errno:
        case "device", errno.ENODEV:
            return f'{where} cannot be bound to device = "{value}": this host has none of that name (ip link)'
        case "device", errno.EPERM:
            return f'{where} may not be bound to device = "{value}": that needs root or CAP_NET_RAW'
        case _:
            why = os.strerror(refused.errno or 0)
            return f"{where}: the kernel refuses {key} = {value} ({why}): leave {key} out"


def _is_local(sockaddr: SockAddr) -> bool:
    family = socket.AF_INET if len(sockaddr) == _V4_PARTS else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind(sockaddr)
        except OSError:
            return False
    return True
