"""Processes that cannot be mistaken for others: pidfds, what is left of a process group, and orphans.

The supervisor is a subreaper (prctl(2) PR_SET_CHILD_SUBREAPER): a grandchild whose parent died becomes its child, so
that nothing which a generation started can slip away.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

_PR_SET_CHILD_SUBREAPER = 36

_PIDFD_INFO = struct.Struct("=QQ11Ii")
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = 3 << 30 | _PIDFD_INFO.size << 16 | 0xFF << 8 | 11
"""_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)"""

HELD_NAME = "gapless-held"
"""What a process calls itself (comm) while it is held. See `spawn`."""

_BEFORE_EXEC = frozenset({HELD_NAME, "env", "setpriv"})
"""The names a process goes by before it has become the server."""

_EXEC_FAILED = (126, 127)
"""POSIX sh, exec: 127 if the utility was not found, 126 if it was found and could not be executed."""


class Ended(Struct, frozen=True):
    """How a process ended, as waitid(2) tells it."""

    status: int | None
    signal: int | None
    dumped: bool
    exec_failed: bool


class Child:
    """A process of ours, from its fork until it has been reaped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self.pidfd = os.pidfd_open(pid)
        except OSError as refused:
            raise HostError(f"cannot watch process {pid}: {refused.strerror}") from refused
        self.start_ticks = start_ticks(pid)

    def signal(self, number: int) -> None:
        """Send one signal to this very process. Nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def ended(self, within: float = 0.0) -> bool:
        """Whether it has ended, reaped or not, or does within so many seconds."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(within * 1000))

    def reap(self) -> Ended:
        """Take its exit status. Call once `pidfd` is readable.

        Its name is read first, while it is a zombie: a status of 126 or 127 from a process that still bears the held
        name is the exec's failure and not the server's own status.
        """
        never_became = comm(self.pid) in _BEFORE_EXEC
        try:
            info = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except ChildProcessError:
            return self._as_the_kernel_tells()
        if info is None:
            return Ended(None, None, dumped=False, exec_failed=False)
        if info.si_code == os.CLD_EXITED:
            status = info.si_status
            return Ended(status, None, dumped=False, exec_failed=never_became and status in _EXEC_FAILED)
        return Ended(None, info.si_status, dumped=info.si_code == os.CLD_DUMPED, exec_failed=False)

    def _as_the_kernel_tells(self) -> Ended:
        """How one has ended that is somebody else's child: nothing of it where the kernel no longer knows."""
        fields = _stat(self.pid)
        zombie = bool(fields) and fields[0] == b"Z" and int(fields[19]) == self.start_ticks
        status = int(fields[49]) if zombie else _exit_information(self.pidfd)
        if status is None:
            return Ended(None, None, dumped=False, exec_failed=False)
        if os.WIFEXITED(status):
            return Ended(os.WEXITSTATUS(status), None, dumped=False, exec_failed=False)
        return Ended(None, os.WTERMSIG(status), dumped=os.WCOREDUMP(status), exec_failed=False)

    def close(self) -> None:
        """Let the pidfd go."""
        os.close(self.pidfd)


def _exit_information(pidfd: int) -> int | None:
    """The wait status of a process that has been reaped by its parent: PIDFD_GET_INFO, since Linux 6.15.

    struct pidfd_info and its masks are in include/uapi/linux/pidfd.h. Before it is reaped the kernel does not tell.
    """
    asked = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *(0,) * 13))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, asked)
    except OSError:
        return None
    mask, *_, status = _PIDFD_INFO.unpack(asked)
    return int(status) if mask & _PIDFD_INFO_EXIT else None


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks after boot (proc(5), stat field 22); 0 if it is no more."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def comm(pid: int) -> str:
    """A process's name, also of a zombie; empty if it is no more."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except OSError:
        return ""
    return text[text.index(b"(") + 1 : text.rindex(b")")].decode(errors="replace")


def _stat(pid: int) -> list[bytes]:
    """The fields of proc(5)'s stat from the third on: the name before them may hold anything."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except OSError:
        return []
    return text[text.rindex(b")") + 2 :].split()


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path takes longer than the look
        return file.read()


def become_subreaper() -> None:
    """Have orphaned grandchildren become our children."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise HostError(f"cannot become a subreaper: {os.strerror(ctypes.get_errno())}")


def children_of(pid: int) -> Iterator[int]:
    """The living children of a process (proc(5), task/TID/children)."""
    tasks = f"/proc/{pid}/task"
    with suppress(OSError):
        for task in os.listdir(tasks):  # noqa: PTH208 - names are all we want
            with suppress(OSError):
                yield from map(int, _read(f"{tasks}/{task}/children").split())


def descendants_of(pid: int, *, but: AbstractSet[int] = frozenset()) -> set[int]:
    """A process's children, and theirs. `but`: these are left out with all below them, whose threads are many files."""
    found: set[int] = set()
    edge = [pid]
    while edge:
        new = set(children_of(edge.pop())) - found - but
        found |= new
        edge.extend(new)
    return found


def group_of(pgid: int, among: Iterable[int]) -> set[int]:
    """Those of `among` that are in that process group and alive."""
    found = set()
    for pid in among:
        fields = _stat(pid)
        if fields and int(fields[2]) == pgid and fields[0] != b"Z":
            found.add(pid)
    return found


def belongs(pid: int, child: int) -> bool:
    """Whether a process is that child, or of the process group that it leads."""
    if pid == child:
        return True
    with suppress(OSError):
        return pid > 0 and os.getpgid(pid) == child
    return False


def environment_value(pid: int, name: str) -> str | None:
    """One variable of the environment that a process was started with, if it may be read."""
    try:
        block = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    prefix = f"{name}=".encode()
    found = next((item for item in block.split(b"\0") if item.startswith(prefix)), None)
    return None if found is None else os.fsdecode(found[len(prefix) :])  # it may be any bytes


def everyone() -> set[int]:
    """Every process of this pid namespace but ourselves."""
    found = {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 - names are all we want
    return found - {os.getpid()}


def alive(pid: int) -> bool:
    """Whether that pid runs (a zombie does not)."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in {b"Z", b"X"}


def resident(pids: Iterable[int]) -> int:
    """Bytes of memory that these processes have (proc(5), statm); pages that they share count once for each."""
    pages = 0
    for pid in pids:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def send(pid: int, number: int) -> None:
    """Send a signal to a pid that is our descendant; nothing happens if it is no more."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_group(pgid: int, number: int) -> None:
    """Send a signal to a process group; nothing happens if it is empty."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


def reap_orphans(ours: Iterable[int]) -> int:
    """Reap every dead child that is not in `ours` (those are reaped through their pidfds). Returns how many."""
    ours, count = set(ours), 0
    for pid in children_of(os.getpid()):
        if pid in ours or alive(pid):
            continue
        with suppress(ChildProcessError):
            reaped, _ = os.waitpid(pid, os.WNOHANG)
            count += bool(reaped)
    return count


def holds_socket(pid: int, inodes: frozenset[int]) -> bool | None:
    """Whether a process has one of those sockets open; None if it may not be looked at (or is no more)."""
    links = {f"socket:[{inode}]" for inode in inodes}
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    if os.readlink(entry.path) in links:  # noqa: PTH115 - a Path for each of 10,000 fds is dear
                        return True
    except OSError:
        return None
    return False
