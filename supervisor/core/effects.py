"""What is to be done, once. `durable` effects wait until the state that explains them is on disk.

The others need not wait, because the record before them explains them already:

* `Spawn` makes a process that is held before its exec and ends by itself when the supervisor goes away.
* `Steer` to a candidate follows a record that says who the candidate is and that it is steered to as soon as it is
  ready; a new supervisor steers again by its own lights, to a generation that still accepts.
* `Refuse` changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from supervisor.core.model import Failure, Outcome, Release, Request


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to be done."""

    durable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Spawn(Effect):
    """Make the sockets if there are none yet, and a process that holds them and waits. Ends in Spawned/SpawnFailed."""

    durable: ClassVar[bool] = False
    generation: int
    run: int
    release: Release
    sockets: int


@dataclass(frozen=True, slots=True)
class LetGo(Effect):
    """Let the held process become the server. Its pid is on disk by now."""

    generation: int
    run: int


@dataclass(frozen=True, slots=True)
class Steer(Effect):
    """Send every new connection to that set of sockets. Ends in Steered or SteerFailed."""

    durable: ClassVar[bool] = False
    handoff: int
    sockets: int


@dataclass(frozen=True, slots=True)
class Tell(Effect):
    """Send the main process its drain signal."""

    generation: int
    run: int
    signal: str


@dataclass(frozen=True, slots=True)
class Kill(Effect):
    """KILL the generation with all that it started. Ends in Exited."""

    generation: int
    run: int


@dataclass(frozen=True, slots=True)
class Forget(Effect):
    """A generation is over: what is left of it (grandchildren, channels) is cleared away."""

    generation: int


@dataclass(frozen=True, slots=True)
class CloseSockets(Effect):
    """Take a set of sockets out of service.

    Who still waits in its queues is moved by the kernel where it can and `migrate` allows (every other set accepts),
    else reset and counted.
    """

    sockets: int
    migrate: bool


@dataclass(frozen=True, slots=True)
class Conclude(Effect):
    """A handoff has ended: record it, and tell those who wait for it."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Refuse(Effect):
    """Tell who asked that nothing will come of it."""

    durable: ClassVar[bool] = False
    request: Request
    failure: Failure


@dataclass(frozen=True, slots=True)
class End(Effect):
    """The supervisor itself is done."""
