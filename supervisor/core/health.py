"""The health of what serves: a generation that ails is replaced by a fresh copy of itself, and not killed first.

Theory of operation. Who looks (`due`) tells that the serving generation hangs, fails its probe, or has grown too large
or too old. That is kept as its ailment until it dies, is replaced, or is seen to be well again. As soon as nothing is
under way and nobody has asked for anything, the service itself asks for a handoff: the same release, run as it was
run, by all the usual phases. What ails goes on serving as well as it can until the copy is ready, and is drained like
any other.

If no copy gets ready the old one stays, and the next is tried after a delay that grows with each attempt in a row. A
copy that ails as soon as it serves is one more in that row, so that nothing can make this a loop without a pause.
Health of some length, or another release, ends the row.

That the kernel has killed some process of a committed generation for want of memory is noted here and replaced by
nothing: whoever has lost a worker starts another. How often it may happen is `fallback`'s affair.

A candidate that ails on probation is gone back from, to a generation that is well. If the old one ails too, or has no
process, there is nothing to be had from that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import events, handoff
from supervisor.core.generation import policy_for
from supervisor.core.model import Ask, Life, Mode, Reason, Request, Role
from supervisor.core.policy import ONE_FAILURE, replace_after, well_enough
from supervisor.core.value import replace

if TYPE_CHECKING:
    from supervisor.core.model import Generation, State
    from supervisor.core.turn import Turn

RECYCLED = frozenset({Reason.OUTGROWN, Reason.AGED})
"""Reasons that are none to go back from a candidate: they wait until nothing is under way."""


def watched(state: State, generation: Generation) -> bool:
    """Whether it matters how it fares: it serves, and has shown that it can."""
    return state.mode is Mode.RUNNING and generation.role is Role.SERVING and generation.life is Life.READY


def committed(state: State, generation: Generation) -> bool:
    """Whether it is meant to live, and for its own sake: how it fails tells something of the release."""
    if state.mode is not Mode.RUNNING or generation.role not in {Role.SERVING, Role.STANDBY}:
        return False
    candidate = state.handoff is not None and state.handoff.candidate == generation.number
    return not candidate and not state.gives_way(generation)


def probed(state: State, generation: Generation) -> bool:
    """Whether it may be asked how it is: while a handoff is under way its candidate alone, or one were in the way."""
    return state.handoff is None or state.handoff.candidate == generation.number


def ages_at(state: State) -> float | None:
    """When who serves has done so for as long as it may; None where nothing follows from that now."""
    age, serving = state.policy.recycle_age, state.serving
    if age is None or serving is None or not watched(state, serving):
        return None
    busy = state.handoff is not None or serving.health.ailment is not None
    return None if busy or serving.ready_at is None else serving.ready_at + age


def replaced_at(state: State) -> float | None:
    """When the service asks for a replacement that has to wait; None if there is none."""
    return state.replace_at if _wanted(state) is not None else None


def step(turn: Turn, event: events.HealthEvent) -> bool:
    """Let one event happen to the generation that it is about. Returns whether anything follows from it."""
    found = turn.state.find(event.generation)
    if found is None or found.run != event.run:
        return False
    match event:
        case events.Pinged():
            return _pinged(turn, found, event)
        case events.Ailing():
            return _ailing(turn, found, event)
        case events.Well():
            return _well(turn, found, event)
        case events.OomKilled():
            return _oom_killed(turn, found, event)
        case events.ReplaceDue():
            return _due(turn, event)
        case _:
            raise AssertionError(event)


def count(turn: Turn, before: State) -> None:
    """A handoff may have ended with this step: if it was the service's own, the next one of these has to wait."""
    ended, state = before.handoff, turn.state
    if ended is None or state.handoff is not None:
        return
    if ended.request.ask is Ask.REPLACE:
        row = state.replacements + 1
        turn.state = replace(state, replacements=row, replace_at=turn.at + replace_after(row, state.policy))
    elif state.serving is not None and state.serving.number != ended.predecessor:
        turn.state = replace(state, replacements=0, replace_at=None)


def take_up(turn: Turn) -> None:
    """Ask for a replacement if one is wanted and none has to wait. Who has asked for anything else comes first."""
    ill = _wanted(turn.state)
    if ill is None or turn.state.replace_at is not None:
        return
    assert ill.health.ailment is not None
    way = "recycle" if ill.health.ailment.reason in RECYCLED else "health"
    request = Request(
        id=f"{way}-{turn.state.last_handoff + 1}", ask=Ask.REPLACE, way=way, because=str(ill.health.ailment)
    )
    handoff.begin(turn, request)


def _wanted(state: State) -> Generation | None:
    """Who is to be replaced, if nothing keeps the service from asking for that."""
    serving = state.serving
    if serving is None or not watched(state, serving) or serving.health.ailment is None:
        return None
    return serving if state.handoff is None and state.pending is None else None


def _pinged(turn: Turn, found: Generation, event: events.Pinged) -> bool:
    configured = policy_for(turn.state, found).watchdog
    if configured is None or found.process is None:
        return False
    before = found.health.watchdog
    period = event.period if event.period is not None else configured if before is None else before
    turn.put(replace(found, health=replace(found.health, watchdog=period)))
    return period != before


def _ailing(turn: Turn, found: Generation, event: events.Ailing) -> bool:
    state, health = turn.state, found.health
    if not watched(state, found) or health.ailment is not None or not _counts(state, found, event.failure.reason):
        return False
    well_since = health.since if health.since is not None else found.ready_at
    if well_since is not None and turn.at - well_since >= well_enough(state.policy):
        turn.state = replace(state, replacements=0)
    turn.put(replace(found, health=replace(health, ailment=event.failure, since=turn.at)))
    return True


def _counts(state: State, found: Generation, reason: Reason) -> bool:
    """Whether it is configured so, and the time for it."""
    match reason:
        case Reason.HUNG:
            return policy_for(state, found).watchdog is not None
        case Reason.UNHEALTHY:
            return probed(state, found)
        case _:
            return state.handoff is None


def _well(turn: Turn, found: Generation, event: events.Well) -> bool:
    state, health = turn.state, found.health
    if not watched(state, found) or health.ailment is None or health.ailment.reason is not event.reason:
        return False
    if not _counts(state, found, event.reason):
        return False
    turn.put(replace(found, health=replace(health, ailment=None, since=turn.at)))
    return True


def _oom_killed(turn: Turn, found: Generation, event: events.OomKilled) -> bool:
    if found.process is None or not committed(turn.state, found):
        return False
    health = found.health
    at = health.oom_at if one_failure(found, turn.at) else turn.at
    turn.put(replace(found, health=replace(health, oom_kills=health.oom_kills + event.count, oom_at=at)))
    return True


def one_failure(generation: Generation, at: float) -> bool:
    """Whether what happens to it now belongs to an OOM kill that has been counted: it dies, or loses another."""
    before = generation.health.oom_at
    return before is not None and at - before < ONE_FAILURE


def _due(turn: Turn, event: events.ReplaceDue) -> bool:
    if event.due != replaced_at(turn.state):
        return False
    turn.state = replace(turn.state, replace_at=None)
    return True
