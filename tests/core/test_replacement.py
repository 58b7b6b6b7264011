"""What a replacement must not lose: the way back to the release before, and the sense of time after a reboot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.core import events, recovery
from supervisor.core.ending import Exit
from supervisor.core.model import Ask, Failure, Phase, Process, Reason, Request, State
from supervisor.core.policy import Policy
from supervisor.core.step import step
from supervisor.core.value import replace
from tests.core.world import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.core.model import Release

WATCHED = Policy(watchdog=1.0, probation=5.0)
OLD, NEW = RELEASES


def after(state: State, happened: Iterable[events.Event]) -> State:
    for event in happened:
        state, _ = step(state, event)
    return state


def rises(number: int, release: Release, at: float) -> list[events.Event]:
    about = {"generation": number, "run": 1}
    return [
        events.Spawned(at=at, **about, process=Process(number, 1), release=release),
        events.Ready(at=at, **about, how="pipe"),
    ]


def on_probation(state: State, handoff: int, candidate: int, release: Release, at: float) -> State:
    return after(
        state,
        [
            events.Verified(at=at, handoff=handoff, release=release, policy=WATCHED),
            *rises(candidate, release, at),
            events.Steered(at=at, handoff=handoff, sockets=candidate),
        ],
    )


def committed(state: State) -> State:
    under_way = state.handoff
    assert under_way is not None
    assert under_way.until is not None
    lapsed = events.HandoffLapsed(
        at=under_way.until, due=under_way.until, handoff=under_way.number, phase=under_way.phase
    )
    return after(state, [lapsed])


@pytest.fixture
def ailing() -> State:
    """The new release serves after an upgrade, and hangs: the service has asked for a copy of it."""
    state = after(State(), [events.Begun(at=0.0, release=OLD, policy=WATCHED), *rises(1, OLD, 0.0)])
    state = after(state, [events.Asked(at=1.0, request=Request(id="upgrade"))])
    state = after(
        committed(on_probation(state, 1, 2, NEW, 1.0)),
        [
            events.Quiet(at=7.0, generation=1, run=1),
            events.Exited(at=7.0, generation=1, run=1, exit=Exit(status=0)),
            events.Pinged(at=100.0, generation=2, run=1),
            events.Ailing(at=102.0, generation=2, run=1, failure=Failure(Reason.HUNG)),
        ],
    )
    assert state.handoff is not None
    assert state.handoff.request.ask is Ask.REPLACE
    return state


def test_a_rollback_meanwhile_means_the_release_before_and_not_the_one_that_ails(ailing: State) -> None:
    state = on_probation(ailing, 2, 3, NEW, 102.0)
    state = after(state, [events.Asked(at=103.0, request=Request(id="back", ask=Ask.ROLLBACK))])
    assert state.handoff is not None
    assert state.handoff.phase is Phase.PROBATION
    assert state.pending is not None
    state = committed(state)
    assert state.handoff is not None
    assert (state.handoff.request.id, state.previous) == ("back", OLD)


def test_a_copy_of_a_file_that_was_touched_is_no_other_release(ailing: State) -> None:
    state = committed(on_probation(ailing, 2, 3, replace(NEW, mtime_ns=NEW.mtime_ns + 1), 102.0))
    assert state.previous == OLD


def test_delays_do_not_outlive_the_clock_that_they_are_of(ailing: State) -> None:
    state = committed(on_probation(ailing, 2, 3, NEW, 102.0))
    assert state.replace_at is not None
    anew, _ = recovery.begun_anew(state, WATCHED, told=2, at=5.0)
    assert (anew.replace_at, anew.replacements) == (None, 0)
