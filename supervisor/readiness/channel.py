"""What a child says of itself: the readiness pipe (READY_FD), sd_notify (NOTIFY_SOCKET) and einhorn's ack.

The pipe is s6's: a line ends the wait, end-of-file without one is a failure
(https://skarnet.org/software/s6/notifywhenup.html). The socket is the child's own, and a message counts only if the
kernel says that it came from the child's process group. The ack is `einhorn`'s, where that dialect is spoken.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Self

from supervisor.linux.process import belongs
from supervisor.linux.sdnotify import NotifySocket
from supervisor.linux.socketfile import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from supervisor.readiness.einhorn import AckSocket

_AT_ONCE = 64
"""Messages that are taken before the event loop has its turn: who sends without end keeps nobody else waiting."""
_LONGEST_LINE = 4096
"""Bytes that may come before the line's end: who writes more without one has not said a word."""


class ClosedWithoutWordError(Exception):
    """The child closed the readiness pipe and had said nothing."""


class Pipe(NamedTuple):
    """A readiness pipe, as far as it is open here."""

    read: int | None
    child_end: int | None
    """Until the child has it."""

    @classmethod
    def open(cls) -> Self:
        """A new one. The child's end can be read, too: it writes what it has to say also while no supervisor lives.

        Else that would be the end of it, by SIGPIPE. End-of-file is seen all the same, when it is closed.
        """
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return cls(read, os.open(f"/proc/self/fd/{write}", os.O_RDWR | os.O_CLOEXEC))
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)

    def close(self) -> None:
        """Close what is open here."""
        for end in self:
            if end is not None:
                os.close(end)


class Channel:
    """All ways of speaking, for one run of one generation, from before its fork until its end."""

    def __init__(self, notify_path: Path, ack_path: Path | None, owner: int | None, pipe: Pipe | None = None) -> None:
        """Open them; einhorn's if it has a path. `owner` is the uid that may speak beside root, if not ours.

        `pipe` is that of a child that is there already.
        """
        self.notify_path, self.ack_path = notify_path, ack_path
        self._ends = Pipe.open() if pipe is None else pipe
        with ExitStack() as undo:
            undo.callback(self._ends.close)
            self._notify = NotifySocket(notify_path, owner)
            undo.callback(self._notify.close)
            self._ack = _ack_socket(ack_path, owner)
            undo.pop_all()
        self._files = {str(path): identity(str(path)) for path in (notify_path, ack_path) if path is not None}
        self._seen = 0
        self._pid = 0
        self._loop = asyncio.get_running_loop()
        self._pipe: asyncio.Future[str] = self._loop.create_future()
        self._notified: asyncio.Future[str] = self._loop.create_future()
        self._acked: asyncio.Future[str] = self._loop.create_future()
        self._on_message: Callable[[Mapping[str, str]], None] = lambda _: None

    @property
    def child_end(self) -> int:
        """The fd of the readiness pipe that the child is to have."""
        assert self._ends.child_end is not None  # noqa: S101 - asked for before the child has it
        return self._ends.child_end

    @property
    def pipe_open(self) -> bool:
        """Whether the child has neither said its line on the pipe nor closed it."""
        return not self._pipe.done() and self._ends.read is not None

    @property
    def pipe_inode(self) -> int | None:
        """By which a later supervisor finds the pipe again, if a word may still come by it."""
        return os.fstat(self._ends.read).st_ino if self.pipe_open and self._ends.read is not None else None

    @property
    def in_place(self) -> bool:
        """Whether its paths still lead to it."""
        return all(found is not None and found == identity(path) for path, found in self._files.items())

    @property
    def may_have_missed(self) -> bool:
        """Whether the child may have spoken to nobody: it closed the pipe while no supervisor was there to read it."""
        return self._ends.read is None and not self._pipe.done()

    def hear(self) -> None:
        """Take the sd_notify messages that wait, some at least."""
        self._read_notify()

    def heard_before(self, how: str) -> None:
        """An earlier supervisor has heard its word."""
        {"pipe": self._pipe, "notify": self._notified, "einhorn": self._acked}[how].set_result(how)

    def listen(self, pid: int, on_message: Callable[[Mapping[str, str]], None]) -> None:
        """The child exists: what it says from now on is heard. `on_message` gets every sd_notify message of its."""
        if self._ends.child_end is not None:
            os.close(self._ends.child_end)
            self._ends = self._ends._replace(child_end=None)
        self._pid, self._on_message = pid, on_message
        if self._ends.read is not None and not self._pipe.done():
            self._loop.add_reader(self._ends.read, self._read_pipe, self._ends.read)
        self._loop.add_reader(self._notify.fileno(), self._read_notify)
        if self._ack is not None:
            self._ack.listen(pid, self._hear_ack)

    def abandon(self) -> None:
        """The child could not be made."""
        self._close()

    def close(self) -> None:
        """The child is no more."""
        self._loop.remove_reader(self._notify.fileno())
        self._stop_pipe()
        self._close()

    async def word(self, method: str) -> str:
        """Wait until it says that it is ready, by `pipe`, `notify`, `einhorn`, or any (`auto`); tells which.

        Raises ClosedWithoutWordError where the pipe counts.
        """
        ways = {"pipe": self._pipe, "notify": self._notified, "einhorn": self._acked}
        heard = [ways[method]] if method in ways else [*ways.values()]
        await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
        said = [each for each in heard if each.done() and each.exception() is None]
        return (said or [each for each in heard if each.done()])[0].result()

    def _close(self) -> None:
        self._ends.close()
        self._notify.close()
        if self._ack is not None:
            self._ack.close()
        for each in (self._pipe, self._notified, self._acked):
            each.cancel()

    def _read_pipe(self, end: int) -> None:
        try:
            data = os.read(end, _LONGEST_LINE)
        except BlockingIOError:
            return
        self._seen += len(data)
        if b"\n" in data:
            self._pipe.set_result("pipe")
        elif not data or self._seen > _LONGEST_LINE:
            self._pipe.set_exception(ClosedWithoutWordError())
            self._pipe.exception()  # it may never be asked for: that is no error
        else:
            return
        self._stop_pipe()

    def _stop_pipe(self) -> None:
        if self._ends.read is not None:
            self._loop.remove_reader(self._ends.read)

    def _read_notify(self) -> None:
        for _ in range(_AT_ONCE):
            message = self._notify.receive()
            if message is None:
                return
            if not belongs(message.pid, self._pid):
                continue
            if message.fields.get("READY") == "1" and not self._notified.done():
                self._notified.set_result("notify")
            self._on_message(message.fields)

    def _hear_ack(self) -> None:
        if not self._acked.done():
            self._acked.set_result("einhorn")


def _ack_socket(path: Path | None, owner: int | None) -> AckSocket | None:
    if path is None:
        return None
    from supervisor.readiness.einhorn import AckSocket  # noqa: PLC0415 - few have that dialect on

    return AckSocket(path, owner)
