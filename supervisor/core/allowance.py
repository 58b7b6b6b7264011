"""How often something may happen: so many times at once, and then one for each while."""

from __future__ import annotations

from msgspec import Struct

from supervisor.core.value import replace


class Allowance(Struct, frozen=True, kw_only=True):
    """Used up by each time, and refilled by time passing."""

    most: int
    """At once."""
    every: float
    """Seconds in which one more is to be had."""
    used: float = 0.0
    at: float = 0.0
    """When that was, in seconds of a clock that does not go back."""

    def less_one(self, now: float) -> Allowance | None:
        """What is left when one is taken; None if there is none to be had now."""
        used = max(0.0, self.used - (now - self.at) / self.every)
        return replace(self, used=used + 1.0, at=now) if used <= self.most - 1 else None
