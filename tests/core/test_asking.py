"""What is asked for: when it is taken up, by whom it can be undone, and that the same request is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.core import effects, events
from supervisor.core.launch import Listen
from supervisor.core.model import Ask, Failure, Mode, Phase, Reason, Request, State
from supervisor.core.outcome import Result
from supervisor.core.step import step
from supervisor.core.value import replace
from tests.core.invariants import take, watched
from tests.core.starts import (
    alone_on_probation,
    asked,
    crashed,
    exclusively,
    lapsed,
    serving,
    settling,
    shifted,
    taking_turns,
    up,
    verified,
    withdrawing,
    yielding,
)
from tests.core.world import EXCLUSIVE, POLICY, RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.world import World

ABORT = events.AbortAsked(at=0.0, request=Request(id="abort"))
DIGEST = "0123456789abcdef" * 4


def upgrade(name: str, current: str | None = None, ask: Ask = Ask.UPGRADE) -> events.Asked:
    return events.Asked(at=0.0, request=Request(id=name, ask=ask, if_current=current))


def returning() -> World:
    return take(shifted(serving()), ABORT)


def starting() -> World:
    world = verified(asked(serving()))
    return take(world, next(each for each in world.answers() if isinstance(each, events.Spawned)))


# ---- an abort means something in every phase

BEFORE_THE_COMMIT: dict[Phase, tuple[Callable[[], World], ...]] = {
    Phase.VERIFY: (lambda: asked(serving()), lambda: asked(exclusively())),
    Phase.YIELD: (yielding,),
    Phase.START: (lambda: verified(asked(serving())), taking_turns),
    Phase.READY: (starting,),
    Phase.SHIFT: (lambda: up(verified(asked(serving())), 2),),
    Phase.PROBATION: (lambda: shifted(serving()), alone_on_probation),
    Phase.SETTLE: (settling,),
    Phase.RETURN: (returning,),
    Phase.WITHDRAW: (withdrawing, lambda: take(yielding(), ABORT)),
}


@pytest.mark.parametrize("phase", Phase)
def test_an_abort_is_taken_in_every_phase(phase: Phase) -> None:
    for start in BEFORE_THE_COMMIT[phase]:
        world = start()
        assert world.state.handoff is not None
        assert world.state.handoff.phase is phase
        after, wanted = watched(world, replace(ABORT, request=Request(id="another")))
        assert not any(isinstance(each, effects.Refuse) for each in wanted)
        concluded = [each.outcome.result for each in wanted if isinstance(each, effects.Conclude)]
        backwards = after.state.handoff is not None and after.state.handoff.phase in {Phase.RETURN, Phase.WITHDRAW}
        assert concluded == [Result.ROLLED_BACK] or (backwards and not concluded)


@pytest.mark.parametrize(
    ("world", "reason", "said"),
    [
        (serving, Reason.NOTHING_TO_ABORT, "rollback brings back the release that served before"),
        (lambda: up(verified(asked(crashed())), 2), Reason.NO_WAY_BACK, "ask for a rollback after the commit"),
        (lambda: replace(serving(), state=replace(serving().state, mode=Mode.STOPPING)), Reason.STOPPING, ""),
    ],
)
def test_an_abort_that_is_refused_says_why_and_what_would_do(
    world: Callable[[], World], reason: Reason, said: str
) -> None:
    _, (refused,) = step(world().state, ABORT)
    assert isinstance(refused, effects.Refuse)
    assert refused.failure.reason is reason
    assert refused.failure.detail.endswith(said)


# ---- if_current


def _known(world: World) -> World:
    return take(world, events.Digested(at=0.0, release="a", sha256=DIGEST))


@pytest.mark.parametrize("name", ["a", DIGEST, DIGEST[:8], DIGEST[:8].upper()])
def test_a_request_that_builds_on_what_serves_is_taken_up(name: str) -> None:
    assert take(_known(serving()), upgrade("r", name)).state.handoff is not None


def test_the_id_of_a_release_may_be_said_without_its_end() -> None:
    state = serving().state
    (only,) = state.generations
    state = replace(state, generations=(replace(only, release=replace(only.release, id="v1+8122ecf3")),))
    for name, taken in (("v1", True), ("v1+8122ecf3", True), ("v1+", False), ("8122ecf3", False), ("v", False)):
        assert (step(state, upgrade("r", name))[0].handoff is not None) is taken, name


@pytest.mark.parametrize("name", ["b", "", DIGEST[:7], DIGEST + "0", "1" + DIGEST[1:]])
def test_one_that_does_not_is_refused_and_told_what_serves(name: str) -> None:
    world = _known(serving())
    state, (refused,) = step(world.state, upgrade("r", name))
    assert state == world.state
    assert isinstance(refused, effects.Refuse)
    assert str(refused.failure) == f"not the current release: a is, and not {name}"


def test_it_counts_when_it_is_taken_up_and_not_when_it_is_asked() -> None:
    kept = take(shifted(serving()), upgrade("kept", "a"))
    assert kept.state.pending is not None
    _, wanted = watched(kept, _lapse(kept))
    assert any(isinstance(each, effects.Refuse) and each.request.id == "kept" for each in wanted)
    kept = take(shifted(serving()), upgrade("kept", "b"))
    after = lapsed(kept)
    assert after.state.handoff is not None
    assert after.state.handoff.request.id == "kept"


def _lapse(world: World) -> events.Event:
    handoff = world.state.handoff
    assert handoff is not None
    assert handoff.until is not None
    until = handoff.until
    return events.HandoffLapsed(at=until, due=until, handoff=handoff.number, phase=handoff.phase)


def test_a_rollback_in_probation_is_taken_up_at_once_from_what_serves_then() -> None:
    world = shifted(serving())
    refused = take(world, upgrade("r", "a", Ask.ROLLBACK))
    assert refused.state == world.state
    after = take(world, upgrade("r", "b", Ask.ROLLBACK))
    assert after.state.handoff is not None
    assert after.state.handoff.phase is Phase.RETURN


# ---- the same request is one


def test_a_request_that_is_kept_is_not_displaced_by_itself() -> None:
    world = take(asked(serving()), upgrade("kept"))
    assert step(world.state, upgrade("kept")) == (world.state, ())


@pytest.mark.parametrize("world", [lambda: asked(serving()), lambda: shifted(serving()), yielding, withdrawing])
def test_a_request_that_is_under_way_is_not_begun_again(world: Callable[[], World]) -> None:
    state: State = world().state
    assert step(state, upgrade("first")) == (state, ())


def test_a_rollback_that_is_under_way_is_not_asked_for_again() -> None:
    world = take(shifted(serving()), upgrade("back", ask=Ask.ROLLBACK))
    assert step(world.state, upgrade("back", ask=Ask.ROLLBACK)) == (world.state, ())


# ---- other listeners

OTHER = replace(RELEASES[1], launch=replace(RELEASES[1].launch, listen=(Listen(name="b", address=":1"),)))


def test_exclusively_other_listeners_are_refused_before_anything_is_stopped() -> None:
    for world in (asked(exclusively()), asked(crashed())):
        found = events.Verified(at=0.0, handoff=1, release=OTHER, policy=EXCLUSIVE)
        after, (concluded,) = watched(world, found)
        assert isinstance(concluded, effects.Conclude)
        assert concluded.outcome.result is Result.REFUSED
        assert isinstance(concluded.outcome.failure, Failure)
        assert concluded.outcome.failure.reason is Reason.OTHER_LISTENERS
        assert after.state.generations == world.state.generations


def test_a_candidate_does_not_borrow_sockets_of_other_listeners() -> None:
    after = take(asked(crashed()), events.Verified(at=0.0, handoff=1, release=OTHER, policy=POLICY))
    assert [each.sockets for each in after.state.generations] == [1, 2]
    first = after.state.find(1)
    assert first is not None
    assert first.until is not None, "and who serves is started again meanwhile"
