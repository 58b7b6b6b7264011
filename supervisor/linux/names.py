"""As whom a server runs: from the names that people give to this host's numbers."""

from __future__ import annotations

import grp
import os
import pwd
from typing import TYPE_CHECKING

from supervisor.errors import HostError
from supervisor.linux.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Sequence


def user(name: str | None) -> pwd.struct_passwd | None:
    """A user's entry; None for no name. Raises HostError: there is none of that name any more."""
    try:
        return pwd.getpwnam(name) if name else None
    except KeyError:
        raise HostError(f"this host does not know the user {name} any more") from None


def _gid(name: str) -> int:
    """Raises HostError likewise."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise HostError(f"this host does not know the group {name} any more") from None


def identity(
    entry: pwd.struct_passwd | None,
    group: str | None,
    groups: Sequence[str] | None,
    capabilities: Sequence[str] | None,
) -> Identity:
    """The primary group and the others as login(1) would set them, where nothing else is said. Raises HostError."""
    primary = _gid(group) if group else entry.pw_gid if entry else None
    numbers = None
    if groups is not None:
        numbers = [_gid(name) for name in groups]
    elif entry is not None and primary is not None:
        numbers = os.getgrouplist(entry.pw_name, primary)
    return Identity(user=entry.pw_uid if entry else None, group=primary, groups=numbers, capabilities=capabilities)
