"""Nothing is left unsaid: every table has every entry, and no event whatever makes the core fall over."""

from __future__ import annotations

import inspect
import typing
from enum import Enum
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from supervisor.core import due, effects, ending, events, generation, handoff, launch, model, outcome, policy
from supervisor.core.model import Life, Mode, Phase, State
from supervisor.core.step import step
from supervisor.core.value import replace
from tests.core.explore import explore
from tests.core.starts import STARTS
from tests.core.world import RELEASES

NAMES = {**vars(typing), **vars(policy), **vars(launch), **vars(model), **vars(ending), **vars(events)}


def kinds(parent: type[Any]) -> list[type[Any]]:
    """Every event of that kind which can happen: those that no other derives from."""
    found = [each for _, each in inspect.getmembers(events, inspect.isclass) if issubclass(each, parent)]
    return [each for each in found if not any(other is not each and issubclass(other, each) for other in found)]


def test_every_life_has_an_entry_for_every_event_of_a_generation() -> None:
    assert set(generation.TABLE) == set(Life)
    for row in generation.TABLE.values():
        assert set(row) == set(kinds(events.GenerationEvent))


def test_every_phase_has_an_entry_for_every_cue() -> None:
    assert set(handoff.TABLE) == set(Phase)
    for row in handoff.TABLE.values():
        assert set(row) == set(handoff.Cue)


def test_every_move_leads_to_phases_or_the_end() -> None:
    moves = [move for row in handoff.TABLE.values() for move in row.values() if move is not None]
    assert all(move.leads_to and set(move.leads_to) <= {*Phase, handoff.END} for move in moves)


def test_everything_in_the_core_is_frozen_and_can_be_compared() -> None:
    for module in (due, effects, events, launch, model, outcome, policy):
        kinds = [each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, Struct)]
        for each in set(kinds) - {Struct}:
            assert each.__struct_config__.frozen
            assert each.__struct_config__.eq or inspect.isfunction(each.__eq__)


def test_what_is_only_told_to_a_looker_makes_no_other_watch() -> None:
    told: dict[str, Any] = {"method": "auto", "probe": True, "silence_counts": True}
    one, same, other = (
        due.AwaitReady(1, 1, 1, **told),
        due.AwaitReady(1, 1, 1, **told | {"probe": False}),
        due.AwaitReady(1, 2, 1, **told),
    )
    assert one == same
    assert not one != same  # noqa: SIM202 - a Struct answers the two apart
    assert {one, same, other} == {one, other}
    assert one != other
    assert due.DigestFile("1", RELEASES[0]) != due.VerifyRelease(1, model.Request(id="1"), None)


# ---- any event at all, to any state that can be reached

few = st.integers(0, 5)
times = st.floats(0, 1e6)


def anything(wanted: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - it is given an annotation, of which there is no type
    """A value for an annotation: small numbers, so that some hit what exists."""
    options = typing.get_args(wanted)
    if typing.get_origin(wanted) is tuple:
        return st.lists(anything(options[0]), max_size=2).map(tuple)
    if options:
        return st.one_of(*(anything(each) for each in options))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        int: few,
        float: times,
        str: st.sampled_from(["a", "b", "pipe"]),
        bool: st.booleans(),
        type(None): st.none(),
        model.Release: st.sampled_from(RELEASES),
        policy.Policy: st.builds(
            policy.Policy,
            exclusive=st.booleans(),
            probation=st.sampled_from([0.0, 5.0]),
            drain_limit=st.integers(0, 3),
        ),
    }
    if wanted in simple:
        return simple[wanted]
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return st.sampled_from(wanted)
    return built(wanted)


def built(kind: type[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind, NAMES)
    told = st.fixed_dictionaries({name: anything(hints[name]) for name in kind.__struct_fields__})
    return told.map(lambda fields: kind(**fields))


any_event: st.SearchStrategy[events.Event] = st.one_of(*(built(kind) for kind in kinds(events.Event)))


def reached() -> list[State]:
    worlds = [world for it in STARTS for world in explore(it.world(), depth=4, bounds=it.bounds).worlds]
    return list(dict.fromkeys(world.state for world in worlds))


REACHED = reached()


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(REACHED), st.lists(any_event, min_size=1, max_size=12))
def test_no_event_makes_the_core_fall_over(state: State, happened: list[events.Event]) -> None:
    for event in happened:
        state, _ = step(state, event)
        assert len(list(due.deadlines(state))) == len(set(due.deadlines(state)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(REACHED), any_event)
def test_the_same_event_to_the_same_state_gives_the_same_answer(state: State, event: events.Event) -> None:
    assert step(state, event) == step(state, replace(event))


def test_who_has_left_looks_at_nothing() -> None:
    left = [replace(state, mode=Mode.LEFT) for state in REACHED]
    assert not any([*due.deadlines(state), *due.watches(state)] for state in left)


def test_what_is_made_ahead_is_what_the_next_handoff_would_make() -> None:
    ahead = [(state, each) for state in REACHED for each in due.watches(state) if isinstance(each, due.MakeAhead)]
    assert any(state.handoff is None for state, _ in ahead)
    assert any(state.handoff is not None for state, _ in ahead)
    for state, watch in ahead:
        (serving,) = state.generations
        for other in (
            replace(state, policy=replace(state.policy, ahead=False)),
            replace(state, generations=(replace(serving, release=replace(serving.release, sealed="1")),)),
        ):
            assert not any(isinstance(each, due.MakeAhead) for each in due.watches(other))
        assert (serving.role, serving.life) == (model.Role.SERVING, Life.READY)
        asked, _ = step(state, events.Asked(at=1.0, request=model.Request(id="1")))
        assert asked.handoff is not None
        release = replace(serving.release, id="new", inode=99)
        found = events.Verified(at=1.0, handoff=asked.handoff.number, release=release, policy=watch.policy)
        _, begun = step(asked, found)
        assert effects.Spawn(watch.generation, 1, release, watch.generation) in begun


def test_one_that_waits_is_wanted_until_it_is_taken_or_of_no_use() -> None:
    """Whatever happens: a watch that comes and goes would make a process each time."""
    for state in REACHED:
        before = next((each for each in due.watches(state) if isinstance(each, due.MakeAhead)), None)
        if before is None:
            continue
        asked, _ = step(state, events.Asked(at=1.0, request=model.Request(id="1")))
        assert before in set(due.watches(asked))
        if asked.handoff is not None:
            failure = model.Failure(model.Reason.BAD_RELEASE)
            refused, _ = step(asked, events.Refused(at=1.0, handoff=asked.handoff.number, failure=failure))
            assert before in set(due.watches(refused))
