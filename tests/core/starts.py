"""The worlds that explorations start from, each told as the events that lead to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core import events
from supervisor.core.ending import Exit
from supervisor.core.model import Ask, Failure, Process, Reason, Request
from supervisor.core.record import Served
from supervisor.core.value import replace
from tests.core.invariants import take
from tests.core.world import (
    EXCLUSIVE,
    GUARDED,
    NO_PROBATION,
    OLDER,
    POLICY,
    RELEASES,
    STORED,
    WARY,
    WATCHED,
    Bounds,
    World,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.core.policy import Policy


class Start(Struct, frozen=True):
    """Where an exploration starts, how deep it goes, and how much may happen on the way."""

    name: str
    world: Callable[[], World]
    depth: int
    bounds: Bounds
    least: int
    """How many worlds are met at the least: fewer, and something has been cut off."""


def begun(policy: Policy = POLICY) -> World:
    """The supervisor has just started."""
    return take(World(), events.Begun(at=0.0, release=RELEASES[0], policy=policy))


def up(world: World, generation: int, run: int = 1) -> World:
    """A generation whose spawn was asked for gets ready."""
    found = world.state.find(generation)
    assert found is not None
    process = Process(generation, run)
    spawned = events.Spawned(at=0.0, generation=generation, run=run, process=process, release=found.release)
    return take(take(world, spawned), events.Ready(at=0.0, generation=generation, run=run, how="pipe"))


def dies(world: World, generation: int, run: int = 1) -> World:
    """A process ends by itself."""
    return take(world, events.Exited(at=0.0, generation=generation, run=run, exit=Exit(status=1)))


def quiet(world: World, generation: int) -> World:
    """Nobody waits in its queues any more."""
    return take(world, events.Quiet(at=0.0, generation=generation, run=1))


def serving(policy: Policy = POLICY) -> World:
    """The first generation serves."""
    return up(begun(policy), 1)


def asked(world: World, ask: Ask = Ask.UPGRADE) -> World:
    """Somebody asks, unknown to the bounds of the exploration."""
    after = take(world, events.Asked(at=0.0, request=Request(id="first", ask=ask)))
    return replace(after, asked=world.asked)


def verified(world: World, policy: Policy = POLICY) -> World:
    """The new release is found good."""
    handoff = world.state.last_handoff
    return take(world, events.Verified(at=0.0, handoff=handoff, release=RELEASES[1], policy=policy))


def shifted(world: World, policy: Policy = POLICY) -> World:
    """An upgrade has come as far as its probation."""
    world = verified(asked(world), policy)
    world = up(world, world.state.last_generation)
    handoff, sockets = world.steers[0].handoff, world.steers[0].sockets
    return take(world, events.Steered(at=0.0, handoff=handoff, sockets=sockets))


def lapsed(world: World) -> World:
    """The deadline of the handoff's phase passes."""
    handoff = world.state.handoff
    assert handoff is not None
    assert handoff.until is not None
    return take(
        world, events.HandoffLapsed(at=handoff.until, due=handoff.until, handoff=handoff.number, phase=handoff.phase)
    )


def long_drain() -> World:
    """The first generation has been told to end and takes its time, while the second serves."""
    return quiet(lapsed(shifted(serving())), 1)


def crashed() -> World:
    """The serving generation has died and is not started again yet."""
    return dies(serving(), 1)


def borrowing() -> World:
    """As `crashed`, and a candidate is on its way on the sockets of the dead."""
    return verified(asked(crashed()))


def standby_died() -> World:
    """In probation, the old generation has died."""
    return dies(shifted(serving()), 1)


def settling() -> World:
    """No probation was asked for, and clients still wait in the old one's queue."""
    return lapsed(shifted(serving(NO_PROBATION), NO_PROBATION))


def exclusively() -> World:
    """A server serves that cannot run twice."""
    return replace(serving(EXCLUSIVE), alone=True)


def yielding() -> World:
    """It has been told to make way."""
    return verified(asked(exclusively()), EXCLUSIVE)


def taking_turns() -> World:
    """It is gone, and the candidate is on its way on the same sockets."""
    return dies(yielding(), 1)


def alone_on_probation() -> World:
    """The candidate serves; the old one has no process."""
    return up(taking_turns(), 2)


def withdrawing() -> World:
    """The candidate was told to end, so that the old one can be started again."""
    world = take(alone_on_probation(), events.AbortAsked(at=0.0, request=Request(id="abort")))
    return replace(world, asked=0)


def ails(world: World, generation: int, reason: Reason = Reason.HUNG, at: float = 0.0) -> World:
    """It does not serve as it should."""
    found = world.state.find(generation)
    assert found is not None
    return take(world, events.Ailing(at=at, generation=generation, run=found.run, failure=Failure(reason)))


WATCHED_ALONE = replace(WATCHED, exclusive=True)


def guarded(policy: Policy = GUARDED) -> World:
    """A server serves that sends pings."""
    return take(serving(policy), events.Pinged(at=0.0, generation=1, run=1))


def replacing() -> World:
    """It hangs, and a fresh copy of it is on its way."""
    world = ails(guarded(), 1)
    (only,) = world.state.generations
    return take(world, events.Verified(at=0.0, handoff=1, release=only.release, policy=GUARDED))


def replaced_on_probation() -> World:
    """The copy has come as far as its probation."""
    world = up(replacing(), 2)
    return take(world, events.Steered(at=0.0, handoff=1, sockets=2))


def guarded_on_probation() -> World:
    """An upgrade of it has come as far as its probation, and it still is well."""
    return shifted(guarded(WATCHED), WATCHED)


def replacing_exclusively() -> World:
    """A server that cannot run twice hangs, and has been told to make way for a fresh copy."""
    world = ails(replace(serving(WATCHED_ALONE), alone=True), 1)
    (only,) = world.state.generations
    return take(world, events.Verified(at=0.0, handoff=1, release=only.release, policy=WATCHED_ALONE))


def succeeded(policy: Policy = WARY) -> World:
    """The second release serves, and of the first nobody is left."""
    return dies(quiet(lapsed(shifted(serving(policy), policy)), 1), 1)


def falling_back(policy: Policy = WARY) -> World:
    """It has failed once too often."""
    return dies(succeeded(policy), 2)


def fell_back(policy: Policy = WARY) -> World:
    """The first one serves again, and the second is in quarantine."""
    world = falling_back(policy)
    world = take(world, events.Verified(at=0.0, handoff=2, release=RELEASES[0], policy=policy))
    return lapsed(up(world, 3))


def kept_while_failing() -> World:
    """An upgrade is under way, another is asked for, and who serves has failed once too often."""
    world = take(asked(succeeded()), events.Asked(at=0.0, request=Request(id="kept")))
    return replace(dies(world, 2), asked=0)


def with_an_older_one(world: World) -> World:
    """There has been another release before."""
    record = world.state.record
    older = Served(release=OLDER, policy=world.state.policy)
    return replace(world, state=replace(world.state, record=replace(record, served=(older, *record.served))))


WARY_ALONE = replace(WARY, exclusive=True)
WARY_WATCHED = replace(WATCHED, rollback_after=2)


def wary_alone() -> World:
    """As `succeeded`, of a server that cannot run twice."""
    world = up(dies(verified(asked(replace(serving(WARY_ALONE), alone=True)), WARY_ALONE), 1), 2)
    return lapsed(world)


def begun_from_a_store(policy: Policy = POLICY) -> World:
    """Where `current` leads to the first version."""
    world = take(World(current="a"), events.Begun(at=0.0, release=STORED[0], policy=policy))
    return up(world, 1)


FROM_A_STORE = Bounds(asks=2, found=((STORED[1], POLICY),))
WARY_FROM_A_STORE = Bounds(asks=2, found=((STORED[1], WARY),))
KEPT_WARY = Bounds(asks=1, found=((RELEASES[1], WARY),))
LIFTED_WARY = Bounds(asks=2, found=((RELEASES[1], WARY),))
KEPT_WARY_ALONE = Bounds(asks=1, found=((RELEASES[1], WARY_ALONE),))
KEPT_WARY_WATCHED = Bounds(asks=1, found=((RELEASES[1], WARY_WATCHED),))

KEPT_GUARDED = Bounds(asks=1, found=((RELEASES[1], GUARDED),))
KEPT_WATCHED = Bounds(asks=1, found=((RELEASES[1], WATCHED),))
GUARDED_ALONE = Bounds(asks=1, found=((RELEASES[1], WATCHED_ALONE),))

EITHER_MODE = Bounds(asks=2, found=((RELEASES[1], POLICY), (RELEASES[1], EXCLUSIVE)))
ALONE = Bounds(asks=2, found=((RELEASES[1], EXCLUSIVE),))

BOTH = Bounds(asks=2, found=((RELEASES[0], POLICY), (RELEASES[1], POLICY)))

STARTS = (
    Start("fresh", begun, 10, Bounds(asks=2), 10_000),
    Start("serving", serving, 10, Bounds(asks=2), 6_000),
    Start("either release, serving", serving, 8, BOTH, 3_000),
    Start("in probation", lambda: shifted(serving()), 9, Bounds(asks=2), 20_000),
    Start("long drain", long_drain, 9, Bounds(asks=2), 15_000),
    Start("crashed", crashed, 9, Bounds(asks=2), 3_900),
    Start("borrowed sockets", borrowing, 9, Bounds(asks=2), 9_000),
    Start("standby died", standby_died, 8, Bounds(asks=2), 8_000),
    Start("settling", settling, 8, Bounds(asks=2), 3_000),
    Start(
        "no probation",
        lambda: serving(NO_PROBATION),
        9,
        Bounds(asks=2, found=((RELEASES[1], NO_PROBATION),)),
        3_000,
    ),
    Start("from a store", begun_from_a_store, 8, FROM_A_STORE, 6_000),
    Start("from a store, wary", lambda: begun_from_a_store(WARY), 8, WARY_FROM_A_STORE, 6_000),
    Start("exclusive", exclusively, 9, ALONE, 1_000),
    Start("exclusive, yielding", yielding, 8, ALONE, 1_000),
    Start("exclusive, taking turns", taking_turns, 8, ALONE, 1_000),
    Start("exclusive, in probation", alone_on_probation, 8, ALONE, 1_000),
    Start("exclusive, withdrawing", withdrawing, 8, ALONE, 500),
    Start("either mode, serving", serving, 8, EITHER_MODE, 2_000),
    Start("either mode, exclusive so far", lambda: serving(EXCLUSIVE), 8, EITHER_MODE, 2_000),
    Start("guarded", guarded, 8, KEPT_GUARDED, 12_000),
    Start("guarded, replacing", replacing, 8, KEPT_GUARDED, 15_000),
    Start("guarded, in probation", guarded_on_probation, 8, KEPT_WATCHED, 11_000),
    Start("guarded, replacing exclusively", replacing_exclusively, 8, GUARDED_ALONE, 800),
    Start("wary", succeeded, 8, KEPT_WARY, 2_500),
    Start("wary, falling back", falling_back, 8, KEPT_WARY, 3_500),
    Start("wary, fell back", lambda: with_an_older_one(fell_back()), 8, LIFTED_WARY, 9_000),
    Start("wary, exclusively", wary_alone, 8, KEPT_WARY_ALONE, 1_500),
    Start("wary, watched", lambda: succeeded(WARY_WATCHED), 8, KEPT_WARY_WATCHED, 4_000),
)
