"""From records to figures: nothing here measures, nothing here prints."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Request(NamedTuple):
    """What the load generator recorded of one request."""

    due: float
    ended: float
    version: str
    kind: str
    """Why it failed; empty if it did not."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One upgrade that was asked for. Times are Unix seconds, spans are seconds."""

    at: float
    version: str
    to_exec: float | None
    """From the signal to the new server's exec; None where it was not to be had."""

    gone: bool
    """The old server had ended when we stopped waiting for it."""


@dataclass(frozen=True, slots=True)
class Round:
    """One tool, once: some starts, and one load with its upgrades."""

    starts: list[float]
    requests: list[Request]
    upgrades: list[Upgrade]
    lateness: float
    """p99.9 of how late the generator itself was, in seconds."""

    pss: int | None
    private: int | None
    own: dict[str, list[float]] = field(default_factory=dict)
    """What the tool says of itself: spans by name."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the far end of some spans; None without any."""

    median: float | None
    p90: float | None
    worst: float | None

    @classmethod
    def of(cls, spans: Iterable[float | None]) -> Spread:
        """Those that were measured."""
        some = [each for each in spans if each is not None]
        return cls(median(some), percentile(some, 90), max(some)) if some else cls(None, None, None)


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is said of one tool."""

    upgrades: int
    taken: int
    """Upgrades after which the new version answered within the window."""

    lingered: int
    """Upgrades after which the old server did not end."""

    requests: int
    failed: dict[str, int]
    gap_rest: Spread
    gap: Spread
    rest: float | None
    during: float | None
    ratio: float | None
    ratios: list[float]
    """The same in each round alone: how far to trust it."""

    to_exec: Spread
    to_answer: Spread
    pss: float | None
    private: float | None
    start: Spread
    own: dict[str, Spread]
    lateness: float


def percentile(values: Iterable[float], percent: float) -> float | None:
    """By nearest rank: the least value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def figures(rounds: Sequence[Round], window: float) -> Figures:
    """What some rounds of one tool come to."""
    rest: list[float] = []
    during: list[float] = []
    ratios: list[float] = []
    gaps: list[float] = []
    gaps_rest: list[float] = []
    to_answer: list[float | None] = []
    for each in rounds:
        ended = sorted(request.ended for request in each.requests if not request.kind)
        here_rest = [span for up in each.upgrades for span in latencies(each.requests, up.at - window, up.at)]
        here = [span for up in each.upgrades for span in latencies(each.requests, up.at, up.at + window)]
        if (ratio := _ratio(percentile(here, 99.9), percentile(here_rest, 99.9))) is not None:
            ratios.append(ratio)
        rest += here_rest
        during += here
        gaps += [longest_gap(ended, up.at, up.at + window) for up in each.upgrades]
        gaps_rest += [longest_gap(ended, up.at - window, up.at) for up in each.upgrades]
        to_answer += [first_answer(each.requests, up, window) for up in each.upgrades]
    upgrades = [up for each in rounds for up in each.upgrades]
    pss = [each.pss for each in rounds if each.pss is not None]
    private = [each.private for each in rounds if each.private is not None]
    at_rest, in_upgrades = percentile(rest, 99.9), percentile(during, 99.9)
    return Figures(
        upgrades=len(upgrades),
        taken=sum(each is not None for each in to_answer),
        lingered=sum(not up.gone for up in upgrades),
        requests=sum(len(each.requests) for each in rounds),
        failed=dict(Counter(r.kind for each in rounds for r in each.requests if r.kind).most_common()),
        gap_rest=Spread.of(gaps_rest),
        gap=Spread.of(gaps),
        rest=at_rest,
        during=in_upgrades,
        ratio=_ratio(in_upgrades, at_rest),
        ratios=ratios,
        to_exec=Spread.of(up.to_exec for up in upgrades),
        to_answer=Spread.of(to_answer),
        pss=median(pss) if pss else None,
        private=median(private) if private else None,
        start=Spread.of(span for each in rounds for span in each.starts),
        own={
            name: Spread.of(span for each in rounds for span in each.own.get(name, ()))
            for name in dict.fromkeys(name for each in rounds for name in each.own)
        },
        lateness=max(each.lateness for each in rounds),
    )


def latencies(requests: Iterable[Request], begin: float, end: float) -> list[float]:
    """Of the requests due in that time. One that failed was never answered: infinite, so that no loss looks quick."""
    return [math.inf if r.kind else r.ended - r.due for r in requests if begin <= r.due < end]


def longest_gap(ended: Sequence[float], begin: float, end: float) -> float:
    """The longest time without an answer that overlaps the window, given the sorted ends of what was answered."""
    first = max(0, bisect_left(ended, begin) - 1)
    last = bisect_left(ended, end) + 1
    return max((after - before for before, after in pairwise(ended[first:last])), default=math.inf)


def first_answer(requests: Iterable[Request], upgrade: Upgrade, window: float) -> float | None:
    """From the signal to the first answer of the new version; None if there was none in the window."""
    answers = (
        r.ended - upgrade.at
        for r in requests
        if r.version == upgrade.version and not r.kind and upgrade.at <= r.ended < upgrade.at + window
    )
    return min(answers, default=None)


def _ratio(during: float | None, rest: float | None) -> float | None:
    return None if during is None or rest is None or math.isinf(rest) else during / rest
