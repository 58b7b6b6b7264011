"""The status and the history as tables that a person likes to read."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from supervisor.cli_layout import Column, Row, clean, lay_out, printing, wrapped

if TYPE_CHECKING:
    from supervisor.control.client import Client

_COLOURS = {"serving": "green", "candidate": "cyan", "standby": "blue", "draining": "yellow"}
_EVERY = 1.0

_GENERATION = (
    Column("gen", right=True),
    Column("role"),
    Column("release", shrinks=True),
    Column("pid", right=True, goes=1),
    Column("age", right=True, goes=2),
    Column("memory", right=True, goes=3),
    Column("cpu", right=True, goes=4),
    Column("conns", right=True),
    Column("queue", right=True),
)
_HANDOFF = (
    Column("ended"),
    Column("no", right=True),
    Column("asked by", goes=2),
    Column("generation"),
    Column("release", shrinks=True),
    Column("took", right=True, goes=1),
    Column("result"),
)


def as_json(client: Client) -> None:
    """The whole document, for machines."""
    print(json.dumps(client.call("GET", "/v1/status"), indent=2))


def show(client: Client) -> None:
    """Once."""
    console = printing()
    console.print(_page(client.call("GET", "/v1/status"), console.width))


def watch(client: Client) -> None:
    """Again and again, until interrupted: in place on a terminal, one below the other elsewhere."""
    console = printing()
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            page = _page(client.call("GET", "/v1/status"), console.width - 2)
            if live is None:
                console.print(page, "")
                sys.stdout.flush()
            else:
                live.update(page, refresh=True)
            time.sleep(_EVERY)


def explain(client: Client, *, machine: bool) -> None:
    """What waits now, a paragraph each."""
    waits = client.call("GET", "/v1/explain")["waiting"]
    if machine:
        print(json.dumps(waits, indent=2))
        return
    console = printing()
    for each in waits:
        first, *rest = wrapped(clean(f"{each['what']}: {each['why']}"), console.width - 2)
        console.print(Group(Text(first), *(Text(f"  {line}") for line in rest)))


def history(client: Client, *, machine: bool) -> None:
    """The handoffs that have ended, newest last."""
    entries = client.call("GET", "/v1/history")["handoffs"]
    if machine:
        print(json.dumps(entries, indent=2))
        return
    console = printing()
    if not entries:
        console.print("no handoff has ended yet")
        return
    rows = [_handoff_row(entry) for entry in entries]
    console.print(Group(*lay_out(_HANDOFF, rows, "reason", console.width)))


def _page(status: dict[str, Any], width: int) -> Group:
    rows = [_generation_row(each, status["now"]) for each in status["generations"]]
    table = lay_out(_GENERATION, rows, "doing", width) if rows else []
    return Group(*_head(status, width), *table, *_remarks(status))


def _head(status: dict[str, Any], width: int) -> list[Text]:
    down = status["handoff"] is None and any(
        each["role"] == "serving" and each["life"] == "down" for each in status["generations"]
    )
    doing = clean(status["doing"]) + _until(status["until"], status["now"], begins=down)
    where = ", ".join(f"{each['name']} {each['address']}{_sharing(each)}" for each in status["listeners"])
    about = [where, f"supervisor pid {status['pid']}, up {_span(status['now'] - status['began'])}", _held(status)]
    about.append(_followed(status))
    first = Text(status["service"], style="bold")
    first.append(f"  {doing}", style="not bold")
    return [
        first,
        *(Text(line, style="dim") for line in wrapped(clean(" · ".join(filter(None, about))), width)),
        Text(""),
    ]


def _held(status: dict[str, Any]) -> str:
    """By what the processes of a generation are told from others."""
    known = status.get("cgroup")
    if known is None:
        return ""
    return "cgroups" if known["folder"] else "process groups"


def _followed(status: dict[str, Any]) -> str:
    known = status.get("following")
    return "" if known is None else f"follows {known['follow']} in {known['root']}"


def _sharing(listener: dict[str, Any]) -> str:
    handed = " (from systemd)" if listener.get("handed") else ""
    return (
        " (shared: a candidate takes users before it is ready)" + handed if listener.get("mode") == "shared" else handed
    )


def _generation_row(each: dict[str, Any], now: float) -> Row:
    down = each["life"] == "down"
    parts = [each["doing"] + _until(each["until"], now, begins=down)]
    if each["says"]:
        parts.append(f"“{each['says']}”")
    if each["starts"] > 1:
        parts.append(f"started {each['starts']} times")
    cells = [
        str(each["generation"]),
        each["role"],
        each["release"]["id"],
        _or_dash(each["pid"]),
        _span(now - each["began"]) if each["pid"] is not None else "-",
        "-" if each["memory"] is None else f"{each['memory'] / 1048576:.1f} M",
        "-" if each["cpu"] is None else f"{each['cpu']:.1f} s",
        _or_dash(each["connections"]),
        _or_dash(each["queue"]),
    ]
    colour = "red" if down else _COLOURS.get(each["role"], "")
    return Row(cells, ", ".join(part for part in parts if part.strip()), colour)


def _handoff_row(entry: dict[str, Any]) -> Row:
    user = (entry.get("report") or {}).get("asked_by", {}).get("user") or f"uid {entry['uid']}"
    by = entry["way"] if entry["uid"] is None else f"{entry['ask']} by {user}"
    came, went = entry["to"]["generation"], entry["from"]["generation"]
    done = entry["result"] == "committed"
    cells = [
        _when(entry["ended"]),
        str(entry["handoff"]),
        by,
        f"{went} → {came}" if came else str(went),
        entry["to"]["release"] or entry["from"]["release"],
        f"{sum(entry['phases'].values()):.2f} s",
        entry["result"],
    ]
    return Row(cells, entry["reason"] or "", "" if done else "yellow")


def _when(at: float) -> str:
    """The time of day, and the day if it is another one."""
    then = time.localtime(at)
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", then)
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", then)


def _remarks(status: dict[str, Any]) -> list[Text]:
    remarks = []
    if status["pending"]:
        asked = status["pending"]
        remarks.append(Text(f"next: {asked['ask']} {asked['id']}, kept until the handoff under way has ended"))
    if status.get("runs_by") == "record":
        remarks.append(Text("runs by the configuration recorded with its release; an upgrade goes by the file again"))
    remarks += [
        Text(f"in quarantine: {clean(held['id'])}, because {clean(held['because'])} (gapless quarantine)")
        for held in status.get("quarantine", ())
    ]
    if (status.get("following") or {}).get("fault"):
        remarks.append(Text(f"follows nothing: {clean(status['following']['fault'])}", style="red"))
    losses = status["queue_losses"]
    if losses["reset"]:
        remarks.append(Text(f"reset in the queue of a dead generation: {losses['reset']}", style="red"))
    if status["journal"] != "ok":
        remarks.append(Text(clean(status["journal"]), style="red"))
    return [Text(""), *remarks] if remarks else []


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _span(seconds: float) -> str:
    """`4.2 s`, `3 min`, `5 h`, `12 d`: as much as the eye wants."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.1f} s"


def _until(until: float | None, now: float, *, begins: bool) -> str:
    """Until when something lasts; or `begins`: when it will be."""
    if not until:
        return ""
    clock, span = time.strftime("%H:%M:%S", time.localtime(until)), _span(until - now)
    return f" at {clock}, in {span}" if begins else f" until {clock}, {span} left"
