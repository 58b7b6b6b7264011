"""Which upgrade a change in the store asks for by itself (`[releases] follow`). No I/O: the daemon looks and asks.

Theory of operation. Nothing is concluded from what has moved, only from what is there when somebody looks. So it makes
no difference whether gapless saw it happen, nor which of many movements it has missed. It is looked when something
moves in the store, when a handoff has ended, and at the start; while a handoff is under way, or a request waits,
nothing is wished for, as whatever is there by then is found at the end.

`current`: it asks for an upgrade if it leads to another version than serves, and has not led there when it was looked
at before. gapless itself moves it too, but always to who serves, which asks for nothing. What a handoff has read
counts as looked at: if that fails and `current` cannot be put back, it is not tried again. After a commit it counts to
have led to the new version, if gapless may move it. A supervisor that follows another begins with that, and so finds
what a person has moved in between; one that begins anew begins with the `current` that it finds, which is what it has
started.

`patch`: the newest of the sealed versions that keeps the major and minor number of who serves is asked for, if it is
newer than all of these that have ever been tried: whoever serves or has served (and was gone back from, by whomever),
and whoever an upgrade failed to (`Record.failed`). So each is asked for once, also by the next supervisor, and never
one that is older than what was tried already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core.model import ANYWHERE, Mode
from supervisor.core.numbering import number
from supervisor.core.outcome import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.core.model import Release, State
    from supervisor.core.numbering import Number

CURRENT, PATCH = "current", "patch"


class Sight(Struct, frozen=True, kw_only=True):
    """What there is in a store."""

    root: str
    current: str | None
    """The version that `current` leads to; None: to none."""
    movable: bool = True
    """Whether gapless may move that."""
    sealed: tuple[str, ...] = ()
    """The versions that were added, and are not just folders."""


class Noted(Struct, frozen=True, kw_only=True):
    """Where `current` led when it was looked at last."""

    current: str | None = ANYWHERE
    handoff: int = 0
    """The last handoff whose reading of it is in that."""


class Wish(Struct, frozen=True, kw_only=True):
    """An upgrade that the store asks for."""

    because: str
    version: str | None = None
    """None: what `current` leads to when the request is read."""


def beginning(state: State, current: str | None) -> Noted:
    """Where `current` leads already is no wish."""
    return Noted(current=current, handoff=state.concluded.handoff if state.concluded else 0)


def is_free(state: State) -> bool:
    """Whether an upgrade could begin now, and displaces nobody's request."""
    busy = state.handoff is not None or state.pending is not None
    return state.mode is Mode.RUNNING and state.serving is not None and not busy


def looked(follow: str, noted: Noted, state: State, sight: Sight) -> tuple[Noted, Wish | None]:
    """What is noted from now on, and what the store asks for."""
    if not is_free(state) or state.serving is None:
        return noted, None
    noted = _caught_up(noted, state, sight)
    now = Noted(current=sight.current, handoff=noted.handoff)
    if follow == PATCH:
        return now, _patch(state, state.serving.release, sight)
    serves = _version(state.serving.release, sight.root)
    if sight.current in {None, serves, noted.current}:
        return now, None
    return now, Wish(because=f"current leads to {sight.current}")


def _caught_up(noted: Noted, state: State, sight: Sight) -> Noted:
    last = state.concluded
    if last is None or last.handoff <= noted.handoff:
        return noted
    new = _version(last.to_release, sight.root) if last.to_release is not None else None
    if last.result is Result.COMMITTED and new is not None and sight.movable:
        return Noted(current=new, handoff=last.handoff)
    return Noted(current=noted.current if last.current == ANYWHERE else last.current, handoff=last.handoff)


def _version(release: Release, root: str) -> str | None:
    """What it is called in the store there, if it is of that."""
    store = release.launch.store
    return release.version if store is not None and store.root == root else None


def _patch(state: State, serving: Release, sight: Sight) -> Wish | None:
    serves = _version(serving, sight.root)
    present = None if serves is None else number(serves)
    if serves is None or present is None or serving.sealed is None:
        return None
    there = ((name, found) for name in sight.sealed if (found := number(name)) is not None and _keeps(present, found))
    newest = max(there, key=lambda each: each[1], default=None)
    if newest is None:
        return None
    name, found = newest
    if any(found <= tried for tried in (present, *_tried(state, sight.root)) if _line(tried) == _line(found)):
        return None
    return Wish(because=f"{name} was added, and {serves} serves", version=name)


def _keeps(present: Number, found: Number) -> bool:
    """Whether it is of the same major and minor number; a pre-release only after others of the very same version."""
    same_version = found.patch == present.patch and not present.is_release
    return _line(found) == _line(present) and (found.is_release or same_version)


def _line(found: Number) -> tuple[int, int]:
    return found.major, found.minor


def _tried(state: State, root: str) -> Iterator[Number]:
    record = state.record
    names = [_version(each.release, root) for each in record.served]
    for name in (*names, *record.failed):
        found = None if name is None else number(name)
        if found is not None:
            yield found
