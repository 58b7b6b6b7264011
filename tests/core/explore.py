"""Every order of events, to a depth."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from msgspec import Struct

from tests.core.invariants import take

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.core.events import Event
    from tests.core.world import Bounds, World

    Judge = Callable[[World, Event, World], None]


class InvariantError(AssertionError):
    """An invariant does not hold, with the shortest order of events that shows it."""


class Explored(Struct, frozen=True):
    """What an exploration has met."""

    worlds: tuple[World, ...]
    steps: int
    near: tuple[World, ...]
    """The first of these worlds, to the depth that was asked for."""
    changes: tuple[tuple[World, Event, World], ...]
    """The first of these steps, likewise: before, what happened, after, with its times."""


def explore(start: World, *, depth: int, bounds: Bounds, judge: Judge | None = None, near: int = 0) -> Explored:
    """Walk every order of at most `depth` events, breadth first, so that what breaks is shown at its shortest."""
    gc.disable()  # nothing in a world leads back to itself, and to look through all of them was a fifth of the time
    try:
        return _explored(start, depth, bounds, judge, near)
    finally:
        gc.enable()


def _explored(start: World, depth: int, bounds: Bounds, judge: Judge | None, near: int) -> Explored:
    start = start.timeless()
    came_from: dict[World, tuple[World, Event] | None] = {start: None}
    edge, steps, met = [start], 0, 1
    changes: list[tuple[World, Event, World]] = []
    for at in range(depth):
        following: list[World] = []
        for world in edge:
            for event in world.possible(bounds):
                steps += 1
                changed = _take(world, event, came_from, judge)
                if at < near:
                    changes.append((world, event, changed))
                after = changed.timeless()
                if after not in came_from:
                    came_from[after] = (world, event)
                    following.append(after)
        edge = following
        if at < near:
            met = len(came_from)
    worlds = tuple(came_from)
    return Explored(worlds, steps, worlds[:met], tuple(changes))


def _take(world: World, event: Event, came_from: dict[World, tuple[World, Event] | None], judge: Judge | None) -> World:
    try:
        after = take(world, event)
        if judge is not None:
            judge(world, event, after)
    except AssertionError as broken:
        path = [event]
        before = came_from[world]
        while before is not None:
            path.insert(0, before[1])
            before = came_from[before[0]]
        story = "\n".join(f"  {_said(each)}" for each in path)
        raise InvariantError(f"{broken}\nafter\n{story}\nin {world}") from broken
    return after


def _said(event: Event) -> str:
    """An event without what fills a page: releases, policies, times."""
    told = [(name, getattr(event, name)) for name in event.__struct_fields__]
    about = [f"{name} {getattr(value, 'id', value)}" for name, value in told if name not in {"at", "policy", "process"}]
    return ", ".join([type(event).__name__, *about])
