"""systemd's store of file descriptors: it keeps our sockets, for the next start of this service.

So sockets outlive supervisor and servers together, and those that only we have (spares) stay in their groups when we
die alone: no index moves. Each has a name of its own, by which it is dropped again. systemd empties the store when
the service is stopped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from supervisor.daemon_given import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.linux.listeners import Listeners
    from supervisor.linux.sdnotify import Systemd

_log = structlog.get_logger()

_AGAIN = 1.0
"""Seconds until what systemd did not take is offered again."""


class Store:
    """What systemd keeps for us, as far as it was told."""

    def __init__(self, systemd: Systemd, kept: Iterable[str], theirs: Iterable[int]) -> None:
        """`kept` are the names that this start began with, `theirs` the inodes of what socket units keep anyway."""
        self._systemd = systemd
        self._kept = set(kept)
        self._theirs = frozenset(theirs)
        self._again: asyncio.TimerHandle | None = None

    def keep(self, listeners: Listeners) -> None:
        """Have all sockets of the listeners kept, and no others."""
        entries = [entry for each in listeners for entry in each.written()]
        wanted = {f"{KEPT}{entry.inode}": entry.fd for entry in entries if entry.inode not in self._theirs}
        for name in self._kept - wanted.keys():
            self._drop(name)
        for name in wanted.keys() - self._kept:
            if self._systemd.store(name, [wanted[name]]):
                self._kept.add(name)
        if self._kept != wanted.keys() and self._again is None:
            self._again = asyncio.get_running_loop().call_later(_AGAIN, self._offer_again, listeners)

    def empty(self) -> None:
        """Have nothing kept, and wait until that is so."""
        if not self._kept:
            return
        for name in tuple(self._kept):
            self._drop(name)
        if not self._systemd.caught_up():
            _log.warning("store_not_emptied", names=sorted(self._kept))

    def _drop(self, name: str) -> None:
        if self._systemd.remove(name):
            self._kept.discard(name)

    def _offer_again(self, listeners: Listeners) -> None:
        self._again = None
        self.keep(listeners)
