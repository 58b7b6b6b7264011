"""The supervisor replaces itself: it becomes what is on disk by now, in its own process.

Its children stay its children, and its sockets stay open across the exec; the rest is what every new supervisor does
(`daemon_beginning`). Before that the new code has to show that it can begin: it is run beside us, reads the
configuration and the journal, and ends. If it cannot, nothing has happened.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import structlog

from supervisor.daemon_given import kept_name
from supervisor.errors import HostError, OperatorError
from supervisor.linux import inherit
from supervisor.linux.errand import Errand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.daemon_given import Given
    from supervisor.linux.listeners import Listeners

_log = structlog.get_logger()

REHEARSE = "--rehearse"
"""The word by which the new code is told to show that it could begin, and to end."""

_PATIENCE = 30.0
"""Seconds that the new code may take for that."""


class Reexec:
    """Does it once for each time that it is asked."""

    def __init__(
        self, given: Given, listeners: Listeners, manager: Mapping[str, str], write: Callable[[], str | None]
    ) -> None:
        """`manager` are our service manager's variables; `write` has all that is known on disk, or says why not."""
        self._given = given
        self._listeners = listeners
        self._manager = manager
        self._write = write
        self._rehearsing = False

    async def rehearsed(self) -> None:
        """See that the new code can begin. Raises OperatorError saying why not."""
        if self._rehearsing:
            raise OperatorError("the supervisor is being replaced already")
        if (fault := self._write()) is not None:
            raise OperatorError(f"the next one would begin from what is not true any more, and this one stays: {fault}")
        self._rehearsing = True
        try:
            await Errand(_rehearsing(_argv())).answer(_PATIENCE)
        except HostError as failed:
            raise OperatorError(f"what is on disk cannot take over, and this supervisor stays: {failed}") from failed
        finally:
            self._rehearsing = False

    def go(self) -> None:
        """Become it. Returns only if what is known cannot be written, or the kernel refuses."""
        if (fault := self._write()) is not None:
            inherit.heed_signals()
            _log.error("reexec_failed", reason=fault, effect="this supervisor stays")
            return
        _log.info("reexec", argv=" ".join(_argv()))
        try:
            inherit.become(_argv(), self._given_on(), {**os.environ, **self._manager})
        except OSError as refused:
            inherit.heed_signals()
            _log.error("reexec_failed", reason=f"{sys.executable}: {refused.strerror}", effect="this supervisor stays")

    def _given_on(self) -> inherit.Inherited:
        ours = {entry.fd: entry.inode for listener in self._listeners for entry in listener.written()}
        named = {fd: kept_name(inode) for fd, inode in ours.items()}
        named |= {each.socket.fileno(): each.name for each in self._given.handed if each.socket.fileno() >= 0}
        return inherit.Inherited(tuple((name, fd) for fd, name in sorted(named.items())), self._given.open_files)


def _argv() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def _rehearsing(argv: list[str]) -> list[str]:
    """With the word for it, which has to stand before the server's own command."""
    at = argv.index("--") if "--" in argv else len(argv)
    return [*argv[:at], REHEARSE, *argv[at:]]
