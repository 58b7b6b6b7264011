"""What must never be true: of an effect when it is asked for, of a world between two events, of a change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import effects, events
from supervisor.core.model import Ask, Failure, Life, Mode, Phase, Reason, Role
from supervisor.core.outcome import Result
from supervisor.core.policy import ONE_FAILURE
from supervisor.core.step import step
from supervisor.core.value import replace

if TYPE_CHECKING:
    from supervisor.core.model import Generation, Handoff
    from supervisor.core.outcome import Outcome
    from tests.core.world import World

STEERED_TO_CANDIDATE = {Phase.PROBATION, Phase.SETTLE}
GOING = {Life.SPAWNING, Life.ENDING, Life.KILLED}


def take(before: World, event: events.Event) -> World:
    """Let one event happen: first to reality, then to the core, whose effects then happen to reality."""
    return watched(before, event)[0]


def watched(before: World, event: events.Event) -> tuple[World, tuple[effects.Effect, ...]]:
    """As `take`, and what the core wanted done."""
    world = before.happens(event)
    state, wanted = step(world.state, event)
    world = replace(world, state=state)
    assert len(wanted) == len(set(wanted)), "an effect is wanted once"
    for effect in wanted:
        check_effect(before, world, event, effect)
        world = world.perform(effect)
    check(world)
    check_change(before, world, event)
    return world, wanted


def check_effect(  # noqa: C901 - one a kind
    before: World, world: World, event: events.Event, effect: effects.Effect
) -> None:
    """Judge an effect at the moment that it is asked for. `world` has the new state and the effects before this one."""
    match effect:
        case effects.Spawn():
            _check_spawn(world, effect)
        case effects.LetGo():
            _check_let_go(world, effect)
        case effects.Tell():
            _check_tell(world, event, effect)
        case effects.Kill():
            _check_kill(before, world, effect)
        case effects.CloseSockets():
            _check_close(before, world, effect)
        case effects.Steer():
            _check_steer(world, effect)
        case effects.Conclude():
            _check_conclude(before, world, effect)
        case effects.End():
            _check_end(before, world)
        case effects.Refuse(failure=Failure(reason=Reason.DISPLACED)):
            assert isinstance(event, events.Asked), "nobody is displaced by the service itself"
        case effects.Forget():
            _check_forget(world, effect)
        case effects.Point():
            _check_point(before, world, effect)


def _check_end(before: World, world: World) -> None:
    assert not before.ended, "it ends once"
    assert world.state.mode is not Mode.RUNNING, "it ends only when told to"


def _check_point(before: World, world: World, effect: effects.Point) -> None:
    """A host that goes down now begins with that version."""
    handoff, old, new = before.state.handoff, before.state, world.state
    assert handoff is not None, "a handoff alone moves it"
    predecessor, candidate = old.find(handoff.predecessor), old.find(handoff.candidate)
    assert predecessor is not None
    over = new.handoff is None or new.handoff.number != handoff.number
    committed = (
        over and candidate is not None and new.serving == candidate and new.find(predecessor.number) != predecessor
    )
    wanted = candidate if committed else predecessor
    assert wanted is not None
    assert effect.version == wanted.release.version, "current leads to what has been committed"


def _check_forget(world: World, effect: effects.Forget) -> None:
    forgotten = {run for number, run in world.alive if number == effect.generation}
    assert not forgotten or world.state.mode is Mode.STOPPING, "what lives is not forgotten"


def _check_spawn(world: World, effect: effects.Spawn) -> None:
    held = {each.release.path for each in world.state.record.quarantine}
    assert effect.release.path not in held, "what is in quarantine is not started"
    assert world.state.mode is Mode.RUNNING, "nothing is started on the way out"
    assert all(number != effect.generation for number, _ in world.alive), "a generation has one process"
    spawned = world.state.find(effect.generation)
    assert spawned is not None
    assert spawned.sockets == effect.sockets
    assert spawned.role is not Role.DRAINING, "what drains is not started again"
    if effect.sockets != effect.generation:
        assert effect.sockets in world.open, "borrowed sockets are open"
    handoff = world.state.handoff
    returning = handoff is not None and handoff.phase is Phase.RETURN
    if spawned.role is not Role.CANDIDATE and not returning:
        assert not world.state.lent(spawned), "who has lent its sockets waits"


def _check_let_go(world: World, effect: effects.LetGo) -> None:
    let_go = world.state.find(effect.generation)
    assert (effect.generation, effect.run) in world.alive - world.let_go, "only a held process is let go"
    assert let_go is not None
    assert let_go.role is not Role.DRAINING, "what is to end is not let go"


def _check_tell(world: World, event: events.Event, effect: effects.Tell) -> None:
    state, told = world.state, world.state.find(effect.generation)
    assert told is not None
    assert (effect.generation, effect.run) in world.let_go - world.told, "who runs is told, and once"
    if told.role is not Role.DRAINING:
        _check_way_made(world, told)
        return
    if state.mode is not Mode.RUNNING or told.sockets is None:
        return
    if state.borrowed(told):
        assert any(each.role is not Role.DRAINING for each in state.holders(told.sockets)), "somebody takes over"
        _check_committed(state.handoff, told)
        return
    assert told.sockets != world.kernel, "nobody drains before steering is acknowledged"
    assert all(each.sockets != told.sockets for each in world.steers), "nobody drains who is about to be steered to"
    _check_committed(state.handoff, told)
    if told.sockets in world.waiting and told.served:
        late = isinstance(event, (events.GenerationLapsed, events.NotReady))
        assert late, "clients in the queue come first, until the deadline"


def _check_committed(handoff: Handoff | None, told: Generation) -> None:
    left_too_soon = handoff is not None and handoff.predecessor == told.number
    assert not left_too_soon, "a commit is concluded, and with that on disk, before the old one is told"


def _check_way_made(world: World, told: Generation) -> None:
    """Who does not drain is told to end for one reason only: the other of the two is to be started."""
    handoff = world.state.handoff
    assert handoff is not None, "only who drains is told to end"
    assert handoff.exclusive, "only who drains is told to end"
    assert handoff.release is not None, "the old one is not told before the new one is verified"
    way = {Phase.YIELD: handoff.predecessor, Phase.WITHDRAW: handoff.candidate}
    assert way.get(handoff.phase) == told.number, "only who drains is told to end"


def _check_kill(before: World, world: World, effect: effects.Kill) -> None:
    killed = world.state.find(effect.generation)
    assert killed is not None
    assert (effect.generation, effect.run) in world.alive, "who lives is killed"
    if world.state.mode is not Mode.RUNNING or killed.role is Role.DRAINING:
        return
    former = before.state.find(effect.generation)
    assert former is not None
    late = world.state.gives_way(killed) and former.life in {Life.ENDING, Life.KILLED}
    assert late or killed.ready_at is None, "what serves is not killed"


def _check_close(before: World, world: World, effect: effects.CloseSockets) -> None:
    assert effect.sockets in world.open, "sockets are closed once"
    if world.state.mode is not Mode.RUNNING:
        return
    assert effect.sockets != world.kernel, "the sockets that the kernel steers to stay open"
    assert all(each.sockets != effect.sockets for each in world.steers), "nor are those closed that it is to steer to"
    for each in before.state.holders(effect.sockets):
        alive = (each.number, each.run) in world.let_go
        assert not alive or (each.number, each.run) in world.told, "who has not been told keeps its sockets"
    assert not any(world.state.holders(effect.sockets)), "nobody holds what is closed"
    if effect.migrate and effect.sockets in world.waiting:
        for other in world.open - {effect.sockets}:
            assert _is_accepted(world, other), "clients are moved only to where somebody accepts"


def _is_accepted(world: World, sockets: int) -> bool:
    holders = list(world.state.holders(sockets))
    ready = any(each.life is Life.READY and (each.number, each.run) not in world.told for each in holders)
    return ready or any(each.role is Role.SERVING for each in holders)


def _check_steer(world: World, effect: effects.Steer) -> None:
    assert effect.sockets in world.open, "steered to open sockets only"
    assert _is_accepted(world, effect.sockets), "steered to where somebody accepts"


def _check_conclude(before: World, world: World, effect: effects.Conclude) -> None:
    handoff, outcome = before.state.handoff, effect.outcome
    assert handoff is not None
    assert outcome.handoff == handoff.number, "the handoff that ends is the one under way"
    now = world.state.handoff
    assert now is None or now.number > outcome.handoff, "it ends once"
    assert (outcome.result is Result.COMMITTED) == (outcome.failure is None), "who failed knows why"
    if outcome.result is not Result.COMMITTED and world.state.mode is Mode.RUNNING:
        _check_kept(before, outcome)
    if outcome.result is Result.COMMITTED:
        assert outcome.failure is None
        assert (outcome.from_generation, handoff.predecessor) == (handoff.predecessor, outcome.from_generation)
        standby = before.state.find(outcome.from_generation)
        assert standby is not None
        assert standby.role is Role.STANDBY, "the old one stood by until the commit"
        if outcome.request.ask is Ask.FALLBACK:
            held = [each.release.path for each in world.state.record.quarantine]
            assert outcome.from_release.path in held, "who was gone back from is in quarantine"


def _check_kept(before: World, outcome: Outcome) -> None:
    """Who accepts is not given up for who does not. An exclusive handoff cannot but do so; its candidate has gone."""
    handoff, candidate = before.state.handoff, before.state.find(outcome.to_generation)
    predecessor = before.state.find(outcome.from_generation)
    assert handoff is not None
    assert predecessor is not None
    if handoff.phase is Phase.RETURN and candidate is not None and candidate.life is Life.READY:
        assert predecessor.life is Life.READY, "nobody is given up for one who has died"


def check(world: World) -> None:
    """Judge the whole of a world between two events."""
    _check_service(world)
    _check_processes(world)
    for each in world.state.generations:
        _check_generation(world, each)
    if world.state.handoff is not None and world.state.mode is Mode.RUNNING:
        _check_handoff(world, world.state.handoff)
    _check_promises(world)
    if world.current is not None and not world.wished:
        _check_current(world)


def _check_current(world: World) -> None:
    """Whatever becomes of the host, it begins with what has lasted, if no wish is waiting to be read."""
    handoff = world.state.handoff
    if world.state.mode is not Mode.RUNNING or (handoff is not None and handoff.phase is Phase.VERIFY):
        return
    lasting = world.state.serving if handoff is None else world.state.find(handoff.predecessor)
    assert lasting is not None
    assert world.current == lasting.release.version, "current leads to what serves"


def _check_service(world: World) -> None:
    state = world.state
    if state.mode is not Mode.RUNNING or not state.last_generation:
        return
    serving = list(state.with_role(Role.SERVING))
    assert len(serving) == 1, "one generation serves, always"
    assert serving[0].sockets in world.open, "its sockets are open"
    assert world.kernel in world.open
    assert world.steers or state.target == world.kernel, "where the kernel steers is known"
    draining = [each for each in state.with_role(Role.DRAINING) if each.life not in {Life.KILLED, Life.SPAWNING}]
    assert len(draining) <= state.policy.drain_limit, "drains are capped"
    if state.handoff is None:
        assert world.kernel == serving[0].sockets, "between handoffs the kernel steers to who serves"
        assert {each.role for each in state.generations} <= {Role.SERVING, Role.DRAINING}, "roles of a handoff end"
        assert state.pending is None, "a kept request is taken up at once"


def _check_processes(world: World) -> None:
    state = world.state
    known = {(each.number, each.run) for each in state.generations if each.process is not None}
    lost = world.alive - known
    assert not lost or state.mode is not Mode.RUNNING, "nothing that lives is dropped"
    assert lost <= world.told, "nothing is started and forgotten"
    assert known <= world.alive, "what is known to live does"
    held = {each.sockets for each in state.generations if each.sockets is not None}
    assert held == world.open, "every open set of sockets has its holder"
    if world.alone and state.mode is Mode.RUNNING:
        assert len(world.alive) <= 1, "two never run at one time"


def _check_generation(world: World, each: Generation) -> None:
    running = world.state.mode is Mode.RUNNING
    assert each.health.ailment is None or each.ready_at is not None, "who ails has been well"
    process = (each.number, each.run)
    assert (each.process is None) == (each.life in {Life.DOWN, Life.SPAWNING}), "a life has its process"
    match each.life:
        case Life.DOWN if running and each.role in {Role.SERVING, Role.STANDBY}:
            assert each.until is not None or world.state.lent(each), "what should live is started again"
        case Life.DOWN if running:
            assert each.role is Role.CANDIDATE, "what is over is dropped"
        case Life.SPAWNING:
            spawns = {(it.generation, it.run) for it in world.outstanding if isinstance(it, effects.Spawn)}
            assert process in spawns, "a spawn is under way"
        case Life.STARTING | Life.READY:
            assert process in world.let_go, "what was started was let go"
            needed = each.life is Life.STARTING or each.role is Role.DRAINING
            assert each.until is not None or not needed, "every wait ends somewhere"
            assert each.until is None or needed, "no deadline outlives its life"
        case Life.ENDING | Life.KILLED:
            assert process in world.told, "what is to end was told"
            assert each.until is not None, "every wait ends somewhere"


def _check_handoff(world: World, handoff: Handoff) -> None:
    state = world.state
    predecessor, candidate = state.find(handoff.predecessor), state.find(handoff.candidate)
    assert predecessor is not None, "the old generation is kept until the commit"
    stands_by = handoff.phase in STEERED_TO_CANDIDATE
    assert predecessor.role is (Role.STANDBY if stands_by else Role.SERVING)
    if handoff.phase is Phase.VERIFY:
        assert not any(state.with_role(Role.CANDIDATE)), "nothing is begun before it is verified"
        assert predecessor.life is not Life.ENDING, "the old one is not told before the new one is verified"
        return
    if handoff.exclusive:
        _check_exclusive(world, handoff, predecessor)
    if handoff.phase is Phase.YIELD or (handoff.phase is Phase.WITHDRAW and handoff.candidate is None):
        assert predecessor.life in GOING, "who makes way goes"
        return
    assert candidate is not None, "a candidate is kept until its handoff ends"
    assert candidate.role is (Role.SERVING if stands_by else Role.CANDIDATE)
    if handoff.request.ask is Ask.REPLACE:
        assert candidate.release.same_file(predecessor.release), "a replacement is of the same release"
    _check_phase(world, handoff, candidate)


def _check_exclusive(world: World, handoff: Handoff, predecessor: Generation) -> None:
    """The old one and the candidate take turns on one set of sockets."""
    both = {handoff.predecessor, handoff.candidate}
    assert sum(number in both for number, _ in world.alive) <= 1, "two never run at one time"
    candidate = world.state.find(handoff.candidate)
    assert candidate is None or candidate.sockets == predecessor.sockets, "clients wait for whoever comes"
    assert world.kernel == predecessor.sockets, "clients wait for whoever comes"


def _check_phase(world: World, handoff: Handoff, candidate: Generation) -> None:
    match handoff.phase:
        case Phase.WITHDRAW:
            assert candidate.life in GOING, "who makes way goes"
        case Phase.START:
            assert candidate.life is Life.SPAWNING
        case Phase.READY:
            assert candidate.life is Life.STARTING
        case Phase.SHIFT:
            assert candidate.life is Life.READY
            asked = any(each.sockets == candidate.sockets for each in world.steers)
            assert asked or handoff.until is not None, "a shift is being asked for"
        case Phase.PROBATION | Phase.SETTLE:
            assert handoff.until is not None, "every wait ends somewhere"
            assert candidate.life is Life.READY
            assert world.kernel == candidate.sockets, "who serves is steered to"
        case _:
            assert candidate.life in {Life.READY, Life.DOWN}
            assert world.steers or handoff.until is not None, "the way back ends somewhere"


def _check_promises(world: World) -> None:
    state = world.state
    promised = {state.pending.id} if state.pending else set()
    if state.handoff is not None:
        promised |= {each.id for each in (state.handoff.request, state.handoff.undone_by) if each is not None}
    assert world.owed <= promised, "who asked hears the end of it"


def check_change(before: World, after: World, event: events.Event) -> None:
    """Judge what one event has changed."""
    old, new = before.state, after.state
    assert new.last_generation >= old.last_generation
    started = [each for each in new.generations if each.number > old.last_generation]
    assert len(started) <= 1, "one generation is begun at a time"
    if old.handoff is not None and new.handoff is not None:
        assert new.handoff.number in {old.handoff.number, old.handoff.number + 1}
    if old.mode is Mode.RUNNING and new.mode is not Mode.RUNNING:
        assert isinstance(event, (events.StopAsked, events.LeaveAsked)), "only who is told to stop stops"
    if old.handoff is not None and new.handoff is None and new.mode is Mode.RUNNING:
        _check_served(before, after, old.handoff)
    _check_way_back(before, after, event)
    _check_replacement(before, after, event)
    _check_failures(before, event, old.record.deaths, new.record.deaths)
    _check_fallback(before, after)
    for each in old.generations:
        _check_gone(before, after, each, event)


def _check_served(before: World, after: World, handoff: Handoff) -> None:
    """A handoff that has ended leaves whom it began with, or whom it committed."""
    serving = after.state.serving
    assert serving is not None
    committed = after.state.find(handoff.predecessor) is None or serving.number == handoff.candidate
    if committed:
        assert handoff.phase in STEERED_TO_CANDIDATE, "who has served is started again"
    else:
        assert serving.number == handoff.predecessor, "who has served is started again"
    assert before.state.find(serving.number) is not None, "who serves was there before"


def _check_replacement(before: World, after: World, event: events.Event) -> None:
    """When the service itself asks."""
    old, new = before.state, after.state
    if new.handoff is None or new.last_handoff == old.last_handoff or new.handoff.request.ask is not Ask.REPLACE:
        return
    ill = new.find(new.handoff.predecessor)
    assert ill is not None
    assert ill.health.ailment is not None, "only who ails is replaced"
    assert ill.life is Life.READY, "only who serves is replaced"
    due = isinstance(event, events.ReplaceDue) or (old.handoff and old.handoff.request.ask is not Ask.REPLACE)
    assert old.replace_at is None or due, "a replacement waits for its time"


def _check_failures(before: World, event: events.Event, old: tuple[float, ...], new: tuple[float, ...]) -> None:
    """Who is told to end, or is on trial, does not fail."""
    assert len(new) <= max(len(old), before.state.policy.rollback_after), "only so many failures are kept"
    if len(new) <= len(old):
        return
    kinds = (events.Exited, events.Ailing, events.OomKilled)
    assert isinstance(event, kinds), "only who dies, hangs or loses processes fails"
    found, handoff = before.state.find(event.generation), before.state.handoff
    assert found is not None
    oom_at = found.health.oom_at
    assert oom_at is None or event.at - oom_at >= ONE_FAILURE, "who dies of an OOM kill fails once"
    assert found.role in {Role.SERVING, Role.STANDBY}, "who is told to end may end"
    assert not before.state.gives_way(found), "who is told to end may end"
    assert handoff is None or handoff.candidate != event.generation, "who is on trial has not been committed"


def _check_fallback(before: World, after: World) -> None:
    """When the service goes back by itself."""
    old, new = before.state, after.state
    if new.handoff is None or new.last_handoff == old.last_handoff or new.handoff.request.ask is not Ask.FALLBACK:
        return
    serving, goal = new.find(new.handoff.predecessor), new.handoff.goal
    assert serving is not None
    assert goal is not None
    assert len(new.record.deaths) >= new.policy.rollback_after > 0, "only who fails too often is gone back from"
    assert goal.release.path != serving.release.path, "to go back is to go to another"
    assert goal.release.id not in after.left, "nobody goes back to who was gone back from"
    assert serving.release.id not in after.left, "each is gone back from once"


def _check_way_back(before: World, after: World, event: events.Event) -> None:
    old, new = before.state.handoff, after.state.handoff
    if old is None or new is None or (old.phase is Phase.RETURN) is (new.phase is Phase.RETURN):
        return
    if new.phase is not Phase.RETURN:
        return
    candidate, predecessor = after.state.find(new.candidate), after.state.find(new.predecessor)
    assert candidate is not None
    assert predecessor is not None
    assert predecessor.life is Life.READY or candidate.life is Life.DOWN, "who serves is not given up for nobody"
    if isinstance(event, events.Ailing):
        assert predecessor.health.fit, "who ails is not given up for another who does"


def _check_gone(before: World, after: World, each: Generation, event: events.Event) -> None:
    if after.state.find(each.number) is not None or after.state.mode is not Mode.RUNNING:
        return
    died = isinstance(event, events.Exited) and (event.generation, event.run) == (each.number, each.run)
    unborn = isinstance(event, events.SpawnFailed) and event.generation == each.number
    down = before.state.find(each.number) == each and each.life is Life.DOWN
    assert died or unborn or down, "a generation is over when its process is"
