"""A cgroup (version 2) of one run of a server: who is in it, what they use, and the end of all of them at once.

No fork(2), setsid(2) or new environment leads out of a cgroup, so what a server starts is found in its cgroup whatever
it has done to hide. The files are those of the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path


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
