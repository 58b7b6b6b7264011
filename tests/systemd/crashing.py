"""Killing the supervisor of a unit at its N-th system call of a kind, in the course of an upgrade."""

from contextlib import suppress
from typing import Any

from supervisor.control.client import Client
from supervisor.errors import OperatorError, UnreachableError
from tests.harness.crashing import injected
from tests.systemd.conftest import Servers
from tests.systemd.unit import Unit


def upgraded(unit: Unit, servers: Servers, call: str, number: int) -> bool:
    """Hand over to the other release, with a crash on the way; whether there was one. What is left has to be sound."""
    serves = unit.box.get(unit.port)[1]
    wanted = "v1" if serves == "v2" else "v2"
    unit.release(servers.build(wanted))
    before, ended = status(unit)["pid"], len(unit.history())
    with injected(unit.box.on_host(before), call, f"signal=KILL:when={number}"):
        with suppress(UnreachableError, OperatorError, OSError):
            client(unit).call("POST", "/v1/upgrade")
        unit.wait(
            lambda: unit.show("MainPID") != str(before) or (len(unit.history()) > ended and alone(unit)),
            "the end of the handoff, or of gapless",
        )
    unit.wait(lambda: settled(unit), "one generation that serves, and its socket alone kept")
    died: bool = status(unit)["pid"] != before
    new = unit.history()[ended:]
    assert len(new) <= 1, new
    assert unit.box.get(unit.port)[1] == (wanted if new == ["committed"] else serves), new
    assert died or new == ["committed"], new
    return died


def client(unit: Unit) -> Client:
    """By way of the control socket that is in the box."""
    return Client(unit.box.root / f"run/gapless/{unit.name}/control.sock")


def status(unit: Unit) -> dict[str, Any]:
    """What the supervisor tells; empty if none does."""
    with suppress(UnreachableError, OSError):
        return client(unit).call("GET", "/v1/status")
    return {}


def settled(unit: Unit) -> bool:
    """Whether nothing is under way, and nothing is left beside the one that serves."""
    found = status(unit)
    if not found or found["handoff"] is not None or len(found["generations"]) != 1:
        return False
    return alone(unit)


def alone(unit: Unit) -> bool:
    """Whether one generation is left, and its socket. Who is to die at its N-th call is not asked: it would answer."""
    held = [path.name for path in unit.cgroups() if ".gen-" in path.name]
    return len(held) == 1 and unit.show("NFileDescriptorStore") == "1"
