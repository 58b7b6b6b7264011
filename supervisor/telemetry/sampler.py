"""Figures of a generation's processes, taken when somebody asks and never else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@dataclass(frozen=True, slots=True)
class Sample:
    """All processes of a generation together."""

    memory: int
    """Bytes resident; pages shared between them count once for each."""
    cpu: float
    """Seconds of processor time, used since they started."""
    connections: int | None
    """Established TCP connections on its listening ports; None if they may not be looked at."""


def sample(pids: Iterable[int], ports: Collection[int]) -> Sample:
    """Look at these processes. One that ends meanwhile counts as nothing."""
    import psutil  # noqa: PLC0415 - 1.5 MB that an idle daemon can do without

    memory, cpu = 0, 0.0
    found: set[tuple[object, object]] | None = set()
    for pid in pids:
        try:
            each = psutil.Process(pid)
            with each.oneshot():
                memory += each.memory_info().rss
                times = each.cpu_times()
                cpu += times.user + times.system
            if found is not None:
                found |= {
                    (link.laddr, link.raddr)
                    for link in each.net_connections("tcp")
                    if link.status == psutil.CONN_ESTABLISHED and link.laddr.port in ports
                }
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            found = None
    return Sample(memory, round(cpu, 2), None if found is None else len(found))
