"""A world for the core to live in: which events can come next, and what must never be true.

The world keeps just what reality would: which processes live, which sets of sockets are open, where the kernel steers,
and which effects have been asked for and not yet answered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from supervisor.core import effects, events
from supervisor.core.due import (
    AwaitExit,
    AwaitQuiet,
    AwaitReady,
    AwaitReleased,
    VerifyRelease,
    deadlines,
    watches,
)
from supervisor.core.model import (
    Ask,
    Exit,
    Failure,
    Launch,
    Life,
    Mode,
    Phase,
    Process,
    Reason,
    Release,
    Request,
    Role,
    State,
)
from supervisor.core.policy import Policy
from supervisor.core.step import step

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICY = Policy(probation=5.0, drain_limit=2, restart_limit=2)
NO_PROBATION = replace(POLICY, probation=0.0)


def release(name: str) -> Release:
    """A release that differs from others by its name alone."""
    path = f"/srv/{name}"
    return Release(id=name, path=path, device=1, inode=hash(name) % 97, size=1, mtime_ns=1, launch=Launch(argv=(path,)))


RELEASES = (release("a"), release("b"))


@dataclass(frozen=True, slots=True)
class World:
    """The core's state, and the reality that it does not see but through events."""

    state: State = State()
    alive: frozenset[tuple[int, int]] = frozenset()
    told: frozenset[tuple[int, int]] = frozenset()
    open: frozenset[int] = frozenset()
    kernel: int | None = None
    outstanding: tuple[effects.Effect, ...] = ()
    asked: int = 0
    ended: bool = False

    def begun(self, policy: Policy = POLICY) -> World:
        """The world after the supervisor's start."""
        return self.take(events.Begun(at=0.0, release=RELEASES[0], policy=policy))

    def take(self, event: events.Event) -> World:
        """Let one event happen: first to reality, then to the core, whose effects then happen to reality."""
        world = self._happens(event)
        state, wanted = step(world.state, event)
        world = replace(world, state=state)
        for effect in wanted:
            check_effect(world, effect)
            world = world._perform(effect)
        check(world)
        return world

    def _happens(self, event: events.Event) -> World:
        match event:
            case events.Exited():
                return replace(self, alive=self.alive - {(event.generation, event.run)})
            case events.Spawned():
                done = next(each for each in self.outstanding if _is_spawn(each, event))
                assert isinstance(done, effects.Spawn)
                return replace(
                    self,
                    alive=self.alive | {(event.generation, event.run)},
                    outstanding=_without(self.outstanding, done),
                )
            case events.SpawnFailed():
                done = next(each for each in self.outstanding if _is_spawn(each, event))
                return replace(self, outstanding=_without(self.outstanding, done))
            case events.Steered() | events.SteerFailed():
                done = next(each for each in self.outstanding if isinstance(each, effects.Steer))
                kernel = event.sockets if isinstance(event, events.Steered) else self.kernel
                return replace(self, kernel=kernel, outstanding=_without(self.outstanding, done))
            case events.Asked() | events.AbortAsked() | events.StopAsked() | events.LeaveAsked():
                return replace(self, asked=self.asked + 1)
            case _:
                return self

    def _perform(self, effect: effects.Effect) -> World:
        match effect:
            case effects.Spawn():
                kernel = effect.sockets if self.kernel is None else self.kernel
                opened = self.open | {effect.sockets}
                return replace(self, outstanding=(*self.outstanding, effect), open=opened, kernel=kernel)
            case effects.Steer():
                return replace(self, outstanding=(*self.outstanding, effect))
            case effects.CloseSockets():
                return replace(self, open=self.open - {effect.sockets})
            case effects.Tell() | effects.Kill():
                return replace(self, told=self.told | {(effect.generation, effect.run)})
            case effects.End():
                return replace(self, ended=True)
            case _:
                return self

    def possible(self, *, asks: int) -> Iterator[events.Event]:
        """Every event that reality could bring next. Operators ask at most `asks` times."""
        if self.ended:
            return
        yield from self._answers()
        for deadline in deadlines(self.state):
            yield replace(deadline.event, at=0.0)
        for watch in watches(self.state):
            yield from _seen(watch)
        if self.asked < asks:
            yield from _asks(self.asked)

    def _answers(self) -> Iterator[events.Event]:
        steers = [each for each in self.outstanding if isinstance(each, effects.Steer)]
        if steers:
            first = steers[0]
            yield events.Steered(at=0.0, handoff=first.handoff, sockets=first.sockets)
            yield events.SteerFailed(at=0.0, handoff=first.handoff, sockets=first.sockets, detail="no memory")
        for each in self.outstanding:
            if isinstance(each, effects.Spawn):
                about = {"at": 0.0, "generation": each.generation, "run": each.run}
                yield events.Spawned(**about, process=Process(each.generation, each.run), release=each.release)
                yield events.SpawnFailed(**about, failure=Failure(Reason.SPAWN_FAILED))


def _is_spawn(effect: effects.Effect, event: events.GenerationEvent) -> bool:
    return isinstance(effect, effects.Spawn) and (effect.generation, effect.run) == (event.generation, event.run)


def _without(outstanding: tuple[effects.Effect, ...], done: effects.Effect) -> tuple[effects.Effect, ...]:
    at = outstanding.index(done)
    return outstanding[:at] + outstanding[at + 1 :]


def _seen(watch: object) -> Iterator[events.Event]:
    match watch:
        case VerifyRelease():
            for each in RELEASES:
                yield events.Verified(at=0.0, handoff=watch.handoff, release=each, policy=POLICY)
            yield events.Verified(at=0.0, handoff=watch.handoff, release=RELEASES[1], policy=NO_PROBATION)
            yield events.Refused(at=0.0, handoff=watch.handoff, failure=Failure(Reason.BAD_RELEASE))
        case AwaitReady():
            about = {"at": 0.0, "generation": watch.generation, "run": watch.run}
            yield events.Spoke(**about, how="pipe")
            yield events.Ready(**about, how="pipe")
            yield events.NotReady(**about, failure=Failure(Reason.CLOSED_READY))
        case AwaitExit():
            yield events.Exited(at=0.0, generation=watch.generation, run=watch.run, exit=Exit(status=1))
        case AwaitQuiet():
            yield events.Quiet(at=0.0, generation=watch.generation, run=watch.run)
        case AwaitReleased():
            yield events.Released(at=0.0, generation=watch.generation, run=watch.run)


def _asks(asked: int) -> Iterator[events.Event]:
    name = str(asked)
    yield events.Asked(at=0.0, request=Request(id=name))
    yield events.Asked(at=0.0, request=Request(id=name, ask=Ask.ROLLBACK))
    yield events.AbortAsked(at=0.0, request=Request(id=name))
    yield events.StopAsked(at=0.0)
    yield events.LeaveAsked(at=0.0)


# ---- what must never be true


def check_effect(world: World, effect: effects.Effect) -> None:
    """Judge an effect at the moment that it is asked for."""
    state = world.state
    running = state.mode is Mode.RUNNING
    match effect:
        case effects.Tell():
            told = state.find(effect.generation)
            assert told is not None
            assert told.role is Role.DRAINING, "only who drains is told to end"
            if running and told.sockets is not None and not state.borrowed(told):
                assert told.sockets != world.kernel, "nobody drains before steering is acknowledged"
        case effects.Kill():
            killed = state.find(effect.generation)
            if killed is not None and running and killed.life is Life.KILLED and killed.role is not Role.DRAINING:
                assert killed.ready_at is None, "what serves is not killed"
        case effects.CloseSockets():
            assert effect.sockets in world.open, "sockets are closed once"
            if running:
                assert effect.sockets != world.kernel, "the sockets that the kernel steers to stay open"
        case effects.LetGo():
            assert (effect.generation, effect.run) in world.alive, "only a held process is let go"
        case effects.Steer():
            assert effect.sockets in world.open, "steered to open sockets only"
        case _:
            pass


def check(world: World) -> None:
    """Judge the whole of a world between two events."""
    state = world.state
    _check_service(world)
    _check_processes(world)
    for each in state.generations:
        _check_deadline(world, each.number)
    _check_handoff(world)


def _check_service(world: World) -> None:
    state = world.state
    if state.mode is not Mode.RUNNING:
        return
    serving = list(state.with_role(Role.SERVING))
    assert len(serving) == 1, "one generation serves, always"
    assert serving[0].sockets in world.open, "its sockets are open"
    assert len(list(state.with_role(Role.STANDBY))) <= 1
    assert len(list(state.with_role(Role.CANDIDATE))) <= 1
    assert world.kernel in world.open
    draining = [each for each in state.with_role(Role.DRAINING) if each.life not in {Life.KILLED, Life.SPAWNING}]
    assert len(draining) <= state.policy.drain_limit, "drains are capped"
    if state.handoff is None:
        assert world.kernel == serving[0].sockets, "between handoffs the kernel steers to who serves"
        assert {each.role for each in state.generations} <= {Role.SERVING, Role.DRAINING}
        assert state.pending is None, "a kept request is taken up at once"


def _check_processes(world: World) -> None:
    known = {(each.number, each.run) for each in world.state.generations if each.process is not None}
    lost = world.alive - known
    assert lost <= world.told, "nothing is started and forgotten"
    if world.state.mode is Mode.RUNNING:
        assert not lost, "nothing that lives is dropped"


def _check_deadline(world: World, number: int) -> None:
    state = world.state
    each = state.find(number)
    assert each is not None
    match each.life:
        case Life.DOWN if each.role in {Role.SERVING, Role.STANDBY} and state.mode is Mode.RUNNING:
            assert each.until is not None or state.lent(each), "what should live is started again"
        case Life.SPAWNING:
            assert any(
                isinstance(wanted, effects.Spawn) and (wanted.generation, wanted.run) == (number, each.run)
                for wanted in world.outstanding
            ), "a spawn is under way"
        case Life.STARTING | Life.ENDING | Life.KILLED:
            assert each.until is not None, "every wait ends somewhere"
        case Life.READY if each.role is Role.DRAINING:
            assert each.until is not None, "every wait ends somewhere"
        case _:
            pass


def _check_handoff(world: World) -> None:
    state, handoff = world.state, world.state.handoff
    if handoff is None or state.mode is not Mode.RUNNING:
        return
    assert state.find(handoff.predecessor) is not None
    candidate = state.find(handoff.candidate)
    if handoff.phase is not Phase.VERIFY:
        assert candidate is not None
    steering = any(isinstance(each, effects.Steer) for each in world.outstanding)
    match handoff.phase:
        case Phase.START:
            assert candidate is not None
            assert candidate.life is Life.SPAWNING
        case Phase.READY:
            assert candidate is not None
            assert candidate.life is Life.STARTING
        case Phase.SHIFT:
            assert steering, "a shift is being asked for"
        case Phase.PROBATION | Phase.SETTLE:
            assert handoff.until is not None, "every wait ends somewhere"
            assert candidate is not None
            assert candidate.role is Role.SERVING
            assert candidate.life is Life.READY
        case Phase.RETURN:
            assert steering or handoff.until is not None, "the way back ends somewhere"
        case _:
            pass
