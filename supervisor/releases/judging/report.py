"""From a scanner's report, of whichever kind, to vulnerabilities. What cannot be understood never counts as clean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from supervisor.errors import OperatorError
from supervisor.releases.judging import govulncheck, trivy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.releases.judging.vulnerability import Vulnerability

LARGEST = 256 << 20
"""Bytes of a report."""


def vulnerabilities(text: bytes, name: str) -> list[Vulnerability]:
    """All that a report has, each once; `name` is what it is called. Raises OperatorError."""
    if len(text) > LARGEST:
        raise OperatorError(f"{name} has more than {LARGEST >> 20} MB: that is no report of a scanner's")
    try:
        messages = list(_messages(text.decode()))
        for kind in (trivy, govulncheck):
            if kind.is_one(messages):
                return list(dict.fromkeys(kind.vulnerabilities(messages)))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as odd:
        raise OperatorError(
            f"{name} is damaged, cut short, or no report that is known here ({odd}): scan again, and see that the "
            "scanner itself ends well"
        ) from odd
    raise OperatorError(f"{name} is no report that is known here: want Trivy's or govulncheck's, in JSON")


def _messages(text: str) -> Iterator[Any]:
    """JSON values that follow each other, with or without white space between them. Raises ValueError."""
    decoder, at = json.JSONDecoder(), 0
    while (at := _next(text, at)) < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
