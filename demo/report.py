"""The end of the demonstration: picture, tables and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from demo import picture
from demo.account import Figures
from demo.stage import RATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from demo.account import Crash, Request, Span, Verdict
    from demo.chronicle import Handoff

WARM_UP = 1.0
"""Seconds at the beginning that count as neither rest nor anything else."""
AFTER = 1.0
"""Seconds after the end of a refused handoff that still count as its own."""

_WIDEST = 120
_ROWS = 2
_QUEUED = " With net.ipv4.tcp_migrate_req=1 the kernel would have moved the queue to the version before."
_BEFORE_HUP, _AFTER_SHIFT = 0.008, 0.012


@dataclass(frozen=True, slots=True)
class Run:
    """All that is known when it is over."""

    began: float
    ended: float
    requests: Sequence[Request]
    handoffs: Sequence[Handoff]
    summary: dict[str, Any]
    verdict: Verdict
    crash: Crash | None
    faults: Mapping[str, str]
    """What is wrong with each release, by name."""


def live(line: dict[str, Any], elapsed: float) -> str:
    """What goes on at the moment, in one line: the generator's own last word."""
    versions = "  ".join(f"{name} {count * 5}/s" for name, count in sorted(line.get("versions", {}).items()))
    return f"{elapsed:4.1f} s  {versions}"


def draw(console: Console, run: Run) -> None:
    """All of it, onto the console."""
    width = min(console.width, _WIDEST)
    console.print()
    for line in overview(run, width):
        console.print(line)
    console.print()
    for line in close_up(run, width):
        console.print(line)
    console.print()
    console.print(_instants(run))
    console.print()
    console.print(_latencies(run))
    console.print(
        f"Latency counts from the instant a request was due, so a stall counts in full. At rest: due from second "
        f"{WARM_UP:g} to the first HUP; upgrades: from each HUP until the old version had drained; broken releases: "
        f"from each HUP until {AFTER:g} s after its refusal or rollback.",
        style="dim",
    )
    console.print()
    console.print(_verdict(run))


def overview(run: Run, width: int) -> Iterator[Text]:
    """The whole run: a lane per version, then the instants."""
    scale = picture.scale_for(width, run.began, run.ended)
    yield Text(
        f"requests answered by each version (full height: {RATE:,}/s; a column: {scale.step:.2f} s)", style="bold"
    )
    yield picture.names(scale, "to", [(each.hup, each.new) for each in run.handoffs], "bold")
    yield from picture.lanes(scale, _answered(run.requests), full=RATE, rows=_ROWS)
    failed = [each.due for each in run.requests if each.kind]
    yield picture.dots(scale, "failed", failed, "bold red", "✗")
    yield from picture.axis(scale, unit=1.0, name="s", origin=run.began)
    for label, style, instants in (
        ("HUP", "cyan", [each.hup for each in run.handoffs]),
        ("ready", "", [each.ready for each in run.handoffs]),
        ("shift", "green", [each.shift for each in run.handoffs]),
        ("commit", "bold green", [each.commit for each in run.handoffs]),
        ("drained", "", [each.drained for each in run.handoffs]),
        ("refused", "yellow", [each.refused for each in run.handoffs if not each.back]),
        ("back", "yellow", [each.back for each in run.handoffs]),
    ):
        yield picture.dots(scale, label, [at for at in instants if at is not None], style)


def close_up(run: Run, width: int) -> Iterator[Text]:
    """The first handoff from its HUP to its shift, where one request is one block."""
    first = run.handoffs[0]
    if first.shift is None or first.ready is None or first.started is None:
        return
    scale = picture.scale_for(width, first.hup - _BEFORE_HUP, first.shift + _AFTER_SHIFT)
    near = [each for each in run.requests if each.mode == "new" and scale.column(each.due) is not None]
    title = f"the first upgrade, close up: a block is a new connection (a column: {scale.step * 1000:.2f} ms)"
    yield Text(title, style="bold")
    yield from picture.lanes(scale, _answered(near), full=1 / scale.step, rows=1)
    yield from picture.axis(scale, unit=0.001, name="ms", origin=first.hup)
    for label, at, style in (
        ("HUP", first.hup, "cyan"),
        ("started", first.started, ""),
        ("ready", first.ready, ""),
        ("shift", first.shift, "green"),
    ):
        yield picture.dots(scale, label, [at], style)


def _answered(requests: Sequence[Request]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for each in requests:
        if not each.kind:
            found.setdefault(each.version, []).append(each.due)
    return dict(sorted(found.items()))


def _instants(run: Run) -> Table:
    table = _table("to", "HUP at", "started", "ready", "shift", "commit", "drained", "refused", "the release")
    for each in run.handoffs:
        instants = (each.started, each.ready, each.shift, each.commit, each.drained, each.refused)
        table.add_row(
            each.new,
            f"{each.hup - run.began:.2f} s",
            *(_after(each.hup, at) for at in instants),
            run.faults.get(each.new) or "is good",
        )
    return table


def _latencies(run: Run) -> Table:
    good = [each for each in run.handoffs if each.commit]
    bad = [each for each in run.handoffs if each.refused]
    rest: Span = (run.began + WARM_UP, run.handoffs[0].hup)
    windows: dict[str, list[Span]] = {
        "at rest": [rest],
        "upgrades": [(each.hup, each.drained or run.ended) for each in good],
        "broken releases": [(each.hup, (each.refused or run.ended) + AFTER) for each in bad],
        "whole run": [(0.0, float("inf"))],
    }
    columns = [Figures.of(run.requests, spans) for spans in windows.values()]
    table = _table("", *windows, right=True)
    table.add_row("requests", *(f"{each.requests:,}" for each in columns))
    table.add_row("failed", *(str(each.failed) for each in columns))
    for label, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("slowest", 1.0)):
        table.add_row(label, *(_milliseconds(each.percentile(share)) for each in columns))
    return table


def _verdict(run: Run) -> Text:
    verdict, total = run.verdict, run.summary["requests"]
    text, lost, crash = Text(), verdict.lost_count, run.crash
    text.append(f"{total:,} requests, {lost} lost by an upgrade or a refusal.", "bold red" if lost else "bold green")
    if crash is not None and (verdict.inside or verdict.queued):
        ports = ", ".join(str(each["port"]) for each in [*verdict.inside, *verdict.queued])
        text.append(
            f"\n{len(verdict.inside) + len(verdict.queued)} went down with {crash.version} when it crashed: "
            f"{len(verdict.inside)} that it had accepted, {len(verdict.queued)} in its queue (client ports {ports})."
        )
        text.append(_QUEUED if verdict.queued else "")
    elif crash is not None:
        text.append(f"\n{crash.version} had no request in its hands when it crashed.")
    for each in verdict.lost[:10]:
        at, port = each["t"] - run.began, each["port"]
        text.append(f"\nlost: {at:.3f} s, {each['kind']} in {each['phase']}, {each['mode']}, port {port}", style="red")
    return text


def _table(*headings: str, right: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2 if right else 1, 0, 0))
    for number, heading in enumerate(headings):
        plain = number == 0 or (not right and number == len(headings) - 1)
        table.add_column(heading, justify="left" if plain else "right", no_wrap=right or not plain)
    return table


def _after(origin: float, at: float | None) -> str:
    if at is None:
        return ""
    since = at - origin
    return f"+{since * 1000:.0f} ms" if since < 1 else f"+{since:.2f} s"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f} ms"
