"""What a handoff does on each move towards its commit. Which move is due when is `handoff`'s table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import events, generation
from supervisor.core.course import candidate_of, conclude, enter, failure_in, predecessor_of
from supervisor.core.effects import Attempt, Steer
from supervisor.core.model import Ask, Failure, Handoff, Life, Phase, Reason, Role
from supervisor.core.outcome import Result
from supervisor.core.pointing import put_back
from supervisor.core.policy import STEER_AGAIN, probation_of
from supervisor.core.record import Served
from supervisor.core.retreat import go_back
from supervisor.core.value import replace

if TYPE_CHECKING:
    from supervisor.core.events import Event
    from supervisor.core.model import Release
    from supervisor.core.turn import Turn

_NOT_EXCLUSIVELY = Failure(
    Reason.OTHER_LISTENERS,
    'with handoff.mode = "exclusive" the new server gets the very sockets of the old one: change the listeners with '
    '"overlap", or restart gapless',
)


# ---- verify, yield


def verified(turn: Turn, handoff: Handoff, event: Event) -> None:
    """What is to run is known. Before that nothing has been done to the old generation."""
    assert isinstance(event, events.Verified)
    handoff = replace(handoff, release=event.release, policy=event.policy, current=event.current)
    predecessor = predecessor_of(turn, handoff)
    held = turn.state.record.holds(event.release)
    if held is not None and handoff.request.ask is not Ask.REPLACE:  # whose original serves, for nobody else could
        conclude(turn, handoff, Result.REFUSED, Failure(Reason.QUARANTINED, held.said(turn.at)))
        return
    turn.emit(*put_back(handoff, predecessor.release))
    if handoff.exclusive and _other_listeners(predecessor.release, event.release):
        conclude(turn, handoff, Result.REFUSED, _NOT_EXCLUSIVELY)
        return
    if handoff.exclusive or event.release.version is not None:
        turn.emit(Attempt(event.release.id))
    if handoff.exclusive and predecessor.life is not Life.DOWN:
        enter(turn, handoff, Phase.YIELD)
        generation.give_way(turn, predecessor)
    else:
        _start(turn, handoff, event.release)


def refuse(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Nothing was begun, so nothing is undone."""
    result = Result.ROLLED_BACK
    if isinstance(event, events.Refused):
        result, handoff = Result.REFUSED, replace(handoff, current=event.current)
    conclude(turn, handoff, result, failure_in(event))


def start(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The old generation has ended to make way."""
    del event
    assert handoff.release is not None
    _start(turn, handoff, handoff.release)


def _start(turn: Turn, handoff: Handoff, release: Release) -> None:
    """Bring up the candidate, on borrowed sockets if the old one has no process: clients may wait in their queues."""
    assert handoff.policy is not None
    predecessor = predecessor_of(turn, handoff)
    lends = predecessor.life is Life.DOWN and not _other_listeners(predecessor.release, release)
    lent = predecessor.sockets if lends else None
    candidate = generation.begin(turn, release=release, role=Role.CANDIDATE, policy=handoff.policy, sockets=lent)
    if lends:
        turn.enter(predecessor, Life.DOWN)
    enter(turn, replace(handoff, candidate=candidate.number), Phase.START)


def _other_listeners(old: Release, new: Release) -> bool:
    """Whether a server on the sockets of the old release would find others than it is to have."""
    return old.launch.listen != new.launch.listen


# ---- start, ready


def await_ready(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The candidate has a process: the wait for its readiness is that life's deadline."""
    del event
    enter(turn, handoff, Phase.READY)


def shift(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The candidate can serve: ask the kernel to send it every new connection."""
    del event
    sockets = candidate_of(turn, handoff).sockets
    assert sockets is not None
    handoff = enter(turn, handoff, Phase.SHIFT)
    if turn.state.borrowed(candidate_of(turn, handoff)):
        _succeed(turn, handoff)  # connections go to these sockets already
        return
    turn.emit(Steer(handoff.number, sockets))


# ---- shift, probation, settle


def stand_by(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The kernel has acknowledged: the candidate serves, the old one stands by."""
    if isinstance(event, events.Steered) and event.sockets == candidate_of(turn, handoff).sockets:
        _succeed(turn, handoff)


def _succeed(turn: Turn, handoff: Handoff) -> None:
    policy = handoff.policy or turn.state.policy
    turn.put(replace(candidate_of(turn, handoff), role=Role.SERVING, served=True))
    turn.put(replace(predecessor_of(turn, handoff), role=Role.STANDBY))
    enter(turn, handoff, Phase.PROBATION, turn.at + probation_of(policy))


def steering_failed(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Back to the old generation; but if that has died, the candidate is all there is: steer to it again."""
    if not isinstance(event, events.SteerFailed) or event.sockets != candidate_of(turn, handoff).sockets:
        return
    if predecessor_of(turn, handoff).life is Life.READY:
        go_back(turn, handoff, event)
        return
    turn.put_handoff(replace(handoff, until=turn.at + STEER_AGAIN))


def shift_again(turn: Turn, handoff: Handoff, event: Event) -> None:
    """There is nothing else to do than to try again."""
    del event
    sockets = candidate_of(turn, handoff).sockets
    assert sockets is not None
    turn.put_handoff(replace(handoff, until=None))
    turn.emit(Steer(handoff.number, sockets))


def pass_probation(turn: Turn, handoff: Handoff, event: Event) -> None:
    """The candidate has lasted. With no probation asked for, the old one's queue empties before it is given up."""
    policy = handoff.policy or turn.state.policy
    if policy.probation == 0 and predecessor_of(turn, handoff).life is Life.READY:
        enter(turn, handoff, Phase.SETTLE, turn.at + policy.drain_timeout / 2)
        return
    commit(turn, handoff, event)


def commit(turn: Turn, handoff: Handoff, event: Event) -> None:
    """From here on the old generation is on its own way out. What follows is done after this is on disk."""
    del event
    predecessor = predecessor_of(turn, handoff)
    candidate = candidate_of(turn, handoff)
    same_run = predecessor.release.launch == candidate.release.launch
    same = same_run and predecessor.release.same_file(candidate.release)
    same |= handoff.request.ask is Ask.REPLACE
    _remember(turn, handoff, same=same)
    turn.state = replace(
        turn.state,
        policy=handoff.policy or turn.state.policy,
        previous=turn.state.previous if same else predecessor.release,
    )
    conclude(turn, handoff, Result.COMMITTED)
    generation.retire(turn, predecessor)


def _remember(turn: Turn, handoff: Handoff, *, same: bool) -> None:
    """The old one can be gone back to, with all that it ran by. A copy runs by whatever its original does."""
    state, record, old = turn.state, turn.state.record, predecessor_of(turn, handoff).release
    given_up = handoff.request.ask is Ask.FALLBACK
    if not same:
        served = Served(release=old, policy=state.policy, well=not (given_up or record.fails(state.policy, turn.at)))
        record = record.left(served, candidate_of(turn, handoff).release)
    if given_up:
        record = record.put_away(old, handoff.request.because, turn.at, state.policy.rollback_quarantine)
    if handoff.request.ask is not Ask.REPLACE:
        record = replace(record, recalled=handoff.goal is not None)
    turn.state = replace(state, record=record)


def stop(turn: Turn, handoff: Handoff, event: Event) -> None:
    """Everything ends; what had not been committed was not."""
    conclude(turn, handoff, Result.ROLLED_BACK, failure_in(event))
