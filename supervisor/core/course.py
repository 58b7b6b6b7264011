"""A handoff's course: who takes part, the one door into a phase, and the end, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import events
from supervisor.core.effects import Conclude
from supervisor.core.model import ANYWHERE, Ask, Failure, Reason
from supervisor.core.outcome import Outcome, Result
from supervisor.core.pointing import pointed
from supervisor.core.value import replace

if TYPE_CHECKING:
    from supervisor.core.events import Event
    from supervisor.core.model import Generation, Handoff, Phase
    from supervisor.core.record import Record
    from supervisor.core.turn import Turn


def enter(turn: Turn, handoff: Handoff, phase: Phase, until: float | None = None) -> Handoff:
    """The one door into a phase: whatever deadline the last one had is gone."""
    entered = replace(handoff, phase=phase, since=turn.at, until=until, phases=(*handoff.phases, (phase, turn.at)))
    turn.put_handoff(entered)
    return entered


def candidate_of(turn: Turn, handoff: Handoff) -> Generation:
    """The generation that is being brought up."""
    found = turn.state.find(handoff.candidate)
    assert found is not None, "a handoff past verify and yield has its candidate until it ends"
    return found


def predecessor_of(turn: Turn, handoff: Handoff) -> Generation:
    """The generation that served when the handoff began."""
    found = turn.state.find(handoff.predecessor)
    assert found is not None, "a handoff has its predecessor until it ends"
    return found


def conclude(turn: Turn, handoff: Handoff, result: Result, failure: Failure | None = None) -> None:
    """The end of a handoff, whatever its result."""
    candidate = turn.state.find(handoff.candidate)
    predecessor = predecessor_of(turn, handoff)
    outcome = Outcome(
        handoff=handoff.number,
        request=handoff.request,
        result=result,
        failure=failure,
        undone_by=handoff.undone_by,
        from_release=predecessor.release,
        to_release=candidate.release if candidate else handoff.release,
        from_generation=predecessor.number,
        to_generation=handoff.candidate,
        phases=handoff.phases,
        spoke_at=candidate.spoke_at if candidate else None,
        ended=turn.at,
        current=handoff.current,
    )
    turn.put_handoff(None)
    turn.state = replace(turn.state, concluded=outcome, record=_remembered(turn.state.record, handoff, outcome))
    turn.emit(*pointed(outcome), Conclude(outcome))


def _remembered(record: Record, handoff: Handoff, outcome: Outcome) -> Record:
    if handoff.request.ask is not Ask.UPGRADE or not outcome.has_failed:
        return record
    read = None if handoff.current == ANYWHERE else handoff.current
    meant = (handoff.request.version or read) if handoff.release is None else handoff.release.version
    return record if meant is None else record.failing(meant)


def failure_in(event: Event) -> Failure:
    """Why, as far as the event itself can tell."""
    match event:
        case events.Refused() | events.NotReady() | events.SpawnFailed() | events.Ailing():
            return event.failure
        case events.Exited():
            reason = Reason.EXEC_FAILED if event.exit.exec_failed else Reason.DIED
            return Failure(reason, "" if event.exit.exec_failed else str(event.exit))
        case events.SteerFailed():
            return Failure(Reason.STEERING_FAILED, event.detail)
        case events.AbortAsked() | events.Asked():
            return Failure(Reason.ABORTED)
        case events.StopAsked():
            return Failure(Reason.STOPPING)
        case _:
            return Failure(Reason.TIMED_OUT)
