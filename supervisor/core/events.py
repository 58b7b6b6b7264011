"""What happened. Each event carries its time, and names the generation and run, or the handoff, that it is about.

An event that names what is no longer so matches nothing: a late answer is harmless by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.core.model import ANYWHERE

if TYPE_CHECKING:
    from supervisor.core.ending import Exit
    from supervisor.core.model import Failure, Life, Phase, Process, Reason, Release, Request
    from supervisor.core.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, at a time of the host's monotonic clock, in seconds."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun(Event):
    """The supervisor starts with nothing running: the first generation is due."""

    release: Release
    policy: Policy
    recalled: bool = False
    """They are recorded ones: what the configuration names is in quarantine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftAsked(Event):
    """Somebody wants a release to be in quarantine no longer."""

    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineLapsed(Event):
    """One that was to last until `due` is over."""

    due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver(Event):
    """A supervisor goes on from what another has left. What follows from that is `recovery`'s and not a step's."""

    alive: tuple[int, ...]
    """The generations whose processes are there."""
    gone: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Event):
    """Somebody asks for an upgrade or a rollback."""

    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortAsked(Event):
    """Somebody asks that the handoff under way be undone."""

    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked(Event):
    """Drain everything and end; asked a second time, end now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveAsked(Event):
    """The supervisor alone is to go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffEvent(Event):
    """About one handoff."""

    handoff: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(HandoffEvent):
    """What is to run has been read, resolved, checked and pinned."""

    release: Release
    policy: Policy
    current: str | None = ANYWHERE
    """The version that the store's `current` led to when that was read; None: to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(HandoffEvent):
    """What was to run cannot be: nothing has changed."""

    failure: Failure
    current: str | None = ANYWHERE
    """As in Verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered(HandoffEvent):
    """The kernel sends every new connection to this set of sockets."""

    sockets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SteerFailed(HandoffEvent):
    """The kernel would not: connections go where they went."""

    sockets: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffLapsed(HandoffEvent):
    """The deadline that the phase had at `due` has passed."""

    phase: Phase
    due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationEvent(Event):
    """About one run of one generation."""

    generation: int
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned(GenerationEvent):
    """Its process exists, held before its exec."""

    process: Process
    release: Release
    """What it will run: the pinned release, or what stands in its place by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnFailed(GenerationEvent):
    """No process could be made."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoke(GenerationEvent):
    """It said that it is ready, through the pipe or by sd_notify."""

    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen(GenerationEvent):
    """Why it does not count as ready yet, in words."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(GenerationEvent):
    """It has shown that it can serve."""

    how: str
    spoke_at: float | None = None
    """When it said so, where it had also shown it by then: the same as Spoke at that time and this at its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReady(GenerationEvent):
    """It has shown that it will not."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited(GenerationEvent):
    """Its main process is no more."""

    exit: Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended(GenerationEvent):
    """It asks for more time, until `until` (EXTEND_TIMEOUT_USEC)."""

    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet(GenerationEvent):
    """No client waits in its queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(GenerationEvent):
    """Its processes have closed their copies of the listening sockets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationLapsed(GenerationEvent):
    """The deadline that the life had at `due` has passed."""

    life: Life
    due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthEvent(Event):
    """About how one run of one generation fares."""

    generation: int
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinged(HealthEvent):
    """It has sent WATCHDOG=1, or says by WATCHDOG_USEC= for how many seconds it may be silent from now on."""

    period: float | None = None
    """0: for ever. None: as long as before, or as is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailing(HealthEvent):
    """It is to be replaced: it does not serve as it should, or has grown too large or too old."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Well(HealthEvent):
    """What it was found to suffer from is over."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class OomKilled(HealthEvent):
    """The kernel has killed so many more of its processes for want of memory: the main one may be among them."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceDue(HealthEvent):
    """It ails, and the time has passed after which the service may ask again for its replacement."""

    due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Digested(Event):
    """The digest of a release's file has been computed."""

    release: str
    sha256: str
