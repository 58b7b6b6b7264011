"""What a process may use, set from outside while it is held: resource limits, nice value, and who dies first.

A held process is still ours by uid, so prlimit(2), setpriority(2) and /proc/PID/oom_score_adj take it from us;
what is set outlives the change of user and the exec.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from supervisor.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUMBERS: Final[Mapping[str, int]] = {
    "as": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,  # asm-generic/resource.h; Python has no name for it
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}
"""getrlimit(2): all that there are, small and without the prefix."""


class Limits(Struct, frozen=True, kw_only=True):
    """What to set on a process; None and names that are not there leave what gapless itself has."""

    resources: Sequence[tuple[str, int, int]] = ()
    """Name, soft, hard; -1 is unlimited."""
    nice: int | None = None
    oom_score_adj: int | None = None


def raise_open_files() -> tuple[int, int]:
    """Raise our own soft limit of open files to the hard one; tells soft and hard as they were before.

    Listeners times generations may be many, and the soft limit of 1024 is there for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def apply(pid: int, limits: Limits) -> None:
    """Set all of it on a process. Raises HostError, with what would do."""
    for name, soft, hard in limits.resources:
        _limit(pid, name, soft, hard)
    if limits.nice is not None:
        _be_nice(pid, limits.nice)
    if limits.oom_score_adj is not None:
        _adjust_oom_score(pid, limits.oom_score_adj)


def _limit(pid: int, name: str, soft: int, hard: int) -> None:
    number = NUMBERS[name]
    try:
        resource.prlimit(pid, number, (soft, hard))
    except PermissionError as refused:
        most = resource.prlimit(pid, number)[1]
        at_most = f"fs.nr_open ({_most_open()})" if name == "nofile" and not 0 <= hard <= _most_open() else f"{most}"
        raise HostError(
            f"cannot set the limit {name} to {soft}:{hard}: at most {at_most} may be had without CAP_SYS_RESOURCE. "
            f"Start gapless as root or with a higher limit of its own (Limit{name.upper()}= in the unit)"
        ) from refused
    except (OSError, ValueError) as refused:
        raise HostError(f"cannot set the limit {name} to {soft}:{hard}: {refused}") from refused


def _most_open() -> int:
    return int(Path("/proc/sys/fs/nr_open").read_text())


def _be_nice(pid: int, nice: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    except OSError as refused:
        now = os.getpriority(os.PRIO_PROCESS, pid)
        raise HostError(
            f"cannot set nice to {nice}, which is below {now}: that takes CAP_SYS_NICE. Start gapless as root, or give "
            f"it a limit that allows it (LimitNICE={20 - nice} in the unit), or raise service.nice to {now} or more"
        ) from refused


def _adjust_oom_score(pid: int, adjustment: int) -> None:
    path = Path(f"/proc/{pid}/oom_score_adj")
    try:
        path.write_text(str(adjustment))
    except OSError as refused:
        raise HostError(
            f"cannot set oom_score_adj to {adjustment}, which is below {path.read_text().strip()}: that takes "
            "CAP_SYS_RESOURCE. Start gapless as root, or with that value for itself (OOMScoreAdjust= in the unit)"
        ) from refused
