"""The lookout: looks at what the core wants looked at, and posts what it sees."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct, field

from supervisor.core import due, events
from supervisor.core.ending import Exit
from supervisor.engine.mending import mend
from supervisor.linux import process
from supervisor.linux.shared import SharedListener
from supervisor.linux.unix import UnixListener

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from supervisor.core.due import Watch
    from supervisor.engine.instances import Instances
    from supervisor.engine.loop import Engine
    from supervisor.linux.listeners import Listeners

_log = structlog.get_logger()

_AFTERTHOUGHTS = (0.02, 0.1, 0.4)
"""Seconds between looks whether a server that has closed its listener has removed its path as well, a moment later."""


class Lookout(Struct, kw_only=True):
    """Begins and ends looks. Those that need other rooms are given to it as `ways`."""

    engine: Engine
    listeners: Listeners
    instances: Instances
    ways: Mapping[type[Watch], Callable[..., Awaitable[events.Event]]]
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, watch: Watch) -> Callable[[], None]:
        """Begin to look; returns how to stop."""
        if isinstance(watch, due.AwaitExit):
            return self._await_exit(watch)
        task = asyncio.ensure_future(self._look(watch))
        self._tasks.add(task)
        task.add_done_callback(self._over)

        def stop() -> None:
            task.cancel()

        return stop

    async def _look(self, watch: Watch) -> None:
        match watch:
            case due.AwaitQuiet():
                event = await self._quiet(watch)
            case due.AwaitReleased():
                event = await self._released(watch)
            case _:
                event = await self.ways[type(watch)](watch)
        self.engine.answer(watch, event)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.critical("bug", what="a look failed; its deadline will end the wait", exc_info=task.exception())

    def _await_exit(self, watch: due.AwaitExit) -> Callable[[], None]:
        """A pidfd is readable from its process's end on (pidfd_open(2))."""
        instance = self.instances.find(watch.generation, watch.run)
        if instance is None:
            return _nothing
        loop, pidfd = asyncio.get_running_loop(), instance.held.child.pidfd

        def ended() -> None:
            loop.remove_reader(pidfd)
            told = self.instances.reap(instance)
            mend(self.listeners)
            self.engine.post(
                events.Exited(at=self.engine.now(), generation=watch.generation, run=watch.run, exit=exit_of(told))
            )

        loop.add_reader(pidfd, ended)
        return _nothing

    async def _quiet(self, watch: due.AwaitQuiet) -> events.Event:
        """No event tells of a queue's end, so it is looked at, and only while somebody drains."""
        for pause in _pauses(0.005, 0.1):
            if self.listeners.queue(watch.sockets) == 0:
                break
            await asyncio.sleep(pause)
        return events.Quiet(at=self.engine.now(), generation=watch.generation, run=watch.run)

    async def _released(self, watch: due.AwaitReleased) -> events.Event:
        """No event tells of a close(2) in another process, so its fds are looked at, and only while it ends."""
        inodes = frozenset(self.listeners.inodes(watch.sockets).values())
        for pause in _pauses(0.01, 1.0):
            mend(self.listeners)
            await asyncio.sleep(pause)  # at the first it has only just been told to end
            if not any(process.holds_socket(pid, inodes) is not False for pid in self._pids(watch)):
                break
        mend(self.listeners)
        for pause in _AFTERTHOUGHTS if self._have_paths() else ():
            await asyncio.sleep(pause)
            mend(self.listeners)
        return events.Released(at=self.engine.now(), generation=watch.generation, run=watch.run)

    def _have_paths(self) -> bool:
        return any(isinstance(each, (UnixListener, SharedListener)) for each in self.listeners)

    def _pids(self, watch: due.AwaitReleased) -> set[int]:
        return {pid for pid in self.instances.pids(watch.generation) if process.alive(pid)}


def _nothing() -> None:
    """A process is watched until it ends: nobody else would reap it."""


def _pauses(shortest: float, longest: float) -> Iterator[float]:
    """Seconds between looks: ever longer."""
    pause = shortest
    while True:
        yield pause
        pause = min(longest, pause * 1.5)


def exit_of(ended: process.Ended) -> Exit:
    """How a process has ended, in the words of the core."""
    name = "" if ended.signal is None else _signal_name(ended.signal)
    dumped = " (core dumped)" if ended.dumped else ""
    return Exit(ended.status, ended.signal, f"{name}{dumped}", exec_failed=ended.exec_failed)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
