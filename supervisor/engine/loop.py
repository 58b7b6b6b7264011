"""The loop: the single writer of the state.

Event in, `step`, journal, effects, and then what should be going on is compared with what goes on. Everything happens
in one thread and in this order; an effect that has an answer posts it as the next event. What can wait does: a state
that no durable effect depends on is written a moment later, and people are told when nothing else is left to be done.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

import structlog
from msgspec import Struct

from supervisor.core.due import deadlines, watches
from supervisor.core.effects import Kept
from supervisor.core.step import step
from supervisor.core.value import replace

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    from supervisor.core.due import Watch
    from supervisor.core.effects import Effect
    from supervisor.core.events import Event
    from supervisor.core.model import State


class Hands(Protocol):
    """Does what the core wants done."""

    def perform(self, effect: Effect) -> None:
        """Do it now; what comes of it is posted as an event."""


class Looks(Protocol):
    """Looks at what the core wants looked at."""

    def begin(self, watch: Watch) -> Callable[[], None]:
        """Begin to look; what is seen is posted as an event. Returns how to stop."""


class Record(Protocol):
    """Keeps the state where it outlives us."""

    fault: str | None
    """Why what was written last is not there."""

    def write(self, state: State, *, synced: bool) -> None:
        """Write it; `synced`: not before it is on disk does this return."""


class Step(Struct, frozen=True):
    """One step that was taken."""

    before: State
    event: Event
    after: State
    effects: tuple[Effect, ...]


_log = structlog.get_logger()


class Engine:
    """Drives one state through its events."""

    def __init__(
        self, state: State, loop: asyncio.AbstractEventLoop, record: Record, observe: Callable[[Step], None]
    ) -> None:
        """`observe` is called with each step, in order, some time after it has been done."""
        self.state = state
        self._loop = loop
        self._record = record
        self._observe = observe
        self._hands: Hands
        self._looks: Looks
        self._events: deque[Event] = deque()
        self._busy = False
        self._untold: deque[Step] = deque()
        self._tells = False
        self._unwritten = False
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._watches: dict[Watch, Callable[[], None]] = {}

    def connect(self, hands: Hands, looks: Looks) -> None:
        """Give it what acts for it. They post to it, so they come after it."""
        self._hands, self._looks = hands, looks

    def resume(self, was: State, event: Event, effects: tuple[Effect, ...]) -> None:
        """Go on from what an earlier supervisor has written, with what is to be done first."""
        self._busy = True
        try:
            self._record.write(self.state, synced=True)
            self._carry_out(was, event, effects)
            self._go_on()
        finally:
            self._busy = False
        self._take_all()

    def settle(self) -> str | None:
        """Put all that is known on disk, and tell what has not been told yet. Why it is not there, if it is not."""
        self._tell()
        self._record.write(self.state, synced=True)
        return self._record.fault

    @staticmethod
    def now() -> float:
        """The clock that all events are stamped with: CLOCK_MONOTONIC, in seconds."""
        return time.monotonic()

    def post(self, event: Event) -> None:
        """Something happened. It is dealt with before this returns, unless another event is being dealt with."""
        self._events.append(event)
        if self._busy:
            return
        self._take_all()

    def rehearse(self, event: Event) -> None:
        """Work out what this would lead to, and forget it: done again soon, that takes half of the time.

        What has not been run for a while is in none of the processor's caches, and the core is pure.
        """
        step(self.state, event)

    def answer(self, watch: Watch, event: Event) -> None:
        """A watch has seen what it was for. If the state after that asks for it again, it begins anew."""
        self._watches.pop(watch, None)
        self.post(event)

    def _take_all(self) -> None:
        self._busy = True
        try:
            while self._events:
                self._take_those_here()
        finally:
            self._busy = False

    def _take_those_here(self) -> None:
        """What goes on is compared after all of them: a process that has just been made is let go before that."""
        changed = False
        try:
            while self._events:
                changed |= self._take(self._events.popleft())
        finally:
            if changed:
                self._go_on()

    def _take(self, event: Event) -> bool:
        before = self.state
        self.state, effects = step(before, event)
        changed = self.state != before or bool(effects)
        if changed:
            self._carry_out(before, event, effects)
        return changed

    def _carry_out(self, before: State, event: Event, effects: tuple[Effect, ...]) -> None:
        self._write(effects)
        for effect in effects:
            self._perform(effect)
        if any(effect.moves_sockets for effect in effects):
            self._unwritten = True
        self._untold.append(Step(before, event, self.state, effects))

    def _perform(self, effect: Effect) -> None:
        try:
            self._hands.perform(effect)
        except Exception:  # noqa: BLE001 - a bug in one effect must not keep the others from being done
            _log.critical("bug", what=f"an effect failed: {effect}", exc_info=True)

    def _write(self, effects: tuple[Effect, ...]) -> None:
        kept = max((effect.after for effect in effects), default=Kept.NOTHING)
        if kept is not Kept.NOTHING:
            self._record.write(self.state, synced=kept is Kept.SYNCED)
        self._unwritten = kept is Kept.NOTHING

    def _go_on(self) -> None:
        """Arm, and then have people told: a look that can begin at once comes before they hear that it does."""
        try:
            self._arm()
        finally:
            if not self._tells:
                self._tells = True
                self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        """Nobody hears of what the next supervisor would not know."""
        self._tells = False
        if self._unwritten:
            self._unwritten = False
            self._record.write(self.state, synced=False)
        while self._untold:
            step_taken = self._untold.popleft()
            try:
                self._observe(step_taken)
            except Exception:  # noqa: BLE001 - a bug in telling one step must not keep all later ones from being told
                _log.critical("bug", what=f"a step could not be told: {step_taken.event}", exc_info=True)

    def _arm(self) -> None:
        """Start and cancel, until what goes on is what the state asks for."""
        due = {deadline.event: deadline.event.at for deadline in deadlines(self.state)}
        for late in self._timers.keys() - due.keys():
            self._timers.pop(late).cancel()
        for event, at in due.items():
            if event not in self._timers:
                self._timers[event] = self._loop.call_later(max(0.0, at - self.now()), self._lapse, event)
        wanted = set(watches(self.state))
        for over in self._watches.keys() - wanted:
            self._watches.pop(over)()
        for watch in wanted - self._watches.keys():
            self._watches[watch] = self._looks.begin(watch)

    def _lapse(self, event: Event) -> None:
        self._timers.pop(event, None)
        self.post(replace(event, at=self.now()))
