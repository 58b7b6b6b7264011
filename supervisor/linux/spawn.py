"""A server's process, made so that it runs nothing until it is let go.

It begins as `/bin/sh`, which waits for a line on its standard input, then becomes the server by exec. That costs one
small exec (a fork of the supervisor itself costs more than twice as much) and buys three things: LISTEN_PID can be
the process's own pid, limits can be set before the server sees them, and the pid can be on disk before the server
runs at all. If the supervisor dies first, the shell reads end-of-file and ends by itself.

Sockets are wanted at fds 3, 4, ... and a child gets fds under the numbers that they have here, so a window of numbers
from 3 up is set aside before anything else is opened. What is put there is the only thing that is not close-on-exec.
"""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from supervisor.errors import HostError
from supervisor.linux.process import HELD_NAME, Child

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FIRST_FD: Final = 3
"""sd_listen_fds(3): SD_LISTEN_FDS_START."""

_CAP_SYS_RESOURCE = 24
"""capabilities(7)"""

_SHELLS_OWN = frozenset(
    {"_", "IFS", "LINENO", "OLDPWD", "OPTARG", "OPTIND", "PPID", "PS1", "PS2", "PS4", "PWD", "SHLVL"}
)
"""POSIX sh, 2.5.3: variables that it sets or reads itself."""

_SHIM = r"""
read -r LISTEN_PID || exit 125
{{ printf %s {held} >/proc/self/comm; }} 2>/dev/null
unset PWD OLDPWD SHLVL
LISTEN_PID=$$ exec "$@" </dev/null
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run and as whom."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    user: int | None = None
    group: int | None = None
    groups: Sequence[int] | None = None
    umask: int | None = None
    limits: Sequence[tuple[str, int, int]] = ()
    stdout: str | None = None
    stderr: str | None = None


def close_inherited_fds(keep: Iterable[int] = ()) -> None:
    """Close whatever was left open by who started us, from 3 up. Called before anything of ours is opened."""
    first = FIRST_FD
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


class FdWindow:
    """The fd numbers that children are given things under. They hold /dev/null in between."""

    def __init__(self, size: int) -> None:
        """Set aside `size` numbers from 3 up. Raises HostError if one of them is taken."""
        self.size = size
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for number in range(FIRST_FD, FIRST_FD + size):
            if number == self._null:
                continue
            if _is_open(number):
                raise HostError(f"fd {number} is open already, and children are to get it")
            os.dup2(self._null, number, inheritable=False)
        if self._null < FIRST_FD + size:
            self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def fill(self, fds: Sequence[int]) -> Sequence[int]:
        """Put copies of these into the window; returns the numbers they have there."""
        if len(fds) > self.size:
            raise HostError(f"{len(fds)} file descriptors for a child, and room for {self.size}: restart gapless")
        numbers = range(FIRST_FD, FIRST_FD + len(fds))
        for number, fd in zip(numbers, fds, strict=True):
            os.dup2(fd, number, inheritable=True)
        return numbers

    def clear(self, numbers: Sequence[int]) -> None:
        """Set these numbers aside again."""
        for number in numbers:
            os.dup2(self._null, number, inheritable=False)


class Held:
    """A process that waits to become the server."""

    def __init__(self, child: Child, popen: subprocess.Popen[bytes], gate: int) -> None:
        self.child = child
        self._popen = popen
        self._gate = gate

    def let_go(self) -> None:
        """Let it become the server."""
        with suppress(BrokenPipeError):
            os.write(self._gate, b"\n")
        self._close_gate()

    def settle(self, status: int) -> None:
        """Tell `subprocess` that this child has been reaped, or its next call would wait for the pid again."""
        self._popen.returncode = status
        self._close_gate()

    def _close_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1


def spawn(command: Command, fds: Sequence[int], window: FdWindow) -> Held:
    """Make a held process with these fds from 3 up, in a process group of its own.

    Raises HostError: no process to be had, no such directory, no permission to become that user, a limit that may not
    be set.
    """
    with ExitStack() as open_files:
        read, gate = os.pipe2(os.O_CLOEXEC)
        open_files.callback(os.close, read)
        undo_gate = open_files.enter_context(ExitStack())
        undo_gate.callback(os.close, gate)
        outputs = [_output(path, open_files) for path in (command.stdout, command.stderr)]
        numbers = window.fill(fds)
        open_files.callback(window.clear, numbers)
        popen = _popen(command, read, outputs)
        undo_gate.pop_all()
    held = Held(Child(popen.pid), popen, gate)
    if not _may_limit(command):
        return held
    try:
        _limit(popen.pid, command.limits)
    except HostError:
        held.settle(125)
        os.waitpid(popen.pid, 0)
        held.child.close()
        raise
    return held


def _popen(command: Command, stdin: int, outputs: Sequence[int | None]) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in command.environment.items() if _is_shell_name(name)}
    others = [f"{name}={value}" for name, value in command.environment.items() if not _is_shell_name(name)]
    # What a shell would drop (`a.b`) or set itself (`PWD`) goes by env(1).
    argv = ["/usr/bin/env", *others, *command.argv] if others else list(command.argv)
    if command.limits and not _may_limit(command):
        argv = ["/usr/bin/prlimit", *(f"--{name}={soft}:{hard}" for name, soft, hard in command.limits), "--", *argv]
    script = _SHIM.format(held=HELD_NAME)
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *argv],
            stdin=stdin,
            stdout=outputs[0],
            stderr=outputs[1],
            cwd=command.directory,
            env=environment,
            close_fds=False,  # all of ours are close-on-exec from birth; closing each by hand takes 0.5 ms
            process_group=0,
            user=command.user,
            group=command.group,
            extra_groups=command.groups,
            umask=-1 if command.umask is None else command.umask,
        )
    except (OSError, subprocess.SubprocessError) as refused:
        raise HostError(_why(command, refused)) from refused


def _why(command: Command, refused: Exception) -> str:
    name = command.argv[0]
    if isinstance(refused, OSError) and refused.filename == command.directory:
        return f"cannot start {name} in {command.directory}: {refused.strerror}"
    if isinstance(refused, PermissionError) and command.user is not None:
        return f"cannot start {name} as uid {command.user}: only root may become another user"
    return f"cannot start {name}: {getattr(refused, 'strerror', None) or refused}"


def _output(path: str | None, open_files: ExitStack) -> int | None:
    if path is None:
        return None
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as refused:
        raise HostError(f"cannot write the child's output to {path}: {refused.strerror}") from refused
    open_files.callback(os.close, fd)
    return fd


def _limit(pid: int, limits: Sequence[tuple[str, int, int]]) -> None:
    for name, soft, hard in limits:
        try:
            resource.prlimit(pid, getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))
        except (OSError, ValueError) as refused:
            raise HostError(f"cannot set the limit {name} to {soft}:{hard}: {refused}") from refused


def _may_limit(command: Command) -> bool:
    """Whether its limits can be set from outside (prlimit(2)); else it lowers them itself, by prlimit(1)."""
    if command.user is None or command.user == os.geteuid():
        return True
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(effective & 1 << _CAP_SYS_RESOURCE)


def _is_shell_name(name: str) -> bool:
    """Whether a shell passes it on as it is: it may be a variable, and not one that a shell has its own ideas of."""
    return name.isascii() and name.isidentifier() and name not in _SHELLS_OWN


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
