"""Asking the kernel for its sockets: one question by netlink, and the messages that answer it (sock_diag(7))."""

import socket
import struct
from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 0x0001, 0x0300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_RECEIVE_SIZE = 1 << 18


def all_of(request: bytes) -> Iterator[bytes]:
    """The bodies of all messages that a request for many is answered with. Raises OSError where it is refused."""
    with _asked(request, _NLM_F_REQUEST | _NLM_F_DUMP) as netlink:
        while True:
            for kind, body in _messages(netlink.recv(_RECEIVE_SIZE)):
                if kind == _NLMSG_DONE:
                    return
                yield _checked(kind, body)


def one_of(request: bytes) -> bytes:
    """The body of the one message that a request for one socket is answered with. OSError: no such, or refused."""
    with _asked(request, _NLM_F_REQUEST) as netlink:
        return _checked(*next(_messages(netlink.recv(_RECEIVE_SIZE))))


def _asked(request: bytes, flags: int) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    try:
        netlink.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, flags, 1, 0) + request)
    except OSError:
        netlink.close()
        raise
    return netlink


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _checked(kind: int, body: bytes) -> bytes:
    if kind == _NLMSG_ERROR:
        raise OSError(-struct.unpack_from("=i", body)[0], "sock_diag refused the request")
    return body
