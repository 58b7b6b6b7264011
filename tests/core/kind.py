"""A kind reality, in which nothing more goes wrong, and a stubborn one, in which no process ever ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import events
from supervisor.core.due import deadlines
from supervisor.core.model import Life, Mode
from supervisor.core.value import replace
from tests.core.invariants import take
from tests.core.world import EXCLUSIVE, POLICY, RELEASES, STORED, Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.core.world import World

    Reality = Callable[[World], Iterator[events.Event]]

GOOD = (events.Verified, events.Ready, events.Quiet, events.Released)
NEVER = Bounds(asks=0)
NEVER_TWO = Bounds(asks=0, found=((RELEASES[1], EXCLUSIVE),))
NEVER_FROM_A_STORE = Bounds(asks=0, found=((STORED[1], POLICY),))
ENOUGH = 60
"""Events after which a kind reality has calmed any world that the tests come to."""


def kindness(world: World) -> Iterator[events.Event]:
    """What happens at once where all goes well: everything works, and who is told to end does."""
    for each in world.answers():
        if isinstance(each, (events.Steered, events.Spawned)):
            yield each
    for each in world.sights(_bounds(world)):
        if isinstance(each, GOOD) or (isinstance(each, events.Exited) and _is_ending(world, each)):
            yield each


def _bounds(world: World) -> Bounds:
    if world.current is not None:
        return NEVER_FROM_A_STORE
    return NEVER_TWO if world.alone else NEVER


def stubbornness(world: World) -> Iterator[events.Event]:
    """The kernel answers, and no process ever ends."""
    return (each for each in world.answers() if isinstance(each, (events.Steered, events.Spawned)))


def _is_ending(world: World, event: events.Exited) -> bool:
    found = world.state.find(event.generation)
    return found is not None and found.life in {Life.ENDING, Life.KILLED}


def first_deadline(world: World) -> events.Event | None:
    """The deadline that passes next, at its own time. That somebody gets too old is none: it would never be calm."""
    due = (each.event for each in deadlines(world.state) if not isinstance(each.event, events.Ailing))
    return min(due, key=lambda event: event.at, default=None)


def onward(world: World, at: float, reality: Reality) -> Iterator[tuple[World, float]]:
    """The worlds that follow: what happens at once does, else the next deadline passes, in the order of time."""
    for _ in range(ENOUGH):
        event = next(reality(world), None)
        event = replace(event, at=at) if event is not None else first_deadline(world)
        if event is None or world.ended:
            return
        at = max(at, event.at)
        world = take(world, replace(event, at=at))
        yield world, at
    raise AssertionError(f"not calm after {ENOUGH} events: {world}")


def calm(world: World) -> bool:
    """One generation serves, and nothing else is, is wanted or is under way."""
    state = world.state
    if state.handoff is not None or state.pending is not None or len(state.generations) != 1 or world.outstanding:
        return False
    (only,) = state.generations
    return (
        only.life is Life.READY
        and only.health.ailment is None
        and world.kernel == only.sockets
        and world.alive == {(only.number, only.run)}
    )


def finished(world: World) -> bool:
    """A stop has come to its end."""
    return world.ended and world.state.mode is Mode.STOPPING and not world.state.generations
