"""Releases that are not to be started: which, why, until when, and the end of that."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from supervisor.cli_layout import Column, Row, lay_out, printing

if TYPE_CHECKING:
    from supervisor.control.client import Client

_COLUMNS = (
    Column("release", shrinks=True),
    Column("sha256", goes=1),
    Column("since"),
    Column("until"),
)
_DIGITS = 12
"""Of a digest: as many as a person compares, and more than name it."""


def show(client: Client, *, machine: bool) -> None:
    """Those in quarantine, the newest last."""
    held = client.call("GET", "/v1/quarantine")["quarantine"]
    if machine:
        print(json.dumps(held, indent=2))
        return
    console = printing()
    if not held:
        console.print("no release is in quarantine")
        return
    for line in lay_out(_COLUMNS, [_row(each) for each in held], "because", console.width):
        console.print(line)


def lift(client: Client, release: str) -> None:
    """End one."""
    print(f"{client.call('POST', '/v1/quarantine/lift', release=release)['lifted']} may be started again")


def _row(held: dict[str, Any]) -> Row:
    cells = [
        held["id"],
        (held["sha256"] or "-")[:_DIGITS],
        _when(held["since"]),
        "lifted" if held["until"] is None else _when(held["until"]),
    ]
    return Row(cells, held["because"])


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
