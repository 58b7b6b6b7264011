"""Every order of events, to a depth: no world that can be reached breaks an invariant, hangs, or heeds what is late.

`pytest tests/core/test_exhaustive.py -s` prints one line a start: how deep, how much may be asked, how many distinct
worlds, how many steps. GAPLESS_DEEPER=2 goes two events deeper.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import pytest

from supervisor.core import events, handoff
from supervisor.core.due import AwaitReady, watches
from supervisor.core.fallback import stuck
from supervisor.core.health import replaced_at
from supervisor.core.model import Ask, Life, Mode, Phase, Role
from supervisor.core.step import step
from supervisor.core.value import replace
from tests.core.explore import Explored, explore
from tests.core.invariants import take
from tests.core.kind import calm, finished, kindness, onward, stubbornness
from tests.core.starts import STARTS, Start
from tests.core.world import RELEASES, Bounds, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DEEPER = int(os.environ.get("GAPLESS_DEEPER", "0"))
FEWER = 2
"""How many events less deep those explorations go that do more at each world."""
SOON = 5
"""Events within which what explorations must have met is met from one of the starts."""

every_start = pytest.mark.parametrize(
    "start", [pytest.param(each, id=each.name, marks=pytest.mark.xdist_group(each.name)) for each in STARTS]
)
"""Each in one worker, so that its exploration is made once."""


@functools.lru_cache(maxsize=1)  # a hundred MB, and whoever collects garbage looks through all of it
def explored(start: Start) -> Explored:
    depth = start.depth + DEEPER
    return explore(start.world(), depth=depth, bounds=start.bounds, near=depth - FEWER)


@functools.cache
def soon(start: Start, depth: int = SOON) -> Explored:
    return explore(start.world(), depth=depth, bounds=start.bounds, near=depth)


@every_start
@pytest.mark.timeout(300 if not DEEPER else 3600)
def test_no_order_of_events_breaks_an_invariant(start: Start) -> None:
    depth = start.depth + DEEPER
    seen = explored(start)
    generations = max(len(world.state.generations) for world in seen.worlds)
    print(
        f"\n{start.name}: {depth} events deep, {start.bounds.asks} requests, 2 releases, {generations} generations:"
        f" {len(seen.worlds):,} worlds, {seen.steps:,} steps"
    )
    assert depth >= 8
    assert generations >= (2 if seen.worlds[0].alone else 3)
    assert len(seen.worlds) >= start.least, "the exploration has become smaller than it was"


# ---- what an exploration must have met, lest it become trivial without a word


def _roles(world: World) -> set[Role]:
    return {each.role for each in world.state.generations}


def _phase(world: World) -> Phase | None:
    return None if world.state.handoff is None else world.state.handoff.phase


def _life(world: World, role: Role) -> Life | None:
    return next((each.life for each in world.state.with_role(role)), None)


def _predecessor_life(world: World) -> Life | None:
    under_way = world.state.handoff
    found = None if under_way is None else world.state.find(under_way.predecessor)
    return None if found is None else found.life


def _replaces(world: World) -> bool:
    return world.state.handoff is not None and world.state.handoff.request.ask is Ask.REPLACE


def _falls_back(world: World) -> bool:
    return world.state.handoff is not None and world.state.handoff.request.ask is Ask.FALLBACK


def _lent(world: World) -> bool:
    return any(world.state.lent(each) for each in world.state.generations)


CENSUS: dict[str, Callable[[World], bool]] = {
    "a candidate while one serves and one drains": lambda it: (
        {Role.CANDIDATE, Role.SERVING, Role.DRAINING} <= _roles(it) and _life(it, Role.CANDIDATE) is Life.READY
    ),
    "a standby while one serves and one drains": lambda it: {Role.STANDBY, Role.SERVING, Role.DRAINING} <= _roles(it),
    "on the way back to one that has died": lambda it: (
        _phase(it) is Phase.RETURN and _predecessor_life(it) is Life.DOWN
    ),
    "on the way back with nobody alive": lambda it: _phase(it) is Phase.RETURN and not it.alive,
    "on the way back, waiting to ask the kernel again": lambda it: _phase(it) is Phase.RETURN and not it.steers,
    "the kernel asked twice": lambda it: len(it.steers) > 1,
    "borrowed sockets": lambda it: _lent(it) and it.state.mode is Mode.RUNNING,
    "a standby that has lent its sockets": lambda it: _lent(it) and Role.STANDBY in _roles(it),
    "three sets of sockets": lambda it: len(it.open) > 2,
    "a standby that starts again": lambda it: _life(it, Role.STANDBY) is Life.STARTING,
    "a request kept": lambda it: it.state.pending is not None and it.state.handoff is not None,
    "a rollback under way": lambda it: it.state.handoff is not None and it.state.handoff.undone_by is not None,
    "a queue that empties after no probation": lambda it: _phase(it) is Phase.SETTLE,
    "two that drain": lambda it: len(list(it.state.with_role(Role.DRAINING))) > 1,
    "one that makes way before it was let go": lambda it: (
        _phase(it) is Phase.YIELD and _predecessor_life(it) is Life.SPAWNING
    ),
    "one that is killed, for it does not make way": lambda it: (
        _phase(it) is Phase.YIELD and _predecessor_life(it) is Life.KILLED
    ),
    "a candidate that is withdrawn before it was let go": lambda it: (
        _phase(it) is Phase.WITHDRAW and _life(it, Role.CANDIDATE) is Life.SPAWNING
    ),
    "the old one taken up again before it has gone": lambda it: (
        _phase(it) is Phase.WITHDRAW and _life(it, Role.CANDIDATE) is None
    ),
    "nobody to withdraw, and clients wait": lambda it: it.alone and not it.alive and bool(it.waiting),
    "overlapping no more, with one that drains": lambda it: (
        it.state.policy.exclusive and Role.DRAINING in _roles(it) and it.state.handoff is not None
    ),
    "what survived KILL": lambda it: any(each.life is Life.KILLED for each in it.state.generations),
    "a replacement under way": lambda it: _replaces(it) and _phase(it) is Phase.READY,
    "a replacement that waits for its time": lambda it: replaced_at(it.state) is not None,
    "a request kept while a replacement is under way": lambda it: _replaces(it) and it.state.pending is not None,
    "a candidate that ails where the old one does, too": lambda it: (
        _phase(it) is Phase.PROBATION and sum(not each.health.fit for each in it.state.generations) > 1
    ),
    "on the way back from one that ails": lambda it: (
        _phase(it) is Phase.RETURN and any(not each.health.fit for each in it.state.with_role(Role.CANDIDATE))
    ),
    "withdrawn since it ails": lambda it: (
        _phase(it) is Phase.WITHDRAW and any(not each.health.fit for each in it.state.generations)
    ),
    "one that ails and is drained": lambda it: any(not each.health.fit for each in it.state.with_role(Role.DRAINING)),
    "a fallback that is committed in a moment": lambda it: _falls_back(it) and _phase(it) is Phase.PROBATION,
    "a fallback from one that has been started again": lambda it: (
        _falls_back(it) and _phase(it) is Phase.READY and _predecessor_life(it) is Life.READY
    ),
    "a request kept while the service goes back": lambda it: _falls_back(it) and it.state.pending is not None,
    "two in quarantine": lambda it: len(it.state.record.quarantine) > 1,
    "one that was in quarantine and is on trial again": lambda it: (
        it.left == {"b"} and any(each.release == RELEASES[1] for each in it.state.with_role(Role.CANDIDATE))
    ),
    "nobody to go back to": lambda it: stuck(it.state, 0.0),
    "one that cannot be had": lambda it: any(not each.well for each in it.state.record.served) and not it.left,
    "stopping with three": lambda it: it.state.mode is Mode.STOPPING and len(it.state.generations) > 2,
    "stopped": finished,
    "left": lambda it: it.state.mode is Mode.LEFT,
}


@pytest.mark.xdist_group("census")
@pytest.mark.parametrize("name", CENSUS)
def test_the_explorations_meet(name: str) -> None:
    met = CENSUS[name]
    assert any(met(world) for start in STARTS for world in soon(start).worlds)


# ---- what is late means nothing

FORGIVEN = (events.Spoke, events.Steered, events.SteerFailed)
"""Speaking once more is remembered, and of two contrary answers to one question only one can come."""


def _is_deaf_to_what_is_late(before: World, after: World) -> None:
    """Whatever could have happened before an event and cannot any more, because nobody looks, changes nothing."""
    nothing = Bounds(asks=0)
    late = set(before.possible(nothing)) - set(after.possible(nothing))
    for each in late:
        if not isinstance(each, FORGIVEN):
            assert step(after.state, each) == (after.state, ()), f"{each} comes too late"


@every_start
def test_what_comes_too_late_changes_nothing(start: Start) -> None:
    for before, event, after in explored(start).changes:
        try:
            _is_deaf_to_what_is_late(before, after)
        except AssertionError as heeded:
            raise AssertionError(f"{heeded}\nafter {event}\nin {before}") from heeded


@every_start
def test_what_names_another_run_or_handoff_changes_nothing(start: Start) -> None:
    for world in explored(start).worlds[::5]:
        for event in world.possible(Bounds(asks=0)):
            for stranger in _misaddressed(world, event):
                assert step(world.state, stranger) == (world.state, ()), f"{stranger}\n{world}"


def _misaddressed(world: World, event: events.Event) -> list[events.Event]:
    under_way = 0 if world.state.handoff is None else world.state.handoff.number
    match event:
        case events.GenerationEvent():
            runs = [replace(event, run=event.run + by) for by in (-1, 1)]
            return [*runs, replace(event, generation=0), replace(event, generation=99)]
        case events.HealthEvent():
            return [replace(event, run=event.run + 1), replace(event, generation=0), replace(event, generation=99)]
        case events.HandoffEvent():
            return [replace(event, handoff=under_way + by) for by in (-1, 1)]
        case _:
            return []


@every_start
def test_to_show_it_with_the_word_is_to_speak_and_then_to_show_it(start: Start) -> None:
    seen = 0
    for world in explored(start).near:
        for watch in watches(world.state):
            found = world.state.find(watch.generation) if isinstance(watch, AwaitReady) else None
            if found is None or found.spoke is not None:
                continue
            spoke = events.Spoke(at=1.0, generation=found.number, run=found.run, how="pipe")
            ready = events.Ready(at=2.0, generation=found.number, run=found.run, how="pipe")
            spoken, first = step(world.state, spoke)
            apart, then = step(spoken, ready)
            assert step(world.state, replace(ready, spoke_at=1.0)) == (apart, (*first, *then)), f"{found}\nin {world}"
            seen += 1
    assert seen


# ---- everything ends well if nothing more goes wrong


@every_start
def test_every_world_calms_down_when_reality_is_kind(start: Start) -> None:
    known: set[World] = set()
    for world in explored(start).near:
        if world.state.mode is Mode.RUNNING:
            _calms(world, known)


def _calms(world: World, known: set[World]) -> None:
    last = world
    for last, _ in onward(world, 0.0, kindness):
        if last.timeless() in known:
            return
        known.add(last.timeless())
    assert calm(last), f"{last}\nfrom {world}"


@every_start
def test_every_world_stops_when_told_to(start: Start) -> None:
    for world in explored(start).near[::3]:
        if world.state.mode is Mode.RUNNING:
            told = take(world, events.StopAsked(at=0.0))
            *_, (last, _) = [(told, 0.0), *onward(told, 0.0, kindness)]
            assert finished(last), f"{last}\nfrom {world}"
            assert not last.alive
            *_, (last, _) = [(told, 0.0), *onward(told, 0.0, stubbornness)]
            assert finished(last), "even those that KILL cannot end hold nothing up"


# ---- the table says where each move leads, and is right


def _moves(changes: Iterable[tuple[World, events.Event, World]]) -> set[tuple[Phase, str]]:
    """From which phase to which, or to the end, without those that stay."""
    seen: set[tuple[Phase, str]] = set()
    for before, _, after in changes:
        old, new = before.state.handoff, after.state.handoff
        if old is not None and (new is None or old.number != new.number):
            seen.add((old.phase, handoff.END))
        elif old is not None and new is not None and old.phase is not new.phase:
            seen.add((old.phase, str(new.phase)))
    return seen


DECLARED = {
    (phase, str(leads_to))
    for phase, row in handoff.TABLE.items()
    for move in row.values()
    if move is not None
    for leads_to in move.leads_to
    if str(leads_to) != str(phase)
}


@every_start
def test_every_move_leads_where_the_table_says(start: Start) -> None:
    assert _moves(explored(start).changes) <= DECLARED


@pytest.mark.xdist_group("census")
def test_every_move_leads_everywhere_that_the_table_says() -> None:
    missing = set(DECLARED)
    for depth in (SOON, SOON + 1):
        for start in sorted(STARTS, key=lambda each: each.least):
            missing -= _moves(soon(start, depth).changes)
            if not missing:
                return
    raise AssertionError(f"no exploration meets {missing}")
