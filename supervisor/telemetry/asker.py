"""Who asked, in words. For information alone: a name proves nothing, and a pid is soon another's."""

from __future__ import annotations

import pwd
from pathlib import Path

_NEVER = 2**32 - 1
"""(uid_t)-1"""


def process_name(pid: int | None) -> str | None:
    """What the kernel calls that process just now (/proc/PID/comm, 15 characters); None if it is gone."""
    if not pid:
        return None
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None


def login_of(pid: int | None) -> int | None:
    """The user that logged in and became whoever that process runs as (sudo(8), su(1)); None if nobody did.

    /proc/PID/loginuid, which only CAP_AUDIT_CONTROL may set again (pam_loginuid(8)).
    """
    if not pid:
        return None
    try:
        found = int(Path(f"/proc/{pid}/loginuid").read_text())
    except (OSError, ValueError):
        return None
    return None if found == _NEVER else found


def user_name(uid: int | None) -> str | None:
    """The user's name on this host, if it has one."""
    try:
        return None if uid is None else pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
