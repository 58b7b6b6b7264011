"""From looks at a queue to figures: how deep it was, and how long nobody was accepted while somebody waited."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Wait(NamedTuple):
    """A stretch in which somebody waited and nobody was seen to be accepted, in seconds."""

    seen: float = 0.0
    """From the first look of it to the last: it was no shorter."""
    at_most: float = 0.0
    """From the look before it to the look after it: it was no longer."""


_NONE = Wait()


class Queue(Struct):
    """One queue, by looks at it in the order of time. Nothing is kept of a look but what it changed.

    An accept between two looks is seen where the queue is shorter at the second. A queue that has filled up again by
    then has hidden it, so that what is told of a busy one is rather too long than too short.
    """

    deepest: int = 0
    longest: Wait = _NONE
    _looked: float = 0.0
    _before: float | None = None
    """The look before the stretch that goes on; None: none goes on."""
    _since: float = 0.0
    _seen: float = 0.0
    """For how long the stretch that goes on, or went on last, has been seen."""
    _length: int | None = None

    def look(self, at: float, length: int, took: float = 0.0) -> None:
        """It was that long at some time from `at` on, for as long as the look took."""
        former, ended = self._length, at + took
        if self._before is not None and former is not None and length < former:
            self.longest = max(self.longest, Wait(self._seen, ended - self._before))
            self._before = None
        if length and self._before is None:
            self._since, self._before = ended, at if former is None else self._looked
        if self._before is not None:
            self._seen = max(0.0, at - self._since)
            self.longest = max(self.longest, Wait(self._seen, ended - self._before))
        self._looked, self._length = at, length
        self.deepest = max(self.deepest, length)
