"""What is seen of the generations when somebody asks: figures, queues, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from supervisor.control.explain import Sight
from supervisor.telemetry.sampler import Sample, sample

if TYPE_CHECKING:
    from supervisor.core.model import Generation, State
    from supervisor.daemon_ways import Ways
    from supervisor.engine.instances import Instances
    from supervisor.linux.listeners import Listeners


class Seen(NamedTuple):
    """Of one generation: its figures, the length of its queue, and what it says of itself."""

    figures: Sample | None
    queue: int | None
    saying: str


class Sights(Struct, frozen=True):
    """Looks at all generations of a state."""

    _instances: Instances
    _listeners: Listeners
    _ways: Ways

    def measured(self, state: State) -> dict[int, Seen]:
        """By generation."""
        return {each.number: self._measure(each) for each in state.generations}

    def sights(self, state: State, measured: dict[int, Seen]) -> dict[int, Sight]:
        """As `explain` takes them, by generation."""
        return {each.number: self._sight(each, measured[each.number]) for each in state.generations}

    def _measure(self, each: Generation) -> Seen:
        instance = self._instances.find(each.number)
        figures = None
        if instance is not None:
            figures = sample(self._instances.pids(each.number), *self._listeners.traces(), leaf=instance.leaf)
        held = each.sockets is not None and self._listeners.holds(each.sockets)
        queue = self._listeners.queue(each.sockets) if each.sockets is not None and held else None
        return Seen(figures, queue, instance.saying if instance else "")

    def _sight(self, each: Generation, seen: Seen) -> Sight:
        instance = self._instances.find(each.number)
        return Sight(
            connections=seen.figures.connections if seen.figures else None,
            queue=seen.queue,
            says=seen.saying,
            pipe_open=instance.channel.pipe_open if instance else None,
            unaccepting=self._ways.unaccepting(each.number, each.sockets),
        )
