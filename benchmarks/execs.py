"""When processes began their programs, in the kernel's own words: its process connector (cn_proc, netlink).

Nothing is traced and nothing runs here while it happens: the messages wait in a socket until they are asked for.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from types import TracebackType

_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = 1
_CN_VAL_PROC = 1
_LISTEN = 1
_PROC_EVENT_EXEC = 2
_SO_RCVBUFFORCE = 33
_ROOM = 16 << 20
"""Bytes of messages that may wait: several seconds of a busy machine's."""

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_CONNECTOR = struct.Struct("=IIIIHH")  # cn_msg: group, value, sequence, acknowledgement, length, flags
_EVENT = struct.Struct("=IIQii")  # proc_event: what, cpu, nanoseconds of CLOCK_MONOTONIC, pid (a thread's), tgid


class Exec(NamedTuple):
    """A process has begun a program; which one, /proc/PID/exe tells while it runs."""

    pid: int
    at: int
    """Nanoseconds of CLOCK_MONOTONIC."""


class Execs:
    """Hears of every exec on the host. Raises OSError where that is not to be had: it needs root."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
            self._socket.bind((0, _CN_IDX_PROC))
            asked = struct.pack("=I", _LISTEN)
            message = _CONNECTOR.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(asked), 0) + asked
            self._socket.send(_HEADER.pack(_HEADER.size + len(message), 3, 0, 0, 0) + message)
            self._try()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def drain(self) -> list[Exec] | None:
        """Those since the last call, in order; None if the kernel had to drop some."""
        found: list[Exec] = []
        complete = True
        while True:
            try:
                message = self._socket.recv(4096)
            except BlockingIOError:
                return found if complete else None
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                complete = False
                continue
            what, _, at, _, pid = _EVENT.unpack_from(message, _HEADER.size + _CONNECTOR.size)
            if what == _PROC_EVENT_EXEC:
                found.append(Exec(pid, at))

    def _try(self) -> None:
        """A kernel without it (CONFIG_PROC_EVENTS) says nothing, and in a pid namespace it speaks of other pids."""
        with subprocess.Popen(["/bin/true"]) as tried:
            tried.wait()
        if tried.pid not in {each.pid for each in self.drain() or ()}:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
