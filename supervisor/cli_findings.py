"""What was found in a file, as a page for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from supervisor.cli_layout import clean, printing, wrapped

if TYPE_CHECKING:
    from supervisor.releases.preflight.finding import Finding

_COLOURS = {"says": "green", "warns": "yellow", "blocks": "red"}
_LEVEL, _CHECK = 6, 10
_MARGIN = _LEVEL + 2 + _CHECK + 2


def show(findings: list[Finding]) -> None:
    """Print them, and what they come to."""
    console = printing()
    for each in findings:
        console.print(Group(*_paragraph(each, console.width)))
    count = Counter(str(each.level) for each in findings)
    blocked, warned = count["blocks"], count["warns"]
    verdict = "it cannot run here as it is" if blocked else "nothing keeps it from running"
    console.print(f"\n{verdict}; {warned} warning{'' if warned == 1 else 's'}")


def _paragraph(finding: Finding, width: int) -> list[Text]:
    told = wrapped(clean(finding.found), width - _MARGIN) or [""]
    first = Text(f"{finding.level:{_LEVEL}}  ", style=_COLOURS[finding.level])
    first.append(f"{finding.check:{_CHECK}}  {told[0]}", style="not bold default")
    lines = [first, *(Text(" " * _MARGIN + line) for line in told[1:])]
    if finding.do:
        do = wrapped(clean(f"do: {finding.do}"), width - _MARGIN)
        lines += [Text(" " * _MARGIN + line, style="bold") for line in do]
    return lines
