"""The serving process dies outside of a handoff: it is started again, and nobody is refused meanwhile."""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.handoff.blame import blame
from tests.harness import builds, proc
from tests.harness.load import Load
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor, answer


def test_killed_under_load_it_is_started_again_and_nobody_else_loses(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path
) -> None:
    supervisor.start(v1)
    running = load(supervisor, rate=1000)
    for run in (1, 2, 3):
        running.answered(300)
        mark = supervisor.mark()
        os.kill(supervisor.pid_of(1), signal.SIGKILL)
        assert supervisor.event("generation_down", mark)["exit"] == "killed by SIGKILL"
        assert supervisor.event("generation_started", mark)["run"] == run + 1
        supervisor.event("generation_ready", mark)
    running.answered(300)
    sorted_out = blame(supervisor, running.stop())
    assert not sorted_out.others
    assert not sorted_out.queued
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}
    assert supervisor.serving()["starts"] == 4


def test_who_waits_in_the_queue_of_a_dead_process_is_served_by_its_next_run(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    first = supervisor.pid_of(1)
    proc.stop(first)
    waiting = [supervisor.ask() for _ in range(20)]
    os.kill(first, signal.SIGKILL)
    answers = [answer(each) for each in waiting]
    assert {(each.status, each.version) for each in answers} == {(200, "v1")}
    supervisor.event("generation_started", run=2)
    assert {each.pid for each in answers} == {supervisor.pid_of(1)} != {first}


@pytest.mark.parametrize(
    ("baked", "said"), [("-crash-after=20ms", "exit status 2"), ("-crash-at-start", "exit status 3")]
)
def test_a_crash_loop_slows_down_says_so_and_goes_on(supervisor: Supervisor, v1: Path, baked: str, said: str) -> None:
    broken = builds.go_server("broken", baked)
    supervisor.configure(restart={"delay": "50ms", "limit": 4, "longest": "700ms"})
    supervisor.use(broken)
    supervisor.spawn()
    supervisor.event("restart_due", deaths=7)
    delays = [each["in"] for each in supervisor.events("restart_due")][:7]
    assert delays == [0.0, 0.05, 0.1, 0.2, 0.7, 0.7, 0.7]
    assert {each["exit"] for each in supervisor.events("generation_down")} == {said}
    assert supervisor.event("service_failing")["deaths"] == 5
    waiting = [supervisor.ask() for _ in range(10)] if "start" in baked else []
    supervisor.upgrade(v1)
    assert [answer(each).version for each in waiting] == ["v1"] * len(waiting)
    assert supervisor.get().version == "v1"
    assert supervisor.status()["queue_losses"]["reset"] == 0


def test_an_upgrade_while_it_is_down_serves_who_waits(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    """The candidate borrows the dead generation's sockets, whose next start is a minute away."""
    supervisor.configure(restart={"limit": 1, "longest": "60s"})
    supervisor.start(builds.go_server("broken", "-crash-after=10ms"))
    supervisor.event("service_failing")
    waiting = [supervisor.ask() for _ in range(20)]
    supervisor.upgrade(v2)
    assert [answer(each).version for each in waiting] == ["v2"] * 20
    supervisor.upgrade(v1)
    assert supervisor.get().version == "v1"
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}


def test_a_failed_upgrade_while_it_is_down_leaves_those_who_wait_to_its_next_run(
    supervisor: Supervisor, v1: Path
) -> None:
    supervisor.configure(restart={"limit": 1, "longest": "60s"})
    supervisor.start(v1)
    for then in ("generation_ready", "service_failing"):
        mark = supervisor.mark()
        os.kill(supervisor.pid_of(1), signal.SIGKILL)
        supervisor.event(then, mark)
    waiting = [supervisor.ask() for _ in range(20)]
    assert supervisor.hup(builds.go_server("broken", "-crash-at-start"))["result"] == "rolled back"
    assert [answer(each).version for each in waiting] == ["v1"] * 20
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}


def grandchildren(supervisor: Supervisor, count: int) -> list[int]:
    """Their pids, once so many have been said."""

    def said() -> list[int] | None:
        found = [int(match[1]) for line in supervisor.output.text if (match := re.match(r"grandchild (\d+)", line))]
        return found if len(found) >= count else None

    pids: list[int] = supervisor.output.until(f"{count} grandchildren", said)
    assert all(proc.state(pid) not in {"", "Z"} for pid in pids[-2:])
    return pids


@pytest.mark.parametrize("how", ["upgrade", "crash", "stop"])
def test_grandchildren_that_ignore_term_are_gone_with_their_generation(
    supervisor: Supervisor, v1: Path, how: str
) -> None:
    supervisor.start(builds.go_server("forking", "-fork-grandchild"))
    left = grandchildren(supervisor, 2)
    match how:
        case "upgrade":
            supervisor.upgrade(v1)
        case "crash":
            os.kill(supervisor.pid_of(1), signal.SIGKILL)
        case _:
            assert supervisor.stop() == 0
    assert all(proc.gone(pid, DEADLINE) for pid in left)
    if how != "stop":
        supervisor.event("generation_ready", supervisor.event("generation_ready").index + 1)
        assert supervisor.get().status == 200
        assert proc.reaps_all(supervisor.pid, DEADLINE)
        assert supervisor.stop() == 0
    assert supervisor.left_behind() == []


SHUTS_DOWN = """#!{python} -IS
import os, socket
listener = socket.socket(fileno=3)
os.write(int(os.environ["READY_FD"]), b"ready\\n")
for count in range(1, 4):
    with listener.accept()[0] as client:
        said = client.recv(4096).decode().split(" ")
        if said[1:2] == ["/die"]:
            listener.shutdown(socket.SHUT_RDWR)
            os._exit(3)
        client.sendall(f"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nX-Pid: {{os.getpid()}}\\r\\n\\r\\n".encode())
"""


def test_a_socket_that_its_server_shut_down_listens_again_with_the_next_run(supervisor: Supervisor) -> None:
    path = supervisor.folder / "server"
    path.write_text(SHUTS_DOWN.format(python=sys.executable))
    path.chmod(0o755)
    supervisor.configure(service={"command": [str(supervisor.current)]}, ready={"probe": False})
    supervisor.start(path)
    mark = supervisor.mark()
    with supervisor.ask("/die"):
        supervisor.event("listener_mended", mark, name="http")
        supervisor.event("generation_ready", mark)
    assert supervisor.get().pid == supervisor.pid_of(1)
