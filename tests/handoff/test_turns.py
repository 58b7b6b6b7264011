"""The supervisor has short turns on a processor; what it starts has the kernel's own."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from supervisor.linux.turns import SLICE
from tests.harness.supervisor import Supervisor

_GETATTR = {"x86_64": 315, "aarch64": 275, "riscv64": 275}
_ATTR = struct.Struct("=IIQiIQQQ")


class Turns(NamedTuple):
    policy: int
    nice: int
    slice: int
    reset_on_fork: bool


def of(pid: int) -> Turns:
    room = ctypes.create_string_buffer(_ATTR.size)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_GETATTR[os.uname().machine], pid, room, _ATTR.size, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _, policy, flags, nice, _, runtime, _, _ = _ATTR.unpack(room.raw)
    return Turns(policy, nice, runtime, bool(flags & 1))


@pytest.fixture(autouse=True)
def _kernel_has_slices() -> None:
    if os.uname().machine not in _GETATTR or of(0).slice == 0:
        pytest.skip("a slice of one's own needs Linux 6.12 or later")
    if (of(0).policy, of(0).nice) != (os.SCHED_OTHER, 0):
        pytest.skip("the tests have a nice value or a class, and all that they start has it from them")


def test_the_supervisor_has_short_ones_and_its_server_what_it_would_have_without(
    supervisor: Supervisor, v1: Path, v2: Path
) -> None:
    supervisor.start(v1)
    supervisor.upgrade(v2)
    assert of(supervisor.pid).slice == SLICE
    server = supervisor.serving()["pid"]
    for thread in Path(f"/proc/{server}/task").iterdir():
        assert of(int(thread.name)) == of(0)


@pytest.mark.parametrize("told", ["os.nice(3)", "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))"])
def test_who_was_told_how_to_run_keeps_to_that(told: str) -> None:
    assert _turns(told, "take_short()") == _turns(told)


def test_it_takes_them_where_it_was_told_nothing() -> None:
    assert _turns("take_short()") != _turns()


def _turns(*steps: str) -> str:
    """Of a process of its own that has taken these steps."""
    imports = "import os; from supervisor.linux.turns import take_short; from tests.handoff.test_turns import of"
    code = "; ".join([imports, *steps, "print(of(0))"])
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
