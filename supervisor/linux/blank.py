"""A held process that is made ahead, when it is known how a server will be run, and not yet which file that will be.

To make one is a third of what lies between a signal and a server's exec. So one waits while nothing else goes on; what
it is to run, with the words on the way to that, it reads when it is let go. All else it has from its birth: its
environment but for one variable, its folder, its umask and its fds. Whoever wants any of that otherwise makes another.

It ends by itself when the supervisor dies, as every held process does, and has no socket by then that takes part in
anything. `waiting` tells who reaps orphans which children are none.
"""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING, Final

from supervisor.errors import HostError
from supervisor.linux import limits, spawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.linux.spawn import Command, FdWindow, Held

LATE: Final = "GAPLESS_RELEASE"
"""The variable that is told late."""

_WAIT = f"""
IFS= read -r {LATE} || exit 125
set --
while IFS= read -r OPTARG || exit 125; do
    [ -n "$OPTARG" ] || break
    set -- "$@" "$OPTARG"
done
{spawn.WAIT}
"""
"""A line for the variable, one for each word, an empty one, and then it waits as every other: nothing is run of what
ends before that. OPTARG is never a server's: of all variables those that a shell has its own ideas of go by other ways
(`spawn`)."""

_waiting: set[int] = set()


def waiting() -> frozenset[int]:
    """The pids of those that have not been given a command."""
    return frozenset(_waiting)


class Blank:
    """One such process, until it is given a command or ended."""

    def __init__(self, command: Command, fds: Sequence[int], window: FdWindow) -> None:
        """Make it for a command like this one. Raises HostError."""
        self._born_with = _born_with(command, fds)
        self._held: Held | None = spawn.hold(command, (), fds, window, _WAIT)
        self.pid, self.pidfd = self._held.child.pid, self._held.child.pidfd
        _waiting.add(self.pid)

    def given(self, command: Command, fds: Sequence[int]) -> Held | None:
        """What is held for that command from now on; None, and nothing changed, if it cannot become just that.

        Raises HostError, with it ended: a limit that may not be set.
        """
        held, told = self._held, _told(command, fds)
        if held is None or told is None:
            return None
        if self._born_with != _born_with(command, fds) or not self._is_in(command.directory):
            return None
        try:
            limits.apply(self.pid, command.limits)
        except HostError:
            self.end()
            raise
        held.child.signal(signal.SIGCONT)  # somebody may have stopped it meanwhile
        held.tell(told)
        self._leave()
        return held

    def end(self) -> None:
        """End it, if it has not been given a command."""
        if self._held is not None:
            self._held.end()
            self._leave()

    def _leave(self) -> None:
        self._held = None
        _waiting.discard(self.pid)

    def _is_in(self, directory: str) -> bool:
        """The folder may be another by now, of the same name. One that has died is in none."""
        try:
            return os.path.samestat(os.stat(directory), os.stat(f"/proc/{self.pid}/cwd"))  # noqa: PTH116 - twice as fast
        except OSError:
            return False


def suits(command: Command, fds: Sequence[int]) -> bool:
    """Whether one can become what is made for such a command."""
    return _told(command, fds) is not None


def _born_with(command: Command, fds: Sequence[int]) -> tuple[object, ...]:
    environment = {**spawn.by_shell(command.environment), LATE: ""}
    files = [(found.st_dev, found.st_ino) for found in map(os.fstat, fds)]
    return environment, command.umask, command.stdin, files


def _told(command: Command, fds: Sequence[int]) -> bytes | None:
    """What it reads. None: it does not go by plain lines, or into a pipe at one go (PIPE_BUF, pipe(7)).

    Nor is that all where output goes to files, which may have been rotated, or where an open file is run.
    """
    if command.stdout or command.stderr or command.program:
        return None
    lines = [command.environment.get(LATE, ""), *spawn.words(command, spawn.FIRST_FD + len(fds))]
    text = "\n".join(lines) + "\n\n"
    plain = all(each.isascii() and each.isprintable() for each in lines) and all(lines)
    return text.encode() if plain and len(text) <= select.PIPE_BUF else None
