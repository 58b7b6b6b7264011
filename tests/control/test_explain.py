"""Why something waits, over the states that the core's own tests start from: nothing unsaid, no deadline unnamed."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import pytest

from supervisor.control.clock import Clock
from supervisor.control.explain import Sight, as_documents, explain, waiting
from supervisor.core import events
from supervisor.core.due import deadlines
from supervisor.core.model import Ask, Mode, Request
from supervisor.core.value import replace
from tests.core.explore import explore
from tests.core.invariants import take
from tests.core.starts import (
    STARTS,
    alone_on_probation,
    asked,
    begun,
    crashed,
    long_drain,
    serving,
    settling,
    shifted,
    standby_died,
    taking_turns,
    up,
    verified,
    withdrawing,
    yielding,
)
from tests.core.world import POLICY

if TYPE_CHECKING:
    from supervisor.core.model import State
    from tests.core.starts import Start
    from tests.core.world import World

CLOCK = Clock(now=10.0, offset=1_790_000_000.0)
DEPTH = 5


def spread(state: State) -> State:
    """The same state with deadlines that can be told apart: explorations forget all times."""
    generations = tuple(
        each if each.until is None else replace(each, until=100.0 + each.number) for each in state.generations
    )
    handoff = state.handoff
    if handoff is not None and handoff.until is not None:
        handoff = replace(handoff, until=99.0)
    later = None if state.replace_at is None else 98.0
    return replace(state, generations=generations, handoff=handoff, replace_at=later)


@functools.cache
def met(start: Start) -> tuple[World, ...]:
    return explore(start.world(), depth=DEPTH, bounds=start.bounds).worlds


@pytest.mark.xdist_group("explanations")
@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.name)
def test_every_state_explains_itself_and_names_every_deadline(start: Start) -> None:
    for world in met(start):
        state = spread(world.state)
        told = explain(state, CLOCK, {})
        assert told
        sentences = " ".join(each.why for each in told)
        for deadline in deadlines(state):
            if isinstance(deadline.event, events.QuarantineLapsed):
                continue  # nothing waits for that
            if isinstance(deadline.event, events.Ailing) and waiting(state, CLOCK, {}):
                continue  # that it will get too old is told where there is nothing else to be told
            due = deadline.event.at
            assert due in {each.until for each in told}, (deadline, told)
            assert CLOCK.at(due) in sentences, (deadline, told)
        assert "at no set time" not in sentences, told
        assert len({each.what for each in told}) == len(told), told


@pytest.mark.xdist_group("explanations")
def test_the_exploration_meets_whatever_can_be_told() -> None:
    """Or the test above would show less than it says."""
    found = {
        each.what.split()[0] for start in STARTS for world in met(start) for each in explain(world.state, CLOCK, {})
    }
    assert found == {"service", "handoff", "request", "generation"}


def only(world: World, sights: dict[int, Sight] | None = None) -> str:
    (wait,) = explain(world.state, CLOCK, sights or {})
    return f"{wait.what}: {wait.why}"


def whole(world: World, sights: dict[int, Sight] | None = None) -> dict[str, str]:
    return {each.what: each.why for each in waiting(world.state, CLOCK, sights or {})}


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at + CLOCK.offset))


def starting() -> World:
    """The candidate runs and has shown nothing yet."""
    world = verified(asked(serving()))
    spawned = next(each for each in world.answers() if type(each).__name__ == "Spawned")
    return take(world, spawned)


def test_nothing_waits() -> None:
    assert only(serving()) == "service: nothing waits: generation 1 serves a, since 10.0 s"
    assert waiting(serving().state, CLOCK, {}) == []


def test_a_candidate_that_is_not_ready() -> None:
    told = only(starting(), {2: Sight(pipe_open=True, unaccepting=("http", "admin"))})
    assert told == (
        "handoff 1: upgrade asked for by signal 10.0 s ago; generation 2 runs since 10.0 s and has not said that it is "
        "ready; its readiness pipe is open; it accepts no connection yet on http, admin; "
        f"at {clock(30.0)} (20.0 s) it is given up and generation 1 serves on"
    )
    assert "it accepts connections" in only(starting(), {2: Sight(unaccepting=())})
    assert "accept" not in only(starting(), {2: Sight(unaccepting=None)})
    assert "pipe is closed" in only(starting(), {2: Sight(pipe_open=False)})


def test_a_candidate_that_has_said_so_and_does_not_accept() -> None:
    world = starting()
    spoken = tuple(replace(each, spoke="pipe") if each.number == 2 else each for each in world.state.generations)
    told = only(replace(world, state=replace(world.state, generations=spoken)), {2: Sight(pipe_open=False)})
    assert "has said by pipe that it is ready, but has not shown that it accepts" in told
    assert "readiness pipe" not in told


def test_probation_says_what_ends_and_what_undoes_it() -> None:
    told = only(shifted(serving()))
    assert "generation 2 serves on probation, and generation 1 stands by" in told
    assert f"at {clock(5.0)} (0.0 s) the handoff is committed and generation 1 told to end" in told
    assert "if generation 2 dies, or by `gapless abort`, new connections go back to generation 1" in told


def test_probation_without_a_standby_has_no_way_back() -> None:
    told = whole(standby_died())
    assert "nothing can be gone back to" in told["handoff 1"]
    assert "its process is gone (exit status 1), 1st death in a row" in told["generation 1"]
    assert "it is started again" in told["generation 1"]


def test_settling_counts_who_waits() -> None:
    assert "2 clients wait in the queue of generation 1" in only(settling(), {1: Sight(queue=2)})
    assert "1 client waits in the queue of generation 1" in only(settling(), {1: Sight(queue=1)})
    assert "clients may wait in the queue of generation 1" in only(settling())


def test_a_drain_says_signal_connections_and_kill() -> None:
    told = only(long_drain(), {1: Sight(connections=12, says="closing")})
    assert told.startswith(
        "generation 1: it was sent TERM 10.0 s ago and finishes what it has; 12 connections are open"
    )
    assert "it is sent KILL; it says “closing”" in told
    assert "1 connection is open" in only(long_drain(), {1: Sight(connections=1)})
    assert "cannot be seen" in only(long_drain())


def test_a_crash_says_which_death_and_who_waits() -> None:
    told = only(crashed(), {1: Sight(queue=3)})
    assert told.startswith("generation 1: its process is gone (exit status 1), 1st death in a row; 3 clients wait")
    world = crashed()
    (dead,) = world.state.generations
    again = replace(world.state, generations=(replace(dead, failures=POLICY.restart_limit + 1),))
    assert "dies again and again" in only(replace(world, state=again))


def test_sockets_that_are_lent_are_said_to_be() -> None:
    told = whole(verified(asked(crashed())))
    assert "its sockets are lent to the candidate" in told["generation 1"]
    assert "generation 2 is being made" in told["handoff 1"]


def test_a_kept_request_says_what_it_waits_for() -> None:
    state = replace(shifted(serving()).state, pending=Request(id="ab", ask=Ask.ROLLBACK, way="control", uid=7, pid=9))
    told = {each.what: each.why for each in explain(state, CLOCK, {})}
    assert told["request ab"] == (
        "rollback asked for by uid 7 (pid 9); it is kept until handoff 1 has ended, and begins then; "
        "a later request displaces it"
    )


def test_the_first_start_is_no_handoff() -> None:
    assert only(begun()) == "generation 1: its process (start 1) is being made"


def test_stopping_says_when_at_the_latest() -> None:
    state = replace(long_drain().state, mode=Mode.STOPPING)
    first = explain(state, CLOCK, {})[0]
    assert "it is stopping" in first.why
    assert first.until == max(each.until for each in state.generations if each.until is not None)


def test_for_machines_times_are_since_1970() -> None:
    (made,) = as_documents(explain(up(begun(), 1).state, CLOCK, {}), CLOCK)
    assert made["since"] == CLOCK.offset
    assert set(made) == {"what", "why", "since", "until"}


def test_taking_turns_says_who_ends_for_whom() -> None:
    told = whole(yielding(), {1: Sight(queue=2)})
    assert "generation 1 ends first, for the two may not run at one time, and 2 clients wait" in told["handoff 1"]
    assert "it was sent TERM" in told["generation 1"]
    assert "it is undone" in whole(withdrawing())["handoff 1"]
    assert "generation 1 is started again on the same sockets" in whole(withdrawing())["handoff 1"]
    assert "if that fails, generation 1 is started again" in whole(taking_turns())["handoff 1"]
    alone = whole(alone_on_probation())
    assert "if it dies, or by `gapless abort`, generation 1 is started again" in alone["handoff 1"]
    assert "its sockets are lent to the candidate" in alone["generation 1"]
