"""The end of a supervisor at any instant, and what its successor finds: another thing that can happen to a world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core import effects, recovery
from supervisor.core.effects import Kept
from supervisor.core.model import Mode
from supervisor.core.step import step
from supervisor.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor.core.events import Event
    from supervisor.core.model import State
    from tests.core.world import World


class Wreck(Struct, frozen=True):
    """What there is when no supervisor is."""

    written: State
    """As the journal has it."""
    real: World
    """With all that has really been done, and nothing outstanding."""
    held: dict[tuple[int, int], int]
    """The set of sockets that each living process has."""


def wrecks(world: World, event: Event) -> Iterator[Wreck]:
    """The supervisor dies on its way from this world through that event, at each point that makes a difference."""
    state, wanted = step(world.state, event)
    kept = max((each.after for each in wanted), default=Kept.NOTHING)
    happened = world.happens(event)
    held = _held(world.state, state, happened)
    yield Wreck(world.state, _alone(happened), held)
    for done in range(len(wanted) + 1):
        real = _after(replace(happened, state=state), wanted[:done])
        yield Wreck(state, _alone(real), held)
        if kept is Kept.NOTHING:
            yield Wreck(world.state, _alone(real), held)


def _after(world: World, done: Iterable[effects.Effect]) -> World:
    for effect in done:
        world = world.perform(effect)
    return world


def _alone(world: World) -> World:
    """Who was held ends with the supervisor; what was asked for has been answered by the kernel, or never will be."""
    kernel = world.steers[-1].sockets if world.steers else world.kernel
    return replace(world, alive=world.alive & world.let_go, outstanding=(), kernel=kernel, owed=frozenset())


def _held(before: State, after: State, world: World) -> dict[tuple[int, int], int]:
    sets = {each.number: each.sockets for state in (after, before) for each in state.generations if each.sockets}
    return {run: sets[run[0]] for run in world.alive if run[0] in sets}


def fates(wreck: Wreck) -> Iterator[frozenset[tuple[int, int]]]:
    """Who lives on until the next supervisor looks: all, all but one, none."""
    alive = wreck.real.alive
    yield alive
    for each in sorted(alive):
        yield alive - {each}
    if len(alive) > 1:
        yield frozenset()


def found(wreck: Wreck, alive: frozenset[tuple[int, int]], *, stored: bool) -> recovery.Found:
    """What the next one finds. `stored`: somebody keeps every set of sockets that was open."""
    kept = {wreck.held[run] for run in alive if run in wreck.held}
    return recovery.Found(
        alive=alive,
        listening=frozenset(alive - wreck.real.told),
        exits={},
        sockets=wreck.real.open if stored else wreck.real.open & kept,
        told=0,
    )


def succeeded(wreck: Wreck, seen: recovery.Found) -> World:
    """The world in which the next supervisor begins, with its first effects done."""
    state, wanted = recovery.resumed(wreck.written, seen, at=0.0)
    runs = {(each.number, each.run) for each in state.generations if each.process is not None}
    world = replace(
        wreck.real,
        state=state,
        alive=seen.alive & runs,
        let_go=wreck.real.let_go & seen.alive & runs,
        told=wreck.real.told & seen.alive & runs,
        open=seen.sockets | {each.sockets for each in state.generations if each.sockets is not None},
        kernel=state.target,
        waiting=wreck.real.waiting | {state.target} if state.target is not None else wreck.real.waiting,
        ended=False,
    )
    assert state.mode is Mode.RUNNING
    assert len(wanted) == len(set(wanted)), "an effect is wanted once"
    return _after(world, wanted)
