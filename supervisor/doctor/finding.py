"""One thing that was looked at: how it is, what follows, what to do."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """How much it matters."""

    OK = "ok"
    NOTE = "note"
    """gapless works, and something that it could do is less than it could be."""
    PROBLEM = "problem"
    """Something will fail: the start, a handoff, or what was configured."""


class Finding(Struct, frozen=True):
    """For people and for machines."""

    check: str
    level: Level
    found: str
    follows: str = ""
    do: str = ""
    """A command, or a line of a unit or of the configuration."""


def ok(check: str, found: str) -> Finding:
    """As it should be."""
    return Finding(check, Level.OK, found)


def note(check: str, found: str, follows: str, do: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, Level.NOTE, found, follows, do)


def problem(check: str, found: str, follows: str, do: str) -> Finding:
    """Worth acting upon."""
    return Finding(check, Level.PROBLEM, found, follows, do)


def unknown(check: str, what: str, follows: str = "") -> Finding:
    """It could not be looked at."""
    return Finding(check, Level.NOTE, f"unknown: {what}", follows or "whether it is as it should be cannot be told")
