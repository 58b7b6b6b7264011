"""What waits in Unix sockets and who is at their other end: AF_UNIX of sock_diag(7), or poll(2) where that is refused.

An accepted connection is a pair of sockets, and each knows the other's inode. The client's own socket thus tells
exactly whether it was accepted, and as which socket of which process: its peer has an inode from accept(2) on.
"""

import errno
import os
import select
import socket
import struct
from collections.abc import Collection, Iterator

from supervisor.errors import HostError
from supervisor.linux import netlink

_REQUEST = struct.Struct("=BBHIIIII")  # struct unix_diag_req: family, protocol, pad, states, inode, show, cookie
_MESSAGE = struct.Struct("=BBBBIII")  # struct unix_diag_msg: family, type, state, pad, inode, cookie
_ATTRIBUTE = struct.Struct("=HH")
_NO_COOKIE = 0xFFFFFFFF

_SHOW_NAME, _SHOW_VFS, _SHOW_PEER, _SHOW_RQLEN = 0x01, 0x02, 0x04, 0x10
_NAME, _VFS, _PEER, _RQLEN = 0, 1, 2, 4
_WORD = struct.Struct("=I")
_TWO_WORDS = struct.Struct("=II")
_ESTABLISHED = 1
_KERNEL_MINOR_BITS = 20


def waiting(sock: socket.socket) -> int:
    """Tell how many connections wait in a listening socket's queue. Where netlink is refused: 1 if any does."""
    try:
        _, _, attributes = _one(_inode(sock), _SHOW_RQLEN)
        return int(_TWO_WORDS.unpack_from(attributes[_RQLEN])[0])
    except (OSError, KeyError):
        return int(bool(_events(sock, select.POLLIN) & select.POLLIN) and not is_shut_down(sock))


def accepted_as(connection: socket.socket) -> int | None:
    """Tell the inode of the server's end of our connection: 0 before accept(2); None if that cannot be told."""
    try:
        _, _, attributes = _one(_inode(connection), _SHOW_PEER)
        return int(_WORD.unpack_from(attributes[_PEER])[0])
    except (OSError, KeyError):
        return None


def is_hung_up(connection: socket.socket) -> bool:
    """Tell whether the server has accepted our connection (TCP too) and closed it. Raises OSError if it was reset."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def left_without_a_word(connection: socket.socket) -> bool:
    """Tell of an accepted connection (TCP too) whether its client has sent nothing and hung up."""
    try:
        return is_hung_up(connection)
    except OSError:  # reset: it may have sent something before
        return False


def is_shut_down(sock: socket.socket) -> bool:
    """Tell whether somebody has called shutdown() on a listening socket: it refuses connections from then on.

    SO_ACCEPTCONN does not tell, and listen(2) does not undo it (sk_shutdown stays).
    """
    return bool(_events(sock, select.POLLRDHUP) & select.POLLRDHUP)


def reset_waiting(sock: socket.socket, limit: int) -> int:
    """Accept and close up to `limit` waiting connections, for a socket that nobody else accepts from; tell how many.

    The clients read an end-of-file, or ECONNRESET when they have sent something. Those who hung up without a word are
    not counted: they lose nothing. Raises HostError when the host is out of file descriptors. The file description is
    non-blocking meanwhile.
    """
    count = 0
    sock.settimeout(0)
    try:
        while count < limit:
            with sock.accept()[0] as connection:
                count += not left_without_a_word(connection)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EINVAL):  # emptied, or shut down
            raise HostError(f"waiting connections cannot be reset: {os.strerror(error.errno or 0)}") from error
    finally:
        sock.settimeout(None)
    return count


def established(names: Collection[bytes]) -> set[int]:
    """List the inodes of accepted connections by the names of the sockets that accepted them. Raises OSError."""
    found = set()
    for inode, state, attributes in _all(_SHOW_NAME):
        if state == _ESTABLISHED and _bound_name(attributes) in names:
            found.add(inode)
    return found


def bound_to(device: int, inode: int) -> tuple[int, ...]:
    """List the inodes of the sockets that are bound to this very file. Raises OSError where netlink is refused."""
    kernel_device = os.major(device) << _KERNEL_MINOR_BITS | os.minor(device)
    file = _TWO_WORDS.pack(inode & _NO_COOKIE, kernel_device)
    return tuple(found for found, state, each in _all(_SHOW_VFS) if each.get(_VFS) == file and state != _ESTABLISHED)


def _bound_name(attributes: dict[int, bytes]) -> bytes:
    """A path ends with a NUL, an abstract name begins with one and has no end of its own."""
    name = attributes.get(_NAME, b"")
    return name if name.startswith(b"\0") else name.rstrip(b"\0")


def _events(sock: socket.socket, wanted: int) -> int:
    poll = select.poll()
    poll.register(sock, wanted)
    return next((found for _, found in poll.poll(0)), 0)


def _inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def _one(inode: int, show: int) -> tuple[int, int, dict[int, bytes]]:
    """Inode, state and attributes of one socket. Raises OSError."""
    return _parsed(netlink.one_of(_request(inode, show)))


def _all(show: int) -> Iterator[tuple[int, int, dict[int, bytes]]]:
    """The same of each. Raises OSError."""
    return map(_parsed, netlink.all_of(_request(0, show)))


def _request(inode: int, show: int) -> bytes:
    return _REQUEST.pack(socket.AF_UNIX, 0, 0, _NO_COOKIE, inode, show, _NO_COOKIE, _NO_COOKIE)


def _parsed(body: bytes) -> tuple[int, int, dict[int, bytes]]:
    _, _, state, _, inode, *_ = _MESSAGE.unpack_from(body)
    attributes, at = {}, _MESSAGE.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        attributes[kind] = body[at + _ATTRIBUTE.size : at + length]
        at += (max(length, _ATTRIBUTE.size) + 3) & ~3
    return inode, state, attributes
