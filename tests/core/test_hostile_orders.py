"""Orders of events that once went wrong, each by itself and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.core import effects, events, policy
from supervisor.core.due import deadlines
from supervisor.core.ending import Exit
from supervisor.core.model import Ask, Life, Phase, Request
from supervisor.core.policy import Policy
from supervisor.core.step import step
from supervisor.core.value import replace
from tests.core.invariants import take, watched
from tests.core.kind import first_deadline
from tests.core.starts import asked, begun, borrowing, crashed, dies, lapsed, serving, shifted, up, verified
from tests.core.world import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.world import World

abort = events.AbortAsked(at=0.0, request=Request(id="abort"))


def test_a_late_deadline_does_not_start_who_has_lent_its_sockets() -> None:
    (late,) = deadlines(crashed().state)
    lent = borrowing()
    assert step(lent.state, late.event) == (lent.state, ())


def test_a_deadline_that_has_been_moved_does_not_pass_at_its_old_time() -> None:
    world = begun()
    world = take(world, next(each for each in world.answers() if isinstance(each, events.Spawned)))
    (early,) = deadlines(world.state)
    world = take(world, events.Extended(at=1.0, generation=1, run=1, until=90.0))
    assert step(world.state, early.event) == (world.state, ())


def test_who_has_left_does_nothing_more() -> None:
    for world in (begun(), crashed(), verified(asked(serving()))):
        left = take(world, events.LeaveAsked(at=0.0))
        for event in [*world.answers(), *(each.event for each in deadlines(world.state))]:
            assert step(left.state, event) == (left.state, ())


@pytest.mark.parametrize("start", [borrowing, lambda: dies(verified(asked(serving())), 1)], ids=["lent", "own"])
def test_an_abort_does_not_lead_back_to_one_that_has_died(start: Callable[[], World]) -> None:
    world = up(start(), 2)
    after, wanted = watched(world, abort)
    assert isinstance(wanted[0], effects.Refuse)
    assert after.state == world.state


def test_the_kernel_need_not_be_asked_for_sockets_that_it_steers_to_already() -> None:
    world = up(borrowing(), 2)
    assert not world.steers
    assert world.state.handoff is not None
    assert world.state.handoff.phase is Phase.PROBATION


def test_a_refused_shift_is_tried_again_if_there_is_nobody_to_go_back_to() -> None:
    world = up(dies(verified(asked(serving())), 1), 2)
    refused = events.SteerFailed(at=0.0, handoff=1, sockets=2, detail="no memory")
    again = [each.event for each in deadlines(take(world, refused).state)]
    world = take(take(world, refused), next(each for each in again if isinstance(each, events.HandoffLapsed)))
    assert [each.sockets for each in world.steers] == [2]


def test_an_effect_is_wanted_once() -> None:
    world = take(serving(), events.StopAsked(at=0.0))
    _, wanted = step(world.state, events.Exited(at=0.0, generation=1, run=1, exit=Exit(status=0)))
    assert len(wanted) == len(set(wanted))


def test_the_delay_of_a_patient_service_stays_a_number() -> None:
    patient = Policy(restart_limit=5000)
    assert policy.restart_after(2000, patient) == patient.restart_longest


def test_who_is_told_late_has_time_to_end() -> None:
    world = lapsed(shifted(serving()))
    late = 300.0
    waiting = first_deadline(world)
    assert isinstance(waiting, events.GenerationLapsed)
    world = take(world, replace(waiting, at=late))
    deadline = first_deadline(world)
    assert deadline is not None
    assert deadline.at >= late + POLICY.drain_timeout / 2


def test_a_rollback_in_probation_displaces_the_upgrade_that_was_kept() -> None:
    world = asked(shifted(serving()))
    rollback = events.Asked(at=0.0, request=Request(id="back", ask=Ask.ROLLBACK))
    assert take(world, rollback).state.pending is None


def test_who_drains_is_told_by_the_signal_that_it_was_started_under() -> None:
    world = lapsed(shifted(serving(), replace(POLICY, drain_signal="QUIT")))
    _, wanted = watched(world, events.Quiet(at=0.0, generation=1, run=1))
    assert wanted == (effects.Tell(1, 1, "TERM"),)


def test_candidates_that_failed_do_not_end_a_drain_with_clients() -> None:
    world = lapsed(shifted(serving()))
    for number in (3, 4):
        world = verified(replace(asked(world), asked=0))
        spawned = next(each for each in world.answers() if isinstance(each, events.Spawned))
        world = take(take(world, spawned), abort)
        assert world.state.find(number) is not None
    first = world.state.find(1)
    assert first is not None
    assert first.life is Life.READY


def test_a_standby_that_starts_again_serves_its_queue_before_it_ends() -> None:
    world = dies(shifted(serving()), 1)
    deadline = next(each.event for each in deadlines(world.state) if isinstance(each.event, events.GenerationLapsed))
    world = take(world, deadline)
    world = take(world, next(each for each in world.answers() if isinstance(each, events.Spawned)))
    assert 1 in world.waiting
    world = lapsed(world)
    first = world.state.find(1)
    assert first is not None
    assert first.life is Life.STARTING


def test_a_rollback_on_the_way_back_does_not_go_back_twice() -> None:
    world = take(shifted(serving()), abort)
    world = take(world, events.Asked(at=0.0, request=Request(id="back", ask=Ask.ROLLBACK)))
    steer = world.steers[0]
    after, wanted = watched(world, events.Steered(at=0.0, handoff=steer.handoff, sockets=steer.sockets))
    concluded = next(each for each in wanted if isinstance(each, effects.Conclude))
    assert concluded.outcome.undone_by == Request(id="back", ask=Ask.ROLLBACK)
    assert after.state.handoff is None
    assert after.state.pending is None


def test_the_reason_of_a_time_out_is_what_was_seen_last() -> None:
    world = verified(asked(serving()))
    world = take(world, next(each for each in world.answers() if isinstance(each, events.Spawned)))
    for what in ("answered with 500", "answered with 503"):
        world = take(world, events.Seen(at=0.0, generation=2, run=1, what=what))
    (deadline,) = deadlines(world.state)
    _, wanted = watched(world, deadline.event)
    (ended,) = [each for each in wanted if isinstance(each, effects.Conclude)]
    assert str(ended.outcome.failure) == "not ready in time: answered with 503"


def test_a_way_back_ends_where_nobody_was_ever_sent_elsewhere() -> None:
    world = verified(asked(serving()))
    world = up(world, 2)
    (steer,) = world.steers
    failed = events.SteerFailed(at=0.0, handoff=steer.handoff, sockets=2, detail="no such file")
    world = take(world, failed)
    assert world.state.handoff is not None
    assert world.state.handoff.phase is Phase.RETURN
    world, wanted = watched(world, replace(failed, sockets=1))
    (ended,) = [each for each in wanted if isinstance(each, effects.Conclude)]
    assert str(ended.outcome.failure) == "connections could not be steered: no such file"
    assert world.state.handoff is None
    assert world.state.serving is not None
    assert world.state.serving.number == 1
