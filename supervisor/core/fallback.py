"""A release that fails too often after its commit is left for the last good one, and put in quarantine.

Theory of operation. What counts is a failure of the release that is committed: its process dies though nobody has told
it to, or the kernel kills another of its processes for want of memory, or it hangs or fails its probe while it serves
(`health`). It does not count that a candidate fails, which is its handoff's affair, that somebody is told to end, or
that one is recycled. A process that was found to hang and then dies has failed once, and so has one that dies as soon
as processes of it have been killed, for it may have been among them. As many of the last failures are kept as are too
many, and whoever is committed begins with none.

When that many lie within the window, and nothing is under way and nobody has asked for anything, the service itself
asks for a handoff to the last release that served well: another file of another content, by what it ran by. That is a
handoff by all the usual phases, so the restarts go on until a candidate is there, and if none gets ready nothing is
given up. With the commit the release that was left is in quarantine, and it is none of those that served well any
more. So each release is gone back from once, and each is gone back to by those after it alone: two bad ones cannot
send the service back and forth.

If the one that is gone back to cannot be had, it is crossed out, and the one before it is next. If there is none the
restarts go on as ever. If it does not get ready, or somebody aborts, failures are counted anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import events, handoff
from supervisor.core.health import committed, one_failure
from supervisor.core.model import Ask, Mode, Reason, Request
from supervisor.core.outcome import Result
from supervisor.core.record import span
from supervisor.core.value import replace

if TYPE_CHECKING:
    from supervisor.core.model import Generation, Handoff, State
    from supervisor.core.record import Served
    from supervisor.core.turn import Turn

_OOM_KILLED = "the kernel killed processes of it, as memory was out"


def count(turn: Turn, before: State, event: events.Event) -> None:
    """Remember it if the step was a failure of who is committed, or the end of a way back."""
    _count_end(turn, before.handoff)
    state, policy = turn.state, turn.state.policy
    if policy.rollback_after and _is_failure(before, state, event):
        recent = [each for each in state.record.deaths if turn.at - each < policy.rollback_within]
        deaths = (*recent, turn.at)[-policy.rollback_after :]
        turn.state = replace(state, record=replace(state.record, deaths=deaths))


def _count_end(turn: Turn, ended: Handoff | None) -> None:
    state = turn.state
    if ended is None or ended.request.ask is not Ask.FALLBACK or state.handoff is not None:
        return
    assert state.concluded is not None
    failure = state.concluded.failure
    passes = failure is not None and failure.reason is Reason.NO_MEANS
    if state.concluded.result is Result.REFUSED and ended.goal is not None and not passes:
        turn.state = replace(state, record=state.record.given_up(ended.goal))
    else:
        turn.state = replace(state, record=replace(state.record, deaths=()))


def _is_failure(before: State, after: State, event: events.Event) -> bool:
    if not isinstance(event, (events.Exited, events.Ailing, events.OomKilled)):
        return False
    was, now = before.find(event.generation), after.find(event.generation)
    if was is None or was.run != event.run or was.process is None:
        return False
    if not was.health.fit or not committed(before, was):
        return False
    match event:
        case events.Exited():
            return not one_failure(was, event.at)
        case events.Ailing():
            return now is not None and not now.health.fit and not one_failure(was, event.at)
        case _:
            return now is not None and now.health.oom_at != was.health.oom_at


def goal_of(state: State) -> Served | None:
    """The last release that served well; None: there is none but the present one."""
    return None if state.serving is None else next(iter(state.record.ways_back(state.serving.release)), None)


def stuck(state: State, at: float) -> bool:
    """Whether who serves has failed too often, and there is nobody to go back to."""
    busy = state.handoff is not None or state.mode is not Mode.RUNNING or state.serving is None
    return not busy and state.record.fails(state.policy, at) and goal_of(state) is None


def take_up(turn: Turn) -> None:
    """Ask for the way back if it is due. Who has asked for anything comes first."""
    state, serving = turn.state, turn.state.serving
    if state.mode is not Mode.RUNNING or state.handoff is not None or state.pending is not None or serving is None:
        return
    goal = goal_of(state)
    if goal is None or not state.record.fails(state.policy, turn.at):
        return
    deaths = state.record.deaths
    because = f"it failed {_times(len(deaths))} within {span(turn.at - deaths[0])}, in the end: {_seen(serving)}"
    request = Request(id=f"fallback-{state.last_handoff + 1}", ask=Ask.FALLBACK, way="deaths", because=because)
    handoff.begin(turn, request, goal)


def _seen(serving: Generation) -> str:
    """How it has failed last."""
    if serving.health.ailment is not None:
        return str(serving.health.ailment)
    return str(serving.last_exit) if serving.health.oom_at is None else _OOM_KILLED


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
