"""Killing a supervisor at its N-th system call of a kind, which needs no hook in it: strace(1) injects the signal."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

import pytest

from supervisor.errors import OperatorError, UnreachableError
from tests.harness.builds import ROOT
from tests.harness.output import DEADLINE, Output, piped
from tests.harness.supervisor import Supervisor

CALLS = (
    *("write", "fsync", "rename", "unlink", "symlink"),
    *("bind", "listen", "setsockopt", "shutdown", "close", "dup2", "dup3"),
    *("vfork", "clone", "clone3", "pidfd_open", "pidfd_send_signal", "waitid", "kill"),
    *("sendmsg", "sendto"),
)
"""The system calls of a supervisor that change the world: its journal, its sockets, processes, what others hear."""

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="Debian's strace is not installed")


@dataclass(frozen=True, slots=True)
class Crash:
    """What came of an upgrade whose supervisor was to be killed."""

    died: bool
    committed: bool
    ends: tuple[str, ...]
    """The results that the history has of it: one, or none if it was never begun."""
    version: str | None
    """Who serves afterwards."""
    left: tuple[int, ...]
    """Processes of the service beside the one that serves."""


@contextmanager
def injected(pid: int, calls: str, what: str) -> Iterator[None]:
    """Inside, strace(1) does that to a process at these calls: `signal=KILL:when=3`, `error=EAGAIN`."""
    tracer = subprocess.Popen(
        ["strace", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={calls}:{what}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    says = Output(piped(tracer))
    try:
        says.until("strace is there", lambda: any("attached" in line for line in says.text))
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(DEADLINE)
        says.close()


_READY = """
import os, signal, sys
{code}
for words in sys.stdin:
    pid = os.fork()
    if pid == 0:
        signal.raise_signal(signal.SIGSTOP)
        work(*words.split())
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Repeated:
    """Python code that is done again and again, each time by a new process: all that it imports is loaded once."""

    def __init__(self, code: str) -> None:
        """`code` has a function `work`, which takes words."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _READY.format(code=code)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def killed(self, call: str, number: int, *words: str) -> bool:
        """Do it, and have it killed at a call, if it comes so far: whether it was. It has to do well else."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        with injected(pid, call, f"signal=KILL:when={number}"):
            os.kill(pid, signal.SIGCONT)
            status = int(self._process.stdout.readline())
        assert status in {0, -signal.SIGKILL}, (call, number, status)
        return status != 0


def upgraded(supervisor: Supervisor, call: str, number: int, version: str | None = None) -> Crash:
    """An upgrade whose supervisor is killed at a call, if it comes so far; then the next one goes on to the end."""
    asked = {} if version is None else {"release": version}
    known = supervisor.history()
    before = known[-1]["handoff"] if known else 0
    kept = supervisor.keep_output()
    mark = supervisor.mark()
    with (
        injected(supervisor.pid, call, f"signal=KILL:when={number}"),
        suppress(UnreachableError, OperatorError, OSError),
    ):
        supervisor.client().call("POST", "/v1/upgrade", **asked)
        supervisor.ends_or(mark, "generation_ended")
    died = not supervisor.lives()
    if died:
        supervisor.spawn(says=kept)
        supervisor.event("taken_over", mark)
    else:
        kept.close()
    supervisor.settled(mark)
    serving = supervisor.serving()
    new = [each for each in supervisor.history() if each["handoff"] > before]
    return Crash(
        died=died,
        committed=any(each["result"] == "committed" for each in new),
        ends=tuple(str(each["result"]) for each in new),
        version=supervisor.get().version,
        left=tuple(pid for pid in supervisor.left_behind() if pid != serving["pid"]),
    )
