"""What the process itself is given at its start, taken before anything of ours is opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from supervisor.linux import limits, spawn

if TYPE_CHECKING:
    from supervisor.linux.handed import Handed

MOST_LISTENERS = 256

_WINDOW = MOST_LISTENERS + 1
"""fds set aside for children: listeners and the readiness pipe. That takes 0.3 ms at the start, and no memory."""


class Given(NamedTuple):
    """What of it there is, for us and for children."""

    window: spawn.FdWindow
    open_files: tuple[int, int]
    """The limit as it was, soft and hard: a child's, unless it is to have another."""
    handed: list[Handed]
    """systemd's sockets."""


def take() -> Given:
    """Take it; whatever else was left open by who started us is closed. Raises HostError."""
    open_files = limits.raise_open_files()
    sockets = _handed()
    spawn.close_inherited_fds(each.socket.fileno() for each in sockets)
    return Given(spawn.FdWindow(_WINDOW), open_files, sockets)


def _handed() -> list[Handed]:
    """The sockets that systemd hands over, if it does."""
    if "LISTEN_FDS" not in os.environ:
        return []
    from supervisor.linux.handed import take as take_handed  # noqa: PLC0415 - most services bind their own

    return take_handed(os.environ, spawn.FIRST_FD + _WINDOW)
