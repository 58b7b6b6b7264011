"""One handoff, from trigger to commit, and every way back.

Theory of operation. Exactly one handoff is under way at a time. Until `shift` the old generation notices nothing: the
candidate starts beside it on sockets that no client is sent to. `shift` asks the kernel for the change, and when that
is acknowledged the old generation becomes the standby: alive, accepting what was on its way, able to take over at
once. The handoff ends at commit, the end of probation; the drain that follows is the old generation's own affair.

Everything that goes wrong before the shift ends the candidate and nothing else. Everything after it takes the road
back (`return`): connections are steered to the standby first, and only when the kernel has acknowledged that is the
candidate let go. A candidate that lives and does not serve as it should (`health`) is left by the same road. If the
standby dies on that road while the candidate lives, it is turned round (`shift`). No generation is told to end while
new connections may still be sent to it.

Where the two may never run at one time (exclusive), the old generation ends first (`yield`): it is told when the new
release has been verified, its sockets stay open and its clients wait in the queue. The candidate is started on those
sockets when the old one's process is gone. Every way back leads through `withdraw` as long as somebody runs: whoever
it is ends, and then the old one is started again.

If the old generation has no process when the handoff begins (it crashed and waits for its next start), the candidate
borrows its sockets, so that the clients who wait in its queue are served by whoever comes up.

`TABLE` is the whole of it: each phase, each cue, where it leads. Cues that mean nothing to a phase are named so.
The diagram in the documentation is generated from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core import moves, retreat
from supervisor.core.model import Handoff, Phase
from supervisor.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.core.events import Event
    from supervisor.core.model import Request
    from supervisor.core.record import Served
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
    GONE = "old one ended"
    AILING = "candidate ails"
    ABORT = "abort"
    STOP = "stop"


END = "end"
"""Where a handoff leads that is over."""


def begin(turn: Turn, request: Request, goal: Served | None = None) -> None:
    """Take up a request. There is no other handoff, and there is a serving generation.

    `goal` is what it is to go back to.
    """
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
            goal=goal,
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


class Move(Struct, frozen=True):
    """What a cue does in a phase, and where that leads."""

    act: Callable[[Turn, Handoff, Event], None]
    leads_to: tuple[Phase | str, ...]


def _row(moves: Mapping[Cue, Move], *, ignored: tuple[Cue, ...]) -> Mapping[Cue, Move | None]:
    """One phase. Every cue is either a move or named as ignored, so that silence is a decision."""
    assert set(moves).isdisjoint(ignored)
    assert {*moves, *ignored} == set(Cue)
    return {**moves, **dict.fromkeys(ignored)}


_REFUSE = Move(moves.refuse, (END,))
_UNDO = Move(retreat.undo, (END,))
_UNDO_WHAT_RUNS = Move(retreat.undo, (END, Phase.WITHDRAW))
_STOP = Move(moves.stop, (END,))
_RETURN = Move(retreat.go_back, (Phase.RETURN,))
_ABORT = Move(retreat.abort_probation, (Phase.RETURN,))
_WITHDRAWN = Move(retreat.withdrawn, (END,))

_VERIFYING = (Cue.VERIFIED, Cue.REFUSED)
_CANDIDATE_RISING = (Cue.SPAWNED, Cue.READY, Cue.FAILED)
_STEERING = (Cue.STEERED, Cue.STEER_FAILED)

TABLE: Mapping[Phase, Mapping[Cue, Move | None]] = {
    Phase.VERIFY: _row(
        {
            Cue.VERIFIED: Move(moves.verified, (Phase.START, Phase.YIELD, END)),
            Cue.REFUSED: _REFUSE,
            Cue.ABORT: _REFUSE,
            Cue.STOP: _STOP,
        },
        ignored=(*_CANDIDATE_RISING, Cue.DIED, *_STEERING, Cue.LAPSED, Cue.QUIET, Cue.GONE, Cue.AILING),
    ),
    Phase.YIELD: _row(
        {
            Cue.GONE: Move(moves.start, (Phase.START,)),
            Cue.ABORT: Move(retreat.take_up_again, (Phase.WITHDRAW,)),
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, Cue.DIED, *_STEERING, Cue.LAPSED, Cue.QUIET, Cue.AILING),
    ),
    Phase.START: _row(
        {
            Cue.SPAWNED: Move(moves.await_ready, (Phase.READY,)),
            Cue.FAILED: _UNDO,
            Cue.DIED: _UNDO,
            Cue.ABORT: _UNDO_WHAT_RUNS,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, Cue.READY, *_STEERING, Cue.LAPSED, Cue.QUIET, Cue.GONE, Cue.AILING),
    ),
    Phase.READY: _row(
        {
            Cue.READY: Move(moves.shift, (Phase.SHIFT, Phase.PROBATION)),
            Cue.FAILED: _UNDO_WHAT_RUNS,
            Cue.DIED: _UNDO,
            Cue.ABORT: _UNDO_WHAT_RUNS,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, Cue.SPAWNED, *_STEERING, Cue.LAPSED, Cue.QUIET, Cue.GONE, Cue.AILING),
    ),
    Phase.SHIFT: _row(
        {
            Cue.STEERED: Move(moves.stand_by, (Phase.PROBATION,)),
            Cue.STEER_FAILED: Move(moves.steering_failed, (Phase.RETURN, Phase.SHIFT)),
            Cue.LAPSED: Move(moves.shift_again, (Phase.SHIFT,)),
            Cue.DIED: _RETURN,
            Cue.ABORT: _ABORT,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, Cue.QUIET, Cue.GONE, Cue.AILING),
    ),
    Phase.PROBATION: _row(
        {
            Cue.LAPSED: Move(moves.pass_probation, (END, Phase.SETTLE)),
            Cue.DIED: _RETURN,
            Cue.AILING: Move(retreat.leave_who_ails, (Phase.RETURN, Phase.WITHDRAW)),
            Cue.ABORT: Move(retreat.abort_probation, (Phase.RETURN, Phase.WITHDRAW)),
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, *_STEERING, Cue.QUIET, Cue.GONE),
    ),
    Phase.SETTLE: _row(
        {
            Cue.QUIET: Move(moves.commit, (END,)),
            Cue.LAPSED: Move(moves.commit, (END,)),
            Cue.DIED: _RETURN,
            Cue.AILING: Move(retreat.leave_who_ails, (Phase.RETURN,)),
            Cue.ABORT: _ABORT,
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, *_STEERING, Cue.GONE),
    ),
    Phase.RETURN: _row(
        {
            Cue.STEERED: Move(retreat.returned, (END, Phase.SHIFT)),
            Cue.STEER_FAILED: Move(retreat.wait_to_steer, (Phase.RETURN, Phase.SHIFT, END)),
            Cue.LAPSED: Move(retreat.steer_again, (Phase.RETURN,)),
            Cue.GONE: Move(retreat.predecessor_gone, (Phase.SHIFT,)),
            Cue.ABORT: Move(retreat.join, (Phase.RETURN,)),
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, *_CANDIDATE_RISING, Cue.DIED, Cue.QUIET, Cue.AILING),
    ),
    Phase.WITHDRAW: _row(
        {
            Cue.FAILED: _WITHDRAWN,
            Cue.DIED: _WITHDRAWN,
            Cue.GONE: _WITHDRAWN,
            Cue.ABORT: Move(retreat.join, (Phase.WITHDRAW,)),
            Cue.STOP: _STOP,
        },
        ignored=(*_VERIFYING, Cue.SPAWNED, Cue.READY, *_STEERING, Cue.LAPSED, Cue.QUIET, Cue.AILING),
    ),
}
