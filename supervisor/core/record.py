"""What is remembered of releases: those that have served, how the present one dies, and which are not to be started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core.launch import Launch
from supervisor.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.core.model import Release
    from supervisor.core.policy import Policy

KEPT = 10
"""Releases that can be gone back to."""

FAILED = 100
"""Versions that are known to have failed: more of them than anybody keeps, so that none of those is asked for again."""

SHORTEST_DIGEST = 8
"""Hex digits of a SHA-256 that name a release."""

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"))


class Served(Struct, frozen=True, kw_only=True):
    """A release that has served, with all that it ran by, so that it can serve again as it did."""

    release: Release
    """How it was launched is part of it: arguments, environment, listeners, limits, whom it ran as."""
    policy: Policy
    """How it was found ready, replaced and looked after."""
    well: bool = True
    """Whether the service may go back to it by itself. Not if it died too often, or could not be had."""


class Quarantined(Struct, frozen=True, kw_only=True):
    """A release that is not to be started."""

    release: Release
    """The file that is meant, whichever way it would be launched."""
    because: str
    since: float
    until: float | None
    """None: until somebody lifts it."""

    def said(self, at: float) -> str:
        """Why, since when, until when, and what ends it, in one line."""
        left = "until it is lifted" if self.until is None else f"for {span(self.until - at)} more"
        lift = f"`gapless quarantine lift {self.release.id}` ends that"
        return f"{self.release.id} since {span(at - self.since)}, {left}, because {self.because}; {lift}"


class Record(Struct, frozen=True, kw_only=True):
    """What is remembered."""

    served: tuple[Served, ...] = ()
    """Who served before who serves now: oldest first, each release once, as it served last."""
    recalled: bool = False
    """Who serves runs by what is recorded here, and not by the configuration as it is written now."""
    deaths: tuple[float, ...] = ()
    """When who serves failed, since its release was committed: the last ones, and only as many as are too many."""
    quarantine: tuple[Quarantined, ...] = ()
    failed: tuple[str, ...] = ()
    """The last versions of the store that an upgrade was to lead to and has not: the service asks for none of them."""

    # ---- who has served

    def left(self, served: Served, present: Release) -> Record:
        """Another release serves now, and this one may be gone back to."""
        others = [each for each in self.served if not is_one(each.release, present)]
        others = [each for each in others if not is_one(each.release, served.release)]
        return replace(self, served=(*others, served)[-KEPT:], deaths=())

    def begun(self, present: Release, *, recalled: bool) -> Record:
        """The service begins with that release."""
        others = tuple(each for each in self.served if not is_one(each.release, present))
        return replace(self, served=others, recalled=recalled, deaths=())

    def given_up(self, goal: Served) -> Record:
        """That one cannot be had: the service does not go back to it by itself."""
        served = (replace(each, well=False) if each.release.id == goal.release.id else each for each in self.served)
        return replace(self, served=tuple(served))

    def ways_back(self, present: Release) -> tuple[Served, ...]:
        """Whom the service may go back to by itself, the last one first: other files, of other content."""
        return tuple(
            each
            for each in reversed(self.served)
            if each.well and not is_one(each.release, present) and self.holds(each.release) is None
        )

    def fails(self, policy: Policy, at: float) -> bool:
        """Whether who serves has failed too often."""
        recent = [each for each in self.deaths if at - each < policy.rollback_within]
        return 0 < policy.rollback_after <= len(recent)

    def failing(self, version: str) -> Record:
        """An upgrade to that version has failed."""
        others = (each for each in self.failed if each != version)
        return replace(self, failed=(*others, version)[-FAILED:])

    def found(self, release: Release) -> Served | None:
        """That release as it served last."""
        return next((each for each in reversed(self.served) if each.release == release), None)

    def called(self, name: str) -> tuple[Served, ...]:
        """Those that a name may mean. Of several copies of one content it is the one that served last."""
        meant: dict[str, Served] = {}
        for each in self.served:
            if is_called(each.release, name):
                meant[each.release.sealed or each.release.sha256 or each.release.id] = each
        return tuple(meant.values())

    # ---- who is not to be started

    def put_away(self, release: Release, because: str, at: float, lasts: float) -> Record:
        """Put it in quarantine; `lasts` is in seconds, and 0 until somebody lifts it."""
        plain = replace(release, launch=Launch(argv=(release.path,)))
        held = Quarantined(release=plain, because=because, since=at, until=at + lasts if lasts else None)
        others = (each for each in self.quarantine if not is_one(each.release, release))
        return replace(self, quarantine=(*others, held))

    def holds(self, release: Release) -> Quarantined | None:
        """Its quarantine, if it is in one."""
        return next((each for each in self.quarantine if is_one(each.release, release)), None)

    def held(self, name: str) -> tuple[Quarantined, ...]:
        """Those in quarantine that a name may mean."""
        return tuple(each for each in self.quarantine if is_called(each.release, name))

    def lifted(self, release: str) -> Record:
        """The one of that id is in quarantine no more."""
        return replace(self, quarantine=tuple(each for each in self.quarantine if each.release.id != release))

    def lapsed(self, at: float) -> Record:
        """What has lasted for as long as it was to is over."""
        return replace(
            self, quarantine=tuple(each for each in self.quarantine if each.until is None or each.until > at)
        )

    def moved(self, by: float) -> Record:
        """The same, told by a clock that shows so much more."""
        moved = (
            replace(each, since=each.since + by, until=None if each.until is None else each.until + by)
            for each in self.quarantine
        )
        return replace(self, quarantine=tuple(moved))

    # ---- all of them

    def digested(self, release: str, sha256: str) -> Record:
        """The digest of a release's file is known."""
        known = [*(each.release.id for each in self.served), *(each.release.id for each in self.quarantine)]
        if release not in known:
            return self
        return replace(
            self,
            served=tuple(replace(each, release=_digested(each.release, release, sha256)) for each in self.served),
            quarantine=tuple(
                replace(each, release=_digested(each.release, release, sha256)) for each in self.quarantine
            ),
        )


def is_called(release: Release, name: str) -> bool:
    """Whether a name means this release: its id, the id's part before the last `+`, or the beginning of its digest."""
    if name in {release.id, without_end(release.id)}:
        return True
    return len(name) >= SHORTEST_DIGEST and (release.sha256 or "").startswith(name.lower())


def without_end(release: str) -> str:
    """An id without what tells two files of one name apart: all before the last `+`."""
    name, plus, end = release.rpartition("+")
    return name if plus else end


def is_one(one: Release, other: Release) -> bool:
    """Whether both are one release: one content, or one file as long as its digest is not known.

    Of two that were sealed all that is in them counts: many versions may be run by the same launcher. A device may have
    another number after the host was started again, so that it is not looked at.
    """
    if one.sealed and other.sealed:
        return one.sealed == other.sealed
    if one.sha256 and other.sha256:
        return one.sha256 == other.sha256
    return (one.path, one.size, one.mtime_ns) == (other.path, other.size, other.mtime_ns)


def ids(releases: Iterable[Served]) -> str:
    """Their ids, for people."""
    return ", ".join(each.release.id for each in releases)


def span(seconds: float) -> str:
    """`40 s`, `3 min`, `5 h`, `12 d`: as much as the eye wants."""
    size, unit = next((each for each in _SPANS if seconds >= 2 * each[0]), (1, "s"))
    return f"{max(0.0, seconds) / size:.0f} {unit}"


def _digested(found: Release, release: str, sha256: str) -> Release:
    return replace(found, sha256=sha256) if found.id == release else found
