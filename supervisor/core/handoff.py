"""One handoff, from trigger to commit, and every way back.

Theory of operation. Exactly one handoff is under way at a time. Until `shift` the old generation notices nothing: the
candidate starts beside it on sockets that no client is sent to. `shift` asks the kernel for the change, and when that
is acknowledged the old generation becomes the standby: alive, accepting what was on its way, able to take over at
once. The handoff ends at commit, the end of probation; the drain that follows is the old generation's own affair.

Everything that goes wrong before the shift ends the candidate and nothing else. Everything after it takes the road
back (`return`): connections are steered to the standby first, and only when the kernel has acknowledged that is the
candidate let go. No generation is told to end while new connections may still be sent to it.

If the old generation has no process when the handoff begins (it crashed and waits for its next start), the candidate
borrows its sockets, so that the clients who wait in its queue are served by whoever comes up.

`TABLE` is the whole of it: each phase, each cue, where it leads. Cues that mean nothing to a phase are named so.
The diagram in the documentation is generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from supervisor.core import events, generation
from supervisor.core.effects import Conclude, Refuse, Steer
from supervisor.core.model import (
    Failure,
    Handoff,
    Life,
    Outcome,
    Phase,
    Reason,
    Result,
    Role,
)
from supervisor.core.policy import STEER_AGAIN, probation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.core.events import Event
    from supervisor.core.model import Generation, Request
    from supervisor.core.turn import Turn


class Cue(StrEnum):
    """What an event means to the handoff under way."""

    VERIFIED = "verified"
    REFUSED = "refused"
    SPAWNED = "candidate spawned"
    READY = "candidate ready"
    FAILED = "candidate failed"
    DIED = "candidate died"
    STEERED = "steered"
    STEER_FAILED = "steering failed"
    LAPSED = "deadline"
    QUIET = "standby's queue empty"
    ABORT = "abort"
    STOP = "stop"


END = "end"
"""Where a handoff leads that is over."""


def begin(turn: Turn, request: Request) -> None:
    """Take up a request. There is no other handoff, and there is a serving generation."""
    serving = turn.state.serving
    assert serving is not None
    number = turn.state.last_handoff + 1
    turn.state = replace(turn.state, last_handoff=number)
    turn.put_handoff(
        Handoff(
            number=number,
            request=request,
            predecessor=serving.number,
            phase=Phase.VERIFY,
            since=turn.at,
            phases=((Phase.VERIFY, turn.at),),
        )
    )


def step(turn: Turn, cue: Cue, event: Event) -> bool:
    """Let the handoff under way take a cue. Returns whether its phase cares."""
    handoff = turn.state.handoff
    if handoff is None:
        return False
    move = TABLE[handoff.phase][cue]
    if move is None:
        return False
    move.act(turn, handoff, event)
    return True


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


def _start(turn: Turn, handoff: Handoff, event: Event) -> None:
    assert isinstance(event, events.Verified)
    predecessor = _predecessor(turn, handoff)
    lent = predecessor.sockets if predecessor.life is Life.DOWN else None
    candidate = generation.begin(turn, release=event.release, role=Role.CANDIDATE, sockets=lent)
    if lent is not None:
        turn.enter(predecessor, Life.DOWN)
    _enter(turn, replace(handoff, candidate=candidate.number, policy=event.policy), Phase.START)


def _refuse(turn: Turn, handoff: Handoff, event: Event) -> None:
    result = Result.REFUSED if isinstance(event, events.Refused) else Result.ROLLED_BACK
    _conclude(turn, handoff, result, _failure_in(event))


# ---- start, ready


def _await_ready(turn: Turn, handoff: Handoff, event: Event) -> None:
    del event
    _enter(turn, handoff, Phase.READY)


def _shift(turn: Turn, handoff: Handoff, event: Event) -> None:
    del event
    sockets = _candidate(turn, handoff).sockets
    assert sockets is not None
    _enter(turn, handoff, Phase.SHIFT)
    turn.emit(Steer(handoff.number, sockets))


def _undo(turn: Turn, handoff: Handoff, event: Event) -> None:
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


def _stand_by(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The kernel has acknowledged: the candidate serves, the old one stands by."""
    candidate = _candidate(turn, handoff)
    if not isinstance(event, events.Steered) or event.sockets != candidate.sockets:
        return
    policy = handoff.policy or turn.state.policy
    turn.put(replace(candidate, role=Role.SERVING))
    turn.put(replace(_predecessor(turn, handoff), role=Role.STANDBY))
    _enter(turn, handoff, Phase.PROBATION, turn.at + probation_of(policy))


def _pass_probation(turn: Turn, handoff: Handoff, event: Event) -> None:
    policy = handoff.policy or turn.state.policy
    if policy.probation == 0 and _predecessor(turn, handoff).life is Life.READY:
        _enter(turn, handoff, Phase.SETTLE, turn.at + policy.drain_timeout / 2)
        return
    _commit(turn, handoff, event)


def _commit(turn: Turn, handoff: Handoff, event: Event) -> None:
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


def _return(turn: Turn, handoff: Handoff, event: Event) -> None:
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


def _abort_probation(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Never abort into nothing."""
    assert isinstance(event, (events.AbortAsked, events.Asked))
    if not _predecessor(turn, handoff).accepts:
        turn.emit(Refuse(event.request, Failure(Reason.NO_WAY_BACK, "the old generation's process has died")))
        return
    if isinstance(event, events.Asked):
        handoff = replace(handoff, undone_by=event.request)
    _return(turn, handoff, event)


def _steer_again(turn: Turn, handoff: Handoff, event: Event) -> None:
    del event
    sockets = _predecessor(turn, handoff).sockets
    assert sockets is not None
    turn.put_handoff(replace(handoff, until=None))
    turn.emit(Steer(handoff.number, sockets))


def _wait_to_steer(turn: Turn, handoff: Handoff, event: Event) -> None:
    del event
    turn.put_handoff(replace(handoff, until=turn.at + STEER_AGAIN))


def _returned(turn: Turn, handoff: Handoff, event: Event) -> None:
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


def _stop(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Everything ends; what had not been committed was not."""
    _conclude(turn, handoff, Result.ROLLED_BACK, _failure_in(event))


@dataclass(frozen=True, slots=True)
class Move:
    """What a cue does in a phase, and where that leads."""

    act: Callable[[Turn, Handoff, Event], None]
    leads_to: tuple[Phase | str, ...]


def _row(moves: Mapping[Cue, Move], *, ignored: tuple[Cue, ...]) -> Mapping[Cue, Move | None]:
    """One phase. Every cue is either a move or named as ignored, so that silence is a decision."""
    assert set(moves).isdisjoint(ignored)
    assert {*moves, *ignored} == set(Cue)
    return {**moves, **dict.fromkeys(ignored)}


_UNDO = Move(_undo, (END,))
_STOP = Move(_stop, (END,))
_RETURN = Move(_return, (Phase.RETURN,))
_ABORT_PROBATION = Move(_abort_probation, (Phase.RETURN,))

_VERIFYING = (Cue.VERIFIED, Cue.REFUSED)
_CANDIDATE_RISING = (Cue.SPAWNED, Cue.READY, Cue.FAILED)
_STEERING = (Cue.STEERED, Cue.STEER_FAILED)

TABLE: Mapping[Phase, Mapping[Cue, Move | None]] = {
    Phase.VERIFY: _row(
        {
            Cue.VERIFIED: Move(_start, (Phase.START,)),
            Cue.REFUSED: Move(_refuse, (END,)),
            Cue.ABORT: Move(_refuse, (END,)),
            Cue.STOP: _STOP,
        },
        ignored=(*_CANDIDATE_RISING, Cue.DIED, *_STEERING, Cue.LAPSED, Cue.QUIET),
    ),
    Phase.START: _row(
        {
            Cue.SPAWNED: Move(_await_ready, (Phase.READY,)),
            Cue.FAILED: _UNDO,
            Cue.DIED: _UNDO,
            Cue.ABORT: _UNDO,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, Cue.READY, *_STEERING, Cue.LAPSED, Cue.QUIET),
    ),
    Phase.READY: _row(
        {
            Cue.READY: Move(_shift, (Phase.SHIFT,)),
            Cue.FAILED: _UNDO,
            Cue.DIED: _UNDO,
            Cue.ABORT: _UNDO,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, Cue.SPAWNED, *_STEERING, Cue.LAPSED, Cue.QUIET),
    ),
    Phase.SHIFT: _row(
        {
            Cue.STEERED: Move(_stand_by, (Phase.PROBATION,)),
            Cue.STEER_FAILED: _RETURN,
            Cue.DIED: _RETURN,
            Cue.ABORT: _RETURN,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, Cue.LAPSED, Cue.QUIET),
    ),
    Phase.PROBATION: _row(
        {
            Cue.LAPSED: Move(_pass_probation, (END, Phase.SETTLE)),
            Cue.DIED: _RETURN,
            Cue.ABORT: _ABORT_PROBATION,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, *_STEERING, Cue.QUIET),
    ),
    Phase.SETTLE: _row(
        {
            Cue.QUIET: Move(_commit, (END,)),
            Cue.LAPSED: Move(_commit, (END,)),
            Cue.DIED: _RETURN,
            Cue.ABORT: _ABORT_PROBATION,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, *_STEERING),
    ),
    Phase.RETURN: _row(
        {
            Cue.STEERED: Move(_returned, (END,)),
            Cue.STEER_FAILED: Move(_wait_to_steer, (Phase.RETURN,)),
            Cue.LAPSED: Move(_steer_again, (Phase.RETURN,)),
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, Cue.DIED, Cue.QUIET, Cue.ABORT),
    ),
}
