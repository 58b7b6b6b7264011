"""Who asked, in words. For information alone: a name proves nothing, and a pid is soon another's."""

from __future__ import annotations

import pwd
from pathlib import Path


def process_name(pid: int | None) -> str | None:
    """What the kernel calls that process just now (/proc/PID/comm, 15 characters); None if it is gone."""
    if not pid:
        return None
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None


def user_name(uid: int | None) -> str | None:
    """The user's name on this host, if it has one."""
    try:
        return None if uid is None else pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
