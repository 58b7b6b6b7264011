"""What is remembered of releases beyond the present one: those that have served, and what each of them ran by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.core.model import Release
    from supervisor.core.policy import Policy

KEPT = 10
"""Releases that can be gone back to."""

SHORTEST_DIGEST = 8
"""Hex digits of a SHA-256 that name a release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A release that has served, with all that it ran by, so that it can serve again as it did."""

    release: Release
    """How it was launched is part of it: arguments, environment, listeners, limits, whom it ran as."""
    policy: Policy
    """How it was found ready, replaced and looked after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered."""

    served: tuple[Served, ...] = ()
    """Who served before who serves now: oldest first, each release once, as it served last."""
    recalled: bool = False
    """Who serves runs by what is recorded here, and not by the configuration as it is written now."""

    def left(self, served: Served, present: Release) -> Record:
        """Another release serves now, and this one may be gone back to."""
        others = [each for each in self.served if not _is(each.release, present)]
        others = [each for each in others if not _is(each.release, served.release)]
        return replace(self, served=(*others, served)[-KEPT:])

    def begun(self, present: Release) -> Record:
        """The service begins with that release."""
        others = tuple(each for each in self.served if not _is(each.release, present))
        return replace(self, served=others, recalled=False)

    def digested(self, release: str, sha256: str) -> Record:
        """The digest of a release's file is known."""
        if all(each.release.id != release for each in self.served):
            return self
        return replace(self, served=tuple(_digested(each, release, sha256) for each in self.served))

    def found(self, release: Release) -> Served | None:
        """That release as it served last."""
        return next((each for each in reversed(self.served) if each.release == release), None)

    def called(self, name: str) -> tuple[Served, ...]:
        """Those that a name may mean. Of several copies of one content it is the one that served last."""
        meant: dict[str, Served] = {}
        for each in self.served:
            if is_called(each.release, name):
                meant[each.release.sha256 or each.release.id] = each
        return tuple(meant.values())


def is_called(release: Release, name: str) -> bool:
    """Whether a name means this release: its id, the id's part before `+`, or the beginning of its digest."""
    if name in {release.id, release.id.partition("+")[0]}:
        return True
    return len(name) >= SHORTEST_DIGEST and (release.sha256 or "").startswith(name.lower())


def ids(releases: Iterable[Served]) -> str:
    """Their ids, for people."""
    return ", ".join(each.release.id for each in releases)


def _is(one: Release, other: Release) -> bool:
    """Whether both are one release. A device may have another number after the host was started again."""
    same = (one.path, one.size, one.mtime_ns) == (other.path, other.size, other.mtime_ns)
    return same or bool(one.sha256 and one.sha256 == other.sha256)


def _digested(served: Served, release: str, sha256: str) -> Served:
    if served.release.id != release:
        return served
    return replace(served, release=replace(served.release, sha256=sha256))
