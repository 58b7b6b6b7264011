"""Broken releases between good ones, under load: refused or undone, and nobody else pays for them."""

import itertools
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.handoff.blame import blame
from tests.harness import builds, proc
from tests.harness.load import Load
from tests.harness.supervisor import Supervisor, answer


@dataclass(frozen=True, slots=True)
class Broken:
    """A release that is not to serve, and what is to be said of it."""

    program: Callable[[Path], Path]
    result: str
    reason: str


def _baked(flags: str) -> Callable[[Path], Path]:
    return lambda _: builds.go_server("broken", flags)


def _not_executable(folder: Path) -> Path:
    copy = folder / "not-executable"
    shutil.copy(builds.go_server("v1"), copy)
    copy.chmod(0o644)
    return copy


BROKEN = {
    "crashes at start": Broken(_baked("-crash-at-start"), "rolled back", "died before it was ready: exit status 3"),
    "dies in probation": Broken(_baked("-crash-after=250ms"), "rolled back", "died in probation: exit status 2"),
    "never ready": Broken(_baked("-never-ready"), "rolled back", "not ready in time: nothing was heard of it in *"),
    "closes the pipe": Broken(_baked("-close-ready"), "rolled back", "closed the readiness pipe without a word"),
    "wrong architecture": Broken(lambda _: builds.foreign_go_program(), "refused", "bad release: * is built for *"),
    "not executable": Broken(_not_executable, "refused", "bad release: * is not executable*"),
    "missing": Broken(lambda folder: folder / "nowhere", "refused", "bad release: * cannot be found*"),
    "never accepts": Broken(
        _baked("-ready-no-accept"), "rolled back", "said that it was ready but accepted no connection*"
    ),
    "dies in probation again": Broken(_baked("-crash-after=250ms"), "rolled back", "died in probation: exit status 2"),
}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("probation", ["0s", "700ms"])
def test_every_third_is_broken(
    networked: Supervisor, load: Callable[..., Load], v1: Path, v2: Path, *, migrate: bool, probation: str
) -> None:
    supervisor, good = networked, itertools.cycle((v2, v1))
    wanted = [each for name, each in BROKEN.items() if probation != "0s" or "probation" not in name]
    programs = [each.program(supervisor.folder) for each in wanted]
    supervisor.configure(handoff={"probation": probation}, drain={"limit": 40}, ready={"timeout": "2s"})
    supervisor.start(v1)
    running = load(supervisor, rate=1200)
    reasons = []
    for each, program in zip(wanted, programs, strict=True):
        supervisor.upgrade(next(good))
        serving = supervisor.upgrade(next(good))["to_generation"]
        ended = supervisor.hup(program)
        assert ended["result"] == each.result, ended
        assert fnmatchcase(ended["reason"], each.reason)
        assert ended["from_generation"] == serving
        assert supervisor.serving()["generation"] == serving
        reasons.append(ended["reason"])
    running.answered(100, version="v1")
    found = running.stop()
    sorted_out = blame(supervisor, found)
    assert not sorted_out.others, sorted_out.others
    losses = supervisor.status()["queue_losses"]
    if migrate:
        assert losses["reset"] == 0
        assert not sorted_out.queued
    assert len(sorted_out.queued) == losses["reset"]
    if probation == "0s":
        found.no_failures()
    assert [entry["reason"] for entry in supervisor.history() if entry["result"] != "committed"] == reasons
    said = {reason.partition(": ")[0] for reason in reasons}
    assert len(said) == len({each.reason.partition(": ")[0] for each in wanted})
    assert len(set(reasons)) == len({each.reason for each in wanted})


WAITING = 30


def test_who_waits_in_the_queue_of_a_candidate_that_dies_in_probation(
    networked: Supervisor, v1: Path, v2: Path, *, migrate: bool
) -> None:
    supervisor = networked
    supervisor.configure(handoff={"probation": "60s"})
    supervisor.start(v1)
    mark = supervisor.mark()
    supervisor.use(v2)
    supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    candidate = supervisor.pid_of(2)
    proc.stop(candidate)
    with supervisor.client().events() as events:
        clients = [supervisor.ask() for _ in range(WAITING)]
        ports = {client.getsockname()[1] for client in clients}
        os.kill(candidate, signal.SIGKILL)
        streamed = list(_up_to(events, "handoff_ended"))
    ended = supervisor.event("handoff_ended", mark)
    assert (ended["result"], ended["reason"]) == ("rolled back", "died in probation: killed by SIGKILL")
    report = supervisor.history()[-1]["report"]
    if migrate:
        assert [answer(client).version for client in clients] == ["v1"] * WAITING
        assert supervisor.event("queue_migrated")["connections"] == WAITING
        assert supervisor.status()["queue_losses"] == {"migrated": WAITING, "reset": 0}
        assert report["stragglers"] == {"migrated": WAITING, "reset": 0, "reset_ports": []}
        assert report["kernel"]["TCPMigrateReqSuccess"] == WAITING
    else:
        assert all(_was_reset(client) for client in clients)
        reset = supervisor.event("queue_reset")
        assert (reset["connections"], set(reset["client_ports"])) == (WAITING, ports)
        assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": WAITING}
        stragglers = report["stragglers"]
        assert (stragglers["migrated"], stragglers["reset"], set(stragglers["reset_ports"])) == (0, WAITING, ports)
        assert ended["queue_reset"] == streamed[-1]["queue_reset"] == WAITING
    (told,) = [each for each in streamed if each["event"] in {"queue_migrated", "queue_reset"}]
    assert told["connections"] == WAITING
    assert sorted(streamed, key=lambda each: float(each["at"])) == streamed
    (death,) = report["deaths"]
    assert (death["generation"], death["exit"]) == (2, "killed by SIGKILL")
    assert supervisor.get().version == "v1"
    assert supervisor.serving()["generation"] == 1


def _up_to(events: Iterator[dict[str, Any]], last: str) -> Iterator[dict[str, Any]]:
    for each in events:
        yield each
        if each["event"] == last:
            return


def _was_reset(client: socket.socket) -> bool:
    with client:
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True
