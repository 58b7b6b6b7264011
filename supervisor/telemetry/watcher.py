"""The watcher: looks at the queues of every listener while a handoff is under way, and at no other time.

No event tells of a queue's length, so it is looked at: often when something has just changed, then ever less, and never
so often that the looks themselves take more than a small share of the processor.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from supervisor.errors import HostError
from supervisor.telemetry.queues import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisor.linux.listener import Listener
    from supervisor.linux.listeners import Listeners

FINE = 0.005
"""Seconds from look to look when something has just changed."""
COARSE = 0.1
"""Seconds from look to look at the most."""
EASE = 0.1
"""The pause in between is that much of the time since the change: a queue that grows does so right after it."""

_SHARE = 0.05
"""Of the processor, at most: a host with very many listeners is looked at less often."""


class Alarm(Protocol):
    """What is to ring."""

    def cancel(self) -> None:
        """It is not to ring any more."""


class Clock(Protocol):
    """By what it goes."""

    def now(self) -> float:
        """Seconds, from some time on."""

    def later(self, pause: float, ring: Callable[[], None]) -> Alarm:
        """Have that done in so many seconds."""


class _TheHosts:
    """The host's clock, and the alarms of the event loop that runs."""

    def now(self) -> float:
        """CLOCK_MONOTONIC: the loop's own time stands still while something is being done."""
        return time.monotonic()

    def later(self, pause: float, ring: Callable[[], None]) -> Alarm:
        """By the loop."""
        return asyncio.get_running_loop().call_later(pause, ring)


class Watcher:
    """Looks from its making until `end`."""

    def __init__(self, listeners: Listeners, sets: Callable[[], Iterable[int]], clock: Clock | None = None) -> None:
        """`sets` tells which sets of sockets clients are sent to, or were: in others only a probe of ours can wait."""
        self._listeners = listeners
        self._sets = sets
        self._clock = _TheHosts() if clock is None else clock
        self._names: dict[Listener, tuple[str, str]] = {}
        self._queues: dict[tuple[Listener, int], Queue] = {}
        self._looks = 0
        self._looked = self._changed = self._clock.now()
        self._widest = 0.0
        self._pause = FINE
        self._timer: Alarm | None = None
        self._look()
        self.attend()

    def attend(self) -> None:
        """Something has changed: look often at first."""
        self._changed = self._clock.now()
        self._arm()

    def end(self) -> dict[str, Any]:
        """Look for the last time, and tell what was seen."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._look()
        return {
            "listeners": [self._figures(listener, *names) for listener, names in self._names.items()],
            "looks": self._looks,
            "resolution": round(self._widest, 4),
        }

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        since = self._clock.now() - self._changed
        self._timer = self._clock.later(max(self._pause, min(COARSE, since * EASE)), self._look_again)

    def _look_again(self) -> None:
        self._look()
        self._arm()

    def _look(self) -> None:
        now = self._clock.now()
        lengths = dict.fromkeys(self._queues, 0)
        for member in self._sets():
            for name, listener in self._listeners.of(member):
                if listener not in self._names:
                    self._names[listener] = (name, str(listener))
                length = _length(listener, member)
                if length is not None:
                    lengths[listener, member] = length
        took = self._clock.now() - now
        for which, length in lengths.items():
            self._queue(which).look(now, length, took)
        self._looks += 1
        self._widest = max(self._widest, now - self._looked)
        self._looked = now
        self._pause = max(FINE, took / _SHARE)

    def _queue(self, which: tuple[Listener, int]) -> Queue:
        """One that is new had no clients when the others were looked at last."""
        if which not in self._queues:
            self._queues[which] = Queue()
            if self._looks:
                self._queues[which].look(self._looked, 0)
        return self._queues[which]

    def _figures(self, listener: Listener, name: str, address: str) -> dict[str, Any]:
        mine = {member: queue for (whose, member), queue in self._queues.items() if whose is listener}
        about = {"name": name, "address": address}
        if not mine:
            return {**about, "deepest": None, "longest_wait": None, "at_most": None, "generation": None}
        slowest = max(mine, key=lambda member: (mine[member].longest, mine[member].deepest))
        longest, deepest = mine[slowest].longest, max(queue.deepest for queue in mine.values())
        return {
            **about,
            "deepest": deepest,
            "longest_wait": round(longest.seen, 4),
            "at_most": round(longest.at_most, 4),
            "generation": slowest if deepest else None,
        }


def _length(listener: Listener, member: int) -> int | None:
    """None: it cannot be told, of this kind or not now."""
    try:
        length: int | None = listener.queue(member)
    except (OSError, HostError, LookupError, NotImplementedError):
        return None
    return length
