"""Who may do what over the control socket: three roles, of which each may do what those before it may.

Decided from ids that the kernel gives, and from nothing that a client sends. In the code a role is an `Access`, for
`model.Role` is a generation's.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection

_ROOT = 0


class Access(IntEnum):
    """What somebody may do, from nothing upwards."""

    NONE = 0
    VIEWER = 1
    """Read: status, history, events, figures."""
    OPERATOR = 2
    """Also begin a handoff, and undo one."""
    ADMIN = 3
    """Also end the service, replace the supervisor, and change what releases there are."""

    @property
    def role(self) -> str:
        """Its name for people."""
        return self.name.lower()


class Members(Struct, frozen=True, kw_only=True):
    """Who has a role, by their numbers: users, and all who are in one of the groups."""

    users: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        """As they can be written in a configuration."""
        return [*map(str, self.users), *(f"@{gid}" for gid in self.groups)]

    def include(self, uid: int, gids: Collection[int]) -> bool:
        """Whether a process of that user and those groups is one of them."""
        return uid in self.users or any(gid in gids for gid in self.groups)


class Admission(Struct, frozen=True, kw_only=True):
    """Whom the control socket lets in, and what they may do there."""

    mode: int = 0o600
    """The file's: who may connect at all."""
    group: int | None = None
    """The file's; None: the supervisor's own."""
    viewers: Members = Members()
    operators: Members = Members()
    admins: Members = Members()

    def access_of(self, uid: int, gids: Collection[int], own: int) -> Access:
        """The most that was given to that user or one of those groups; `own` is the supervisor's user.

        That one and root may do everything whatever was configured: they could end the supervisor anyway.
        """
        if uid in {_ROOT, own} or self.admins.include(uid, gids):
            return Access.ADMIN
        if self.operators.include(uid, gids):
            return Access.OPERATOR
        return Access.VIEWER if self.viewers.include(uid, gids) else Access.NONE
