"""What the process itself is given at its start, taken before anything of ours is opened."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from supervisor.linux import inherit, limits, spawn, turns

if TYPE_CHECKING:
    from supervisor.linux.handed import Handed

MOST_LISTENERS = 256

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
    kept: list[Handed]
    """Those that a supervisor before us had made: systemd has kept them, or this process, in which it ran."""


def take() -> Given:
    """Take it, in short turns from now on; what else was left open by who started us is closed. Raises HostError."""
    open_files = limits.raise_open_files()
    turns.take_short()
    before = inherit.take(os.environ)
    found = _handed(before)
    spawn.close_inherited_fds([each.socket.fileno() for each in found])
    return Given(
        window=spawn.FdWindow(_WINDOW),
        open_files=before.open_files or open_files,
        handed=[each for each in found if not _is_kept(each)],
        kept=[each for each in found if _is_kept(each)],
    )


def kept_name(inode: int) -> str:
    """What one of ours is called, wherever it is kept."""
    return f"gapless-{inode}"


def _is_kept(each: Handed) -> bool:
    """Whether it is called so: what comes from a socket unit is called otherwise, and may begin likewise."""
    return each.name == kept_name(os.fstat(each.socket.fileno()).st_ino)


def _handed(before: inherit.Inherited) -> list[Handed]:
    """The sockets that systemd hands over or has kept, and those that we had before we became what is on disk now."""
    if "LISTEN_FDS" not in os.environ and not before.sockets:
        return []
    from supervisor.linux import handed  # noqa: PLC0415 - most services bind their own

    kept = [handed.Handed(name, socket.socket(fileno=fd)) for name, fd in before.sockets]
    return kept + handed.take(os.environ, spawn.FIRST_FD + _WINDOW)
