"""One thing that waits, and why who serves is to be replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core.health import replaced_at

if TYPE_CHECKING:
    from supervisor.control.clock import Clock
    from supervisor.core.model import Generation, State


class Wait(Struct, frozen=True):
    """One thing that waits. `since` and `until` are of the clock that it was told by."""

    what: str
    why: str
    since: float | None = None
    until: float | None = None


def ailing(state: State, each: Generation, clock: Clock) -> Wait:
    """It serves as well as it can until a fresh copy of it is ready."""
    due = replaced_at(state)
    tried = f"{state.replacements} replacement{'' if state.replacements == 1 else 's'} in a row so far"
    if due is not None:
        then = f"a fresh copy of it is started {clock.at(due)} ({tried})"
    else:
        then = "it is replaced as soon as the handoff under way has ended, unless by that"
    why = f"it is to be replaced ({each.health.ailment}) and serves on as well as it can; {then}"
    return Wait(f"generation {each.number}", why, each.health.since, due)
