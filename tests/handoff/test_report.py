"""The report that every handoff ends with: who waited, who was turned away, who was lost, and who asked."""

import os
import pwd
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.handoff.conftest import Make
from tests.harness import builds, network, proc
from tests.harness.load import Load
from tests.harness.output import DEADLINE, Event
from tests.harness.supervisor import Supervisor, answer

_STALL = threading.Event()
"""Never set: waiting for it is how long a server accepts nobody."""

CLIENTS = 5


def _in_probation(supervisor: Supervisor, program: Path) -> int:
    """A handoff by HUP, as far as its probation; the mark from before."""
    mark = supervisor.mark()
    supervisor.use(program)
    supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    return mark


def _given_up(supervisor: Supervisor, mark: int) -> Event:
    supervisor.client().call("POST", "/v1/abort")
    return supervisor.event("handoff_ended", mark)


def _all_wait(supervisor: Supervisor, generation: int) -> None:
    """A connection is made for the client a little before it is in the queue."""
    ends = time.monotonic() + DEADLINE
    while _queue(supervisor, generation) < CLIENTS:
        assert time.monotonic() < ends, "they never reach the queue"


def _queue(supervisor: Supervisor, generation: int) -> int:
    found = [each["queue"] for each in supervisor.status()["generations"] if each["generation"] == generation]
    return int(found[0])


def _report(supervisor: Supervisor) -> dict[str, Any]:
    return dict(supervisor.history()[-1]["report"])


def test_a_handoff_that_nobody_noticed_says_so(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    ended = supervisor.upgrade(v2)
    (http,) = (report := _report(supervisor))["listeners"]
    assert http == {
        "name": "http",
        "address": supervisor.address,
        "deepest": 0,
        "longest_wait": 0.0,
        "at_most": 0.0,
        "generation": None,
    }
    assert report["stragglers"] == {"migrated": 0, "reset": 0, "reset_ports": []}
    assert (report["deaths"], report["restarts"], report["undone_by"]) == ([], 0, None)
    assert report["asked_by"] == {
        "way": "SIGHUP",
        "uid": None,
        "user": None,
        "pid": None,
        "process": None,
        "login": None,
    }
    assert report["resolution"] > 0
    assert (ended["longest_wait"], ended["queue_reset"]) == (0.0, 0)


def test_a_candidate_that_accepts_nobody_for_a_while_is_seen(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(handoff={"probation": "60s"})
    supervisor.start(v1)
    mark = _in_probation(supervisor, v2)
    proc.stop(supervisor.pid_of(2))
    before = time.monotonic()
    clients = [supervisor.ask() for _ in range(CLIENTS)]
    _all_wait(supervisor, 2)
    asked = time.monotonic()
    _STALL.wait(0.4)
    again = time.monotonic()
    os.kill(supervisor.pid_of(2), signal.SIGCONT)
    assert [answer(client).version for client in clients] == ["v2"] * CLIENTS
    over = time.monotonic()
    ended = _given_up(supervisor, mark)
    (http,) = _report(supervisor)["listeners"]
    assert (http["deepest"], http["generation"]) == (CLIENTS, 2)
    assert again - asked <= http["at_most"] + 0.0001
    assert 0 < http["longest_wait"] <= over - before + 0.0001
    assert http["longest_wait"] <= http["at_most"]
    assert ended["longest_wait"] == http["longest_wait"]


def test_who_finds_a_full_queue_is_counted_by_the_kernel(make: Make, v1: Path, v2: Path) -> None:
    where = network.network(migrate=False)
    supervisor = make(where)
    supervisor.configure(
        handoff={"probation": "60s"}, listen=[{"name": "http", "address": "127.0.0.1:0", "backlog": 2}]
    )
    supervisor.start(v1)
    mark = _in_probation(supervisor, v2)
    proc.stop(supervisor.pid_of(2))
    clients = [where.begin(supervisor.endpoint) for _ in range(20)]
    ended = _given_up(supervisor, mark)
    kernel = _report(supervisor)["kernel"]
    for client in clients:
        client.close()
    assert kernel["ListenOverflows"] >= 15
    assert kernel["ListenDrops"] >= kernel["ListenOverflows"]
    assert ended["listen_overflows"] == kernel["ListenOverflows"]
    where.close()


def test_who_is_lost_while_the_old_generation_drains_is_added_later(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(drain={"timeout": "1s"})
    supervisor.start(v1)
    proc.stop(supervisor.pid_of(1))
    clients = [supervisor.ask() for _ in range(CLIENTS)]
    ports = {client.getsockname()[1] for client in clients}
    supervisor.upgrade(v2)
    assert _report(supervisor)["drain"] is None
    supervisor.event("generation_ended", generation=1)
    report = _report(supervisor)
    drain = report["drain"]
    assert (drain["generation"], drain["killed"], drain["exit"]) == (1, True, "killed by SIGKILL")
    assert drain["migrated"] + drain["reset"] == CLIENTS
    assert set(drain["reset_ports"]) == (ports if drain["reset"] else set())
    assert drain["seconds"] > 0.9
    (http,) = report["listeners"]
    assert (http["deepest"], http["generation"]) == (CLIENTS, 1)
    assert report["stragglers"]["reset"] == 0


def test_who_asked_is_told_by_name(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.use(v2)
    found = supervisor.command("upgrade")
    assert found.returncode == 0
    asked = _report(supervisor)["asked_by"]
    assert (asked["way"], asked["uid"], asked["user"]) == ("control", os.geteuid(), pwd.getpwuid(os.geteuid()).pw_name)
    assert asked["process"].startswith(("python", "gapless"))
    shown = supervisor.command("history", "1")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"upgrade by {asked['user']} (uid {asked['uid']}), {asked['process']} (pid {asked['pid']})" in shown.stdout


def test_the_queue_that_holds_the_clients_while_two_servers_take_turns_is_seen(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path
) -> None:
    supervisor.configure(handoff={"mode": "exclusive"})
    supervisor.start(v1)
    running = load(supervisor)
    supervisor.upgrade(builds.go_server("slow", "-start-delay 300ms"))
    running.answered(1, version="slow")
    running.stop().no_failures()
    report = _report(supervisor)
    (http,) = report["listeners"]
    assert http["deepest"] > 0
    assert http["generation"] == 1
    assert report["deaths"] == []
