"""What happened. Each event carries its time, and names the generation and run, or the handoff, that it is about.

An event that names what is no longer so matches nothing: a late answer is harmless by construction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core.model import ANYWHERE

if TYPE_CHECKING:
    from supervisor.core.ending import Exit
    from supervisor.core.model import Failure, Life, Phase, Process, Reason, Release, Request
    from supervisor.core.policy import Policy


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened, at a time of the host's monotonic clock, in seconds."""

    at: float


class Begun(Event, frozen=True, kw_only=True):
    """The supervisor starts with nothing running: the first generation is due."""

    release: Release
    policy: Policy
    recalled: bool = False
    """They are recorded ones: what the configuration names is in quarantine."""


class LiftAsked(Event, frozen=True, kw_only=True):
    """Somebody wants a release to be in quarantine no longer."""

    release: str


class QuarantineLapsed(Event, frozen=True, kw_only=True):
    """One that was to last until `due` is over."""

    due: float


class TakenOver(Event, frozen=True, kw_only=True):
    """A supervisor goes on from what another has left. What follows from that is `recovery`'s and not a step's."""

    alive: tuple[int, ...]
    """The generations whose processes are there."""
    gone: tuple[int, ...]


class Asked(Event, frozen=True, kw_only=True):
    """Somebody asks for an upgrade or a rollback."""

    request: Request


class AbortAsked(Event, frozen=True, kw_only=True):
    """Somebody asks that the handoff under way be undone."""

    request: Request


class StopAsked(Event, frozen=True, kw_only=True):
    """Drain everything and end; asked a second time, end now."""


class LeaveAsked(Event, frozen=True, kw_only=True):
    """The supervisor alone is to go."""


class HandoffEvent(Event, frozen=True, kw_only=True):
    """About one handoff."""

    handoff: int


class Verified(HandoffEvent, frozen=True, kw_only=True):
    """What is to run has been read, resolved, checked and pinned."""

    release: Release
    policy: Policy
    current: str | None = ANYWHERE
    """The version that the store's `current` led to when that was read; None: to none."""


class Refused(HandoffEvent, frozen=True, kw_only=True):
    """What was to run cannot be: nothing has changed."""

    failure: Failure
    current: str | None = ANYWHERE
    """As in Verified."""


class Steered(HandoffEvent, frozen=True, kw_only=True):
    """The kernel sends every new connection to this set of sockets."""

    sockets: int


class SteerFailed(HandoffEvent, frozen=True, kw_only=True):
    """The kernel would not: connections go where they went."""

    sockets: int
    detail: str


class HandoffLapsed(HandoffEvent, frozen=True, kw_only=True):
    """The deadline that the phase had at `due` has passed."""

    phase: Phase
    due: float


class GenerationEvent(Event, frozen=True, kw_only=True):
    """About one run of one generation."""

    generation: int
    run: int


class Spawned(GenerationEvent, frozen=True, kw_only=True):
    """Its process exists, held before its exec."""

    process: Process
    release: Release
    """What it will run: the pinned release, or what stands in its place by now."""


class SpawnFailed(GenerationEvent, frozen=True, kw_only=True):
    """No process could be made."""

    failure: Failure


class Spoke(GenerationEvent, frozen=True, kw_only=True):
    """It said that it is ready, through the pipe or by sd_notify."""

    how: str


class Seen(GenerationEvent, frozen=True, kw_only=True):
    """Why it does not count as ready yet, in words."""

    what: str


class Ready(GenerationEvent, frozen=True, kw_only=True):
    """It has shown that it can serve."""

    how: str
    spoke_at: float | None = None
    """When it said so, where it had also shown it by then: the same as Spoke at that time and this at its own."""


class NotReady(GenerationEvent, frozen=True, kw_only=True):
    """It has shown that it will not."""

    failure: Failure


class Exited(GenerationEvent, frozen=True, kw_only=True):
    """Its main process is no more."""

    exit: Exit


class Extended(GenerationEvent, frozen=True, kw_only=True):
    """It asks for more time, until `until` (EXTEND_TIMEOUT_USEC)."""

    until: float


class Quiet(GenerationEvent, frozen=True, kw_only=True):
    """No client waits in its queues."""


class Released(GenerationEvent, frozen=True, kw_only=True):
    """Its processes have closed their copies of the listening sockets."""


class GenerationLapsed(GenerationEvent, frozen=True, kw_only=True):
    """The deadline that the life had at `due` has passed."""

    life: Life
    due: float


class HealthEvent(Event, frozen=True, kw_only=True):
    """About how one run of one generation fares."""

    generation: int
    run: int


class Pinged(HealthEvent, frozen=True, kw_only=True):
    """It has sent WATCHDOG=1, or says by WATCHDOG_USEC= for how many seconds it may be silent from now on."""

    period: float | None = None
    """0: for ever. None: as long as before, or as is configured."""


class Ailing(HealthEvent, frozen=True, kw_only=True):
    """It is to be replaced: it does not serve as it should, or has grown too large or too old."""

    failure: Failure


class Well(HealthEvent, frozen=True, kw_only=True):
    """What it was found to suffer from is over."""

    reason: Reason


class OomKilled(HealthEvent, frozen=True, kw_only=True):
    """The kernel has killed so many more of its processes for want of memory: the main one may be among them."""

    count: int


class ReplaceDue(HealthEvent, frozen=True, kw_only=True):
    """It ails, and the time has passed after which the service may ask again for its replacement."""

    due: float


class Digested(Event, frozen=True, kw_only=True):
    """The digest of a release's file has been computed."""

    release: str
    sha256: str
