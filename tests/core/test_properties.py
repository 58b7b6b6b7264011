"""Long random lives with real, growing times: the invariants hold, the service calms down, and a stop ends."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from supervisor.core import events, policy
from supervisor.core.ending import Exit
from supervisor.core.model import Ask, Failure, Life, Mode, Reason, Request, Role
from supervisor.core.policy import KILL_AGAIN, Policy
from supervisor.core.value import replace
from tests.core.invariants import take
from tests.core.kind import calm, finished, first_deadline, kindness, onward, stubbornness
from tests.core.starts import ails, begun, dies, serving, up
from tests.core.world import EXCLUSIVE, NO_PROBATION, POLICY, RELEASES, WATCHED, Bounds, World

if TYPE_CHECKING:
    from collections.abc import Iterable

LIFE = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

PAUSES = (0.0, 0.0, 0.001, 0.05, 0.4, 3.0, 20.0, 100.0)
FOUND = tuple((release, found) for release in RELEASES for found in (POLICY, NO_PROBATION, EXCLUSIVE))
ANY = Bounds(asks=0, found=FOUND)
ALONE = Bounds(asks=0, found=tuple((release, EXCLUSIVE) for release in RELEASES))

choices = st.lists(st.tuples(st.integers(0, 999), st.sampled_from(PAUSES)), min_size=50, max_size=200)
policies = st.builds(
    Policy,
    exclusive=st.booleans(),
    probation=st.sampled_from([0.0, 0.01, 5.0]),
    drain_timeout=st.sampled_from([0.5, 30.0]),
    drain_limit=st.integers(1, 4),
    restart_limit=st.integers(1, 6),
    watchdog=st.sampled_from([None, 1.0]),
    recycle_age=st.sampled_from([None, 10.0]),
    ready_timeout=st.sampled_from([0.1, 30.0]),
    rollback_after=st.integers(0, 3),
    rollback_quarantine=st.sampled_from([0.0, 50.0]),
)


class Moment(Struct, frozen=True):
    """A world, and what time it is there."""

    world: World
    at: float


def live(start: World, chosen: Iterable[tuple[int, float]], bounds: Bounds = ANY) -> Moment:
    """One of the lives that the choices stand for. A pause that a deadline falls into ends with that deadline."""
    now = Moment(start, 0.0)
    for choice, pause in chosen:
        now = _next(now, choice, pause, bounds)
    return now


def _next(now: Moment, choice: int, pause: float, bounds: Bounds = ANY) -> Moment:
    deadline = first_deadline(now.world)
    if deadline is not None and deadline.at <= now.at + pause:
        return _taken(now, replace(deadline, at=max(now.at, deadline.at)))
    possible = [*now.world.answers(), *now.world.sights(bounds), *_wishes(now)]
    return _taken(now, replace(possible[choice % len(possible)], at=now.at + pause))


def _taken(now: Moment, event: events.Event) -> Moment:
    return Moment(take(now.world, event), event.at)


def _wishes(now: Moment) -> list[events.Event]:
    """Upgrades, rollbacks, aborts, pleas for more time and digests."""
    name = f"request {now.world.asked}"
    wishes: list[events.Event] = [
        events.Asked(at=0.0, request=Request(id=name)),
        events.Asked(at=0.0, request=Request(id=name, ask=Ask.ROLLBACK)),
        events.AbortAsked(at=0.0, request=Request(id=name)),
        events.Digested(at=0.0, release="a", sha256="0" * 64),
    ]
    wishes += [events.LiftAsked(at=0.0, release=each.release.id) for each in now.world.state.record.quarantine]
    for each in now.world.state.generations:
        wishes += [
            events.Ailing(at=0.0, generation=each.number, run=each.run, failure=Failure(reason))
            for reason in (Reason.HUNG, Reason.UNHEALTHY, Reason.AGED)
        ]
        wishes.append(events.OomKilled(at=0.0, generation=each.number, run=each.run, count=2))
    return wishes + [
        events.Extended(at=0.0, generation=each.number, run=each.run, until=now.at + 60.0)
        for each in now.world.state.generations
        if each.process is not None
    ]


@LIFE
@given(policies, choices)
def test_a_long_life_keeps_its_invariants_and_calms_down(configured: Policy, chosen: list[tuple[int, float]]) -> None:
    now = live(begun(configured), chosen)
    *_, (last, _) = [(now.world, now.at), *onward(now.world, now.at, kindness)]
    assert calm(last)


@LIFE
@given(choices)
def test_a_server_that_cannot_run_twice_never_does_and_comes_back(chosen: list[tuple[int, float]]) -> None:
    now = live(replace(begun(EXCLUSIVE), alone=True), chosen, ALONE)
    *_, (last, _) = [(now.world, now.at), *onward(now.world, now.at, kindness)]
    assert calm(last)


@LIFE
@given(policies, choices, choices)
def test_a_stop_ends_whatever_happens_after_it(
    configured: Policy, chosen: list[tuple[int, float]], later: list[tuple[int, float]]
) -> None:
    now = live(begun(configured), chosen)
    now = _taken(now, events.StopAsked(at=now.at))
    for choice, pause in later[:20]:
        if not now.world.ended:
            now = _next(now, choice, pause)
    *_, (last, _) = [(now.world, now.at), *onward(now.world, now.at, kindness)]
    assert finished(last)
    assert last.alive <= last.told, "only what KILL could not end is left to the kernel"


@LIFE
@given(policies, choices)
def test_a_stop_is_over_in_time_though_nobody_ends(configured: Policy, chosen: list[tuple[int, float]]) -> None:
    now = live(begun(configured), chosen)
    stop = now.world.state.policy.stop_timeout
    told = take(now.world, events.StopAsked(at=now.at))
    *_, (last, at) = [(told, now.at), *onward(told, now.at, stubbornness)]
    assert finished(last)
    assert at <= now.at + stop + KILL_AGAIN


@LIFE
@given(policies, choices)
def test_a_second_stop_kills_at_once(configured: Policy, chosen: list[tuple[int, float]]) -> None:
    now = live(begun(configured), chosen)
    told = take(take(now.world, events.StopAsked(at=now.at)), events.StopAsked(at=now.at))
    assert {each.life for each in told.state.generations} <= {Life.KILLED, Life.SPAWNING}
    *_, (last, at) = [(told, now.at), *onward(told, now.at, stubbornness)]
    assert finished(last)
    assert at <= now.at + KILL_AGAIN


@LIFE
@given(choices)
def test_leaving_kills_nobody_and_says_so_once(chosen: list[tuple[int, float]]) -> None:
    now = live(begun(), chosen)
    left = take(now.world, events.LeaveAsked(at=now.at))
    assert left.ended
    assert left.alive == now.world.alive
    assert left.told == now.world.told
    assert left.state.mode is Mode.LEFT


@given(policies, st.integers(1, 40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_crash_loop_is_always_tried_again_later_but_never_too_late(
    configured: Policy,
    deaths: int,
    ready: bool,  # noqa: FBT001 - hypothesis gives it by position
) -> None:
    world, at, waits = begun(configured), 0.0, list[float]()
    for run in range(1, deaths + 1):
        world = _run_and_die(world, run, at, ready=ready)
        deadline = first_deadline(world)
        assert isinstance(deadline, events.GenerationLapsed), "it is tried again, always"
        waits.append(deadline.at - at)
        at = deadline.at
        world = take(world, deadline)
    grows = all(later >= sooner - 1e-6 for sooner, later in itertools.pairwise(waits))
    assert grows, "each wait is as long as the one before or longer"
    assert waits[0] == 0.0, "a single crash costs nothing"
    assert max(waits) <= configured.restart_longest + 1e-6


def _run_and_die(world: World, run: int, at: float, *, ready: bool) -> World:
    spawned = replace(next(each for each in world.answers() if isinstance(each, events.Spawned)), at=at)
    world = take(world, spawned)
    if ready:
        world = take(world, events.Ready(at=at, generation=1, run=run, how="pipe"))
    return take(world, events.Exited(at=at, generation=1, run=run, exit=Exit(status=1)))


def test_a_good_while_of_service_makes_earlier_deaths_forgotten() -> None:
    assert policy.failures_after(4, None, 100.0, POLICY) == 5
    assert policy.failures_after(4, 41.0, 100.0, POLICY) == 5
    assert policy.failures_after(4, 40.0, 100.0, POLICY) == 1


@given(st.floats(0, 1e6), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1e6), st.floats(0.001, 1e4))
def test_more_time_is_granted_up_to_a_ceiling_and_never_taken_away(
    since: float, asked: float, left: float, timeout: float
) -> None:
    until = since + left
    granted = policy.extended(until, asked, since, timeout)
    assert granted >= until
    assert granted <= max(until, since + timeout * policy.LONGEST_EXTENSION)


@given(st.lists(st.floats(0, 1e5), max_size=30))
@settings(deadline=None)
def test_a_server_that_always_asks_for_more_time_is_given_up_all_the_same(pleas: list[float]) -> None:
    world = up_to_starting()
    for plea in pleas:
        world = take(world, events.Extended(at=0.0, generation=1, run=1, until=plea))
    deadline = first_deadline(world)
    assert deadline is not None
    assert deadline.at <= POLICY.ready_timeout * policy.LONGEST_EXTENSION
    assert next(world.state.with_role(Role.SERVING)).life is Life.STARTING


def up_to_starting() -> World:
    world = begun()
    return take(world, next(each for each in world.answers() if isinstance(each, events.Spawned)))


@pytest.mark.parametrize("run", [1, 2, 3])
def test_the_serving_generation_is_started_again_on_the_same_sockets(run: int) -> None:
    world = begun()
    for past in range(1, run):
        world = dies(up(world, 1, past), 1, past)
        deadline = first_deadline(world)
        assert deadline is not None
        world = take(world, deadline)
    assert world.open == {1}
    assert next(world.state.with_role(Role.SERVING)).run == run


@given(st.floats(0.1, 100.0), st.floats(1.0, 50.0), st.integers(1, 12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_replacements_without_success_are_ever_rarer(delay: float, times: float, tries: int, ready: bool) -> None:  # noqa: FBT001 - hypothesis gives it by position
    """Whether no copy gets ready, or each ails as soon as it serves."""
    configured = replace(WATCHED, health_delay=delay, health_longest=delay * times, probation=0.01)
    world, at, waits = ails(serving(configured), 1), 0.0, list[float]()
    for number in range(1, tries + 1):
        world, at = _replaced(world, number, at, configured) if ready else (_refused(world, number, at), at)
        state = world.state
        assert state.handoff is None
        assert state.replace_at is not None
        waits.append(state.replace_at - at)
        due = first_deadline(_only_health(world))
        assert isinstance(due, events.ReplaceDue)
        at = due.at
        world = take(world, due)
    assert all(later >= sooner - 1e-6 for sooner, later in itertools.pairwise(waits))
    assert waits[0] == pytest.approx(delay)
    assert max(waits) <= delay * times + 1e-6


def _only_health(world: World) -> World:
    """Without the deadlines of those that drain."""
    kept = tuple(each for each in world.state.generations if each.role is Role.SERVING)
    return replace(world, state=replace(world.state, generations=kept))


def _refused(world: World, handoff: int, at: float) -> World:
    return take(world, events.Refused(at=at, handoff=handoff, failure=Failure(Reason.BAD_RELEASE)))


def _replaced(world: World, handoff: int, at: float, configured: Policy) -> tuple[World, float]:
    number = handoff + 1
    old = world.state.serving
    assert old is not None
    world = take(world, events.Verified(at=at, handoff=handoff, release=old.release, policy=configured))
    world = take(world, replace(next(each for each in world.answers() if isinstance(each, events.Spawned)), at=at))
    world = take(world, events.Ready(at=at, generation=number, run=1, how="pipe"))
    world = take(world, events.Steered(at=at, handoff=handoff, sockets=number))
    under_way = world.state.handoff
    assert under_way is not None
    assert under_way.until is not None
    at = under_way.until
    world = take(world, events.HandoffLapsed(at=at, handoff=handoff, phase=under_way.phase, due=at))
    return ails(world, number, at=at), at
