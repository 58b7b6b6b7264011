"""Other users, as the kernel has them: a process that has become one, and what it gets."""

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")

_DONE, _REFUSED = b"y", b"n"


@dataclass(frozen=True, slots=True)
class User:
    """Numbers, which need no name on this host."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def become(self) -> None:
        """For good, as login(1) does it."""
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


def connected(user: User, path: Path) -> socket.socket:
    """A connection that was made by a process of theirs, which has ended since. Raises PermissionError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        pid = _forked(lambda: _connect(user, path, theirs))
        word, fds, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(pid, 0)
    if word != _DONE:
        raise PermissionError(path)
    return socket.socket(fileno=fds[0])


def _connect(user: User, path: Path, answer: socket.socket) -> None:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        user.become()
        made.connect(str(path))
    except OSError:
        answer.send(_REFUSED)
    else:
        socket.send_fds(answer, [_DONE], [made.fileno()])


def _forked(does: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):  # nothing of the tests' own is to go on in here
            does()
        os._exit(0)
    return pid


def command(user: User, *argv: str) -> Sequence[str]:
    """The same command as theirs: setpriv(1) of util-linux."""
    groups = f"--groups={','.join(map(str, user.groups))}" if user.groups else "--clear-groups"
    return ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", groups, "--", *argv]
