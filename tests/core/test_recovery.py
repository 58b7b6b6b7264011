"""A supervisor that ends anywhere is followed by one that goes on: in every world, at every point of every step."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from supervisor.core import events, recovery
from supervisor.core.model import Mode, Role, State
from supervisor.core.record import Quarantined, Record, Served
from supervisor.core.value import replace
from tests.core.crash import Wreck, fates, found, succeeded, wrecks
from tests.core.explore import explore
from tests.core.invariants import check
from tests.core.kind import calm, kindness, onward
from tests.core.starts import STARTS, Start, serving, shifted
from tests.core.world import POLICY, RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.core.world import World

DEPTH = 3
HELD = Quarantined(release=RELEASES[1], because="it fails", since=0.0, until=None)


def all_wrecks(start: Start) -> Iterator[Wreck]:
    seen = set()
    for world in explore(start.world(), depth=DEPTH, bounds=start.bounds).worlds:
        if world.state.mode is Mode.STOPPING:
            continue
        for event in world.possible(start.bounds):
            if isinstance(event, events.StopAsked):
                continue
            for wreck in wrecks(world, event):
                key = (wreck.written, wreck.real.timeless())
                if key not in seen:
                    seen.add(key)
                    yield wreck


@pytest.mark.parametrize("start", STARTS, ids=lambda start: str(start.name))
def test_whatever_is_left_is_gone_on_from(start: Start) -> None:
    count = 0
    for wreck in all_wrecks(start):
        if wreck.written.serving is None:
            continue
        for alive, stored in itertools.product(fates(wreck), (False, True)):
            seen = found(wreck, alive, stored=stored)
            world = succeeded(wreck, seen)
            _sound(wreck, world)
            count += 1
            if count % 7 == 0:
                _comes_to_rest(world)
    print(f"\n{start.name}: {count:,} ends of a supervisor")
    assert count > 200


def _sound(wreck: Wreck, world: World) -> None:
    try:
        check(world)
    except AssertionError as broken:
        raise AssertionError(f"{broken}\nwritten {wreck.written}\nreal {wreck.real}\nthen {world}") from broken
    number = world.state.serving
    assert number is not None
    assert all(each.role is not Role.CANDIDATE for each in world.state.generations) or world.state.handoff is not None


def _comes_to_rest(world: World) -> None:
    if calm(world):
        return
    for after, _ in onward(world, 0.0, kindness):
        if calm(after):
            return
    raise AssertionError(f"not calm: {world}")


def test_it_can_be_done_twice() -> None:
    """A supervisor that ends before it has done anything is followed by one that finds the same."""
    for world in (serving(), shifted(serving())):
        for wreck in wrecks(world, events.LeaveAsked(at=0.0)):
            seen = found(wreck, wreck.real.alive, stored=False)
            once, _ = recovery.resumed(wreck.written, seen, at=0.0)
            twice, _ = recovery.resumed(once, seen, at=0.0)
            assert once == twice


def test_a_stop_that_was_cut_short_leaves_room_for_a_new_first_generation() -> None:
    world = shifted(serving())
    *_, wreck = wrecks(world, events.StopAsked(at=0.0))
    state = succeeded(wreck, found(wreck, wreck.real.alive, stored=False)).state
    assert state.serving is None
    assert {each.role for each in state.generations} == {Role.DRAINING}


def test_after_the_end_of_all_what_is_known_goes_on() -> None:
    was = shifted(serving()).state
    state, wanted = recovery.begun_anew(was, POLICY, told=0, at=9.0)
    begun = replace(State(), policy=POLICY, last_handoff=1, concluded=state.concluded, spoken=was.spoken)
    assert state == replace(begun, record=Record(served=(Served(release=RELEASES[0], policy=POLICY),)))
    assert [type(each).__name__ for each in wanted] == ["Conclude"]
    assert state.concluded is not None
    assert state.concluded.to_release == RELEASES[1]


def test_on_another_host_what_is_remembered_goes_on_and_nothing_else() -> None:
    """In a handoff it is who has committed that can be gone back to; how often it has failed is of the host."""
    record = Record(recalled=True, deaths=(1.0,), quarantine=(HELD,))
    was = shifted(serving()).state
    was = replace(was, record=record, previous=RELEASES[1], last_handoff=7, spoken=True)
    remembered = Record(served=(Served(release=RELEASES[0], policy=POLICY),), quarantine=(HELD,))
    assert recovery.elsewhere(was) == State(
        policy=was.policy, previous=RELEASES[1], record=remembered, last_handoff=7, spoken=True
    )
    again = recovery.begun_anew(recovery.elsewhere(was), POLICY, told=7, at=9.0)
    assert again[1] == (), "nothing is left to be told or done"
