"""Words of a command that stand for what only a running generation has: `{fd:NAME}`, `{port:NAME}`, `{address:NAME}`.

What has that form and is meant as it stands has its braces doubled. No other brace in a command means anything, so
that a command with braces of its own needs no care.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAMED = r"(?:fd|port|address):[A-Za-z0-9_.@-]+"
_TEMPLATE = re.compile(rf"\{{\{{({_NAMED})\}}\}}|\{{({_NAMED})\}}")


def asked(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What a command wants to be told: a kind (fd, port or address) and the name of a listener."""
    for word in argv[1:]:
        for found in _TEMPLATE.finditer(word):
            if found[2]:
                kind, _, name = found[2].partition(":")
                yield kind, name


def filled(argv: Sequence[str], values: Mapping[tuple[str, str], str]) -> list[str]:
    """The command with each of them replaced; `values` has all that is asked for. The program's own path has none."""

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return f"{{{found[1]}}}"
        kind, _, name = found[2].partition(":")
        return values[kind, name]

    return [*argv[:1], *(_TEMPLATE.sub(value, word) for word in argv[1:])]
