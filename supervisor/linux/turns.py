"""Short turns on a processor for the supervisor, so that its servers' clients do not wait for it.

Who wakes up waits until who runs has had its slice, by default 0.7 ms for one processor to 2.8 ms for eight and more
(kernel/sched/fair.c): so long a request waited when it met the few milliseconds of work that a handoff is. A thread may
ask for a shorter one, and gets as much of the processor as before in more pieces (sched_setattr(2), `sched_runtime`;
since Linux 6.12, see its Documentation/scheduler/sched-eevdf.rst; older ones take no notice).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Final

SLICE: Final = 100_000
"""Nanoseconds: the shortest that there is (kernel/sched/syscalls.c)."""

_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""Its number on 64-bit machines. Only the newest C libraries have it by name."""

_ATTR = struct.Struct("=IIQiIQQQ")
"""struct sched_attr, as long as it was at first: size, policy, flags, nice, priority, runtime, deadline, period."""

_RESET_ON_FORK: Final = 1
"""SCHED_FLAG_RESET_ON_FORK (sched(7)): children begin with the kernel's own slice again."""


def take_short() -> None:
    """From now on, in this thread. Who was given another class or a nice value (systemd.exec(5)) stays as it is.

    A nice value below 0 would not be inherited by servers any more. Nothing depends on it: a kernel that refuses may.
    """
    number = _SETATTR.get(os.uname().machine) if sys.maxsize > 1 << 32 else None
    if number is None or os.sched_getscheduler(0) != os.SCHED_OTHER or os.getpriority(os.PRIO_PROCESS, 0) != 0:
        return
    asked = _ATTR.pack(_ATTR.size, os.SCHED_OTHER, _RESET_ON_FORK, 0, 0, SLICE, 0, 0)
    ctypes.CDLL(None).syscall(number, 0, asked, 0)
