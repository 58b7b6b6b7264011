"""Times of the state in the words of people: how long ago, and when, with how long until then."""

from __future__ import annotations

import time

from msgspec import Struct


class Clock(Struct, frozen=True):
    """The monotonic clock's now, and what to add to it for seconds since 1970."""

    now: float
    offset: float

    def wall(self, at: float) -> float:
        """Seconds since 1970."""
        return round(at + self.offset, 3)

    def since(self, at: float) -> str:
        """How long ago: `4.2 s`, `3 min`."""
        return _span(self.now - at)

    def at(self, at: float) -> str:
        """A time to come: `at 12:00:31 (25.8 s)`."""
        return f"at {time.strftime('%H:%M:%S', time.localtime(at + self.offset))} ({_span(at - self.now)})"


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.1f} s"
