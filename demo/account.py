"""The account of a run: every request from the generator's record, percentiles, and whose fault a failure was."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

AFTERMATH = 0.25
"""Seconds after a crash was noticed within which a connection that the crashed process held is seen to be broken."""

Span = tuple[float, float]


class Request(NamedTuple):
    """One line of the record. Times are seconds since 1970; `kind` is empty if it was answered."""

    due: float
    latency: float
    mode: str
    version: str
    kind: str


def read(record: Path) -> list[Request]:
    """Every request, by the instant at which it was due."""
    with record.open(encoding="ascii", newline="") as file:
        rows = csv.DictReader(file)
        found = [
            Request(float(row["due"]), int(row["latency_us"]) / 1e6, row["mode"], row["version"], row["kind"])
            for row in rows
        ]
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Figures:
    """What is told of the requests of one window. Latencies are those of answered requests, in seconds."""

    requests: int
    failed: int
    latencies: tuple[float, ...]

    @classmethod
    def of(cls, requests: Iterable[Request], spans: Sequence[Span]) -> Figures:
        """The requests that were due within any of these spans."""
        inside = [each for each in requests if any(start <= each.due < end for start, end in spans)]
        answered = sorted(each.latency for each in inside if not each.kind)
        return cls(len(inside), len(inside) - len(answered), tuple(answered))

    def percentile(self, share: float) -> float | None:
        """The latency that this share of the requests did not exceed (nearest rank)."""
        if not self.latencies:
            return None
        rank = math.ceil(round(share * len(self.latencies), 6))
        return self.latencies[max(1, rank) - 1]


@dataclass(frozen=True, slots=True)
class Crash:
    """A server process that ended by itself while it had clients."""

    version: str
    pid: int
    earliest: float
    """The process cannot have crashed before: a client may see it some time before the supervisor does."""
    noticed: float
    """When the supervisor knew."""
    accepted: frozenset[int] = frozenset()
    """Client ports of the connections that it had accepted."""
    queued: frozenset[int] = frozenset()
    """Client ports of the connections that waited in its queue, and that were reset with it."""

    def holds(self, failure: dict[str, Any]) -> bool:
        """Whether this failure is that process's own: its connection, at the instant of its death."""
        near = self.earliest <= failure["t"] <= self.noticed + AFTERMATH
        return near and failure["port"] in self.accepted | self.queued


@dataclass(slots=True)
class Verdict:
    """Where the failures are to be laid."""

    failed: int
    inside: list[dict[str, Any]] = field(default_factory=list)
    """In the hands of a process that crashed."""
    queued: list[dict[str, Any]] = field(default_factory=list)
    """In the queue of a process that crashed."""
    lost: list[dict[str, Any]] = field(default_factory=list)
    """Everything else that the generator described."""

    @property
    def lost_count(self) -> int:
        """Those that nothing excuses; the generator describes only the first of very many."""
        return self.failed - len(self.inside) - len(self.queued)


def judge(summary: dict[str, Any], crash: Crash | None) -> Verdict:
    """Lay each failure at somebody's door."""
    verdict = Verdict(summary["failed"])
    for failure in summary["failures"]:
        if crash is None or not crash.holds(failure):
            verdict.lost.append(failure)
        elif failure["port"] in crash.accepted:
            verdict.inside.append(failure)
        else:
            verdict.queued.append(failure)
    return verdict


def accepted_by(log: Path, pid: int) -> frozenset[int]:
    """Client ports of the connections that a server process has accepted, by what it wrote (`conn PORT PID ...`)."""
    ports = set()
    for line in log.read_text(encoding="ascii").splitlines():
        match line.split():
            case ["conn", port, owner, *_] if owner == str(pid) and port.isdigit():
                ports.add(int(port))
            case _:
                pass
    return frozenset(ports)
