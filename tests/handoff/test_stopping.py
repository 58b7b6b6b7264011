"""How it ends: drained, cut short, or with the children left alive."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.harness import builds, proc
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor, answer


def under_way(supervisor: Supervisor, milliseconds: int, pid: int) -> socket.socket:
    """A slow request that the server has begun to serve: its connection is in the log."""
    sock = supervisor.ask(f"/slow?ms={milliseconds}")
    port = sock.getsockname()[1]
    while (port, pid) not in {(each.port, each.pid) for each in supervisor.connection_log()}:
        supervisor.get("/healthz")  # served after it by the same accept loop
    return sock


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_first_signal_lets_a_request_be_finished(supervisor: Supervisor, v1: Path, number: int) -> None:
    supervisor.start(v1)
    slow = under_way(supervisor, 1500, supervisor.pid_of(1))
    supervisor.signal(number)
    assert answer(slow).body == "waited 1.5s\n"
    assert supervisor.ended() == 0
    assert supervisor.left_behind() == []
    assert not supervisor.control.exists()


def test_the_command_stop_does_the_same(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    slow = under_way(supervisor, 700, supervisor.pid_of(1))
    assert supervisor.command("stop").returncode == 0
    assert answer(slow).body == "waited 700ms\n"
    assert supervisor.ended() == 0


def test_a_second_one_ends_it_now(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    with under_way(supervisor, 600_000, supervisor.pid_of(1)):
        supervisor.event("generation_told", supervisor.signal(signal.SIGTERM))
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended(timeout=20) == 6
    assert supervisor.left_behind() == []


def test_who_ignores_term_is_killed_at_the_deadline_with_all_it_started(supervisor: Supervisor) -> None:
    supervisor.configure(stop={"timeout": "500ms"})
    supervisor.start(builds.go_server("stubborn", "-ignore-term -fork-grandchild"))
    assert supervisor.stop() == 6
    assert supervisor.event("generation_ended")["exit"] == "killed by SIGKILL"
    assert supervisor.left_behind() == []


def test_a_replaced_one_that_ignores_term_is_killed_at_the_drains_deadline(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(drain={"timeout": "600ms"})
    supervisor.start(builds.go_server("stubborn", "-ignore-term -fork-grandchild"))
    supervisor.upgrade(v1)
    assert supervisor.event("generation_ended", generation=1)["exit"] == "killed by SIGKILL"
    assert supervisor.get().version == "v1"
    assert supervisor.stop() == 0
    assert supervisor.left_behind() == []


def test_stopping_in_probation_ends_both(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(handoff={"probation": "60s"})
    supervisor.start(v1)
    supervisor.use(v2)
    supervisor.event("phase", supervisor.signal(signal.SIGHUP), phase="probation")
    assert supervisor.stop() == 0
    ended = supervisor.event("handoff_ended")
    assert (ended["result"], ended["reason"]) == ("rolled back", "the service is stopping")
    assert supervisor.left_behind() == []


def test_stopping_while_it_crash_loops(supervisor: Supervisor) -> None:
    supervisor.use(builds.go_server("broken", "-crash-at-start"))
    supervisor.spawn()
    supervisor.event("service_failing")
    assert supervisor.stop() == 0
    assert supervisor.left_behind() == []
    assert supervisor.events("queue_reset") == []  # only our own probes were in it, and they are nobody's loss


def test_quit_leaves_the_children_alive_and_serving(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    before = supervisor.get()
    supervisor.signal(signal.SIGQUIT)
    assert supervisor.ended() == 0
    assert supervisor.get() == before
    assert before.pid in supervisor.left_behind()
    os.kill(before.pid, signal.SIGTERM)
    assert proc.gone(before.pid, DEADLINE)
