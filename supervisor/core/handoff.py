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

from supervisor.core import moves
from supervisor.core.effects import Refuse
from supervisor.core.model import Failure, Handoff, Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.core.events import Event
    from supervisor.core.model import Request
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


def join_return(turn: Turn, request: Request) -> None:
    """A rollback asked for on the way back: it is under way already, and the last who asked is told."""
    handoff = turn.state.handoff
    assert handoff is not None
    if handoff.undone_by is not None:
        turn.emit(Refuse(handoff.undone_by, Failure(Reason.DISPLACED, f"request {request.id}")))
    turn.put_handoff(replace(handoff, undone_by=request))


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


_UNDO = Move(moves.undo, (END,))
_STOP = Move(moves.stop, (END,))
_RETURN = Move(moves.go_back, (Phase.RETURN,))
_ABORT_PROBATION = Move(moves.abort_probation, (Phase.RETURN,))

_VERIFYING = (Cue.VERIFIED, Cue.REFUSED)
_CANDIDATE_RISING = (Cue.SPAWNED, Cue.READY, Cue.FAILED)
_STEERING = (Cue.STEERED, Cue.STEER_FAILED)

TABLE: Mapping[Phase, Mapping[Cue, Move | None]] = {
    Phase.VERIFY: _row(
        {
            Cue.VERIFIED: Move(moves.start, (Phase.START,)),
            Cue.REFUSED: Move(moves.refuse, (END,)),
            Cue.ABORT: Move(moves.refuse, (END,)),
            Cue.STOP: _STOP,
        },
        ignored=(*_CANDIDATE_RISING, Cue.DIED, *_STEERING, Cue.LAPSED, Cue.QUIET),
    ),
    Phase.START: _row(
        {
            Cue.SPAWNED: Move(moves.await_ready, (Phase.READY,)),
            Cue.FAILED: _UNDO,
            Cue.DIED: _UNDO,
            Cue.ABORT: _UNDO,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, Cue.READY, *_STEERING, Cue.LAPSED, Cue.QUIET),
    ),
    Phase.READY: _row(
        {
            Cue.READY: Move(moves.shift, (Phase.SHIFT, Phase.PROBATION)),
            Cue.FAILED: _UNDO,
            Cue.DIED: _UNDO,
            Cue.ABORT: _UNDO,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, Cue.SPAWNED, *_STEERING, Cue.LAPSED, Cue.QUIET),
    ),
    Phase.SHIFT: _row(
        {
            Cue.STEERED: Move(moves.stand_by, (Phase.PROBATION,)),
            Cue.STEER_FAILED: Move(moves.steering_failed, (Phase.RETURN, Phase.SHIFT)),
            Cue.LAPSED: Move(moves.shift_again, (Phase.SHIFT,)),
            Cue.DIED: _RETURN,
            Cue.ABORT: _ABORT_PROBATION,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, Cue.QUIET),
    ),
    Phase.PROBATION: _row(
        {
            Cue.LAPSED: Move(moves.pass_probation, (END, Phase.SETTLE)),
            Cue.DIED: _RETURN,
            Cue.ABORT: _ABORT_PROBATION,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, *_STEERING, Cue.QUIET),
    ),
    Phase.SETTLE: _row(
        {
            Cue.QUIET: Move(moves.commit, (END,)),
            Cue.LAPSED: Move(moves.commit, (END,)),
            Cue.DIED: _RETURN,
            Cue.ABORT: _ABORT_PROBATION,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, *_STEERING),
    ),
    Phase.RETURN: _row(
        {
            Cue.STEERED: Move(moves.returned, (END,)),
            Cue.STEER_FAILED: Move(moves.wait_to_steer, (Phase.RETURN,)),
            Cue.LAPSED: Move(moves.steer_again, (Phase.RETURN,)),
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, Cue.DIED, Cue.QUIET, Cue.ABORT),
    ),
}
