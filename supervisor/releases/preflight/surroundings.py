"""Where a file is to run, as far as it is not the host's affair: whom as, in what environment, beside whom."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict

from supervisor.linux import names

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from supervisor.core.launch import Launch

_WANTED = frozenset({"LD_LIBRARY_PATH", "PATH"})
"""What of an environment matters to how a file is loaded."""


class Surroundings(Struct, frozen=True, kw_only=True):
    """What is told by who asks for a look."""

    directory: str = "/"
    """What relative paths are seen from."""
    environment: Mapping[str, str] = field(default_factory=dict)
    uid: int = 0
    groups: tuple[int, ...] = ()
    """All of them, the primary one too."""
    capabilities: tuple[str, ...] | None = None
    """That it is to have (service.capabilities); None: as it comes."""
    state: str | None = None
    """The folder of gapless's state."""
    serving: tuple[int, ...] = ()
    """The processes of the generation that serves."""

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self), default=dict)


def from_json(text: str | bytes) -> Surroundings:
    """What `to_json` made; lists come back as tuples."""
    fields: dict[str, Any] = json.loads(text)
    for name, value in fields.items():
        fields[name] = tuple(value) if isinstance(value, list) else value
    return Surroundings(**fields)


def of(launch: Launch, *, state: str | None = None, serving: Collection[int] = ()) -> Surroundings:
    """As a server is started that is to be run so. Raises HostError: its user is not known any more."""
    ours = own()
    found = names.identity(names.user(launch.user), launch.group, launch.groups, launch.capabilities)
    primary = os.getegid() if found.group is None else found.group
    return Surroundings(
        directory=launch.directory,
        environment={name: value for name, value in launch.environment if name in _WANTED},
        uid=ours.uid if found.user is None else found.user,
        groups=(primary, *(ours.groups if found.groups is None else found.groups)),
        capabilities=launch.capabilities,
        state=state,
        serving=tuple(serving),
    )


def own() -> Surroundings:
    """As if it were started here and now, by us."""
    groups = {os.getegid(), *os.getgroups()}
    return Surroundings(
        directory=".",
        environment={name: value for name, value in os.environ.items() if name in _WANTED},
        uid=os.geteuid(),
        groups=tuple(sorted(groups)),
    )
