"""One step being worked out: the state as it becomes, and the effects so far, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from supervisor.core.effects import CloseSockets
from supervisor.core.value import replace

if TYPE_CHECKING:
    from supervisor.core.effects import Effect
    from supervisor.core.model import Generation, Handoff, Life, State


class Turn(Struct, eq=False):
    """Lives as long as one call of `step`, and is the only thing in the core that changes."""

    state: State
    at: float
    effects: list[Effect] = field(default_factory=list)

    def emit(self, *effects: Effect) -> None:
        """Have these done, after those before them."""
        self.effects.extend(effects)

    def put(self, generation: Generation) -> Generation:
        """Add a generation, or set it in place of its former self."""
        others = [each for each in self.state.generations if each.number != generation.number]
        together = sorted([*others, generation], key=lambda each: each.number)
        self.state = replace(self.state, generations=tuple(together))
        return generation

    def enter(self, generation: Generation, life: Life, until: float | None = None) -> Generation:
        """The one door into a life: whatever deadline the last one had is gone."""
        return self.put(replace(generation, life=life, since=self.at, until=until))

    def put_handoff(self, handoff: Handoff | None) -> None:
        """Set the handoff under way."""
        self.state = replace(self.state, handoff=handoff)

    def drop(self, generation: Generation) -> None:
        """A generation is over; its sockets go with it unless another generation holds them too."""
        self.close_sockets(generation)
        kept = tuple(each for each in self.state.generations if each.number != generation.number)
        self.state = replace(self.state, generations=kept)

    def close_sockets(self, generation: Generation) -> None:
        """Take its sockets out of service, unless another generation holds them too."""
        current = self.state.find(generation.number)
        if current is None or current.sockets is None:
            return
        if not self.state.borrowed(current):
            clients = current.served or current.sockets != current.number
            self.emit(CloseSockets(current.sockets, migrate=self._all_accept_but(current), clients=clients))
        self.put(replace(current, sockets=None))

    def _all_accept_but(self, leaving: Generation) -> bool:
        others = [each for each in self.state.generations if each.sockets not in (None, leaving.sockets)]
        return bool(others) and all(each.accepts for each in others)
