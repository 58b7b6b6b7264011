"""What should be going on now: the deadlines and watches that follow from a state.

Nobody arms or disarms them by hand. After every step the engine compares what runs with what is derived here, starts
what is missing and cancels what is no longer due; after a restart, deriving again is arming again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supervisor.core.events import Event, GenerationLapsed, HandoffLapsed
from supervisor.core.generation import policy_for
from supervisor.core.model import Life, Mode, Phase, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.core.model import Generation, Process, Release, Request, State
    from supervisor.core.policy import HttpCheck, WarmUp


@dataclass(frozen=True, slots=True)
class Deadline:
    """If nothing else happens, `event` does, at its own time."""

    event: Event


@dataclass(frozen=True, slots=True)
class Watch:
    """Something that is looked at until it answers with an event.

    Two are the same if they look at the same thing: what is only told to the looker does not count.
    """


@dataclass(frozen=True, slots=True)
class VerifyRelease(Watch):
    """Read the configuration again and pin what it names; for a rollback, see that `previous` is what it was.

    Ends in Verified or Refused.
    """

    handoff: int
    request: Request = field(compare=False)
    previous: Release | None = field(compare=False)


@dataclass(frozen=True, slots=True)
class AwaitExit(Watch):
    """Ends in Exited."""

    generation: int
    run: int
    process: Process


@dataclass(frozen=True, slots=True)
class AwaitReady(Watch):
    """Ends in Ready or NotReady, with Spoke, Seen and Extended on the way."""

    generation: int
    run: int
    sockets: int
    method: str = field(compare=False)
    probe: bool = field(compare=False)
    silence_counts: bool = field(compare=False)
    """Whether accepting is enough, since no generation of this service has ever spoken."""
    http: HttpCheck | None = field(compare=False, default=None)
    warm_up: WarmUp | None = field(compare=False, default=None)


@dataclass(frozen=True, slots=True)
class AwaitQuiet(Watch):
    """Ends in Quiet."""

    generation: int
    run: int
    sockets: int


@dataclass(frozen=True, slots=True)
class AwaitReleased(Watch):
    """Ends in Released."""

    generation: int
    run: int
    sockets: int
    process: Process


@dataclass(frozen=True, slots=True)
class DigestFile(Watch):
    """Ends in Digested."""

    id: str
    release: Release = field(compare=False)


def deadlines(state: State) -> Iterator[Deadline]:
    """Every deadline that this state has: at most one a generation, and one of the handoff."""
    if state.mode is Mode.LEFT:
        return
    for each in state.generations:
        if each.until is not None:
            yield Deadline(
                GenerationLapsed(at=each.until, due=each.until, generation=each.number, run=each.run, life=each.life)
            )
    handoff = state.handoff
    if handoff is not None and handoff.until is not None:
        until = handoff.until
        yield Deadline(HandoffLapsed(at=until, due=until, handoff=handoff.number, phase=handoff.phase))


def watches(state: State) -> Iterator[Watch]:
    """Everything that is to be looked at in this state."""
    if state.mode is Mode.LEFT:
        return
    handoff = state.handoff
    if handoff is not None and handoff.phase is Phase.VERIFY:
        yield VerifyRelease(handoff.number, handoff.request, state.previous)
    for each in state.generations:
        yield from _of_generation(state, each)


def _of_generation(state: State, each: Generation) -> Iterator[Watch]:
    if each.process is None:
        return
    yield AwaitExit(each.number, each.run, each.process)
    if each.release.sha256 is None and each.life in {Life.STARTING, Life.READY}:
        yield DigestFile(each.release.id, each.release)
    if each.sockets is None:
        return
    if each.life is Life.STARTING:
        policy = policy_for(state, each)
        yield AwaitReady(
            each.number,
            each.run,
            each.sockets,
            method=policy.ready_method,
            probe=policy.ready_probe,
            silence_counts=not state.spoken,
            http=policy.ready_http,
            warm_up=policy.warm_up if each.role is Role.CANDIDATE else None,
        )
    if _is_settling(state, each) or (each.role is Role.DRAINING and each.life is Life.READY):
        yield AwaitQuiet(each.number, each.run, each.sockets)
    if each.role is Role.DRAINING and each.life in {Life.ENDING, Life.KILLED}:
        yield AwaitReleased(each.number, each.run, each.sockets, each.process)


def _is_settling(state: State, each: Generation) -> bool:
    handoff = state.handoff
    return (
        handoff is not None
        and handoff.phase is Phase.SETTLE
        and handoff.predecessor == each.number
        and each.life is Life.READY
    )
