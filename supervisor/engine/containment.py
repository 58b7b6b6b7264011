"""What holds the processes of a run together: a cgroup of its own, where ours is delegated to us.

Elsewhere they are found by their parents, their process group and what is in their environment, as far as that goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import structlog
from msgspec import Struct

from supervisor.errors import HostError
from supervisor.linux.delegation import Delegation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.linux.cgroup import Leaf

_log = structlog.get_logger()


class Containment(Struct, frozen=True):
    """One service's."""

    _delegation: Delegation | None
    _fault: str
    """Why there is no delegation."""

    @classmethod
    def of(cls, service: str) -> Self:
        """Take what this host gives us."""
        try:
            return cls(Delegation(service), "")
        except HostError as refused:
            return cls(None, str(refused))

    def hold(self, pid: int, generation: int, run: int) -> Leaf | None:
        """Put a process that does nothing yet where all that it starts will be found; None if that cannot be.

        A server without a cgroup is better than none, so what goes wrong here is only told.
        """
        if self._delegation is None:
            return None
        leaf = None
        try:
            leaf = self._delegation.leaf(generation, run)
            leaf.enter(pid)
        except HostError as refused:
            _log.warning("cgroup_failed", generation=generation, run=run, reason=str(refused))
            if leaf is not None:
                leaf.remove()
            return None
        return leaf

    def holding(self, pid: int) -> Leaf | None:
        """The cgroup in which an earlier supervisor has put a process; None if it has not."""
        return None if self._delegation is None else self._delegation.leaf_of(pid)

    def left(self) -> Iterator[Leaf]:
        """Every cgroup of a run, those of earlier supervisors as well."""
        if self._delegation is not None:
            yield from self._delegation.leaves()

    def leave(self) -> None:
        """The end of the supervisor, whatever becomes of the servers."""
        if self._delegation is not None:
            self._delegation.leave()

    def document(self) -> dict[str, Any]:
        """As `status` tells it."""
        if self._delegation is None:
            return {"folder": None, "memory": False, "fault": self._fault}
        return {"folder": str(self._delegation.folder), "memory": self._delegation.memory, "fault": None}
