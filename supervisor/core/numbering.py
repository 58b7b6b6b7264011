"""Versions whose names are numbers: `1.2.3` or `v1.2.3`, in the order of Semantic Versioning 2.0 (semver.org, 11)."""

from __future__ import annotations

from msgspec import Struct

_RELEASE = ((2, 0, ""),)
"""The rank of what is no pre-release: above all that are some of the same version."""


class Number(Struct, frozen=True, order=True):
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
    rest, built, build = name.removeprefix("v").partition("+")
    plain, dash, before = rest.partition("-")
    parts, words = plain.split("."), before.split(".") if dash else []
    if len(parts) != len(("major", "minor", "patch")) or not all(map(_is_number, parts)):
        return None
    if not all(_is_number(each) if each.isdigit() else _is_word(each) for each in words):
        return None
    if built and not all(map(_is_word, build.split("."))):
        return None
    major, minor, patch = map(int, parts)
    return Number(major, minor, patch, tuple(map(_ranked, words)) if words else _RELEASE)


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and (part == "0" or not part.startswith("0"))


def _is_word(part: str) -> bool:
    return part.isascii() and part.replace("-", "x").isalnum()


def _ranked(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)
