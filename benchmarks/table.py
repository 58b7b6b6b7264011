"""The figures as one markdown table, and where it goes."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from benchmarks.tools import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.figures import Figures, Spread
    from benchmarks.tools import Tool

BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
_MILLI = 1e3
_MB = 1e-6
_NOTHING = "-"


def table(found: Mapping[type[Tool], Figures], bare: float | None) -> list[str]:
    """A column for each tool, a row for each question."""
    rows: list[tuple[str, Callable[[type[Tool], Figures], str]]] = [
        ("failed requests, of all", lambda _, it: f"{_failed(it)} of {it.requests:,}"),
        ("upgrades that took, of all asked for", lambda _, it: f"{it.taken} of {it.upgrades}"),
        ("longest gap between answers, ms: worst (median)", lambda _, it: _worst(it.gap)),
        ("the same at rest, ms", lambda _, it: _worst(it.gap_rest)),
        ("p99.9 at rest, ms", lambda _, it: _ms(it.rest)),
        ("p99.9 during upgrades, ms", lambda _, it: _ms(it.during)),
        ("p99.9 during / at rest (each round)", lambda _, it: _ratio(it)),
        ("signal to exec of the new server, ms: median (p90)", lambda _, it: _middle(it.to_exec)),
        ("signal to its first answer, ms: median (p90)", lambda _, it: _middle(it.to_answer)),
        ("ready to steered, ms: median (p90)", lambda _, it: _middle(it.own.get("ready to steered"))),
        ("memory of the supervisor, MB of PSS (of which private)", lambda _, it: _memory(it)),
        ("start to first answer, ms: median", lambda _, it: _ms(it.start.median)),
        ("of which the supervisor, ms", lambda tool, it: _beyond(tool, it, bare)),
    ]
    head = ["", *(tool.title for tool in found)]
    lines = [head, ["---", *["---:"] * len(found)]]
    lines += [[name, *(cell(tool, it) for tool, it in found.items())] for name, cell in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def legend(window: float) -> str:
    """What the rows mean, in a line each."""
    return (
        f"Lower is better in every row but the second. *During* are the requests due from the signal to {window:g} s"
        f" after it, *at rest* those due in the {window:g} s before it, from a second after the old server of the"
        " upgrade before has ended: what a tool does in that second is in neither. Latency counts from the instant at"
        " which a request was due; a failed one counts as never answered (∞)."
        " A gap is a time in which no request was answered. The exec is the kernel's own time stamp. Memory is read"
        " after the upgrades."
    )


def put_between_marks(path: Path, text: str) -> None:
    """Replace what stands between the marks. Raises BenchmarkError if they are not there."""
    before, between, after = split_at_marks(path)
    del between
    whole = f"{before}{BEGIN}\n{text}\n{END}{after}"
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(whole, encoding="utf-8")
    fresh.replace(path)


def split_at_marks(path: Path) -> tuple[str, str, str]:
    """Before, between and after the marks."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BenchmarkError(f"{path}: {error.strerror}") from error
    before, begin, rest = text.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkError(f"{path} has no {BEGIN} and {END} to put the table between")
    return before, between, after


def phases(found: Figures) -> str:
    """Where a handoff spends its time, by the supervisor's own history; empty for who has none."""
    names: Sequence[str] = [name for name in found.own if name != "ready to steered"]
    return ", ".join(f"{name} {_ms(found.own[name].median)}" for name in names)


def _failed(it: Figures) -> str:
    total = sum(it.failed.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in it.failed.items())
    return f"**{total:,}** ({kinds})" if total else "0"


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞"
    small, middling = 10, 100
    return f"{value:.2f}" if value < small else f"{value:.1f}" if value < middling else f"{value:,.0f}"


def _ms(seconds: float | None) -> str:
    return _NOTHING if seconds is None else _number(seconds * _MILLI)


def _worst(spread: Spread) -> str:
    return _NOTHING if spread.worst is None else f"{_ms(spread.worst)} ({_ms(spread.median)})"


def _middle(spread: Spread | None) -> str:
    return _NOTHING if spread is None or spread.median is None else f"{_ms(spread.median)} ({_ms(spread.p90)})"


def _ratio(it: Figures) -> str:
    if it.ratio is None:
        return _NOTHING
    return f"{_number(it.ratio)} ({', '.join(map(_number, it.ratios))})"


def _memory(it: Figures) -> str:
    if it.pss is None or it.private is None:
        return _NOTHING
    return f"{_number(it.pss * _MB)} ({_number(it.private * _MB)})"


def _beyond(tool: type[Tool], it: Figures, bare: float | None) -> str:
    if tool.name == "plain" or bare is None or it.start.median is None:
        return _NOTHING
    return _ms(it.start.median - bare)
