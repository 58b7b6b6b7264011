"""What a release's SHA-256 is to be: one in hex, or a file as sha256sum(1) writes and reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.errors import OperatorError, ReleaseError
from supervisor.releases.manifest import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from supervisor.releases.manifest import Item

_DIGEST = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s+[ *]?|  |$)(.*)", re.ASCII)
_TAGGED = re.compile(r"SHA256 \((.*)\) = ([0-9a-fA-F]{64})", re.ASCII)
"""As `sha256sum --tag` and BSD's sha256(1) write it."""
_LARGEST = 16 << 20


class Sums(Struct, frozen=True):
    """What was given: one digest for whatever it is, or some by name."""

    alone: str | None
    named: Mapping[str, str]

    def of(self, name: str) -> str:
        """That of a file of this name. Raises ReleaseError if it has none."""
        found = self.alone or self.named.get(name)
        if found is None:
            raise ReleaseError(f"no SHA-256 was given for {shown(name)}: the file that has them does not name it")
        return found

    def check(self, name: str, found: str) -> None:
        """See that a file is what it should be. Raises ReleaseError."""
        wanted = self.of(name)
        if wanted != found:
            raise ReleaseError(
                f"{shown(name)} is not what it should be: its SHA-256 is {found}, and {wanted} was given: copy it again"
            )

    def check_all(self, items: Sequence[Item], but: Collection[str]) -> None:
        """See that each file of a folder is what it should be, and that none is missing. Raises ReleaseError."""
        if self.alone is not None:
            raise OperatorError("a folder has no SHA-256 of its own: give a file as sha256sum writes it")
        files = {each.path: each.sha256 for each in items if each.kind == "file" and each.path not in but}
        missing = sorted(self.named.keys() - files.keys() - set(but))
        if missing:
            raise ReleaseError(f"{shown(missing[0])} is not there, and has a SHA-256: copy the release again")
        for path, found in files.items():
            self.check(path, found)


def read_sums(given: str | Path) -> Sums:
    """What was given, as a digest or as the path of a file. Raises OperatorError."""
    if isinstance(given, str):
        return Sums(given.lower(), {})
    try:
        text = given.read_bytes()[:_LARGEST].decode()
    except OSError as refused:
        raise OperatorError(f"{given} cannot be read: {refused.strerror}") from refused
    except UnicodeDecodeError:
        raise OperatorError(f"{given} is no file as sha256sum writes it: it is not UTF-8") from None
    return parse_sums(text, str(given))


def is_digest(text: str) -> bool:
    """Whether it is a SHA-256 in hex."""
    return _DIGEST.fullmatch(text) is not None


def parse_sums(text: str, source: str) -> Sums:
    """What such a file says. Raises OperatorError."""
    named: dict[str, str] = {}
    alone = None
    for line in filter(None, (each.strip("\r") for each in text.split("\n"))):
        tagged, plain = _TAGGED.fullmatch(line), _LINE.fullmatch(line)
        if tagged:
            name, digest = tagged[1], tagged[2]
        elif plain:
            name, digest = plain[2], plain[1]
        elif line.startswith("#"):
            continue
        else:
            raise OperatorError(f'{source} is no file as sha256sum writes it: "{shown(line)}"')
        name = name.removeprefix("./")
        if named.get(name, digest.lower()) != digest.lower():
            raise OperatorError(f"{source} has two different SHA-256 for {shown(name)}")
        named[name] = digest.lower()
    if list(named) == [""]:
        alone = named.pop("")
    if not named and alone is None:
        raise OperatorError(f"{source} has no SHA-256 in it")
    return Sums(alone, named)
