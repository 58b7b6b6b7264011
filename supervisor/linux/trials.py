"""What this kernel really lets us do, tried with sockets and processes of our own that are gone afterwards.

Each trial gives None if it worked, else what stood in the way. None takes longer than a fraction of a second.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import subprocess
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from supervisor.errors import HostError
from supervisor.linux import sockdiag
from supervisor.linux.address import TcpAddress
from supervisor.linux.steering import ProbeMatch, attach, constant, with_probe

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 0.5
"""Seconds for what takes less than a thousandth where it works."""

_PIDFD_GETFD = 438
"""pidfd_getfd(2), the same number on every architecture."""

_LOOPBACK = "127.0.0.1"


def steering() -> str | None:
    """Two sockets in one group, and a program that sends a connection to the one, then to the other."""
    with ExitStack() as stack:
        try:
            first = stack.enter_context(TcpAddress(name="trial", host=_LOOPBACK, port=0).bind(first=True))
            attach(first, constant(0))
            first.listen()
            address = TcpAddress(name="trial", host=_LOOPBACK, port=first.getsockname()[1])
            second = stack.enter_context(address.bind(first=False))
            second.listen()
            attach(first, with_probe(ProbeMatch("::1", 1, 0), 0))  # the longest that there is
            for index, wanted in ((1, second), (0, first), (1, second)):
                attach(first, constant(index))
                stack.enter_context(socket.create_connection((_LOOPBACK, address.port), _PATIENCE))
                if not select.select([wanted], [], [], _PATIENCE)[0]:
                    return "a connection went to another socket than the program named"
                stack.enter_context(wanted.accept()[0])
        except (OSError, HostError) as refused:
            return _why(refused)
    return None


def socket_lookup() -> str | None:
    """sock_diag(7), by which connections are counted, and seen to be accepted."""
    try:
        sockdiag.established([1])
    except OSError as refused:
        return _why(refused)
    return None


def bindable(host: str) -> str | None:
    """Whether an address of this host can be bound, whatever the port."""
    try:
        TcpAddress(name="trial", host=host, port=0).bind(first=True).close()
    except HostError as refused:
        return str(refused).replace(":0 ", " ", 1)
    return None


def taking_back(*, orphaned: bool) -> str | None:
    """Copy a file descriptor out of a process of ours: a child, or one whose parent has died."""
    try:
        theirs, gate = os.pipe()
    except OSError as refused:
        return _why(refused)
    with os.fdopen(gate, "wb") as ends, os.fdopen(theirs, "rb") as held:  # `ends` closed, the process ends
        try:
            return _taken(held.fileno(), orphaned=orphaned, end=ends.close)
        except (OSError, ValueError, subprocess.SubprocessError) as refused:
            return _why(refused)


def _taken(held: int, *, orphaned: bool, end: Callable[[], None]) -> str | None:
    # A shell gives what it starts in the background another standard input, and few know fds of two digits.
    script = "exec 3<&0; read x <&3 & echo $!" if orphaned else "exec 3<&0; echo $$; read x"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=held, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as shell:
        assert shell.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            if not select.select([shell.stdout], [], [], _PATIENCE)[0]:
                return "/bin/sh did nothing"
            pid = int(shell.stdout.readline())
            if orphaned:
                shell.wait(_PATIENCE)
            return _copied(pid, 3, held, end)
        finally:
            end()
            with suppress(subprocess.TimeoutExpired):
                shell.wait(_PATIENCE)
            shell.kill()


def _copied(pid: int, theirs: int, held: int, end: Callable[[], None]) -> str | None:
    pidfd = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        copy = libc.syscall(_PIDFD_GETFD, pidfd, theirs, 0)
        if copy < 0:
            return os.strerror(ctypes.get_errno())
        same = os.path.sameopenfile(copy, held)
        os.close(copy)
        return None if same else "another file came back"
    finally:
        end()
        select.select([pidfd], [], [], _PATIENCE)
        os.close(pidfd)


def version_of(command: list[str]) -> str | None:
    """The first line that a command prints; None if it cannot be had soon."""
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * _PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.partition("\n")[0].strip() or None


def _why(refused: Exception) -> str:
    if isinstance(refused, TimeoutError):
        return "a connection over loopback was not made"
    if isinstance(refused, OSError):
        code = refused.errno or 0
        return "loopback is down" if code == errno.ENETUNREACH else os.strerror(code) if code else str(refused)
    return str(refused)
