"""What the process itself is given at its start, taken before anything of ours is opened."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from supervisor.linux import inherit, limits, spawn

if TYPE_CHECKING:
    from supervisor.linux.address import Socket
    from supervisor.linux.handed import Handed

MOST_LISTENERS = 256

KEPT = "gapless-"
"""How the names begin of what we have systemd keep; what comes from a socket unit is called otherwise."""

_WINDOW = MOST_LISTENERS + 2
"""fds set aside for children: listeners, the readiness pipe, and the file that is run. That takes 0.3 ms at the start,
and no memory."""


class Given(NamedTuple):
    """What of it there is, for us and for children."""

    window: spawn.FdWindow
    open_files: tuple[int, int]
    """The limit as it was, soft and hard: a child's, unless it is to have another."""
    handed: list[Handed]
    """Sockets that systemd has made."""
    inherited: list[Socket]
    """Those that we had before we became what is on disk now."""
    kept: list[Handed]
    """Those that a supervisor before us had systemd keep."""


def take() -> Given:
    """Take it; whatever else was left open by who started us is closed. Raises HostError."""
    open_files = limits.raise_open_files()
    before = inherit.take(os.environ)
    found = _handed(before)
    spawn.close_inherited_fds([*(each.socket.fileno() for each in found), *before.sockets])
    return Given(
        window=spawn.FdWindow(_WINDOW),
        open_files=before.open_files or open_files,
        handed=[each for each in found if not _is_kept(each)],
        inherited=[socket.socket(fileno=fd) for fd in before.sockets],
        kept=[each for each in found if _is_kept(each)],
    )


def _is_kept(each: Handed) -> bool:
    """Whether it is called as we call it: a socket unit may have a name that begins likewise."""
    return each.name == f"{KEPT}{os.fstat(each.socket.fileno()).st_ino}"


def _handed(before: inherit.Inherited) -> list[Handed]:
    """The sockets that systemd hands over or has kept, if it does, or has handed over to whom we were before."""
    if "LISTEN_FDS" not in os.environ and not before.handed:
        return []
    from supervisor.linux import handed  # noqa: PLC0415 - most services bind their own

    kept = [handed.Handed(name, socket.socket(fileno=fd)) for name, fd in before.handed]
    return kept + handed.take(os.environ, spawn.FIRST_FD + _WINDOW)
