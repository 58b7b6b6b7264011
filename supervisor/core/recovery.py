"""A new supervisor takes over: the state as the last one wrote it, corrected by what is still there.

Theory of operation. What was written may be ahead of what was done (it is written first) and behind it (what needs no
record). So nothing is trusted but what can be seen: which processes live, which sockets could be taken back. Whose
process is gone has exited, by the same rules as ever, and the handoff under way takes its cue from that. Then what the
state says is under way, and has no answer yet, is asked for once more:

* a process that was being made is made again: it was held, so it ended with the supervisor, and nobody has met it;
* who was to be told and still listens is told; who has closed its listeners has been told already;
* who was to be killed is killed, and connections are steered where they were to go;
* sockets that nobody holds by this state are taken out of service;
* an outcome that is not in the history is told, and the store's `current` led to where it leads by that.

All of it can be done twice, so a supervisor that dies here is followed by one that does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core import events
from supervisor.core.course import conclude
from supervisor.core.effects import CloseSockets, Conclude, Kill, Spawn, Steer, Tell
from supervisor.core.ending import Exit
from supervisor.core.model import Failure, Life, Mode, Phase, Reason, Role, State
from supervisor.core.outcome import Result
from supervisor.core.pointing import pointed, put_back
from supervisor.core.record import Served
from supervisor.core.step import step
from supervisor.core.turn import Turn
from supervisor.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.core.effects import Effect
    from supervisor.core.model import Generation
    from supervisor.core.policy import Policy
    from supervisor.core.record import Record

UNSEEN = 5.0
"""Seconds that a generation has to be seen ready, if its deadline passed while nobody looked."""

Runs = frozenset[tuple[int, int]]
"""Generation and run of each."""


class Found(Struct, frozen=True, kw_only=True):
    """What is still there of what a state speaks of."""

    alive: Runs
    listening: Runs
    """Those of them whose processes have listening sockets open."""
    exits: Mapping[tuple[int, int], Exit]
    """How others have ended, as far as that is known."""
    sockets: frozenset[int]
    """The sets that could be taken back."""
    told: int
    """The last handoff whose outcome is in the history."""


def resumed(was: State, found: Found, at: float) -> tuple[State, tuple[Effect, ...]]:
    """The state from which to go on at that time, and what is to be done first."""
    state = _running(was, found, at)
    wanted: list[Effect] = []
    for event in _missed(state, found, at):
        state, more = step(state, event)
        wanted += more
    wanted += [each for each in _outstanding(state, found) if each not in wanted]
    return replace(state, target=_rightful(state)), tuple(wanted)


def _rightful(state: State) -> int | None:
    """The set that is to get new connections. One that is gone is made again, and steered to, with its next process."""
    handoff = state.handoff
    shifts = handoff is not None and handoff.phase is Phase.SHIFT
    candidate = state.find(handoff.candidate) if handoff is not None and shifts else None
    goal = candidate or state.serving
    return None if goal is None else goal.sockets


def _running(was: State, found: Found, at: float) -> State:
    """Whoever starts a supervisor wants the service to run, also after a stop that was cut short."""
    now = replace(was, mode=Mode.RUNNING, killed=False)
    return replace(now, generations=tuple(_as_found(now, each, found, at) for each in was.generations))


def _as_found(state: State, each: Generation, found: Found, at: float) -> Generation:
    """A draining generation whose sockets are gone has closed them, and nobody else has them any more.

    What could not be seen to meet its deadline has some time yet.
    """
    if each.role is Role.DRAINING and each.sockets not in found.sockets:
        each = replace(each, sockets=None)
    if each.until is None:
        return each
    if each.life is Life.STARTING:
        return replace(each, until=max(each.until, at + UNSEEN))
    if each.life is Life.ENDING and (each.number, each.run) in found.listening:
        return replace(each, since=at, until=max(each.until, at + state.policy.drain_timeout))
    return each


def _missed(state: State, found: Found, at: float) -> Iterator[events.Event]:
    for each in state.generations:
        run = (each.number, each.run)
        if each.process is not None and run not in found.alive:
            yield events.Exited(at=at, generation=each.number, run=each.run, exit=found.exits.get(run, Exit()))
        elif each.life is Life.SPAWNING and (each.role is Role.DRAINING or state.gives_way(each)):
            failure = Failure(Reason.SPAWN_FAILED, "the supervisor ended meanwhile, and it is no longer wanted")
            yield events.SpawnFailed(at=at, generation=each.number, run=each.run, failure=failure)


def _outstanding(state: State, found: Found) -> Iterator[Effect]:
    """What has been asked for by the time that a state is as it is, and may not have been done."""
    for each in state.generations:
        yield from _of_generation(each, found)
    handoff = state.handoff
    if handoff is not None and handoff.until is None and handoff.phase in {Phase.SHIFT, Phase.RETURN}:
        goal = state.find(handoff.candidate if handoff.phase is Phase.SHIFT else handoff.predecessor)
        if goal is not None and goal.sockets is not None:
            yield Steer(handoff.number, goal.sockets)
    yield from _nobodys(state, found)
    yield from _of_store(state, found.told)


def _of_store(state: State, told: int) -> Iterator[Effect]:
    """Where `current` is to lead, and an outcome that nobody has heard of."""
    handoff = state.handoff
    serving = None if handoff is None else state.find(handoff.predecessor)
    if handoff is not None and serving is not None:
        yield from put_back(handoff, serving.release)
    if state.concluded is not None and state.concluded.handoff > told:
        yield from pointed(state.concluded)
        yield Conclude(state.concluded)


def _of_generation(each: Generation, found: Found) -> Iterator[Effect]:
    match each.life:
        case Life.SPAWNING:
            yield Spawn(each.number, each.run, each.release, each.sockets or each.number)
        case Life.ENDING if (each.number, each.run) in found.listening:
            yield Tell(each.number, each.run, each.drain_signal)
        case Life.KILLED:
            yield Kill(each.number, each.run)
        case _:
            pass


def _nobodys(state: State, found: Found) -> Iterator[Effect]:
    others = [each for each in state.generations if each.sockets is not None]
    all_accept = bool(others) and all(each.accepts for each in others)
    for sockets in sorted(found.sockets - {each.sockets for each in others}):
        yield CloseSockets(sockets, migrate=all_accept, clients=True)


def begun_anew(
    was: State, policy: Policy, told: int, at: float, ahead: float = 0.0
) -> tuple[State, tuple[Effect, ...]]:
    """Nothing is left, as after the host was started again: what is known goes on, and what was under way has ended.

    `ahead`: how much more the clock shows now than the one that `was` is told by would.
    """
    turn = Turn(replace(was, mode=Mode.RUNNING, killed=False, target=None, pending=None), at)
    if was.concluded is not None and was.concluded.handoff > told:
        turn.emit(*pointed(was.concluded), Conclude(was.concluded))
    if was.handoff is not None:
        conclude(turn, was.handoff, Result.ROLLED_BACK, Failure(Reason.INTERRUPTED))
    anew = replace(turn.state, policy=policy, generations=(), last_generation=0, replacements=0, replace_at=None)
    record = replace(_of_who_served(was), failed=turn.state.record.failed)
    return replace(anew, record=record.moved(ahead).lapsed(at)), tuple(turn.effects)


def elsewhere(was: State) -> State:
    """What of a state holds on any host: what is remembered, as if its own host had been started again.

    Processes, sockets, what was under way and how often it failed are of the host.
    """
    record = replace(_of_who_served(was), recalled=False, deaths=())
    return State(
        policy=was.policy,
        previous=was.previous,
        record=record,
        spoken=was.spoken,
        last_handoff=was.last_handoff,
    )


def _of_who_served(was: State) -> Record:
    """Who is begun with may be another by now: whoever served in the end can be gone back to."""
    committed = was.serving if was.handoff is None else was.find(was.handoff.predecessor)
    if committed is None:
        return was.record
    well = not 0 < was.policy.rollback_after <= len(was.record.deaths)
    return was.record.left(Served(release=committed.release, policy=was.policy, well=well), committed.release)
