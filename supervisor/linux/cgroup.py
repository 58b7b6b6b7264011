"""A cgroup (version 2) of one run of a server: who is in it, what they use, and the end of all of them at once.

No fork(2), setsid(2) or new environment leads out of a cgroup, so what a server starts is found in its cgroup whatever
it has done to hide. The files are those of the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path


_EVENTS = 4096
"""Bytes of memory.events, and more than it has."""


class Kills:
    """How many of a cgroup's processes the kernel has killed for want of memory, and word of each (memory.events).

    Such a file is always readable, and says by POLLPRI that it has changed since it was read. An epoll of our own that
    waits for that alone is readable just then, which is what an event loop can wait for.
    """

    def __init__(self, events: Path) -> None:
        """Raises OSError: the file is not there, as the memory controller is not."""
        self._file = os.open(events, os.O_RDONLY | os.O_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._file, select.EPOLLPRI)

    def fileno(self) -> int:
        """Readable when there may be more than at the last count."""
        return self._epoll.fileno()

    def count(self) -> int | None:
        """Those so far, in cgroups below it as well; None: it is no more."""
        try:
            lines = os.pread(self._file, _EVENTS, 0).splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)

    def close(self) -> None:
        """Look no more."""
        self._epoll.close()
        os.close(self._file)


class Leaf:
    """One cgroup, and those that a server may have made below it."""

    def __init__(self, path: Path, *, charged: bool) -> None:
        """`charged`: its memory has been counted since its first process. What was in use before that is not in it."""
        self.path = path
        self._charged = charged

    def enter(self, pid: int) -> None:
        """Put a process there, and with it all that it will start. Raises HostError."""
        try:
            (self.path / "cgroup.procs").write_text(str(pid))
        except OSError as refused:
            raise HostError(f"process {pid} cannot be put into the cgroup {self.path}: {refused.strerror}") from refused

    def pids(self) -> set[int]:
        """Its living processes. Those of a pid namespace that we cannot see (0) are left out."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self.path):
            found |= members(folder)
        return found - {0}

    def kill(self) -> None:
        """End them all by SIGKILL, those that are being forked as well (cgroup.kill, Linux 5.14)."""
        with suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def cpu(self) -> float | None:
        """Seconds of processor time, of those that have ended, too. It takes no controller to know."""
        microseconds = self._figure("cpu.stat", "usage_usec")
        return None if microseconds is None else microseconds / 1e6

    def memory(self) -> int | None:
        """Bytes that the kernel charges it with, without the file cache that it would drop first; None: not counted."""
        if not self._charged:
            return None
        cache = self._figure("memory.stat", "inactive_file")
        try:
            return max(0, int((self.path / "memory.current").read_text()) - (cache or 0))
        except (OSError, ValueError):
            return None

    def kills(self) -> Kills | None:
        """To be told of processes that the kernel kills for want of memory; None: nobody counts them."""
        try:
            return Kills(self.path / "memory.events")
        except OSError:
            return None

    def remove(self) -> bool:
        """Remove it; False if there is still somebody in it. A process that is dead and not reaped does not count."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106 - what os.walk gives is text
        return not self.path.exists()

    def _figure(self, file: str, name: str) -> int | None:
        try:
            lines = (self.path / file).read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)


def members(folder: str | Path) -> set[int]:
    """The processes of one cgroup, without those below it; none where they may not be read."""
    try:
        with open(f"{folder}/cgroup.procs") as file:  # noqa: PTH123 - what os.walk gives is text
            return set(map(int, file.read().split()))
    except OSError:
        return set()
