"""A short-lived process of our own: it is asked one thing, answers on its standard output, and ends.

What it may say and how long it may take are bounded, and it is killed when it is not wanted any more. It is in a
process group of its own: what a terminal or a script sends to the supervisor's is not meant for it, and what it has
started and left there ends with it. Its standard error goes where its output goes, so that what went wrong can be told
in one sentence.

Nothing here goes through the event loop's own subprocess calls, which want SIGCHLD for themselves. `running` tells who
reaps orphans which children are not.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_running: set[int] = set()

_AT_ONCE = 1 << 16
_LONGEST_QUOTED = 200
_UNTIL_DEAD = 1.0
"""Seconds that a killed process may take to be gone. One that is stuck in the kernel is left to who reaps orphans."""


def running() -> frozenset[int]:
    """The pids of those that have not been reaped."""
    return frozenset(_running)


class Manner(Struct, frozen=True, kw_only=True):
    """How one is run that is not quite of our own."""

    name: str
    """What it is called in sentences."""
    environment: Mapping[str, str]
    directory: str
    """Where it is run."""


class Errand:
    """One such process. `wait` or `answer` ends it; so does `end`, for who wants no answer any more."""

    def __init__(
        self, argv: Sequence[str], given: bytes = b"", *, most: int = _AT_ONCE, manner: Manner | None = None
    ) -> None:
        """Begin it, with `given` on its standard input. `most` bytes are an answer. Raises HostError.

        Of one with a manner the answer is the last of what it says, however much that is.
        """
        self._name = argv[0] if manner is None else manner.name
        self._most = most
        self._talks = manner is not None
        self._said = bytearray()
        try:
            self._popen, self._output, self._pidfd = _begun(argv, given, manner)
        except OSError as refused:
            raise HostError(f"{self._name} cannot be started: {refused.strerror}") from refused
        _running.add(self._popen.pid)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._popen.pid

    def wait(self, within: float) -> bytes:
        """Its answer, in at most so many seconds. Raises HostError: none in time, or it failed; with what it said."""
        ends = time.monotonic() + within
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        poll.register(self._pidfd, select.POLLIN)
        try:
            while ready := dict(poll.poll(max(0.0, ends - time.monotonic()) * 1000)):
                over = self._take()
                if self._pidfd in ready or self._says_too_much:
                    break
                if over:  # it has closed its output, and goes on
                    poll.unregister(self._output)
            else:
                raise self._late(within)
        finally:
            self.end()
        return self._answer()

    async def answer(self, within: float) -> bytes:
        """The same, without keeping the event loop waiting. Cancelled, it ends the process."""
        import asyncio  # noqa: PLC0415 - a daemon that begins sends its first errand before it loads what is large

        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def take() -> None:
            if self._take():
                loop.remove_reader(self._output)
            if self._says_too_much:
                over.set()

        loop.add_reader(self._output, take)
        loop.add_reader(self._pidfd, over.set)
        try:
            async with asyncio.timeout(within):
                await over.wait()
            self._take()
        except TimeoutError:
            raise self._late(within) from None
        finally:
            loop.remove_reader(self._output)
            loop.remove_reader(self._pidfd)
            self.end()
        return self._answer()

    def end(self) -> None:
        """Kill it if it runs, and reap it."""
        if self._output < 0:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)  # its number is taken until it is reaped, dead or not
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_UNTIL_DEAD)
        if self._popen.returncode is None:
            self._popen.returncode = -signal.SIGKILL
        _running.discard(self._popen.pid)
        os.close(self._output)
        os.close(self._pidfd)
        self._output = -1

    @property
    def _says_too_much(self) -> bool:
        return len(self._said) > self._most

    def _take(self) -> bool:
        """Take what it has said. Whether nothing more can come (or be taken)."""
        while not self._says_too_much:
            try:
                more = os.read(self._output, _AT_ONCE)
            except BlockingIOError:
                return False
            if not more:
                return True
            self._said += more
            if self._talks:
                del self._said[: -self._most]
        return True

    def _answer(self) -> bytes:
        """What it said, if it ended well."""
        if self._says_too_much:
            raise HostError(f"{self._name} said more than {self._most} bytes")
        status = self._popen.returncode
        if status == 0:
            return bytes(self._said)
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise HostError(f"{self._name} failed with {how}{self._quoted()}")

    def _late(self, within: float) -> HostError:
        return HostError(f"{self._name} has not answered in {within:g} s and was killed{self._quoted()}")

    def _quoted(self) -> str:
        words = self.last_words()
        return f": {words}" if words else ""

    def last_words(self) -> str:
        """The last line of what it has said, fit to be shown."""
        lines = self._said[-2 * _LONGEST_QUOTED :].decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return "".join(each if each.isprintable() else "?" for each in last.rstrip("\r"))[:_LONGEST_QUOTED]


def _begun(argv: Sequence[str], given: bytes, manner: Manner | None) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process, where what it says is read, and its pidfd. Raises OSError, with nothing left open."""
    with ExitStack() as ours, ExitStack() as theirs:
        memory = os.memfd_create("given", os.MFD_CLOEXEC)
        theirs.callback(os.close, memory)
        os.write(memory, given)
        os.lseek(memory, 0, os.SEEK_SET)
        output, end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        ours.callback(os.close, output)
        theirs.callback(os.close, end)
        os.set_blocking(end, True)
        # The environment is what Python has it for, without what a C library may have put beside that.
        # All fds of ours are close-on-exec from birth; closing each by hand would take 0.5 ms.
        popen = subprocess.Popen(
            argv,
            stdin=memory,
            stdout=end,
            stderr=end,
            close_fds=False,
            process_group=0,
            env=os.environ if manner is None else manner.environment,
            cwd=None if manner is None else manner.directory,
        )
        ours.callback(popen.wait)
        ours.callback(popen.kill)
        pidfd = os.pidfd_open(popen.pid)
        ours.pop_all()
    return popen, output, pidfd
