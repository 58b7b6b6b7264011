"""What one configuration needs of the host; or, where none is given, what any would."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, field

WINDOW = 258
"""File descriptors that the supervisor sets aside for its children."""

_OTHERS = 100
"""64 on the control socket; the loop's, the journal's, the history's."""

_OF_A_GENERATION = 6
"""pidfd, readiness pipe, notify socket, gate, output files."""


class Listening(Struct, frozen=True):
    """One listener."""

    name: str
    host: str
    port: int
    """0: any."""
    backlog: int = 4096


class Needs(Struct, frozen=True, kw_only=True):
    """Plain values."""

    listeners: tuple[Listening, ...] = ()
    others: int = 0
    """Listeners without a port."""
    draining: int = 4
    """Generations that may drain at a time."""
    own_nofile: bool = False
    """The server is given a limit of its own for open files."""
    limits: bool = False
    """The server is given limits, of whatever kind."""
    user: int | None = None
    """Whom the server runs as, if that is said."""
    state: Path = field(default_factory=Path)
    runtime: Path = field(default_factory=Path)
    control: Path | None = None
    """The control socket, if it is configured where it is, or who else may open it."""
    lets_in: tuple[int | None, ...] = ()
    """The groups that its mode lets in; None: all others."""

    @property
    def generations(self) -> int:
        """At one time at the most: those that drain, the old one and the candidate."""
        return self.draining + 2

    @property
    def files(self) -> int:
        """File descriptors that the supervisor may have open at one time."""
        # A socket of each listener for each generation, one to spare and one that probes.
        sockets = (len(self.listeners) + self.others) * (self.generations + 2)
        return WINDOW + _OTHERS + sockets + _OF_A_GENERATION * self.generations
