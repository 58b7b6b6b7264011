"""What the core says of what it has seen, and the few things that no order of events brings about."""

from __future__ import annotations

import pytest

from supervisor.core import events
from supervisor.core.due import deadlines
from supervisor.core.effects import Refuse
from supervisor.core.ending import Exit
from supervisor.core.model import Failure, Reason, Request
from supervisor.core.step import step
from tests.core.invariants import take
from tests.core.starts import asked, begun, crashed, dies, lapsed, serving, shifted, up, verified
from tests.core.world import POLICY, RELEASES

NO_WAY_BACK = Failure(
    Reason.NO_WAY_BACK, "the old generation's process has died and is started again: ask again when it is ready"
)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Exit(status=3), "exit status 3"),
        (Exit(signal=9, signal_name="SIGKILL"), "killed by SIGKILL"),
        (Exit(signal=34), "killed by signal 34"),
        (Exit(), "exit status unknown"),
        (Failure(Reason.DIED), "died before it was ready"),
        (Failure(Reason.DIED, "exit status 3"), "died before it was ready: exit status 3"),
    ],
)
def test_it_says_what_was_seen(seen: Exit | Failure, said: str) -> None:
    assert str(seen) == said


def test_the_standby_is_known() -> None:
    assert serving().state.standby is None
    standby = shifted(serving()).state.standby
    assert standby is not None
    assert standby.number == 1


def test_an_exec_that_was_refused_is_called_so() -> None:
    world = verified(asked(serving()))
    world = take(world, next(each for each in world.answers() if isinstance(each, events.Spawned)))
    failed = events.Exited(at=0.0, generation=2, run=1, exit=Exit(status=127, exec_failed=True))
    _, (_, conclude, *_) = step(world.state, failed)
    assert "exec failed" in str(conclude.outcome.failure)  # type: ignore[attr-defined]  # it is a Conclude, or fails here


def test_an_event_of_no_known_kind_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        step(serving().state, events.Event(at=0.0))


def test_who_serves_keeps_its_sockets_though_it_has_closed_its_copies() -> None:
    world = crashed()
    world = take(world, next(each.event for each in deadlines(world.state)))
    world = take(world, next(each for each in world.answers() if isinstance(each, events.Spawned)))
    world = take(world, events.NotReady(at=0.0, generation=1, run=2, failure=Failure(Reason.CLOSED_READY)))
    released = events.Released(at=0.0, generation=1, run=2)
    assert step(world.state, released) == (world.state, ())


def test_only_the_steering_that_was_asked_for_moves_a_handoff_on() -> None:
    world = up(verified(asked(serving())), 2)
    elsewhere = events.Steered(at=0.0, handoff=1, sockets=99)
    state, wanted = step(world.state, elsewhere)
    assert state.handoff == world.state.handoff
    assert not wanted


def test_a_new_digest_reaches_whoever_runs_that_release() -> None:
    world = lapsed(shifted(serving()))
    state, _ = step(world.state, events.Digested(at=0.0, release="a", sha256="0" * 64))
    assert state.previous is not None
    assert state.previous.sha256 == "0" * 64
    assert [each.release.sha256 for each in state.generations] == ["0" * 64, None]


def test_the_same_release_again_does_not_become_its_own_predecessor() -> None:
    world = lapsed(shifted(serving()))
    again = up(verified(asked(world)), 3)
    again = lapsed(take(again, events.Steered(at=0.0, handoff=2, sockets=3)))
    assert again.state.previous is not None
    assert again.state.previous.id == "a"


def test_an_abort_without_a_way_back_is_refused() -> None:
    world = dies(shifted(serving()), 1)
    abort = events.AbortAsked(at=0.0, request=Request(id="no"))
    assert step(world.state, abort) == (world.state, (Refuse(abort.request, NO_WAY_BACK),))


def test_begun_twice_is_begun_once() -> None:
    world = begun()
    assert step(world.state, events.Begun(at=1.0, release=RELEASES[1], policy=POLICY))[0] == world.state
