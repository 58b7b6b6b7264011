"""Figures of a generation's processes, taken when somebody asks and never else."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.linux import sockdiag, unixdiag

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from supervisor.linux.cgroup import Leaf

_FRESH = 0.1
"""Seconds that the host's list of connections is used for: all generations of one status are counted in the same."""


class Sample(Struct, frozen=True):
    """All processes of a generation together."""

    memory: int
    """Bytes resident, where pages shared between them count once for each; or as their cgroup is charged for."""
    cpu: float
    """Seconds of processor time, used since they started; in a cgroup also by those that have ended."""
    connections: int | None
    """Established connections that came by its listeners; None if they may not be looked at."""
    cgroup: str | None
    """The one that they are in, if it is theirs alone."""


def sample(
    pids: Collection[int], ports: Collection[int], names: Collection[bytes] = (), leaf: Leaf | None = None
) -> Sample:
    """Look at these processes. One that ends meanwhile counts as nothing.

    `ports` are those that they listen on by TCP, `names` what their Unix sockets are bound to, `leaf` their cgroup.
    """
    cpu, memory = (None, None) if leaf is None else (leaf.cpu(), leaf.memory())
    if cpu is None or memory is None:
        of_each = _sums(pids)
        memory = of_each[0] if memory is None else memory
        cpu = of_each[1] if cpu is None else cpu
    return Sample(memory, round(cpu, 2), _connections(pids, ports, names), None if leaf is None else str(leaf.path))


def _sums(pids: Iterable[int]) -> tuple[int, float]:
    import psutil  # noqa: PLC0415 - 1.5 MB that an idle daemon can do without

    memory, cpu = 0, 0.0
    for pid in pids:
        with suppress(psutil.Error):
            each = psutil.Process(pid)
            with each.oneshot():
                memory += each.memory_info().rss
                times = each.cpu_times()
                cpu += times.user + times.system
    return memory, cpu


def _connections(pids: Iterable[int], ports: Collection[int], names: Collection[bytes]) -> int | None:
    try:
        wanted = _established.among(frozenset(ports), frozenset(names))
        held: set[int] = set()
        for pid in pids:
            held |= _sockets_of(pid)
    except OSError:
        return None
    return len(held & wanted)


def _sockets_of(pid: int) -> set[int]:
    """Inodes. Raises PermissionError for what is another user's."""
    found: set[int] = set()
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - a busy server has ten thousand: a Path for each is not free
    except (FileNotFoundError, ProcessLookupError):
        return found
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - as the line above says
        except (FileNotFoundError, ProcessLookupError):
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


class _Established:
    """The host's connections, looked up once for several questions asked together."""

    def __init__(self) -> None:
        self._asked: tuple[frozenset[int], frozenset[bytes]] = frozenset(), frozenset()
        self._at = -_FRESH
        self._found: set[int] = set()

    def among(self, ports: frozenset[int], names: frozenset[bytes]) -> set[int]:
        """Inodes of the connections to these ports and names. Raises OSError."""
        now = time.monotonic()
        if now - self._at >= _FRESH or (ports, names) != self._asked:
            unix = unixdiag.established(names) if names else set()
            self._found = unix | (sockdiag.established(ports) if ports else set())
            self._asked, self._at = (ports, names), now
        return self._found


_established = _Established()
