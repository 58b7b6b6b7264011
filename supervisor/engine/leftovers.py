"""What runs have left behind at their end, and the end of that."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from msgspec import Struct, field

from supervisor.linux import process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.linux.cgroup import Leaf

_GRACE = 2.0
"""Seconds that what a generation left behind has between TERM and KILL."""

_LOOK = 0.02
"""Seconds between looks at what is being ended."""


class Leftovers(Struct):
    """Processes, and the cgroups of their runs."""

    _processes: set[tuple[int, int]] = field(default_factory=set)
    """Each with when it started: its pid may become another's."""
    _leaves: list[Leaf] = field(default_factory=list)

    def add(self, pids: Iterable[int], leaf: Leaf | None) -> None:
        """A run has left these behind."""
        self._processes.update((pid, process.start_ticks(pid)) for pid in pids)
        if leaf is not None:
            self._leaves.append(leaf)

    def gone(self) -> bool:
        """Whether nothing is left of them. A cgroup goes when it is found empty."""
        self._processes = {
            (pid, ticks) for pid, ticks in self._processes if process.start_ticks(pid) == ticks and process.alive(pid)
        }
        self._leaves = [leaf for leaf in self._leaves if not leaf.remove()]
        return not self._processes and not self._leaves

    async def end(self) -> None:
        """TERM, then KILL. What that cannot end is left to the kernel."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._send(number)
            for _ in range(round(_GRACE / _LOOK)):
                if self.gone():
                    return
                await asyncio.sleep(_LOOK)

    def _send(self, number: int) -> None:
        for pid, ticks in self._processes:
            if process.start_ticks(pid) == ticks:
                process.send(pid, number)
        if number == signal.SIGKILL:
            for leaf in self._leaves:
                leaf.kill()
