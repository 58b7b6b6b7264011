"""Putting right what a server has done to what is not its own: the path of a socket, and a socket that all share.

Looked at when that may have happened: a server has started, it has closed its listeners, or it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from supervisor.errors import HostError

if TYPE_CHECKING:
    from supervisor.linux.listeners import Listeners

_log = structlog.get_logger()


def mend(listeners: Listeners) -> None:
    """Look at every listener, and log what was wrong."""
    for listener in listeners:
        about = {"name": listener.address.name, "address": str(listener)}
        try:
            wrong = listener.mend()
        except (HostError, OSError) as beyond:
            _log.error("listener_spoiled", **about, what=str(beyond))
        else:
            if wrong:
                _log.warning("listener_mended", **about, what=wrong)
