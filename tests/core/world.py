"""A world for the core to live in: which events can come next, and what they do to reality.

The world keeps just what reality would: which processes live and which of them were told to end, which sets of sockets
are open and in which of them clients may wait, where the kernel steers, who still waits for an answer, and which
effects have been asked for and not yet answered. What must never be true of it is in `invariants`.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from msgspec import Struct, field

from supervisor.core import effects, events
from supervisor.core.due import (
    AwaitExit,
    AwaitOomKills,
    AwaitQuiet,
    AwaitReady,
    AwaitReleased,
    AwaitSilence,
    ProbeHealth,
    VerifyRelease,
    WeighMemory,
    deadlines,
    watches,
)
from supervisor.core.ending import Exit
from supervisor.core.generation import policy_for
from supervisor.core.launch import Launch, Store
from supervisor.core.model import ANYWHERE, Ask, Failure, Process, Reason, Release, Request, State
from supervisor.core.outcome import Result
from supervisor.core.policy import HealthProbe, Policy
from supervisor.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.core.model import Generation, Handoff, Health
    from supervisor.core.outcome import Outcome
    from supervisor.core.record import Record

BY_HAND = " after ln -sfn "
POLICY = Policy(probation=5.0, drain_limit=2, restart_limit=2, rollback_after=0)
NO_PROBATION = replace(POLICY, probation=0.0)
EXCLUSIVE = replace(POLICY, exclusive=True)
GUARDED = replace(POLICY, watchdog=30.0, health_probe=HealthProbe(), recycle_memory=1 << 30, recycle_age=86400.0)
WATCHED = replace(POLICY, watchdog=30.0)
WARY = replace(POLICY, rollback_after=1)


def release(name: str) -> Release:
    """A release that differs from others by its name alone."""
    path = f"/srv/{name}"
    return Release(id=name, path=path, device=1, inode=ord(name[0]), size=1, mtime_ns=1, launch=Launch(argv=(path,)))


RELEASES = (release("a"), release("b"))
OLDER = release("older")


def stored(name: str) -> Release:
    """A version of a store."""
    found = release(name)
    return replace(found, version=name, launch=replace(found.launch, store=Store(root="/srv/store")))


STORED = (stored("a"), stored("b"))


class Bounds(Struct, frozen=True):
    """How much may happen: operators ask at most that often, and a verification finds one of these."""

    asks: int
    found: tuple[tuple[Release, Policy], ...] = ((RELEASES[1], POLICY),)


class World(Struct, frozen=True):
    """The core's state, and the reality that it does not see but through events."""

    state: State = field(default_factory=State)
    alive: frozenset[tuple[int, int]] = frozenset()
    let_go: frozenset[tuple[int, int]] = frozenset()
    told: frozenset[tuple[int, int]] = frozenset()
    open: frozenset[int] = frozenset()
    waiting: frozenset[int] = frozenset()
    """Sets of sockets in whose queues clients may wait: steered to once, and never seen quiet since."""
    kernel: int | None = None
    outstanding: tuple[effects.Effect, ...] = ()
    owed: frozenset[str] = frozenset()
    """Requests for a handoff that nobody has heard the end of."""
    asked: int = 0
    left: frozenset[str] = frozenset()
    """Releases that the service has gone back from by itself, and that nobody has asked for since."""
    alone: bool = False
    """Every configuration of it is exclusive."""
    ended: bool = False
    current: str | None = None
    """The version that the store's `current` leads to; None: there is no store."""
    wished: bool = False
    """A person has moved `current`, and no upgrade has looked at it since."""

    @property
    def steers(self) -> list[effects.Steer]:
        """What the kernel has been asked for and has not answered, in order."""
        return [each for each in self.outstanding if isinstance(each, effects.Steer)]

    def timeless(self) -> World:
        """The same world with every time forgotten: worlds that differ in times alone allow the same orders."""
        state = self.state
        generations = tuple(_timeless(each) for each in state.generations)
        handoff = None if state.handoff is None else _handoff_timeless(state.handoff)
        same = handoff is state.handoff and all(map(operator.is_, generations, state.generations))
        record = _record_timeless(state.record)
        if same and record is state.record and not (state.concluded or state.replacements or state.replace_at):
            return self
        return replace(
            self,
            state=replace(
                state,
                generations=generations,
                handoff=handoff,
                record=record,
                concluded=None,
                replacements=0,
                replace_at=None if state.replace_at is None else 0.0,
            ),
        )

    def happens(self, event: events.Event) -> World:  # noqa: PLR0911 - one a kind
        """What an event is to reality, before the core hears of it."""
        match event:
            case events.Exited():
                gone = {(event.generation, event.run)}
                return replace(self, alive=self.alive - gone, told=self.told - gone, let_go=self.let_go - gone)
            case events.Spawned():
                born = (event.generation, event.run)
                return replace(self._answered(self._spawn(event)), alive=self.alive | {born})
            case events.SpawnFailed():
                return self._answered(self._spawn(event))
            case events.Steered():
                world = self._answered(self.steers[0])
                return replace(world, kernel=event.sockets, waiting=self.waiting | {event.sockets})
            case events.SteerFailed():
                return self._answered(self.steers[0])
            case events.Quiet():
                return self._quiet(event)
            case events.Asked():
                return self._asked(event.request)
            case events.Verified() | events.Refused():
                return replace(self, wished=self.wished and not self._looked(event.current))
            case events.AbortAsked() | events.StopAsked() | events.LeaveAsked() | events.LiftAsked():
                return replace(self, asked=self.asked + 1)
            case _:
                return self

    def _asked(self, request: Request) -> World:
        """Maybe after `ln -sfn`."""
        _, by_hand, version = request.id.partition(BY_HAND)
        asked = replace(self, asked=self.asked + 1, owed=self.owed | {request.id})
        return replace(asked, current=version, wished=True) if by_hand else asked

    def _looked(self, seen: str | None) -> bool:
        """Only an upgrade takes where `current` leads for a wish, and the last one may have come after the look."""
        under_way = self.state.handoff
        return under_way is not None and under_way.request.ask is Ask.UPGRADE and seen in {self.current, ANYWHERE}

    def _quiet(self, event: events.Quiet) -> World:
        found = self.state.find(event.generation)
        if found is None or found.sockets is None or found.sockets == self.kernel:
            return self
        return replace(self, waiting=self.waiting - {found.sockets})

    def _spawn(self, event: events.GenerationEvent) -> effects.Effect:
        return next(each for each in self.outstanding if _is_spawn(each, event))

    def _answered(self, done: effects.Effect) -> World:
        at = self.outstanding.index(done)
        return replace(self, outstanding=self.outstanding[:at] + self.outstanding[at + 1 :])

    def perform(self, effect: effects.Effect) -> World:  # noqa: PLR0911 - one a kind
        """What becomes of reality when the core wants this."""
        match effect:
            case effects.Spawn():
                return self._spawning(effect)
            case effects.Steer():
                return replace(self, outstanding=(*self.outstanding, effect))
            case effects.CloseSockets():
                gone = {effect.sockets}
                return replace(self, open=self.open - gone, waiting=self.waiting - gone)
            case effects.LetGo():
                return replace(self, let_go=self.let_go | {(effect.generation, effect.run)})
            case effects.Tell() | effects.Kill():
                return replace(self, told=self.told | {(effect.generation, effect.run)})
            case effects.Conclude():
                undone = effect.outcome.undone_by
                heard = {effect.outcome.request.id} | ({undone.id} if undone else set())
                return replace(self, owed=self.owed - heard, left=self._left(effect.outcome))
            case effects.Refuse():
                return replace(self, owed=self.owed - {effect.request.id})
            case effects.End():
                return replace(self, ended=True)
            case effects.Point() if self.current in effect.seen or ANYWHERE in effect.seen:
                return replace(self, current=effect.version)
            case _:
                return self

    def _left(self, outcome: Outcome) -> frozenset[str]:
        if outcome.result is not Result.COMMITTED or outcome.to_release is None:
            return self.left
        if outcome.request.ask is Ask.FALLBACK:
            return self.left | {outcome.from_release.id}
        return self.left - {outcome.to_release.id}

    def _spawning(self, effect: effects.Spawn) -> World:
        first = self.kernel is None
        return replace(
            self,
            outstanding=(*self.outstanding, effect),
            open=self.open | {effect.sockets},
            kernel=effect.sockets if first else self.kernel,
            waiting=self.waiting | {effect.sockets} if first else self.waiting,
        )

    def possible(self, bounds: Bounds) -> Iterator[events.Event]:
        """Every event that reality could bring next, at no time in particular."""
        if self.ended:
            return
        yield from self.answers()
        for deadline in deadlines(self.state):
            yield replace(deadline.event, at=0.0)
        yield from self.sights(bounds)
        if self.asked < bounds.asks:
            yield from asks(str(self.asked))
            if self.current is not None:
                for version in sorted({"a", "b"} - {self.current}):
                    yield events.Asked(at=0.0, request=Request(id=f"{self.asked}{BY_HAND}{version}"))
            for each in self.state.record.quarantine:
                yield events.LiftAsked(at=0.0, release=each.release.id)

    def sights(self, bounds: Bounds) -> Iterator[events.Event]:
        """What those who watch may come to see."""
        for watch in watches(self.state):
            match watch:
                case VerifyRelease(request=Request(ask=Ask.REPLACE)):
                    yield from _verdicts(watch, ((watch.previous or RELEASES[0], self.state.policy),), self._seen())
                case VerifyRelease(request=Request(ask=Ask.FALLBACK)):
                    assert watch.previous is not None
                    assert watch.policy is not None
                    yield from _verdicts(watch, ((watch.previous, watch.policy),), self._seen())
                case VerifyRelease():
                    yield from _verdicts(watch, bounds.found, self._seen())
                case AwaitSilence() | ProbeHealth() | WeighMemory() | AwaitOomKills():
                    yield _fares(watch)
                case AwaitReady():
                    yield from _readiness(watch)
                case AwaitExit():
                    yield events.Exited(at=0.0, generation=watch.generation, run=watch.run, exit=Exit(status=1))
                case AwaitQuiet():
                    yield events.Quiet(at=0.0, generation=watch.generation, run=watch.run)
                case AwaitReleased():
                    yield events.Released(at=0.0, generation=watch.generation, run=watch.run)
        yield from _pings(self.state)

    def _seen(self) -> tuple[str | None, ...]:
        """Where `current` may have led when it was looked at."""
        if self.current is None:
            return (ANYWHERE,)
        return ("a", "b") if self.wished else (self.current,)

    def answers(self) -> Iterator[events.Event]:
        """What those who do may answer; the kernel is asked one thing at a time."""
        for steer in self.steers[:1]:
            yield events.Steered(at=0.0, handoff=steer.handoff, sockets=steer.sockets)
            yield events.SteerFailed(at=0.0, handoff=steer.handoff, sockets=steer.sockets, detail="no memory")
        for each in self.outstanding:
            if isinstance(each, effects.Spawn):
                number, run, process = each.generation, each.run, Process(each.generation, each.run)
                yield events.Spawned(at=0.0, generation=number, run=run, process=process, release=each.release)
                failure = Failure(Reason.SPAWN_FAILED)
                yield events.SpawnFailed(at=0.0, generation=number, run=run, failure=failure)


def _verdicts(
    watch: VerifyRelease, found: tuple[tuple[Release, Policy], ...], seen: tuple[str | None, ...]
) -> Iterator[events.Event]:
    for current in seen:
        for each, policy in found:
            yield events.Verified(at=0.0, handoff=watch.handoff, release=each, policy=policy, current=current)
        yield events.Refused(at=0.0, handoff=watch.handoff, failure=Failure(Reason.BAD_RELEASE), current=current)


AILMENTS = {AwaitSilence: Reason.HUNG, ProbeHealth: Reason.UNHEALTHY, WeighMemory: Reason.OUTGROWN}


def _fares(watch: AwaitSilence | ProbeHealth | WeighMemory | AwaitOomKills) -> events.Event:
    number, run = watch.generation, watch.run
    if isinstance(watch, AwaitOomKills):
        return events.OomKilled(at=0.0, generation=number, run=run, count=1)
    reason = AILMENTS[type(watch)]
    if watch.ailing:
        return events.Well(at=0.0, generation=number, run=run, reason=reason)
    return events.Ailing(at=0.0, generation=number, run=run, failure=Failure(reason))


def _pings(state: State) -> Iterator[events.Event]:
    """The first one of whoever is told to send some."""
    for each in state.generations:
        if each.process and each.health.watchdog is None and policy_for(state, each).watchdog:
            yield events.Pinged(at=0.0, generation=each.number, run=each.run)


def _readiness(watch: AwaitReady) -> Iterator[events.Event]:
    number, run = watch.generation, watch.run
    yield events.Spoke(at=0.0, generation=number, run=run, how="pipe")
    yield events.Ready(at=0.0, generation=number, run=run, how="pipe")
    yield events.NotReady(at=0.0, generation=number, run=run, failure=Failure(Reason.CLOSED_READY))


def asks(name: str) -> Iterator[events.Event]:
    """What an operator may want."""
    yield events.Asked(at=0.0, request=Request(id=name))
    yield events.Asked(at=0.0, request=Request(id=name, ask=Ask.ROLLBACK))
    yield events.AbortAsked(at=0.0, request=Request(id=name))
    yield events.StopAsked(at=0.0)
    yield events.LeaveAsked(at=0.0)


def _is_spawn(effect: effects.Effect, event: events.GenerationEvent) -> bool:
    return isinstance(effect, effects.Spawn) and (effect.generation, effect.run) == (event.generation, event.run)


def _timeless(each: Generation) -> Generation:
    """Most are so already: explorations come by here often, and a new value is dear."""
    ready_at = 0.0 if each.ready_at is None else each.ready_at
    timeless = not (each.since or each.until or each.began or ready_at or each.failures)
    if timeless and each.spoke_at is None and each.health == _health_timeless(each.health):
        return each
    return replace(
        each,
        since=0.0,
        until=None if each.until is None else 0.0,
        began=0.0,
        spoke_at=None,
        seen="",
        ready_at=None if each.ready_at is None else 0.0,
        failures=0,
        health=_health_timeless(each.health),
    )


def _health_timeless(health: Health) -> Health:
    if not (health.since or health.oom_at or health.oom_kills):
        return health
    since, oom_at = (None if each is None else 0.0 for each in (health.since, health.oom_at))
    return replace(health, since=since, oom_at=oom_at, oom_kills=0)


def _handoff_timeless(handoff: Handoff) -> Handoff:
    request = replace(handoff.request, because="") if handoff.request.ask is Ask.FALLBACK else handoff.request
    if not (handoff.since or handoff.until or handoff.phases) and request == handoff.request:
        return handoff
    return replace(handoff, request=request, since=0.0, until=None if handoff.until is None else 0.0, phases=())


def _record_timeless(record: Record) -> Record:
    if (
        not any(record.deaths)
        and not record.failed
        and not any(each.since or each.until or each.because for each in record.quarantine)
    ):
        return record
    quarantine = (replace(each, since=0.0, until=each.until and 0.0, because="") for each in record.quarantine)
    return replace(record, deaths=(0.0,) * len(record.deaths), quarantine=tuple(quarantine), failed=())
