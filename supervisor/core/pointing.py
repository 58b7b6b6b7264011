"""Where the store's `current` leads: to what has been committed, and to nothing else.

Theory of operation. A host that is started again runs what `current` leads to, so it is moved by the commit alone: one
rename(2), after the state that explains it is on disk and before anybody is told. A person may move it by hand to say
what is wanted; that is put back as soon as it has been read, and moved again by the commit. So there is no time at
which it leads to what has not lasted, except between a person's hand and the reading of it.

Each move says where it expects `current` to lead. If it leads elsewhere, a person has moved it meanwhile, which is a
wish of its own, and it stays. So a move can be done twice, and a new supervisor does again what may not have been done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.core.effects import Point
from supervisor.core.model import Ask
from supervisor.core.outcome import Result

FOLLOW: Final = "follow"
"""The way of an upgrade that a change in the store has asked for (`following`)."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.core.model import Handoff, Release
    from supervisor.core.outcome import Outcome


def put_back(handoff: Handoff, serving: Release) -> Iterator[Point]:
    """While an upgrade to a version of the store is under way, `current` leads to what serves."""
    if handoff.release is not None and handoff.release.version is not None:
        yield from _back(handoff.request.ask, serving, handoff.current)


def pointed(outcome: Outcome) -> Iterator[Point]:
    """Where it leads when a handoff has ended: to the new version, or where it led before."""
    old, new = outcome.from_release, outcome.to_release
    if outcome.result is not Result.COMMITTED:
        yield from _back(outcome.request.ask, old, outcome.current)
    elif outcome.request.ask is Ask.REPLACE or new is None:
        return
    elif new.version is not None and new.launch.store is not None:
        yield Point(new.launch.store.root, new.version, (outcome.current, old.version))


def _back(ask: Ask, serving: Release, seen: str | None) -> Iterator[Point]:
    """Only an upgrade takes where `current` leads for a wish; a copy of what serves does not, nor does a rollback."""
    store = serving.launch.store
    if ask is Ask.UPGRADE and serving.version not in {None, seen} and store is not None:
        assert serving.version is not None
        yield Point(store.root, serving.version, (seen,))
