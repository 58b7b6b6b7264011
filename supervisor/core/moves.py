"""What a handoff does on each of its moves. Which move is due when is `handoff`'s table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from supervisor.core import events, generation
from supervisor.core.effects import Conclude, Refuse, Steer
from supervisor.core.model import Failure, Handoff, Life, Outcome, Phase, Reason, Result, Role
from supervisor.core.policy import STEER_AGAIN, probation_of

if TYPE_CHECKING:
    from supervisor.core.events import Event
    from supervisor.core.model import Generation
    from supervisor.core.turn import Turn


def _enter(turn: Turn, handoff: Handoff, phase: Phase, until: float | None = None) -> Handoff:
    """The one door into a phase: whatever deadline the last one had is gone."""
    entered = replace(handoff, phase=phase, since=turn.at, until=until, phases=(*handoff.phases, (phase, turn.at)))
    turn.put_handoff(entered)
    return entered


def _candidate(turn: Turn, handoff: Handoff) -> Generation:
    found = turn.state.find(handoff.candidate)
    assert found is not None, "a handoff past verify has its candidate until it ends"
    return found


def _predecessor(turn: Turn, handoff: Handoff) -> Generation:
    found = turn.state.find(handoff.predecessor)
    assert found is not None, "a handoff has its predecessor until it ends"
    return found


def _conclude(turn: Turn, handoff: Handoff, result: Result, failure: Failure | None = None) -> None:
    """The end of a handoff, whatever its result."""
    candidate = turn.state.find(handoff.candidate)
    predecessor = _predecessor(turn, handoff)
    turn.put_handoff(None)
    turn.emit(
        Conclude(
            Outcome(
                handoff=handoff.number,
                request=handoff.request,
                result=result,
                failure=failure,
                undone_by=handoff.undone_by,
                from_release=predecessor.release,
                to_release=candidate.release if candidate else None,
                from_generation=predecessor.number,
                to_generation=handoff.candidate,
                phases=handoff.phases,
                spoke_at=candidate.spoke_at if candidate else None,
                ended=turn.at,
            )
        )
    )


def _failure_in(event: Event) -> Failure:
    """Why, as far as the event itself can tell."""
    match event:
        case events.Refused() | events.NotReady() | events.SpawnFailed():
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


# ---- verify


def start(turn: Turn, handoff: Handoff, event: Event) -> None:
    """What is to run is known: bring up the candidate, on borrowed sockets if the old one has no process."""
    assert isinstance(event, events.Verified)
    predecessor = _predecessor(turn, handoff)
    same = predecessor.release.launch.listen == event.release.launch.listen
    lent = predecessor.sockets if predecessor.life is Life.DOWN and same else None
    candidate = generation.begin(turn, release=event.release, role=Role.CANDIDATE, policy=event.policy, sockets=lent)
    if lent is not None:
        turn.enter(predecessor, Life.DOWN)
    _enter(turn, replace(handoff, candidate=candidate.number, policy=event.policy), Phase.START)


def refuse(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Nothing was begun, so nothing is undone."""
    result = Result.REFUSED if isinstance(event, events.Refused) else Result.ROLLED_BACK
    _conclude(turn, handoff, result, _failure_in(event))


# ---- start, ready


def await_ready(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The candidate has a process: the wait for its readiness is that life's deadline."""
    del event
    _enter(turn, handoff, Phase.READY)


def shift(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The candidate can serve: ask the kernel to send it every new connection."""
    del event
    sockets = _candidate(turn, handoff).sockets
    assert sockets is not None
    handoff = _enter(turn, handoff, Phase.SHIFT)
    if turn.state.borrowed(_candidate(turn, handoff)):
        _succeed(turn, handoff)  # connections go to these sockets already
        return
    turn.emit(Steer(handoff.number, sockets))


def undo(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Nobody was sent to the candidate: it goes, and nothing else has happened."""
    candidate = _candidate(turn, handoff)
    failure = _failure_in(event)
    if failure.reason is Reason.TIMED_OUT and candidate.spoke is not None:
        failure = Failure(Reason.NOT_ACCEPTING, f"said so by {candidate.spoke}")
    _conclude(turn, handoff, Result.ROLLED_BACK, failure)
    generation.discard(turn, candidate)
    _resume(turn, handoff.predecessor)


def _resume(turn: Turn, predecessor: int) -> None:
    """A generation that had lent its sockets while it was down is started again."""
    found = turn.state.find(predecessor)
    if found is not None and found.life is Life.DOWN and found.until is None:
        turn.enter(found, Life.DOWN, turn.at)


# ---- shift, probation, settle


def stand_by(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The kernel has acknowledged: the candidate serves, the old one stands by."""
    if isinstance(event, events.Steered) and event.sockets == _candidate(turn, handoff).sockets:
        _succeed(turn, handoff)


def _succeed(turn: Turn, handoff: Handoff) -> None:
    policy = handoff.policy or turn.state.policy
    turn.put(replace(_candidate(turn, handoff), role=Role.SERVING, served=True))
    turn.put(replace(_predecessor(turn, handoff), role=Role.STANDBY))
    _enter(turn, handoff, Phase.PROBATION, turn.at + probation_of(policy))


def pass_probation(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The candidate has lasted. With no probation asked for, the old one's queue empties before it is given up."""
    policy = handoff.policy or turn.state.policy
    if policy.probation == 0 and _predecessor(turn, handoff).life is Life.READY:
        _enter(turn, handoff, Phase.SETTLE, turn.at + policy.drain_timeout / 2)
        return
    commit(turn, handoff, event)


def commit(turn: Turn, handoff: Handoff, event: Event) -> None:
    """From here on the old generation is on its own way out. What follows is done after this is on disk."""
    del event
    predecessor = _predecessor(turn, handoff)
    candidate = _candidate(turn, handoff)
    same = predecessor.release.same_file(candidate.release) and predecessor.release.launch == candidate.release.launch
    turn.state = replace(
        turn.state,
        policy=handoff.policy or turn.state.policy,
        previous=turn.state.previous if same else predecessor.release,
    )
    _conclude(turn, handoff, Result.COMMITTED)
    generation.retire(turn, predecessor)


# ---- the way back


def go_back(turn: Turn, handoff: Handoff, event: Event) -> None:
    """New connections go to the standby again; the candidate is let go when the kernel has acknowledged."""
    predecessor = _predecessor(turn, handoff)
    assert predecessor.sockets is not None
    failure = _failure_in(event)
    if failure.reason in {Reason.DIED, Reason.EXEC_FAILED}:
        failure = replace(failure, reason=Reason.DIED_IN_PROBATION)
    turn.put(replace(_candidate(turn, handoff), role=Role.CANDIDATE, until=None))
    turn.put(replace(predecessor, role=Role.SERVING))
    _enter(turn, replace(handoff, failure=failure), Phase.RETURN)
    turn.emit(Steer(handoff.number, predecessor.sockets))
    _resume(turn, predecessor.number)


def steering_failed(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Back to the old generation; but if that has died, the candidate is all there is: steer to it again."""
    if _predecessor(turn, handoff).life is Life.READY:
        go_back(turn, handoff, event)
        return
    turn.put_handoff(replace(handoff, until=turn.at + STEER_AGAIN))


def shift_again(turn: Turn, handoff: Handoff, event: Event) -> None:
    """There is nothing else to do than to try again."""
    del event
    sockets = _candidate(turn, handoff).sockets
    assert sockets is not None
    turn.put_handoff(replace(handoff, until=None))
    turn.emit(Steer(handoff.number, sockets))


def abort_probation(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Never abort into nothing."""
    assert isinstance(event, (events.AbortAsked, events.Asked))
    if _predecessor(turn, handoff).life is not Life.READY:
        turn.emit(Refuse(event.request, Failure(Reason.NO_WAY_BACK, "the old generation's process has died")))
        return
    if isinstance(event, events.Asked):
        handoff = replace(handoff, undone_by=event.request)
    go_back(turn, handoff, event)


def steer_again(turn: Turn, handoff: Handoff, event: Event) -> None:
    """There is nothing else to do than to try again."""
    del event
    sockets = _predecessor(turn, handoff).sockets
    assert sockets is not None
    turn.put_handoff(replace(handoff, until=None))
    turn.emit(Steer(handoff.number, sockets))


def wait_to_steer(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The kernel would not; it may have memory for a program a moment later."""
    del event
    turn.put_handoff(replace(handoff, until=turn.at + STEER_AGAIN))


def returned(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The kernel has acknowledged: the old generation serves as if nothing had been."""
    if not isinstance(event, events.Steered) or event.sockets != _predecessor(turn, handoff).sockets:
        return
    candidate = _candidate(turn, handoff)
    if candidate.life is Life.DOWN:
        _clear_drained(turn)
    generation.retire(turn, candidate)
    _resume(turn, handoff.predecessor)
    _conclude(turn, handoff, Result.ROLLED_BACK, handoff.failure)


def _clear_drained(turn: Turn) -> None:
    """The kernel moves a dead generation's queue to any other socket of the group: only those that accept may stay."""
    for each in list(turn.state.with_role(Role.DRAINING)):
        if each.life in {Life.ENDING, Life.KILLED}:
            turn.close_sockets(each)


def stop(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Everything ends; what had not been committed was not."""
    _conclude(turn, handoff, Result.ROLLED_BACK, _failure_in(event))
