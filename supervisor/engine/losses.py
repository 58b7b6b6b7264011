"""Who waited in the queue of a generation that is no more, and what became of them."""

from __future__ import annotations

from msgspec import Struct, field


class Loss(Struct, frozen=True):
    """One queue."""

    sockets: int
    connections: int
    ports: tuple[int, ...] | None = None
    """The clients', where they were reset; None: the kernel moved them, and nobody lost anything."""


class Losses(Struct):
    """Totals since the supervisor began, and what has not been told yet."""

    migrated: int = 0
    reset: int = 0
    _untold: dict[int, list[Loss]] = field(default_factory=dict)

    def add_migrated(self, sockets: int, connections: int) -> None:
        """The kernel has moved them to another generation."""
        self.migrated += connections
        self._untold.setdefault(sockets, []).append(Loss(sockets, connections))

    def add_reset(self, sockets: int, ports: list[int]) -> None:
        """They were reset. A client on a Unix socket has no port (0)."""
        self.reset += len(ports)
        told = tuple(port for port in ports if port)
        self._untold.setdefault(sockets, []).append(Loss(sockets, len(ports), told))

    def take(self, sockets: int) -> list[Loss]:
        """What is to be told of the end of a set of sockets, once."""
        return self._untold.pop(sockets, [])
