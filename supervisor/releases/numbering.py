"""Versions whose names are numbers: `1.2.3` or `v1.2.3`, in the order of Semantic Versioning 2.0 (semver.org, 11)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = r"(?:0|[1-9][0-9]*)"
_FORM = re.compile(
    rf"v?({_PART})\.({_PART})\.({_PART})"
    rf"(?:-((?:{_PART}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:{_PART}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_RELEASE = ((2, 0, ""),)
"""The rank of what is no pre-release: above all that are some of the same version."""


@dataclass(frozen=True, slots=True, order=True)
class Number:
    """One, comparable with others. What stands after a `+` says nothing about which is newer."""

    major: int
    minor: int
    patch: int
    rank: tuple[tuple[int, int, str], ...] = _RELEASE
    """The dotted parts of a pre-release: numbers first and by their size, then words as ASCII has them."""

    @property
    def is_release(self) -> bool:
        """Whether it is no pre-release."""
        return self.rank == _RELEASE


def number(name: str) -> Number | None:
    """What the name of a version says; None if it is not of that form."""
    found = _FORM.fullmatch(name)
    if found is None:
        return None
    major, minor, patch, before = found.groups()
    rank = _RELEASE if before is None else tuple(map(_ranked, before.split(".")))
    return Number(int(major), int(minor), int(patch), rank)


def _ranked(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)
