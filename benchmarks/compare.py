"""Upgrades under load, by gapless and by others, in turns: a table of what each costs its users."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psutil

from benchmarks import host, table
from benchmarks.execs import Execs
from benchmarks.figures import Figures, Round, Upgrade, figures
from benchmarks.tools import PATIENCE, TOOLS, BenchmarkError, Gapless, Instant, Place, Plain, Tool, answers, free_port
from benchmarks.traffic import CONNECTIONS, Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

_SETTLED = 1.0
"""Seconds after an upgrade that are no rest yet: a tool may have more to do when the old server has ended."""

_WARM = 1.0
"""Seconds of load before anything counts."""

_LOOK = 0.001
"""Seconds between two looks whether a fresh server answers."""

_NANO = 1e-9
_BROKEN = 2
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for on the command line."""

    rate: float
    rounds: int
    upgrades: int
    starts: int
    window: float
    tools: tuple[type[Tool], ...]
    output: Path
    readme: Path | None


def run(plan: Plan) -> str:
    """All of it: the text that was written. Raises BenchmarkError."""
    load_average = os.getloadavg()[0]
    if plan.readme:
        table.split_at_marks(plan.readme)  # before five minutes are spent
    _say("building two versions of examples/go-server")
    host.servers()
    skipped = {tool: reason for tool in plan.tools if (reason := host.missing(tool))}
    for tool, reason in skipped.items():
        _say(f"{tool.title} is skipped: {reason}")
    tools = [tool for tool in plan.tools if tool not in skipped]
    rounds: dict[type[Tool], list[Round]] = {tool: [] for tool in tools}
    failed: list[str] = []
    times = host.processor_times()
    with ExitStack() as stack:
        execs, no_execs = _execs(stack)
        for number in range(plan.rounds if tools else 0):
            first = number % len(tools)
            for tool in (*tools[first:], *tools[:first]):
                _say(f"round {number + 1} of {plan.rounds}: {tool.title}")
                try:
                    rounds[tool].append(_round(plan, tool, execs))
                except BenchmarkError as error:
                    _say(str(error))
                    failed.append(
                        f"**round {number + 1} of {tool.title} came to nothing**: {str(error).splitlines()[0]}"
                    )
    found = {tool: figures(each, plan.window) for tool, each in rounds.items() if each}
    if not found:
        raise BenchmarkError("nothing was measured")
    conditions = [*host.conditions(load_average), host.stolen(times, host.processor_times())]
    text = _text(plan, found, [*conditions, *_notes(found, no_execs, skipped), *failed])
    plan.output.write_text(text, encoding="utf-8")
    if plan.readme:
        table.put_between_marks(plan.readme, text.partition("\n\n")[2].strip())
    return text


def _round(plan: Plan, tool: type[Tool], execs: Execs | None) -> Round:
    """One tool, in folders of its own that are gone afterwards."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=host.BUILD))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        base = tempfile.gettempdir()
        longest = 60  # of the 107 bytes that a socket's path may have
        sockets = Path(tempfile.mkdtemp(prefix="gapless-bench.", dir=base if len(base) < longest else "/tmp"))  # noqa: S108 - mkdtemp makes a private folder
        stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        host.place_servers(folder)
        place = Place(folder, sockets, folder / "current", free_port())
        host.deploy(place.current, host.VERSIONS[0])
        under_test = tool(place)
        stack.callback(under_test.stop)
        starts = []
        for number in range(plan.starts):
            if number:
                under_test.stop()
            starts.append(_start(under_test))
        with Traffic(under_test.address, plan.rate, folder) as traffic:
            time.sleep(_WARM)
            upgrades = [_upgrade(plan, under_test, execs, number) for number in range(plan.upgrades)]
            memory = [each.memory_full_info() for each in under_test.supervisors()]
            requests, lateness = traffic.end()
        return Round(
            starts,
            requests,
            upgrades,
            lateness,
            sum(each.pss for each in memory) if memory else None,
            sum(each.uss for each in memory) if memory else None,
            under_test.own(),
        )


def _start(tool: Tool) -> float:
    """Seconds from its start to the first answer."""
    began = tool.start()
    while not answers(tool.place.port):
        if time.monotonic_ns() - began.monotonic > PATIENCE / _NANO:
            raise BenchmarkError(f"{tool.title} does not begin to serve; it said:\n{tool.said()}")
        _ = tool.process  # raises if it has ended
        time.sleep(_LOOK)
    return (time.monotonic_ns() - began.monotonic) * _NANO


def _upgrade(plan: Plan, tool: Tool, execs: Execs | None, number: int) -> Upgrade:
    """A time of rest, the signal, the time that is looked at, and then as long as the old server takes to end."""
    old, new = (host.VERSIONS[(number + each) % 2] for each in (0, 1))
    host.deploy(tool.place.current, new)
    time.sleep(_SETTLED + plan.window)
    if execs:
        execs.drain()
    asked = tool.upgrade()
    time.sleep(max(0.0, plan.window - (time.monotonic_ns() - asked.monotonic) * _NANO))
    to_exec = _first_exec(tool, execs, new, asked) if execs else None
    deadline = time.monotonic() + PATIENCE
    while (lingering := bool(tool.servers(old))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return Upgrade(asked.wall, new, to_exec, gone=not lingering)


def _first_exec(tool: Tool, execs: Execs, version: str, asked: Instant) -> float | None:
    """Of a process, the last exec counts: a shell may have been before the server, never after it."""
    last = {each.pid: each.at for each in execs.drain() or () if each.at > asked.monotonic}
    times = [last[each.pid] for each in tool.servers(version) if each.pid in last]
    return (min(times) - asked.monotonic) * _NANO if times else None


def _execs(stack: ExitStack) -> tuple[Execs | None, str]:
    """The kernel's process connector, or why there is none."""
    try:
        return stack.enter_context(Execs()), ""
    except OSError as error:
        why = "it needs root" if isinstance(error, PermissionError) else error.strerror
        return None, f"*Signal to exec* was not measured: the kernel's process connector was not to be had ({why})"


def _notes(found: dict[type[Tool], Figures], no_execs: str, skipped: dict[type[Tool], str]) -> list[str]:
    notes = [f"{tool.title}: {' '.join(filter(None, (host.tool_version(tool), tool.how)))}" for tool in found]
    notes += [f"{tool.title} was skipped: {reason}" for tool, reason in skipped.items()]
    notes += [no_execs] if no_execs else []
    notes += [
        f"{tool.title}: after {it.lingered} upgrades the old server did not end within {PATIENCE:g} s"
        for tool, it in found.items()
        if it.lingered
    ]
    late = max(it.lateness for it in found.values())
    notes.append(f"p99.9 of how late the load generator itself sent: {late * 1e3:.2f} ms in the worst round")
    if Gapless in found and (spent := table.phases(found[Gapless])):
        notes.append(f"a handoff of gapless, by its own history, median ms: {spent}")
    return notes


def _text(plan: Plan, found: dict[type[Tool], Figures], conditions: Sequence[str]) -> str:
    bare = found[Plain].start.median if Plain in found else None
    how = (
        f"The same server (examples/go-server) and the same load: {plan.rate:,.0f} requests a second, open loop, half"
        f" with a connection each, half over {CONNECTIONS} kept ones. {plan.rounds} rounds in turns with"
        f" {plan.upgrades} upgrades and {plan.starts} starts each."
    )
    parts = ["# What an upgrade costs", "\n".join(table.table(found, bare)), how, table.legend(plan.window)]
    parts.append("\n".join(f"- {line}" for line in conditions))
    return "\n\n".join(parts) + "\n"


def _say(text: str) -> None:
    sys.stderr.write(f"benchmark: {text}\n")


def _plan(arguments: Sequence[str] | None = None) -> Plan:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    add = parser.add_argument
    names = {tool.name: tool for tool in TOOLS}
    add("--rate", type=float, default=1500, help="requests per second (default: %(default)g)")
    add("--rounds", type=int, default=3, help="times that each tool has its turn (default: %(default)s)")
    add("--upgrades", type=int, default=5, help="in each turn (default: %(default)s)")
    add("--starts", type=int, default=3, help="in each turn, for the start-up time (default: %(default)s)")
    add("--window", type=float, default=2, help="seconds before and after an upgrade (default: %(default)g)")
    add("--tools", nargs="+", choices=names, default=list(names), help="only these")
    add("--output", type=Path, default=host.ROOT / "benchmarks/RESULTS.md", help="where the table is written")
    add("--update-readme", action="store_true", help="and into README.md, between the marks")
    given = parser.parse_args(arguments)
    if min(given.rate, given.rounds, given.upgrades, given.starts, given.window) <= 0:
        parser.error("every number must be above 0")
    return Plan(
        given.rate,
        given.rounds,
        given.upgrades,
        given.starts,
        given.window,
        tuple(tool for name, tool in names.items() if name in given.tools),
        given.output,
        host.ROOT / "README.md" if given.update_readme else None,
    )


def main() -> int:
    """Measure, print, and leave nothing behind whatever interrupts it."""

    def end(number: int, frame: object) -> NoReturn:
        del frame
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)  # nothing may come between us and the end
        raise SystemExit(128 + number)

    for number in _ENDING:
        signal.signal(number, end)
    try:
        sys.stdout.write(run(_plan()))
    except (BenchmarkError, OSError, psutil.Error, subprocess.SubprocessError) as error:
        _say(str(error))
        return _BROKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
