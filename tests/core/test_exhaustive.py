"""Every order of events, to a depth: no state that can be reached breaks an invariant."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.core import events
from supervisor.core.model import Failure, Reason

from tests.core.world import NO_PROBATION, POLICY, World


def explore(start: World, *, depth: int, asks: int, allow: Callable[[World], bool] = lambda _: True) -> tuple[int, int]:
    """Walk every order of at most `depth` events. Returns the distinct worlds and the steps taken."""
    seen = {start}
    edge = [start]
    steps = 0
    for _ in range(depth):
        following: list[World] = []
        for world in edge:
            for event in world.possible(asks=asks):
                steps += 1
                try:
                    after = world.take(event)
                except AssertionError as broken:
                    raise AssertionError(f"{broken}\nevent {event}\nin {world.state}") from broken
                if after not in seen and allow(after):
                    seen.add(after)
                    following.append(after)
        edge = following
    return len(seen), steps
