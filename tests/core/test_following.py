"""What a store asks for, decided from what is there alone: numbers of versions, and each order of what may happen."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core import events
from supervisor.core.effects import Kept, Point
from supervisor.core.ending import Exit
from supervisor.core.following import CURRENT, PATCH, Noted, Sight, looked
from supervisor.core.launch import Launch, Store
from supervisor.core.model import ANYWHERE, Ask, Failure, Handoff, Phase, Process, Reason, Release, Request, Role, State
from supervisor.core.numbering import number
from supervisor.core.pointing import FOLLOW
from supervisor.core.policy import Policy
from supervisor.core.recovery import begun_anew
from supervisor.core.step import step
from supervisor.core.value import replace

ROOT = "/srv/web"
PARTS = st.integers(0, 10**30)
WORDS = st.text("0123456789abzAZ-", min_size=1, max_size=4).filter(lambda text: not (text.isdigit() and text[0] == "0"))


def test_numbers_are_ordered_as_semver_has_it() -> None:
    """Its own example (11.4.4), and what it says of builds."""
    before = ("alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1")
    order = [*(f"1.0.0-{each}" for each in before), "1.0.0", "v1.0.1", "1.0.2", "1.0.10", "1.2.0", "1.10.0", "v2.0.0-1"]
    found = [number(each) for each in order]
    assert all(one is not None and other is not None and one < other for one, other in itertools.pairwise(found))
    assert number("v1.2.3+build.5") == number("1.2.3")


@pytest.mark.parametrize(
    "name",
    [
        "v1",
        "1.2",
        "1.2.3.4",
        "01.2.3",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3-a..b",
        "1.2.3+",
        "1.2.3+a..b",
        "1.2.3-a_b",
        "V1.2.3",
        "1.2.3~1",
        "1.2.3\n",
        "\N{ARABIC-INDIC DIGIT ONE}.2.3",
    ],
)
def test_what_is_no_number_is_none(name: str) -> None:
    assert number(name) is None


@given(PARTS, PARTS, PARTS, st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3))
def test_a_pre_release_is_older_than_its_release(
    major: int, minor: int, patch: int, one: list[str], other: list[str]
) -> None:
    plain = f"{major}.{minor}.{patch}"
    bare = number(plain)
    assert bare is not None
    assert bare.is_release
    found = [number(f"{plain}-{'.'.join(words)}") for words in (one, other) if words]
    for each in found:
        assert each is not None
        assert not each.is_release
        assert each < bare
    after = number(f"{major}.{minor}.{patch + 1}-0")
    assert after is not None
    assert bare < after


# ---- the decision, in a world whose steps are those of the core

FIRST, REFUSED, CRASHES, GOOD, OTHER = "1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.1.0"
VERSIONS = (FIRST, REFUSED, CRASHES, GOOD, OTHER)
"""Of which one is refused when it is verified, one dies at its start, and the others are good."""


def release(version: str) -> Release:
    path = f"{ROOT}/versions/{version}/server"
    launch = Launch(argv=(path,), store=Store(root=ROOT))
    about = {"inode": VERSIONS.index(version), "sha256": version, "version": version, "sealed": version}
    return Release(id=version, path=path, device=1, size=1, mtime_ns=1, launch=launch, **about)  # type: ignore[arg-type] # by name


class World:
    """A store, what serves of it, and who follows it. Whatever happens is looked at, as inotify would have it."""

    def __init__(self, follow: str, *, movable: bool = True) -> None:
        self.follow = follow
        self.movable = movable
        """Whether gapless may move `current`."""
        self.current = FIRST
        self.sealed = [FIRST]
        self.noted = Noted()
        self.state = State()
        self.asked: list[str] = []
        """What the follower has asked for."""
        self.take(events.Begun(at=0.0, release=release(FIRST), policy=Policy(probation=1.0, rollback_after=0)))
        self.disk = self.state
        """What a power cut leaves. A journal that is begun is synced."""
        self.rises(1)
        self.look()

    # ---- what may happen

    def moved(self, version: str) -> None:
        self.current = version
        self.look()

    def added(self, version: str) -> None:
        if version not in self.sealed:
            self.sealed.append(version)
        self.look()

    def upgraded(self, version: str) -> None:
        """By a person, to the end if nothing else is under way."""
        self.take(events.Asked(at=0.0, request=Request(id=f"upgrade-{version}", version=version)))
        self.settle()

    def hupped(self) -> None:
        """By a person, to where `current` leads."""
        self.take(events.Asked(at=0.0, request=Request(id="hup")))
        self.settle()

    def rolled_back(self) -> None:
        self.take(events.Asked(at=0.0, request=Request(id="rollback", ask=Ask.ROLLBACK)))
        self.settle()

    def replaced(self) -> None:
        """Another supervisor follows this one."""
        self.noted = Noted()
        self.look()

    def rebooted(self) -> None:
        """The host's power is cut, whatever is under way, and it comes up again with what `current` leads to."""
        before, lost = self.disk, self.state.handoff
        if lost is not None and lost.phase is Phase.VERIFY and lost.request.way == FOLLOW:
            self.asked.pop()  # nothing of it had been tried
        told = before.concluded.handoff if before.concluded else 0
        self.state, _ = begun_anew(before, before.policy, told, 0.0)
        self.noted = Noted()
        self.take(events.Begun(at=0.0, release=release(self.current), policy=before.policy))
        self.disk = self.state
        serving = self.state.serving
        assert serving is not None
        if self.current not in {REFUSED, CRASHES}:
            self.rises(serving.number)
        self.look()

    # ---- how it goes on

    def look(self) -> None:
        sight = Sight(root=ROOT, current=self.current, movable=self.movable, sealed=tuple(self.sealed))
        self.noted, wish = looked(self.follow, self.noted, self.state, sight)
        if wish is not None:
            self.asked.append(wish.version or self.current)
            assert len(self.asked) < MOST, "it asks again and again"
            request = Request(id=f"follow-{len(self.asked)}", way=FOLLOW, version=wish.version)
            self.take(events.Asked(at=0.0, request=request))

    def take(self, event: events.Event) -> None:
        before = self.state.handoff
        self.state, wanted = step(self.state, event)
        if any(each.after is Kept.SYNCED for each in wanted):
            self.disk = self.state
        for each in wanted:
            seen = isinstance(each, Point) and (ANYWHERE in each.seen or self.current in each.seen)
            if isinstance(each, Point) and seen and self.movable:
                self.current = each.version
                self.look()
        if before is not None and self.state.handoff is None:
            self.look()

    def settle(self) -> None:
        """Whatever is under way ends, and what is asked for then, too."""
        while self.state.handoff is not None:
            self.goes_on(self.state.handoff)

    def verify(self) -> None:
        """A handoff under way has read what it is to lead to."""
        if self.state.handoff is not None and self.state.handoff.phase is Phase.VERIFY:
            self.goes_on(self.state.handoff)

    def goes_on(self, handoff: Handoff) -> None:
        at = handoff.until or handoff.since
        match handoff.phase:
            case Phase.VERIFY:
                self.take(self.verdict(handoff))
            case Phase.START:
                self.rises(handoff.candidate or 0)
            case Phase.SHIFT:
                candidate = self.state.find(handoff.candidate)
                assert candidate is not None
                assert candidate.sockets is not None
                self.take(events.Steered(at=at, handoff=handoff.number, sockets=candidate.sockets))
            case Phase.PROBATION:
                self.take(events.HandoffLapsed(at=at, handoff=handoff.number, phase=handoff.phase, due=at))
                for each in self.state.with_role(Role.DRAINING):
                    self.take(events.Exited(at=at, generation=each.number, run=each.run, exit=Exit(status=0)))
            case other:
                raise AssertionError(other)

    def verdict(self, handoff: Handoff) -> events.Event:
        back = handoff.goal is not None and handoff.goal.release.version
        version = back or handoff.request.version or self.current
        about = {"at": 0.0, "handoff": handoff.number, "current": self.current}
        if version == REFUSED:
            return events.Refused(**about, failure=Failure(Reason.BAD_RELEASE))  # type: ignore[arg-type] # by name
        return events.Verified(**about, release=release(version), policy=self.state.policy)  # type: ignore[arg-type] # by name

    def rises(self, number: int) -> None:
        found = self.state.find(number)
        assert found is not None
        about = {"at": 0.0, "generation": number, "run": found.run}
        self.take(events.Spawned(**about, process=Process(number, 1), release=found.release))  # type: ignore[arg-type] # by name
        if found.release.version == CRASHES:
            self.take(events.Exited(**about, exit=Exit(status=1)))  # type: ignore[arg-type] # by name
        else:
            self.take(events.Ready(**about, how="pipe"))  # type: ignore[arg-type] # by name

    @property
    def serves(self) -> str | None:
        return self.state.serving.release.version if self.state.serving else None


MOST = 50
MOVES = st.one_of(
    st.tuples(st.sampled_from(["moved", "added", "upgraded"]), st.sampled_from(VERSIONS)),
    st.tuples(st.sampled_from(["hupped", "rolled_back", "replaced", "rebooted", "verify", "settle"])),
)
STORIES = st.lists(MOVES, max_size=12)


@pytest.mark.parametrize(
    ("serves", "there", "wish"),
    [
        ("1.0.0", ["1.0.1", "1.0.10", "1.0.9", "1.1.0", "2.0.0", "newest"], "1.0.10"),
        ("1.0.0", ["1.0.1-rc.1"], None),
        ("1.0.1-rc.1", ["1.0.1-rc.2", "1.0.2-rc.1"], "1.0.1-rc.2"),
        ("1.0.1-rc.1", ["1.0.1-rc.2", "1.0.1"], "1.0.1"),
        ("v1.0.0", ["1.0.0", "1.0.0+build"], None),
        ("newest", ["1.0.1"], None),
    ],
)
def test_the_newest_that_may_be_is_meant(serves: str, there: list[str], wish: str | None) -> None:
    launch = Launch(argv=("/x",), store=Store(root=ROOT))
    about = Release(id=serves, path="/x", device=1, inode=1, size=1, mtime_ns=1, launch=launch, version=serves)
    assert _wished(about, serves, there) is None, "it was put there by hand"
    about = replace(about, sealed="digest")
    assert _wished(about, serves, there) == wish
    assert _wished(about, serves, there, root="/srv/other") is None


def _wished(about: Release, serves: str, there: list[str], root: str = ROOT) -> str | None:
    state, _ = step(State(), events.Begun(at=0.0, release=about, policy=Policy()))
    _, found = looked(PATCH, Noted(), state, Sight(root=root, current=serves, sealed=tuple(there)))
    return None if found is None else found.version


@settings(deadline=None)
@given(STORIES, st.booleans())
def test_current_is_followed_for_each_move_of_a_persons_and_for_no_other(
    story: list[tuple[str, ...]],
    movable: bool,  # noqa: FBT001 - an example
) -> None:
    world, moves = World(CURRENT, movable=movable), 0
    for what, *about in story:
        moves += what == "moved"
        getattr(world, what)(*about)
        assert len(world.asked) <= moves
    world.settle()
    asked = len(world.asked)
    world.rolled_back()
    world.replaced()
    assert len(world.asked) == asked
    if not movable:
        return
    assert world.current == world.serves
    before = world.serves
    world.moved(GOOD)
    world.settle()
    assert world.serves == GOOD
    assert len(world.asked) - asked == (before != GOOD)


@settings(deadline=None)
@given(STORIES)
def test_a_patch_is_followed_once_and_only_to_what_is_newer_than_all_that_was_tried(
    story: list[tuple[str, ...]],
) -> None:
    world = World(PATCH)
    for what, *about in story:
        getattr(world, what)(*about)
    world.settle()
    assert len(world.asked) == len(set(world.asked))
    assert OTHER not in world.asked
    assert world.asked == sorted(world.asked)
    world.rolled_back()
    world.replaced()
    world.settle()
    assert len(world.asked) == len(set(world.asked))
    if world.serves != OTHER and GOOD not in {world.serves, *world.asked} | {
        each[1] for each in story if each[0] in {"upgraded", "moved"}
    }:
        world.added(GOOD)
        world.settle()
        assert world.serves == GOOD


def test_a_version_that_takes_the_host_down_is_tried_once() -> None:
    world = World(PATCH)
    world.added(GOOD)
    world.verify()
    for _ in range(3):
        world.rebooted()
        world.settle()
    assert world.asked == [GOOD]
    assert world.serves == FIRST


def test_what_is_moved_back_while_nobody_looks_is_a_wish() -> None:
    world = World(CURRENT)
    world.upgraded(GOOD)
    world.current = FIRST
    world.replaced()
    assert world.asked == [FIRST]
