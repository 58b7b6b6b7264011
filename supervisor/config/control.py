"""[control]: the socket that commands come by, who may open it, and what they may do there.

Names become numbers here, in the process that reads a configuration: the daemon compares what the kernel says of a
client with numbers, and looks nobody up while it is asked.
"""

from __future__ import annotations

import grp
import pwd
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from supervisor.config import values
from supervisor.core.access import Access, Admission, Members

_CLOSED, _GROUPS_OWN = "0600", "0660"
_OTHERS_WRITE = 0o022
"""Connecting takes the right to write (unix(7))."""
_LARGEST_ID = 2**32 - 2
"""The one above is no id: it is chown(2)'s word for none."""


def _member(value: str) -> str:
    """A user, or a group after an @, by name or number."""
    number_of(value)
    return value


def number_of(name: str) -> int:
    """The number of a user, or of a group after an @. Raises ValueError."""
    kind, text = ("group", name[1:]) if name.startswith("@") else ("user", name)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(_LARGEST_ID)) else None
    if number is None:
        try:
            number = grp.getgrnam(text).gr_gid if kind == "group" else pwd.getpwnam(text).pw_uid
        except (KeyError, ValueError):
            raise ValueError(
                'want users and, after an @, groups of this host, such as "alice" or "@web": '
                f"there is no {kind} of that name"
            ) from None
    if number > _LARGEST_ID:
        raise ValueError(f"want the name or the number of a {kind}, of at most {_LARGEST_ID}")
    if number == _stranger(kind):
        raise ValueError(
            f"want another {kind}: {number} is also whom the kernel has no number for, from another user namespace"
        )
    return number


def _stranger(kind: str) -> int:
    try:
        return int(Path(f"/proc/sys/kernel/overflow{'gid' if kind == 'group' else 'uid'}").read_text())
    except (OSError, ValueError):
        return 65534  # DEFAULT_OVERFLOWUID in linux/highuid.h


def _group(value: str) -> str:
    try:
        number_of(f"@{value}")
    except ValueError:
        raise ValueError("want the name or the number of a group of this host") from None
    return value


Member = Annotated[str, AfterValidator(_member)]


class ControlTable(BaseModel):
    """[control]: who may do what from outside."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    socket: Annotated[str, AfterValidator(values.socket_path)] | None = None
    mode: Annotated[str, AfterValidator(values.socket_mode)] | None = None
    group: Annotated[str, AfterValidator(_group)] | None = None
    viewers: list[Member] = []
    operators: list[Member] = []
    admins: list[Member] = []

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if any(self.roles.values()) and not int(self.file_mode, 8) & _OTHERS_WRITE:
            raise ValueError(
                f'a role means nothing to who may not open the socket, and mode = "{self.file_mode}" lets in nobody: '
                'want group = "web" with it, or mode = "0666"'
            )
        return self

    @property
    def file_mode(self) -> str:
        """The socket's, in octal digits."""
        return self.mode or (_CLOSED if self.group is None else _GROUPS_OWN)

    @property
    def people(self) -> tuple[str, ...]:
        """Whose numbers it depends on, groups with an @."""
        return *self.viewers, *self.operators, *self.admins, *([f"@{self.group}"] if self.group else [])

    @property
    def roles(self) -> dict[Access, list[str]]:
        """Who is named for which role, the least of them first."""
        return {Access.VIEWER: self.viewers, Access.OPERATOR: self.operators, Access.ADMIN: self.admins}

    def admission(self) -> Admission:
        """By numbers, for the daemon."""
        return Admission(
            mode=int(self.file_mode, 8),
            group=None if self.group is None else number_of(f"@{self.group}"),
            viewers=_members(self.viewers),
            operators=_members(self.operators),
            admins=_members(self.admins),
        )

    @property
    def lets_in(self) -> tuple[int | None, ...]:
        """The groups whose members may open the socket; None stands for everybody."""
        admission = self.admission()
        groups = (admission.group,) if admission.group is not None and admission.mode & 0o020 else ()
        return (*groups, None) if admission.mode & 0o002 else groups

    def summary(self) -> str:
        """Who may do what, for people."""
        parts = [f"mode {self.file_mode}{f' of group {self.group}' if self.group else ''}"]
        parts += [f"{access.role}s {', '.join(names)}" for access, names in self.roles.items() if names]
        return "; ".join(parts)


def _members(names: list[str]) -> Members:
    return Members(
        users=tuple(number_of(name) for name in names if not name.startswith("@")),
        groups=tuple(number_of(name) for name in names if name.startswith("@")),
    )
