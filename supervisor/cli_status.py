"""The status and the history as tables that a person likes to read."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from supervisor.control.client import Client

_COLOURS = {"serving": "green", "candidate": "cyan", "standby": "blue", "draining": "yellow"}
_EVERY = 1.0


def as_json(client: Client) -> None:
    """The whole document, for machines."""
    print(json.dumps(client.call("GET", "/v1/status"), indent=2))


def show(client: Client) -> None:
    """Once."""
    Console(highlight=False).print(_page(client.call("GET", "/v1/status")))


def watch(client: Client) -> None:
    """Again and again, until interrupted."""
    with Live(_page(client.call("GET", "/v1/status")), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(_EVERY)
            live.update(_page(client.call("GET", "/v1/status")), refresh=True)


def history(client: Client, *, machine: bool) -> None:
    """The handoffs that have ended, newest last."""
    entries = client.call("GET", "/v1/history")["handoffs"]
    if machine:
        print(json.dumps(entries, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ended", "handoff", "asked by", "from", "to", "took", "result"):
        table.add_column(heading)
    for entry in entries:
        table.add_row(*_history_row(entry))
    Console(highlight=False).print(table if entries else "no handoff has ended yet")


def _history_row(entry: dict[str, Any]) -> list[str]:
    asked = entry["way"] if entry["uid"] is None else f"{entry['ask']} by uid {entry['uid']}"
    result = entry["result"] + (f": {entry['reason']}" if entry["reason"] else "")
    return [
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["ended"])),
        str(entry["handoff"]),
        asked,
        f"{entry['from']['generation']}  {entry['from']['release']}",
        f"{entry['to']['generation'] or ''}  {entry['to']['release'] or ''}".strip(),
        f"{sum(entry['phases'].values()):.2f} s",
        result,
    ]


def _page(status: dict[str, Any]) -> Group:
    return Group(_head(status), _generations(status), *_remarks(status))


def _head(status: dict[str, Any]) -> Text:
    addresses = "  ".join(f"{each['name']} {each['address']}" for each in status["listeners"])
    doing = status["doing"] + (f" (until {_left(status['until'], status['now'])})" if status["until"] else "")
    head = Text()
    head.append(status["service"], style="bold")
    head.append(f"  {doing}\n")
    head.append(
        f"{addresses}  supervisor pid {status['pid']}, up {_span(status['now'] - status['began'])}\n", style="dim"
    )
    return head


def _generations(status: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in (
        ("gen", "right"),
        ("role", "left"),
        ("release", "left"),
        ("pid", "right"),
        ("age", "right"),
        ("memory", "right"),
        ("cpu", "right"),
        ("conns", "right"),
        ("queue", "right"),
        ("doing", "left"),
    ):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    for each in status["generations"]:
        table.add_row(*_generation_row(each, status["now"]))
    return table


def _generation_row(each: dict[str, Any], now: float) -> list[str | Text]:
    doing = each["doing"]
    if each["until"]:
        doing += f" (until {_left(each['until'], now)})"
    if each["says"]:
        doing += f"  “{each['says']}”"
    if each["starts"] > 1:
        doing += f"  started {each['starts']} times"
    return [
        str(each["generation"]),
        Text(each["role"], style=_COLOURS.get(each["role"], "")),
        each["release"]["id"],
        _or_dash(each["pid"]),
        _span(now - each["began"]),
        "-" if each["memory"] is None else f"{each['memory'] / 1048576:.1f} M",
        "-" if each["cpu"] is None else f"{each['cpu']:.1f} s",
        _or_dash(each["connections"]),
        _or_dash(each["queue"]),
        doing.strip(),
    ]


def _remarks(status: dict[str, Any]) -> list[Text]:
    remarks = []
    if status["pending"]:
        remarks.append(Text(f"kept until then: {status['pending']['ask']} {status['pending']['id']}"))
    losses = status["queue_losses"]
    if losses["reset"]:
        remarks.append(Text(f"reset in the queue of a dead generation: {losses['reset']}", style="red"))
    if status["journal"] != "ok":
        remarks.append(Text(status["journal"], style="red"))
    return remarks


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _span(seconds: float) -> str:
    """`4.2 s`, `3 min`, `5 h`, `12 d`: as much as the eye wants."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.1f} s"


def _left(until: float, now: float) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(until))}, {_span(until - now)} left"
