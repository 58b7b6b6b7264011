"""How long a handoff takes with more listeners, and with more connections on the old generation: tables of ratios."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import psutil

from benchmarks import host
from benchmarks.figures import Spread
from benchmarks.tools import PATIENCE, BenchmarkError, Gapless, Place, answers, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LISTENERS = (1, 10, 50, 200)
_CONNECTIONS = (10, 100, 1000, 10_000)
_PROBATION = 0.25
"""Seconds. Nothing of ours asks the supervisor anything before it is over."""

_LOOK = 0.02
"""Seconds between two looks."""

_SPARE = 200
"""File descriptors beside those of the connections."""

_MILLI = 1e3
_BROKEN = 2
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Size:
    """What there is while the server is replaced."""

    listeners: int = 1
    connections: int = 0

    def __str__(self) -> str:
        return f"{self.listeners} listeners and {self.connections:,} connections"


@dataclass(slots=True)
class Spans:
    """Seconds, one for each handoff, by the supervisor's own history."""

    asked_to_steered: list[float] = field(default_factory=list)
    ready_to_steered: list[float] = field(default_factory=list)
    phases: dict[str, list[float]] = field(default_factory=dict)

    def add(self, entry: dict[str, Any]) -> None:
        """One entry of the history. Raises BenchmarkError if it was not committed."""
        if entry["result"] != "committed":
            raise BenchmarkError(f"a handoff was not committed: {json.dumps(entry)}")
        before = {name: spent for name, spent in entry["phases"].items() if name not in {"probation", "settle"}}
        self.asked_to_steered.append(sum(before.values()))
        self.ready_to_steered.append(entry["ready_to_steered"])
        for name, spent in before.items():
            self.phases.setdefault(name, []).append(spent)


class Scaled(Gapless):
    """Gapless with as many listeners as are wanted: the first on the port of the place, the others anywhere."""

    probation = f"{_PROBATION:g}s"

    def __init__(self, place: Place, listeners: int) -> None:
        super().__init__(place)
        self._listeners = listeners

    def addresses(self) -> list[str]:
        """All on loopback."""
        return [self.address, *["127.0.0.1:0"] * (self._listeners - 1)]

    def has_ended(self, handoffs: int) -> bool:
        """Whether so many handoffs have, by its history."""
        return len(self.history()) >= handoffs

    def has_no(self, version: str) -> bool:
        """Whether no server of that version is left."""
        return not self.servers(version)

    def connections(self) -> int:
        """Those that the serving generation has accepted."""
        with socket.create_connection(("127.0.0.1", self.place.port), PATIENCE) as asked, asked.makefile() as page:
            asked.sendall(b"GET /metrics HTTP/1.1\r\nHost: benchmark\r\nConnection: close\r\n\r\n")
            found = [line.split()[1] for line in page if line.startswith("http_open_connections ")]
        return int(float(found[0])) - 1  # without the one that asks


def run(listeners: Sequence[int], connections: Sequence[int], rounds: int, upgrades: int) -> str:
    """All of it: the text. Raises BenchmarkError."""
    load_average = os.getloadavg()[0]
    notes = host.conditions(load_average)
    room = _room() - _SPARE
    if too_many := [number for number in connections if number > room]:
        notes.append(f"{max(too_many):,} connections were left out: `ulimit -Hn` allows {room + _SPARE:,}")
        connections = [number for number in connections if number <= room]
    _say("building two versions of examples/go-server")
    host.servers()
    more = [Size(listeners=number) for number in listeners]
    busier = [Size(connections=number) for number in connections]
    sizes = [*more, *busier]
    spans = {size: Spans() for size in sizes}
    for number in range(rounds):
        first = number % len(sizes)
        for size in (*sizes[first:], *sizes[:first]):
            _say(f"round {number + 1} of {rounds}: {size}")
            try:
                _turn(size, upgrades, spans[size])
            except BenchmarkError as error:
                _say(str(error))
                notes.append(f"**round {number + 1} with {size} came to nothing**: {' '.join(str(error).split())}")
    more, busier = ([size for size in each if spans[size].asked_to_steered] for each in (more, busier))
    parts = ["# How a handoff scales", f"{rounds} rounds in turns with {upgrades} upgrades each. {_LEGEND}"]
    if more:
        parts.append(_table("listeners", [(f"{size.listeners:,}", spans[size]) for size in more]))
    if busier:
        parts.append(
            _table("connections on the old generation", [(f"{size.connections:,}", spans[size]) for size in busier])
        )
    parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


_LEGEND = (
    "Milliseconds: median (p90), and the ratio to the first row's median. *Asked to steered* is from the supervisor's"
    " receipt of the request to new connections going to the new generation, start of the server included; *ready to"
    " steered* is the supervisor's part after the server could serve. What follows are the medians of the phases."
)


def _turn(size: Size, upgrades: int, spans: Spans) -> None:
    """One supervisor, in folders of its own that are gone afterwards. Its first upgrade warms it up."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="scale-", dir=host.BUILD))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        sockets = Path(tempfile.mkdtemp(prefix="gapless-scale.", dir="/tmp"))  # short: a socket's path
        stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        host.place_servers(folder)
        place = Place(folder, sockets, folder / "current", free_port())
        host.deploy(place.current, host.VERSIONS[0])
        tool = Scaled(place, size.listeners)
        stack.callback(tool.stop)
        tool.start()
        _until(lambda: answers(place.port), tool, "to serve")
        for number in range(upgrades + 1):
            old, new = (host.VERSIONS[(number + each) % 2] for each in (0, 1))
            with _connected(tool, size.connections):
                host.deploy(place.current, new)
                tool.upgrade()
                time.sleep(_PROBATION)
                _until(partial(tool.has_ended, number + 1), tool, "to commit")
            if number:
                spans.add(tool.history()[-1])
            _until(partial(tool.has_no, old), tool, "to end the old server")


@contextmanager
def _connected(tool: Scaled, number: int) -> Iterator[None]:
    """So many connections on the serving generation, each accepted; they end by a reset, which leaves no port busy."""
    with ExitStack() as stack:
        for _ in range(number):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", tool.place.port), PATIENCE))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if number:
            _until(lambda: tool.connections() >= number, tool, f"to accept {number} connections")
        yield


def _until(true: Callable[[], bool], tool: Scaled, what: str) -> None:
    """Wait for it, with patience. Raises BenchmarkError."""
    for looks in count():
        _ = tool.process  # raises if it has ended
        if true():
            return
        if looks * _LOOK > PATIENCE:
            raise BenchmarkError(f"gapless took too long {what}; it said:\n{tool.said()}")
        time.sleep(_LOOK)


def _table(what: str, rows: Sequence[tuple[str, Spans]]) -> str:
    phases = list(dict.fromkeys(name for _, spans in rows for name in spans.phases))
    head = [what, "asked to steered", "ratio", "ready to steered", "ratio", *phases]
    lines = [head, ["---:"] * len(head)]
    _, first = rows[0]
    for name, spans in rows:
        cells = [name]
        for here, base in (
            (spans.asked_to_steered, first.asked_to_steered),
            (spans.ready_to_steered, first.ready_to_steered),
        ):
            cells += [_middle(here), f"{_median(here) / _median(base):.2f}"]
        lines.append([*cells, *(f"{_median(spans.phases.get(each, [0.0])) * _MILLI:.2f}" for each in phases)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _median(spans: Sequence[float]) -> float:
    return Spread.of(spans).median or 0.0


def _middle(spans: Sequence[float]) -> str:
    found = Spread.of(spans)
    return f"{(found.median or 0.0) * _MILLI:.2f} ({(found.p90 or 0.0) * _MILLI:.2f})"


def _room() -> int:
    """As many file descriptors as this process, and the server after it, may have from now on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _say(text: str) -> None:
    sys.stderr.write(f"benchmark: {text}\n")


def main() -> int:
    """Measure, print, and leave nothing behind whatever interrupts it."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark-scale", description=__doc__)
    add = parser.add_argument
    add("--listeners", type=int, nargs="*", default=list(_LISTENERS), help="how many (default: %(default)s)")
    add("--connections", type=int, nargs="*", default=list(_CONNECTIONS), help="how many (default: %(default)s)")
    add("--rounds", type=int, default=3, help="times that each size has its turn (default: %(default)s)")
    add("--upgrades", type=int, default=5, help="in each turn (default: %(default)s)")
    add("--output", type=Path, default=host.ROOT / "benchmarks/SCALE.md", help="where the tables are written")
    given = parser.parse_args()
    if min([given.rounds, given.upgrades, *given.listeners, *given.connections], default=0) <= 0:
        parser.error("every number must be above 0")

    def end(number: int, frame: object) -> NoReturn:
        del frame
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)  # nothing may come between us and the end
        raise SystemExit(128 + number)

    for number in _ENDING:
        signal.signal(number, end)
    try:
        text = run(given.listeners, given.connections, given.rounds, given.upgrades)
    except (BenchmarkError, OSError, psutil.Error, subprocess.SubprocessError) as error:
        _say(str(error))
        return _BROKEN
    given.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
