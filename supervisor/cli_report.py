"""The report of one handoff, as a page that a person likes to read."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from supervisor.cli_layout import Column, Row, clean, lay_out, printing, wrapped
from supervisor.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.control.client import Client

OWN_WAYS = ("health", "recycle", "follow")
"""Of a request that nobody has made."""

_HEADING = 12
_PORTS_SHOWN = 20

_LISTENER = (
    Column("listener"),
    Column("address", shrinks=True),
    Column("longest wait", right=True),
    Column("deepest queue", right=True),
    Column("whose", right=True, goes=1),
)


def show(client: Client, number: int, *, machine: bool) -> None:
    """One handoff that has ended. Raises OperatorError if the history does not have it."""
    entries = client.call("GET", "/v1/history")["handoffs"]
    found = [entry for entry in entries if entry["handoff"] == number]
    if not found:
        numbers = [entry["handoff"] for entry in entries]
        known = f"there are {min(numbers)} to {max(numbers)}" if numbers else "none has ended yet"
        raise OperatorError(f"handoff {number} is not in the history: {known}")
    if machine:
        print(json.dumps(found[-1], indent=2))
        return
    console = printing()
    console.print(Group(*_page(found[-1], console.width)))


def _page(entry: dict[str, Any], width: int) -> Iterator[Text]:
    report = entry.get("report")
    yield _title(entry)
    for heading, text in _lines(entry, report):
        first, *rest = wrapped(clean(text), width - _HEADING) or [""]
        yield Text(f"{heading:{_HEADING}}{first}")
        yield from (Text(" " * _HEADING + line) for line in rest)
    if report is not None and report["listeners"]:
        yield Text("")
        yield from lay_out(_LISTENER, [_listener(each) for each in report["listeners"]], "", width)
        yield Text("")
        yield Text(f"queues were looked at {report['looks']} times, at most {report['resolution']:.3g} s apart", "dim")


def _title(entry: dict[str, Any]) -> Text:
    done = entry["result"] == "committed"
    title = Text(f"handoff {entry['handoff']}  ", style="bold")
    title.append(f"{entry['result']} after {sum(entry['phases'].values()):.3f} s", "not bold" if done else "yellow")
    return title


def _lines(entry: dict[str, Any], report: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    came, went = entry["to"], entry["from"]
    yield "from", f"generation {went['generation']}, {went['release']}"
    if came["generation"]:
        yield "to", f"generation {came['generation']}" + (f", {came['release']}" if came["release"] else "")
    yield "asked", f"{entry['ask']} by {_who(report['asked_by'] if report else entry)}"
    if report:
        yield "began", _clock(report["began"])
    yield "ended", _clock(entry["ended"])
    if entry.get("because"):
        yield "because", entry["because"]
    if entry["reason"]:
        yield "reason", entry["reason"]
    yield "phases", ", ".join(f"{phase} {spent:.3f} s" for phase, spent in entry["phases"].items())
    if entry["ready_to_steered"] is not None:
        yield "shift", f"{entry['ready_to_steered'] * 1000:.2f} ms after the candidate said that it is ready"
    if report is None:
        yield "report", "none: this handoff was recorded by an older gapless"
        return
    yield from _reported(report)


def _reported(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if report.get("preflight"):
        yield "preflight", report["preflight"]
    for gate in report.get("gates", ()):
        words = f": {gate['said']}" if gate["said"] else ""
        yield gate["name"], f"{'yes' if gate['yes'] else 'no'} after {gate['seconds']:.2f} s{words}"
    if report["undone_by"]:
        yield "undone by", _who(report["undone_by"])
    for death in report["deaths"]:
        after = death["at"] - report["began"]
        yield "died", f"generation {death['generation']} after {after:.2f} s: {death['exit']}"
    if report["restarts"]:
        yield "restarts", str(report["restarts"])
    yield "stragglers", _stragglers(report["stragglers"])
    drain = report["drain"]
    if drain is not None:
        killed = "killed, for it did not finish: " if drain["killed"] else ""
        lost = f"; {_stragglers(drain)}" if drain["migrated"] or drain["reset"] else ""
        yield "drain", f"generation {drain['generation']} took {drain['seconds']:.2f} s: {killed}{drain['exit']}{lost}"
    kernel = report["kernel"]
    if kernel is not None:
        moved = {name: count for name, count in kernel.items() if count}
        said = ", ".join(f"{name} {count}" for name, count in moved.items()) or "no listen overflows, no drops"
        yield "kernel", f"{said} (of all services in this network namespace)"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _who(asked: dict[str, Any]) -> str:
    if asked["way"] in OWN_WAYS:
        return f"the service itself ({asked['way']})"
    if asked["uid"] is None:
        return str(asked["way"])
    user = f"{asked['user']} (uid {asked['uid']})" if asked.get("user") else f"uid {asked['uid']}"
    if asked.get("login") not in {None, asked.get("user"), asked["uid"]}:
        user += f", logged in as {asked['login']}"
    process = f"{asked['process']} (pid {asked['pid']})" if asked.get("process") else f"pid {asked['pid']}"
    return f"{user}, {process}, by {asked['way']}"


def _stragglers(told: dict[str, Any]) -> str:
    if not told["migrated"] and not told["reset"]:
        return "none"
    moved = [f"{told['migrated']} moved by the kernel"] if told["migrated"] else []
    ports, more = told["reset_ports"][:_PORTS_SHOWN], told["reset_ports"][_PORTS_SHOWN:]
    whose = f" (client ports {', '.join(map(str, ports))}{', ...' if more else ''})" if ports else ""
    return ", ".join([*moved, *([f"{told['reset']} reset{whose}"] if told["reset"] else [])])


def _listener(each: dict[str, Any]) -> Row:
    if each["deepest"] is None:
        return Row([each["name"], each["address"], "?", "?", ""])
    most = f" to {each['at_most']:.3f}" if each["at_most"] > each["longest_wait"] else ""
    wait = f"{each['longest_wait']:.3f}{most} s" if each["deepest"] else "0 s"
    whose = "" if each["generation"] is None else f"generation {each['generation']}"
    return Row([each["name"], each["address"], wait, str(each["deepest"]), whose])
