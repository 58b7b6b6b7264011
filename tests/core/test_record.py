"""What has served can be gone back to: by which names, as what, and when that is at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.core import effects, events
from supervisor.core.due import VerifyRelease, watches
from supervisor.core.launch import Launch
from supervisor.core.model import Ask, Phase, Release, Request
from supervisor.core.record import KEPT, Record, Served, is_called
from supervisor.core.step import step
from supervisor.core.value import replace
from tests.core.invariants import take
from tests.core.starts import ails, asked, lapsed, serving, shifted, up
from tests.core.world import POLICY, RELEASES

if TYPE_CHECKING:
    from supervisor.core.policy import Policy
    from tests.core.world import World

A_DIGEST, C_DIGEST = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def version(name: str, *, file: str = "", sha256: str | None = None) -> Release:
    """Version `name`, of which there may be several files."""
    path = f"/srv/versions/{name}{file}/server"
    launch = Launch(argv=(path, name))
    return Release(id=f"{name}+{file}", path=path, device=1, inode=1, size=1, mtime_ns=1, launch=launch, sha256=sha256)


def policy(number: int) -> Policy:
    return replace(POLICY, drain_timeout=float(number))


def having_served(*served: Served) -> World:
    """`a` serves, and these have before."""
    world = serving()
    return replace(world, state=replace(world.state, record=Record(served=served), previous=served[-1].release))


def rollback(to: str | None = None, name: str = "r") -> events.Asked:
    return events.Asked(at=0.0, request=Request(id=name, ask=Ask.ROLLBACK, to=to))


V1 = Served(release=version("v1", file="1", sha256=A_DIGEST), policy=policy(1))
V2 = Served(release=version("v2", file="2"), policy=policy(2))
AGAIN = Served(release=version("v2", file="3", sha256=C_DIGEST), policy=policy(3))


@pytest.mark.parametrize(
    ("name", "goal"),
    [(None, AGAIN), ("v1", V1), ("v1+1", V1), (A_DIGEST[:8].upper(), V1), ("v2+2", V2), ("v2+3", AGAIN)],
)
def test_it_is_gone_back_to_as_it_served(name: str | None, goal: Served) -> None:
    world = take(having_served(V1, V2, AGAIN), rollback(name))
    (watch,) = (each for each in watches(world.state) if isinstance(each, VerifyRelease))
    assert (watch.previous, watch.policy) == (goal.release, goal.policy)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v2", "v2 may be any of v2+2, v2+3: say which"),
        ("v3", "v3 is none of the releases that have served and are kept; those are v1+1, v2+2, v2+3"),
        (A_DIGEST[:7], f"{A_DIGEST[:7]} is none of the releases"),
        ("a", "a serves now"),
    ],
)
def test_a_name_that_does_not_say_which_is_refused(name: str, said: str) -> None:
    world = having_served(V1, V2, AGAIN)
    state, (refused,) = step(world.state, rollback(name))
    assert state == world.state
    assert isinstance(refused, effects.Refuse)
    assert str(refused.failure).startswith(f"no such release to go back to: {said}")


def test_of_two_copies_of_one_content_the_newest_is_meant() -> None:
    copy = Served(release=replace(AGAIN.release, id="v2+4", path="/srv/versions/v24/server"), policy=policy(4))
    record = Record(served=(V1, AGAIN, copy))
    assert record.called("v2") == (copy,)


def committed(world: World, release: Release, found: Policy) -> World:
    """An upgrade to that, or the way back to it, is committed."""
    number = world.state.last_handoff
    world = take(world, events.Verified(at=0.0, handoff=number, release=release, policy=found))
    world = up(world, world.state.last_generation)
    return lapsed(take(world, events.Steered(at=0.0, handoff=number, sockets=world.steers[0].sockets)))


def test_what_it_ran_by_comes_back_with_it_and_the_file_counts_from_the_next_upgrade_on() -> None:
    world = committed(asked(serving(policy(7))), V1.release, policy(1))
    assert (world.state.policy, world.state.record.recalled) == (policy(1), False)
    assert world.state.record.served == (Served(release=RELEASES[0], policy=policy(7)),)
    world = committed(take(world, rollback()), RELEASES[0], policy(7))
    assert (world.state.policy, world.state.record.recalled) == (policy(7), True)
    assert world.state.record.served == (replace(V1, policy=policy(1)),)
    world = committed(take(world, events.Asked(at=0.0, request=Request(id="up"))), RELEASES[0], policy(8))
    assert (world.state.policy, world.state.record.recalled) == (policy(8), False)


def test_a_copy_runs_by_what_its_original_does() -> None:
    world = serving(replace(POLICY, watchdog=30.0))
    world = replace(world, state=replace(world.state, record=Record(recalled=True)))
    world = committed(ails(world, 1), RELEASES[0], world.state.policy)
    assert world.state.serving is not None
    assert (world.state.serving.number, world.state.record.recalled) == (2, True)


def test_each_is_kept_once_and_only_so_many() -> None:
    record = Record()
    for number in range(KEPT + 3):
        record = record.left(Served(release=version(f"v{number}"), policy=POLICY), version("new"))
    record = record.left(Served(release=version("v9"), policy=policy(9)), version("new"))
    assert [each.release.id for each in record.served] == [
        f"v{number}+" for number in (3, 4, 5, 6, 7, 8, 10, 11, 12, 9)
    ]
    assert record.served[-1].policy == policy(9), "as it served last"


def test_in_probation_it_is_immediate_by_name_too_and_another_one_waits() -> None:
    world = shifted(serving())
    back = take(world, rollback("a"))
    assert back.state.handoff is not None
    assert back.state.handoff.phase is Phase.RETURN
    other = take(world, rollback("v1"))
    assert other.state.handoff == world.state.handoff
    assert other.state.pending is not None


def test_versions_that_the_same_launcher_runs_are_several() -> None:
    """What was sealed counts as a whole: a fix is not the release that it replaces, and that can be gone back to."""
    one, two, copy = (
        Served(release=replace(version(name, sha256=A_DIGEST), sealed=sealed), policy=policy(1))
        for name, sealed in (("v1", "s1"), ("v2", "s2"), ("v2-again", "s2"))
    )
    record = Record().left(one, two.release)
    assert record.ways_back(two.release) == (one,)
    held = record.put_away(two.release, "it failed", 0.0, 60.0)
    assert held.holds(one.release) is None
    assert held.holds(copy.release) is not None
    assert held.holds(version("by-hand", sha256=A_DIGEST)) is not None, "one that was not sealed is its file"


def test_a_version_may_have_a_plus_in_it() -> None:
    release = replace(version("v"), id="1.2.3+b5+8122ecf3")
    assert is_called(release, "1.2.3+b5")
    assert is_called(release, release.id)
    assert not is_called(release, "1.2.3")


def test_a_copy_of_what_serves_is_made_though_that_is_in_quarantine() -> None:
    """It was begun with for want of another, and one that hangs is to be replaced."""
    world = ails(serving(replace(POLICY, watchdog=30.0)), 1)
    record = world.state.record.put_away(RELEASES[0], "it failed", 0.0, 60.0)
    world = replace(world, state=replace(world.state, record=record))
    handoff = world.state.handoff
    assert handoff is not None
    verified = events.Verified(at=1.0, handoff=handoff.number, release=RELEASES[0], policy=POLICY)
    state, _ = step(world.state, verified)
    assert state.handoff is not None
    assert state.handoff.phase is Phase.START
