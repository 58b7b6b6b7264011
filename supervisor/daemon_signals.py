"""What gapless does when it is sent a signal. It takes no role: only those may send one whom the kernel lets."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from typing import TYPE_CHECKING

import structlog

from supervisor.core import events
from supervisor.core.model import Request
from supervisor.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.daemon_audit import Accounts
    from supervisor.engine.loop import Engine

_log = structlog.get_logger()


def heed(loop: asyncio.AbstractEventLoop, number: signal.Signals, does: Callable[..., object], *given: object) -> None:
    """Call it on the loop, once each time that the signal is delivered. On the main thread.

    uvloop's own `add_signal_handler` does it twice if the signal comes while another is being read (`_invoke_signals`
    in its loop.pyx takes it from what Python tells and, later, from the pipe), and a second TERM kills. That it is
    woken up by any signal is all that is needed of it here.
    """

    def came(*_: object) -> None:
        if not loop.is_closed():  # at the very end there is nothing left to do
            loop.call_soon_threadsafe(does, *given)

    signal.signal(number, came)


class Signals:
    """Heeds them on one loop."""

    def __init__(
        self,
        engine: Engine,
        accounts: Accounts,
        reexec: Callable[[], Awaitable[None]],
        reap: Callable[[], None],
    ) -> None:
        """`reexec` replaces the supervisor, or raises OperatorError; `reap` sees to orphans that have ended."""
        self._engine = engine
        self._accounts = accounts
        self._reexec = reexec
        self._reap = reap
        self._reexecs: set[asyncio.Task[None]] = set()

    def handle(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on."""
        for number, does in {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._upgrade,
            signal.SIGQUIT: self._leave,
            signal.SIGUSR2: self._replace,
        }.items():
            heed(loop, number, self._came, loop, number, does)
        # uvloop keeps SIGCHLD to itself, and does not use it as long as nothing is started through it.
        heed(loop, signal.SIGCHLD, self._reap)

    def _came(
        self, loop: asyncio.AbstractEventLoop, number: signal.Signals, does: Callable[[signal.Signals], None]
    ) -> None:
        """What it begins goes first: nobody is answered, and the line would be in a new server's way."""
        at = time.time()
        try:
            does(number)
        finally:
            loop.call_soon(self._accounts.signal, number.name, at)

    def _stop(self, number: signal.Signals) -> None:
        _log.info("stop_asked", way=number.name)
        self._engine.post(events.StopAsked(at=self._engine.now()))

    def _upgrade(self, number: signal.Signals) -> None:
        request = Request(id=secrets.token_hex(4), way=number.name)
        self._engine.post(events.Asked(at=self._engine.now(), request=request))

    def _leave(self, _: signal.Signals) -> None:
        self._engine.post(events.LeaveAsked(at=self._engine.now()))

    def _replace(self, _: signal.Signals) -> None:
        self._reexecs.add(task := asyncio.ensure_future(self._reexec_or_say_why()))
        task.add_done_callback(self._reexecs.discard)

    async def _reexec_or_say_why(self) -> None:
        try:
            await self._reexec()
        except OperatorError as refused:
            _log.error("reexec_refused", reason=str(refused))
