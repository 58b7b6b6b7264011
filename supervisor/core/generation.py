"""One generation's life, from the fork to the last exit.

Theory of operation. A generation that serves or stands by is kept alive: when its process dies it is started again on
the same sockets, which never close, so that clients wait instead of being refused. A candidate is not: its death
is its handoff's affair. A draining one is told to end once no client waits in its queues, loses its sockets when its
processes have closed their copies, and is dropped when its main process has gone. One that gives way in an exclusive
handoff is told at once and keeps its sockets: who waits in their queues is served by the next on them.

    down -> spawning -> starting -> ready -> ending -> killed
     ^                                                   |
     +---------------- every death leads back -----------+    (draining: dropped instead)

What a life does not list is written down as ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import events
from supervisor.core.effects import Forget, Kill, LetGo, Spawn, Tell
from supervisor.core.model import Generation, Health, Life, Mode, Role
from supervisor.core.policy import KILL_AGAIN, extended, failures_after, restart_after
from supervisor.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.core.events import GenerationEvent
    from supervisor.core.model import Failure, Release, State
    from supervisor.core.policy import Policy
    from supervisor.core.turn import Turn

    Handler = Callable[[Turn, Generation, GenerationEvent], None]


def begin(turn: Turn, *, release: Release, role: Role, policy: Policy, sockets: int | None = None) -> Generation:
    """Bring a new generation into being, on the sockets of another or on a set of its own (numbered as itself)."""
    number = turn.state.last_generation + 1
    turn.state = replace(turn.state, last_generation=number)
    held = number if sockets is None else sockets
    generation = Generation(
        number=number,
        release=release,
        role=role,
        life=Life.SPAWNING,
        since=turn.at,
        sockets=held,
        drain_signal=policy.drain_signal,
        served=role is Role.SERVING,
    )
    turn.emit(Spawn(number, generation.run, release, held))
    return turn.put(generation)


def retire(turn: Turn, generation: Generation) -> None:
    """Have it finish. Who still waits in its queues is served first, within half of its drain time."""
    generation = turn.put(replace(generation, role=Role.DRAINING))
    match generation.life:
        case Life.DOWN:
            turn.drop(generation)
        case Life.READY:
            _drain(turn, generation)
        case Life.STARTING:
            pass  # started again after a crash: it comes up, and serves who waits in its queue
        case Life.SPAWNING | Life.ENDING | Life.KILLED:
            pass
    _cap_draining(turn)


def discard(turn: Turn, generation: Generation) -> None:
    """Have a candidate end that never had a client: nothing to wait for, and its sockets go at once."""
    generation = turn.put(replace(generation, role=Role.DRAINING))
    match generation.life:
        case Life.DOWN:
            turn.drop(generation)
        case Life.STARTING | Life.READY:
            tell(turn, generation, turn.state.policy.drain_timeout)
            turn.close_sockets(generation)
        case Life.SPAWNING | Life.ENDING | Life.KILLED:
            turn.close_sockets(generation)
    _cap_draining(turn)


def tell(turn: Turn, generation: Generation, timeout: float) -> None:
    """Send the drain signal; after `timeout` seconds it is killed."""
    turn.enter(generation, Life.ENDING, turn.at + timeout)
    turn.emit(Tell(generation.number, generation.run, generation.drain_signal))


def give_way(turn: Turn, generation: Generation) -> None:
    """Have it end for the other's sake in an exclusive handoff. One that is only held is killed once it is there."""
    if generation.life in {Life.STARTING, Life.READY}:
        tell(turn, generation, turn.state.policy.drain_timeout)


def kill(turn: Turn, generation: Generation) -> None:
    """Send KILL, and again if that is not enough."""
    turn.enter(generation, Life.KILLED, turn.at + KILL_AGAIN)
    turn.emit(Kill(generation.number, generation.run))


def start_again(turn: Turn, generation: Generation) -> None:
    """Set when it is to be started again, unless its sockets are lent to a candidate."""
    policy = turn.state.policy
    wait = turn.at + restart_after(generation.failures, policy)
    turn.enter(generation, Life.DOWN, None if turn.state.lent(generation) else wait)


def policy_for(state: State, generation: Generation) -> Policy:
    """A candidate lives by the configuration that it came with."""
    handoff = state.handoff
    if handoff is not None and handoff.candidate == generation.number and handoff.policy is not None:
        return handoff.policy
    return state.policy


def _spawned(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    assert isinstance(event, events.Spawned)
    generation = turn.put(replace(generation, process=event.process, release=event.release, began=turn.at))
    if generation.role is Role.DRAINING or turn.state.gives_way(generation):
        kill(turn, generation)
        return
    turn.enter(generation, Life.STARTING, turn.at + policy_for(turn.state, generation).ready_timeout)
    turn.emit(LetGo(generation.number, generation.run))


def _died(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    """Its process is gone, or was never made."""
    meant = generation.role is Role.DRAINING or turn.state.gives_way(generation)
    told = meant and generation.life in {Life.ENDING, Life.KILLED}
    generation = replace(
        generation,
        process=None,
        spoke=None,
        spoke_at=None,
        seen="",
        failures=generation.failures
        if told
        else failures_after(generation.failures, generation.ready_at, turn.at, turn.state.policy),
        ready_at=None,
        health=Health(),
        last_exit=str(event.exit if isinstance(event, events.Exited) else _failure_of(event)),
    )
    turn.put(generation)
    turn.emit(Forget(generation.number))
    if generation.role is Role.DRAINING:
        turn.drop(turn.enter(generation, Life.DOWN))
    elif generation.role is Role.CANDIDATE:
        turn.enter(generation, Life.DOWN)
    else:
        start_again(turn, generation)


def _spoke(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    assert isinstance(event, events.Spoke)
    turn.put(replace(generation, spoke=event.how, spoke_at=event.at))
    turn.state = replace(turn.state, spoken=True)


def _seen(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    assert isinstance(event, events.Seen)
    turn.put(replace(generation, seen=event.what))


def _ready(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    assert isinstance(event, events.Ready)
    spoke, spoke_at = generation.spoke, generation.spoke_at
    if event.spoke_at is not None:
        spoke, spoke_at = event.how, event.spoke_at
        turn.state = replace(turn.state, spoken=True)
    ready = replace(generation, spoke=spoke, spoke_at=spoke_at, ready_at=turn.at, seen="")
    generation = turn.enter(ready, Life.READY)
    if generation.role is Role.DRAINING:
        _drain(turn, generation)


def _not_ready(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    """A candidate's handoff sees to it; what must be kept alive is made to die, and so starts again."""
    del event
    if generation.role is Role.DRAINING:
        tell(turn, generation, turn.state.policy.drain_timeout)
    elif generation.role is not Role.CANDIDATE:
        kill(turn, generation)


def _extend_ready(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    _extend(turn, generation, event, policy_for(turn.state, generation).ready_timeout)


def _extend_drain(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    policy = turn.state.policy
    stopping = turn.state.mode is Mode.STOPPING
    _extend(turn, generation, event, policy.stop_timeout if stopping else policy.drain_timeout)


def _extend(turn: Turn, generation: Generation, event: GenerationEvent, timeout: float) -> None:
    assert isinstance(event, events.Extended)
    if generation.until is not None:
        turn.put(replace(generation, until=extended(generation.until, event.until, generation.since, timeout)))


def _spawn_again(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    del event
    generation = turn.enter(replace(generation, run=generation.run + 1), Life.SPAWNING)
    turn.emit(Spawn(generation.number, generation.run, generation.release, generation.sockets or generation.number))


def _end_if_draining(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    """Nobody waits in its queue any more, or has waited for too long."""
    del event
    if generation.role is Role.DRAINING:
        timeout = turn.state.policy.drain_timeout
        tell(turn, generation, max(timeout / 2, timeout - (turn.at - generation.since)))


def _kill_late(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    del event
    if turn.state.mode is Mode.STOPPING:
        turn.state = replace(turn.state, killed=True)
    kill(turn, generation)


def _kill_again(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    """While stopping, a process that KILL cannot end is left to the kernel; else it is tried for ever."""
    del event
    if turn.state.mode is Mode.STOPPING:
        turn.drop(generation)
        turn.emit(Forget(generation.number))
        return
    kill(turn, generation)


def _close_sockets(turn: Turn, generation: Generation, event: GenerationEvent) -> None:
    del event
    if generation.role is Role.DRAINING:
        turn.close_sockets(generation)


def _drain(turn: Turn, generation: Generation) -> None:
    """Wait until nobody waits in its queues, for half of the time that it has to end."""
    turn.enter(generation, Life.READY, turn.at + turn.state.policy.drain_timeout / 2)


def _cap_draining(turn: Turn) -> None:
    """Long drains may pile up only so far: who never had a client is ended first, then the oldest."""
    draining = [each for each in turn.state.with_role(Role.DRAINING) if each.life not in {Life.KILLED, Life.SPAWNING}]
    surplus = len(draining) - turn.state.policy.drain_limit
    for each in sorted(draining, key=lambda each: each.served)[: max(0, surplus)]:
        kill(turn, each)


def _failure_of(event: GenerationEvent) -> Failure:
    assert isinstance(event, events.SpawnFailed)
    return event.failure


IGNORED: None = None
"""Written where an event means nothing to a life, so that silence is a decision."""

TABLE: Mapping[Life, Mapping[type[GenerationEvent], Handler | None]] = {
    Life.DOWN: {
        events.Spawned: IGNORED,
        events.SpawnFailed: IGNORED,
        events.Spoke: IGNORED,
        events.Seen: IGNORED,
        events.Ready: IGNORED,
        events.NotReady: IGNORED,
        events.Exited: IGNORED,
        events.Extended: IGNORED,
        events.Quiet: IGNORED,
        events.Released: IGNORED,
        events.GenerationLapsed: _spawn_again,
    },
    Life.SPAWNING: {
        events.Spawned: _spawned,
        events.SpawnFailed: _died,
        events.Spoke: IGNORED,
        events.Seen: IGNORED,
        events.Ready: IGNORED,
        events.NotReady: IGNORED,
        events.Exited: IGNORED,
        events.Extended: IGNORED,
        events.Quiet: IGNORED,
        events.Released: IGNORED,
        events.GenerationLapsed: IGNORED,
    },
    Life.STARTING: {
        events.Spawned: IGNORED,
        events.SpawnFailed: IGNORED,
        events.Spoke: _spoke,
        events.Seen: _seen,
        events.Ready: _ready,
        events.NotReady: _not_ready,
        events.Exited: _died,
        events.Extended: _extend_ready,
        events.Quiet: IGNORED,
        events.Released: IGNORED,
        events.GenerationLapsed: _not_ready,
    },
    Life.READY: {
        events.Spawned: IGNORED,
        events.SpawnFailed: IGNORED,
        events.Spoke: _spoke,
        events.Seen: IGNORED,
        events.Ready: IGNORED,
        events.NotReady: IGNORED,
        events.Exited: _died,
        events.Extended: IGNORED,
        events.Quiet: _end_if_draining,
        events.Released: IGNORED,
        events.GenerationLapsed: _end_if_draining,
    },
    Life.ENDING: {
        events.Spawned: IGNORED,
        events.SpawnFailed: IGNORED,
        events.Spoke: IGNORED,
        events.Seen: IGNORED,
        events.Ready: IGNORED,
        events.NotReady: IGNORED,
        events.Exited: _died,
        events.Extended: _extend_drain,
        events.Quiet: IGNORED,
        events.Released: _close_sockets,
        events.GenerationLapsed: _kill_late,
    },
    Life.KILLED: {
        events.Spawned: IGNORED,
        events.SpawnFailed: IGNORED,
        events.Spoke: IGNORED,
        events.Seen: IGNORED,
        events.Ready: IGNORED,
        events.NotReady: IGNORED,
        events.Exited: _died,
        events.Extended: IGNORED,
        events.Quiet: IGNORED,
        events.Released: _close_sockets,
        events.GenerationLapsed: _kill_again,
    },
}


def step(turn: Turn, generation: Generation, event: GenerationEvent) -> bool:
    """Let one event happen to one generation. Returns whether its present life cares."""
    handler = TABLE[generation.life][type(event)]
    if handler is None:
        return False
    handler(turn, generation, event)
    return True
