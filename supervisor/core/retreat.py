"""The ways back of a handoff: before the shift, after it, and where the two generations exclude each other.

Never into nothing: nobody who accepts is given up for somebody who does not, unless the two may not run at one time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import events, generation
from supervisor.core.course import candidate_of, conclude, enter, failure_in, predecessor_of
from supervisor.core.effects import Refuse, Steer
from supervisor.core.model import Failure, Life, Phase, Reason, Role
from supervisor.core.outcome import Result
from supervisor.core.policy import STEER_AGAIN
from supervisor.core.value import replace

if TYPE_CHECKING:
    from supervisor.core.events import Event
    from supervisor.core.model import Handoff
    from supervisor.core.turn import Turn

_DIED_ON_THE_WAY = "the old generation died before it had taken over again, and the new one serves on: ask again"
_LENT = "the old generation's process has died, and the new one has its sockets: ask for a rollback after the commit"
_STARTS_AGAIN = "the old generation's process has died and is started again: ask again when it is ready"


# ---- before the shift


def undo(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Nobody was sent to the candidate: it goes, and nothing else has happened."""
    candidate = candidate_of(turn, handoff)
    failure = failure_in(event)
    if failure.reason is Reason.TIMED_OUT and candidate.spoke is not None:
        failure = Failure(Reason.NOT_ACCEPTING, f"said so by {candidate.spoke}")
    elif failure.reason is Reason.TIMED_OUT:
        allowed = generation.policy_for(turn.state, candidate).ready_timeout
        silence = f"nothing was heard of it in {allowed:g} s (ready.timeout)"
        failure = Failure(Reason.TIMED_OUT, candidate.seen or silence)
    if handoff.exclusive and candidate.life is not Life.DOWN:
        _withdraw(turn, replace(handoff, failure=failure), event)
        return
    conclude(turn, handoff, Result.ROLLED_BACK, failure)
    generation.discard(turn, candidate)
    _resume(turn, handoff.predecessor)


def _resume(turn: Turn, predecessor: int) -> None:
    """A generation that had lent its sockets while it was down is started again."""
    found = turn.state.find(predecessor)
    if found is not None and found.life is Life.DOWN and found.until is None:
        turn.enter(found, Life.DOWN, turn.at)


# ---- after the shift


def go_back(turn: Turn, handoff: Handoff, event: Event) -> None:
    """New connections go to the standby again; the candidate is let go when the kernel has acknowledged."""
    predecessor = predecessor_of(turn, handoff)
    assert predecessor.sockets is not None
    failure = failure_in(event)
    if failure.reason in {Reason.DIED, Reason.EXEC_FAILED}:
        failure = replace(failure, reason=Reason.DIED_IN_PROBATION)
    turn.put(replace(candidate_of(turn, handoff), role=Role.CANDIDATE, until=None))
    turn.put(replace(predecessor, role=Role.SERVING))
    enter(turn, _asked_by(replace(handoff, failure=failure), event), Phase.RETURN)
    turn.emit(Steer(handoff.number, predecessor.sockets))
    _resume(turn, predecessor.number)


def abort_probation(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Never abort into nothing, but where the two exclude each other there is no other way."""
    assert isinstance(event, (events.AbortAsked, events.Asked))
    predecessor = predecessor_of(turn, handoff)
    if handoff.exclusive:
        _withdraw(turn, replace(handoff, failure=failure_in(event)), event)
    elif predecessor.life is Life.READY:
        go_back(turn, handoff, event)
    else:
        why = _LENT if turn.state.lent(predecessor) else _STARTS_AGAIN
        turn.emit(Refuse(event.request, Failure(Reason.NO_WAY_BACK, why)))


def leave_who_ails(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Only for one that is well: else the candidate stays, and is replaced when this is over."""
    predecessor = predecessor_of(turn, handoff)
    if not predecessor.health.fit:
        return
    if handoff.exclusive:
        _withdraw(turn, replace(handoff, failure=failure_in(event)), event)
    elif predecessor.life is Life.READY:
        go_back(turn, handoff, event)


def steer_again(turn: Turn, handoff: Handoff, event: Event) -> None:
    """There is nothing else to do than to try again."""
    del event
    sockets = predecessor_of(turn, handoff).sockets
    assert sockets is not None
    turn.put_handoff(replace(handoff, until=None))
    turn.emit(Steer(handoff.number, sockets))


def wait_to_steer(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The kernel would not; it may have memory for a program a moment later, unless it never sent anybody elsewhere."""
    assert isinstance(event, events.SteerFailed)
    sockets = predecessor_of(turn, handoff).sockets
    if event.sockets != sockets:
        return
    if _leads_to_nobody(turn, handoff):
        _turn_round(turn, handoff)
        return
    if turn.state.target == sockets:
        _end_back(turn, handoff)
        return
    turn.put_handoff(replace(handoff, until=turn.at + STEER_AGAIN))


def returned(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The kernel has acknowledged."""
    if not isinstance(event, events.Steered) or event.sockets != predecessor_of(turn, handoff).sockets:
        return
    if _leads_to_nobody(turn, handoff):
        _turn_round(turn, handoff)
        return
    _end_back(turn, handoff)


def _end_back(turn: Turn, handoff: Handoff) -> None:
    """Everybody goes to the old generation, who serves as if nothing had been."""
    candidate = candidate_of(turn, handoff)
    if candidate.life is Life.DOWN:
        _clear_drained(turn)
    generation.retire(turn, candidate)
    _resume(turn, handoff.predecessor)
    conclude(turn, handoff, Result.ROLLED_BACK, handoff.failure)


def predecessor_gone(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The old one has died on the way back. What the kernel has been asked for is answered first."""
    del event
    if handoff.until is not None and _leads_to_nobody(turn, handoff):
        _turn_round(turn, handoff)


def _leads_to_nobody(turn: Turn, handoff: Handoff) -> bool:
    """Whether the way back would give up who accepts for who has died."""
    return candidate_of(turn, handoff).life is Life.READY and predecessor_of(turn, handoff).life is not Life.READY


def _turn_round(turn: Turn, handoff: Handoff) -> None:
    """Connections are to go to the candidate after all; those who wanted it undone are told."""
    sockets = candidate_of(turn, handoff).sockets
    assert sockets is not None
    undone = (handoff.undone_by,) if handoff.undone_by is not None else ()
    for request in (*handoff.aborted_by, *undone):
        turn.emit(Refuse(request, Failure(Reason.NO_WAY_BACK, _DIED_ON_THE_WAY)))
    enter(turn, replace(handoff, failure=None, undone_by=None, aborted_by=()), Phase.SHIFT)
    turn.emit(Steer(handoff.number, sockets))


def _clear_drained(turn: Turn) -> None:
    """The kernel moves a dead generation's queue to any other socket of the group: only those that accept may stay."""
    for each in list(turn.state.with_role(Role.DRAINING)):
        if each.life in {Life.ENDING, Life.KILLED}:
            turn.close_sockets(each)


# ---- where the two exclude each other


def take_up_again(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The old one has been told to end: it is started again as soon as it has."""
    enter(turn, _asked_by(replace(handoff, failure=failure_in(event)), event), Phase.WITHDRAW)


def _withdraw(turn: Turn, handoff: Handoff, event: Event) -> None:
    candidate = turn.put(replace(candidate_of(turn, handoff), role=Role.CANDIDATE))
    turn.put(replace(predecessor_of(turn, handoff), role=Role.SERVING))
    enter(turn, _asked_by(handoff, event), Phase.WITHDRAW)
    generation.give_way(turn, candidate)


def withdrawn(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Once neither has a process, the old one is started again."""
    del event
    candidate = turn.state.find(handoff.candidate)
    if any(each is not None and each.life is not Life.DOWN for each in (candidate, predecessor_of(turn, handoff))):
        return
    conclude(turn, handoff, Result.ROLLED_BACK, handoff.failure)
    if candidate is not None:
        turn.drop(candidate)
    _resume(turn, handoff.predecessor)


# ---- who asked for it


def join(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Asked for on the way back, it is under way already. Of those who ask for a rollback the last is told."""
    if isinstance(event, events.Asked) and handoff.undone_by is not None:
        turn.emit(Refuse(handoff.undone_by, Failure(Reason.DISPLACED, f"request {event.request.id}")))
    turn.put_handoff(_asked_by(handoff, event))


def _asked_by(handoff: Handoff, event: Event) -> Handoff:
    match event:
        case events.AbortAsked():
            return replace(handoff, aborted_by=(*handoff.aborted_by, event.request))
        case events.Asked():
            return replace(handoff, undone_by=event.request)
        case _:
            return handoff
