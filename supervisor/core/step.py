"""The one door: `step(state, event)` gives the next state and what is to be done once.

It sorts an event to whom it concerns: the generation it names, then the handoff under way if that generation is part
of it, or the service as a whole. The decisions themselves are in `generation` and `handoff`.
"""

from __future__ import annotations

from supervisor.core import events, fallback, generation, handoff, health
from supervisor.core.effects import Effect, End, Lifted, Refuse
from supervisor.core.handoff import Cue
from supervisor.core.model import Ask, Failure, Handoff, Life, Mode, Phase, Reason, Request, Role, State
from supervisor.core.record import Served, ids, is_called
from supervisor.core.turn import Turn
from supervisor.core.value import replace

_CANDIDATE_CUES: dict[type[events.GenerationEvent], Cue] = {
    events.Spawned: Cue.SPAWNED,
    events.SpawnFailed: Cue.FAILED,
    events.Ready: Cue.READY,
    events.NotReady: Cue.FAILED,
    events.GenerationLapsed: Cue.FAILED,
    events.Exited: Cue.DIED,
}

_PREDECESSOR_CUES: dict[type[events.GenerationEvent], Cue] = {
    events.Quiet: Cue.QUIET,
    events.Exited: Cue.GONE,
    events.SpawnFailed: Cue.GONE,
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
    if state.mode is Mode.LEFT or isinstance(event, events.TakenOver):
        return state, ()
    turn = Turn(state, event.at)
    match event:
        case events.GenerationEvent():
            _generation(turn, event)
        case events.HandoffEvent():
            _handoff(turn, event)
        case events.HealthEvent():
            _health(turn, event)
        case _:
            _service(turn, event)
    health.count(turn, state)
    fallback.count(turn, state, event)
    _take_up_pending(turn)
    fallback.take_up(turn)
    health.take_up(turn)
    _end_when_empty(turn, state)
    return turn.state, tuple(turn.effects)


def _service(turn: Turn, event: events.Event) -> None:
    match event:
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
        case events.LiftAsked() | events.QuarantineLapsed():
            _lift(turn, event)
        case _:
            raise AssertionError(event)


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
    elif event.generation == under_way.predecessor and type(event) in _PREDECESSOR_CUES:
        handoff.step(turn, _PREDECESSOR_CUES[type(event)], event)


def _handoff(turn: Turn, event: events.HandoffEvent) -> None:
    under_way = turn.state.handoff
    if under_way is None or under_way.number != event.handoff:
        return
    if isinstance(event, events.HandoffLapsed) and (event.phase, event.due) != (under_way.phase, under_way.until):
        return
    if isinstance(event, events.Steered):
        turn.state = replace(turn.state, target=event.sockets)
    handoff.step(turn, _HANDOFF_CUES[type(event)], event)


def _health(turn: Turn, event: events.HealthEvent) -> None:
    heeded, under_way = health.step(turn, event), turn.state.handoff
    if heeded and isinstance(event, events.Ailing) and under_way and event.generation == under_way.candidate:
        handoff.step(turn, Cue.AILING, event)


def _begin(turn: Turn, event: events.Begun) -> None:
    if turn.state.serving is not None or turn.state.mode is not Mode.RUNNING:
        return
    record = turn.state.record.begun(event.release, recalled=event.recalled)
    previous = record.served[-1].release if record.served else turn.state.previous
    turn.state = replace(turn.state, policy=event.policy, record=record, previous=previous)
    first = generation.begin(turn, release=event.release, role=Role.SERVING, policy=event.policy)
    turn.state = replace(turn.state, target=first.sockets)


_STANDS_BY = frozenset({Phase.PROBATION, Phase.SETTLE})
_GOES_BACK = frozenset({Phase.RETURN, Phase.WITHDRAW})


def _asked(turn: Turn, event: events.Asked) -> None:
    state, request = turn.state, event.request
    if state.mode is not Mode.RUNNING:
        turn.emit(Refuse(request, Failure(Reason.STOPPING)))
    elif not _is_known(state, request):
        _keep_or_join(turn, event)


def _is_known(state: State, request: Request) -> bool:
    """Whether this very request waits or is under way: who says it again waits for the same outcome."""
    known = [state.pending]
    if state.handoff is not None:
        known += [state.handoff.request, state.handoff.undone_by]
    return any(each is not None and each.id == request.id for each in known)


def _keep_or_join(turn: Turn, event: events.Asked) -> None:
    """A rollback is taken up at once where the old generation stands by or the way back is under way.

    Not where the service itself asks: of a copy that replaces what ails neither is the release that served before, and
    a fallback has just been begun because the old one fails.
    """
    under_way, request = turn.state.handoff, event.request
    back = under_way is not None and request.ask is Ask.ROLLBACK and under_way.phase in _STANDS_BY | _GOES_BACK
    back = back and under_way is not None and under_way.request.ask in {Ask.UPGRADE, Ask.ROLLBACK}
    back = back and _leads_to(turn.state, under_way, request.to)
    if under_way is None or not back:
        _displace_pending(turn, request)
        turn.state = replace(turn.state, pending=request)
    elif _is_met(turn, request):
        if under_way.phase in _STANDS_BY:
            _displace_pending(turn, request)
        handoff.step(turn, Cue.ABORT, event)


def _leads_to(state: State, under_way: Handoff | None, name: str | None) -> bool:
    """Whether to undo the handoff under way is to go back to the release of that name; None: whichever it is."""
    found = None if under_way is None else state.find(under_way.predecessor)
    return found is not None and (name is None or is_called(found.release, name))


def _is_met(turn: Turn, request: Request) -> bool:
    """Whether the release is current that is to be, at the moment when a request is taken up. If not, it is refused."""
    serving = turn.state.serving
    assert serving is not None
    if request.if_current is None or is_called(serving.release, request.if_current):
        return True
    turn.emit(Refuse(request, Failure(Reason.NOT_CURRENT, f"{serving.release.id} is, and not {request.if_current}")))
    return False


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
    if not _is_met(turn, request):
        return
    goal = _goal(state, request) if request.ask is Ask.ROLLBACK else None
    if isinstance(goal, Failure):
        turn.emit(Refuse(request, goal))
        return
    handoff.begin(turn, request, goal)


def _goal(state: State, request: Request) -> Served | Failure:
    """What a rollback leads to, as it is recorded; or why to nothing."""
    if request.to is None and state.previous is None:
        return Failure(Reason.NO_PREVIOUS, "nothing served before the present release")
    if request.to is None and state.previous is not None:
        return state.record.found(state.previous) or Served(release=state.previous, policy=state.policy)
    name = request.to or ""
    meant = state.record.called(name)
    if len(meant) == 1:
        return meant[0]
    if meant:
        return Failure(Reason.NO_SUCH_RELEASE, f"{name} may be any of {ids(meant)}: say which")
    if state.serving is not None and is_called(state.serving.release, name):
        return Failure(Reason.NO_SUCH_RELEASE, f"{name} serves now")
    known = f"those are {ids(state.record.served)}" if state.record.served else "there are none"
    return Failure(Reason.NO_SUCH_RELEASE, f"{name} is none of the releases that have served and are kept; {known}")


def _abort(turn: Turn, event: events.AbortAsked) -> None:
    if turn.state.mode is not Mode.RUNNING:
        turn.emit(Refuse(event.request, Failure(Reason.STOPPING)))
    elif not handoff.step(turn, Cue.ABORT, event):
        what = "rollback brings back the release that served before"
        turn.emit(Refuse(event.request, Failure(Reason.NOTHING_TO_ABORT, what)))


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
    turn.state = replace(turn.state, record=turn.state.record.digested(event.release, event.sha256))
    previous = turn.state.previous
    if previous is not None and previous.id == event.release:
        turn.state = replace(turn.state, previous=replace(previous, sha256=event.sha256))


def _lift(turn: Turn, event: events.LiftAsked | events.QuarantineLapsed) -> None:
    state, record = turn.state, turn.state.record
    if isinstance(event, events.QuarantineLapsed) and state.mode is not Mode.RUNNING:
        return
    lifted = record.lifted(event.release) if isinstance(event, events.LiftAsked) else record.lapsed(event.due)
    if lifted.quarantine == record.quarantine:
        return
    turn.state = replace(state, record=lifted)
    if isinstance(event, events.LiftAsked):
        turn.emit(Lifted(event.release))


def _end_when_empty(turn: Turn, before: State) -> None:
    """A stop is over when the last generation has gone."""
    if turn.state.mode is not Mode.STOPPING or turn.state.generations:
        return
    if before.mode is not Mode.STOPPING or before.generations:
        turn.emit(End())
