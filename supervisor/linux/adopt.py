"""Taking back what an earlier supervisor had, out of the processes that it has left: sockets and pipes.

A process that may be traced may be asked for a copy of what it has open: pidfd_getfd(2), since Linux 5.6, which needs
PTRACE_MODE_ATTACH_REALCREDS (ptrace(2)). That is the same user and no capability that we lack, and not more than that
where Yama's ptrace_scope is 0; with 1 it is CAP_SYS_PTRACE, since who was not started by us is no descendant of ours.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.errors import HostError
from supervisor.linux import process

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PIDFD_GETFD = 438
"""The system call's number, on every architecture (include/uapi/asm-generic/unistd.h, and since 5.6 all others)."""


def sockets_of(pid: int, inodes: Collection[int]) -> dict[int, socket.socket]:
    """Copies of those sockets that a process has, by inode; empty if it has ended.

    Raises HostError where the kernel does not let us look or take.
    """
    found: dict[int, socket.socket] = {}
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return found
    try:
        for fd, inode in _sockets(pid):
            if inode in inodes and inode not in found:
                found[inode] = socket.socket(fileno=_copy(pidfd, fd))
    except FileNotFoundError:
        return found
    except OSError as refused:
        for each in found.values():
            each.close()
        if refused.errno == errno.ESRCH:
            return {}
        raise HostError(_why(pid, refused)) from refused
    finally:
        os.close(pidfd)
    return found


def pipe_of(pid: int, inode: int) -> int | None:
    """A read end of that pipe, close-on-exec and non-blocking, by way of the end that a process has; None: it has none.

    Opening a pipe by its name in /proc makes another end of it (proc(5), /proc/PID/fd).
    """
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(entry.readlink()) == f"pipe:[{inode}]":
                    return os.open(entry, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return None


def _sockets(pid: int) -> Iterator[tuple[int, int]]:
    """(fd, inode) of each. Raises OSError."""
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                target = os.readlink(entry.path)  # noqa: PTH115 - a Path for each of 10,000 fds is dear
                if target.startswith("socket:["):
                    yield int(entry.name), int(target[8:-1])


def _copy(pidfd: int, fd: int) -> int:
    """A copy, close-on-exec (pidfd_getfd(2)). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    got = int(libc.syscall(_PIDFD_GETFD, pidfd, fd, 0))
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got


def _why(pid: int, refused: OSError) -> str:
    what = f"the sockets of the server that runs (pid {pid}, {process.comm(pid)}) cannot be taken back"
    if refused.errno in {errno.EPERM, errno.EACCES}:
        return (
            f"{what}: the kernel lets nobody but root look into it (kernel.yama.ptrace_scope, or it has rights that "
            f"gapless lacks). It serves on; once it has ended (kill {pid}), start gapless again"
        )
    return f"{what}: {refused.strerror}"
