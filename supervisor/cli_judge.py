"""A scanner's report, judged. The last line is all that a gate's last words can hold."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from supervisor.cli_layout import clean
from supervisor.errors import OperatorError

if TYPE_CHECKING:
    from supervisor.releases.judging.verdict import Verdict

_STANDARD_INPUT = "-"
_NAMED = 3
"""Vulnerabilities in the last line."""


def judge(report: str, allowed: Path | None, threshold: float, *, machine: bool) -> bool:
    """Judge, and print; whether the answer is yes. Raises OperatorError."""
    from supervisor.releases.judging.exceptions import exceptions  # noqa: PLC0415 - only this command reads reports
    from supervisor.releases.judging.report import vulnerabilities  # noqa: PLC0415 - likewise, for this one
    from supervisor.releases.judging.verdict import judge as judged_by  # noqa: PLC0415 - likewise, for this one

    name = "the report on standard input" if report == _STANDARD_INPUT else report
    found = vulnerabilities(_contents(report), name)
    today = datetime.now(UTC).date()
    listed = exceptions(_contents(str(allowed)), str(allowed)) if allowed is not None else []
    verdict = judged_by(found, listed, threshold, today)
    if machine:
        print(json.dumps(_document(verdict), indent=2))
    else:
        _print(verdict)
    return not verdict.blocking


def _contents(path: str) -> bytes:
    from supervisor.releases.judging.report import LARGEST  # noqa: PLC0415 - as the line above says

    try:
        if path == _STANDARD_INPUT:
            return sys.stdin.buffer.read(LARGEST + 1)
        with Path(path).open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as refused:
        raise OperatorError(f"{path} cannot be read: {refused.strerror}") from refused


def _print(verdict: Verdict) -> None:
    for each in verdict.judged:
        title = f": {each.found.title}" if each.found.title else ""
        print(clean(f"{'blocks' if each.blocks else 'passes'}  {each.found}{title}; {each.because}"))
    for one in verdict.unused:
        print(clean(f"note: the exception for {one.id} (until {one.until}) is for nothing that was found"))
    print(clean(_last_line(verdict)))


def _last_line(verdict: Verdict) -> str:
    blocking, count = verdict.blocking, len(verdict.judged)
    if not blocking:
        return f"yes: {count} found, none blocks"
    named = "; ".join(str(each.found) for each in blocking[:_NAMED])
    more = f"; and {len(blocking) - _NAMED} more" if len(blocking) > _NAMED else ""
    return f"no: {len(blocking)} of {count} block: {named}{more}"


def _document(verdict: Verdict) -> dict[str, object]:
    return {
        "blocks": bool(verdict.blocking),
        "judged": [{**asdict(each.found), "blocks": each.blocks, "because": each.because} for each in verdict.judged],
        "unused_exceptions": [one.id for one in verdict.unused],
    }
