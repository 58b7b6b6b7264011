"""The listeners at the start: bound anew, or taken from those that systemd has handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from supervisor.linux.handed import claim
from supervisor.linux.listeners import Listeners

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisor.linux.address import Address
    from supervisor.linux.handed import Handed

_log = structlog.get_logger()


def open_listeners(wanted: list[Address], handed: list[Handed]) -> Listeners:
    """Bind the addresses, but for those whose sockets were handed over. Raises HostError."""
    claimed = claim(wanted, handed)
    listeners = Listeners.open(wanted, claimed)
    for each in claimed.values():
        _log.info("socket_adopted", name=each.name, address=str(each))
    close_unwanted(handed, claimed)
    return listeners


def close_unwanted(handed: Iterable[Handed], claimed: Mapping[str, Handed]) -> None:
    """Close those that no listener has claimed."""
    for each in handed:
        if each not in claimed.values():
            _log.warning("socket_unwanted", name=each.name, address=str(each), what="no listener has its name")
            each.socket.close()
