"""What this host lacks, as a list for people or for machines."""

from __future__ import annotations

import json
import pwd
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict
from rich.console import Group
from rich.text import Text

from supervisor.cli_layout import clean, printing, wrapped
from supervisor.control.client import Client
from supervisor.doctor.examine import examine
from supervisor.doctor.finding import Level
from supervisor.doctor.needs import Listening, Needs
from supervisor.errors import GaplessError
from supervisor.paths import LONGEST_NAME, control_socket, runtime_path, state_path

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.config.tables import Configuration
    from supervisor.doctor.finding import Finding

_COLOURS = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "red"}
_PATIENCE = 0.5
"""Seconds for a supervisor's answer: one that is busy is passed over."""
_LEVEL, _CHECK = 7, 19
_MARGIN = _LEVEL + 2 + _CHECK + 2


def doctor(path: Path | None, *, machine: bool) -> bool:
    """Look, and print; whether nothing is a problem. Raises ConfigurationError."""
    needs, sockets = _needed(path)
    findings = list(examine(needs, _serving(sockets), LONGEST_NAME))
    if machine:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        _print(findings)
    return all(each.level is not Level.PROBLEM for each in findings)


def _needed(path: Path | None) -> tuple[Needs, list[Path]]:
    """What is needed, and the control sockets of who runs already."""
    if path is None:
        there = sorted(runtime_path("").glob("*/control.sock"))
        return Needs(state=state_path("", None), runtime=runtime_path("NAME")), there
    from supervisor.config import reading  # noqa: PLC0415 - without a configuration its models are not needed

    configuration = reading.load(path)
    return needs_of(configuration), [_socket_of(configuration)]


def _socket_of(configuration: Configuration) -> Path:
    """Where the control socket is or will be; nothing is made on the way."""
    name, control = configuration.service.name, configuration.control.socket
    return control_socket(name, control) if control else runtime_path(name) / "control.sock"


def needs_of(configuration: Configuration) -> Needs:
    """What a configuration needs."""
    service, control = configuration.service, configuration.control
    listeners = tuple(
        Listening(each.name, *each.endpoint, table.backlog)
        for table, each in zip(configuration.listen, configuration.addresses, strict=True)
        if each.endpoint is not None
    )
    return Needs(
        listeners=listeners,
        others=len(configuration.listen) - len(listeners),
        draining=configuration.drain.limit,
        own_nofile="nofile" in service.limits,
        limits=bool(service.limits),
        user=pwd.getpwnam(service.user).pw_uid if service.user else None,
        state=state_path(service.name, service.state_dir),
        runtime=runtime_path(service.name),
        control=_socket_of(configuration) if control.socket or control.lets_in else None,
        lets_in=control.lets_in,
    )


def _serving(sockets: list[Path]) -> dict[str, int]:
    """Bytes that the serving generation has, by service, as far as a supervisor answers."""
    found = {}
    for path in sockets:
        try:
            status = Client(path, _PATIENCE).call("GET", "/v1/status")
            found.update(_memory(status))
        except (GaplessError, LookupError, TypeError):
            continue  # nobody there, or not one of this version: nothing is known of it
    return found


def _memory(status: dict[str, Any]) -> dict[str, int]:
    serving = next((each for each in status["generations"] if each["role"] == "serving"), None)
    return {} if serving is None or serving["memory"] is None else {status["service"]: int(serving["memory"])}


def _print(findings: list[Finding]) -> None:
    console = printing()
    for each in findings:
        console.print(Group(*_paragraph(each, console.width)))
    count = Counter(each.level for each in findings)
    console.print(
        f"\n{_counted(count[Level.PROBLEM], 'problem')}, {_counted(count[Level.NOTE], 'note')}, "
        f"{count[Level.OK]} as they should be"
    )


def _paragraph(finding: Finding, width: int) -> list[Text]:
    told = wrapped(clean(finding.found), width - _MARGIN)
    if finding.follows:
        told += wrapped(clean(f"so: {finding.follows}"), width - _MARGIN)
    first = Text(f"{finding.level:{_LEVEL}}  ", style=_COLOURS[finding.level])
    first.append(f"{finding.check:{_CHECK}}  {told[0]}", style="not bold default")
    lines = [first, *(Text(" " * _MARGIN + line) for line in told[1:])]
    if finding.do:  # not wrapped: it is there to be copied
        lines.append(Text(" " * _MARGIN + clean(f"do: {finding.do}"), style="bold"))
    return lines


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
