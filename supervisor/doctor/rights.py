"""Judgements of what our processes may do: limits, tracing, cgroups, the programs that start a server, memory."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from supervisor.doctor.finding import Finding, note, ok, problem, unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from supervisor.doctor.needs import Needs

_FEW_FILES = 1024
_FEW_TASKS = 64
UNLIMITED = resource.RLIM_INFINITY


def files(soft: int, hard: int, needs: Needs) -> Finding:
    """RLIMIT_NOFILE: the hard one, to which the supervisor raises its own; the soft one, which a server inherits."""
    check = "open files"
    if hard != UNLIMITED and hard < needs.files:
        return problem(
            check,
            f"the hard limit is {hard}, and {len(needs.listeners)} listeners times up to {needs.generations} "
            f"generations may take {needs.files}",
            "gapless cannot begin, or a handoff fails for want of a file descriptor",
            "ulimit -Hn 65536; in a unit: LimitNOFILE=524288",
        )
    if soft != UNLIMITED and soft <= _FEW_FILES and not needs.own_nofile:
        return note(
            check,
            f"the limit is {soft}",
            f"a server started from here inherits it, and serves fewer than {soft} connections at a time",
            "[service] limits = { nofile = 65536 }; in a unit: LimitNOFILE=524288",
        )
    return ok(
        check, f"the limit is {_number(soft)}, and gapless itself takes {needs.files} of {_number(hard)} at the most"
    )


def tasks(soft: int, used: int | None, uid: int) -> Finding:
    """RLIMIT_NPROC, which counts all processes and threads of a user; root's are not limited."""
    check = "processes"
    if uid == 0 or soft == UNLIMITED:
        return ok(check, f"not limited for uid {uid}")
    if used is None:
        return unknown(check, f"the limit is {soft}, and /proc does not tell how many there are")
    if soft - used > _FEW_TASKS:
        return ok(check, f"uid {uid} has {used} of {soft}")
    return problem(
        check,
        f"uid {uid} has {used} processes and threads, and {soft} is the limit",
        "a candidate cannot be started beside the old generation",
        f"ulimit -u {2 * soft}; in a unit: LimitNPROC={2 * soft}",
    )


def taking_back(child: str | None, orphan: str | None, yama: int | None) -> Finding:
    """The two trials of pidfd_getfd(2), and what Yama is set to (None: it is not there)."""
    check = "taking sockets back"
    follows = "if gapless dies, the sockets of the server that it leaves cannot be copied out of it again"
    if child is not None:
        return note(
            check,
            f"no file descriptor could be copied out of a child: {child}",
            follows,
            "allow pidfd_getfd: in a unit SystemCallFilter=pidfd_getfd, in a container --cap-add SYS_PTRACE",
        )
    if orphan is None:
        return ok(check, "a file descriptor could be copied out of a child, and out of an orphan")
    return note(
        check,
        f"out of a child it could, out of an orphan not: {orphan}"
        + (f" (kernel.yama.ptrace_scope is {yama})" if yama else ""),
        follows,
        "sysctl -w kernel.yama.ptrace_scope=0, or give gapless CAP_SYS_PTRACE",
    )


def cgroup(folder: Path | None, fault: str | None) -> Finding:
    """Whether our cgroup is ours to divide."""
    if fault is None:
        return ok("cgroup", f"{folder} may be divided: each generation gets its own")
    return note(
        "cgroup",
        fault,
        "a process of the server that leaves its process group and its environment behind outlives a stop",
        "in a unit: Delegate=yes, and no ProtectControlGroups=",
    )


_USED_FOR = {
    "/bin/sh": "every server is started by it",
    "/usr/bin/env": "variables whose names a shell does not know are passed on by it",
    "/usr/bin/prlimit": "[service] limits of another user's server are set by it",
}
PROGRAMS = tuple(_USED_FOR)


def programs(missing: Collection[str], *, limits: bool) -> Finding:
    """The programs that a start goes through."""
    check = "programs"
    needed = {"/bin/sh", "/usr/bin/env", *(["/usr/bin/prlimit"] if limits else [])}
    lacking = [name for name in _USED_FOR if name in missing]
    if not lacking:
        return ok(check, ", ".join(_USED_FOR))
    follows = "; ".join(_USED_FOR[name] for name in lacking)
    found = f"{' and '.join(lacking)} cannot be run"
    do = "apt-get install dash coreutils util-linux, or what has them on this host"
    return problem(check, found, follows, do) if needed & set(lacking) else note(check, found, follows, do)


def memory(available: int | None, serving: Mapping[str, int]) -> Finding:
    """What is free, against one more generation of each service that runs (bytes by name)."""
    check = "memory"
    if available is None:
        return unknown(check, "/proc/meminfo cannot be read")
    free = f"{available >> 20} MB can be had"
    tight = [name for name, size in serving.items() if size > available]
    if tight:
        sizes = ", ".join(f"{name} takes {serving[name] >> 20} MB" for name in tight)
        return problem(
            check,
            f"{free}, and {sizes}",
            "a second generation does not fit beside the first: in a handoff the kernel kills one of the two",
            "free memory, raise MemoryMax=, or stop and start at the next upgrade",
        )
    more = f": enough for one more generation of {', '.join(serving)}" if serving else ""
    return ok(check, free + more)


def python(version: tuple[int, int]) -> Finding:
    """What runs us."""
    found = f"Python {version[0]}.{version[1]}"
    if version >= (3, 11):
        return ok("python", found)
    return problem("python", f"{found}, and 3.11 is the least", "gapless does not run", "install Python 3.11 or later")


def _number(limit: int) -> str:
    return "unlimited" if limit == UNLIMITED else str(limit)
