"""What has to say yes before a candidate is started: the look at its file, its own check, each gate. What a no means.

Only an upgrade is held up by it. A rollback and a replacement are to what has served before, and the way back is to
be open whatever a gate says; at a first start nobody serves who could be kept from harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core.model import Ask, Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.core.model import Release

BLOCKS, WARNS, NOTHING = "blocks", "warns", "nothing"
"""Which findings refuse a handoff: those that keep the file from running; warnings as well; none, and nobody looks."""

_REFUSING: Mapping[str, frozenset[str]] = {
    BLOCKS: frozenset({BLOCKS}),
    WARNS: frozenset({BLOCKS, WARNS}),
    NOTHING: frozenset(),
}

PATH = "{path}"
"""In a word of the check's command: the file that is to run."""


class Gate(Struct, frozen=True, kw_only=True):
    """A command that has to end with status 0."""

    name: str
    argv: tuple[str, ...]
    timeout: float
    """Seconds, after which it is killed and has said no."""


class Clearance(Struct, frozen=True, kw_only=True):
    """All that is asked, in this order: the look, the check, each gate. The first no is the last question."""

    refuse: str = BLOCKS
    check: Gate | None = None
    """The candidate's own: run as the server will be."""
    gates: tuple[Gate, ...] = ()
    """The operator's: run as gapless is."""


class Seen(Struct, frozen=True):
    """One thing that was found in the file."""

    level: str
    text: str


class Asking(Struct, frozen=True):
    """What is asked just now, since when, and until when it may take."""

    what: str
    since: float
    until: float


def is_asked(ask: Ask) -> bool:
    """Whether a request of this kind has to be cleared."""
    return ask is Ask.UPGRADE


def judged(seen: Sequence[Seen], refuse: str, path: str) -> Failure | None:
    """What the look at a file comes to: the first that refuses is told in full, and how to see the others."""
    refusing = [each for each in seen if each.level in _REFUSING[refuse]]
    if not refusing:
        return None
    others = len(refusing) - 1
    more = f" (and {others} more: gapless preflight {path})" if others else ""
    return Failure(Reason.PREFLIGHT, f"{refusing[0].text}{more}")


def in_a_line(seen: Sequence[Seen]) -> str:
    """What was found, for who reads the history: all that is amiss, or what kind of program it is."""
    amiss = [f"{each.level}: {each.text}" for each in seen if each.level in {BLOCKS, WARNS}]
    return "; ".join(amiss) or next((each.text for each in seen), "")


def filled(argv: Sequence[str], path: str) -> tuple[str, ...]:
    """A command with the path in its place."""
    return tuple(word.replace(PATH, path) for word in argv)


def variables(service: str, release: Release, previous: Release) -> Mapping[str, str]:
    """What a command is told of the release, and of the one that it is to follow. What is not known is empty."""
    return {
        "GAPLESS_SERVICE": service,
        "GAPLESS_RELEASE": release.id,
        "GAPLESS_PATH": release.path,
        "GAPLESS_SHA256": release.sha256 or "",
        "GAPLESS_PREVIOUS_RELEASE": previous.id,
        "GAPLESS_PREVIOUS_PATH": previous.path,
        "GAPLESS_PREVIOUS_SHA256": previous.sha256 or "",
    }
