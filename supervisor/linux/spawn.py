"""A server's process, made so that it runs nothing until it is let go.

It begins as `/bin/sh`, which waits for a line on its standard input, then becomes the server by exec. That costs one
small exec (a fork of the supervisor itself costs more than twice as much) and buys three things: LISTEN_PID can be
the process's own pid, limits can be set before the server sees them, and the pid can be in the journal before the
server runs at all. If the supervisor dies first, the shell reads end-of-file and ends by itself. It is still ours by
uid; on the way to the server, and not before, it becomes whom the server is to run as (`identity`).

Sockets are wanted at fds 3, 4, ... and a child gets fds under the numbers that they have here, so a window of numbers
from 3 up is set aside before anything else is opened. What is put there is the only thing that is not close-on-exec.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from supervisor.errors import HostError
from supervisor.linux import identity, limits
from supervisor.linux.identity import Identity
from supervisor.linux.limits import Limits
from supervisor.linux.process import HELD_NAME, Child

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FIRST_FD: Final = 3
"""sd_listen_fds(3): SD_LISTEN_FDS_START."""

LAST_FOR_STDIN: Final = 9
"""A standard input is one of the other fds, and POSIX sh promises redirections of one digit only (2.7)."""

_UNTIL_DEAD = 1.0
"""Seconds that a killed process is waited for, at most: it is gone in a thousandth of that, as a rule."""

_SHELLS_OWN = frozenset(
    {
        *("_", "IFS", "LINENO", "OLDPWD", "OPTARG", "OPTERR", "OPTIND", "PPID", "PS1", "PS2", "PS4", "PWD", "SHLVL"),
        *("COMP_WORDBREAKS", "EPOCHREALTIME", "EPOCHSECONDS", "HISTCMD", "POSIXLY_CORRECT", "RANDOM", "SHELLOPTS"),
        *("SRANDOM", "TMOUT"),
    }
)
"""Variables that a shell sets or reads itself: POSIX sh, 2.5.3, and those that a bash under the name sh does not pass
on as they are. It has others whose names begin with BASH."""

_WHY_NO_OUTPUT = {
    errno.ENXIO: "it is a FIFO that nobody reads",
    errno.ELOOP: "it is a link in a folder that others than root may write to: name the file itself",
}

_SHIM = r"""
{{ printf %s {held} >/proc/self/comm; }} 2>/dev/null
unset PWD OLDPWD SHLVL
[ -z "${{WATCHDOG_USEC-}}" ] || export WATCHDOG_PID=$$
{wait}
LISTEN_PID=$$ exec "$@" <{stdin}
"""
"""What can be done before it is let go is done before."""

WAIT: Final = "read -r LISTEN_PID || exit 125"

_EXACT = """
import fcntl, os, signal, sys
fd, changed, leased = map(int, sys.argv[1:4])
argv = [os.fsencode(word) for word in sys.argv[4:]]
try:
    open("/proc/self/comm", "w").write({held!r})
except OSError:
    pass
if fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_RDLCK if leased else os.fstat(fd).st_ctime_ns != changed:
    print(os.fsdecode(argv[0]), "has changed since it was verified, and is not run", file=sys.stderr, flush=True)
    os._exit(126)
with open("/proc/self/environ", "rb") as file:
    told = [each.partition(b"=") for each in file.read().split(b"\\0") if each]
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.set_inheritable(fd, False)
try:
    os.execve(fd, argv, {{name: value for name, _, value in told}})
except OSError as refused:
    print(os.fsdecode(argv[0]), "cannot be run:", refused.strerror, file=sys.stderr, flush=True)
    os._exit(126)
"""
"""The last of the programs on the way to a server that is run from an open file, by execveat(2). No other can do that
and leave argv[0] and the environment as they are: Python changes LC_CTYPE, so that what it was given is read again, and
it ignores two signals."""


class Program(Struct, frozen=True):
    """An open file that is to be run in place of what the first word of a command names."""

    fd: int
    changed: int
    """The time of its last change (st_ctime_ns)."""
    leased: bool
    """Whether there is a read lease on it, which must still stand when it is run. If not, it must not have changed."""


class Command(Struct, frozen=True, kw_only=True):
    """What to run and as whom."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    identity: Identity = field(default_factory=Identity)
    umask: int | None = None
    limits: Limits = field(default_factory=Limits)
    stdin: int | None = None
    """Which of its fds (3 to LAST_FOR_STDIN) is its standard input too; None: /dev/null is."""
    stdout: str | None = None
    stderr: str | None = None
    program: Program | None = None
    """What is run, if it is not to be looked up by name once more."""


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
        """Set aside `size` numbers from 3 up. Raises HostError: one of them is taken, or there are not as many."""
        self.size = size
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            for number in range(FIRST_FD, FIRST_FD + size):
                # The lowest that is free from there on: one call tells whether it is, and takes it.
                if number != self._null and (got := fcntl.fcntl(self._null, fcntl.F_DUPFD_CLOEXEC, number)) != number:
                    os.close(got)
                    raise HostError(f"fd {number} is open already, and children are to get it")
        except OSError as refused:
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            raise HostError(
                f"at most {most} files may be open at a time, and {size} are set aside for children: "
                "raise the limit (LimitNOFILE= in the unit)"
            ) from refused
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
    """A process that waits to become the server, or has become it."""

    def __init__(self, child: Child, popen: subprocess.Popen[bytes] | None = None, gate: int = -1) -> None:
        """By `popen` if we have made it, with the gate that it waits at."""
        self.child = child
        self._popen = popen
        self._gate = gate

    def tell(self, words: bytes) -> None:
        """Have it read this, of PIPE_BUF at most: it waits on after that. One that has died will be found dead."""
        with suppress(BrokenPipeError):
            os.write(self._gate, words)

    def let_go(self) -> None:
        """Let it become the server, before we go on: it may have been waiting for the very CPU that we are on."""
        if self._gate >= 0:
            with suppress(BrokenPipeError):
                os.write(self._gate, b"\n")
        self._close_gate()
        os.sched_yield()

    def end(self) -> None:
        """End it before it has become anything, and reap it.

        One that somebody traces (gdb) is not ours to reap until they let it go: that is left to who reaps orphans.
        """
        self.child.signal(signal.SIGKILL)
        self.child.ended(within=_UNTIL_DEAD)
        with suppress(ChildProcessError):
            os.waitpid(self.child.pid, os.WNOHANG)
        self.settle(-signal.SIGKILL)
        self.child.close()

    def settle(self, status: int) -> None:
        """Tell `subprocess` that this child has been reaped, or its next call would wait for the pid again."""
        if self._popen is not None:
            self._popen.returncode = status
        self._close_gate()

    def _close_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1


def spawn(command: Command, fds: Sequence[int], window: FdWindow) -> Held:
    """Make a held process with these fds from 3 up, in a process group of its own.

    Raises HostError: no process to be had, no such directory, no permission to become that user or to have those
    capabilities, a limit that may not be set.
    """
    given = [*fds] if command.program is None else [*fds, command.program.fd]
    held = hold(command, words(command, FIRST_FD + len(fds)), given, window)
    try:
        limits.apply(held.child.pid, command.limits)
    except HostError:
        held.end()
        raise
    return held


def hold(command: Command, argv: Sequence[str], fds: Sequence[int], window: FdWindow, wait: str = WAIT) -> Held:
    """Make one without limits of its own. `wait` is what its shell does until it is let go. Raises HostError."""
    with ExitStack() as open_files:
        read, gate = os.pipe2(os.O_CLOEXEC)
        open_files.callback(os.close, read)
        undo_gate = open_files.enter_context(ExitStack())
        undo_gate.callback(os.close, gate)
        outputs = [_output(path, open_files) for path in (command.stdout, command.stderr)]
        numbers = window.fill(fds)
        open_files.callback(window.clear, numbers)
        popen = _popen(command, argv, wait, read, outputs)
        held = Held(Child(popen.pid), popen, gate)
        undo_gate.pop_all()
    return held


def words(command: Command, program_fd: int) -> list[str]:
    """The server's words, behind those of the programs on the way to it: each of them becomes the next by exec."""
    before = [*identity.words(command.identity), *_exact(command.program, program_fd)]
    others = [f"{name}={value}" for name, value in command.environment.items() if not _is_shell_name(name)]
    if not others:
        return [*before, *command.argv]
    # What a shell would drop (`a.b`) or set itself (`PWD`) goes by env(1). That takes a program with an = in its path
    # for one more variable, unless it stands behind a program of another name.
    if not before and "=" in command.argv[0]:
        before = [identity.SETPRIV, "--pdeathsig=clear", "--"]
    return ["/usr/bin/env", "--", *others, *before, *command.argv]


def _exact(program: Program | None, fd: int) -> Sequence[str]:
    """A virtual environment's own Python may be where the server's user may not go; what it was made from seldom is."""
    if program is None:
        return ()
    python = getattr(sys, "_base_executable", "") or sys.executable
    script = _EXACT.format(held=HELD_NAME)
    return (python, "-I", "-S", "-X", "utf8=1", "-c", script, str(fd), str(program.changed), str(int(program.leased)))


def by_shell(environment: Mapping[str, str]) -> dict[str, str]:
    """What of it a shell passes on as it is."""
    return {name: value for name, value in environment.items() if _is_shell_name(name)}


def _popen(
    command: Command, argv: Sequence[str], wait: str, gate: int, outputs: Sequence[int | None]
) -> subprocess.Popen[bytes]:
    stdin = "/dev/null" if command.stdin is None else f"&{command.stdin}"
    script = _SHIM.format(held=HELD_NAME, wait=wait, stdin=stdin)
    held_back = signal.pthread_sigmask(signal.SIG_SETMASK, ())  # it goes on through exec: a server could not be told
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *argv],
            stdin=gate,
            stdout=outputs[0],
            stderr=outputs[1],
            cwd=command.directory,
            env=by_shell(command.environment),
            close_fds=False,  # all of ours are close-on-exec from birth; closing each by hand takes 0.5 ms
            process_group=0,
            umask=-1 if command.umask is None else command.umask,
        )
    except (OSError, subprocess.SubprocessError) as refused:
        raise HostError(_why(command, refused)) from refused
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)


def _why(command: Command, refused: Exception) -> str:
    name = command.argv[0]
    if isinstance(refused, OSError) and refused.filename == command.directory:
        return f"cannot start {name} in {command.directory}: {refused.strerror}"
    return f"cannot start {name}: {getattr(refused, 'strerror', None) or refused}"


def _output(path: str | None, open_files: ExitStack) -> int | None:
    """Opened without waiting: open(2) waits for who reads a FIFO, for ever if nobody does (ENXIO, fifo(7))."""
    if path is None:
        return None
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | (0 if _is_in_good_hands(path) else os.O_NOFOLLOW), 0o640)
    except OSError as refused:
        why = _WHY_NO_OUTPUT.get(refused.errno or 0, refused.strerror)
        raise HostError(f"cannot write the child's output to {path}: {why}") from refused
    open_files.callback(os.close, fd)
    os.set_blocking(fd, True)
    return fd


def _is_in_good_hands(path: str) -> bool:
    """Whether nobody else can put a link there, by which root would open any file of the host for a server."""
    folder = os.stat(os.path.dirname(path) or ".")  # noqa: PTH116, PTH120 - plain text of a configuration
    return os.geteuid() != 0 or (folder.st_uid == 0 and not folder.st_mode & 0o022)


@lru_cache(4096)
def _is_shell_name(name: str) -> bool:
    """Whether a shell passes it on as it is: it may be a variable, and not one that a shell has its own ideas of."""
    plain = name.isascii() and name.isidentifier()
    return plain and name not in _SHELLS_OWN and not name.startswith("BASH")
