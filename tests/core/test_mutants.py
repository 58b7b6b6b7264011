"""Each invariant can fail: a core that is broken in one place is found out, and for the right reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.core import course, due, events, fallback, generation, handoff, health, moves, retreat
from supervisor.core import step as step_module
from supervisor.core.effects import CloseSockets, Conclude, Kill, LetGo, Point, Refuse, Spawn, Steer
from supervisor.core.handoff import Cue, Move
from supervisor.core.model import ANYWHERE, Ask, Failure, Handoff, Life, Phase, Reason, Request, Role, State
from supervisor.core.outcome import Result
from supervisor.core.pointing import pointed
from supervisor.core.record import Record, Served
from supervisor.core.turn import Turn
from supervisor.core.value import replace
from tests.core import starts
from tests.core.explore import InvariantError, explore
from tests.core.invariants import take
from tests.core.kind import calm, kindness, onward
from tests.core.world import NO_PROBATION, POLICY, RELEASES, STORED, WARY, Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor.core.effects import Effect
    from supervisor.core.events import Event
    from supervisor.core.model import Generation, Release
    from tests.core.world import World

    Patch = pytest.MonkeyPatch
    Break = Callable[[Patch], None]
    Act = Callable[[Turn, Handoff, Event], None]
    Handler = Callable[[Turn, Generation, events.GenerationEvent], None]

DEPTH = 6


def move(patch: Patch, phase: Phase, cue: Cue, act: Act) -> None:
    """Have a phase do something else on a cue."""
    patch.setitem(handoff.TABLE, phase, {**handoff.TABLE[phase], cue: Move(act, (phase,))})


def handle(patch: Patch, life: Life, event: type[events.GenerationEvent], handler: Handler | None) -> None:
    """Have a life do something else on an event."""
    patch.setitem(generation.TABLE, life, {**generation.TABLE[life], event: handler})


def mute(patch: Patch, kind: type[Effect], *, life: Life | None = None) -> None:
    """Have an effect be forgotten; with `life`, only if a generation has just entered that one."""
    emit = Turn.emit

    def selective(turn: Turn, *effects: Effect) -> None:
        entered = life is None or any(each.life is life for each in turn.state.generations)
        emit(turn, *(each for each in effects if not (isinstance(each, kind) and entered)))

    patch.setattr(Turn, "emit", selective)


def and_tells_the_old_one(original: Act) -> Act:
    """Much too soon."""

    def act(turn: Turn, under_way: Handoff, event: Event) -> None:
        original(turn, under_way, event)
        old = turn.state.find(under_way.predecessor)
        assert old is not None
        generation.tell(turn, turn.put(replace(old, role=Role.DRAINING)), 1.0)

    return act


def drain_before_steered(patch: Patch) -> None:
    move(patch, Phase.READY, Cue.READY, and_tells_the_old_one(moves.shift))


def tell_the_old_one_on_probation(patch: Patch) -> None:
    move(patch, Phase.SHIFT, Cue.STEERED, and_tells_the_old_one(moves.stand_by))


def commit_at_the_shift(patch: Patch) -> None:
    move(patch, Phase.READY, Cue.READY, moves.commit)


def never_start_again(patch: Patch) -> None:
    patch.setattr(generation, "start_again", lambda turn, each: turn.enter(each, Life.DOWN))


def two_serve(patch: Patch) -> None:
    def act(turn: Turn, under_way: Handoff, event: Event) -> None:
        moves.stand_by(turn, under_way, event)
        old = turn.state.find(under_way.predecessor)
        assert old is not None
        turn.put(replace(old, role=Role.SERVING))

    move(patch, Phase.SHIFT, Cue.STEERED, act)


def drop_what_lives(patch: Patch) -> None:
    patch.setattr(generation, "retire", lambda turn, each: turn.drop(each))


def forget_the_process(patch: Patch) -> None:
    def act(turn: Turn, under_way: Handoff, event: Event) -> None:
        retreat.undo(turn, under_way, event)
        for each in list(turn.state.with_role(Role.DRAINING)):
            turn.put(replace(each, process=None, life=Life.DOWN, until=None))

    move(patch, Phase.READY, Cue.FAILED, act)


def wait_without_end(patch: Patch) -> None:
    def tell(turn: Turn, each: Generation, timeout: float) -> None:
        original(turn, each, timeout)
        found = turn.state.find(each.number)
        assert found is not None
        turn.put(replace(found, until=None))

    original = generation.tell
    patch.setattr(generation, "tell", tell)


def probation_without_end(patch: Patch) -> None:
    def act(turn: Turn, under_way: Handoff, event: Event) -> None:
        moves.stand_by(turn, under_way, event)
        now = turn.state.handoff
        turn.put_handoff(None if now is None else replace(now, until=None))

    move(patch, Phase.SHIFT, Cue.STEERED, act)


def give_up_the_way_back(patch: Patch) -> None:
    move(patch, Phase.RETURN, Cue.STEER_FAILED, lambda *_: None)


def tell_the_candidate_before_the_way_back(patch: Patch) -> None:
    def act(turn: Turn, under_way: Handoff, event: Event) -> None:
        candidate = turn.state.find(under_way.candidate)
        assert candidate is not None
        retreat.go_back(turn, under_way, event)
        generation.tell(turn, turn.put(replace(candidate, role=Role.DRAINING)), 1.0)

    move(patch, Phase.PROBATION, Cue.ABORT, act)


def leave_clients_in_the_queue(patch: Patch) -> None:
    def retire(turn: Turn, each: Generation) -> None:
        generation.tell(turn, turn.put(replace(each, role=Role.DRAINING)), 1.0)

    patch.setattr(generation, "retire", retire)


def close_before_it_is_told(patch: Patch) -> None:
    original = generation.retire

    def retire(turn: Turn, each: Generation) -> None:
        original(turn, each)
        turn.close_sockets(each)

    patch.setattr(generation, "retire", retire)


def close_twice(patch: Patch) -> None:
    def close(turn: Turn, each: Generation) -> None:
        original(turn, each)
        if each.sockets is not None:
            turn.emit(CloseSockets(each.sockets, migrate=False, clients=True))

    original = Turn.close_sockets
    patch.setattr(Turn, "close_sockets", close)


def leak_sockets(patch: Patch) -> None:
    patch.setattr(Turn, "close_sockets", lambda turn, each: turn.put(replace(each, sockets=None)))


def move_clients_anywhere(patch: Patch) -> None:
    patch.setattr(Turn, "_all_accept_but", lambda *_: True)


def let_go_of_what_drains(patch: Patch) -> None:
    def spawned(turn: Turn, each: Generation, event: events.GenerationEvent) -> None:
        assert isinstance(event, events.Spawned)
        turn.enter(replace(each, process=event.process), Life.STARTING, turn.at + 1)
        turn.emit(LetGo(each.number, each.run))

    handle(patch, Life.SPAWNING, events.Spawned, spawned)


def start_on_lent_sockets(patch: Patch) -> None:
    original = moves.verified

    def act(turn: Turn, under_way: Handoff, event: Event) -> None:
        original(turn, under_way, event)
        old = turn.state.find(under_way.predecessor)
        if old is not None and old.life is Life.DOWN:
            turn.put(replace(old, until=turn.at))

    move(patch, Phase.VERIFY, Cue.VERIFIED, act)


def kill_who_serves(patch: Patch) -> None:
    def ready(turn: Turn, each: Generation, _: events.GenerationEvent) -> None:
        generation.kill(turn, replace(each, ready_at=turn.at))

    handle(patch, Life.STARTING, events.Ready, ready)


def no_cap(patch: Patch) -> None:
    patch.setattr(generation, "_cap_draining", lambda _: None)


def say_nothing_of_the_end(patch: Patch) -> None:
    mute(patch, Conclude)


def displace_in_silence(patch: Patch) -> None:
    mute(patch, Refuse)


def never_ask_the_kernel(patch: Patch) -> None:
    mute(patch, Steer)


def never_spawn(patch: Patch) -> None:
    mute(patch, Spawn)


def never_kill(patch: Patch) -> None:
    mute(patch, Kill)


def never_move_current(patch: Patch) -> None:
    mute(patch, Point)


def leave_the_wish_as_it_is(patch: Patch) -> None:
    patch.setattr(moves, "put_back", lambda *_: ())


def move_current_before_the_commit(patch: Patch) -> None:
    def put_forward(under_way: Handoff, _: Release) -> Iterator[Point]:
        assert under_way.release is not None
        assert under_way.release.version is not None
        yield Point("/srv/store", under_way.release.version, (ANYWHERE,))

    patch.setattr(moves, "put_back", put_forward)


def move_current_whatever_comes_of_it(patch: Patch) -> None:
    patch.setattr(course, "pointed", lambda outcome: pointed(replace(outcome, result=Result.COMMITTED)))


def forget_the_pending(patch: Patch) -> None:
    patch.setattr(step_module, "_take_up_pending", lambda _: None)


def start_what_was_never_verified(patch: Patch) -> None:
    def begin(turn: Turn, request: Request, goal: Served | None = None) -> None:
        original(turn, request, goal)
        generation.begin(turn, release=RELEASES[1], role=Role.CANDIDATE, policy=POLICY)

    original = handoff.begin
    patch.setattr(handoff, "begin", begin)


def tell_before_it_is_verified(patch: Patch) -> None:
    def begin(turn: Turn, request: Request, goal: Served | None = None) -> None:
        original(turn, request, goal)
        old = turn.state.serving
        if old is not None:
            generation.give_way(turn, old)

    original = handoff.begin
    patch.setattr(handoff, "begin", begin)


def take_nobody_for_exclusive(patch: Patch) -> None:
    patch.setattr(Handoff, "exclusive", property(lambda _: False))


def undo_without_waiting(patch: Patch) -> None:
    def act(turn: Turn, under_way: Handoff, event: Event) -> None:
        policy = under_way.policy
        assert policy is not None
        retreat.undo(turn, replace(under_way, policy=replace(policy, exclusive=False)), event)

    for cue in (Cue.FAILED, Cue.ABORT):
        move(patch, Phase.READY, cue, act)


def take_the_last_one_down_for_good(patch: Patch) -> None:
    patch.setattr(retreat, "_resume", lambda *_: None)


def let_go_of_what_makes_way(patch: Patch) -> None:
    patch.setattr(State, "gives_way", lambda *_: False)


def withdraw_the_old_one(patch: Patch) -> None:
    """The candidate is kept, and who has served is not started again."""

    def act(turn: Turn, under_way: Handoff, event: Event) -> None:
        candidate = turn.state.find(under_way.candidate)
        if candidate is None or candidate.life is Life.DOWN:
            moves.stop(turn, under_way, event)
            for each in list(turn.state.with_role(Role.SERVING)):
                turn.drop(each)
            if candidate is not None:
                generation.start_again(turn, turn.put(replace(candidate, role=Role.SERVING)))

    for cue in (Cue.DIED, Cue.FAILED):
        move(patch, Phase.WITHDRAW, cue, act)


def never_withdrawn(patch: Patch) -> None:
    for cue in (Cue.DIED, Cue.FAILED, Cue.GONE):
        move(patch, Phase.WITHDRAW, cue, lambda *_: None)


def give_up_the_candidate_for_the_dead(patch: Patch) -> None:
    patch.setattr(retreat, "_leads_to_nobody", lambda *_: False)


def a_set_of_its_own(patch: Patch) -> None:
    patch.setattr(moves, "_other_listeners", lambda *_: True)
    move(patch, Phase.YIELD, Cue.GONE, moves.start)


def kill_who_ails(patch: Patch) -> None:
    def act(turn: Turn, event: events.HealthEvent) -> bool:
        found = turn.state.find(event.generation)
        if found is not None and isinstance(event, events.Ailing):
            generation.kill(turn, found)
        return original(turn, event)

    original = health.step
    patch.setattr(health, "step", act)


def replace_without_a_pause(patch: Patch) -> None:
    def take_up(turn: Turn) -> None:
        before = turn.state
        turn.state = replace(before, replace_at=None)
        original(turn)
        if turn.state.handoff is None:
            turn.state = before

    original = health.take_up
    patch.setattr(health, "take_up", take_up)


def displace_by_a_replacement(patch: Patch) -> None:
    def take_up(turn: Turn) -> None:
        serving, kept = turn.state.serving, turn.state.pending
        if kept is not None and serving is not None and serving.health.ailment is not None:
            turn.emit(Refuse(kept, Failure(Reason.DISPLACED)))
            turn.state = replace(turn.state, pending=None)
        original(turn)

    original = step_module._take_up_pending
    patch.setattr(step_module, "_take_up_pending", take_up)


def replace_by_another_release(patch: Patch) -> None:
    patch.setattr(due, "_recalled", lambda *_: RELEASES[1])


def replace_who_is_well(patch: Patch) -> None:
    patch.setattr(health, "_wanted", lambda state: state.serving if state.handoff is None else None)

    def take_up(turn: Turn) -> None:
        serving = turn.state.serving
        ready = serving is not None and serving.life is Life.READY
        if turn.state.handoff is None and ready:
            handoff.begin(turn, Request(id="own", ask=Ask.REPLACE, way="health"))

    patch.setattr(health, "take_up", take_up)


def go_back_to_one_that_ails(patch: Patch) -> None:
    move(patch, Phase.PROBATION, Cue.AILING, retreat.go_back)


def start_what_is_in_quarantine(patch: Patch) -> None:
    patch.setattr(Record, "holds", lambda *_: None)


def leave_it_at_large(patch: Patch) -> None:
    patch.setattr(Record, "put_away", lambda record, *_: record)


def go_back_to_anybody(patch: Patch) -> None:
    patch.setattr(Record, "ways_back", lambda record, _: tuple(reversed(record.served)))


def go_back_at_once(patch: Patch) -> None:
    patch.setattr(Record, "fails", lambda record, *_: bool(record.deaths))


def take_every_end_for_a_failure(patch: Patch) -> None:
    patch.setattr(fallback, "committed", lambda *_: True)


def count_an_oom_kill_and_its_death(patch: Patch) -> None:
    patch.setattr(fallback, "one_failure", lambda *_: False)


def remember_every_failure(patch: Patch) -> None:
    def count(turn: Turn, before: State, event: Event) -> None:
        original(turn, before, event)
        if isinstance(event, events.Exited):
            record = replace(turn.state.record, deaths=(*turn.state.record.deaths, turn.at))
            turn.state = replace(turn.state, record=record)

    original = fallback.count
    patch.setattr(fallback, "count", count)


def go_back_before_who_has_asked(patch: Patch) -> None:
    def take_up(turn: Turn) -> None:
        kept = turn.state.pending
        if kept is not None and turn.state.handoff is None and turn.state.record.deaths:
            turn.emit(Refuse(kept, Failure(Reason.DISPLACED)))
            turn.state = replace(turn.state, pending=None)
        original(turn)

    original = step_module._take_up_pending
    patch.setattr(step_module, "_take_up_pending", take_up)


def beside_a_candidate() -> World:
    """Clients wait in the queue of one that drains, while a candidate is on its way."""
    return starts.verified(starts.asked(starts.lapsed(starts.shifted(starts.serving()))))


def one_may_drain() -> World:
    """As many drain as may."""
    one = replace(POLICY, drain_limit=1)
    return starts.lapsed(starts.shifted(starts.serving(one), one))


def in_probation_from_a_store() -> World:
    """An upgrade to the second version has come that far."""
    world = starts.asked(starts.begun_from_a_store())
    world = take(world, events.Verified(at=0.0, handoff=1, release=STORED[1], policy=POLICY, current="a"))
    return take(starts.up(world, 2), events.Steered(at=0.0, handoff=1, sockets=2))


def bounds_of(world: World) -> Bounds:
    """What may happen to it: a server that cannot run twice is never said to be one that can."""
    if world.current is not None:
        return starts.FROM_A_STORE
    return starts.ALONE if world.alone else Bounds(asks=2)


MUTANTS: tuple[tuple[Break, Callable[[], World], str], ...] = (
    (drain_before_steered, starts.serving, "nobody drains before steering is acknowledged"),
    (tell_the_old_one_on_probation, starts.serving, "a commit is concluded, and with that on disk"),
    (commit_at_the_shift, starts.serving, "the old one stood by until the commit"),
    (never_start_again, starts.serving, "what should live is started again"),
    (two_serve, starts.serving, "one generation serves, always"),
    (drop_what_lives, lambda: starts.shifted(starts.serving()), "who has not been told keeps its sockets"),
    (forget_the_process, starts.serving, "nothing that lives is dropped"),
    (wait_without_end, starts.serving, "every wait ends somewhere"),
    (probation_without_end, starts.serving, "every wait ends somewhere"),
    (give_up_the_way_back, lambda: starts.shifted(starts.serving()), "the way back ends somewhere"),
    (
        tell_the_candidate_before_the_way_back,
        lambda: starts.shifted(starts.serving()),
        "nobody drains before steering is acknowledged",
    ),
    (leave_clients_in_the_queue, lambda: starts.shifted(starts.serving()), "clients in the queue come first"),
    (close_before_it_is_told, lambda: starts.shifted(starts.serving()), "who has not been told keeps its sockets"),
    (close_twice, starts.long_drain, "sockets are closed once"),
    (leak_sockets, starts.long_drain, "every open set of sockets has its holder"),
    (move_clients_anywhere, beside_a_candidate, "only to where somebody accepts"),
    (let_go_of_what_drains, starts.serving, "what is to end is not let go"),
    (start_on_lent_sockets, starts.crashed, "who has lent its sockets waits"),
    (kill_who_serves, starts.crashed, "what serves is not killed"),
    (no_cap, one_may_drain, "drains are capped"),
    (say_nothing_of_the_end, starts.serving, "who asked hears the end of it"),
    (displace_in_silence, starts.serving, "who asked hears the end of it"),
    (never_ask_the_kernel, starts.serving, "a shift is being asked for"),
    (never_spawn, starts.crashed, "a spawn is under way"),
    (never_kill, starts.serving, "what is to end was told"),
    (forget_the_pending, starts.serving, "a kept request is taken up at once"),
    (start_what_was_never_verified, starts.serving, "nothing is begun before it is verified"),
    (tell_before_it_is_verified, starts.exclusively, "only who drains is told to end"),
    (take_nobody_for_exclusive, starts.exclusively, "two never run at one time"),
    (undo_without_waiting, starts.taking_turns, "two never run at one time"),
    (take_the_last_one_down_for_good, starts.taking_turns, "what should live is started again"),
    (let_go_of_what_makes_way, starts.taking_turns, "who makes way goes"),
    (withdraw_the_old_one, starts.withdrawing, "who has served is started again"),
    (never_withdrawn, starts.withdrawing, "who makes way goes"),
    (give_up_the_candidate_for_the_dead, lambda: starts.shifted(starts.serving()), "nobody is given up for one"),
    (kill_who_ails, starts.guarded, "what serves is not killed"),
    (replace_without_a_pause, starts.replacing, "a replacement waits for its time"),
    (displace_by_a_replacement, starts.replacing, "nobody is displaced by the service itself"),
    (replace_by_another_release, lambda: starts.ails(starts.guarded(), 1), "a replacement is of the same release"),
    (replace_who_is_well, starts.guarded, "only who ails is replaced"),
    (go_back_to_one_that_ails, starts.replaced_on_probation, "who ails is not given up for another who does"),
    (start_what_is_in_quarantine, starts.fell_back, "what is in quarantine is not started"),
    (leave_it_at_large, starts.falling_back, "who was gone back from is in quarantine"),
    (go_back_to_anybody, starts.fell_back, "nobody goes back to who was gone back from"),
    (go_back_at_once, lambda: starts.succeeded(starts.WARY_WATCHED), "only who fails too often is gone back from"),
    (take_every_end_for_a_failure, lambda: starts.shifted(starts.succeeded(), WARY), "who is on trial"),
    (
        count_an_oom_kill_and_its_death,
        lambda: starts.succeeded(starts.WARY_WATCHED),
        "who dies of an OOM kill fails once",
    ),
    (remember_every_failure, starts.fell_back, "only so many failures are kept"),
    (go_back_before_who_has_asked, starts.kept_while_failing, "nobody is displaced by the service itself"),
    (never_move_current, starts.begun_from_a_store, "current leads to what serves"),
    (leave_the_wish_as_it_is, starts.begun_from_a_store, "current leads to what serves"),
    (move_current_before_the_commit, starts.begun_from_a_store, "current leads to what has been committed"),
    (move_current_whatever_comes_of_it, in_probation_from_a_store, "current leads to what has been committed"),
    (a_set_of_its_own, starts.yielding, "clients wait for whoever comes"),
)


@pytest.mark.parametrize(("broken", "start", "reason"), MUTANTS, ids=[str(it[0].__name__) for it in MUTANTS])
def test_a_broken_core_is_found_out(broken: Break, start: Callable[[], World], reason: str, monkeypatch: Patch) -> None:
    world = start()
    broken(monkeypatch)
    with pytest.raises(InvariantError, match=reason):
        explore(world, depth=DEPTH, bounds=bounds_of(world))


def test_a_handoff_that_never_settles_is_found_out(monkeypatch: Patch) -> None:
    world = starts.settling()
    for cue in (Cue.QUIET, Cue.LAPSED):
        move(monkeypatch, Phase.SETTLE, cue, lambda *_: None)
    with pytest.raises(AssertionError, match="not calm"):
        assert all(not calm(later) for later, _ in onward(world, 0.0, kindness))


def test_no_mutant_is_broken_from_the_start() -> None:
    assert starts.serving(NO_PROBATION).state.policy == NO_PROBATION
    for _, start, _ in MUTANTS:
        world = start()
        explore(world, depth=3, bounds=bounds_of(world))
