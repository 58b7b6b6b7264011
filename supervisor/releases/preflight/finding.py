"""What was found in a file or of the host that is to run it: what, how bad, and what would do."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """How bad it is."""

    BLOCKS = "blocks"
    """It cannot run here as it is to."""
    WARNS = "warns"
    """It may run, and not as somebody will want."""
    SAYS = "says"
    """So that it is known."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was found."""

    check: str
    """What was looked at, in a word or two."""
    level: Level
    found: str
    do: str = ""
    """What would do; empty if nothing needs to be done."""

    def __str__(self) -> str:
        return f"{self.found}: {self.do}" if self.do else self.found


def blocks(check: str, found: str, do: str = "") -> Finding:
    """It cannot run."""
    return Finding(check=check, level=Level.BLOCKS, found=found, do=do)


def warns(check: str, found: str, do: str = "") -> Finding:
    """It may run, and not as somebody will want."""
    return Finding(check=check, level=Level.WARNS, found=found, do=do)


def says(check: str, found: str) -> Finding:
    """So that it is known."""
    return Finding(check=check, level=Level.SAYS, found=found)
