"""The kernel kills processes for want of memory: each time is one failure of the release, with all that comes of it."""

from __future__ import annotations

from supervisor.core import due, events
from supervisor.core.chronicle import chronicle
from supervisor.core.ending import Exit
from supervisor.core.model import Ask, Failure, Reason, State
from supervisor.core.policy import ONE_FAILURE
from supervisor.core.step import step
from supervisor.core.value import replace
from tests.core.starts import shifted, succeeded
from tests.core.world import WARY, WATCHED

PATIENT = replace(WARY, rollback_after=3, watchdog=30.0)
LATER = 10.0 + ONE_FAILURE


def killed(at: float, count: int = 1, run: int = 1, generation: int = 2) -> events.OomKilled:
    return events.OomKilled(at=at, generation=generation, run=run, count=count)


def exited(at: float) -> events.Exited:
    return events.Exited(at=at, generation=2, run=1, exit=Exit(signal=9))


def failures(*happened: events.Event) -> tuple[float, ...]:
    """When the second release, which serves, has failed."""
    return after(*happened).record.deaths


def after(*happened: events.Event) -> State:
    state = succeeded(PATIENT).state
    for event in happened:
        state, _ = step(state, event)
    return state


def test_each_time_counts_once_however_many_processes_it_takes() -> None:
    assert failures(killed(10.0, count=5)) == (10.0,)
    assert failures(killed(10.0), killed(10.5), killed(11.5)) == (10.0,)
    assert failures(killed(10.0), killed(11.5), killed(LATER)) == (10.0, LATER), "others go on from the first"


def test_the_death_of_the_main_process_belongs_to_it_and_a_later_one_does_not() -> None:
    assert failures(killed(10.0), exited(10.1)) == (10.0,)
    assert failures(killed(10.0), exited(LATER)) == (10.0, LATER)
    assert failures(exited(10.0), killed(10.1)) == (10.0,), "that run is no more"
    hung = events.Ailing(at=10.1, generation=2, run=1, failure=Failure(Reason.HUNG))
    assert failures(killed(10.0), hung, exited(20.0)) == (10.0,)


def test_who_has_lost_processes_too_often_is_gone_back_from_though_it_lives() -> None:
    handoff = after(killed(10.0), killed(20.0), killed(30.0)).handoff
    assert handoff is not None
    assert handoff.request.ask is Ask.FALLBACK
    seen = "the kernel killed processes of it, as memory was out"
    assert handoff.request.because == f"it failed 3 times within 20 s, in the end: {seen}"


def test_it_is_told_each_time() -> None:
    state = after(killed(10.0))
    event = killed(10.5, count=2)
    told = [each for each in chronicle(state, event, *step(state, event)) if each.name == "oom_killed"]
    assert [each.fields for each in told] == [{"generation": 2, "release": "b", "count": 2}]


def test_only_the_committed_are_looked_at_and_only_where_it_counts() -> None:
    def looked_at(state: State) -> list[int]:
        return [each.generation for each in due.watches(state) if isinstance(each, due.AwaitOomKills)]

    assert looked_at(succeeded(PATIENT).state) == [2]
    assert looked_at(succeeded(WATCHED).state) == [], "with after = 0 nothing comes of it"
    on_trial = shifted(succeeded(PATIENT), PATIENT).state
    assert looked_at(on_trial) == [2], "the old one stands by, and the candidate is its handoff's affair"
    candidate = on_trial.last_generation
    assert step(on_trial, killed(10.0, generation=candidate))[0] == on_trial
