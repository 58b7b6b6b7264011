"""What should be going on now: the deadlines and watches that follow from a state.

Nobody arms or disarms them by hand. After every step the engine compares what runs with what is derived here, starts
what is missing and cancels what is no longer due; after a restart, deriving again is arming again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core.events import Ailing, Event, GenerationLapsed, HandoffLapsed, QuarantineLapsed, ReplaceDue
from supervisor.core.generation import policy_for
from supervisor.core.health import ages_at, committed, probed, replaced_at, watched
from supervisor.core.model import Ask, Failure, Life, Mode, Phase, Reason, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.core.launch import Launch
    from supervisor.core.model import Generation, Handoff, Process, Release, Request, State
    from supervisor.core.policy import HealthProbe, HttpCheck, Policy, WarmUp


class Deadline(Struct, frozen=True):
    """If nothing else happens, `event` does, at its own time."""

    event: Event


class Watch(Struct, frozen=True):
    """Something that is looked at until it answers with an event. Two are the same if they look at the same thing."""


class _Told(Watch, frozen=True, eq=False):
    """One that tells its looker more than at what to look. That is not counted."""

    @property
    def thing(self) -> tuple[object, ...]:
        """What it looks at."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Told) and type(other) is type(self) and other.thing == self.thing

    def __ne__(self, other: object) -> bool:
        return not self == other  # a Struct has one of its own, which goes by identity where eq is off

    def __hash__(self) -> int:
        return hash((type(self), self.thing))


class VerifyRelease(_Told, frozen=True, eq=False):
    """Read the configuration again and pin what it names; for a rollback, see that `previous` is what it was.

    For a replacement the same of `previous`, which is then what serves.

    Ends in Verified or Refused.
    """

    handoff: int
    request: Request
    previous: Release | None
    policy: Policy | None = None
    """What `previous` ran by, if that is recorded."""

    @property
    def thing(self) -> tuple[object, ...]:
        """What it is for."""
        return (self.handoff,)


class AwaitExit(Watch, frozen=True):
    """Ends in Exited."""

    generation: int
    run: int
    process: Process


class AwaitReady(_Told, frozen=True, eq=False):
    """Ends in Ready or NotReady, with Spoke, Seen and Extended on the way."""

    generation: int
    run: int
    sockets: int
    method: str
    probe: bool
    silence_counts: bool
    """Whether accepting is enough, since no generation of this service has ever spoken."""
    http: HttpCheck | None = None
    warm_up: WarmUp | None = None

    @property
    def thing(self) -> tuple[object, ...]:
        """Who is to get ready."""
        return self.generation, self.run, self.sockets


class AwaitQuiet(Watch, frozen=True):
    """Ends in Quiet."""

    generation: int
    run: int
    sockets: int


class AwaitReleased(Watch, frozen=True):
    """Ends in Released."""

    generation: int
    run: int
    sockets: int
    process: Process


class AwaitSilence(Watch, frozen=True):
    """Ends in Ailing when no WATCHDOG=1 has come for that long; of one that hangs, in Well when the next one comes."""

    generation: int
    run: int
    period: float
    ailing: bool


class ProbeHealth(Watch, frozen=True):
    """Ends in Ailing after so many failures in a row; of one that has failed, in Well with the first good answer."""

    generation: int
    run: int
    sockets: int
    probe: HealthProbe
    ailing: bool


class WeighMemory(Watch, frozen=True):
    """Ends in Ailing when it uses more than `most` bytes; of one that did, in Well when it uses less again."""

    generation: int
    run: int
    most: int
    ailing: bool


class AwaitOomKills(Watch, frozen=True):
    """Never ends; with OomKilled on the way."""

    generation: int
    run: int


class MakeAhead(_Told, frozen=True, eq=False):
    """Never ends. A process is to wait there which becomes the next generation, if that is run as the present one."""

    generation: int
    """The number of the next."""
    launch: Launch
    policy: Policy

    @property
    def thing(self) -> tuple[object, ...]:
        """Which generation's it is."""
        return (self.generation,)


class DigestFile(_Told, frozen=True, eq=False):
    """Ends in Digested."""

    id: str
    release: Release

    @property
    def thing(self) -> tuple[object, ...]:
        """The release that it is of."""
        return (self.id,)


def deadlines(state: State) -> Iterator[Deadline]:
    """Every deadline that this state has: at most one a generation, one of the handoff, and a few of who serves."""
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
    if state.serving is not None:
        yield from _of_health(state, state.serving)
    lasting = [each.until for each in state.record.quarantine if each.until is not None]
    if lasting and state.mode is Mode.RUNNING:
        yield Deadline(QuarantineLapsed(at=min(lasting), due=min(lasting)))


def _of_health(state: State, serving: Generation) -> Iterator[Deadline]:
    aged, replaced = ages_at(state), replaced_at(state)
    if aged is not None:
        lived = Failure(Reason.AGED, f"{state.policy.recycle_age:g} s")
        yield Deadline(Ailing(at=aged, generation=serving.number, run=serving.run, failure=lived))
    if replaced is not None:
        yield Deadline(ReplaceDue(at=replaced, due=replaced, generation=serving.number, run=serving.run))


def watches(state: State) -> Iterator[Watch]:
    """Everything that is to be looked at in this state."""
    if state.mode is Mode.LEFT:
        return
    handoff = state.handoff
    if handoff is not None and handoff.phase is Phase.VERIFY:
        policy = None if handoff.goal is None else handoff.goal.policy
        yield VerifyRelease(handoff.number, handoff.request, _recalled(state, handoff), policy)
    for each in state.generations:
        yield from _of_generation(state, each)
    yield from _of_the_next(state)
    for held in state.record.quarantine:
        if held.release.sha256 is None and all(each.release.id != held.release.id for each in state.generations):
            yield DigestFile(held.release.id, held.release)


def _of_the_next(state: State) -> Iterator[Watch]:
    """While one generation serves and no other is there.

    An exclusive one's successor gets the sockets that it has, and a sealed one's runs the very file that was verified.
    """
    serving, handoff = state.serving, state.handoff
    if state.mode is not Mode.RUNNING or serving is None or len(state.generations) != 1:
        return
    if state.policy.exclusive or not state.policy.ahead or serving.release.sealed is not None:
        return
    if serving.life is Life.READY and (handoff is None or handoff.phase is Phase.VERIFY):
        yield MakeAhead(state.last_generation + 1, serving.release.launch, state.policy)


def _recalled(state: State, handoff: Handoff) -> Release | None:
    if handoff.goal is not None:
        return handoff.goal.release
    if handoff.request.ask is not Ask.REPLACE:
        return state.previous
    predecessor = state.find(handoff.predecessor)
    return None if predecessor is None else predecessor.release


def _of_generation(state: State, each: Generation) -> Iterator[Watch]:
    if each.process is None:
        return
    yield AwaitExit(each.number, each.run, each.process)
    if each.release.sha256 is None and each.life in {Life.STARTING, Life.READY}:
        yield DigestFile(each.release.id, each.release)
    if state.policy.rollback_after and committed(state, each):
        yield AwaitOomKills(each.number, each.run)
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
    if watched(state, each):
        yield from _looks_after(state, each, each.sockets)
    if _is_settling(state, each) or (each.role is Role.DRAINING and each.life is Life.READY):
        yield AwaitQuiet(each.number, each.run, each.sockets)
    if each.role is Role.DRAINING and each.life in {Life.ENDING, Life.KILLED}:
        yield AwaitReleased(each.number, each.run, each.sockets, each.process)


def _looks_after(state: State, each: Generation, sockets: int) -> Iterator[Watch]:
    """How who serves fares. Of one that is known to ail only whether that is over."""
    policy, ailment = policy_for(state, each), each.health.ailment
    ailing, reason = ailment is not None, None if ailment is None else ailment.reason
    if (each.health.watchdog and not ailing) or reason is Reason.HUNG:
        period = 0.0 if ailing else each.health.watchdog or 0.0
        yield AwaitSilence(each.number, each.run, period, ailing)
    if policy.health_probe is not None and probed(state, each) and reason in {None, Reason.UNHEALTHY}:
        yield ProbeHealth(each.number, each.run, sockets, policy.health_probe, ailing)
    if policy.recycle_memory is not None and state.handoff is None and reason in {None, Reason.OUTGROWN}:
        yield WeighMemory(each.number, each.run, policy.recycle_memory, ailing)


def _is_settling(state: State, each: Generation) -> bool:
    handoff = state.handoff
    return (
        handoff is not None
        and handoff.phase is Phase.SETTLE
        and handoff.predecessor == each.number
        and each.life is Life.READY
    )
