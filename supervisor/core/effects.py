"""What is to be done, once, and how well the state that explains it is kept before that.

* `SYNCED`: on disk. What is answered to people must still be true after a power cut. So must a commit before the old
  generation ends: that is told to in the step in which the commit is answered, or later.
* `WRITTEN`: in the journal, which survives the supervisor but not the host. Neither processes nor sockets survive the
  host, so nothing more is needed before one is let go, told to end, killed or closed. `Point` moves what does survive
  it, but at a commit it stands beside what is synced, and where it puts back it says itself what it does.
* `NOTHING`: the record before explains it already. `Spawn` makes a process that is held before its exec and ends by
  itself when the supervisor goes away. `Steer` to a candidate follows a record which says that it is steered to as soon
  as it is ready; a new supervisor steers again by its own lights, to a generation that accepts. `Forget` is about a
  process that is no more, and `Refuse` changes nothing.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

if TYPE_CHECKING:
    from supervisor.core.model import Failure, Release, Request
    from supervisor.core.outcome import Outcome


class Kept(IntEnum):
    """How well the state is kept before an effect is done."""

    NOTHING = 0
    WRITTEN = 1
    SYNCED = 2


class Effect(Struct, frozen=True):
    """Something to be done."""

    after: ClassVar[Kept] = Kept.SYNCED
    moves_sockets: ClassVar[bool] = False
    """Whether it changes which sockets there are, which the journal tells beside the state."""


class Attempt(Effect, frozen=True):
    """Nothing is to be done: only, whatever a release does to the host, it is to be known afterwards that it was tried.

    Of a version of a store, or it would be followed again after the reboot; and where the old generation ends first.
    """

    release: str


class Spawn(Effect, frozen=True):
    """Make the sockets if there are none yet, and a process that holds them and waits. Ends in Spawned/SpawnFailed."""

    after: ClassVar[Kept] = Kept.NOTHING
    moves_sockets: ClassVar[bool] = True
    generation: int
    run: int
    release: Release
    sockets: int


class LetGo(Effect, frozen=True):
    """Let the held process become the server. Its pid is in the journal by now."""

    after: ClassVar[Kept] = Kept.WRITTEN
    generation: int
    run: int


class Steer(Effect, frozen=True):
    """Send every new connection to that set of sockets. Ends in Steered or SteerFailed."""

    after: ClassVar[Kept] = Kept.NOTHING
    handoff: int
    sockets: int


class Tell(Effect, frozen=True):
    """Send the main process its drain signal."""

    after: ClassVar[Kept] = Kept.WRITTEN
    generation: int
    run: int
    signal: str


class Kill(Effect, frozen=True):
    """KILL the generation with all that it started. Ends in Exited."""

    after: ClassVar[Kept] = Kept.WRITTEN
    generation: int
    run: int


class Forget(Effect, frozen=True):
    """A generation is over: what is left of it (grandchildren, channels) is cleared away."""

    after: ClassVar[Kept] = Kept.NOTHING
    generation: int


class CloseSockets(Effect, frozen=True):
    """Take a set of sockets out of service.

    Who still waits in its queues is moved by the kernel where it can and `migrate` allows (every other set accepts),
    else reset and counted.
    """

    after: ClassVar[Kept] = Kept.WRITTEN
    moves_sockets: ClassVar[bool] = True
    sockets: int
    migrate: bool
    clients: bool
    """Whether clients were ever sent there: what waits in the queues else is our own probe."""


class Point(Effect, frozen=True):
    """Have the store's `current` lead to a version, if it leads to one of `seen`: else a person has moved it since."""

    after: ClassVar[Kept] = Kept.WRITTEN
    root: str
    version: str
    seen: tuple[str | None, ...]


class Conclude(Effect, frozen=True):
    """A handoff has ended: record it, and tell those who wait for it."""

    outcome: Outcome


class Refuse(Effect, frozen=True):
    """Tell who asked that nothing will come of it."""

    after: ClassVar[Kept] = Kept.NOTHING
    request: Request
    failure: Failure


class Lifted(Effect, frozen=True):
    """Tell who asked that a release is in quarantine no more."""

    release: str


class End(Effect, frozen=True):
    """The supervisor itself is done."""
