"""systemd's store of file descriptors: it keeps our sockets, for the next start of this service.

So sockets outlive supervisor and servers together, and those that only we have (spares) stay in their groups when we
die alone: no index moves. Each has a name of its own, by which it is dropped again. systemd empties the store when
the service is stopped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from supervisor.daemon_given import kept_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.linux.listeners import Listeners
    from supervisor.linux.sdnotify import Systemd

_log = structlog.get_logger()

_AGAIN = 1.0
"""Seconds until what systemd did not take is offered again."""
_TIMES = 5
"""How often, until the next thing happens: at rest nothing is to wake up for a manager that is not there any more."""


class Store:
    """What systemd keeps for us, as far as it was told."""

    def __init__(self, systemd: Systemd, kept: Iterable[str], theirs: Iterable[int]) -> None:
        """`kept` are the names that this start began with, `theirs` the inodes of what socket units keep anyway.

        What this process had before an exec may not be kept yet, so that it is stored once more.
        """
        self._systemd = systemd
        self._there = set(kept)
        self._told: set[str] = set()
        self._times = 0
        self._theirs = frozenset(theirs)
        self._again: asyncio.TimerHandle | None = None

    def keep(self, listeners: Listeners) -> None:
        """Have all sockets of the listeners kept, and no others. What is there already is not stored twice."""
        self._times = 0
        self._offer(listeners)

    def empty(self) -> None:
        """Have nothing kept, and wait until that is so."""
        if not self._there:
            return
        for name in tuple(self._there):
            self._drop(name)
        if not self._systemd.caught_up():
            _log.warning("store_not_emptied", names=sorted(self._there))

    def close(self) -> None:
        """Change nothing any more."""
        if self._again is not None:
            self._again.cancel()

    def _offer(self, listeners: Listeners) -> None:
        entries = [entry for each in listeners for entry in each.written()]
        wanted = {kept_name(entry.inode): entry.fd for entry in entries if entry.inode not in self._theirs}
        for name in self._there - wanted.keys():
            self._drop(name)
        for name in wanted.keys() - self._told:
            if self._systemd.store(name, [wanted[name]]):
                self._there.add(name)
                self._told.add(name)
        if self._told == self._there == wanted.keys() or self._again is not None or self._times >= _TIMES:
            return
        self._again = asyncio.get_running_loop().call_later(_AGAIN, self._offer_again, listeners)

    def _drop(self, name: str) -> None:
        if self._systemd.remove(name):
            self._there.discard(name)
            self._told.discard(name)

    def _offer_again(self, listeners: Listeners) -> None:
        self._again = None
        self._times += 1
        self._offer(listeners)
