"""The one door: `step(state, event)` gives the next state and what is to be done once.

It sorts an event to whom it concerns: the generation it names, then the handoff under way if that generation is part
of it, or the service as a whole. The decisions themselves are in `generation` and `handoff`.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import events, generation, handoff
from supervisor.core.effects import Effect, End, Refuse
from supervisor.core.handoff import Cue
from supervisor.core.model import Ask, Failure, Life, Mode, Phase, Reason, Request, Role, State
from supervisor.core.turn import Turn

_CANDIDATE_CUES: dict[type[events.GenerationEvent], Cue] = {
    events.Spawned: Cue.SPAWNED,
    events.SpawnFailed: Cue.FAILED,
    events.Ready: Cue.READY,
    events.NotReady: Cue.FAILED,
    events.GenerationLapsed: Cue.FAILED,
    events.Exited: Cue.DIED,
}

_HANDOFF_CUES: dict[type[events.HandoffEvent], Cue] = {
    events.Verified: Cue.VERIFIED,
    events.Refused: Cue.REFUSED,
    events.Steered: Cue.STEERED,
    events.SteerFailed: Cue.STEER_FAILED,
    events.HandoffLapsed: Cue.LAPSED,
}


def step(state: State, event: events.Event) -> tuple[State, tuple[Effect, ...]]:
    """Decide. Total: an event that means nothing now changes nothing."""
    if state.mode is Mode.LEFT:
        return state, ()
    turn = Turn(state, event.at)
    match event:
        case events.GenerationEvent():
            _generation(turn, event)
        case events.HandoffEvent():
            _handoff(turn, event)
        case events.Begun():
            _begin(turn, event)
        case events.Asked():
            _asked(turn, event)
        case events.AbortAsked():
            _abort(turn, event)
        case events.StopAsked():
            _stop(turn, event)
        case events.LeaveAsked():
            _leave(turn)
        case events.Digested():
            _digested(turn, event)
        case _:
            raise AssertionError(event)
    _take_up_pending(turn)
    _end_when_empty(turn, state)
    return turn.state, tuple(turn.effects)


def _generation(turn: Turn, event: events.GenerationEvent) -> None:
    found = turn.state.find(event.generation)
    if found is None or found.run != event.run:
        return
    if isinstance(event, events.GenerationLapsed) and (event.life, event.due) != (found.life, found.until):
        return
    if not generation.step(turn, found, event):
        return
    under_way = turn.state.handoff
    if under_way is None:
        return
    if event.generation == under_way.candidate and type(event) in _CANDIDATE_CUES:
        handoff.step(turn, _CANDIDATE_CUES[type(event)], event)
    elif event.generation == under_way.predecessor and isinstance(event, events.Quiet):
        handoff.step(turn, Cue.QUIET, event)


def _handoff(turn: Turn, event: events.HandoffEvent) -> None:
    under_way = turn.state.handoff
    if under_way is None or under_way.number != event.handoff:
        return
    if isinstance(event, events.HandoffLapsed) and (event.phase, event.due) != (under_way.phase, under_way.until):
        return
    if isinstance(event, events.Steered):
        turn.state = replace(turn.state, target=event.sockets)
    handoff.step(turn, _HANDOFF_CUES[type(event)], event)


def _begin(turn: Turn, event: events.Begun) -> None:
    if turn.state.generations or turn.state.mode is not Mode.RUNNING:
        return
    turn.state = replace(turn.state, policy=event.policy)
    first = generation.begin(turn, release=event.release, role=Role.SERVING, policy=event.policy)
    turn.state = replace(turn.state, target=first.sockets)


def _asked(turn: Turn, event: events.Asked) -> None:
    state, request = turn.state, event.request
    if state.mode is not Mode.RUNNING:
        turn.emit(Refuse(request, Failure(Reason.STOPPING)))
        return
    under_way = state.handoff
    if under_way is not None and request.ask is Ask.ROLLBACK and under_way.phase in {Phase.PROBATION, Phase.SETTLE}:
        _displace_pending(turn, request)
        handoff.step(turn, Cue.ABORT, event)
        return
    if under_way is not None and request.ask is Ask.ROLLBACK and under_way.phase is Phase.RETURN:
        handoff.join_return(turn, request)
        return
    _displace_pending(turn, request)
    turn.state = replace(turn.state, pending=request)


def _displace_pending(turn: Turn, by: Request) -> None:
    """One request is kept, and the latest wins: the one before is told."""
    kept = turn.state.pending
    if kept is not None:
        turn.emit(Refuse(kept, Failure(Reason.DISPLACED, f"request {by.id}")))
        turn.state = replace(turn.state, pending=None)


def _take_up_pending(turn: Turn) -> None:
    """The one request that was kept, as soon as nothing is under way."""
    state = turn.state
    request = state.pending
    if request is None or state.handoff is not None or state.serving is None or state.mode is not Mode.RUNNING:
        return
    turn.state = replace(state, pending=None)
    if request.ask is Ask.ROLLBACK and state.previous is None:
        turn.emit(Refuse(request, Failure(Reason.NO_PREVIOUS, "nothing served before the present release")))
        return
    handoff.begin(turn, request)


def _abort(turn: Turn, event: events.AbortAsked) -> None:
    if not handoff.step(turn, Cue.ABORT, event):
        turn.emit(Refuse(event.request, Failure(Reason.NOTHING_TO_ABORT)))


def _stop(turn: Turn, event: events.StopAsked) -> None:
    """Asked once: drain everything. Asked again: end everything."""
    if turn.state.mode is Mode.STOPPING:
        _kill_all(turn)
        return
    handoff.step(turn, Cue.STOP, event)
    _refuse_pending(turn)
    turn.state = replace(turn.state, mode=Mode.STOPPING)
    for each in turn.state.generations:
        _stop_generation(turn, each.number)


def _stop_generation(turn: Turn, number: int) -> None:
    found = turn.state.find(number)
    assert found is not None
    timeout = turn.state.policy.stop_timeout
    draining = turn.put(replace(found, role=Role.DRAINING))
    match draining.life:
        case Life.DOWN:
            turn.drop(draining)
        case Life.STARTING | Life.READY:
            generation.tell(turn, draining, timeout)
        case Life.ENDING if draining.until is not None:
            turn.put(replace(draining, until=min(draining.until, turn.at + timeout)))
        case _:
            pass


def _kill_all(turn: Turn) -> None:
    turn.state = replace(turn.state, killed=True)
    for each in turn.state.generations:
        if each.life not in {Life.SPAWNING, Life.KILLED}:
            generation.kill(turn, each)


def _leave(turn: Turn) -> None:
    """The children are left as they are: what is on disk tells the next supervisor all about them."""
    _refuse_pending(turn)
    turn.state = replace(turn.state, mode=Mode.LEFT)
    turn.emit(End())


def _refuse_pending(turn: Turn) -> None:
    if turn.state.pending is not None:
        turn.emit(Refuse(turn.state.pending, Failure(Reason.STOPPING)))
        turn.state = replace(turn.state, pending=None)


def _digested(turn: Turn, event: events.Digested) -> None:
    for each in turn.state.generations:
        if each.release.id == event.release:
            turn.put(replace(each, release=replace(each.release, sha256=event.sha256)))
    previous = turn.state.previous
    if previous is not None and previous.id == event.release:
        turn.state = replace(turn.state, previous=replace(previous, sha256=event.sha256))


def _end_when_empty(turn: Turn, before: State) -> None:
    """A stop is over when the last generation has gone."""
    if turn.state.mode is not Mode.STOPPING or turn.state.generations:
        return
    if before.mode is not Mode.STOPPING or before.generations:
        turn.emit(End())
